/* SPDX-License-Identifier: Apache-2.0
 *
 * config.json and generation_config.json. RoPE is written as rope_theta and rope_scaling, which every version of
 * transformers reads.
 */
#include "base/file.h"
#include "io/hf_internal.h"
#include "io/hf_write.h"
#include "io/json_writer.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_ROOM = 96 };

struct writer {
    const struct metadata *m;
    const char *architecture; /* "llama" */
    struct json_writer json;
    opsm_status status; /* the first failure */
    opsm_error *err;
};

static const struct {
    const char *gguf, *hf, *type;
} architectures[] = {{"llama", "LlamaForCausalLM", "llama"},
                     {"qwen2", "Qwen2ForCausalLM", "qwen2"},
                     {"qwen3", "Qwen3ForCausalLM", "qwen3"}};

static const struct {
    const char *hf, *gguf;
} numbers[] = {{"hidden_size", "embedding_length"},           {"intermediate_size", "feed_forward_length"},
               {"max_position_embeddings", "context_length"}, {"num_attention_heads", "attention.head_count"},
               {"num_hidden_layers", "block_count"},          {"vocab_size", "vocab_size"}};

/* ---- values ------------------------------------------------------------------------------------------------------ */

static const char *key_name(char out[KEY_ROOM], const struct writer *w, const char *suffix) {
    snprintf(out, KEY_ROOM, "%s.%s", w->architecture, suffix);
    return out;
}

/* The fewest digits that read back as the same float, and a point, so that it is none of Python's integers. */
static void put_float(struct json_writer *json, const char *key, float value) {
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) break;
    }
    if (value >= 1 && value < 1e9f && value == floorf(value))
        snprintf(text, sizeof text, "%.1f", (double)value);
    else if (!strpbrk(text, ".e"))
        strcat(text, ".0");
    json_put_raw(json, key, text);
}

static uint32_t number(struct writer *w, const char *suffix) {
    char key[KEY_ROOM];
    uint32_t value = 0;
    if (w->status == OPSM_OK) w->status = metadata_get_u32(w->m, key_name(key, w, suffix), &value, w->err);
    return value;
}

static float real(struct writer *w, const char *suffix, float otherwise) {
    char key[KEY_ROOM];
    float value = otherwise;
    if (w->status == OPSM_OK && metadata_find(w->m, key_name(key, w, suffix)))
        w->status = metadata_get_f32(w->m, key, &value, w->err);
    return value;
}

static void put_token_id(struct writer *w, const char *name, const char *key) {
    uint32_t id;
    if (w->status != OPSM_OK || !metadata_find(w->m, key)) return;
    w->status = metadata_get_u32(w->m, key, &id, w->err);
    if (w->status == OPSM_OK) json_put_int(&w->json, name, id);
}

/* ---- RoPE -------------------------------------------------------------------------------------------------------- */

static float distance(const float *a, const float *b, int64_t n) {
    float worst = 0;
    for (int64_t i = 0; i < n; i++) {
        float d = fabsf(a[i] - b[i]) / b[i];
        if (!(d <= worst)) worst = d;
    }
    return worst;
}

/* The numbers that make these factors: GGUF keeps only what came out. Published models differ in factor and in the
 * original length. */
static opsm_status find_rope(struct writer *w, struct hf_rope *rope, const float *factors, int64_t n) {
    enum { HEAD_DIM_MAX = 1024, SHORTEST = 3, LONGEST = 24 };
    const float tolerance = 1e-5f;
    float tried[HEAD_DIM_MAX / 2];
    *rope =
        (struct hf_rope){.theta = real(w, "rope.freq_base", 10000.0f), .factor = factors[n - 1], .low = 1, .high = 4};
    for (int bits = SHORTEST; bits <= LONGEST && n <= HEAD_DIM_MAX / 2; bits++) {
        rope->original = (double)(1 << bits);
        hf_rope_factors(rope, tried, n);
        if (distance(tried, factors, n) <= tolerance) return OPSM_OK;
    }
    return opsm_fail(w->err, OPSM_UNSUPPORTED,
                     "%s: no rule of RoPE that transformers knows makes the factors of rope_freqs.weight", w->m->where);
}

static void put_rope(struct writer *w, const struct hf_traits *traits) {
    struct hf_rope rope;
    struct text_view type = {0};
    char key[KEY_ROOM];
    put_float(&w->json, "rope_theta", real(w, "rope.freq_base", 10000.0f));
    if (traits->rope_factors) {
        if (w->status == OPSM_OK) w->status = find_rope(w, &rope, traits->rope_factors, traits->head_dim / 2);
        if (w->status != OPSM_OK) return;
        json_put_open(&w->json, "rope_scaling", '{');
        json_put_string(&w->json, "rope_type", "llama3");
        put_float(&w->json, "factor", (float)rope.factor);
        put_float(&w->json, "low_freq_factor", (float)rope.low);
        put_float(&w->json, "high_freq_factor", (float)rope.high);
        json_put_int(&w->json, "original_max_position_embeddings", (int64_t)rope.original);
        json_put_close(&w->json, '}');
        return;
    }
    if (w->status == OPSM_OK && metadata_find(w->m, key_name(key, w, "rope.scaling.type")))
        w->status = metadata_get_string(w->m, key, &type, w->err);
    float factor = real(w, "rope.scaling.factor", real(w, "rope.scale_linear", 0.0f));
    bool none = factor == 0.0f || factor == 1.0f || (type.length == 4 && memcmp(type.data, "none", 4) == 0);
    if (none) {
        json_put_null(&w->json, "rope_scaling");
        return;
    }
    json_put_open(&w->json, "rope_scaling", '{');
    json_put_string(&w->json, "rope_type", "linear");
    json_put_string(&w->json, "type", "linear");
    put_float(&w->json, "factor", factor);
    json_put_close(&w->json, '}');
}

