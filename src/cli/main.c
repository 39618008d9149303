/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cpu.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/platform.h"
#include "base/threads.h"
#include "cli/activity.h"
#include "cli/cli.h"
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
#define CLI_ENTRY(name) {#name, cmd_##name},
    CLI_COMMANDS(CLI_ENTRY)
#undef CLI_ENTRY
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void print_log(enum log_level level, const char *line, void *user) {
    (void)user;
    if (level < cli_log_level()) return;
    activity_clear();
    fprintf(stderr, "%s%s\n", level == LOG_WARN ? "warning: " : "", line);
}

/* Takes -q and -v out of the words, wherever they stand before a "--". */
static int take_verbosity(int argc, char **argv) {
    int kept = 0;
    bool options = true;
    for (int i = 0; i < argc; i++) {
        if (options && !strcmp(argv[i], "-q"))
            cli_set_log_level(LOG_WARN);
        else if (options && !strcmp(argv[i], "-v"))
            cli_set_log_level(LOG_DEBUG);
        else
            argv[kept++] = argv[i];
        options = options && strcmp(argv[i], "--") != 0;
    }
    argv[kept] = NULL;
    return kept;
}

/* --help or -h anywhere before a "--". */
static bool wants_help(int argc, char **argv) {
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return true;
    return false;
}

static int run(int argc, char **argv) {
    const char *name = argv[1];
    if (!strcmp(name, "--help") || !strcmp(name, "-h")) return cmd_help(1, argv);
    if (!strcmp(name, "--version") || !strcmp(name, "version")) {
        puts("opsm " OPSM_VERSION);
        return 0;
    }
    for (int i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i].name, name) != 0) continue;
        if (wants_help(argc, argv)) return cmd_help(2, (char *[]){argv[1], argv[1], NULL});
        return commands[i].run(argc - 1, argv + 1);
    }
    return cli_unknown_name("command", name, false);
}

/* A thread that waits at a barrier spins, by default for milliseconds. Where another process wants the core, every
 * barrier then costs a scheduler's time slice, and a small model runs ten times slower on two threads than on one.
 * libgomp reads its environment before main is called: to tell it, the program starts itself anew. */
static void let_waiting_threads_sleep(char **argv) {
    if (!cli_program() || getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
    if (setenv("GOMP_SPINCOUNT", "1000", 1) == 0) execv(cli_program(), argv);
}

/* Where one of the three is closed, the next file to be opened would get its number, and be printed into. */
static void open_standard_files(void) {
    int fd;
    do fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) close(fd);
}

/* Models are read where they lie on the disk: a page that is no longer there comes as a signal. */
static void end_without_page(int signal) {
    static const char sentence[] =
        "opsm: a file that is being read was cut short, or its disk fails; bring it back and repeat the command\n";
    (void)signal;
    if (write(STDERR_FILENO, sentence, sizeof sentence - 1) < 0) _exit(EXIT_FAILED);
    _exit(EXIT_FAILED);
}

int main(int argc, char **argv) {
    open_standard_files();
    cli_set_program(platform_program(argv[0]));
    let_waiting_threads_sleep(argv);
    argc = take_verbosity(argc, argv);
    log_install(print_log, NULL);
    if (cli_log_level() < LOG_WARN) activity_start();
    signal(SIGPIPE, SIG_DFL); /* `| head` ends a command silently, whatever its parent ignores */
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes becomes a write error, with its sentence */
    signal(SIGBUS, end_without_page);
    opsm_error err = {0};
    opsm_status status = cpu_check_environment(&err);
    if (status == OPSM_OK) status = threads_check_environment(&err);
    if (status == OPSM_OK) status = limits_check_environment(&err);
    if (status != OPSM_OK) return cli_fail(status, &err);
    if (argc < 2) {
        cli_print_overview(stderr);
        return EXIT_USAGE;
    }
    return cli_finish(run(argc, argv));
}
