/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing of the K formats, bit for bit as ggml's reference quantisers do without an importance matrix.
 *
 * Each sub-block is fitted by least squares at a number of candidate scales. Rounding is part of the format: the sums of
 * a fit run over its elements in order. Four sub-blocks are therefore fitted at a time, one in each lane, so that no sum
 * is split and every lane does what a loop over one sub-block would.
 */
#include "io/quant_internal.h"
#include "io/quant_lanes.h"
#include <math.h>
#include <string.h>

enum { SUB = 32, SUBS = QK_K / SUB, SUB6 = 16, SUBS6 = QK_K / SUB6 };

/* x rounded to an integer, halves to even, while |x| < 2^22: the low mantissa bits of x + 1.5 * 2^23. Beyond, and for
 * NaN, it is some number, the same on every machine. */
static inline ints nearest_ints(floats x) {
    return ((ints)(x + 0x1.8p23f) & 0x7fffff) - 0x400000;
}

static inline int nearest_int(float x) {
    float shifted = x + 0x1.8p23f;
    int32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    return (bits & 0x7fffff) - 0x400000;
}

static inline ints levels(floats x, int lowest, int highest) {
    ints level = nearest_ints(x);
    ints above = level > highest, below = level < lowest;
    level = (above & highest) | (~above & level);
    return (below & lowest) | (~below & level);
}

static inline int level_of(float x, int lowest, int highest) {
    int level = nearest_int(x);
    return level > highest ? highest : level < lowest ? lowest : level;
}

/* x[i][lane] = element i of the lane's sub-block, of `count` elements. */
static void load_lanes(const float *values, int count, floats *x) {
    for (int i = 0; i < count; i++)
        for (int lane = 0; lane < LANES; lane++) x[i][lane] = values[lane * count + i];
}

static void store_levels(ints level, int i, int count, uint8_t *out) {
    for (int lane = 0; lane < LANES; lane++) out[lane * count + i] = (uint8_t)level[lane];
}

/* ---- Q4_K and Q5_K: value = scale * level - minimum ---------------------------------------------------------------- */

/* The candidates: inverse scales (highest level + first + i / 10) / range, i = 0..last. */
struct candidates {
    int highest;
    float first;
    int last;
};

static const struct candidates q4_k_candidates = {.highest = 15, .first = -1.0f, .last = 20};
static const struct candidates q5_k_candidates = {.highest = 31, .first = -0.5f, .last = 15};

/* What the lanes hold while candidates are tried; `lowest` <= 0 is the value of level 0. */
struct fit {
    floats x[SUB], weight[SUB];
    floats sum_weight, sum_x; /* sums of weight and of weight * x */
    floats lowest, highest;
    floats scale, error;        /* of the best candidate so far */
    floats inverse, subtrahend; /* which gives the levels round(inverse * (x - subtrahend)) */
};

static void start_fit(struct fit *fit, const float *values) {
    load_lanes(values, SUB, fit->x);
    floats squares = {0};
    for (int i = 0; i < SUB; i++) squares += fit->x[i] * fit->x[i];
    floats typical = squares / (float)SUB;
    for (int lane = 0; lane < LANES; lane++) typical[lane] = sqrtf(typical[lane]);
    fit->sum_weight = fit->sum_x = (floats){0};
    fit->lowest = fit->highest = fit->x[0];
    for (int i = 0; i < SUB; i++) {
        floats x = fit->x[i], weight = typical + magnitude(x);
        fit->lowest = choose(x < fit->lowest, x, fit->lowest);
        fit->highest = choose(x > fit->highest, x, fit->highest);
        fit->weight[i] = weight;
        fit->sum_weight += weight;
        fit->sum_x += weight * x;
    }
    fit->lowest = choose(fit->lowest > 0.0f, (floats){0}, fit->lowest);
}

static floats weighted_error(const struct fit *fit, const floats *level, floats scale, floats lowest) {
    floats error = {0};
    for (int i = 0; i < SUB; i++) {
        floats difference = scale * level[i] + lowest - fit->x[i];
        error += fit->weight[i] * (difference * difference);
    }
    return error;
}