/* ---- config.json ------------------------------------------------------------------------------------------------- */

/* What is peculiar to each architecture. */
static void put_peculiar(struct writer *w, const struct hf_traits *traits) {
    bool llama = strcmp(w->architecture, "llama") == 0, qwen2 = strcmp(w->architecture, "qwen2") == 0;
    if (llama && traits->qkv_bias && w->status == OPSM_OK)
        w->status = opsm_fail(w->err, OPSM_UNSUPPORTED,
                              "%s: transformers' Llama has biases on all four projections of the attention or on none, "
                              "this model on three",
                              w->m->where);
    if (!qwen2) json_put_bool(&w->json, "attention_bias", false);
    json_put_int(&w->json, "head_dim", traits->head_dim);
    if (llama) json_put_bool(&w->json, "mlp_bias", false);
    if (llama) return;
    json_put_bool(&w->json, "use_sliding_window", false);
    json_put_null(&w->json, "sliding_window");
    json_put_int(&w->json, "max_window_layers", number(w, "block_count"));
}

static void put_names(struct writer *w) {
    struct text_view name = {0};
    size_t i = 0;
    while (strcmp(architectures[i].gguf, w->architecture) != 0) i++;
    if (w->status == OPSM_OK && metadata_find(w->m, "general.name"))
        w->status = metadata_get_string(w->m, "general.name", &name, w->err);
    if (name.length > 0) json_put_bytes(&w->json, "_name_or_path", name.data, name.length);
    json_put_open(&w->json, "architectures", '[');
    json_put_string(&w->json, NULL, architectures[i].hf);
    json_put_close(&w->json, ']');
    json_put_string(&w->json, "model_type", architectures[i].type);
}

static void put_config(struct writer *w, const struct hf_traits *traits) {
    uint32_t heads = number(w, "attention.head_count");
    char key[KEY_ROOM];
    bool grouped = metadata_find(w->m, key_name(key, w, "attention.head_count_kv"));
    json_put_open(&w->json, NULL, '{');
    put_names(w);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        json_put_int(&w->json, numbers[i].hf, number(w, numbers[i].gguf));
    json_put_int(&w->json, "num_key_value_heads", grouped ? number(w, "attention.head_count_kv") : heads);
    put_peculiar(w, traits);
    put_float(&w->json, "rms_norm_eps", real(w, "attention.layer_norm_rms_epsilon", 1e-6f));
    put_rope(w, traits);
    json_put_bool(&w->json, "tie_word_embeddings", traits->tied);
    json_put_string(&w->json, "hidden_act", "silu");
    put_float(&w->json, "attention_dropout", 0);
    put_float(&w->json, "initializer_range", 0.02f);
    json_put_bool(&w->json, "use_cache", true);
    json_put_string(&w->json, "torch_dtype",
                    traits->type == QUANT_F32   ? "float32"
                    : traits->type == QUANT_F16 ? "float16"
                                                : "bfloat16");
    put_token_id(w, "bos_token_id", "tokenizer.ggml.bos_token_id");
    put_token_id(w, "eos_token_id", "tokenizer.ggml.eos_token_id");
    json_put_close(&w->json, '}');
    json_put_end(&w->json);
}

static void put_generation(struct writer *w) {
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    json_put_open(&w->json, NULL, '{');
    put_token_id(w, "bos_token_id", "tokenizer.ggml.bos_token_id");
    json_put_open(&w->json, "eos_token_id", '[');
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) put_token_id(w, NULL, ends[i]);
    json_put_close(&w->json, ']');
    put_token_id(w, "pad_token_id", "tokenizer.ggml.padding_token_id");
    json_put_close(&w->json, '}');
    json_put_end(&w->json);
}

opsm_status hf_config_write(const struct metadata *m, const struct hf_traits *traits, const char *dir,
                            opsm_error *err) {
    struct text config = {0}, generation = {0};
    struct text_view name;
    char architecture[32];
    opsm_status status = metadata_get_string(m, "general.architecture", &name, err);
    if (status != OPSM_OK) return status;
    snprintf(architecture, sizeof architecture, "%.*s", (int)name.length, name.data);
    struct writer w = {.m = m, .architecture = architecture, .json = {.text = &config, .spaced = true}, .err = err};
    put_config(&w, traits);
    w.json = (struct json_writer){.text = &generation, .spaced = true};
    put_generation(&w);
    status = w.status;
    if (status == OPSM_OK) status = hf_put_text(dir, "config.json", &config, err);
    if (status == OPSM_OK) status = hf_put_text(dir, "generation_config.json", &generation, err);
    text_free(&config);
    text_free(&generation);
    return status;
}
