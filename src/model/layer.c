/* SPDX-License-Identifier: Apache-2.0
 *
 * A decoder layer, forward and backward side by side. Shapes: n rows (tokens), d = dim, q = n_heads * head_dim,
 * kv = n_kv_heads * head_dim, w = q + 2 kv (a row is queries | keys | values), f = ffn_dim; "gemm" marks a matrix in
 * the precision of the products, everything else is f32. Buffers: activations.h.
 */
#include "model/layer.h"
#include "kernels/attention.h"
#include "kernels/layers.h"
#include "model/layout.h"

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

/* From qkv [n, w] the rows' keys and values [n, 2 kv] to the end of each sequence's span in the cache. */
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

/* out [n, cols] = the first `cols` columns of x [n, ldx]. */
static void copy_columns(float *out, const float *x, int64_t ldx, int64_t n, int64_t cols) {
    for (int64_t i = 0; i < n; i++) memcpy(out + i * cols, x + i * ldx, (size_t)cols * sizeof *out);
}

/* acts->h [n, d] gemm = RMSNorm of x [n, d] with the weight [d] at this offset; rstd [n], NULL: not wanted. */
static void norm_forward(const struct activations *acts, const struct model *m, int64_t weight, const float *x,
                         float *rstd, int32_t n) {
    rmsnorm_forward(acts->h, acts->precision, rstd, x, m->params.values + weight, n, m->config.dim, m->config.norm_eps);
}

/* dx [n, d] += gradient of the norm's input, from that of its output in dh [n, d]; its weight's gradient [d] +=. */
static opsm_status norm_backward(const struct activations *acts, const struct model *m, int64_t weight, const float *x,
                                 const float *rstd, int32_t n, opsm_error *err) {
    const struct backward_buffers *d = &acts->back;
    return rmsnorm_backward(d->dx, parameters_grad(&m->params, weight), d->dh, x, m->params.values + weight, rstd, n,
                            m->config.dim, err);
}

/* The QK-norm of queries and keys in qkv [n, w], in place; what it was given is kept in qk_raw [n, q + kv]. */
static void qk_norm_forward(const struct layer_buffers *b, const struct model *m, const struct model_layer *layer,
                            int32_t n) {
    const struct model_config *c = &m->config;
    const float *weights = m->params.values;
    int64_t w = model_qkv_dim(c), q = model_q_dim(c);
    if (b->qk_raw) copy_columns(b->qk_raw, b->qkv, w, n, q + model_kv_dim(c));
    headnorm_forward(b->qkv, w, b->rstd_q, weights + layer->q_norm, n, c->n_heads, c->head_dim, c->norm_eps);
    headnorm_forward(b->qkv + q, w, b->rstd_k, weights + layer->k_norm, n, c->n_kv_heads, c->head_dim, c->norm_eps);
}

/* dqkv [n, w]: the gradient of normalised queries and keys becomes that of the raw ones; norms' gradients [head_dim]
 * +=. */
static opsm_status qk_norm_backward(const struct activations *acts, const struct layer_buffers *b,
                                    const struct model *m, const struct model_layer *layer, int32_t n,
                                    opsm_error *err) {
    const struct model_config *c = &m->config;
    const float *weights = m->params.values;
    float *dqkv = acts->back.dqkv;
    int64_t w = model_qkv_dim(c), q = model_q_dim(c), raw = q + model_kv_dim(c);
    opsm_status status = headnorm_backward(dqkv, w, parameters_grad(&m->params, layer->q_norm), b->qk_raw, raw,
                                           weights + layer->q_norm, b->rstd_q, n, c->n_heads, c->head_dim, err);
    if (status != OPSM_OK) return status;
    return headnorm_backward(dqkv + q, w, parameters_grad(&m->params, layer->k_norm), b->qk_raw + q, raw,
                             weights + layer->k_norm, b->rstd_k, n, c->n_kv_heads, c->head_dim, err);
}

/* x_mid [n, d] = x [n, d] + attention(norm(x)), positions [n]. Left for the backward pass: rstd_attn, qkv, attn, lse,
 * and what the QK-norm keeps. x_mid may be x. */
static opsm_status attention_block(const struct activations *acts, const struct layer_buffers *b, const struct model *m,
                                   int32_t l, int32_t n, const int32_t *positions, const struct layer_view *view,
                                   const float *x, float *x_mid, opsm_error *err) {
    const struct model_config *c = &m->config;
    const struct model_layer *layer = &m->layers[l];
    int64_t w = model_qkv_dim(c);
    norm_forward(acts, m, layer->attn_norm, x, b->rstd_attn, n);
    opsm_status status = linear_forward(layer->qkv, n, acts->h, false, b->qkv, &acts->lora, err);
    if (status != OPSM_OK) return status;
    if (layer->q_norm >= 0) qk_norm_forward(b, m, layer, n);
    /* Keys lie right behind the queries: one call turns both. */
    rope_apply(b->qkv, w, positions, m->inv_freq, n, c->n_heads + c->n_kv_heads, c->head_dim, 1);
    if (view->cached) store_kv(view, c, l, b->qkv);
    aim(view, c, l);
    struct attention_shape shape = attention_of(c);
    status =
        attention_forward(&shape, view->sequences, view->n_sequences, b->qkv, w, acts->precision, b->attn, b->lse, err);
    if (status != OPSM_OK) return status;
    if (x_mid != x) convert(x_mid, DTYPE_F32, x, (int64_t)n * c->dim);
    return linear_forward(layer->out, n, b->attn, true, x_mid, &acts->lora, err);
}

