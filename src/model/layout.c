/* SPDX-License-Identifier: Apache-2.0 */
#include "model/layout.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

/* At most: a layer's tensors (norms and biases among them) and products; the model's are beside them. */
enum { TENSORS_PER_LAYER = 14, LINEARS_PER_LAYER = 4, TENSORS_BESIDE = 3, LINEARS_BESIDE = 1 };

/* "blk.<layer>.<what>" of GGUF, or <what> with layer -1. */
static void make_name(char name[PARAMETER_NAME_MAX], int layer, const char *what) {
    if (layer < 0)
        snprintf(name, PARAMETER_NAME_MAX, "%s", what);
    else
        snprintf(name, PARAMETER_NAME_MAX, "blk.%d.%s", layer, what);
}

static int64_t tensor(struct model *m, int layer, const char *what, int64_t rows, int64_t cols, bool decay,
                      bool behind) {
    char name[PARAMETER_NAME_MAX];
    make_name(name, layer, what);
    return (behind ? parameters_append : parameters_add)(&m->params, name, rows, cols, decay);
}

/* A matrix of a product, or more rows of the one before it. Frozen ones are kept as the products want them, and not
 * here. */
static int64_t weights(struct model *m, int layer, const char *what, int64_t rows, int64_t cols, bool behind) {
    char name[PARAMETER_NAME_MAX];
    if (m->lora.rank == 0) return tensor(m, layer, what, rows, cols, true, behind);
    make_name(name, layer, what);
    parameters_declare(&m->params, name, rows, cols);
    return -1;
}

static int64_t matrix(struct model *m, int layer, const char *what, int64_t rows, int64_t cols) {
    return weights(m, layer, what, rows, cols, false);
}

static int64_t vector(struct model *m, int layer, const char *what, int64_t cols) {
    return tensor(m, layer, what, 1, cols, false, false);
}

static void more_rows(struct model *m, int layer, const char *what, int64_t rows, int64_t cols) {
    weights(m, layer, what, rows, cols, true);
}

/* More elements of the vector before it. */
static void more_elements(struct model *m, int layer, const char *what, int64_t cols) {
    tensor(m, layer, what, 1, cols, false, true);
}

/* Of the matrix that was listed last, and rows that will follow it. */
static struct linear *product(struct model *m, int64_t n_out, int64_t n_in, int64_t weight) {
    struct linear *linear = &m->linears[m->n_linears++];
    *linear = (struct linear){.n_out = n_out,
                              .n_in = n_in,
                              .params = &m->params,
                              .weight = weight,
                              .tensor = m->params.n_tensors - 1,
                              .bias = -1};
    m->n_multiplied += n_out * n_in;
    return linear;
}

static void layout_layer(struct model *m, int l) {
    const struct model_config *c = &m->config;
    int64_t q = model_q_dim(c), kv = model_kv_dim(c), qkv = model_qkv_dim(c), dim = c->dim, f = c->ffn_dim;
    struct model_layer *layer = &m->layers[l];
    *layer = (struct model_layer){.q_norm = -1, .k_norm = -1};
    layer->attn_norm = vector(m, l, "attn_norm.weight", dim);
    layer->qkv = product(m, qkv, dim, matrix(m, l, "attn_q.weight", q, dim));
    more_rows(m, l, "attn_k.weight", kv, dim);
    more_rows(m, l, "attn_v.weight", kv, dim);
    if (c->qkv_bias) {
        layer->qkv->bias = vector(m, l, "attn_q.bias", q);
        more_elements(m, l, "attn_k.bias", kv);
        more_elements(m, l, "attn_v.bias", kv);
    }
    if (c->qk_norm) {
        layer->q_norm = vector(m, l, "attn_q_norm.weight", c->head_dim);
        layer->k_norm = vector(m, l, "attn_k_norm.weight", c->head_dim);
    }
    layer->out = product(m, dim, q, matrix(m, l, "attn_output.weight", dim, q));
    layer->ffn_norm = vector(m, l, "ffn_norm.weight", dim);
    layer->gate_up = product(m, 2 * f, dim, matrix(m, l, "ffn_gate.weight", f, dim));
    more_rows(m, l, "ffn_up.weight", f, dim);
    layer->down = product(m, dim, f, matrix(m, l, "ffn_down.weight", dim, f));
}

opsm_status model_layout(struct model *m, opsm_error *err) {
    const struct model_config *c = &m->config;
    int32_t n_tensors = TENSORS_BESIDE + c->n_layers * TENSORS_PER_LAYER;
    size_t n_linears = LINEARS_BESIDE + (size_t)c->n_layers * LINEARS_PER_LAYER;
    opsm_status status = parameters_reserve(&m->params, n_tensors, err);
    if (status != OPSM_OK) return status;
    m->layers = mem_zalloc((size_t)c->n_layers, sizeof *m->layers);
    m->linears = mem_zalloc(n_linears, sizeof *m->linears);
    if (!m->layers || !m->linears) return mem_exhausted(err, "the list of products", n_linears * sizeof *m->linears);
    m->embedding = tensor(m, -1, "token_embd.weight", c->n_vocab, c->dim, true, false);
    for (int l = 0; l < c->n_layers; l++) layout_layer(m, l);
    m->output_norm = vector(m, -1, "output_norm.weight", c->dim);
    int64_t head = c->tied ? m->embedding : matrix(m, -1, "output.weight", c->n_vocab, c->dim);
    m->head = product(m, c->n_vocab, c->dim, head);
    return OPSM_OK;
}

void model_layout_free(struct model *m) {
    for (int32_t i = 0; i < m->n_linears; i++) linear_free(&m->linears[i]);
    mem_free(m->linears);
    mem_free(m->layers);
    parameters_free(&m->params);
    parameters_free(&m->adapters);
}

bool model_is_interleaved(const struct model *m, const struct parameter *t) {
    return m->config.architecture->interleaved && (strstr(t->name, ".attn_q.") || strstr(t->name, ".attn_k."));
}