/* Fits scale and lowest value to the levels that `inverse` gives, and keeps them where the error is smaller. */
static void try_candidate(struct fit *fit, int highest, floats inverse, ints flat) {
    floats level[SUB], sum_l = {0}, sum_l2 = {0}, sum_xl = {0};
    for (int i = 0; i < SUB; i++) {
        level[i] = __builtin_convertvector(levels(inverse * (fit->x[i] - fit->lowest), 0, highest), floats);
        floats weighted = fit->weight[i] * level[i];
        sum_l += weighted;
        sum_l2 += weighted * level[i];
        sum_xl += weighted * fit->x[i];
    }
    floats determinant = fit->sum_weight * sum_l2 - sum_l * sum_l;
    floats scale = (fit->sum_weight * sum_xl - fit->sum_x * sum_l) / determinant;
    floats lowest = (sum_l2 * fit->sum_x - sum_l * sum_xl) / determinant;
    ints positive = lowest > 0.0f;
    scale = choose(positive, sum_xl / sum_l2, scale);
    lowest = choose(positive, (floats){0}, lowest);
    floats error = weighted_error(fit, level, scale, lowest);
    ints better = (determinant > 0.0f) & (error < fit->error) & ~flat;
    fit->inverse = choose(better, inverse, fit->inverse);
    fit->subtrahend = choose(better, fit->lowest, fit->subtrahend);
    fit->scale = choose(better, scale, fit->scale);
    fit->lowest = choose(better, lowest, fit->lowest);
    fit->error = choose(better, error, fit->error);
}

/* Scales, minima and levels of LANES sub-blocks. Where all elements are one number <= 0, the scale is 0. */
static void fit_sub_blocks(const float *values, const struct candidates *c, float *scale, float *minimum,
                           uint8_t *level) {
    struct fit fit;
    start_fit(&fit, values);
    ints flat = fit.highest == fit.lowest;
    fit.inverse = (float)c->highest / (fit.highest - fit.lowest);
    fit.subtrahend = fit.lowest;
    fit.scale = 1.0f / fit.inverse;
    floats first[SUB];
    for (int i = 0; i < SUB; i++)
        first[i] = __builtin_convertvector(levels(fit.inverse * (fit.x[i] - fit.lowest), 0, c->highest), floats);
    fit.error = weighted_error(&fit, first, fit.scale, fit.lowest);
    for (int i = 0; i <= c->last; i++) {
        float numerator = c->first + 0.1f * (float)i + (float)c->highest;
        try_candidate(&fit, c->highest, numerator / (fit.highest - fit.lowest), flat);
    }
    for (int i = 0; i < SUB; i++)
        store_levels(levels(fit.inverse * (fit.x[i] - fit.subtrahend), 0, c->highest) & ~flat, i, SUB, level);
    fit.scale = choose(flat, (floats){0}, fit.scale);
    for (int lane = 0; lane < LANES; lane++) {
        scale[lane] = fit.scale[lane];
        minimum[lane] = -fit.lowest[lane];
    }
}

/* Sub-block j's 6-bit scale and minimum; `packed` starts as zeros. See unpack_scale in quant_k.c. */
static void pack_scale(uint8_t *packed, int j, int scale, int minimum) {
    if (j < 4) {
        packed[j] |= (uint8_t)scale;
        packed[j + 4] |= (uint8_t)minimum;
        return;
    }
    packed[j + 4] = (uint8_t)((scale & 15) | (minimum & 15) << 4);
    packed[j - 4] |= (uint8_t)(scale >> 4 << 6);
    packed[j] |= (uint8_t)(minimum >> 4 << 6);
}

static float largest_of(const float *x, int count) {
    float largest = 0.0f;
    for (int i = 0; i < count; i++)
        if (x[i] > largest) largest = x[i];
    return largest;
}

