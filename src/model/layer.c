/* SPDX-License-Identifier: Apache-2.0 */
#include "model/layer.h"
#include "base/threads.h"
#include "kernels/attention.h"
#include "kernels/layers.h"
#include "model/layout.h"
#include "model/packed.h"

static struct attention_shape attention_of(const struct model_config *c) {
    return (struct attention_shape){.n_heads = c->n_heads,
                                    .n_kv_heads = c->n_kv_heads,
                                    .head_dim = c->head_dim,
                                    .scale = (float)(1.0 / sqrt((double)c->head_dim))};
}

/* Points the sequences' spans at layer l. */
static void aim(const struct layer_view *view, const struct model_config *c, int32_t l) {
    for (int32_t i = 0; i < view->n_sequences; i++) {
        struct attention_sequence *s = &view->sequences[i];
        const struct sequence_place *p = &view->places[i];
        s->own.k = p->own_kv + l * p->own_step;
        s->own.v = s->own.k + model_kv_dim(c);
        s->own.stride = s->prefix.stride = view->kv_stride;
        if (s->prefix.n == 0) continue;
        s->prefix.k = p->prefix_kv + l * p->prefix_step;
        s->prefix.v = s->prefix.k + model_kv_dim(c);
    }
}

/* The rows' new keys and values to the end of each sequence's span in the cache. */
static void store_kv(const struct layer_view *view, const struct model_config *c, int32_t l, const float *qkv) {
    int64_t width = model_qkv_dim(c), q = model_q_dim(c);
    size_t bytes = (size_t)(2 * model_kv_dim(c)) * sizeof(float);
    for (int32_t i = 0; i < view->n_sequences; i++) {
        const struct attention_sequence *s = &view->sequences[i];
        const struct sequence_place *p = &view->places[i];
        float *to = p->own_kv + l * p->own_step + (s->own.n - s->n_rows) * view->kv_stride;
        for (int32_t r = 0; r < s->n_rows; r++)
            memcpy(to + r * view->kv_stride, qkv + (s->first_row + r) * width + q, bytes);
    }
}

/* Copies the first `n` floats of each row. */
static void copy_columns(float *out, const float *x, int64_t ldx, int64_t m, int64_t n) {
    for (int64_t i = 0; i < m; i++) memcpy(out + i * n, x + i * ldx, (size_t)n * sizeof *out);
}

/* x_mid = x + attention(norm(x)). */
static opsm_status attention_block(const struct activations *acts, const struct layer_buffers *b, const struct model *m,
                                   int32_t l, int32_t n, const int32_t *positions, const struct layer_view *view,
                                   const float *x, float *x_mid, opsm_error *err) {
    const struct model_config *c = &m->config;
    const struct model_layer *w = &m->layers[l];
    const struct packed_layer *p = &m->packed->layers[l];
    const float *params = m->params;
    int64_t width = model_qkv_dim(c), q = model_q_dim(c);
    rmsnorm_forward(acts->h, acts->precision, b->rstd_attn, x, params + w->attn_norm, n, c->dim, c->norm_eps);
    opsm_status status = gemm_forward(p->qkv, n, acts->h, c->dim, b->qkv, width, false, err);
    if (status != OPSM_OK) return status;
    if (w->bqkv >= 0) bias_forward(b->qkv, width, params + w->bqkv, n, width);
    if (w->q_norm >= 0) {
        if (b->qk_raw) copy_columns(b->qk_raw, b->qkv, width, n, q + model_kv_dim(c));
        headnorm_forward(b->qkv, width, b->rstd_q, params + w->q_norm, n, c->n_heads, c->head_dim, c->norm_eps);
        headnorm_forward(b->qkv + q, width, b->rstd_k, params + w->k_norm, n, c->n_kv_heads, c->head_dim, c->norm_eps);
    }
    /* Keys lie right behind the queries: one call turns both. */
    rope_apply(b->qkv, width, positions, m->inv_freq, n, c->n_heads + c->n_kv_heads, c->head_dim, 1);
    if (view->cached) store_kv(view, c, l, b->qkv);
    aim(view, c, l);
    struct attention_shape shape = attention_of(c);
    status = attention_forward(&shape, view->sequences, view->n_sequences, b->qkv, width, acts->precision, b->attn,
                               b->lse, err);
    if (status != OPSM_OK) return status;
    if (x_mid != x) convert(x_mid, DTYPE_F32, x, (int64_t)n * c->dim);
    return gemm_forward(p->out, n, b->attn, q, x_mid, c->dim, true, err);
}

