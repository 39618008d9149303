/* SPDX-License-Identifier: Apache-2.0
 *
 * One decoder for the Llama family: Llama and SmolLM2, Qwen2 (QKV bias), Qwen3 (QK-norm).
 *
 * All weights are one block of parameters (parameters.h), the f32 masters; the layouts that products want are made once
 * per weight version (model_publish). Internal order of Q and K rows is rotate-half whatever the file had.
 *
 * Two ways to run it, one arithmetic:
 *   training   packed groups [prompt][response 1]...[response G] without padding     (forward.h)
 *   decode     KV cache, prompt stored once per group                                (decode.h)
 * With equal weights both give bit-identical log-probs for the same token in the same context.
 */
#ifndef OPSM_MODEL_MODEL_H
#define OPSM_MODEL_MODEL_H
#include "io/tensor_source.h"
#include "kernels/attention.h"
#include "model/architecture.h"
#include "model/linear.h"
#include "text/chat.h"
#include "text/tokenizer.h"
#include <opsm/status.h>

struct model_config {
    const struct architecture *architecture; /* of the table: never NULL in a model */
    int32_t n_layers, dim, n_heads, n_kv_heads, head_dim, ffn_dim, n_vocab, context;
    float norm_eps, rope_base;
    bool tied;              /* the head is the embedding */
    bool qkv_bias, qk_norm; /* where the architecture leaves it open, as the file has it */
};

/* A layer's products, and its norms as offsets in the block; -1: the architecture has none. The rows of qkv are
 * [q | k | v], those of gate_up [gate | up]: one product each. */
struct model_layer {
    struct linear *qkv, *out, *gate_up, *down;
    int64_t attn_norm, q_norm, k_norm, ffn_norm;
};

struct model {
    struct model_config config;
    enum dtype precision; /* format of GEMM inputs */
    struct parameters params;
    struct parameters adapters; /* A and B of all adapted tensors, TENSOR.lora_a and .lora_b; empty: there are none */
    struct parameters *trained; /* the one that a backward pass adds gradients to; NULL: there is none */
    float *inv_freq;            /* [head_dim/2], RoPE scaling already applied; owned */
    struct model_layer *layers; /* [n_layers] */
    struct linear *linears;     /* [n_linears] of all layers, and the head */
    struct linear *head;        /* [n_vocab, dim]; its weight is the embedding when tied */
    int32_t n_linears;
    int64_t n_multiplied;           /* weights of all products */
    struct lora_config lora;        /* rank 0: no adapters */
    uint64_t lora_seed;             /* of their A */
    uint64_t frozen_sum;            /* hash of the frozen matrices as they were read */
    int64_t n_in_blocks;            /* weights of the products that are kept as they came */
    size_t block_bytes;             /* what those take */
    int64_t n_adapted, lora_width;  /* weights of the adapters' products; columns of the widest */
    int64_t embedding, output_norm; /* offsets in params: [n_vocab, dim], [dim] */
    uint64_t version;               /* counts model_publish */
    struct tensor_source *source;   /* metadata to carry over on export */
    struct tokenizer *tokenizer;
    struct chat_template chat; /* ask for it with model_chat */
    char *chat_problem;        /* why the file's chat template cannot be used, a sentence; NULL: it can */
    int32_t *sharers;          /* models that share source, tokenizer and chat (clones); the last one frees them */
};

/* Reads a model file. `trainable`: with what the backward pass needs, gradients among it. Refuses other architectures
 * by name, and files whose tensors are missing, misshapen, or contradict the metadata. */
opsm_status model_load(struct model **model, const char *path, enum dtype precision, bool trainable, opsm_error *err);

/* The two halves of model_load: everything but the weights, which is little (sizes, tokenizer, chat template), then
 * the weights. In between nothing can be computed with the model. */
opsm_status model_open(struct model **model, const char *path, enum dtype precision, opsm_error *err);
opsm_status model_read(struct model *model, bool trainable, opsm_error *err);

/* Between the two: the weights will be frozen, and adapters beside them trained. A starts at random, B at zero: the model
 * is the one that was read until it is trained. Refuses a rank that is larger than a side of a matrix. */
opsm_status model_adapt(struct model *model, const struct lora_config *config, uint64_t seed, opsm_error *err);

/* OPSM_IO when the file of the model, whose frozen matrices are read again to merge them, has others than at first. */
opsm_status model_check_frozen(const struct model *model, opsm_error *err);

/* With the adapters or without them: the model that was read, which is the reference. */
void model_switch_adapters(struct model *model, bool on);

/* w [rows, cols] += what the adapter of this tensor of params adds, if it has one. */
void model_merge(const struct model *model, const struct parameter *tensor, float *w);

/* What a training of the model changes: params or adapters. */
const struct parameters *model_to_train(const struct model *model);

/* What model_load checks before it reads a weight: configuration and tensors. Fills *config and *n_weights as far as it
 * came. */
opsm_status model_inspect(const struct tensor_source *source, struct model_config *config, int64_t *n_weights,
                          opsm_error *err);

/* A fresh model with random weights (normal, std 0.02, scaled by depth on residual outputs) around the tokenizer and
 * metadata of `source` (taken over, also on failure; closed by model_free). For training the embedded tiny model and
 * for tests. */
opsm_status model_create(struct model **model, const struct model_config *config, struct tensor_source *source,
                         enum dtype precision, bool trainable, uint64_t seed, opsm_error *err);

/* The same architecture and a copy of the weights (e.g. a frozen reference, or a sampler in another precision). The
 * immutable source, tokenizer and chat template are shared; create and free clones from one thread. */
opsm_status model_clone(struct model **copy, const struct model *model, enum dtype precision, bool trainable,
                        opsm_error *err);

/* copy's weights become `model`'s, rounded as model_save with this type and model_load would (F32, F16, BF16, Q8_0),
 * and are published under the version of `model`; `copy` is a clone of it. */
opsm_status model_round(struct model *copy, const struct model *model, enum quant_type type, opsm_error *err);

/* The sizes of such a model alone: configuration, precision, counts. Holds no memory. */
opsm_status model_sizes(struct model *sizes, const struct model_config *config, enum dtype precision, opsm_error *err);

/* What the weights take: masters and the layouts of products. */
size_t model_bytes(const struct model *sizes, bool trainable);

void model_free(struct model *model); /* NULL is allowed */

/* The model's chat template (borrowed). A template that cannot be run is no reason to refuse a model, but it is one to
 * refuse this: OPSM_UNSUPPORTED with the sentence that says what to do. */
opsm_status model_chat(const struct model *model, const struct chat_template **chat, opsm_error *err);

/* The parameters changed: from now on products see them. Must be called before the next forward or decode. */
opsm_status model_publish(struct model *model, opsm_error *err);

/* Writes a GGUF file with all metadata and the tokenizer of the original, adapters merged into the matrices. type: QUANT_F32, F16, BF16 or Q8_0 for the
 * matrices; norms and biases stay F32. */
opsm_status model_save(const struct model *model, const char *path, enum quant_type type, opsm_error *err);

#endif