/* x / largest in 63 steps. A negative scale (the best fit of a sub-block may have one) becomes the largest. */
static int six_bits(float x, float largest) {
    float inverse = largest > 0.0f ? 63.0f / largest : 0.0f;
    uint8_t step = (uint8_t)nearest_int(inverse * x);
    return step < 63 ? step : 63;
}

static uint16_t store_f16(uint8_t *out, float x) {
    uint16_t half = f16_from_f32(x);
    memcpy(out, &half, sizeof half);
    return half;
}

/* d, dmin and the packed scales of a block; level[QK_K], one byte per element. */
static void encode_k45(const float *values, const struct candidates *c, uint8_t *block, uint8_t *level) {
    float scale[SUBS], minimum[SUBS];
    for (int s = 0; s < SUBS; s += LANES) fit_sub_blocks(values + s * SUB, c, scale + s, minimum + s, level + s * SUB);
    float largest_scale = largest_of(scale, SUBS), largest_minimum = largest_of(minimum, SUBS);
    float d = f16_to_f32(store_f16(block, largest_scale / 63.0f));
    float dmin = f16_to_f32(store_f16(block + BYTES_F16, largest_minimum / 63.0f));
    uint8_t *packed = block + 2 * BYTES_F16;
    memset(packed, 0, K_SCALES);
    for (int s = 0; s < SUBS; s++, values += SUB, level += SUB) {
        int s6 = six_bits(scale[s], largest_scale), m6 = six_bits(minimum[s], largest_minimum);
        pack_scale(packed, s, s6, m6);
        float step = d * (float)s6, base = dmin * (float)m6;
        if (step == 0.0f) continue; /* whatever the levels, the values are the same: ggml keeps the fit's */
        for (int i = 0; i < SUB; i++) level[i] = (uint8_t)level_of((values[i] + base) / step, 0, c->highest);
    }
}

/* The low four bits of all levels, in 32 bytes for each two sub-blocks. */
static void pack_nibbles(const uint8_t *level, uint8_t *qs) {
    for (int s = 0; s < SUBS; s += 2)
        for (int i = 0; i < SUB; i++)
            qs[s / 2 * SUB + i] = (uint8_t)((level[s * SUB + i] & 15) | (level[(s + 1) * SUB + i] & 15) << 4);
}

void quant_encode_q4_k(const float *values, int64_t n_blocks, uint8_t *out) {
    uint8_t level[QK_K];
    for (int64_t b = 0; b < n_blocks; b++, values += QK_K, out += BYTES_Q4_K) {
        encode_k45(values, &q4_k_candidates, out, level);
        pack_nibbles(level, out + 2 * BYTES_F16 + K_SCALES);
    }
}

void quant_encode_q5_k(const float *values, int64_t n_blocks, uint8_t *out) {
    uint8_t level[QK_K];
    for (int64_t b = 0; b < n_blocks; b++, values += QK_K, out += BYTES_Q5_K) {
        encode_k45(values, &q5_k_candidates, out, level);
        uint8_t *qh = out + 2 * BYTES_F16 + K_SCALES;
        memset(qh, 0, QK_K / 8);
        for (int s = 0; s < SUBS; s++)
            for (int i = 0; i < SUB; i++) qh[i] |= (uint8_t)(level[s * SUB + i] >> 4 << s);
        pack_nibbles(level, qh + QK_K / 8);
    }
}

/* ---- Q6_K: value = scale * (level - 32) ---------------------------------------------------------------------------- */

enum { ZERO6 = 32 };
#define TINY6 1e-15f /* ggml takes what is smaller for zero */

/* The least-squares scale for the levels that `inverse` gives, weighted by x * x, and how much error it saves. */
struct fit6 {
    floats product, square; /* weighted sums of x * level and of level * level */
};

static struct fit6 sums6(const floats *x, floats inverse) {
    struct fit6 sums = {0};
    for (int i = 0; i < SUB6; i++) {
        floats level = __builtin_convertvector(levels(inverse * x[i], -ZERO6, ZERO6 - 1), floats);
        floats weight = x[i] * x[i];
        sums.product += weight * x[i] * level;
        sums.square += weight * level * level;
    }
    return sums;
}

