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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TINY_EOS = 0, TINY_START = 1, TINY_END = 2, TINY_BYTES = 3, TINY_VOCAB = TINY_BYTES + 256 + 3 };

/* Types of the tokens [TINY_VOCAB] in the models made from now on; NULL: special ones control, all others normal. */
static const int32_t *tiny_types;

/* The metadata that every tiny model carries: three special tokens, 256 bytes, three merges. */
static inline opsm_status tiny_write_tokenizer(struct gguf_writer *w, opsm_error *err) {
    static const char *const special[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    static const char *const merged[] = {"th", "the", "\xc4\xa0the"};
    static const struct gguf_string merges[] = {{"t h", 3}, {"th e", 4}, {"\xc4\xa0 the", 6}};
    char symbols[256][5];
    struct gguf_string tokens[TINY_VOCAB];
    int32_t types[TINY_VOCAB];
    for (int i = 0; i < TINY_VOCAB; i++) types[i] = tiny_types ? tiny_types[i] : i < TINY_BYTES ? 3 : 1;
    for (int i = 0; i < TINY_BYTES; i++) tokens[i] = (struct gguf_string){special[i], strlen(special[i])};
    for (int b = 0; b < 256; b++) {
        vocab_byte_symbol((uint8_t)b, symbols[b]);
        tokens[TINY_BYTES + b] = (struct gguf_string){symbols[b], strlen(symbols[b])};
    }
    for (int i = 0; i < 3; i++) tokens[TINY_BYTES + 256 + i] = (struct gguf_string){merged[i], strlen(merged[i])};
    opsm_status s = gguf_writer_set_string(w, "tokenizer.ggml.model", "gpt2", err);
    if (s == OPSM_OK) s = gguf_writer_set_string(w, "tokenizer.ggml.pre", "smollm", err);
    if (s == OPSM_OK) s = gguf_writer_set_strings(w, "tokenizer.ggml.tokens", tokens, TINY_VOCAB, err);
    if (s == OPSM_OK) s = gguf_writer_set_i32s(w, "tokenizer.ggml.token_type", types, TINY_VOCAB, err);
    if (s == OPSM_OK) s = gguf_writer_set_strings(w, "tokenizer.ggml.merges", merges, 3, err);
    if (s == OPSM_OK) s = gguf_writer_set_u32(w, "tokenizer.ggml.bos_token_id", TINY_START, err);
    if (s == OPSM_OK) s = gguf_writer_set_u32(w, "tokenizer.ggml.eos_token_id", TINY_END, err);
    if (s == OPSM_OK) s = gguf_writer_set_bool(w, "tokenizer.ggml.add_bos_token", false, err);
    return s;
}

/* An open GGUF file with that metadata and no tensors; its name is gone from the disk already. */
static inline opsm_status tiny_file(struct gguf **file, const char *architecture, opsm_error *err) {
    char path[] = "/tmp/opsm-tiny-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0) return opsm_fail(err, OPSM_IO, "cannot create %s", path);
    close(fd);
    struct gguf_writer *w;
    opsm_status s = gguf_writer_create(&w, path, err);
    if (s == OPSM_OK) {
        s = gguf_writer_set_string(w, "general.architecture", architecture, err);
        if (s == OPSM_OK) s = gguf_writer_set_string(w, "general.name", "tiny", err);
        if (s == OPSM_OK) s = tiny_write_tokenizer(w, err);
        if (s == OPSM_OK)
            s = gguf_writer_commit(w, err);
        else
            gguf_writer_abort(w);
    }
    if (s == OPSM_OK) s = gguf_open(file, path, err);
    unlink(path);
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
    struct gguf *file;
    *model = NULL;
    opsm_status s = tiny_file(&file, config->architecture->name, err);
    return s == OPSM_OK ? model_create(model, config, file, precision, trainable, seed, err) : s;
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
