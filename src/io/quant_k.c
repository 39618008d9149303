/* SPDX-License-Identifier: Apache-2.0
 *
 * The K formats: super-blocks of 256 elements whose sub-blocks have small integer scales (and minima) of their own.
 */
#include "io/cursor.h"
#include "io/quant_internal.h"

enum { SUB = 32, PAIRS = QK_K / (2 * SUB) };

/* Scale and minimum of sub-block j, 0..7, 6 bits each. The first four pairs lie in bytes 0-3 and 4-7; of the others,
 * the low four bits share bytes 8-11 and the high two are the spare bits of bytes 0-7. */
static void unpack_scale(const uint8_t *packed, int j, int *scale, int *minimum) {
    if (j < 4) {
        *scale = packed[j] & 63;
        *minimum = packed[j + 4] & 63;
        return;
    }
    *scale = (packed[j + 4] & 15) | packed[j - 4] >> 6 << 4;
    *minimum = packed[j + 4] >> 4 | packed[j] >> 6 << 4;
}

/* Q4_K and Q5_K: value = d * scale * q - dmin * minimum. Each 32 bytes of qs hold two sub-blocks, low nibbles first. In
 * Q5_K bit s of qh[l] is the fifth bit of element l of sub-block s; Q4_K has none (qh NULL). */
static void decode_k45(const uint8_t *block, const uint8_t *qh, const uint8_t *qs, float *out) {
    float d = f16_to_f32(load_u16(block)), dmin = f16_to_f32(load_u16(block + BYTES_F16));
    const uint8_t *packed = block + 2 * BYTES_F16;
    for (int s = 0; s < 2 * PAIRS; s++, out += SUB) {
        int scale, minimum, shift = s % 2 * 4;
        unpack_scale(packed, s, &scale, &minimum);
        float step = d * (float)scale, base = dmin * (float)minimum;
        const uint8_t *nibbles = qs + s / 2 * SUB;
        for (int l = 0; l < SUB; l++) {
            int q = nibbles[l] >> shift & 15;
            if (qh) q |= (qh[l] >> s & 1) << 4;
            out[l] = step * (float)q - base;
        }
    }
}

void quant_decode_q4_k(const uint8_t *blocks, int64_t n_blocks, float *out) {
    for (int64_t b = 0; b < n_blocks; b++, blocks += BYTES_Q4_K, out += QK_K)
        decode_k45(blocks, NULL, blocks + 2 * BYTES_F16 + K_SCALES, out);
}

void quant_decode_q5_k(const uint8_t *blocks, int64_t n_blocks, float *out) {
    for (int64_t b = 0; b < n_blocks; b++, blocks += BYTES_Q5_K, out += QK_K) {
        const uint8_t *qh = blocks + 2 * BYTES_F16 + K_SCALES;
        decode_k45(blocks, qh, qh + QK_K / 8, out);
    }
}

/* Q6_K: value = d * scale * (q - 32), 16 signed scales of 16 elements each. The block is two halves of 128 elements,
 * each with 64 bytes of low nibbles, 32 bytes that hold the upper two bits of four elements 32 apart, and 8 scales. */
static void decode_q6_half(const uint8_t *ql, const uint8_t *qh, const uint8_t *scales, float d, float *out) {
    for (int quarter = 0; quarter < 4; quarter++) {
        const uint8_t *low = ql + quarter % 2 * SUB;
        int low_shift = quarter / 2 * 4, high_shift = quarter * 2;
        for (int l = 0; l < SUB; l++) {
            int q = (low[l] >> low_shift & 15) | (qh[l] >> high_shift & 3) << 4;
            float step = d * (float)(int8_t)scales[quarter * 2 + l / 16];
            out[quarter * SUB + l] = step * (float)(q - 32);
        }
    }
}

void quant_decode_q6_k(const uint8_t *blocks, int64_t n_blocks, float *out) {
    for (int64_t b = 0; b < n_blocks; b++, blocks += BYTES_Q6_K, out += QK_K) {
        const uint8_t *qh = blocks + QK_K / 2, *scales = qh + QK_K / 4;
        float d = f16_to_f32(load_u16(scales + QK_K / 16));
        decode_q6_half(blocks, qh, scales, d, out);
        decode_q6_half(blocks + QK_K / 4, qh + QK_K / 8, scales + QK_K / 32, d, out + QK_K / 2);
    }
}
