/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "io/hf_internal.h"
#include "io/safetensors.h"
#include <stdio.h>
#include <string.h>

bool hf_is_directory(const char *path) {
    enum { PATH_ROOM = 4096 };
    char config[PATH_ROOM];
    int length = snprintf(config, sizeof config, "%s/config.json", path);
    return length > 0 && length < PATH_ROOM && file_exists(config);
}

static const struct tensor_info *find_tensor(const struct tensor_source *source, const char *name) {
    int64_t i = name_map_find(&source->names, name, strlen(name));
    return i < 0 ? NULL : &source->tensors[i];
}

/* The tensors against what config.json promises of them. */
static opsm_status check_tensors(const struct tensor_source *source, const struct hf_file *config, int64_t n_vocab,
                                 bool tied) {
    const struct tensor_info *embedding = find_tensor(source, "token_embd.weight");
    if (!embedding)
        return opsm_fail(config->err, OPSM_MISSING, "%s: tensor model.embed_tokens.weight is missing",
                         source->metadata.where);
    if (embedding->n_dims != 2 || embedding->shape[1] != n_vocab)
        return opsm_fail(config->err, OPSM_FORMAT,
                         "'%.150s': vocab_size is %lld, but tensor model.embed_tokens.weight has %lld rows",
                         config->path, (long long)n_vocab, (long long)embedding->shape[1]);
    if (!tied && !find_tensor(source, "output.weight"))
        return opsm_fail(config->err, OPSM_MISSING,
                         "%s: tensor lm_head.weight is missing, and config.json does not say tie_word_embeddings",
                         source->metadata.where);
    bool bias = find_tensor(source, "blk.0.attn_q.bias");
    const json_t *wanted = hf_member(config->root, "attention_bias");
    if (wanted && json_is_true(wanted) != bias)
        return opsm_fail(config->err, OPSM_FORMAT, "'%.150s': attention_bias is %s, but the tensors say otherwise",
                         config->path, json_is_true(wanted) ? "true" : "false");
    return OPSM_OK;
}

/* rope_freqs.weight, which GGUF has as a tensor, from the numbers in config.json. */
static opsm_status add_rope_factors(struct tensor_source *source, const struct hf_file *config) {
    struct hf_rope rope;
    opsm_status status = hf_rope_read(&rope, config);
    if (status != OPSM_OK || rope.factor == 0) return status;
    struct text_view architecture;
    char key[96];
    uint32_t head_dim;
    status = metadata_get_string(&source->metadata, "general.architecture", &architecture, config->err);
    if (status != OPSM_OK) return status;
    snprintf(key, sizeof key, "%.*s.attention.key_length", (int)architecture.length, architecture.data);
    status = metadata_get_u32(&source->metadata, key, &head_dim, config->err);
    if (status != OPSM_OK) return status;
    int64_t n = head_dim / 2;
    if (n < 1 || n > 1 << 16) return hf_wrong(config, "head_dim", "out of range");
    source->rope_factors = mem_alloc((size_t)n, sizeof *source->rope_factors);
    if (!source->rope_factors) return mem_exhausted(config->err, "RoPE factors", (size_t)n * sizeof(float));
    hf_rope_factors(&rope, source->rope_factors, n);
    return safetensors_fill_floats(source, "rope_freqs.weight", source->rope_factors, n, config->err);
}

opsm_status hf_read(struct tensor_source *source, const char *dir, opsm_error *err) {
    struct hf_file config;
    int64_t n_vocab;
    bool tied;
    opsm_status status = hf_file_open(&config, dir, "config.json", true, err);
    if (status == OPSM_OK) status = hf_config_read(&source->metadata, &config, &n_vocab, &tied, err);
    if (status == OPSM_OK) status = safetensors_fill(source, dir, tied, err);
    if (status == OPSM_OK) status = check_tensors(source, &config, n_vocab, tied);
    if (status == OPSM_OK) status = add_rope_factors(source, &config);
    if (status == OPSM_OK) status = hf_tokenizer_read(&source->metadata, dir, &config, n_vocab, err);
    hf_file_free(&config);
    return status;
}
