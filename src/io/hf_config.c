/* SPDX-License-Identifier: Apache-2.0
 *
 * config.json in GGUF's keys. transformers 5 writes RoPE as rope_parameters, earlier versions as rope_theta and
 * rope_scaling; both are read.
 */
#include "io/hf_internal.h"
#include "io/quote.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *gguf;
} architectures[] = {{"LlamaForCausalLM", "llama"}, {"Qwen2ForCausalLM", "qwen2"}, {"Qwen3ForCausalLM", "qwen3"}};

enum { N_ARCHITECTURES = sizeof architectures / sizeof *architectures, KEY_ROOM = 96 };

static const struct {
    const char *name, *gguf;
    bool required;
} numbers[] = {
    {"num_hidden_layers", "block_count", true},
    {"hidden_size", "embedding_length", true},
    {"intermediate_size", "feed_forward_length", true},
    {"max_position_embeddings", "context_length", true},
    {"num_attention_heads", "attention.head_count", true},
    {"num_key_value_heads", "attention.head_count_kv", false},
    {"vocab_size", "vocab_size", true},
};

/* Settings that change the arithmetic in ways nobody here computes, with the values that mean "off". */
static const struct {
    const char *name;
    enum { MUST_BE_FALSE, MUST_BE_ONE, MUST_BE_ABSENT } off;
} unsupported[] = {{"mlp_bias", MUST_BE_FALSE},
                   {"rope_interleaved", MUST_BE_FALSE},
                   {"partial_rotary_factor", MUST_BE_ONE},
                   {"quantization_config", MUST_BE_ABSENT},
                   {"no_rope_layers", MUST_BE_ABSENT},
                   {"num_experts", MUST_BE_ABSENT},
                   {"num_local_experts", MUST_BE_ABSENT}};

static const char *key_name(char out[KEY_ROOM], const char *architecture, const char *suffix) {
    snprintf(out, KEY_ROOM, "%s.%s", architecture, suffix);
    return out;
}

/* ---- reading values ---------------------------------------------------------------------------------------------- */

/* A whole number; *there tells whether there is one. */
static opsm_status read_whole(const struct hf_file *f, const char *key, uint32_t *value, bool *there) {
    const json_t *found = hf_member(f->root, key);
    *there = found;
    if (!found) return OPSM_OK;
    json_int_t wide = json_integer_value(found);
    if (!json_is_integer(found) || wide < 0 || wide > UINT32_MAX)
        return hf_wrong(f, key, "no whole number from 0 to 4294967295");
    *value = (uint32_t)wide;
    return OPSM_OK;
}

static opsm_status read_number(const struct hf_file *f, const json_t *object, const char *key, double *value) {
    const json_t *found = hf_member(object, key);
    if (!found) return OPSM_OK;
    if (!json_is_number(found)) return hf_wrong(f, key, "no number");
    *value = json_number_value(found);
    return OPSM_OK;
}

/* ---- architecture ------------------------------------------------------------------------------------------------ */

static opsm_status read_architecture(const struct hf_file *f, const char **architecture) {
    char shown[QUOTE_ROOM];
    const json_t *list = hf_member(f->root, "architectures"), *first = json_array_get(list, 0);
    if (!json_is_string(first) || json_array_size(list) != 1)
        return hf_wrong(f, "architectures", "missing, expected a list of one name such as \"LlamaForCausalLM\"");
    const char *name = json_string_value(first);
    for (int i = 0; i < N_ARCHITECTURES; i++)
        if (strcmp(architectures[i].name, name) == 0) {
            *architecture = architectures[i].gguf;
            return OPSM_OK;
        }
    return opsm_fail(f->err, OPSM_UNSUPPORTED,
                     "'%.150s': architecture %s is not supported; opsm reads LlamaForCausalLM, Qwen2ForCausalLM and "
                     "Qwen3ForCausalLM",
                     f->path, quote(shown, name, strlen(name)));
}

static bool is_off(const json_t *value, int off) {
    if (off == MUST_BE_FALSE) return json_is_false(value);
    return off == MUST_BE_ONE && json_is_number(value) && json_number_value(value) == 1;
}

static opsm_status refuse_unsupported(const struct hf_file *f) {
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++) {
        const json_t *value = hf_member(f->root, unsupported[i].name);
        if (value && !is_off(value, unsupported[i].off)) return hf_refuse(f, unsupported[i].name, value);
    }
    const json_t *activation = hf_member(f->root, "hidden_act"), *layers = hf_member(f->root, "layer_types"), *layer;
    if (activation && (!json_is_string(activation) || strcmp(json_string_value(activation), "silu") != 0))
        return hf_refuse(f, "hidden_act", activation);
    size_t i;
    json_array_foreach((json_t *)layers, i, layer) {
        if (!json_is_string(layer) || strcmp(json_string_value(layer), "full_attention") != 0)
            return hf_refuse(f, "layer_types", layer);
    }
    return OPSM_OK;
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

