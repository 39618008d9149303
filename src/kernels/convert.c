/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/convert.h"
#include "base/threads.h"
#include "kernels/layers.h"
#include "kernels/vec.h"

enum { CHUNK = 1 << 14 }; /* elements per task */

void convert_rows(enum dtype type, int64_t n, const float *x, void *out) {
    if (type == DTYPE_F32)
        memcpy(out, x, (size_t)n * sizeof *x);
    else
        vec()->scale(out, type, x, 1.0f, n);
}

void convert(void *out, enum dtype type, const float *x, int64_t n) {
    vec();
#pragma omp parallel for num_threads(threads_for(n))
    for (int64_t i = 0; i < n; i += CHUNK)
        convert_rows(type, n - i < CHUNK ? n - i : CHUNK, x + i, (char *)out + (size_t)i * dtype_size(type));
}

void add_inplace(float *y, const float *x, int64_t n) {
    const struct vec_table *v = vec();
#pragma omp parallel for num_threads(threads_for(n))
    for (int64_t i = 0; i < n; i += CHUNK) v->add(y + i, x + i, n - i < CHUNK ? n - i : CHUNK);
}
