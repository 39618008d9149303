/* SPDX-License-Identifier: Apache-2.0 */
#include "model/head.h"
#include "kernels/layers.h"

void head_gather(const struct activations *acts, const struct model *m, const int32_t *row, int32_t n) {
    const struct head_buffers *h = &acts->head;
    const float *x = activations_stream(acts, m->config.n_layers);
    int64_t dim = m->config.dim;
    for (int32_t i = 0; i < n; i++) memcpy(h->x + i * dim, x + row[i] * dim, (size_t)dim * sizeof(float));
    rmsnorm_forward(h->h, acts->precision, h->rstd, h->x, m->params.values + m->output_norm, n, dim,
                    m->config.norm_eps);
}

opsm_status head_scatter(const struct activations *acts, const struct model *m, const int32_t *row, int32_t n,
                         opsm_error *err) {
    const struct head_buffers *h = &acts->head;
    int64_t dim = m->config.dim;
    memset(h->dx, 0, (size_t)(n * dim) * sizeof(float));
    opsm_status status = rmsnorm_backward(h->dx, parameters_grad(&m->params, m->output_norm), h->dh, h->x,
                                          m->params.values + m->output_norm, h->rstd, n, dim, err);
    if (status != OPSM_OK) return status;
    /* In order: a prompt's last row stands in a chunk once for every response behind it. */
    for (int32_t i = 0; i < n; i++) add_inplace(activations_gradient(acts, row[i]), h->dx + i * dim, dim);
    return OPSM_OK;
}
