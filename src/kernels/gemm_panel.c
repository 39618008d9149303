/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/gemm_panel.h"
#include "base/cpu.h"
#include "kernels/vec.h"

/* Inner elements that lie side by side for one output: as many as one instruction sums. */
static int64_t depth_of(enum dtype type) {
    return type == DTYPE_BF16 ? 4 : 1;
}

static int64_t round_up(int64_t n, int64_t unit) {
    return (n + unit - 1) / unit * unit;
}

size_t gemm_panel_packed_bytes(enum dtype type, int64_t outs, int64_t inner) {
    return (size_t)round_up(outs, GEMM_PANEL) * (size_t)round_up(inner, depth_of(type)) * dtype_size(type);
}

/* *to = element `at` of src; 0 outside. */
static void put(enum dtype type, char *to, enum dtype src_type, const void *src, int64_t at, bool inside) {
    if (type == DTYPE_F32) {
        float x = inside ? ((const float *)src)[at] : 0.0f;
        memcpy(to, &x, sizeof x);
        return;
    }
    uint16_t h = 0;
    if (inside) h = src_type == DTYPE_F32 ? bf16_from_f32(((const float *)src)[at]) : ((const uint16_t *)src)[at];
    memcpy(to, &h, sizeof h);
}

void gemm_panel_pack(enum dtype type, int64_t outs, int64_t inner, enum dtype src_type, const void *src,
                     int64_t stride_inner, int64_t stride_outs, void *packed) {
    const int64_t depth = depth_of(type);
    char *to = packed;
    for (int64_t first = 0; first < outs; first += GEMM_PANEL)
        for (int64_t from = 0; from < inner; from += depth)
            for (int64_t j = first; j < first + GEMM_PANEL; j++)
                for (int64_t k = from; k < from + depth; k++, to += dtype_size(type))
                    put(type, to, src_type, src, k * stride_inner + j * stride_outs, j < outs && k < inner);
}

void gemm_panel_run(enum dtype type, int64_t rows, int64_t outs, int64_t inner, const void *a, const void *packed,
                    float *c) {
#if defined(CPU_ARM)
    if (type == DTYPE_BF16) {
        gemm_panel_bf16(rows, outs, inner, a, packed, c);
        return;
    }
#endif
    (void)type;
    const float *b = packed;
    for (int64_t first = 0; first < outs; first += GEMM_PANEL, b += inner * GEMM_PANEL) {
        int64_t width = outs - first < GEMM_PANEL ? outs - first : GEMM_PANEL;
        vec()->mat_mul(c + first, outs, a, inner, 1, b, GEMM_PANEL, (int)rows, (int)width, (int)inner, false);
    }
}
