/* SPDX-License-Identifier: Apache-2.0 */
#include "base/threads.h"
#include <omp.h>
#include <stdlib.h>

static int in_use;

/* 0 when the text is not a number from 1 to THREADS_MAX. */
static int parse_count(const char *text) {
    char *end;
    long n = strtol(text, &end, 10);
    return *text && !*end && n >= 1 && n <= THREADS_MAX ? (int)n : 0;
}

int threads_count(void) {
    if (in_use == 0) {
        const char *wanted = getenv("OPSM_THREADS");
        int n = wanted ? parse_count(wanted) : 0;
        if (n == 0) n = omp_get_num_procs();
        threads_set(n > THREADS_MAX ? THREADS_MAX : n);
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
