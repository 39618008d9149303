/* SPDX-License-Identifier: Apache-2.0 */
#include "model/layout.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

enum { ALIGN = 16, TENSORS_PER_LAYER = 14 };

/* Appends a tensor right behind the previous one; fused matrices rely on that. */
static int64_t append(struct model *m, int layer, const char *name, int64_t rows, int64_t cols, bool decay) {
    struct model_tensor *t = &m->tensors[m->n_tensors++];
    *t = (struct model_tensor){.offset = m->n_params, .rows = rows, .cols = cols, .decay = decay};
    if (layer < 0)
        snprintf(t->name, sizeof t->name, "%s", name);
    else
        snprintf(t->name, sizeof t->name, "blk.%d.%s", layer, name);
    m->n_params += rows * cols;
    m->n_weights += rows * cols;
    return t->offset;
}

static void align(struct model *m) {
    m->n_params = (m->n_params + ALIGN - 1) / ALIGN * ALIGN;
}

static int64_t matrix(struct model *m, int layer, const char *name, int64_t rows, int64_t cols) {
    align(m);
    return append(m, layer, name, rows, cols, true);
}

static int64_t vector(struct model *m, int layer, const char *name, int64_t cols) {
    align(m);
    return append(m, layer, name, 1, cols, false);
}

static void layout_layer(struct model *m, int l) {
    const struct model_config *c = &m->config;
    int64_t q = model_q_dim(c), kv = model_kv_dim(c);
    struct model_layer *layer = &m->layers[l];
    *layer = (struct model_layer){.bqkv = -1, .q_norm = -1, .k_norm = -1};
    layer->attn_norm = vector(m, l, "attn_norm.weight", c->dim);
    layer->wqkv = matrix(m, l, "attn_q.weight", q, c->dim);
    append(m, l, "attn_k.weight", kv, c->dim, true);
    append(m, l, "attn_v.weight", kv, c->dim, true);
    if (c->qkv_bias) {
        layer->bqkv = vector(m, l, "attn_q.bias", q);
        append(m, l, "attn_k.bias", 1, kv, false);
        append(m, l, "attn_v.bias", 1, kv, false);
    }
    if (c->qk_norm) {
        layer->q_norm = vector(m, l, "attn_q_norm.weight", c->head_dim);
        layer->k_norm = vector(m, l, "attn_k_norm.weight", c->head_dim);
    }
    layer->wo = matrix(m, l, "attn_output.weight", c->dim, q);
    layer->ffn_norm = vector(m, l, "ffn_norm.weight", c->dim);
    layer->w_gate_up = matrix(m, l, "ffn_gate.weight", c->ffn_dim, c->dim);
    append(m, l, "ffn_up.weight", c->ffn_dim, c->dim, true);
    layer->w_down = matrix(m, l, "ffn_down.weight", c->dim, c->ffn_dim);
}

opsm_status model_layout(struct model *m, opsm_error *err) {
    const struct model_config *c = &m->config;
    size_t room = 3 + (size_t)c->n_layers * TENSORS_PER_LAYER;
    m->tensors = mem_zalloc(room, sizeof *m->tensors);
    m->layers = mem_zalloc((size_t)c->n_layers, sizeof *m->layers);
    if (!m->tensors || !m->layers) return mem_exhausted(err, "the list of tensors", room * sizeof *m->tensors);
    m->n_tensors = 0;
    m->n_params = m->n_weights = 0;
    m->embedding = matrix(m, -1, "token_embd.weight", c->n_vocab, c->dim);
    for (int l = 0; l < c->n_layers; l++) layout_layer(m, l);
    m->output_norm = vector(m, -1, "output_norm.weight", c->dim);
    m->head = c->tied ? m->embedding : matrix(m, -1, "output.weight", c->n_vocab, c->dim);
    align(m);
    return OPSM_OK;
}

bool model_is_interleaved(const struct model *m, const struct model_tensor *t) {
    return m->config.architecture->interleaved && (strstr(t->name, ".attn_q.") || strstr(t->name, ".attn_k."));
}
