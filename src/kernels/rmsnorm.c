/* SPDX-License-Identifier: Apache-2.0
 *
 * RMSNorm over whole rows (rmsnorm_*) and over each head's slice of a row (headnorm_*). Gradients of the weight are
 * summed in blocks of GRAD_ROWS rows in f32, the blocks then in order in double.
 */
#include "base/mem.h"
#include "base/threads.h"
#include "kernels/layers.h"
#include "kernels/scratch.h"
#include "kernels/vec.h"

enum { GRAD_ROWS = 64 };

void rmsnorm_forward(void *y, enum dtype type, float *rstd, const float *x, const float *w, int64_t m, int64_t dim,
                     float eps) {
    const struct vec_table *v = vec();
#pragma omp parallel for num_threads(threads_for(m *dim * 2))
    for (int64_t i = 0; i < m; i++) {
        float r = v->rmsnorm_row((char *)y + (size_t)(i * dim) * dtype_size(type), type, x + i * dim, w, dim, eps);
        if (rstd) rstd[i] = r;
    }
}

void headnorm_forward(float *x, int64_t ldx, float *rstd, const float *w, int64_t m, int n_heads, int head_dim,
                      float eps) {
    const struct vec_table *v = vec();
#pragma omp parallel for num_threads(threads_for(m *n_heads *head_dim * 2))
    for (int64_t i = 0; i < m; i++)
        for (int h = 0; h < n_heads; h++) {
            float *head = x + i * ldx + (int64_t)h * head_dim;
            float r = v->rmsnorm_row(head, DTYPE_F32, head, w, head_dim, eps);
            if (rstd) rstd[i * n_heads + h] = r;
        }
}

/* One normalised slice after another: n_slices per row, each `dim` long with its own rstd. */
struct slices {
    float *dx;
    const float *dy, *x;
    int64_t lddx, lddy, ldx, dim;
    int n_slices;
    bool add;
};

/* Rows from .. to - 1: dx (+)= gradient, dw [dim] += the rows' share (NULL: not wanted). */
static void grad_rows(const struct slices *s, float *dw, const float *w, const float *rstd, int64_t from, int64_t to) {
    const struct vec_table *v = vec();
    for (int64_t i = from; i < to; i++)
        for (int h = 0; h < s->n_slices; h++) {
            int64_t at = h * s->dim;
            v->rmsnorm_grad_row(s->dx + i * s->lddx + at, s->add, dw, s->dy + i * s->lddy + at, s->x + i * s->ldx + at,
                                w, rstd[i * s->n_slices + h], s->dim);
        }
}

/* dw [dim] += partial [n_blocks, dim] summed over the blocks in order. */
static void combine(float *dw, const float *partial, int64_t n_blocks, int64_t dim) {
#pragma omp parallel for num_threads(threads_for(n_blocks *dim))
    for (int64_t j = 0; j < dim; j++) {
        double sum = 0.0;
        for (int64_t b = 0; b < n_blocks; b++) sum += (double)partial[b * dim + j];
        dw[j] += (float)sum;
    }
}

/* dx of all m rows, and dw [dim] by way of a sum for every block of rows. */
static opsm_status backward(const struct slices *s, float *dw, const float *w, const float *rstd, int64_t m,
                            opsm_error *err) {
    if (m <= 0) return OPSM_OK;
    int64_t n_blocks = (m + GRAD_ROWS - 1) / GRAD_ROWS;
    size_t count = (size_t)(n_blocks * s->dim);
    float *partial = dw ? scratch_floats(SCRATCH_PARTIALS, count) : NULL;
    if (dw && !partial) return mem_exhausted(err, "the gradient of a norm", count * sizeof *partial);
#pragma omp parallel for schedule(static) num_threads(threads_for(m * s->n_slices * s->dim * 4))
    for (int64_t b = 0; b < n_blocks; b++) {
        float *sum = dw ? partial + b * s->dim : NULL;
        if (sum) memset(sum, 0, (size_t)s->dim * sizeof *sum);
        int64_t end = (b + 1) * GRAD_ROWS;
        grad_rows(s, sum, w, rstd, b * GRAD_ROWS, end < m ? end : m);
    }
    if (dw) combine(dw, partial, n_blocks, s->dim);
    return OPSM_OK;
}

opsm_status rmsnorm_backward(float *dx, float *dw, const float *dy, const float *x, const float *w, const float *rstd,
                             int64_t m, int64_t dim, opsm_error *err) {
    const struct slices s = {dx, dy, x, dim, dim, dim, dim, 1, true};
    return backward(&s, dw, w, rstd, m, err);
}

opsm_status headnorm_backward(float *dy, int64_t lddy, float *dw, const float *x, int64_t ldx, const float *w,
                              const float *rstd, int64_t m, int n_heads, int head_dim, opsm_error *err) {
    const struct slices s = {dy, dy, x, lddy, lddy, ldx, head_dim, n_heads, false};
    return backward(&s, dw, w, rstd, m, err);
}
