/* SPDX-License-Identifier: Apache-2.0
 *
 * Sum of products over a row: four chains of lanes, a fixed tree, blocks left to right in double.
 */
#ifndef OPSM_KERNELS_ISA_SUMS_H
#define OPSM_KERNELS_ISA_SUMS_H
#include "kernels/isa/lanes.h"
#include "kernels/vec.h"

ALWAYS_INLINE lanes sums_load(const void *x, enum dtype type, int64_t at, int n) {
    if (type == DTYPE_F32) return lanes_load_n((const float *)x + at, n, 0.0f);
    if (n == LANES) return lanes_load_bf16((const uint16_t *)x + at);
    uint16_t whole[LANES] = {0};
    memcpy(whole, (const uint16_t *)x + at, (size_t)n * sizeof *whole);
    return lanes_load_bf16(whole);
}

/* sum of a[i] * b[i] (* c[i] unless c is NULL) */
ALWAYS_INLINE double sum_products(const float *a, const void *b, enum dtype b_type, const float *c, int64_t n) {
    double total = 0.0;
    for (int64_t start = 0; start < n; start += VEC_BLOCK) {
        int64_t end = n - start < VEC_BLOCK ? n : start + VEC_BLOCK, i = start;
        lanes acc[4] = {lanes_set1(0.0f), lanes_set1(0.0f), lanes_set1(0.0f), lanes_set1(0.0f)};
        for (; i + 4 * LANES <= end; i += 4 * LANES)
            for (int u = 0; u < 4; u++) {
                lanes y = sums_load(b, b_type, i + u * LANES, LANES);
                if (c) y = lanes_mul(y, lanes_load(c + i + u * LANES));
                acc[u] = lanes_fma(lanes_load(a + i + u * LANES), y, acc[u]);
            }
        for (int u = 0; i < end; i += LANES, u++) {
            int k = end - i < LANES ? (int)(end - i) : LANES;
            lanes y = sums_load(b, b_type, i, k);
            if (c) y = lanes_mul(y, lanes_load_n(c + i, k, 0.0f));
            acc[u] = lanes_fma(lanes_load_n(a + i, k, 0.0f), y, acc[u]);
        }
        total += (double)lanes_sum(lanes_add(lanes_add(acc[0], acc[1]), lanes_add(acc[2], acc[3])));
    }
    return total;
}

#endif
