/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory of a pass: sizes are registered first, then one block is allocated. Inside the modules model/ only.
 *
 * m rows (tokens), d = dim, q = n_heads * head_dim, w = q + 2 * n_kv_heads * head_dim, f = ffn_dim; "gemm" marks a
 * matrix in the model's precision, everything else is f32.
 */
#ifndef OPSM_MODEL_ACTIVATIONS_H
#define OPSM_MODEL_ACTIVATIONS_H
#include "kernels/softmax.h"
#include "model/forward.h"

/* One layer's intermediate results. */
struct layer_buffers {
    float *rstd_attn; /* [m] */
    float *qkv;       /* [m, w] queries and keys rotated: what attention reads */
    float *qk_raw;    /* [m, q + kv] before the QK-norm; NULL without one */
    float *rstd_q;    /* [m, n_heads] */
    float *rstd_k;    /* [m, n_kv_heads] */
    void *attn;       /* [m, q] gemm: output of attention */
    float *lse;       /* [m, n_heads] */
    float *x_mid;     /* [m, d] the residual stream behind attention */
    float *rstd_ffn;  /* [m] */
    float *gate_up;   /* [m, 2f] */
};

/* Rows that a head works on, `room` at a time. */
struct head_buffers {
    int32_t room;
    float *x;       /* [room, d] gathered rows of the final residual stream */
    float *rstd;    /* [room] */
    void *h;        /* [room, d] gemm: behind the final norm */
    float *dh, *dx; /* [room, d] gradients of h and x */
};

/* Of the LM head: entries in work, [room] each. */
struct lm_head_buffers {
    int32_t *row, *target;
    float *coef;
    struct softmax_kept *kept;
    float *logits, *logp, *lse; /* [room, n_vocab], [room], [room] */
    void *dlogits;              /* [room, n_vocab] gemm */
};

struct backward_buffers {
    float *dx;                               /* [m, d] gradient of the residual stream (activations_gradient) */
    void *dx_gemm;                           /* [m, d] gemm */
    float *dh;                               /* [m, max(d, q)] */
    float *dact;                             /* [m, f] */
    void *dgate_up;                          /* [m, 2f] gemm */
    float *dqkv;                             /* [m, w] */
    void *dqkv_gemm;                         /* [m, w] gemm */
    struct attention_gradient *own, *prefix; /* [segments] */
};

/* Where one sequence's keys and values lie, at layer 0, and how far it is from there to the next layer. */
struct sequence_place {
    const float *prefix_kv;
    float *own_kv;
    int64_t prefix_step, own_step; /* floats per layer */
};

/* The sequences of a pass. A row of keys and values is kv_stride floats behind the one before it, its values lie kv_dim
 * floats behind its keys. */
struct layer_view {
    int32_t n_sequences;
    struct attention_sequence *sequences; /* spans are pointed at the layer in work */
    struct sequence_place *places;
    int64_t kv_stride;
    bool cached; /* the rows' keys and values are copied to the end of each sequence's own span */
};

struct activations {
    enum activations_keep keep;
    int32_t room;          /* rows */
    int32_t n_rows;        /* of the last forward pass; 0: nothing to go back through */
    int32_t backward_rows; /* of the last backward pass */
    struct model_config config;
    enum dtype precision;
    uint8_t *block;
    size_t bytes;
    float *stream;       /* residual stream entering layer l at stream + l * stream_step; [n_layers + 1] of them */
    int64_t stream_step; /* floats; 0: one buffer, changed in place */
    struct layer_buffers layer;  /* of layer 0 */
    size_t layer_step;           /* bytes to the next layer's; 0: shared */
    void *h;                     /* [m, d] gemm: normalised input of a product */
    void *act;                   /* [m, f] gemm: SwiGLU's output */
    int32_t *tokens, *positions; /* [m] of the backward pass, which may leave rows out */
    int32_t *live; /* [m] per row: -1 without a gradient; in the backward pass its place among those with */
    struct layer_view view;
    struct head_buffers head;
    struct lm_head_buffers lm_head;
    struct backward_buffers back;
    struct lora_scratch lora; /* of the adapters, if there are any */
    int64_t lora_width;       /* its columns: of the widest one */
};

/* The general form: decode writes its logits elsewhere and needs no scratch for them. */
opsm_status activations_create_for(struct activations **acts, const struct model *model, int32_t max_tokens,
                                   enum activations_keep keep, bool with_logits, opsm_error *err);

/* Checks that these activations were made for this kind of model. */
opsm_status activations_check(const struct activations *acts, const struct model *model, opsm_error *err);

/* Checks that a forward pass of n rows left what goes back through them. */
opsm_status activations_check_backward(const struct activations *acts, int32_t n, opsm_error *err);

/* The gradient [d] of a row of the final residual stream, zero when it is asked for first after a forward pass: what a
 * head adds to. Rows that nobody asks for, and nothing behind them, are left out of the backward pass. */
float *activations_gradient(const struct activations *acts, int32_t row);

/* The buffers of layer l. */
struct layer_buffers activations_layer(const struct activations *acts, int32_t l);

static inline float *activations_stream(const struct activations *acts, int32_t l) {
    return acts->stream + l * acts->stream_step;
}

#endif
