/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/isa/isa.h"

float VEC(softmax_block)(float *s, int n, float *max, double *sum) {
    for (int i = n; i % LANES; i++) s[i] = -INFINITY;
    lanes top = lanes_set1(-INFINITY);
    for (int i = 0; i < n; i += LANES) top = lanes_max(top, lanes_load(s + i));
    float old = *max, block = lanes_max_across(top), now = block > old ? block : old;
    float shift = now == -INFINITY ? 0.0f : now; /* no key has any weight yet: not NaN */
    float factor = old == now ? 1.0f : VEC(exp1)(old - shift);
    lanes total = lanes_set1(0.0f), minus = lanes_set1(shift);
    for (int i = 0; i < n; i += LANES) {
        lanes e = lanes_exp(lanes_sub(lanes_load(s + i), minus));
        lanes_store(s + i, e);
        total = lanes_add(total, e);
    }
    *max = now;
    *sum = *sum * (double)factor + (double)lanes_sum(total);
    return factor;
}

void VEC(attention_grad_block)(float *s, float *dp, int n, int room, float lse, float d) {
    for (int i = 0; i < n; i += LANES) {
        lanes p = lanes_exp(lanes_sub(lanes_load(s + i), lanes_set1(lse)));
        lanes_store(s + i, p);
        lanes_store(dp + i, lanes_mul(p, lanes_sub(lanes_load(dp + i), lanes_set1(d))));
    }
    for (int i = n; i < room; i++) s[i] = dp[i] = 0.0f;
}
