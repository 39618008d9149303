/* SPDX-License-Identifier: Apache-2.0 */
#include "base/threads.h"
#include "kernels/layers.h"
#include "kernels/vec.h"

enum { ELEMENT_WORK = 16 }; /* an exp and a division per element */

void swiglu_forward(void *y, enum dtype type, const float *gate_up, int64_t m, int64_t n) {
    const struct vec_table *v = vec();
    const size_t row = (size_t)n * dtype_size(type);
#pragma omp parallel for num_threads(threads_for(m *n *ELEMENT_WORK))
    for (int64_t i = 0; i < m; i++) {
        const float *gate = gate_up + i * 2 * n;
        v->swiglu_row((char *)y + (size_t)i * row, type, gate, gate + n, n);
    }
}

void swiglu_backward(void *dgate_up, enum dtype type, const float *dy, const float *gate_up, int64_t m, int64_t n) {
    const struct vec_table *v = vec();
    const size_t row = (size_t)n * dtype_size(type);
#pragma omp parallel for num_threads(threads_for(m *n *ELEMENT_WORK))
    for (int64_t i = 0; i < m; i++) {
        const float *gate = gate_up + i * 2 * n;
        char *dgate = (char *)dgate_up + (size_t)i * 2 * row;
        v->swiglu_grad_row(dgate, dgate + row, type, dy + i * n, gate, gate + n, n);
    }
}
