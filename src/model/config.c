/* SPDX-License-Identifier: Apache-2.0 */
#include "model/config.h"
#include <stdio.h>

/* The integers of struct model_config, where the file keeps them, and what we take for sane. */
static const struct number {
    const char *key; /* behind "<architecture>." */
    size_t offset;
    int32_t min, max;
    bool required;
} numbers[] = {
    {"block_count", offsetof(struct model_config, n_layers), 1, 1024, true},
    {"embedding_length", offsetof(struct model_config, dim), 2, 1 << 16, true},
    {"feed_forward_length", offsetof(struct model_config, ffn_dim), 1, 1 << 20, true},
    {"context_length", offsetof(struct model_config, context), 1, 1 << 24, true},
    {"attention.head_count", offsetof(struct model_config, n_heads), 1, 1024, true},
    {"attention.head_count_kv", offsetof(struct model_config, n_kv_heads), 1, 1024, false},
    {"attention.key_length", offsetof(struct model_config, head_dim), 2, 1024, false},
};
enum { N_NUMBERS = sizeof numbers / sizeof *numbers, VOCAB_MAX = 1 << 22 };

/* Settings that change the arithmetic in ways we do not implement: the file may carry them only with the value that
 * means "off". */
static const struct {
    const char *key;
    float off;
} unsupported[] = {
    {"expert_count", 0},
    {"expert_used_count", 0},
    {"attention.clamp_kqv", 0},
    {"attention.max_alibi_bias", 0},
    {"attention.scale", 0},
    {"attn_logit_softcapping", 0},
    {"final_logit_softcapping", 0},
    {"embedding_scale", 0},
    {"residual_scale", 0},
    {"logit_scale", 0},
    {"use_parallel_residual", 0},
    {"pooling_type", 0},
    {"attention.causal", 1},
};

static int32_t *number_at(struct model_config *config, const struct number *n) {
    return (int32_t *)((char *)config + n->offset);
}

static const char *key_name(char out[MODEL_KEY_MAX], const char *architecture, const char *suffix) {
    snprintf(out, MODEL_KEY_MAX, "%s.%s", architecture, suffix);
    return out;
}

static bool string_is(struct text_view s, const char *text) {
    return s.length == strlen(text) && memcmp(s.data, text, s.length) == 0;
}

static opsm_status read_architecture(struct model_config *config, const struct metadata *metadata, opsm_error *err) {
    struct text_view name, type;
    opsm_status status = metadata_get_string(metadata, "general.architecture", &name, err);
    if (status != OPSM_OK) return status;
    config->architecture = architecture_find(name.data, name.length);
    if (!config->architecture)
        return opsm_fail(err, OPSM_UNSUPPORTED, "%s: architecture '%.*s' is not supported; opsm knows %s",
                         metadata->where, (int)(name.length < 60 ? name.length : 60), name.data, architecture_names());
    if (metadata_find(metadata, "general.type")) {
        if ((status = metadata_get_string(metadata, "general.type", &type, err)) != OPSM_OK) return status;
        if (!string_is(type, "model"))
            return opsm_fail(err, OPSM_UNSUPPORTED, "%s: general.type is '%.*s', expected 'model'", metadata->where,
                             (int)(type.length < 60 ? type.length : 60), type.data);
    }
    uint32_t parts = 1;
    if (metadata_find(metadata, "split.count") &&
        (status = metadata_get_u32(metadata, "split.count", &parts, err)) != OPSM_OK)
        return status;
    if (parts > 1)
        return opsm_fail(err, OPSM_UNSUPPORTED,
                         "%s: the model is split over %u files; merge them first (llama-gguf-split --merge)",
                         metadata->where, parts);
    return OPSM_OK;
}

static opsm_status read_numbers(struct model_config *config, const struct metadata *metadata, opsm_error *err) {
    char key[MODEL_KEY_MAX];
    for (int i = 0; i < N_NUMBERS; i++) {
        const struct number *n = &numbers[i];
        key_name(key, config->architecture->name, n->key);
        if (!n->required && !metadata_find(metadata, key)) continue;
        uint32_t value;
        opsm_status status = metadata_get_u32(metadata, key, &value, err);
        if (status != OPSM_OK) return status;
        if (value < (uint32_t)n->min || value > (uint32_t)n->max)
            return opsm_fail(err, OPSM_FORMAT, "%s: %s is %u, expected %d to %d", metadata->where, key, value, n->min,
                             n->max);
        *number_at(config, n) = (int32_t)value;
    }
    if (config->n_kv_heads == 0) config->n_kv_heads = config->n_heads;
    if (config->head_dim == 0) {
        if (config->dim % config->n_heads != 0)
            return opsm_fail(err, OPSM_FORMAT, "%s: embedding length %d is not a multiple of %d heads", metadata->where,
                             config->dim, config->n_heads);
        config->head_dim = config->dim / config->n_heads;
    }
    return OPSM_OK;
}