/* dx [n, d]: from the gradient of x_mid to that of x. */
static opsm_status attention_block_backward(const struct activations *acts, const struct layer_buffers *b,
                                            const struct model *m, int32_t l, int32_t n, const int32_t *positions,
                                            const struct layer_view *view, const float *x, opsm_error *err) {
    const struct model_config *c = &m->config;
    const struct model_layer *layer = &m->layers[l];
    const struct backward_buffers *d = &acts->back;
    struct attention_shape shape = attention_of(c);
    int64_t w = model_qkv_dim(c);
    opsm_status status = linear_backward(layer->out, n, d->dx, d->dx_gemm, b->attn, d->dh, &acts->lora, err);
    if (status != OPSM_OK) return status;
    memset(d->dqkv, 0, (size_t)(n * w) * sizeof(float));
    status = attention_backward(&shape, view->sequences, view->n_sequences, b->qkv, w, acts->precision, b->attn, b->lse,
                                d->dh, d->dqkv, w, d->own, d->prefix, err);
    if (status != OPSM_OK) return status;
    rope_apply(d->dqkv, w, positions, m->inv_freq, n, c->n_heads + c->n_kv_heads, c->head_dim, -1);
    if (layer->q_norm >= 0) status = qk_norm_backward(acts, b, m, layer, n, err);
    if (status != OPSM_OK) return status;
    norm_forward(acts, m, layer->attn_norm, x, NULL, n);
    status = linear_backward(layer->qkv, n, d->dqkv, d->dqkv_gemm, acts->h, d->dh, &acts->lora, err);
    return status == OPSM_OK ? norm_backward(acts, m, layer->attn_norm, x, b->rstd_attn, n, err) : status;
}

/* x_out [n, d] = x_mid [n, d] + down(swiglu(gate_up(norm(x_mid)))). Left for the backward pass: rstd_ffn, gate_up.
 * x_out may be x_mid; NULL: stop before the last product. */
static opsm_status ffn_block(const struct activations *acts, const struct layer_buffers *b, const struct model *m,
                             int32_t l, int32_t n, const float *x_mid, float *x_out, opsm_error *err) {
    const struct model_config *c = &m->config;
    const struct model_layer *layer = &m->layers[l];
    norm_forward(acts, m, layer->ffn_norm, x_mid, b->rstd_ffn, n);
    opsm_status status = linear_forward(layer->gate_up, n, acts->h, false, b->gate_up, &acts->lora, err);
    if (status != OPSM_OK || !x_out) return status;
    swiglu_forward(acts->act, acts->precision, b->gate_up, n, c->ffn_dim);
    if (x_out != x_mid) convert(x_out, DTYPE_F32, x_mid, (int64_t)n * c->dim);
    return linear_forward(layer->down, n, acts->act, true, x_out, &acts->lora, err);
}

/* dx [n, d]: from the gradient of x_out to that of x_mid. The SwiGLU's output and the norm's are made again. */
static opsm_status ffn_block_backward(const struct activations *acts, const struct layer_buffers *b,
                                      const struct model *m, int32_t l, int32_t n, opsm_error *err) {
    const struct model_layer *layer = &m->layers[l];
    const struct backward_buffers *d = &acts->back;
    int64_t f = m->config.ffn_dim;
    swiglu_forward(acts->act, acts->precision, b->gate_up, n, f);
    opsm_status status = linear_backward(layer->down, n, d->dx, d->dx_gemm, acts->act, d->dact, &acts->lora, err);
    if (status != OPSM_OK) return status;
    swiglu_backward(d->dgate_up, acts->precision, d->dact, b->gate_up, n, f);
    norm_forward(acts, m, layer->ffn_norm, b->x_mid, NULL, n);
    status = linear_backward(layer->gate_up, n, NULL, d->dgate_up, acts->h, d->dh, &acts->lora, err);
    return status == OPSM_OK ? norm_backward(acts, m, layer->ffn_norm, b->x_mid, b->rstd_ffn, n, err) : status;
}

opsm_status layer_forward(const struct activations *acts, const struct model *m, int32_t l, int32_t n,
                          const int32_t *positions, const struct layer_view *view, float *x, float *x_out,
                          opsm_error *err) {
    struct layer_buffers b = activations_layer(acts, l);
    float *x_mid = b.x_mid ? b.x_mid : x;
    opsm_status status = attention_block(acts, &b, m, l, n, positions, view, x, x_mid, err);
    return status == OPSM_OK ? ffn_block(acts, &b, m, l, n, x_mid, x_out, err) : status;
}

opsm_status layer_backward(const struct activations *acts, const struct model *m, int32_t l, int32_t n,
                           const int32_t *positions, const struct layer_view *view, const float *x, opsm_error *err) {
    struct layer_buffers b = activations_layer(acts, l);
    aim(view, &m->config, l);
    opsm_status status = ffn_block_backward(acts, &b, m, l, n, err);
    return status == OPSM_OK ? attention_block_backward(acts, &b, m, l, n, positions, view, x, err) : status;
}
