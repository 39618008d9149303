/* SPDX-License-Identifier: Apache-2.0
 *
 * The coders behind the trait table of quant.c. All of them: `n_blocks` whole blocks, unaligned bytes, one thread.
 */
#ifndef OPSM_IO_QUANT_INTERNAL_H
#define OPSM_IO_QUANT_INTERNAL_H
#include "io/quant.h"

/* Bytes per block, from the fields in the order of the file. */
enum {
    QK = 32,          /* elements of a classic block */
    QK_K = 256,       /* elements of a K-quant super-block */
    K_SCALES = 12,    /* packed 6-bit scales and minima of Q4_K and Q5_K */
    BYTES_F32 = 4,    /* IEEE single */
    BYTES_F16 = 2,    /* IEEE half */
    BYTES_BF16 = 2,   /* upper half of a single */
    BYTES_Q8_0 = 34,  /* f16 d; i8 q[32] */
    BYTES_Q4_0 = 18,  /* f16 d; u8 qs[16] */
    BYTES_Q4_1 = 20,  /* f16 d, m; u8 qs[16] */
    BYTES_Q5_0 = 22,  /* f16 d; u8 qh[4]; u8 qs[16] */
    BYTES_Q5_1 = 24,  /* f16 d, m; u8 qh[4]; u8 qs[16] */
    BYTES_Q4_K = 144, /* f16 d, dmin; u8 scales[12]; u8 qs[128] */
    BYTES_Q5_K = 176, /* f16 d, dmin; u8 scales[12]; u8 qh[32]; u8 qs[128] */
    BYTES_Q6_K = 210  /* u8 ql[128]; u8 qh[64]; i8 scales[16]; f16 d */
};
_Static_assert(BYTES_Q8_0 == BYTES_F16 + QK, "Q8_0");
_Static_assert(BYTES_Q4_0 == BYTES_F16 + QK / 2, "Q4_0");
_Static_assert(BYTES_Q4_1 == 2 * BYTES_F16 + QK / 2, "Q4_1");
_Static_assert(BYTES_Q5_0 == BYTES_F16 + QK / 8 + QK / 2, "Q5_0");
_Static_assert(BYTES_Q5_1 == 2 * BYTES_F16 + QK / 8 + QK / 2, "Q5_1");
_Static_assert(BYTES_Q4_K == 2 * BYTES_F16 + K_SCALES + QK_K / 2, "Q4_K");
_Static_assert(BYTES_Q5_K == 2 * BYTES_F16 + K_SCALES + QK_K / 8 + QK_K / 2, "Q5_K");
_Static_assert(BYTES_Q6_K == QK_K / 2 + QK_K / 4 + QK_K / 16 + BYTES_F16, "Q6_K");

void quant_decode_f32(const uint8_t *blocks, int64_t n_blocks, float *out);
void quant_decode_f16(const uint8_t *blocks, int64_t n_blocks, float *out);
void quant_decode_bf16(const uint8_t *blocks, int64_t n_blocks, float *out);
void quant_encode_f32(const float *values, int64_t n_blocks, uint8_t *out);
void quant_encode_f16(const float *values, int64_t n_blocks, uint8_t *out);
void quant_encode_bf16(const float *values, int64_t n_blocks, uint8_t *out);

void quant_decode_q8_0(const uint8_t *blocks, int64_t n_blocks, float *out);
void quant_decode_q4_0(const uint8_t *blocks, int64_t n_blocks, float *out);
void quant_decode_q4_1(const uint8_t *blocks, int64_t n_blocks, float *out);
void quant_decode_q5_0(const uint8_t *blocks, int64_t n_blocks, float *out);
void quant_decode_q5_1(const uint8_t *blocks, int64_t n_blocks, float *out);
void quant_encode_q8_0(const float *values, int64_t n_blocks, uint8_t *out);
void quant_encode_q4_0(const float *values, int64_t n_blocks, uint8_t *out);
void quant_encode_q5_0(const float *values, int64_t n_blocks, uint8_t *out);

void quant_decode_q4_k(const uint8_t *blocks, int64_t n_blocks, float *out);
void quant_decode_q5_k(const uint8_t *blocks, int64_t n_blocks, float *out);
void quant_decode_q6_k(const uint8_t *blocks, int64_t n_blocks, float *out);
void quant_encode_q4_k(const float *values, int64_t n_blocks, uint8_t *out);
void quant_encode_q5_k(const float *values, int64_t n_blocks, uint8_t *out);
void quant_encode_q6_k(const float *values, int64_t n_blocks, uint8_t *out);

#endif
