/* SPDX-License-Identifier: Apache-2.0
 *
 * Child processes: started, told to end, waited for. A child gets SIGTERM when the process that started it dies,
 * however that comes about.
 */
#ifndef OPSM_BASE_PROCESS_H
#define OPSM_BASE_PROCESS_H
#include <opsm/status.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process {
    pid_t pid;    /* 0: none */
    int lifeline; /* the read end of a pipe that only the child holds open: it hangs up when the child ends */
};

/* Runs argv[0] with stdin and stdout on /dev/null and stderr into the file `log` (emptied first); threads, memory:
 * OPSM_THREADS and OPSM_MEMORY for it (memory 0: as they are here). File descriptors without O_CLOEXEC are inherited. */
opsm_status process_start(struct process *process, char *const *argv, const char *log, int threads, uint64_t memory,
                          opsm_error *err);

/* Waits until one of the processes ended, a signal came, or `seconds` are over. The index of one that ended, whose
 * wait status is then in *wait_status and whose pid is 0; -1: none. Entries with pid 0 are passed over. */
int process_wait(struct process *processes, int n, double seconds, int *wait_status);

/* Asks all of them to save and end (SIGTERM). */
void process_ask_to_end(const struct process *processes, int n);

#endif
