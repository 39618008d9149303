/* SPDX-License-Identifier: Apache-2.0 */
#include "base/threads.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/platform.h"
#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>

/* Elementary operations. */
enum { FORK_WORTH = 1 << 16 };

static int in_use;

/* 0 when the text is not a number from 1 to THREADS_MAX. */
static int parse_count(const char *text) {
    char *end;
    long n = strtol(text, &end, 10);
    return *text && !*end && n >= 1 && n <= THREADS_MAX ? (int)n : 0;
}

/* A thread that cannot be made ends the process, from inside the OpenMP library: their stacks may take a quarter of the
 * address space that is left (`ulimit -v`). */
static int fitting(int n) {
    enum { DEFAULT_STACK = 8 << 20 };
    struct rlimit stack;
    bool known = getrlimit(RLIMIT_STACK, &stack) == 0 && stack.rlim_cur != RLIM_INFINITY;
    uint64_t each = known && stack.rlim_cur > 0 ? stack.rlim_cur : DEFAULT_STACK;
    struct limit space = limits_address_space();
    int fit = n;
    while (fit > 1 && (uint64_t)(fit - 1) * each > space.bytes / 4) fit--;
    if (space.bytes != UINT64_MAX) platform_share_heap();
    if (fit < n)
        log_line(LOG_WARN, "%d of %d threads are used: %s no room for the stacks of more", fit, n, space.source);
    return fit;
}

static void *wait_at(void *gate) {
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

/* Of `n` threads those that the system lets this process have at once (`ulimit -u`, pids.max of a control group). */
static int startable(int n) {
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_t threads[THREADS_MAX];
    int others = 0;
    pthread_mutex_lock(&gate);
    while (others < n - 1 && pthread_create(&threads[others], NULL, wait_at, &gate) == 0) others++;
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < others; i++) pthread_join(threads[i], NULL);
    if (others + 1 < n)
        log_line(LOG_WARN, "%d of %d threads are used: the system starts no more (`ulimit -u`, or a control group)",
                 others + 1, n);
    return others + 1;
}

int threads_count(void) {
    if (in_use == 0) {
        const char *wanted = getenv("OPSM_THREADS");
        int n = wanted ? parse_count(wanted) : 0;
        if (n == 0) n = omp_get_num_procs();
        threads_set(startable(fitting(n > THREADS_MAX ? THREADS_MAX : n)));
    }
    return in_use;
}

int threads_for(int64_t work) {
    return work < FORK_WORTH ? 1 : threads_count();
}

void threads_set(int count) {
    in_use = count < 1 ? 1 : count;
    omp_set_dynamic(0);
    omp_set_num_threads(in_use);
}

opsm_status threads_check_environment(opsm_error *err) {
    const char *wanted = getenv("OPSM_THREADS");
    if (wanted && parse_count(wanted) == 0)
        return opsm_fail(err, OPSM_INVALID, "OPSM_THREADS is '%s': expected a number from 1 to %d", wanted,
                         THREADS_MAX);
    return OPSM_OK;
}
