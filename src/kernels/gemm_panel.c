/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/gemm_panel.h"
#include "kernels/vec.h"

/* B is kept as panels of outputs, [outs / PANEL][inner][PANEL], zero-filled at the edge: as wide as the vectors. */
enum { PANEL = 16 };

static int64_t panel_count(int64_t outs) {
    return (outs + PANEL - 1) / PANEL;
}

size_t gemm_panel_packed_bytes(int64_t outs, int64_t inner) {
    return (size_t)panel_count(outs) * (size_t)inner * PANEL * sizeof(float);
}

void gemm_panel_pack(int64_t outs, int64_t inner, const float *src, int64_t stride_inner, int64_t stride_outs,
                     float *packed) {
    for (int64_t panel = 0; panel < panel_count(outs); panel++) {
        for (int64_t k = 0; k < inner; k++, packed += PANEL) {
            for (int64_t lane = 0; lane < PANEL; lane++) {
                int64_t j = panel * PANEL + lane;
                packed[lane] = j < outs ? src[k * stride_inner + j * stride_outs] : 0.0f;
            }
        }
    }
}

void gemm_panel_run(int64_t rows, int64_t outs, int64_t inner, const float *a, const float *packed, float *c) {
    for (int64_t first = 0; first < outs; first += PANEL, packed += inner * PANEL) {
        int64_t width = outs - first < PANEL ? outs - first : PANEL;
        vec()->mat_mul(c + first, outs, a, inner, 1, packed, PANEL, (int)rows, (int)width, (int)inner, false);
    }
}
