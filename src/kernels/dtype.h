/* SPDX-License-Identifier: Apache-2.0
 *
 * The two number formats of GEMM inputs, and the conversions between them.
 */
#ifndef OPSM_KERNELS_DTYPE_H
#define OPSM_KERNELS_DTYPE_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __FINITE_MATH_ONLY__
#error "opsm needs IEEE arithmetic: NaN and infinity decide whether a sequence is dropped; build without -ffast-math"
#endif

enum dtype { DTYPE_F32, DTYPE_BF16 };

static inline size_t dtype_size(enum dtype type) {
    return type == DTYPE_BF16 ? 2 : 4;
}

/* bf16 is the upper half of a float; conversion rounds to nearest, ties to even, and keeps NaN a NaN. */
static inline uint16_t bf16_from_f32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

static inline float bf16_to_f32(uint16_t h) {
    uint32_t bits = (uint32_t)h << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#endif
