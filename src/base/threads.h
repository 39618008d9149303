/* SPDX-License-Identifier: Apache-2.0
 *
 * OpenMP is the only thread pool of the program. Kernels use `#pragma omp parallel` with threads_count() threads, cut
 * their work into tasks whose boundaries do not depend on that count, and compute every output element in one task:
 * that is what makes results bit-identical at any number of threads.
 */
#ifndef OPSM_BASE_THREADS_H
#define OPSM_BASE_THREADS_H
#include <opsm/status.h>
#include <stdint.h>

enum { THREADS_MAX = 256 };

/* Threads in use, 1..THREADS_MAX; by default OPSM_THREADS or, unset, the processors this process may run on. */
int threads_count(void);

/* Threads for a job of `work` elementary operations: 1 where forking would cost more than it saves. */
int threads_for(int64_t work);

/* Sets the count for what follows (tests compare 1 and N). Not from inside a parallel region. */
void threads_set(int count);

/* Checks OPSM_THREADS: OPSM_INVALID with a sentence when it is set and not a number from 1 to THREADS_MAX. */
opsm_status threads_check_environment(opsm_error *err);

#endif
