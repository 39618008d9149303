/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/gemm_reference.h"
#include <string.h>

/* B is kept as panels of LANES outputs, [outs / LANES][inner][LANES], zero-filled at the edge: the inner loop runs over
 * a fixed number of neighbours, which compilers turn into vector code. */
enum { LANES = 16, GROUP = 4 };

static int64_t panel_count(int64_t outs) {
    return (outs + LANES - 1) / LANES;
}

size_t gemm_reference_packed_bytes(int64_t outs, int64_t inner) {
    return (size_t)panel_count(outs) * (size_t)inner * LANES * sizeof(float);
}

void gemm_reference_pack(int64_t outs, int64_t inner, const float *src, int64_t stride_inner, int64_t stride_outs,
                         float *packed) {
    for (int64_t panel = 0; panel < panel_count(outs); panel++) {
        for (int64_t k = 0; k < inner; k++, packed += LANES) {
            for (int64_t lane = 0; lane < LANES; lane++) {
                int64_t j = panel * LANES + lane;
                packed[lane] = j < outs ? src[k * stride_inner + j * stride_outs] : 0.0f;
            }
        }
    }
}

/* GROUP rows against one panel: the panel is read once for all of them. */
static void run_group(int64_t inner, const float *a, const float *restrict panel, float sums[GROUP][LANES]) {
    memset(sums, 0, sizeof(float) * GROUP * LANES);
    for (int64_t k = 0; k < inner; k++)
        for (int row = 0; row < GROUP; row++)
            for (int lane = 0; lane < LANES; lane++) sums[row][lane] += a[row * inner + k] * panel[k * LANES + lane];
}

static void run_row(int64_t inner, const float *a, const float *restrict panel, float sums[LANES]) {
    memset(sums, 0, sizeof(float) * LANES);
    for (int64_t k = 0; k < inner; k++)
        for (int lane = 0; lane < LANES; lane++) sums[lane] += a[k] * panel[k * LANES + lane];
}

void gemm_reference_run(int64_t rows, int64_t outs, int64_t inner, const float *a, const float *packed, float *c) {
    for (int64_t panel = 0; panel < panel_count(outs); panel++, packed += inner * LANES) {
        int64_t first = panel * LANES, width = outs - first < LANES ? outs - first : LANES;
        size_t bytes = (size_t)width * sizeof(float);
        float sums[GROUP][LANES];
        int64_t row = 0;
        for (; row + GROUP <= rows; row += GROUP) {
            run_group(inner, a + row * inner, packed, sums);
            for (int i = 0; i < GROUP; i++) memcpy(c + (row + i) * outs + first, sums[i], bytes);
        }
        for (; row < rows; row++) {
            run_row(inner, a + row * inner, packed, sums[0]);
            memcpy(c + row * outs + first, sums[0], bytes);
        }
    }
}
