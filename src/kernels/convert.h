/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OPSM_KERNELS_CONVERT_H
#define OPSM_KERNELS_CONVERT_H
#include "kernels/dtype.h"

/* out[i] = x[i] in the given format, i < n. Called by one thread. */
void convert_rows(enum dtype type, int64_t n, const float *x, void *out);

#endif