/* x_out = x_mid + down(swiglu(gate_up(norm(x_mid)))). */
static opsm_status ffn_block(const struct activations *acts, const struct layer_buffers *b, const struct model *m,
                             int32_t l, int32_t n, const float *x_mid, float *x_out, opsm_error *err) {
    const struct model_config *c = &m->config;
    const struct packed_layer *p = &m->packed->layers[l];
    rmsnorm_forward(acts->h, acts->precision, b->rstd_ffn, x_mid, m->params + m->layers[l].ffn_norm, n, c->dim,
                    c->norm_eps);
    opsm_status status = gemm_forward(p->gate_up, n, acts->h, c->dim, b->gate_up, 2 * (int64_t)c->ffn_dim, false, err);
    if (status != OPSM_OK || !x_out) return status;
    swiglu_forward(acts->act, acts->precision, b->gate_up, n, c->ffn_dim);
    if (x_out != x_mid) convert(x_out, DTYPE_F32, x_mid, (int64_t)n * c->dim);
    return gemm_forward(p->down, n, acts->act, c->ffn_dim, x_out, c->dim, true, err);
}

opsm_status layer_forward(const struct activations *acts, const struct model *m, int32_t l, int32_t n,
                          const int32_t *positions, const struct layer_view *view, float *x, float *x_out,
                          opsm_error *err) {
    struct layer_buffers b = activations_layer(acts, l);
    float *x_mid = b.x_mid ? b.x_mid : x;
    opsm_status status = attention_block(acts, &b, m, l, n, positions, view, x, x_mid, err);
    return status == OPSM_OK ? ffn_block(acts, &b, m, l, n, x_mid, x_out, err) : status;
}

static opsm_status ffn_backward(const struct activations *acts, const struct layer_buffers *b, const struct model *m,
                                int32_t l, int32_t n, float *grads, opsm_error *err) {
    const struct model_config *c = &m->config;
    const struct model_layer *w = &m->layers[l];
    const struct packed_layer *p = &m->packed->layers[l];
    const struct backward_buffers *d = &acts->back;
    enum dtype type = acts->precision;
    int64_t dim = c->dim, f = c->ffn_dim;
    convert(d->dx_gemm, type, d->dx, n * dim);
    swiglu_forward(acts->act, type, b->gate_up, n, f);
    opsm_status status = gemm_dw(type, n, dim, f, d->dx_gemm, dim, acts->act, f, grads + w->w_down, err);
    if (status == OPSM_OK) status = gemm_dx(p->down, n, d->dx_gemm, dim, d->dact, f, false, err);
    if (status != OPSM_OK) return status;
    swiglu_backward(d->dgate_up, type, d->dact, b->gate_up, n, f);
    rmsnorm_forward(acts->h, type, NULL, b->x_mid, m->params + w->ffn_norm, n, dim, c->norm_eps);
    status = gemm_dw(type, n, 2 * f, dim, d->dgate_up, 2 * f, acts->h, dim, grads + w->w_gate_up, err);
    if (status == OPSM_OK) status = gemm_dx(p->gate_up, n, d->dgate_up, 2 * f, d->dh, dim, false, err);
    if (status != OPSM_OK) return status;
    return rmsnorm_backward(d->dx, grads + w->ffn_norm, d->dh, b->x_mid, m->params + w->ffn_norm, b->rstd_ffn, n, dim,
                            err);
}

