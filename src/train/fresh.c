/* SPDX-License-Identifier: Apache-2.0 */
#include "train/fresh.h"
#include "base/rng.h"
#include "data/task.h"
#include "environment/characters.h"
#include "model/config.h"
#include "text/vocab.h"
#include <math.h>
#include <string.h>

/* What every reader of byte-level BPE expects to find: at least one merge. This one applies to no built-in task. */
static const char MERGED[] = "==", MERGE[] = "= =";
static const char END[] = "<|endoftext|>";

enum { TOKENS_MAX = 256 + 2, TYPE_NORMAL = 1, TYPE_CONTROL = 3 };

struct vocabulary {
    char symbols[256][5];
    struct text_view tokens[TOKENS_MAX];
    int32_t types[TOKENS_MAX];
    int32_t n;
};

static void add_token(struct vocabulary *v, const char *text, int32_t type) {
    v->tokens[v->n] = (struct text_view){text, strlen(text)};
    v->types[v->n++] = type;
}

static void add_byte(struct vocabulary *v, uint8_t byte) {
    vocab_byte_symbol(byte, v->symbols[byte]);
    add_token(v, v->symbols[byte], TYPE_NORMAL);
}

/* The bytes of all that the model will read and write. */
static opsm_status find_bytes(const struct run_config *config, bool seen[256], opsm_error *err) {
    const char *const texts[] = {config->data.system, config->data.template_prefix, config->data.template_suffix};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) characters_mark(texts[i], seen);
    struct data_source *source;
    opsm_status status = problems_source(&source, config, PROBLEMS_IMITATE, config->data.template_prefix, err);
    if (status != OPSM_OK) return status;
    const struct task_spec *task = data_task(source);
    for (int c = ' '; task && task->style == TASK_WORDS && c <= '~'; c++) seen[c] = true;
    for (int split = DATA_TRAIN; !task && split <= DATA_EVAL; split++) {
        for (int64_t i = 0; status == OPSM_OK && i < data_count(source, (enum data_split)split); i++) {
            struct problem problem;
            status = data_get(source, (enum data_split)split, i, &problem, err);
            if (status == OPSM_OK) characters_mark_problem(&problem, seen);
            problem_free(&problem);
        }
    }
    data_close(source);
    return status;
}

static opsm_status make_vocabulary(struct vocabulary *v, const struct run_config *config, opsm_error *err) {
    static const char first[] = TASK_BARE_ALPHABET "\n";
    *v = (struct vocabulary){0};
    bool seen[256] = {false};
    opsm_status status = find_bytes(config, seen, err);
    if (status != OPSM_OK) return status;
    add_token(v, END, TYPE_CONTROL);
    for (const char *c = first; *c; c++) add_byte(v, (uint8_t)*c);
    for (int byte = 0; byte < 256; byte++)
        if (seen[byte] && !strchr(first, byte)) add_byte(v, (uint8_t)byte);
    add_token(v, MERGED, TYPE_NORMAL);
    return OPSM_OK;
}

static opsm_status set_metadata(struct metadata *m, const struct vocabulary *v, opsm_error *err) {
    const struct text_view merge = {MERGE, sizeof MERGE - 1};
    opsm_status s = metadata_set_string(m, "general.architecture", "llama", err);
    if (s == OPSM_OK) s = metadata_set_string(m, "general.name", "opsm tiny", err);
    if (s == OPSM_OK) s = metadata_set_string(m, "tokenizer.ggml.model", "gpt2", err);
    if (s == OPSM_OK) s = metadata_set_string(m, "tokenizer.ggml.pre", "gpt-2", err);
    if (s == OPSM_OK) s = metadata_set_strings(m, "tokenizer.ggml.tokens", v->tokens, (uint64_t)v->n, err);
    if (s == OPSM_OK) s = metadata_set_i32s(m, "tokenizer.ggml.token_type", v->types, (uint64_t)v->n, err);
    if (s == OPSM_OK) s = metadata_set_strings(m, "tokenizer.ggml.merges", &merge, 1, err);
    if (s == OPSM_OK) s = metadata_set_u32(m, "tokenizer.ggml.bos_token_id", 0, err);
    if (s == OPSM_OK) s = metadata_set_u32(m, "tokenizer.ggml.eos_token_id", 0, err);
    if (s == OPSM_OK) s = metadata_set_bool(m, "tokenizer.ggml.add_bos_token", false, err);
    return s;
}

/* A narrow model learns much faster from weights of variance 1 / inputs than from the 0.02 of wide ones; what is added
 * to the residual stream is halved. */
static opsm_status randomise(struct model *m, uint64_t seed, opsm_error *err) {
    for (int32_t i = 0; i < m->params.n_tensors; i++) {
        const struct parameter *t = &m->params.tensors[i];
        if (!t->decay || t->offset == m->embedding) continue;
        bool residual = strstr(t->name, "attn_output") || strstr(t->name, "ffn_down");
        double scale = (residual ? 0.5 : 1.0) / sqrt((double)t->cols);
        struct rng rng = rng_make(seed, RNG_INIT, (uint32_t)i, 1, 0);
        float *w = m->params.values + t->offset;
        for (int64_t j = 0; j < t->rows * t->cols; j++) w[j] = (float)(scale * rng_normal(&rng));
    }
    return model_publish(m, err);
}

static opsm_status make_shape(struct model_config *shape, const struct run_config *config, int32_t n_vocab,
                              opsm_error *err) {
    const int32_t dim = config->sft.init.dim, heads = config->sft.init.heads;
    if (dim % heads || (dim / heads) % 2 || heads % config->sft.init.kv_heads)
        return opsm_fail(
            err, OPSM_INVALID,
            "sft.init: dim %d must be a multiple of heads %d with an even quotient, and heads a multiple of "
            "kv_heads %d",
            dim, heads, config->sft.init.kv_heads);
    *shape = (struct model_config){.architecture = architecture_find("llama", 5),
                                   .n_layers = config->sft.init.layers,
                                   .dim = dim,
                                   .n_heads = heads,
                                   .n_kv_heads = config->sft.init.kv_heads,
                                   .head_dim = dim / heads,
                                   .ffn_dim = config->sft.init.ffn,
                                   .n_vocab = n_vocab,
                                   .context = config->sft.init.context,
                                   .norm_eps = 1e-5f,
                                   .rope_base = 10000.0f,
                                   .tied = false};
    return model_config_check(shape, "sft.init", err);
}

opsm_status fresh_sizes(struct model *sizes, const struct run_config *config, opsm_error *err) {
    struct model_config shape;
    opsm_status status = make_shape(&shape, config, TOKENS_MAX, err);
    return status == OPSM_OK ? model_sizes(sizes, &shape, config->precision, err) : status;
}

opsm_status fresh_model(struct model **model, const struct run_config *config, opsm_error *err) {
    *model = NULL;
    struct vocabulary vocabulary;
    struct model_config shape;
    opsm_status status = make_vocabulary(&vocabulary, config, err);
    if (status == OPSM_OK) status = make_shape(&shape, config, vocabulary.n, err);
    if (status != OPSM_OK) return status;
    struct tensor_source *source;
    status = tensor_source_create(&source, "sft.init", err);
    if (status != OPSM_OK) return status;
    status = set_metadata(&source->metadata, &vocabulary, err);
    if (status != OPSM_OK) {
        tensor_source_close(source);
        return status;
    }
    status = model_create(model, &shape, source, config->precision, true, config->seed, err);
    return status == OPSM_OK ? randomise(*model, config->seed, err) : status;
}
