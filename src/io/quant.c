/* SPDX-License-Identifier: Apache-2.0
 *
 * The trait table: what is known about every tensor type of GGUF. Types without a decoder are listed with their sizes,
 * so that a file that holds some can be inspected and refused by name.
 */
#include "io/quant_internal.h"
#include <math.h>

/* A block's scales are halves. In a K format they are fitted: half of what 63 steps could reach is out of danger. */
#define F16_MAX 65504.0f

static const struct quant_traits table[] = {
    [QUANT_F32] = {"F32", 1, BYTES_F32, quant_decode_f32, quant_encode_f32, INFINITY},
    [QUANT_F16] = {"F16", 1, BYTES_F16, quant_decode_f16, quant_encode_f16, F16_MAX},
    [QUANT_BF16] = {"BF16", 1, BYTES_BF16, quant_decode_bf16, quant_encode_bf16, INFINITY},
    [QUANT_Q8_0] = {"Q8_0", QK, BYTES_Q8_0, quant_decode_q8_0, quant_encode_q8_0, 127 * F16_MAX},
    [QUANT_Q4_0] = {"Q4_0", QK, BYTES_Q4_0, quant_decode_q4_0, quant_encode_q4_0, 8 * F16_MAX},
    [QUANT_Q4_1] = {"Q4_1", QK, BYTES_Q4_1, quant_decode_q4_1, NULL, 0},
    [QUANT_Q5_0] = {"Q5_0", QK, BYTES_Q5_0, quant_decode_q5_0, quant_encode_q5_0, 16 * F16_MAX},
    [QUANT_Q5_1] = {"Q5_1", QK, BYTES_Q5_1, quant_decode_q5_1, NULL, 0},
    [QUANT_Q4_K] = {"Q4_K", QK_K, BYTES_Q4_K, quant_decode_q4_k, quant_encode_q4_k, 32 * F16_MAX},
    [QUANT_Q5_K] = {"Q5_K", QK_K, BYTES_Q5_K, quant_decode_q5_k, quant_encode_q5_k, 32 * F16_MAX},
    [QUANT_Q6_K] = {"Q6_K", QK_K, BYTES_Q6_K, quant_decode_q6_k, quant_encode_q6_k, 32 * F16_MAX},

    [QUANT_Q8_1] = {"Q8_1", QK, 36, NULL, NULL, 0},
    [QUANT_Q2_K] = {"Q2_K", QK_K, 84, NULL, NULL, 0},
    [QUANT_Q3_K] = {"Q3_K", QK_K, 110, NULL, NULL, 0},
    [QUANT_Q8_K] = {"Q8_K", QK_K, 292, NULL, NULL, 0},
    [QUANT_IQ2_XXS] = {"IQ2_XXS", QK_K, 66, NULL, NULL, 0},
    [QUANT_IQ2_XS] = {"IQ2_XS", QK_K, 74, NULL, NULL, 0},
    [QUANT_IQ3_XXS] = {"IQ3_XXS", QK_K, 98, NULL, NULL, 0},
    [QUANT_IQ1_S] = {"IQ1_S", QK_K, 50, NULL, NULL, 0},
    [QUANT_IQ4_NL] = {"IQ4_NL", QK, 18, NULL, NULL, 0},
    [QUANT_IQ3_S] = {"IQ3_S", QK_K, 110, NULL, NULL, 0},
    [QUANT_IQ2_S] = {"IQ2_S", QK_K, 82, NULL, NULL, 0},
    [QUANT_IQ4_XS] = {"IQ4_XS", QK_K, 136, NULL, NULL, 0},
    [QUANT_IQ1_M] = {"IQ1_M", QK_K, 56, NULL, NULL, 0},
    [QUANT_TQ1_0] = {"TQ1_0", QK_K, 54, NULL, NULL, 0},
    [QUANT_TQ2_0] = {"TQ2_0", QK_K, 66, NULL, NULL, 0},
    [QUANT_MXFP4] = {"MXFP4", QK, 17, NULL, NULL, 0},
    [QUANT_I8] = {"I8", 1, 1, NULL, NULL, 0},
    [QUANT_I16] = {"I16", 1, 2, NULL, NULL, 0},
    [QUANT_I32] = {"I32", 1, 4, NULL, NULL, 0},
    [QUANT_I64] = {"I64", 1, 8, NULL, NULL, 0},
    [QUANT_F64] = {"F64", 1, 8, NULL, NULL, 0},
};

const struct quant_traits *quant_traits(uint32_t type) {
    static const struct quant_traits unknown = {.name = "an unknown type"};
    if (type >= sizeof table / sizeof *table || table[type].block == 0) return &unknown;
    return &table[type];
}
