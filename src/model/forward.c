/* SPDX-License-Identifier: Apache-2.0
 *
 * A packed batch through all layers and back.
 */
#include "base/log.h"
#include "kernels/layers.h"
#include "model/layer.h"
#include "model/layout.h"

static opsm_status check_pack(const struct activations *acts, const struct model *m, const struct pack *p,
                              opsm_error *err) {
    opsm_status status = activations_check(acts, m, err);
    if (status != OPSM_OK) return status;
    if (p->n_tokens < 1 || p->n_tokens > acts->room)
        return opsm_fail(err, OPSM_INVALID, "a packed batch of %d tokens, expected 1 to %d", p->n_tokens, acts->room);
    for (int32_t i = 0; i < p->n_tokens; i++) {
        if (p->tokens[i] < 0 || p->tokens[i] >= m->config.n_vocab)
            return opsm_fail(err, OPSM_INVALID, "token %d (row %d) is outside the vocabulary of %d", p->tokens[i], i,
                             m->config.n_vocab);
        if (p->positions[i] >= m->config.context)
            return opsm_fail(err, OPSM_INVALID, "a sequence is longer than the model's context of %d tokens",
                             m->config.context);
    }
    return OPSM_OK;
}

/* The sequences that attention sees: rows and spans inside the batch's own QKV matrix. place[row] says where a row of
 * the pack is now (NULL: where it was; -1: left out). */
static void view_pack(struct activations *acts, const struct pack *p, const int32_t *place) {
    const struct model_config *c = &acts->config;
    struct layer_view *v = &acts->view;
    int64_t width = model_qkv_dim(c), step = (int64_t)(acts->layer_step / sizeof(float));
    float *kv = acts->layer.qkv + model_q_dim(c);
    v->kv_stride = width;
    v->cached = false;
    v->n_sequences = 0;
    for (int32_t i = 0; i < p->n_segments; i++) {
        const struct pack_segment *s = &p->segments[i];
        int64_t start = place && s->length > 0 ? place[s->start] : s->start;
        if (s->length == 0 || start < 0) continue;
        struct attention_sequence *q = &v->sequences[v->n_sequences];
        struct sequence_place *at = &v->places[v->n_sequences++];
        *q = (struct attention_sequence){.first_row = start, .n_rows = s->length, .own.n = s->length};
        *at = (struct sequence_place){.own_kv = kv + start * width, .own_step = step};
        if (s->prefix < 0) continue;
        const struct pack_segment *prompt = &p->segments[s->prefix];
        int64_t prompt_start = place ? place[prompt->start] : prompt->start;
        q->prefix.n = prompt->length;
        at->prefix_kv = kv + prompt_start * width;
        at->prefix_step = step;
    }
}

opsm_status model_forward(struct activations *acts, const struct model *m, const struct pack *p, opsm_error *err) {
    opsm_status status = check_pack(acts, m, p, err);
    if (status != OPSM_OK) return status;
    acts->n_rows = 0;
    for (int32_t i = 0; acts->keep != ACTIVATIONS_NONE && i < p->n_tokens; i++) acts->live[i] = -1;
    view_pack(acts, p, NULL);
    embedding_forward(activations_stream(acts, 0), m->params.values + m->embedding, p->tokens, p->n_tokens,
                      m->config.dim);
    for (int32_t l = 0; l < m->config.n_layers && status == OPSM_OK; log_share((double)++l / m->config.n_layers))
        status = layer_forward(acts, m, l, p->n_tokens, p->positions, &acts->view, activations_stream(acts, l),
                               activations_stream(acts, l + 1), err);
    if (status == OPSM_OK) acts->n_rows = p->n_tokens;
    return status;
}

/* Which rows the backward pass needs: those of segments that a gradient came to, and their prompts. live[row] becomes
 * the row's new place, or -1; returns how many stay. */
static int32_t find_live(const struct activations *acts, const struct pack *p) {
    int32_t *live = acts->live, n = 0;
    /* Responses come behind their prompt: from the last segment to the first a prompt hears of all of them. */
    for (int32_t i = p->n_segments - 1; i >= 0; i--) {
        const struct pack_segment *s = &p->segments[i];
        bool used = false;
        for (int32_t j = 0; j < s->length; j++) used |= live[s->start + j] == 0;
        if (!used) continue;
        for (int32_t j = 0; j < s->length; j++) activations_gradient(acts, s->start + j);
        if (s->prefix >= 0) activations_gradient(acts, p->segments[s->prefix].start);
    }
    for (int32_t i = 0; i < p->n_tokens; i++)
        if (live[i] == 0) live[i] = n++;
    return n;
}

