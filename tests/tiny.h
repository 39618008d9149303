/* SPDX-License-Identifier: Apache-2.0
 *
 * Tiny random models with a byte-level tokenizer, for tests that need a whole model and no file of their own.
 *
 *   struct model_config config = tiny_config("qwen3");
 *   struct model *model;
 *   assert_ok(tiny_model(&model, &config, DTYPE_F32, true, 1, &err));
 *   tiny_randomise(model, 1, 0.3f);        weights large enough that gradients mean something
 */
#ifndef OPSM_TESTS_TINY_H
#define OPSM_TESTS_TINY_H
#include "base/rng.h"
#include "model/model.h"
#include "text/vocab.h"
#include <stdlib.h>
#include <string.h>

enum { TINY_EOS = 0, TINY_START = 1, TINY_END = 2, TINY_BYTES = 3, TINY_VOCAB = TINY_BYTES + 256 + 3 };

/* Types of the tokens [TINY_VOCAB] in the models made from now on; NULL: special ones control, all others normal. */
static const int32_t *tiny_types;

/* The metadata that every tiny model carries: three special tokens, 256 bytes, three merges. */
static inline opsm_status tiny_set_tokenizer(struct metadata *m, opsm_error *err) {
    static const char *const special[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    static const char *const merged[] = {"th", "the", "\xc4\xa0the"};
    static const struct text_view merges[] = {{"t h", 3}, {"th e", 4}, {"\xc4\xa0 the", 6}};
    char symbols[256][5];
    struct text_view tokens[TINY_VOCAB];
    int32_t types[TINY_VOCAB];
    for (int i = 0; i < TINY_VOCAB; i++) types[i] = tiny_types ? tiny_types[i] : i < TINY_BYTES ? 3 : 1;
    for (int i = 0; i < TINY_BYTES; i++) tokens[i] = (struct text_view){special[i], strlen(special[i])};
    for (int b = 0; b < 256; b++) {
        vocab_byte_symbol((uint8_t)b, symbols[b]);
        tokens[TINY_BYTES + b] = (struct text_view){symbols[b], strlen(symbols[b])};
    }
    for (int i = 0; i < 3; i++) tokens[TINY_BYTES + 256 + i] = (struct text_view){merged[i], strlen(merged[i])};
    opsm_status s = metadata_set_string(m, "tokenizer.ggml.model", "gpt2", err);
    if (s == OPSM_OK) s = metadata_set_string(m, "tokenizer.ggml.pre", "smollm", err);
    if (s == OPSM_OK) s = metadata_set_strings(m, "tokenizer.ggml.tokens", tokens, TINY_VOCAB, err);
    if (s == OPSM_OK) s = metadata_set_i32s(m, "tokenizer.ggml.token_type", types, TINY_VOCAB, err);
    if (s == OPSM_OK) s = metadata_set_strings(m, "tokenizer.ggml.merges", merges, 3, err);
    if (s == OPSM_OK) s = metadata_set_u32(m, "tokenizer.ggml.bos_token_id", TINY_START, err);
    if (s == OPSM_OK) s = metadata_set_u32(m, "tokenizer.ggml.eos_token_id", TINY_END, err);
    if (s == OPSM_OK) s = metadata_set_bool(m, "tokenizer.ggml.add_bos_token", false, err);
    return s;
}

/* That metadata and no tensors. */
static inline opsm_status tiny_source(struct tensor_source **source, const char *architecture, opsm_error *err) {
    opsm_status s = tensor_source_create(source, "tiny", err);
    if (s != OPSM_OK) return s;
    struct metadata *m = &(*source)->metadata;
    s = metadata_set_string(m, "general.architecture", architecture, err);
    if (s == OPSM_OK) s = metadata_set_string(m, "general.name", "tiny", err);
    if (s == OPSM_OK) s = tiny_set_tokenizer(m, err);
    if (s != OPSM_OK) tensor_source_close(*source);
    return s;
}

/* Two layers, 4 heads over 2 key heads, tied head; change what a test is about. */
static inline struct model_config tiny_config(const char *architecture) {
    struct model_config c = {.n_layers = 2,
                             .dim = 64,
                             .n_heads = 4,
                             .n_kv_heads = 2,
                             .head_dim = 16,
                             .ffn_dim = 96,
                             .n_vocab = TINY_VOCAB,
                             .context = 512,
                             .norm_eps = 1e-5f,
                             .rope_base = 10000.0f,
                             .tied = true};
    c.architecture = architecture_find(architecture, strlen(architecture));
    c.qkv_bias = c.architecture->qkv_bias == PRESENCE_ALWAYS;
    c.qk_norm = c.architecture->qk_norm == PRESENCE_ALWAYS;
    return c;
}

static inline opsm_status tiny_model(struct model **model, const struct model_config *config, enum dtype precision,
                                     bool trainable, uint64_t seed, opsm_error *err) {
    struct tensor_source *source;
    *model = NULL;
    opsm_status s = tiny_source(&source, config->architecture->name, err);
    return s == OPSM_OK ? model_create(model, config, source, precision, trainable, seed, err) : s;
}

/* Random everything: matrices with variance scale^2 / columns (the embedding: scale^2), norms around one, biases around
 * zero. Publishes. */
static inline opsm_status tiny_randomise(struct model *model, uint64_t seed, float scale, opsm_error *err) {
    for (int32_t i = 0; i < model->params.n_tensors; i++) {
        const struct parameter *t = &model->params.tensors[i];
        struct rng r = rng_make(seed, RNG_TEST, (uint32_t)i, 77, 0);
        bool bias = strstr(t->name, ".bias") != NULL, embedding = t->offset == model->embedding;
        for (int64_t j = 0; j < t->rows * t->cols; j++) {
            double x = rng_normal(&r);
            double matrix = x * scale / (embedding ? 1.0 : sqrt((double)t->cols));
            model->params.values[t->offset + j] = (float)(t->decay ? matrix : bias ? 0.2 * x : 1.0 + 0.2 * x);
        }
    }
    return model_publish(model, err);
}

/* n random tokens. */
static inline void tiny_tokens(int32_t *tokens, int32_t n, uint32_t seed) {
    struct rng r = rng_make(seed, RNG_TEST, 5, 0, 0);
    for (int32_t i = 0; i < n; i++) tokens[i] = (int32_t)rng_below(&r, TINY_VOCAB);
}

#endif