/* Gradients of what attention read, in d->dqkv; d->dh holds the gradient of its output. */
static opsm_status scores_backward(const struct activations *acts, const struct layer_buffers *b,
                                   const struct model_config *c, const struct layer_view *view, int32_t n,
                                   opsm_error *err) {
    const struct backward_buffers *d = &acts->back;
    struct attention_shape shape = attention_of(c);
    int64_t width = model_qkv_dim(c);
    memset(d->dqkv, 0, (size_t)(n * width) * sizeof(float));
    return attention_backward(&shape, view->sequences, view->n_sequences, b->qkv, width, acts->precision, b->attn,
                              b->lse, d->dh, d->dqkv, width, d->own, d->prefix, err);
}

/* From the gradient of rotated queries and keys to that of the QKV product's result. */
static opsm_status qkv_backward(const struct activations *acts, const struct layer_buffers *b, const struct model *m,
                                int32_t l, int32_t n, const int32_t *positions, float *grads, opsm_error *err) {
    const struct model_config *c = &m->config;
    const struct model_layer *w = &m->layers[l];
    float *dqkv = acts->back.dqkv;
    int64_t width = model_qkv_dim(c), q = model_q_dim(c), raw = q + model_kv_dim(c);
    rope_apply(dqkv, width, positions, m->inv_freq, n, c->n_heads + c->n_kv_heads, c->head_dim, -1);
    opsm_status status = OPSM_OK;
    if (w->q_norm >= 0) {
        status = headnorm_backward(dqkv, width, grads + w->q_norm, b->qk_raw, raw, m->params + w->q_norm, b->rstd_q, n,
                                   c->n_heads, c->head_dim, err);
        if (status == OPSM_OK)
            status = headnorm_backward(dqkv + q, width, grads + w->k_norm, b->qk_raw + q, raw, m->params + w->k_norm,
                                       b->rstd_k, n, c->n_kv_heads, c->head_dim, err);
    }
    if (status == OPSM_OK && w->bqkv >= 0) status = bias_backward(grads + w->bqkv, dqkv, width, n, width, err);
    return status;
}

static opsm_status attention_block_backward(const struct activations *acts, const struct layer_buffers *b,
                                            const struct model *m, int32_t l, int32_t n, const int32_t *positions,
                                            const struct layer_view *view, const float *x, float *grads,
                                            opsm_error *err) {
    const struct model_config *c = &m->config;
    const struct model_layer *w = &m->layers[l];
    const struct packed_layer *p = &m->packed->layers[l];
    const struct backward_buffers *d = &acts->back;
    enum dtype type = acts->precision;
    int64_t dim = c->dim, q = model_q_dim(c), width = model_qkv_dim(c);
    convert(d->dx_gemm, type, d->dx, n * dim);
    opsm_status status = gemm_dw(type, n, dim, q, d->dx_gemm, dim, b->attn, q, grads + w->wo, err);
    if (status == OPSM_OK) status = gemm_dx(p->out, n, d->dx_gemm, dim, d->dh, q, false, err);
    if (status == OPSM_OK) status = scores_backward(acts, b, c, view, n, err);
    if (status == OPSM_OK) status = qkv_backward(acts, b, m, l, n, positions, grads, err);
    if (status != OPSM_OK) return status;
    convert(d->dqkv_gemm, type, d->dqkv, n * width);
    rmsnorm_forward(acts->h, type, NULL, x, m->params + w->attn_norm, n, dim, c->norm_eps);
    status = gemm_dw(type, n, width, dim, d->dqkv_gemm, width, acts->h, dim, grads + w->wqkv, err);
    if (status == OPSM_OK) status = gemm_dx(p->qkv, n, d->dqkv_gemm, width, d->dh, dim, false, err);
    if (status != OPSM_OK) return status;
    return rmsnorm_backward(d->dx, grads + w->attn_norm, d->dh, x, m->params + w->attn_norm, b->rstd_attn, n, dim, err);
}

opsm_status layer_backward(const struct activations *acts, const struct model *m, int32_t l, int32_t n,
                           const int32_t *positions, const struct layer_view *view, const float *x, float *grads,
                           opsm_error *err) {
    struct layer_buffers b = activations_layer(acts, l);
    aim(view, &m->config, l);
    opsm_status status = ffn_backward(acts, &b, m, l, n, grads, err);
    if (status != OPSM_OK) return status;
    return attention_block_backward(acts, &b, m, l, n, positions, view, x, grads, err);
}