/* A key that, where present, must repeat a number we already have. */
static opsm_status expect_number(const struct model_config *config, const struct metadata *metadata, const char *suffix,
                                 int32_t expected, opsm_status failure, const char *because, opsm_error *err) {
    char key[MODEL_KEY_MAX];
    uint32_t value;
    if (!metadata_find(metadata, key_name(key, config->architecture->name, suffix))) return OPSM_OK;
    opsm_status status = metadata_get_u32(metadata, key, &value, err);
    if (status != OPSM_OK) return status;
    if (value == (uint32_t)expected) return OPSM_OK;
    return opsm_fail(err, failure, "%s: %s is %u, expected %d (%s)", metadata->where, key, value, expected, because);
}

static opsm_status refuse_unsupported(const struct model_config *config, const struct metadata *metadata,
                                      opsm_error *err) {
    char key[MODEL_KEY_MAX];
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++) {
        const struct metadata_value *kv =
            metadata_find(metadata, key_name(key, config->architecture->name, unsupported[i].key));
        if (!kv) continue;
        float value = 0;
        bool flag = false;
        opsm_status status = kv->type == METADATA_BOOL ? metadata_get_bool(metadata, key, &flag, err)
                                                       : metadata_get_f32(metadata, key, &value, err);
        if (status != OPSM_OK) return status;
        if (kv->type == METADATA_BOOL) value = flag ? 1 : 0;
        if (!(value == unsupported[i].off))
            return opsm_fail(err, OPSM_UNSUPPORTED, "%s: %s is %g, which opsm does not implement", metadata->where, key,
                             (double)value);
    }
    /* A window as long as the context never cuts anything off. */
    uint32_t window = 0;
    if (metadata_find(metadata, key_name(key, config->architecture->name, "attention.sliding_window"))) {
        opsm_status status = metadata_get_u32(metadata, key, &window, err);
        if (status != OPSM_OK) return status;
    }
    if (window > 0 && window < (uint32_t)config->context)
        return opsm_fail(err, OPSM_UNSUPPORTED, "%s: sliding-window attention (%s = %u) is not supported",
                         metadata->where, key, window);
    return OPSM_OK;
}

static opsm_status read_vocabulary(struct model_config *config, const struct metadata *metadata, opsm_error *err) {
    const struct metadata_value *tokens = metadata_find(metadata, "tokenizer.ggml.tokens");
    if (!tokens) return opsm_fail(err, OPSM_MISSING, "%s: tokenizer.ggml.tokens is missing", metadata->where);
    if (tokens->type != METADATA_ARRAY || tokens->count < 2 || tokens->count > VOCAB_MAX)
        return opsm_fail(err, OPSM_FORMAT, "%s: tokenizer.ggml.tokens should be an array of 2 to %d strings",
                         metadata->where, VOCAB_MAX);
    config->n_vocab = (int32_t)tokens->count;
    return expect_number(config, metadata, "vocab_size", config->n_vocab, OPSM_FORMAT,
                         "the number of tokens in tokenizer.ggml.tokens", err);
}

static opsm_status read_floats(struct model_config *config, const struct metadata *metadata, opsm_error *err) {
    char key[MODEL_KEY_MAX];
    key_name(key, config->architecture->name, "attention.layer_norm_rms_epsilon");
    opsm_status status = metadata_get_f32(metadata, key, &config->norm_eps, err);
    if (status != OPSM_OK) return status;
    config->rope_base = 10000.0f;
    if (!metadata_find(metadata, key_name(key, config->architecture->name, "rope.freq_base"))) return OPSM_OK;
    return metadata_get_f32(metadata, key, &config->rope_base, err);
}

