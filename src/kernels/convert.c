/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/convert.h"

void convert_rows(enum dtype type, int64_t n, const float *x, void *out) {
    if (type == DTYPE_F32) {
        memcpy(out, x, (size_t)n * sizeof *x);
        return;
    }
    uint16_t *half = out;
    for (int64_t i = 0; i < n; i++) half[i] = bf16_from_f32(x[i]);
}
