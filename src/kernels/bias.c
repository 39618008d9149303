/* SPDX-License-Identifier: Apache-2.0 */
#include "base/threads.h"
#include "kernels/layers.h"
#include "kernels/vec.h"

/* Column sums go over slices of SLICE columns, rows in blocks of GRAD_ROWS in f32, the blocks in order in double. */
enum { SLICE = 64, GRAD_ROWS = 64 };

void bias_forward(float *x, int64_t ldx, const float *bias, int64_t m, int64_t n) {
    const struct vec_table *v = vec();
#pragma omp parallel for num_threads(threads_for(m *n))
    for (int64_t i = 0; i < m; i++) v->add(x + i * ldx, bias, n);
}

/* dbias [width] += column sums of dy [m, width], rows lddy apart; width at most SLICE. */
static void sum_slice(float *dbias, const float *dy, int64_t lddy, int64_t m, int64_t width) {
    const struct vec_table *v = vec();
    double total[SLICE] = {0};
    for (int64_t from = 0; from < m; from += GRAD_ROWS) {
        float block[SLICE] = {0};
        for (int64_t i = from; i < m && i < from + GRAD_ROWS; i++) v->add(block, dy + i * lddy, width);
        for (int64_t j = 0; j < width; j++) total[j] += (double)block[j];
    }
    for (int64_t j = 0; j < width; j++) dbias[j] += (float)total[j];
}

void bias_backward(float *dbias, const float *dy, int64_t lddy, int64_t m, int64_t n) {
#pragma omp parallel for num_threads(threads_for(m *n))
    for (int64_t j = 0; j < n; j += SLICE) sum_slice(dbias + j, dy + j, lddy, m, n - j < SLICE ? n - j : SLICE);
}