static opsm_status set_numbers(struct metadata *m, const struct hf_file *f, const char *architecture, opsm_error *err) {
    char key[KEY_ROOM];
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        uint32_t value = 0;
        bool there;
        opsm_status status = read_whole(f, numbers[i].name, &value, &there);
        if (status == OPSM_OK && !there && numbers[i].required) return hf_wrong(f, numbers[i].name, "missing");
        if (status == OPSM_OK && there)
            status = metadata_set_u32(m, key_name(key, architecture, numbers[i].gguf), value, err);
        if (status != OPSM_OK) return status;
    }
    return OPSM_OK;
}

static opsm_status set_head_size(struct metadata *m, const struct hf_file *f, const char *architecture,
                                 opsm_error *err) {
    enum { QWEN3_DEFAULT = 128 };
    char key[KEY_ROOM];
    uint32_t size = 0, dim = 0, heads = 0;
    bool there, unused;
    opsm_status status = read_whole(f, "head_dim", &size, &there);
    if (status == OPSM_OK) status = read_whole(f, "hidden_size", &dim, &unused);
    if (status == OPSM_OK) status = read_whole(f, "num_attention_heads", &heads, &unused);
    if (status != OPSM_OK) return status;
    if (!there && strcmp(architecture, "qwen3") == 0)
        size = QWEN3_DEFAULT;
    else if (!there && (heads == 0 || dim % heads != 0))
        return hf_wrong(f, "hidden_size", "no multiple of num_attention_heads");
    else if (!there)
        size = dim / heads;
    status = metadata_set_u32(m, key_name(key, architecture, "attention.key_length"), size, err);
    if (status == OPSM_OK)
        status = metadata_set_u32(m, key_name(key, architecture, "attention.value_length"), size, err);
    return status == OPSM_OK ? metadata_set_u32(m, key_name(key, architecture, "rope.dimension_count"), size, err)
                             : status;
}

static opsm_status set_window(struct metadata *m, const struct hf_file *f, const char *architecture, opsm_error *err) {
    char key[KEY_ROOM];
    uint32_t window = 0;
    bool there;
    const json_t *used = hf_member(f->root, "use_sliding_window");
    if (used && !json_is_boolean(used)) return hf_wrong(f, "use_sliding_window", "neither true nor false");
    if (json_is_false(used)) return OPSM_OK;
    opsm_status status = read_whole(f, "sliding_window", &window, &there);
    if (status != OPSM_OK || !there || (!used && strcmp(architecture, "llama") != 0)) return status;
    return metadata_set_u32(m, key_name(key, architecture, "attention.sliding_window"), window, err);
}

/* ---- RoPE -------------------------------------------------------------------------------------------------------- */

/* The object that says how RoPE is scaled and its type; NULL and "default" where it is not. */
static opsm_status find_scaling(const struct hf_file *f, const json_t **object, const char **type) {
    const char *name = "rope_parameters", *key;
    json_t *value;
    *type = "default";
    *object = hf_member(f->root, name);
    if (!*object) *object = hf_member(f->root, name = "rope_scaling");
    if (!*object) return OPSM_OK;
    if (!json_is_object(*object)) return hf_wrong(f, name, "no object");
    json_object_foreach((json_t *)*object, key, value) if (json_is_object(value)) return hf_refuse(f, name, *object);
    const json_t *found = hf_member(*object, "rope_type");
    if (!found) found = hf_member(*object, "type");
    if (found && !json_is_string(found)) return hf_wrong(f, "rope_type", "no text");
    if (found) *type = json_string_value(found);
    found = hf_member(*object, "partial_rotary_factor");
    if (found && !is_off(found, MUST_BE_ONE)) return hf_refuse(f, "partial_rotary_factor", found);
    if (strcmp(*type, "default") != 0 && strcmp(*type, "linear") != 0 && strcmp(*type, "llama3") != 0)
        return hf_refuse(f, name, *object);
    return OPSM_OK;
}

static opsm_status read_theta(const struct hf_file *f, const json_t *scaling, double *theta) {
    *theta = 10000;
    opsm_status status = read_number(f, f->root, "rope_theta", theta);
    return status == OPSM_OK ? read_number(f, scaling, "rope_theta", theta) : status;
}

static opsm_status need_positive(const struct hf_file *f, const json_t *object, const char *key, double *value) {
    *value = 0;
    opsm_status status = read_number(f, object, key, value);
    if (status == OPSM_OK && !(*value > 0 && *value <= 1e9)) return hf_wrong(f, key, "missing or no number above 0");
    return status;
}

