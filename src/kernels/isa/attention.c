/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/isa/isa.h"

/* Keys that row r of a block sees. */
ALWAYS_INLINE int seen(int r, int heads, int visible, int keys) {
    int n = visible + r / heads;
    return n < keys ? n : keys;
}

ALWAYS_INLINE float row_max(float *s, int n) {
    for (int i = n; i % LANES; i++) s[i] = -INFINITY;
    lanes top = lanes_load(s);
    for (int i = LANES; i < n; i += LANES) top = lanes_max(top, lanes_load(s + i));
    return lanes_max_across(top);
}

/* s -> exp(s - shift), and the sum. */
ALWAYS_INLINE float row_exp(float *s, int n, float shift) {
    lanes total = lanes_set1(0.0f), minus = lanes_set1(shift);
    for (int i = 0; i < n; i += LANES) {
        lanes e = lanes_exp(lanes_sub(lanes_load(s + i), minus));
        lanes_store(s + i, e);
        total = lanes_add(total, e);
    }
    return lanes_sum(total);
}

/* At most 16 rows, one lane of max and factor each. */
ALWAYS_INLINE void softmax_group(float *s, const int *n, int rows, float *max, double *sum, float *factor) {
    float now[LANES], back[LANES], total[LANES];
    for (int r = 0; r < rows; r++) {
        float top = row_max(s + r * VEC_KEYS, n[r]);
        now[r] = top > max[r] ? top : max[r];
        back[r] = max[r] - (now[r] == -INFINITY ? 0.0f : now[r]); /* no key has any weight yet: not NaN */
    }
    for (int r = rows; r < LANES; r++) back[r] = 0.0f;
    lanes_store_n(factor, lanes_exp(lanes_load(back)), rows);
    for (int r = 0; r < rows; r++) total[r] = row_exp(s + r * VEC_KEYS, n[r], now[r] == -INFINITY ? 0.0f : now[r]);
    for (int r = 0; r < rows; r++) {
        max[r] = now[r];
        sum[r] = sum[r] * (double)factor[r] + (double)total[r];
    }
}

void VEC(softmax_rows)(float *s, int rows, int heads, int visible, int keys, float *max, double *sum, float *factor) {
    for (int r = 0; r < rows; r += LANES) {
        int n[LANES], count = rows - r < LANES ? rows - r : LANES;
        for (int i = 0; i < count; i++) n[i] = seen(r + i, heads, visible, keys);
        softmax_group(s + r * VEC_KEYS, n, count, max + r, sum + r, factor + r);
    }
}

void VEC(scale_rows)(float *x, int rows, int n, const float *factor) {
    for (int r = 0; r < rows; r++) {
        if (factor[r] == 1.0f) continue;
        const lanes f = lanes_set1(factor[r]);
        float *row = x + (int64_t)r * n;
        int i = 0;
        for (; i + LANES <= n; i += LANES) lanes_store(row + i, lanes_mul(lanes_load(row + i), f));
        if (i < n) lanes_store_part(row + i, lanes_mul(lanes_load_part(row + i, n - i, 0.0f), f), n - i);
    }
}

void VEC(attention_grad_rows)(float *s, float *dp, int rows, int heads, int visible, int keys, const float *lse,
                              const float *d) {
    const int room = (keys + LANES - 1) / LANES * LANES;
    for (int r = 0; r < rows; r++, s += VEC_KEYS, dp += VEC_KEYS) {
        const int n = seen(r, heads, visible, keys);
        const lanes minus = lanes_set1(lse[r]), inner = lanes_set1(d[r]);
        for (int i = 0; i < n; i += LANES) {
            lanes p = lanes_exp(lanes_sub(lanes_load(s + i), minus));
            lanes_store(s + i, p);
            lanes_store(dp + i, lanes_mul(p, lanes_sub(lanes_load(dp + i), inner)));
        }
        for (int i = n; i < room; i++) s[i] = dp[i] = 0.0f;
    }
}
