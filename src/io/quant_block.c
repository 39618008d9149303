/* SPDX-License-Identifier: Apache-2.0
 *
 * The classic formats: blocks of 32 with one scale d, in Qx_1 also an offset m. The low nibbles of qs hold the first 16
 * elements, the high nibbles the other 16; Q5 keeps fifth bits in qh, one per element.
 */
#include "io/cursor.h"
#include "io/quant_internal.h"
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

/* d = largest magnitude / 127, q = round(x / d), halves away from zero: ggml's reference quantiser, bit for bit. A
 * block that is not finite, or so small that 1/d overflows, becomes zeros; writers refuse the former beforehand. */
void quant_encode_q8_0(const float *values, int64_t n_blocks, uint8_t *out) {
    for (int64_t b = 0; b < n_blocks; b++, values += QK, out += BYTES_Q8_0) {
        float largest = 0.0f;
        for (int j = 0; j < QK; j++) largest = fmaxf(largest, fabsf(values[j]));
        float d = largest / 127.0f, inverse = d > 0x1p-126f ? 1.0f / d : 0.0f;
        uint16_t scale = f16_from_f32(d);
        memcpy(out, &scale, sizeof scale);
        for (int j = 0; j < QK; j++) {
            float q = roundf(values[j] * inverse);
            out[BYTES_F16 + j] = (uint8_t)(int8_t)(fabsf(q) <= 127.0f ? q : 0.0f);
        }
    }
}
