/* SPDX-License-Identifier: Apache-2.0
 *
 * Sixteen floats as one value: the unit in which every kernel of this folder is written. Each file of the folder is
 * compiled once per instruction set; the operations below are the only place that knows which.
 *
 *   AVX-512   one register        AVX2 + FMA   two registers        NEON   four        otherwise   plain C on an array
 *
 * An operation works lane by lane, so a kernel that is written in lanes gives the same bits at AVX2, AVX-512 and NEON.
 * The plain version has no fused multiply-add unless the machine has one: its bits differ, its order of operations does
 * not. */
#ifndef OPSM_KERNELS_ISA_LANES_H
#define OPSM_KERNELS_ISA_LANES_H
#include "kernels/dtype.h"

enum { LANES = 16 };

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LANES_SANITIZED
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define LANES_SANITIZED
#endif

/* Inlined arrays of the plain version take compilers minutes under the address sanitizer: there they stay functions. */
#if defined(LANES_SANITIZED) && !defined(__AVX2__)
#define ALWAYS_INLINE static __attribute__((noinline, unused))
#define NOINLINE      __attribute__((noinline))
#elif defined(__GNUC__)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define NOINLINE      __attribute__((noinline))
#else
#define ALWAYS_INLINE static inline
#define NOINLINE
#endif

/* a * b + c, rounded once where the machine can; the scalar twin of lanes_fma. */
ALWAYS_INLINE float fma1(float a, float b, float c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#include "kernels/isa/lanes_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__)
#include "kernels/isa/lanes_avx2.h"
#elif defined(VEC_NEON)
#include "kernels/isa/lanes_neon.h"
#else
#include "kernels/isa/lanes_ref.h"
#endif

/* The first n lanes (n <= 16); the common case n == 16 is decided at compile time after inlining. */
ALWAYS_INLINE lanes lanes_load_n(const float *p, int n, float fill) {
    return n == LANES ? lanes_load(p) : lanes_load_part(p, n, fill);
}

ALWAYS_INLINE void lanes_store_n(float *p, lanes x, int n) {
    if (n == LANES)
        lanes_store(p, x);
    else
        lanes_store_part(p, x, n);
}

/* Stores as f32 or bf16. */
ALWAYS_INLINE void lanes_store_as(void *out, enum dtype type, int64_t at, lanes x, int n) {
    if (type == DTYPE_F32) {
        lanes_store_n((float *)out + at, x, n);
    } else if (n == LANES) {
        lanes_store_bf16((uint16_t *)out + at, x);
    } else {
        uint16_t whole[LANES];
        lanes_store_bf16(whole, x);
        memcpy((uint16_t *)out + at, whole, (size_t)n * sizeof *whole);
    }
}

#endif
