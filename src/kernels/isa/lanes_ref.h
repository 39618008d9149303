/* SPDX-License-Identifier: Apache-2.0 -- part of lanes.h */
typedef struct {
    float v[16];
} lanes;

#define LANES_EACH(expression)                                                                                         \
    lanes r;                                                                                                           \
    for (int i = 0; i < 16; i++) r.v[i] = (expression);                                                                \
    return r

ALWAYS_INLINE lanes lanes_set1(float x) {
    LANES_EACH(x);
}
ALWAYS_INLINE lanes lanes_load(const float *p) {
    LANES_EACH(p[i]);
}
ALWAYS_INLINE void lanes_store(float *p, lanes x) {
    for (int i = 0; i < 16; i++) p[i] = x.v[i];
}
ALWAYS_INLINE lanes lanes_load_part(const float *p, int n, float fill) {
    LANES_EACH(i < n ? p[i] : fill);
}
ALWAYS_INLINE void lanes_store_part(float *p, lanes x, int n) {
    for (int i = 0; i < n; i++) p[i] = x.v[i];
}
ALWAYS_INLINE lanes lanes_add(lanes a, lanes b) {
    LANES_EACH(a.v[i] + b.v[i]);
}
ALWAYS_INLINE lanes lanes_sub(lanes a, lanes b) {
    LANES_EACH(a.v[i] - b.v[i]);
}
ALWAYS_INLINE lanes lanes_mul(lanes a, lanes b) {
    LANES_EACH(a.v[i] * b.v[i]);
}
ALWAYS_INLINE lanes lanes_div(lanes a, lanes b) {
    LANES_EACH(a.v[i] / b.v[i]);
}
ALWAYS_INLINE lanes lanes_sqrt(lanes a) {
    LANES_EACH(sqrtf(a.v[i]));
}
ALWAYS_INLINE lanes lanes_fma(lanes a, lanes b, lanes c) {
    LANES_EACH(fma1(a.v[i], b.v[i], c.v[i]));
}
/* a > b ? a : b, and the same with <: a NaN in b stays, one in a is lost. */
ALWAYS_INLINE lanes lanes_max(lanes a, lanes b) {
    LANES_EACH(a.v[i] > b.v[i] ? a.v[i] : b.v[i]);
}
ALWAYS_INLINE lanes lanes_min(lanes a, lanes b) {
    LANES_EACH(a.v[i] < b.v[i] ? a.v[i] : b.v[i]);
}

/* Halves are added until one lane is left: 8 + 8, 4 + 4, 2 + 2, 1 + 1. */
ALWAYS_INLINE float lanes_sum(lanes a) {
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++) a.v[i] += a.v[i + half];
    return a.v[0];
}
ALWAYS_INLINE float lanes_max_across(lanes a) {
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++) a.v[i] = a.v[i] > a.v[i + half] ? a.v[i] : a.v[i + half];
    return a.v[0];
}

/* x * 2^n for a whole n of any size, read from the low mantissa bits of `magic`, where adding 1.5 * 2^23 has left it.
 * In two steps, because n may lie outside a float's exponents. */
ALWAYS_INLINE lanes lanes_scale2(lanes x, lanes n, lanes magic) {
    (void)n;
    uint32_t bits[16], a[16], b[16];
    float fa[16], fb[16];
    memcpy(bits, magic.v, sizeof bits);
    for (int i = 0; i < 16; i++) {
        /* n + 512, so that halving needs no negative numbers: |n| < 256; and a NaN's bits may wrap as they like */
        uint32_t whole = bits[i] - 0x4b400000u + 512u, half = whole >> 1;
        a[i] = (half - 256u + 127u) << 23;
        b[i] = (whole - half - 256u + 127u) << 23;
    }
    memcpy(fa, a, sizeof fa);
    memcpy(fb, b, sizeof fb);
    LANES_EACH(x.v[i] * fa[i] * fb[i]);
}

ALWAYS_INLINE void lanes_store_bf16(uint16_t *p, lanes x) {
    for (int i = 0; i < 16; i++) p[i] = bf16_from_f32(x.v[i]);
}
ALWAYS_INLINE lanes lanes_load_bf16(const uint16_t *p) {
    LANES_EACH(bf16_to_f32(p[i]));
}

/* 16 x 16 floats, rows ldx apart, transposed to rows ldo apart. */
ALWAYS_INLINE void lanes_transpose(float *out, int64_t ldo, const float *x, int64_t ldx) {
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 16; j++) out[j * ldo + i] = x[i * ldx + j];
}

#undef LANES_EACH
