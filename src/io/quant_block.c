/* SPDX-License-Identifier: Apache-2.0
 *
 * The classic formats: blocks of 32 with one scale d, in Qx_1 also an offset m. The low nibbles of qs hold the first 16
 * elements, the high nibbles the other 16; Q5 keeps fifth bits in qh, one per element.
 */
#include "io/cursor.h"
#include "io/quant_internal.h"
#include "io/quant_lanes.h"
#include <math.h>
#include <string.h>

enum { HALF = QK / 2 };

void quant_decode_q8_0(const uint8_t *blocks, int64_t n_blocks, float *out) {
    for (int64_t b = 0; b < n_blocks; b++, blocks += BYTES_Q8_0, out += QK) {
        float d = f16_to_f32(load_u16(blocks));
        const uint8_t *q = blocks + BYTES_F16;
        for (int j = 0; j < QK; j++) out[j] = (float)(int8_t)q[j] * d;
    }
}

void quant_decode_q4_0(const uint8_t *blocks, int64_t n_blocks, float *out) {
    for (int64_t b = 0; b < n_blocks; b++, blocks += BYTES_Q4_0, out += QK) {
        float d = f16_to_f32(load_u16(blocks));
        const uint8_t *qs = blocks + BYTES_F16;
        for (int j = 0; j < HALF; j++) {
            out[j] = (float)((qs[j] & 15) - 8) * d;
            out[j + HALF] = (float)((qs[j] >> 4) - 8) * d;
        }
    }
}

void quant_decode_q4_1(const uint8_t *blocks, int64_t n_blocks, float *out) {
    for (int64_t b = 0; b < n_blocks; b++, blocks += BYTES_Q4_1, out += QK) {
        float d = f16_to_f32(load_u16(blocks)), m = f16_to_f32(load_u16(blocks + BYTES_F16));
        const uint8_t *qs = blocks + 2 * BYTES_F16;
        for (int j = 0; j < HALF; j++) {
            out[j] = (float)(qs[j] & 15) * d + m;
            out[j + HALF] = (float)(qs[j] >> 4) * d + m;
        }
    }
}

/* Element j of a Q5 block, 0..31: its nibble, with its fifth bit on top. */
static inline int five_bits(const uint8_t *qs, uint32_t qh, int j) {
    int nibble = j < HALF ? qs[j] & 15 : qs[j - HALF] >> 4;
    return nibble | (int)(qh >> j & 1) << 4;
}

void quant_decode_q5_0(const uint8_t *blocks, int64_t n_blocks, float *out) {
    for (int64_t b = 0; b < n_blocks; b++, blocks += BYTES_Q5_0, out += QK) {
        float d = f16_to_f32(load_u16(blocks));
        uint32_t qh = load_u32(blocks + BYTES_F16);
        const uint8_t *qs = blocks + BYTES_F16 + sizeof qh;
        for (int j = 0; j < QK; j++) out[j] = (float)(five_bits(qs, qh, j) - 16) * d;
    }
}

void quant_decode_q5_1(const uint8_t *blocks, int64_t n_blocks, float *out) {
    for (int64_t b = 0; b < n_blocks; b++, blocks += BYTES_Q5_1, out += QK) {
        float d = f16_to_f32(load_u16(blocks)), m = f16_to_f32(load_u16(blocks + BYTES_F16));
        uint32_t qh = load_u32(blocks + 2 * BYTES_F16);
        const uint8_t *qs = blocks + 2 * BYTES_F16 + sizeof qh;
        for (int j = 0; j < QK; j++) out[j] = (float)five_bits(qs, qh, j) * d + m;
    }
}

