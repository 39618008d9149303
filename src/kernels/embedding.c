/* SPDX-License-Identifier: Apache-2.0 */
#include "base/threads.h"
#include "kernels/layers.h"
#include "kernels/vec.h"

/* Two rows may name one token, so the gradient is cut by columns: each task adds its slice of all rows in their
 * order. */
enum { SLICE = 64 };

void embedding_forward(float *y, const float *table, const int32_t *ids, int64_t m, int64_t dim) {
#pragma omp parallel for num_threads(threads_for(m *dim))
    for (int64_t i = 0; i < m; i++) memcpy(y + i * dim, table + ids[i] * dim, (size_t)dim * sizeof *y);
}

void embedding_backward(float *dtable, const float *dy, const int32_t *ids, int64_t m, int64_t dim) {
    const struct vec_table *v = vec();
#pragma omp parallel for num_threads(threads_for(m *dim))
    for (int64_t j = 0; j < dim; j += SLICE)
        for (int64_t i = 0; i < m; i++)
            v->add(dtable + ids[i] * dim + j, dy + i * dim + j, dim - j < SLICE ? dim - j : SLICE);
}
