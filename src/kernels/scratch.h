/* SPDX-License-Identifier: Apache-2.0
 *
 * Working memory of the kernels. It grows to the largest request and is then reused, so a training step or a decode
 * step allocates nothing once it has warmed up.
 */
#ifndef OPSM_KERNELS_SCRATCH_H
#define OPSM_KERNELS_SCRATCH_H
#include <opsm/status.h>
#include <stddef.h>
#include <stdint.h>

enum scratch_use { SCRATCH_ATTENTION, SCRATCH_LIST, SCRATCH_TASKS, SCRATCH_PLAN, SCRATCH_PARTIALS, SCRATCH_USES };

/* At least `count` floats for one use, 64-byte aligned, contents undefined; belongs to the calling thread, valid until
 * its next request for the same use. NULL when out of memory. */
float *scratch_floats(enum scratch_use use, size_t count);

/* Releases the calling thread's scratch and tables; for leak checks at exit. */
void kernels_release(void);

#endif
