/* SPDX-License-Identifier: Apache-2.0
 *
 * The plain number formats: single, half, bfloat16.
 */
#include "io/cursor.h"
#include "io/quant_internal.h"
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "GGUF tensors are little endian and are copied as they are; a big-endian machine needs byte swaps here"
#endif

static float float_from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of_float(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

float f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff;
    if (exponent == 31) return float_from_bits(sign | 0x7f800000u | mantissa << 13);
    if (exponent == 0) { /* zero or subnormal: exact, as a float has room to normalise it */
        float magnitude = (float)mantissa * 0x1p-24f;
        return float_from_bits(sign | bits_of_float(magnitude));
    }
    return float_from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t f16_from_f32(float x) {
    uint32_t bits = bits_of_float(x), magnitude = bits & 0x7fffffffu;
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x1ff)); /* NaN, made quiet */
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00); /* 65520 and up round to infinity */
    if (magnitude < 0x38800000u) {
        /* Below 2^-14 the result counts units of 2^-24, and so do the last mantissa bits of a float in [0.5, 1): the
         * addition rounds, to nearest even. */
        float rounded = float_from_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (bits_of_float(rounded) - 0x3f000000u));
    }
    uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
    return (uint16_t)(sign | ((rounded >> 13) - (112u << 10)));
}

/* Round to nearest even; a NaN stays one, made quiet. */
static uint16_t bf16_round(float x) {
    uint32_t bits = bits_of_float(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

void quant_decode_f32(const uint8_t *blocks, int64_t n_blocks, float *out) {
    memcpy(out, blocks, (size_t)n_blocks * BYTES_F32);
}

void quant_encode_f32(const float *values, int64_t n_blocks, uint8_t *out) {
    memcpy(out, values, (size_t)n_blocks * BYTES_F32);
}

void quant_decode_f16(const uint8_t *blocks, int64_t n_blocks, float *out) {
    for (int64_t i = 0; i < n_blocks; i++) out[i] = f16_to_f32(load_u16(blocks + i * BYTES_F16));
}

void quant_encode_f16(const float *values, int64_t n_blocks, uint8_t *out) {
    for (int64_t i = 0; i < n_blocks; i++) {
        uint16_t h = f16_from_f32(values[i]);
        memcpy(out + i * BYTES_F16, &h, sizeof h);
    }
}

void quant_decode_bf16(const uint8_t *blocks, int64_t n_blocks, float *out) {
    for (int64_t i = 0; i < n_blocks; i++) out[i] = float_from_bits((uint32_t)load_u16(blocks + i * BYTES_BF16) << 16);
}

void quant_encode_bf16(const float *values, int64_t n_blocks, uint8_t *out) {
    for (int64_t i = 0; i < n_blocks; i++) {
        uint16_t h = bf16_round(values[i]);
        memcpy(out + i * BYTES_BF16, &h, sizeof h);
    }
}