opsm_status model_config_check(const struct model_config *config, const char *where, opsm_error *err) {
    const struct model_config *c = config;
    for (int i = 0; i < N_NUMBERS; i++) {
        int32_t value = *number_at((struct model_config *)c, &numbers[i]);
        if (value < numbers[i].min || value > numbers[i].max)
            return opsm_fail(err, OPSM_INVALID, "%s: %s is %d, expected %d to %d", where, numbers[i].key, value,
                             numbers[i].min, numbers[i].max);
    }
    if (c->n_vocab < 2 || c->n_vocab > VOCAB_MAX)
        return opsm_fail(err, OPSM_INVALID, "%s: a vocabulary of %d tokens, expected 2 to %d", where, c->n_vocab,
                         VOCAB_MAX);
    if (c->n_heads % c->n_kv_heads != 0)
        return opsm_fail(err, OPSM_INVALID, "%s: %d attention heads cannot share %d key heads evenly", where,
                         c->n_heads, c->n_kv_heads);
    if (c->head_dim % 2 != 0)
        return opsm_fail(err, OPSM_INVALID, "%s: head size %d is odd; rotary embedding needs pairs", where,
                         c->head_dim);
    if (!(c->norm_eps > 0 && c->norm_eps < 1))
        return opsm_fail(err, OPSM_INVALID, "%s: layer_norm_rms_epsilon is %g, expected a number between 0 and 1",
                         where, (double)c->norm_eps);
    if (!(c->rope_base >= 1 && c->rope_base <= 1e12f))
        return opsm_fail(err, OPSM_INVALID, "%s: rope.freq_base is %g, expected 1 to 1e12", where,
                         (double)c->rope_base);
    return OPSM_OK;
}

static bool is_present(enum presence presence, const struct tensor_source *source, const char *tensor) {
    return presence == PRESENCE_ALWAYS || (presence == PRESENCE_MAYBE && tensor_source_find(source, tensor));
}

opsm_status model_config_read(struct model_config *config, const struct tensor_source *source, opsm_error *err) {
    const struct metadata *metadata = &source->metadata;
    *config = (struct model_config){0};
    opsm_status status = read_architecture(config, metadata, err);
    if (status == OPSM_OK) status = read_numbers(config, metadata, err);
    if (status == OPSM_OK) status = read_floats(config, metadata, err);
    if (status == OPSM_OK) status = read_vocabulary(config, metadata, err);
    if (status != OPSM_OK) return status;
    config->tied = !tensor_source_find(source, "output.weight");
    config->qkv_bias = is_present(config->architecture->qkv_bias, source, "blk.0.attn_q.bias");
    config->qk_norm = is_present(config->architecture->qk_norm, source, "blk.0.attn_q_norm.weight");
    status = model_config_check(config, metadata->where, err);
    if (status == OPSM_INVALID) { /* an invalid argument in a configuration, a malformed file here */
        if (err) err->code = OPSM_FORMAT;
        status = OPSM_FORMAT;
    }
    if (status == OPSM_OK) status = refuse_unsupported(config, metadata, err);
    if (status == OPSM_OK)
        status = expect_number(config, metadata, "attention.value_length", config->head_dim, OPSM_UNSUPPORTED,
                               "keys and values of different sizes are not supported", err);
    if (status == OPSM_OK)
        status = expect_number(config, metadata, "rope.dimension_count", config->head_dim, OPSM_UNSUPPORTED,
                               "partial rotary embedding is not supported", err);
    return status;
}

bool model_config_is_foreign_key(const struct model_config *config, struct text_view key) {
    const struct architecture *owner = architecture_of_key(key.data, key.length);
    return owner && owner != config->architecture;
}

opsm_status model_config_write(struct metadata *metadata, const struct model_config *config,
                               const struct metadata *original, opsm_error *err) {
    const char *architecture = config->architecture->name;
    char key[MODEL_KEY_MAX];
    bool plain_heads = config->head_dim * config->n_heads == config->dim;
    opsm_status status = metadata_set_string(metadata, "general.architecture", architecture, err);
    for (int i = 0; i < N_NUMBERS && status == OPSM_OK; i++) {
        key_name(key, architecture, numbers[i].key);
        bool implied = numbers[i].offset == offsetof(struct model_config, head_dim) && plain_heads;
        if (implied && !metadata_find(original, key)) continue;
        uint32_t value = (uint32_t)*number_at((struct model_config *)config, &numbers[i]);
        status = metadata_set_u32(metadata, key, value, err);
    }
    key_name(key, architecture, "attention.value_length");
    if (status == OPSM_OK && (!plain_heads || metadata_find(original, key)))
        status = metadata_set_u32(metadata, key, (uint32_t)config->head_dim, err);
    if (status == OPSM_OK)
        status = metadata_set_u32(metadata, key_name(key, architecture, "rope.dimension_count"),
                                  (uint32_t)config->head_dim, err);
    if (status == OPSM_OK)
        status = metadata_set_u32(metadata, key_name(key, architecture, "vocab_size"), (uint32_t)config->n_vocab, err);
    if (status == OPSM_OK)
        status = metadata_set_f32(metadata, key_name(key, architecture, "rope.freq_base"), config->rope_base, err);
    if (status == OPSM_OK)
        status = metadata_set_f32(metadata, key_name(key, architecture, "attention.layer_norm_rms_epsilon"),
                                  config->norm_eps, err);
    return status;
}
