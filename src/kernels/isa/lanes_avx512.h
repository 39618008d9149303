/* SPDX-License-Identifier: Apache-2.0 -- part of lanes.h */
#include <immintrin.h>

typedef __m512 lanes;

ALWAYS_INLINE lanes lanes_set1(float x) {
    return _mm512_set1_ps(x);
}
ALWAYS_INLINE lanes lanes_load(const float *p) {
    return _mm512_loadu_ps(p);
}
ALWAYS_INLINE void lanes_store(float *p, lanes x) {
    _mm512_storeu_ps(p, x);
}
ALWAYS_INLINE __mmask16 lanes_mask(int n) {
    return (__mmask16)((1u << n) - 1);
}
ALWAYS_INLINE lanes lanes_load_part(const float *p, int n, float fill) {
    return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), lanes_mask(n), p);
}
ALWAYS_INLINE void lanes_store_part(float *p, lanes x, int n) {
    _mm512_mask_storeu_ps(p, lanes_mask(n), x);
}
ALWAYS_INLINE lanes lanes_add(lanes a, lanes b) {
    return _mm512_add_ps(a, b);
}
ALWAYS_INLINE lanes lanes_sub(lanes a, lanes b) {
    return _mm512_sub_ps(a, b);
}
ALWAYS_INLINE lanes lanes_mul(lanes a, lanes b) {
    return _mm512_mul_ps(a, b);
}
ALWAYS_INLINE lanes lanes_div(lanes a, lanes b) {
    return _mm512_div_ps(a, b);
}
ALWAYS_INLINE lanes lanes_sqrt(lanes a) {
    return _mm512_sqrt_ps(a);
}
ALWAYS_INLINE lanes lanes_fma(lanes a, lanes b, lanes c) {
    return _mm512_fmadd_ps(a, b, c);
}
/* a > b ? a : b, and the same with <: a NaN in b stays, one in a is lost. */
ALWAYS_INLINE lanes lanes_max(lanes a, lanes b) {
    return _mm512_max_ps(a, b);
}
ALWAYS_INLINE lanes lanes_min(lanes a, lanes b) {
    return _mm512_min_ps(a, b);
}

/* Halves are added until one lane is left: 8 + 8, 4 + 4, 2 + 2, 1 + 1. */
ALWAYS_INLINE float lanes_sum(lanes a) {
    __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
ALWAYS_INLINE float lanes_max_across(lanes a) {
    __m256 b = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_max_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

/* x * 2^n for a whole n of any size, which is also in the low mantissa bits of `magic`. */
ALWAYS_INLINE lanes lanes_scale2(lanes x, lanes n, lanes magic) {
    (void)magic;
    return _mm512_scalef_ps(x, n);
}

/* bf16_from_f32 on every lane. (VCVTNEPS2BF16 would flush denormals.) */
ALWAYS_INLINE void lanes_store_bf16(uint16_t *p, lanes x) {
    __m512i bits = _mm512_castps_si512(x), high = _mm512_srli_epi32(bits, 16);
    __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
    __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    rounded = _mm512_mask_or_epi32(rounded, nan, high, _mm512_set1_epi32(0x40));
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(rounded));
}
ALWAYS_INLINE lanes lanes_load_bf16(const uint16_t *p) {
    __m256i half = _mm256_loadu_si256((const __m256i *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

/* 16 x 16 floats, rows ldx apart, transposed to rows ldo apart. */
ALWAYS_INLINE void lanes_transpose(float *out, int64_t ldo, const float *x, int64_t ldx) {
    __m512 r[16], t[16];
    for (int i = 0; i < 16; i++) r[i] = _mm512_loadu_ps(x + i * ldx);
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            __m512d a = _mm512_castps_pd(t[i + j]), b = _mm512_castps_pd(t[i + j + 2]);
            r[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            r[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    /* r[4q + c] now holds, in its 128-bit part p, column 4p + c of rows 4q .. 4q + 3 */
    for (int c = 0; c < 4; c++) {
        __m512 a = _mm512_shuffle_f32x4(r[c], r[c + 4], 0x88), b = _mm512_shuffle_f32x4(r[c], r[c + 4], 0xdd);
        __m512 d = _mm512_shuffle_f32x4(r[c + 8], r[c + 12], 0x88), e = _mm512_shuffle_f32x4(r[c + 8], r[c + 12], 0xdd);
        _mm512_storeu_ps(out + c * ldo, _mm512_shuffle_f32x4(a, d, 0x88));
        _mm512_storeu_ps(out + (c + 8) * ldo, _mm512_shuffle_f32x4(a, d, 0xdd));
        _mm512_storeu_ps(out + (c + 4) * ldo, _mm512_shuffle_f32x4(b, e, 0x88));
        _mm512_storeu_ps(out + (c + 12) * ldo, _mm512_shuffle_f32x4(b, e, 0xdd));
    }
}
