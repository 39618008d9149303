/* SPDX-License-Identifier: Apache-2.0 -- part of lanes.h */
#include <immintrin.h>

typedef struct {
    __m256 lo, hi;
} lanes;

ALWAYS_INLINE lanes lanes_set1(float x) {
    return (lanes){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
ALWAYS_INLINE lanes lanes_load(const float *p) {
    return (lanes){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
ALWAYS_INLINE void lanes_store(float *p, lanes x) {
    _mm256_storeu_ps(p, x.lo);
    _mm256_storeu_ps(p + 8, x.hi);
}
ALWAYS_INLINE lanes lanes_load_part(const float *p, int n, float fill) {
    float whole[16];
    for (int i = 0; i < 16; i++) whole[i] = i < n ? p[i] : fill;
    return lanes_load(whole);
}
ALWAYS_INLINE void lanes_store_part(float *p, lanes x, int n) {
    float whole[16];
    lanes_store(whole, x);
    memcpy(p, whole, (size_t)n * sizeof *p);
}
ALWAYS_INLINE lanes lanes_add(lanes a, lanes b) {
    return (lanes){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
ALWAYS_INLINE lanes lanes_sub(lanes a, lanes b) {
    return (lanes){_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
ALWAYS_INLINE lanes lanes_mul(lanes a, lanes b) {
    return (lanes){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
ALWAYS_INLINE lanes lanes_div(lanes a, lanes b) {
    return (lanes){_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
ALWAYS_INLINE lanes lanes_sqrt(lanes a) {
    return (lanes){_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)};
}
ALWAYS_INLINE lanes lanes_fma(lanes a, lanes b, lanes c) {
    return (lanes){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
/* a > b ? a : b, and the same with <: a NaN in b stays, one in a is lost. */
ALWAYS_INLINE lanes lanes_max(lanes a, lanes b) {
    return (lanes){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
ALWAYS_INLINE lanes lanes_min(lanes a, lanes b) {
    return (lanes){_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}

/* Halves are added until one lane is left: 8 + 8, 4 + 4, 2 + 2, 1 + 1. */
ALWAYS_INLINE float lanes_sum(lanes a) {
    __m256 b = _mm256_add_ps(a.lo, a.hi);
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
ALWAYS_INLINE float lanes_max_across(lanes a) {
    __m256 b = _mm256_max_ps(a.lo, a.hi);
    __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_max_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

/* x * 2^n for a whole n of any size, read from the low mantissa bits of `magic`, where adding 1.5 * 2^23 has left it.
 * In two steps, because n may lie outside a float's exponents. */
ALWAYS_INLINE __m256 half_scale2(__m256 x, __m256 magic) {
    __m256i n = _mm256_sub_epi32(_mm256_castps_si256(magic), _mm256_set1_epi32(0x4b400000));
    __m256i half = _mm256_srai_epi32(n, 1), one = _mm256_set1_epi32(127);
    __m256i a = _mm256_slli_epi32(_mm256_add_epi32(half, one), 23);
    __m256i b = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(n, half), one), 23);
    return _mm256_mul_ps(_mm256_mul_ps(x, _mm256_castsi256_ps(a)), _mm256_castsi256_ps(b));
}
ALWAYS_INLINE lanes lanes_scale2(lanes x, lanes n, lanes magic) {
    (void)n;
    return (lanes){half_scale2(x.lo, magic.lo), half_scale2(x.hi, magic.hi)};
}

/* bf16_from_f32 on every lane, as 32-bit numbers. */
ALWAYS_INLINE __m256i half_bf16(__m256 x) {
    __m256i bits = _mm256_castps_si256(x), high = _mm256_srli_epi32(bits, 16);
    __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
    __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
    return _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
}
ALWAYS_INLINE void lanes_store_bf16(uint16_t *p, lanes x) {
    __m256i packed = _mm256_packus_epi32(half_bf16(x.lo), half_bf16(x.hi));
    _mm256_storeu_si256((__m256i *)p, _mm256_permute4x64_epi64(packed, 0xd8));
}
ALWAYS_INLINE __m256 half_load_bf16(const uint16_t *p) {
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
ALWAYS_INLINE lanes lanes_load_bf16(const uint16_t *p) {
    return (lanes){half_load_bf16(p), half_load_bf16(p + 8)};
}

ALWAYS_INLINE void transpose8(float *out, int64_t ldo, const float *x, int64_t ldx) {
    __m256 r[8], t[8];
    for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(x + i * ldx);
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            r[i + 2 * j] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0x44);
            r[i + 2 * j + 1] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0xee);
        }
    for (int c = 0; c < 4; c++) {
        _mm256_storeu_ps(out + c * ldo, _mm256_permute2f128_ps(r[c], r[c + 4], 0x20));
        _mm256_storeu_ps(out + (c + 4) * ldo, _mm256_permute2f128_ps(r[c], r[c + 4], 0x31));
    }
}

/* 16 x 16 floats, rows ldx apart, transposed to rows ldo apart. */
ALWAYS_INLINE void lanes_transpose(float *out, int64_t ldo, const float *x, int64_t ldx) {
    for (int i = 0; i < 16; i += 8)
        for (int j = 0; j < 16; j += 8) transpose8(out + j * ldo + i, ldo, x + i * ldx + j, ldx);
}