static void fit_sub_blocks6(const float *values, float *scales, uint8_t *level) {
    floats x[SUB6], largest = {0}, size = {0};
    load_lanes(values, SUB6, x);
    for (int i = 0; i < SUB6; i++) {
        ints larger = magnitude(x[i]) > size;
        size = choose(larger, magnitude(x[i]), size);
        largest = choose(larger, x[i], largest);
    }
    ints zero = size < TINY6;
    floats best_inverse = -(float)ZERO6 / largest;
    struct fit6 sums = sums6(x, best_inverse);
    floats scale = choose(sums.square != 0.0f, sums.product / sums.square, (floats){0});
    floats saved = scale * sums.product;
    for (int i = -9; i <= 9; i++) {
        if (i == 0) continue;
        floats inverse = -((float)ZERO6 + 0.1f * (float)i) / largest;
        sums = sums6(x, inverse);
        ints better = (sums.square > 0.0f) & (sums.product * sums.product > saved * sums.square);
        floats better_scale = sums.product / sums.square;
        scale = choose(better, better_scale, scale);
        saved = choose(better, better_scale * sums.product, saved);
        best_inverse = choose(better, inverse, best_inverse);
    }
    for (int i = 0; i < SUB6; i++)
        store_levels((levels(best_inverse * x[i], -ZERO6, ZERO6 - 1) + ZERO6) & ~zero, i, SUB6, level);
    scale = choose(zero, (floats){0}, scale);
    for (int lane = 0; lane < LANES; lane++) scales[lane] = scale[lane];
}

/* 128 levels: low nibbles to 64 bytes, upper two bits to 32. See decode_q6_half in quant_k.c. */
static void pack_q6_half(const uint8_t *level, uint8_t *ql, uint8_t *qh) {
    for (int i = 0; i < SUB; i++) {
        const uint8_t a = level[i], b = level[SUB + i], c = level[2 * SUB + i], d = level[3 * SUB + i];
        ql[i] = (uint8_t)((a & 15) | (c & 15) << 4);
        ql[SUB + i] = (uint8_t)((b & 15) | (d & 15) << 4);
        qh[i] = (uint8_t)(a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6);
    }
}

static void encode_q6_block(const float *values, uint8_t *out) {
    uint8_t level[QK_K], *qh = out + QK_K / 2, *steps = qh + QK_K / 4;
    float scale[SUBS6], largest = 0.0f, size = 0.0f;
    for (int s = 0; s < SUBS6; s += LANES) fit_sub_blocks6(values + s * SUB6, scale + s, level + s * SUB6);
    for (int s = 0; s < SUBS6; s++) {
        if (!(fabsf(scale[s]) > size)) continue;
        largest = scale[s];
        size = fabsf(scale[s]);
    }
    if (size < TINY6) {
        memset(out, 0, BYTES_Q6_K);
        return;
    }
    float inverse = -128.0f / largest;
    float d = f16_to_f32(store_f16(steps + SUBS6, 1.0f / inverse));
    for (int s = 0; s < SUBS6; s++) {
        int step = nearest_int(inverse * scale[s]);
        steps[s] = (uint8_t)(step < 127 ? step : 127);
        float unit = d * (float)(int8_t)steps[s];
        if (unit == 0.0f) continue; /* as in encode_k45 */
        for (int i = s * SUB6; i < (s + 1) * SUB6; i++)
            level[i] = (uint8_t)(level_of(values[i] / unit, -ZERO6, ZERO6 - 1) + ZERO6);
    }
    pack_q6_half(level, out, qh);
    pack_q6_half(level + QK_K / 2, out + QK_K / 4, qh + QK_K / 8);
}

void quant_encode_q6_k(const float *values, int64_t n_blocks, uint8_t *out) {
    for (int64_t b = 0; b < n_blocks; b++, values += QK_K, out += BYTES_Q6_K) encode_q6_block(values, out);
}
