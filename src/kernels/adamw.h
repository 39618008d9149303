/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OPSM_KERNELS_ADAMW_H
#define OPSM_KERNELS_ADAMW_H
#include <stdbool.h>
#include <stdint.h>

/* Sum of squares of x [n] in double, in fixed blocks: the same bits at any thread count. NaN and infinity come
 * through. */
double sum_squares(const float *x, int64_t n);

struct adamw_step {
    float lr, beta1, beta2, eps, weight_decay;
    float grad_scale;   /* gradients are multiplied by this first (clipping) */
    float bias1, bias2; /* 1 - beta^t */
};

/* One AdamW update with decoupled decay (Loshchilov & Hutter 2019, algorithm 2) of w [n] from g [n]; m, v [n] are the
 * moments. `decay` false leaves the decay out (norms, biases). Parallel, element-wise. */
void adamw_update(float *w, float *m, float *v, const float *g, int64_t n, const struct adamw_step *step, bool decay);

#endif