/* Moves the live rows of a kept buffer together. */
static void compact(const struct activations *acts, void *buffer, size_t row_bytes) {
    if (!buffer) return;
    uint8_t *b = buffer;
    for (int32_t i = 0; i < acts->n_rows; i++)
        if (acts->live[i] >= 0 && acts->live[i] != i)
            memmove(b + (size_t)acts->live[i] * row_bytes, b + (size_t)i * row_bytes, row_bytes);
}

static void compact_layer(const struct activations *acts, int32_t l) {
    const struct model_config *c = &acts->config;
    const size_t f = sizeof(float);
    compact(acts, activations_stream(acts, l), (size_t)c->dim * f);
    if (acts->keep == ACTIVATIONS_RECOMPUTE) return;
    struct layer_buffers b = activations_layer(acts, l);
    compact(acts, b.rstd_attn, f);
    compact(acts, b.qkv, (size_t)model_qkv_dim(c) * f);
    compact(acts, b.qk_raw, (size_t)(model_q_dim(c) + model_kv_dim(c)) * f);
    compact(acts, b.rstd_q, (size_t)c->n_heads * f);
    compact(acts, b.rstd_k, (size_t)c->n_kv_heads * f);
    compact(acts, b.attn, (size_t)model_q_dim(c) * dtype_size(acts->precision));
    compact(acts, b.lse, (size_t)c->n_heads * f);
    compact(acts, b.x_mid, (size_t)c->dim * f);
    compact(acts, b.rstd_ffn, f);
    compact(acts, b.gate_up, 2 * (size_t)c->ffn_dim * f);
}

/* Gradients of keys and values go where the gradient of their rows is. */
static void aim_gradients(const struct activations *acts) {
    const struct backward_buffers *d = &acts->back;
    const struct layer_view *v = &acts->view;
    int64_t width = v->kv_stride, kv = model_kv_dim(&acts->config);
    const float *first = acts->layer.qkv;
    for (int32_t i = 0; i < v->n_sequences; i++) {
        float *own = d->dqkv + (v->places[i].own_kv - first);
        d->own[i] = (struct attention_gradient){.dk = own, .dv = own + kv, .stride = width};
        d->prefix[i] = (struct attention_gradient){0};
        if (v->sequences[i].prefix.n == 0) continue;
        float *prefix = d->dqkv + (v->places[i].prefix_kv - first);
        d->prefix[i] = (struct attention_gradient){.dk = prefix, .dv = prefix + kv, .stride = width};
    }
}

static opsm_status layers_backward(struct activations *acts, const struct model *m, int32_t n, opsm_error *err) {
    bool all = n == acts->n_rows;
    opsm_status status = OPSM_OK;
    for (int32_t l = m->config.n_layers - 1; l >= 0 && status == OPSM_OK; l--) {
        if (!all) compact_layer(acts, l);
        float *x = activations_stream(acts, l);
        if (acts->keep == ACTIVATIONS_RECOMPUTE)
            status = layer_forward(acts, m, l, n, acts->positions, &acts->view, x, NULL, err);
        if (status == OPSM_OK) status = layer_backward(acts, m, l, n, acts->positions, &acts->view, x, err);
    }
    return status;
}

opsm_status model_backward(struct activations *acts, const struct model *m, const struct pack *p, opsm_error *err) {
    acts->backward_rows = 0;
    opsm_status status = activations_check_backward(acts, p->n_tokens, err);
    if (status != OPSM_OK) return status;
    int32_t n = find_live(acts, p);
    int64_t dim = m->config.dim;
    for (int32_t i = 0; i < p->n_tokens; i++) {
        if (acts->live[i] < 0) continue;
        acts->tokens[acts->live[i]] = p->tokens[i];
        acts->positions[acts->live[i]] = p->positions[i];
    }
    compact(acts, acts->back.dx, (size_t)dim * sizeof(float));
    if (n > 0) {
        view_pack(acts, p, acts->live);
        aim_gradients(acts);
        status = layers_backward(acts, m, n, err);
        if (status == OPSM_OK && m->params.grads)
            embedding_backward(m->params.grads + m->embedding, acts->back.dx, acts->tokens, n, dim);
        acts->backward_rows = n;
    }
    acts->n_rows = 0; /* consumed */
    return status;
}
