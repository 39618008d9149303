/* SPDX-License-Identifier: Apache-2.0
 *
 * bf16 panels by BFMMLA, which multiplies two rows of four by two columns of four: c[2, 2] += a[2, 4] b[4, 2] in f32.
 * Each element of c is a chain of its own, so that a row's result does not depend on the row that shares the
 * instruction. Built with the instructions that it is about, called only where cpu_has_bf16.
 */
#include "base/cpu.h"
#if defined(CPU_ARM)
#include "kernels/gemm_panel.h"
#include <arm_neon.h>

enum { DEPTH = 4, PAIRS = GEMM_PANEL / 2, ROW_PAIRS = GEMM_PANEL_ROWS / 2 };

/* Elements k .. k + n - 1 of two rows `inner` apart, zeros behind them. */
static inline bfloat16x8_t two_rows(const uint16_t *a, int64_t inner, int64_t k, int64_t n) {
    uint16_t part[2 * DEPTH] = {0};
    if (n == DEPTH) return vreinterpretq_bf16_u16(vcombine_u16(vld1_u16(a + k), vld1_u16(a + inner + k)));
    memcpy(part, a + k, (size_t)n * sizeof *part);
    memcpy(part + DEPTH, a + inner + k, (size_t)n * sizeof *part);
    return vreinterpretq_bf16_u16(vld1q_u16(part));
}

/* sum[ROW_PAIRS][PAIRS], each [2, 2], += a[GEMM_PANEL_ROWS, n] b[n, GEMM_PANEL], n at most DEPTH. */
static inline void step(float32x4_t sum[ROW_PAIRS][PAIRS], const uint16_t *a, int64_t inner, int64_t k, int64_t n,
                        const uint16_t *b) {
    bfloat16x8_t rows[ROW_PAIRS];
    for (int r = 0; r < ROW_PAIRS; r++) rows[r] = two_rows(a + 2 * r * inner, inner, k, n);
#pragma GCC unroll 8
    for (int p = 0; p < PAIRS; p++) {
        bfloat16x8_t columns = vreinterpretq_bf16_u16(vld1q_u16(b + 2 * DEPTH * p));
#pragma GCC unroll 2
        for (int r = 0; r < ROW_PAIRS; r++) sum[r][p] = vbfmmlaq_f32(sum[r][p], rows[r], columns);
    }
}

/* c[GEMM_PANEL_ROWS, width], rows ldc apart, = a[GEMM_PANEL_ROWS, inner] times one panel. */
static void tile(float *c, int64_t ldc, int64_t width, const uint16_t *a, int64_t inner, const uint16_t *b) {
    float32x4_t sum[ROW_PAIRS][PAIRS];
    for (int r = 0; r < ROW_PAIRS; r++)
        for (int p = 0; p < PAIRS; p++) sum[r][p] = vdupq_n_f32(0.0f);
    int64_t k = 0;
    for (; k + DEPTH <= inner; k += DEPTH, b += DEPTH * GEMM_PANEL) step(sum, a, inner, k, DEPTH, b);
    if (k < inner) step(sum, a, inner, k, inner - k, b);
    for (int r = 0; r < ROW_PAIRS; r++) {
        float out[2][GEMM_PANEL];
        for (int p = 0; p < PAIRS; p++) {
            vst1_f32(out[0] + 2 * p, vget_low_f32(sum[r][p]));
            vst1_f32(out[1] + 2 * p, vget_high_f32(sum[r][p]));
        }
        for (int i = 0; i < 2; i++) memcpy(c + (2 * r + i) * ldc, out[i], (size_t)width * sizeof *c);
    }
}

void gemm_panel_bf16(int64_t rows, int64_t outs, int64_t inner, const uint16_t *a, const uint16_t *packed, float *c) {
    const int64_t panel = (inner + DEPTH - 1) / DEPTH * DEPTH * GEMM_PANEL;
    for (int64_t first = 0; first < outs; first += GEMM_PANEL, packed += panel) {
        int64_t width = outs - first < GEMM_PANEL ? outs - first : GEMM_PANEL;
        for (int64_t row = 0; row < rows; row += GEMM_PANEL_ROWS)
            tile(c + row * outs + first, outs, width, a + row * inner, inner, packed);
    }
}
#endif
