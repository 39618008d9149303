/* SPDX-License-Identifier: Apache-2.0 */
#include "model/activations.h"
#include "base/limits.h"
#include "base/mem.h"
#include "model/layout.h"
#include <stdio.h>

/* HEAD_FLOATS: logits and their gradients of one chunk should be worth the trip through the head's weights, yet stay
 * small beside the model. */
enum { ALIGN = 64, TOKENS_MAX = 1 << 24, HEAD_FLOATS = 1 << 24 };

/* Hands out pieces of a block; with base NULL it only counts. */
struct arena {
    uint8_t *base;
    size_t used;
};

static void *take(struct arena *a, int64_t rows, int64_t cols, size_t size) {
    size_t at = a->used;
    a->used += ((size_t)rows * (size_t)cols * size + ALIGN - 1) / ALIGN * ALIGN;
    return a->base ? a->base + at : NULL;
}

static float *floats(struct arena *a, int64_t rows, int64_t cols) {
    return take(a, rows, cols, sizeof(float));
}

static int32_t *integers(struct arena *a, int64_t rows) {
    return take(a, rows, 1, sizeof(int32_t));
}

static void place_layer(struct activations *x, struct arena *a) {
    const struct model_config *c = &x->config;
    struct layer_buffers *l = &x->layer;
    int64_t m = x->room;
    bool training = x->keep != ACTIVATIONS_NONE;
    size_t before = a->used;
    *l = (struct layer_buffers){0};
    l->qkv = floats(a, m, model_qkv_dim(c));
    l->attn = take(a, m, model_q_dim(c), dtype_size(x->precision));
    l->gate_up = floats(a, m, 2 * (int64_t)c->ffn_dim);
    if (training) { /* without a backward pass the stream is changed in place and nobody asks for these */
        l->rstd_attn = floats(a, m, 1);
        l->lse = floats(a, m, c->n_heads);
        l->x_mid = floats(a, m, c->dim);
        l->rstd_ffn = floats(a, m, 1);
    }
    if (training && c->qk_norm) {
        l->qk_raw = floats(a, m, model_q_dim(c) + model_kv_dim(c));
        l->rstd_q = floats(a, m, c->n_heads);
        l->rstd_k = floats(a, m, c->n_kv_heads);
    }
    x->layer_step = 0;
    if (x->keep != ACTIVATIONS_ALL) return;
    x->layer_step = a->used - before;
    a->used += x->layer_step * (size_t)(c->n_layers - 1);
}

/* Rows that heads work on at a time. */
static int32_t head_room(int32_t n_vocab, int32_t max_tokens) {
    int32_t rows = HEAD_FLOATS / n_vocab / GEMM_ROWS * GEMM_ROWS;
    int32_t whole = (max_tokens + GEMM_ROWS - 1) / GEMM_ROWS * GEMM_ROWS;
    if (rows < GEMM_ROWS) rows = GEMM_ROWS;
    return rows < whole ? rows : whole;
}

static void place_heads(struct activations *x, struct arena *a, bool with_logits) {
    const struct model_config *c = &x->config;
    struct head_buffers *h = &x->head;
    struct lm_head_buffers *b = &x->lm_head;
    size_t gemm = dtype_size(x->precision);
    bool training = x->keep != ACTIVATIONS_NONE;
    int64_t n = h->room = head_room(c->n_vocab, x->room);
    h->x = floats(a, n, c->dim);
    h->rstd = floats(a, n, 1);
    h->h = take(a, n, c->dim, gemm);
    if (training) {
        h->dh = floats(a, n, c->dim);
        h->dx = floats(a, n, c->dim);
    }
    if (!with_logits) return;
    b->logits = floats(a, n, c->n_vocab);
    b->logp = floats(a, n, 1);
    b->lse = floats(a, n, 1);
    if (!training) return;
    b->row = integers(a, n);
    b->target = integers(a, n);
    b->coef = floats(a, n, 1);
    b->kept = take(a, n, 1, sizeof *b->kept);
    b->dlogits = take(a, n, c->n_vocab, gemm);
}

static void place_backward(struct activations *x, struct arena *a) {
    const struct model_config *c = &x->config;
    struct backward_buffers *b = &x->back;
    size_t gemm = dtype_size(x->precision);
    int64_t m = x->room, q = model_q_dim(c);
    b->dx = floats(a, m, c->dim);
    b->dx_gemm = take(a, m, c->dim, gemm);
    b->dh = floats(a, m, q > c->dim ? q : c->dim);
    b->dact = floats(a, m, c->ffn_dim);
    b->dgate_up = take(a, m, 2 * (int64_t)c->ffn_dim, gemm);
    b->dqkv = floats(a, m, model_qkv_dim(c));
    b->dqkv_gemm = take(a, m, model_qkv_dim(c), gemm);
    b->own = take(a, m, 1, sizeof *b->own);
    b->prefix = take(a, m, 1, sizeof *b->prefix);
    x->tokens = integers(a, m);
    x->positions = integers(a, m);
    x->live = integers(a, m);
}