/* The largest and the smallest element, and 0; NaN counts as nothing. */
static void extremes(const float x[QK], float *highest, float *lowest) {
    floats high = {0}, low = {0};
    for (int j = 0; j < QK; j += LANES) {
        floats four;
        memcpy(&four, x + j, sizeof four);
        high = choose(four > high, four, high);
        low = choose(four < low, four, low);
    }
    *highest = *lowest = 0.0f;
    for (int lane = 0; lane < LANES; lane++) {
        if (high[lane] > *highest) *highest = high[lane];
        if (low[lane] < *lowest) *lowest = low[lane];
    }
}

/* The element of largest magnitude, the first of several; 0 where all are. */
static float largest_element(const float x[QK]) {
    float highest, lowest;
    extremes(x, &highest, &lowest);
    if (highest != -lowest) return highest > -lowest ? highest : lowest;
    for (int j = 0; j < QK && highest > 0.0f; j++)
        if (fabsf(x[j]) == highest) return x[j];
    return 0.0f;
}

static float reciprocal(float d) {
    return d != 0.0f ? 1.0f / d : 0.0f;
}

/* d = largest magnitude / 127, q = round(x / d), halves away from zero: ggml's reference quantiser, bit for bit. What is
 * not finite, and everything where 1/d overflows, becomes zero; writers refuse the former beforehand. */
void quant_encode_q8_0(const float *values, int64_t n_blocks, uint8_t *out) {
    for (int64_t b = 0; b < n_blocks; b++, values += QK, out += BYTES_Q8_0) {
        float d = fabsf(largest_element(values)) / 127.0f, inverse = reciprocal(d);
        uint16_t scale = f16_from_f32(d);
        memcpy(out, &scale, sizeof scale);
        for (int j = 0; j < QK; j++) {
            float x = values[j] * inverse;
            x = fabsf(x) < 127.5f ? x : 0.0f;
            int q = (int)x; /* towards zero, and what is left over is exact: roundf without a call */
            float rest = x - (float)q;
            out[BYTES_F16 + j] = (uint8_t)(q + (rest >= 0.5f) - (rest <= -0.5f));
        }
    }
}

/* Q4_0 and Q5_0, likewise: the largest element becomes level 0 = -middle, the others floor(x / d + middle + 1/2), at most
 * 2 * middle - 1. q receives the levels, the result is d. */
static uint16_t centred_levels(const float *values, int middle, int32_t q[QK]) {
    float d = largest_element(values) / (float)-middle, inverse = reciprocal(d), top = (float)(2 * middle - 1);
    for (int j = 0; j < QK; j++) {
        float level = values[j] * inverse + ((float)middle + 0.5f);
        level = level > 0.0f ? level : 0.0f;
        level = level < 128.0f ? level : 0.0f; /* infinity */
        q[j] = (int32_t)(level < top ? level : top);
    }
    return f16_from_f32(d);
}

static void pack_nibbles(const int32_t q[QK], uint8_t *qs) {
    for (int j = 0; j < HALF; j++) qs[j] = (uint8_t)((q[j] & 15) | (q[j + HALF] & 15) << 4);
}

void quant_encode_q4_0(const float *values, int64_t n_blocks, uint8_t *out) {
    int32_t q[QK];
    for (int64_t b = 0; b < n_blocks; b++, values += QK, out += BYTES_Q4_0) {
        uint16_t scale = centred_levels(values, 8, q);
        memcpy(out, &scale, sizeof scale);
        pack_nibbles(q, out + BYTES_F16);
    }
}

void quant_encode_q5_0(const float *values, int64_t n_blocks, uint8_t *out) {
    int32_t q[QK];
    for (int64_t b = 0; b < n_blocks; b++, values += QK, out += BYTES_Q5_0) {
        uint16_t scale = centred_levels(values, 16, q);
        uint32_t qh = 0;
        for (int j = 0; j < QK; j++) qh |= (uint32_t)(q[j] >> 4) << j;
        memcpy(out, &scale, sizeof scale);
        memcpy(out + BYTES_F16, &qh, sizeof qh);
        pack_nibbles(q, out + BYTES_F16 + sizeof qh);
    }
}