static opsm_status set_rope(struct metadata *m, const struct hf_file *f, const char *architecture, opsm_error *err) {
    char key[KEY_ROOM];
    const json_t *scaling;
    const char *type;
    double theta, factor;
    opsm_status status = find_scaling(f, &scaling, &type);
    if (status == OPSM_OK) status = read_theta(f, scaling, &theta);
    if (status == OPSM_OK)
        status = metadata_set_f32(m, key_name(key, architecture, "rope.freq_base"), (float)theta, err);
    if (status != OPSM_OK || strcmp(type, "linear") != 0) return status;
    status = need_positive(f, scaling, "factor", &factor);
    if (status == OPSM_OK)
        status = metadata_set_string(m, key_name(key, architecture, "rope.scaling.type"), "linear", err);
    if (status == OPSM_OK)
        status = metadata_set_f32(m, key_name(key, architecture, "rope.scaling.factor"), (float)factor, err);
    return status;
}

opsm_status hf_rope_read(struct hf_rope *rope, const struct hf_file *f) {
    const json_t *scaling;
    const char *type;
    *rope = (struct hf_rope){0};
    opsm_status status = find_scaling(f, &scaling, &type);
    if (status == OPSM_OK) status = read_theta(f, scaling, &rope->theta);
    if (status != OPSM_OK || strcmp(type, "llama3") != 0) return status;
    status = need_positive(f, scaling, "low_freq_factor", &rope->low);
    if (status == OPSM_OK) status = need_positive(f, scaling, "high_freq_factor", &rope->high);
    if (status == OPSM_OK) status = need_positive(f, scaling, "original_max_position_embeddings", &rope->original);
    if (status == OPSM_OK) status = need_positive(f, scaling, "factor", &rope->factor);
    if (status == OPSM_OK && !(rope->high > rope->low))
        return hf_wrong(f, "high_freq_factor", "not above low_freq_factor");
    return status;
}

/* In float, as llama.cpp's converter does it. */
void hf_rope_factors(const struct hf_rope *rope, float *factors, int64_t n) {
    const float two_pi = 6.283185307179586f;
    float factor = (float)rope->factor, low = (float)rope->low, high = (float)rope->high;
    float original = (float)rope->original;
    for (int64_t i = 0; i < n; i++) {
        float frequency = 1.0f / powf((float)rope->theta, (float)i / (float)n), length = two_pi / frequency;
        float smooth = (original / length - low) / (high - low);
        if (length < original / high)
            factors[i] = 1.0f;
        else if (length > original / low)
            factors[i] = factor;
        else
            factors[i] = 1.0f / ((1.0f - smooth) / factor + smooth);
    }
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

/* transformers' defaults where a configuration is silent: the head is a matrix of its own in all three architectures. */
static opsm_status read_tied(const struct hf_file *f, bool *tied) {
    const json_t *value = hf_member(f->root, "tie_word_embeddings");
    *tied = json_is_true(value);
    return !value || json_is_boolean(value) ? OPSM_OK : hf_wrong(f, "tie_word_embeddings", "neither true nor false");
}

static opsm_status set_name(struct metadata *m, const struct hf_file *f, opsm_error *err) {
    const json_t *name = hf_member(f->root, "_name_or_path");
    return json_string_length(name) > 0 ? metadata_set_string(m, "general.name", json_string_value(name), err)
                                        : OPSM_OK;
}

opsm_status hf_config_read(struct metadata *m, const struct hf_file *f, int64_t *n_vocab, bool *tied, opsm_error *err) {
    const char *architecture = "";
    char key[KEY_ROOM];
    uint32_t size = 0;
    double epsilon = 1e-6;
    opsm_status status = read_architecture(f, &architecture);
    if (status == OPSM_OK) status = refuse_unsupported(f);
    if (status == OPSM_OK) status = metadata_set_string(m, "general.architecture", architecture, err);
    if (status == OPSM_OK) status = set_name(m, f, err);
    if (status == OPSM_OK) status = set_numbers(m, f, architecture, err);
    if (status == OPSM_OK) status = set_head_size(m, f, architecture, err);
    if (status == OPSM_OK) status = set_window(m, f, architecture, err);
    if (status == OPSM_OK) status = set_rope(m, f, architecture, err);
    if (status == OPSM_OK) status = read_number(f, f->root, "rms_norm_eps", &epsilon);
    if (status != OPSM_OK) return status;
    key_name(key, architecture, "attention.layer_norm_rms_epsilon");
    status = metadata_set_f32(m, key, (float)epsilon, err);
    if (status == OPSM_OK) status = metadata_get_u32(m, key_name(key, architecture, "vocab_size"), &size, err);
    *n_vocab = size;
    return status == OPSM_OK ? read_tied(f, tied) : status;
}