/* Every buffer, in one order; with arena.base NULL only the size. */
static size_t place(struct activations *x, uint8_t *base, bool with_logits) {
    struct arena a = {.base = base};
    const struct model_config *c = &x->config;
    int64_t m = x->room;
    bool training = x->keep != ACTIVATIONS_NONE;
    size_t before = a.used;
    x->stream = floats(&a, m, c->dim);
    x->stream_step = training ? (int64_t)((a.used - before) / sizeof(float)) : 0;
    if (training) a.used += (size_t)x->stream_step * sizeof(float) * (size_t)c->n_layers;
    place_layer(x, &a);
    x->h = take(&a, m, c->dim, dtype_size(x->precision));
    x->act = take(&a, m, c->ffn_dim, dtype_size(x->precision));
    x->view.sequences = take(&a, m, 1, sizeof *x->view.sequences);
    x->view.places = take(&a, m, 1, sizeof *x->view.places);
    x->lora.u = floats(&a, m, x->lora_width);
    x->lora.u_gemm = take(&a, m, x->lora_width, dtype_size(x->precision));
    x->lora.du_gemm = take(&a, training ? m : 0, x->lora_width, dtype_size(x->precision));
    place_heads(x, &a, with_logits);
    if (training) place_backward(x, &a);
    return a.used;
}

static struct activations describe(const struct model *model, int32_t max_tokens, enum activations_keep keep) {
    return (struct activations){.keep = keep,
                                .room = max_tokens,
                                .config = model->config,
                                .precision = model->precision,
                                .lora_width = model->lora_width};
}

size_t activations_bytes(const struct model *model, int32_t max_tokens, enum activations_keep keep) {
    struct activations x = describe(model, max_tokens < 1 ? 1 : max_tokens, keep);
    return place(&x, NULL, true) + sizeof x;
}

opsm_status activations_create_for(struct activations **acts, const struct model *model, int32_t max_tokens,
                                   enum activations_keep keep, bool with_logits, opsm_error *err) {
    *acts = NULL;
    if (max_tokens < 1 || max_tokens > TOKENS_MAX)
        return opsm_fail(err, OPSM_INVALID, "activations for %d tokens, expected 1 to %d", max_tokens, TOKENS_MAX);
    if (keep != ACTIVATIONS_NONE && !model->trained)
        return opsm_fail(err, OPSM_INVALID, "a model that was not loaded for training has no backward pass");
    struct activations *x = mem_alloc(1, sizeof *x);
    if (!x) return mem_exhausted(err, "activations", sizeof *x);
    *x = describe(model, max_tokens, keep);
    x->bytes = place(x, NULL, with_logits);
    char what[64];
    snprintf(what, sizeof what, "a pass over %d tokens", max_tokens);
    opsm_status status = limits_check(what, x->bytes, x->bytes, 0, "fewer tokens at a time need less", err);
    if (status != OPSM_OK) {
        mem_free(x);
        return status;
    }
    /* Filled now: what a training step may need is there from its start, not taken when responses have grown. */
    x->block = keep == ACTIVATIONS_NONE ? mem_alloc(x->bytes, 1) : mem_zalloc(x->bytes, 1);
    if (!x->block) {
        size_t bytes = x->bytes;
        mem_free(x);
        return mem_exhausted(err, "activations; a smaller micro-batch needs less", bytes);
    }
    place(x, x->block, with_logits);
    *acts = x;
    return OPSM_OK;
}

opsm_status activations_create(struct activations **acts, const struct model *model, int32_t max_tokens,
                               enum activations_keep keep, opsm_error *err) {
    return activations_create_for(acts, model, max_tokens, keep, true, err);
}

void activations_free(struct activations *x) {
    if (!x) return;
    mem_free(x->block);
    mem_free(x);
}

int32_t activations_backward_rows(const struct activations *x) {
    return x->backward_rows;
}

opsm_status activations_check(const struct activations *x, const struct model *model, opsm_error *err) {
    const struct model_config *a = &x->config, *b = &model->config;
    if (x->precision == model->precision && a->architecture == b->architecture && a->n_layers == b->n_layers &&
        a->dim == b->dim && a->n_heads == b->n_heads && a->n_kv_heads == b->n_kv_heads && a->head_dim == b->head_dim &&
        a->ffn_dim == b->ffn_dim && a->n_vocab == b->n_vocab && x->lora_width == model->lora_width)
        return OPSM_OK;
    return opsm_fail(err, OPSM_INVALID, "the activations were made for a model of another shape or precision");
}

opsm_status activations_check_backward(const struct activations *x, int32_t n, opsm_error *err) {
    if (x->keep != ACTIVATIONS_NONE && x->n_rows == n && n > 0) return OPSM_OK;
    return opsm_fail(err, OPSM_INVALID, "no forward pass of this batch to go back through");
}

float *activations_gradient(const struct activations *x, int32_t row) {
    size_t dim = (size_t)x->config.dim;
    float *dx = x->back.dx + (size_t)row * dim;
    if (x->live[row] < 0) memset(dx, 0, dim * sizeof *dx);
    x->live[row] = 0;
    return dx;
}

struct layer_buffers activations_layer(const struct activations *x, int32_t l) {
    struct layer_buffers b = x->layer;
    size_t step = x->layer_step * (size_t)l;
    void **buffers[] = {(void **)&b.rstd_attn, (void **)&b.qkv,    (void **)&b.qk_raw, (void **)&b.rstd_q,
                        (void **)&b.rstd_k,    (void **)&b.attn,   (void **)&b.lse,    (void **)&b.x_mid,
                        (void **)&b.rstd_ffn,  (void **)&b.gate_up};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        if (*buffers[i]) *buffers[i] = (uint8_t *)*buffers[i] + step;
    return b;
}
