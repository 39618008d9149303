/* SPDX-License-Identifier: Apache-2.0 -- part of lanes.h */
#include <arm_neon.h>

typedef struct {
    float32x4_t v[4];
} lanes;

#define LANES_EACH(expression)                                                                                         \
    lanes r;                                                                                                           \
    for (int i = 0; i < 4; i++) r.v[i] = (expression);                                                                 \
    return r

ALWAYS_INLINE lanes lanes_set1(float x) {
    LANES_EACH(vdupq_n_f32(x));
}
ALWAYS_INLINE lanes lanes_load(const float *p) {
    LANES_EACH(vld1q_f32(p + 4 * i));
}
ALWAYS_INLINE void lanes_store(float *p, lanes x) {
    for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, x.v[i]);
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
    LANES_EACH(vaddq_f32(a.v[i], b.v[i]));
}
ALWAYS_INLINE lanes lanes_sub(lanes a, lanes b) {
    LANES_EACH(vsubq_f32(a.v[i], b.v[i]));
}
ALWAYS_INLINE lanes lanes_mul(lanes a, lanes b) {
    LANES_EACH(vmulq_f32(a.v[i], b.v[i]));
}
ALWAYS_INLINE lanes lanes_div(lanes a, lanes b) {
    LANES_EACH(vdivq_f32(a.v[i], b.v[i]));
}
ALWAYS_INLINE lanes lanes_sqrt(lanes a) {
    LANES_EACH(vsqrtq_f32(a.v[i]));
}
ALWAYS_INLINE lanes lanes_fma(lanes a, lanes b, lanes c) {
    LANES_EACH(vfmaq_f32(c.v[i], a.v[i], b.v[i]));
}
/* a > b ? a : b, and the same with <: a NaN in b stays, one in a is lost. vmaxq would keep both. */
ALWAYS_INLINE float32x4_t quad_max(float32x4_t a, float32x4_t b) {
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}
ALWAYS_INLINE lanes lanes_max(lanes a, lanes b) {
    LANES_EACH(quad_max(a.v[i], b.v[i]));
}
ALWAYS_INLINE lanes lanes_min(lanes a, lanes b) {
    LANES_EACH(vbslq_f32(vcltq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]));
}

/* Halves are added until one lane is left: 8 + 8, 4 + 4, 2 + 2, 1 + 1. */
ALWAYS_INLINE float lanes_sum(lanes a) {
    float32x4_t b = vaddq_f32(vaddq_f32(a.v[0], a.v[2]), vaddq_f32(a.v[1], a.v[3]));
    float32x2_t c = vadd_f32(vget_low_f32(b), vget_high_f32(b));
    return vget_lane_f32(c, 0) + vget_lane_f32(c, 1);
}
ALWAYS_INLINE float lanes_max_across(lanes a) {
    float32x4_t b = quad_max(quad_max(a.v[0], a.v[2]), quad_max(a.v[1], a.v[3]));
    float low = vgetq_lane_f32(b, 0) > vgetq_lane_f32(b, 2) ? vgetq_lane_f32(b, 0) : vgetq_lane_f32(b, 2);
    float high = vgetq_lane_f32(b, 1) > vgetq_lane_f32(b, 3) ? vgetq_lane_f32(b, 1) : vgetq_lane_f32(b, 3);
    return low > high ? low : high;
}

/* x * 2^n for a whole n of any size, read from the low mantissa bits of `magic`, where adding 1.5 * 2^23 has left it.
 * In two steps, because n may lie outside a float's exponents. */
ALWAYS_INLINE float32x4_t quad_scale2(float32x4_t x, float32x4_t magic) {
    int32x4_t n = vsubq_s32(vreinterpretq_s32_f32(magic), vdupq_n_s32(0x4b400000));
    int32x4_t half = vshrq_n_s32(n, 1), one = vdupq_n_s32(127);
    int32x4_t a = vshlq_n_s32(vaddq_s32(half, one), 23);
    int32x4_t b = vshlq_n_s32(vaddq_s32(vsubq_s32(n, half), one), 23);
    return vmulq_f32(vmulq_f32(x, vreinterpretq_f32_s32(a)), vreinterpretq_f32_s32(b));
}
ALWAYS_INLINE lanes lanes_scale2(lanes x, lanes n, lanes magic) {
    (void)n;
    LANES_EACH(quad_scale2(x.v[i], magic.v[i]));
}

/* bf16_from_f32 on every lane. */
ALWAYS_INLINE uint16x4_t quad_bf16(float32x4_t x) {
    uint32x4_t bits = vreinterpretq_u32_f32(x), high = vshrq_n_u32(bits, 16);
    uint32x4_t odd = vandq_u32(high, vdupq_n_u32(1));
    uint32x4_t rounded = vshrq_n_u32(vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff))), 16);
    uint32x4_t quiet = vorrq_u32(high, vdupq_n_u32(0x40));
    return vmovn_u32(vbslq_u32(vceqq_f32(x, x), rounded, quiet));
}
ALWAYS_INLINE void lanes_store_bf16(uint16_t *p, lanes x) {
    for (int i = 0; i < 4; i++) vst1_u16(p + 4 * i, quad_bf16(x.v[i]));
}
ALWAYS_INLINE lanes lanes_load_bf16(const uint16_t *p) {
    LANES_EACH(vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)));
}

ALWAYS_INLINE void transpose4(float *out, int64_t ldo, const float *x, int64_t ldx) {
    float32x4x2_t a = vtrnq_f32(vld1q_f32(x), vld1q_f32(x + ldx));
    float32x4x2_t b = vtrnq_f32(vld1q_f32(x + 2 * ldx), vld1q_f32(x + 3 * ldx));
    for (int i = 0; i < 2; i++) {
        vst1q_f32(out + i * ldo, vcombine_f32(vget_low_f32(a.val[i]), vget_low_f32(b.val[i])));
        vst1q_f32(out + (i + 2) * ldo, vcombine_f32(vget_high_f32(a.val[i]), vget_high_f32(b.val[i])));
    }
}

/* 16 x 16 floats, rows ldx apart, transposed to rows ldo apart. */
ALWAYS_INLINE void lanes_transpose(float *out, int64_t ldo, const float *x, int64_t ldx) {
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 16; j += 4) transpose4(out + j * ldo + i, ldo, x + i * ldx + j, ldx);
}

#undef LANES_EACH
