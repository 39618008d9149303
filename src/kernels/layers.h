/* SPDX-License-Identifier: Apache-2.0
 *
 * The row-wise layers of a decoder, forward and backward side by side. Outputs first, then inputs, then dimensions.
 * Every function is parallel over rows inside, computes a row without looking at its neighbours, and is not to be
 * called from a parallel region. Weight gradients (+=) are summed over rows in fixed blocks: the same bits at any
 * thread count.
 */
#ifndef OPSM_KERNELS_LAYERS_H
#define OPSM_KERNELS_LAYERS_H
#include "kernels/dtype.h"
#include <opsm/status.h>

/* RMSNorm: y = x * w / sqrt(mean(x^2) + eps). x [m, dim] -> y [m, dim] in `type`; rstd [m] = the reciprocal root for
 * the backward pass (NULL: not wanted). */
void rmsnorm_forward(void *y, enum dtype type, float *rstd, const float *x, const float *w, int64_t m, int64_t dim,
                     float eps);
/* dx [m, dim] += gradient; dw [dim] += gradient (NULL: not wanted). dy f32 [m, dim]. */
opsm_status rmsnorm_backward(float *dx, float *dw, const float *dy, const float *x, const float *w, const float *rstd,
                             int64_t m, int64_t dim, opsm_error *err);

/* RMSNorm of each head's slice (Qwen3's QK-norm), in place: x [m rows ldx apart, n_heads * head_dim], w [head_dim];
 * keeps rstd [m, n_heads] (NULL: not wanted). */
void headnorm_forward(float *x, int64_t ldx, float *rstd, const float *w, int64_t m, int n_heads, int head_dim,
                      float eps);
/* dy [m rows lddy apart, n_heads * head_dim] becomes dx; dw [head_dim] += gradient (NULL: not wanted). x is the input
 * as it was before headnorm_forward. */
opsm_status headnorm_backward(float *dy, int64_t lddy, float *dw, const float *x, int64_t ldx, const float *w,
                              const float *rstd, int64_t m, int n_heads, int head_dim, opsm_error *err);

/* Rotary embedding in rotate-half order, in place: within a head, element i < head_dim/2 pairs with i + head_dim/2,
 * turned by position * inv_freq[i]. x [m rows ldx apart, n_heads * head_dim], position [m], inv_freq [head_dim/2]; the
 * angle is rounded to float, its cosine and sine are those of that float. sign = +1 forward, -1 backward (the
 * rotation's transpose). */
void rope_apply(float *x, int64_t ldx, const int32_t *position, const float *inv_freq, int64_t m, int n_heads,
                int head_dim, int sign);

/* x [m rows ldx apart, n] += bias [n]; the gradient: dbias [n] += column sums of dy [m rows lddy apart, n]. */
void bias_forward(float *x, int64_t ldx, const float *bias, int64_t m, int64_t n);
void bias_backward(float *dbias, const float *dy, int64_t lddy, int64_t m, int64_t n);

/* SwiGLU: gate_up [m, 2n] holds gate | up; y [m, n] = silu(gate) * up in `type`. */
void swiglu_forward(void *y, enum dtype type, const float *gate_up, int64_t m, int64_t n);
/* dgate_up [m, 2n] in `type` (overwritten) from dy [m, n] f32 and the same gate_up [m, 2n]. */
void swiglu_backward(void *dgate_up, enum dtype type, const float *dy, const float *gate_up, int64_t m, int64_t n);

/* y += x, n elements; and out = x in `type`. */
void add_inplace(float *y, const float *x, int64_t n);
void convert(void *out, enum dtype type, const float *x, int64_t n);

/* Embedding lookup: y [m, dim] = table[ids[i]]; the gradient adds row i of dy to dtable[ids[i]], in row order. */
void embedding_forward(float *y, const float *table, const int32_t *ids, int64_t m, int64_t dim);
void embedding_backward(float *dtable, const float *dy, const int32_t *ids, int64_t m, int64_t dim);

#endif
