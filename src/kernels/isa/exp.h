/* SPDX-License-Identifier: Apache-2.0
 *
 * exp(x) for 16 lanes: x = n ln 2 + r with |r| <= ln 2 / 2, exp(x) = 2^n (1 + r + r^2 q(r)). n comes from adding 1.5 *
 * 2^23 (the sum's low bits are the rounded integer), ln 2 is split so that n * LN2_HIGH is exact, q is the minimax
 * polynomial of degree 4 for the relative error (3.1e-9). Outside [-105, 89] the result no longer changes.
 */
#ifndef OPSM_KERNELS_ISA_EXP_H
#define OPSM_KERNELS_ISA_EXP_H
#include "kernels/isa/lanes.h"

ALWAYS_INLINE lanes lanes_exp(lanes x) {
    x = lanes_min(lanes_set1(89.0f), lanes_max(lanes_set1(-105.0f), x)); /* this order of arguments keeps NaN */
    const lanes shift = lanes_set1(0x1.8p23f);
    lanes magic = lanes_fma(x, lanes_set1(0x1.715476p+0f), shift);
    lanes n = lanes_sub(magic, shift);
    lanes r = lanes_fma(n, lanes_set1(-0x1.62e4p-1f), x);
    r = lanes_fma(n, lanes_set1(-0x1.7f7d1cp-20f), r);
    lanes q = lanes_set1(0x1.6a241ap-10f);
    q = lanes_fma(q, r, lanes_set1(0x1.1239f2p-7f));
    q = lanes_fma(q, r, lanes_set1(0x1.5558f2p-5f));
    q = lanes_fma(q, r, lanes_set1(0x1.555492p-3f));
    q = lanes_fma(q, r, lanes_set1(0x1.fffffcp-2f));
    lanes p = lanes_fma(lanes_mul(r, r), q, r);
    return lanes_scale2(lanes_add(p, lanes_set1(1.0f)), n, magic);
}

#endif
