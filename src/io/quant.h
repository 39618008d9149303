/* SPDX-License-Identifier: Apache-2.0
 *
 * Block formats of GGUF tensors: one trait table, de-quantisation to float, quantisation for the types we write (bit for
 * bit ggml's reference quantisers, without an importance matrix).
 */
#ifndef OPSM_IO_QUANT_H
#define OPSM_IO_QUANT_H
#include <opsm/status.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers as in the file (ggml_type). */
enum quant_type {
    QUANT_F32 = 0,
    QUANT_F16 = 1,
    QUANT_Q4_0 = 2,
    QUANT_Q4_1 = 3,
    QUANT_Q5_0 = 6,
    QUANT_Q5_1 = 7,
    QUANT_Q8_0 = 8,
    QUANT_Q8_1 = 9,
    QUANT_Q2_K = 10,
    QUANT_Q3_K = 11,
    QUANT_Q4_K = 12,
    QUANT_Q5_K = 13,
    QUANT_Q6_K = 14,
    QUANT_Q8_K = 15,
    QUANT_IQ2_XXS = 16,
    QUANT_IQ2_XS = 17,
    QUANT_IQ3_XXS = 18,
    QUANT_IQ1_S = 19,
    QUANT_IQ4_NL = 20,
    QUANT_IQ3_S = 21,
    QUANT_IQ2_S = 22,
    QUANT_IQ4_XS = 23,
    QUANT_I8 = 24,
    QUANT_I16 = 25,
    QUANT_I32 = 26,
    QUANT_I64 = 27,
    QUANT_F64 = 28,
    QUANT_IQ1_M = 29,
    QUANT_BF16 = 30,
    QUANT_TQ1_0 = 34,
    QUANT_TQ2_0 = 35,
    QUANT_MXFP4 = 39
};

struct quant_traits {
    const char *name;
    int block; /* elements per block; 0: a type number we do not know */
    int bytes; /* bytes per block */
    void (*decode)(const uint8_t *blocks, int64_t n_blocks, float *out); /* NULL: not readable */
    void (*encode)(const float *values, int64_t n_blocks, uint8_t *out); /* NULL: not writable */
    float largest; /* magnitude that can be written whatever stands beside it; INFINITY: even NaN may be stored */
};

/* Never NULL; block == 0 for an unknown type. Coders take unaligned bytes and run on the calling thread. Encoding a type
 * with a finite `largest` makes some number of what is above; encode_to_file (io/encode.h) refuses such values first. */
const struct quant_traits *quant_traits(uint32_t type);

float f16_to_f32(uint16_t h);   /* exact */
uint16_t f16_from_f32(float x); /* round to nearest even, overflow to infinity */

#endif
