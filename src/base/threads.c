/* SPDX-License-Identifier: Apache-2.0 */
#include "base/threads.h"
#include "base/limits.h"
#include "base/log.h"
#include <malloc.h>
#include <omp.h>
#include <stdlib.h>
#include <sys/resource.h>

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
#ifdef M_ARENA_MAX
    if (space.bytes != UINT64_MAX) mallopt(M_ARENA_MAX, 1); /* an arena reserves 64 MB for every thread */
#endif
    if (fit < n)
        log_line(LOG_WARN, "%d of %d threads are used: %s no room for the stacks of more", fit, n, space.source);
    return fit;
}

int threads_count(void) {
    if (in_use == 0) {
        const char *wanted = getenv("OPSM_THREADS");
        int n = wanted ? parse_count(wanted) : 0;
        if (n == 0) n = omp_get_num_procs();
        threads_set(fitting(n > THREADS_MAX ? THREADS_MAX : n));
    }
    return in_use;
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
