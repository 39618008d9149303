/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process.h"
#include "base/mem.h"
#include "base/platform.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXEC_FAILED = 127, POLL_MAX = 1024 };

extern char **environ;

static bool is_ours(const char *variable) {
    return !strncmp(variable, "OPSM_THREADS=", 13) || !strncmp(variable, "OPSM_MEMORY=", 12);
}

/* The environment with our variables replaced (memory NULL: as it is); the table is mem_alloc'ed, the strings are
 * borrowed. */
static char **environment_with(char *threads, char *memory) {
    size_t n = 0;
    while (environ[n]) n++;
    char **copy = mem_alloc(n + 3, sizeof *copy);
    if (!copy) return NULL;
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (!is_ours(environ[i]) || (!memory && strncmp(environ[i], "OPSM_MEMORY=", 12) == 0)) copy[k++] = environ[i];
    copy[k++] = threads;
    if (memory) copy[k++] = memory;
    copy[k] = NULL;
    return copy;
}

/* In the child, between fork and exec: only calls that are safe there. Signals are blocked; from here on they end it.
 */
static _Noreturn void become(char *const *argv, char **environment, const int descriptors[3], pid_t parent,
                             const sigset_t *mask) {
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    if (!platform_end_with(parent)) _exit(EXEC_FAILED);
    for (int i = 0; i < 3; i++)
        if (dup2(descriptors[i], i) < 0) _exit(EXEC_FAILED);
    execve(argv[0], argv, environment);
    static const char sentence[] = "opsm: cannot execute the program itself\n";
    ssize_t ignored = write(STDERR_FILENO, sentence, sizeof sentence - 1);
    (void)ignored;
    _exit(EXEC_FAILED);
}

/* Both descriptors are open on success only. The pipe's write end is the only descriptor here that a child inherits:
 * children are started by one thread, and the parent's copy is closed before the next. */
static opsm_status open_descriptors(int *null, int *log_file, int lifeline[2], const char *log, opsm_error *err) {
    *null = open("/dev/null", O_RDWR | O_CLOEXEC);
    *log_file = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool piped = platform_pipe(lifeline) == 0;
    if (*null >= 0 && *log_file >= 0 && piped && fcntl(lifeline[1], F_SETFD, 0) == 0) return OPSM_OK;
    opsm_status status =
        opsm_fail(err, OPSM_IO, "cannot start a process with its log in '%s': %s", log, strerror(errno));
    if (*null >= 0) close(*null);
    if (*log_file >= 0) close(*log_file);
    if (piped) {
        close(lifeline[0]);
        close(lifeline[1]);
    }
    return status;
}

opsm_status process_start(struct process *process, char *const *argv, const char *log, int threads, uint64_t memory,
                          opsm_error *err) {
    char threads_entry[32], memory_entry[48];
    snprintf(threads_entry, sizeof threads_entry, "OPSM_THREADS=%d", threads);
    snprintf(memory_entry, sizeof memory_entry, "OPSM_MEMORY=%llukB", (unsigned long long)memory / 1000);
    int null, log_file, lifeline[2];
    opsm_status status = open_descriptors(&null, &log_file, lifeline, log, err);
    if (status != OPSM_OK) return status;
    char **environment = environment_with(threads_entry, memory ? memory_entry : NULL);
    /* Whoever started us may ignore it: children would then vanish before they are asked how they ended. */
    signal(SIGCHLD, SIG_DFL);
    /* A signal that found the child with our handlers would set our flag in a copy of memory, and be lost. */
    sigset_t blocked, mask;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, &mask);
    pid_t parent = getpid(), pid = environment ? fork() : -1;
    if (pid == 0) become(argv, environment, (const int[]){null, null, log_file}, parent, &mask);
    int reason = errno;
    sigprocmask(SIG_SETMASK, &mask, NULL);
    if (pid < 0) {
        status = environment ? opsm_fail(err, OPSM_IO, "cannot start a process: %s", strerror(reason))
                             : mem_exhausted(err, "an environment", 0);
        close(lifeline[0]);
    } else {
        *process = (struct process){pid, lifeline[0]};
    }
    mem_free(environment);
    close(lifeline[1]);
    close(null);
    close(log_file);
    return status;
}

int process_wait(struct process *processes, int n, double seconds, int *wait_status) {
    struct pollfd polls[POLL_MAX];
    if (n > POLL_MAX) n = POLL_MAX;
    for (int i = 0; i < n; i++) polls[i] = (struct pollfd){.fd = processes[i].pid ? processes[i].lifeline : -1};
    if (poll(polls, (nfds_t)n, (int)(seconds * 1000)) <= 0) return -1;
    for (int i = 0; i < n; i++) {
        struct process *p = &processes[i];
        if (!p->pid || !polls[i].revents) continue;
        while (waitpid(p->pid, wait_status, 0) < 0 && errno == EINTR) {
        }
        close(p->lifeline);
        *p = (struct process){0};
        return i;
    }
    return -1;
}

void process_ask_to_end(const struct process *processes, int n) {
    for (int i = 0; i < n; i++)
        if (processes[i].pid) kill(processes[i].pid, SIGTERM);
}
