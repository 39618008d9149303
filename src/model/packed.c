/* SPDX-License-Identifier: Apache-2.0 */
#include "model/packed.h"
#include "base/mem.h"
#include "model/layout.h"

opsm_status model_packed_create(struct model *m, bool trainable, opsm_error *err) {
    const struct model_config *c = &m->config;
    struct model_packed *p = m->packed = mem_zalloc(1, sizeof *p);
    if (!p) return mem_exhausted(err, "packed weights", sizeof *p);
    p->trainable = trainable;
    p->n_layers = c->n_layers;
    p->layers = mem_zalloc((size_t)c->n_layers, sizeof *p->layers);
    if (!p->layers) return mem_exhausted(err, "packed weights", (size_t)c->n_layers * sizeof *p->layers);
    enum dtype type = m->precision;
    opsm_status status = gemm_weight_create(&p->head, c->n_vocab, c->dim, type, trainable, err);
    for (int l = 0; l < c->n_layers && status == OPSM_OK; l++) {
        struct packed_layer *w = &p->layers[l];
        status = gemm_weight_create(&w->qkv, model_qkv_dim(c), c->dim, type, trainable, err);
        if (status == OPSM_OK) status = gemm_weight_create(&w->out, c->dim, model_q_dim(c), type, trainable, err);
        if (status == OPSM_OK)
            status = gemm_weight_create(&w->gate_up, 2 * (int64_t)c->ffn_dim, c->dim, type, trainable, err);
        if (status == OPSM_OK) status = gemm_weight_create(&w->down, c->dim, c->ffn_dim, type, trainable, err);
    }
    return status;
}

size_t model_packed_bytes(const struct model *m, bool trainable) {
    const struct model_config *c = &m->config;
    enum dtype type = m->precision;
    size_t layer = gemm_weight_estimate(model_qkv_dim(c), c->dim, type, trainable) +
                   gemm_weight_estimate(c->dim, model_q_dim(c), type, trainable) +
                   gemm_weight_estimate(2 * (int64_t)c->ffn_dim, c->dim, type, trainable) +
                   gemm_weight_estimate(c->dim, c->ffn_dim, type, trainable);
    return gemm_weight_estimate(c->n_vocab, c->dim, type, trainable) + (size_t)c->n_layers * layer;
}

void model_packed_free(struct model_packed *p) {
    if (!p) return;
    for (int l = 0; p->layers && l < p->n_layers; l++) {
        gemm_weight_free(p->layers[l].qkv);
        gemm_weight_free(p->layers[l].out);
        gemm_weight_free(p->layers[l].gate_up);
        gemm_weight_free(p->layers[l].down);
    }
    gemm_weight_free(p->head);
    mem_free(p->layers);
    mem_free(p);
}

opsm_status model_publish(struct model *m, opsm_error *err) {
    const float *w = m->params;
    opsm_status status = gemm_weight_pack(m->packed->head, w + m->head, err);
    for (int l = 0; l < m->config.n_layers && status == OPSM_OK; l++) {
        const struct packed_layer *p = &m->packed->layers[l];
        const struct model_layer *at = &m->layers[l];
        status = gemm_weight_pack(p->qkv, w + at->wqkv, err);
        if (status == OPSM_OK) status = gemm_weight_pack(p->out, w + at->wo, err);
        if (status == OPSM_OK) status = gemm_weight_pack(p->gate_up, w + at->w_gate_up, err);
        if (status == OPSM_OK) status = gemm_weight_pack(p->down, w + at->w_down, err);
    }
    if (status == OPSM_OK) m->version++;
    return status;
}
