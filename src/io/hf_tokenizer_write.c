/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer.json and tokenizer_config.json.
 */
#include "base/mem.h"
#include "io/hf_tokenizer.h"
#include "io/hf_write.h"
#include "io/json_writer.h"
#include <stdio.h>
#include <string.h>

struct writer {
    const struct metadata *m;
    const struct hf_family *family;
    struct text_view *tokens, *merges; /* owned */
    int32_t *types;                    /* owned */
    uint64_t n_tokens, n_merges;
    bool add_bos;
    int64_t bos, eos, padding, unknown; /* -1: none */
    struct text name;                   /* of the token that is written */
    struct json_writer json;
    opsm_error *err;
};

/* ---- what there is ----------------------------------------------------------------------------------------------- */

static opsm_status read_id(const struct writer *w, const char *key, int64_t *id) {
    uint32_t value;
    *id = -1;
    if (!metadata_find(w->m, key)) return OPSM_OK;
    opsm_status status = metadata_get_u32(w->m, key, &value, w->err);
    if (status == OPSM_OK && value >= w->n_tokens)
        return opsm_fail(w->err, OPSM_FORMAT, "%s: %s is %u, expected the id of a token", w->m->where, key, value);
    *id = value;
    return status;
}

static opsm_status read_ids(struct writer *w) {
    opsm_status status = read_id(w, "tokenizer.ggml.bos_token_id", &w->bos);
    if (status == OPSM_OK) status = read_id(w, "tokenizer.ggml.eos_token_id", &w->eos);
    if (status == OPSM_OK) status = read_id(w, "tokenizer.ggml.padding_token_id", &w->padding);
    return status == OPSM_OK ? read_id(w, "tokenizer.ggml.unknown_token_id", &w->unknown) : status;
}

/* Where the file does not say, the family does: Llama 3 begins with bos. */
static opsm_status read_add_bos(struct writer *w) {
    w->add_bos = w->family->ignore_merges;
    opsm_status status = OPSM_OK;
    if (metadata_find(w->m, "tokenizer.ggml.add_bos_token"))
        status = metadata_get_bool(w->m, "tokenizer.ggml.add_bos_token", &w->add_bos, w->err);
    w->add_bos = w->add_bos && w->bos >= 0;
    return status;
}

/* All normal, where the file has no types. */
static opsm_status read_types(struct writer *w) {
    uint64_t n = w->n_tokens;
    if (metadata_find(w->m, "tokenizer.ggml.token_type")) {
        opsm_status status = metadata_get_i32s(w->m, "tokenizer.ggml.token_type", &w->types, &n, w->err);
        if (status == OPSM_OK && n != w->n_tokens)
            return opsm_fail(w->err, OPSM_FORMAT, "%s: not as many types as tokens", w->m->where);
        return status;
    }
    w->types = mem_alloc((size_t)n, sizeof *w->types);
    if (!w->types) return mem_exhausted(w->err, "types of tokens", (size_t)n * sizeof *w->types);
    for (uint64_t i = 0; i < n; i++) w->types[i] = HF_TOKEN_NORMAL;
    return OPSM_OK;
}

static opsm_status read_all(struct writer *w) {
    struct text_view pre;
    opsm_status status = metadata_get_string(w->m, "tokenizer.ggml.pre", &pre, w->err);
    if (status != OPSM_OK) return status;
    w->family = hf_family_find(pre.data, pre.length);
    if (!w->family)
        return opsm_fail(w->err, OPSM_UNSUPPORTED, "%s: tokenizer.ggml.pre '%.*s' cannot be written as tokenizer.json",
                         w->m->where, (int)(pre.length < 60 ? pre.length : 60), pre.data);
    status = metadata_get_strings(w->m, "tokenizer.ggml.tokens", &w->tokens, &w->n_tokens, w->err);
    if (status == OPSM_OK)
        status = metadata_get_strings(w->m, "tokenizer.ggml.merges", &w->merges, &w->n_merges, w->err);
    if (status == OPSM_OK) status = read_types(w);
    if (status == OPSM_OK) status = read_ids(w);
    return status == OPSM_OK ? read_add_bos(w) : status;
}

/* JSON holds valid UTF-8 only, and our writer of keys no NUL. */
static opsm_status check_text(const struct writer *w, const char *what, struct text_view text) {
    bool valid = !memchr(text.data, '\0', text.length);
    for (size_t at = 0, n; valid && at < text.length; at += n)
        valid = (n = text_utf8_length(text.data + at, text.length - at)) > 0;
    if (valid) return OPSM_OK;
    return opsm_fail(w->err, OPSM_UNSUPPORTED, "%s: %s is not valid UTF-8 and cannot be written as JSON", w->m->where,
                     what);
}

static opsm_status check_texts(const struct writer *w) {
    char what[64];
    opsm_status status = OPSM_OK;
    for (uint64_t i = 0; i < w->n_tokens && status == OPSM_OK; i++) {
        snprintf(what, sizeof what, "token %llu", (unsigned long long)i);
        status = check_text(w, what, w->tokens[i]);
    }
    for (uint64_t i = 0; i < w->n_merges && status == OPSM_OK; i++) {
        snprintf(what, sizeof what, "merge rule %llu", (unsigned long long)i);
        status = check_text(w, what, w->merges[i]);
    }
    return status;
}

/* ---- tokenizer.json ---------------------------------------------------------------------------------------------- */

static bool is_added(const struct writer *w, uint64_t id) {
    return w->types[id] == HF_TOKEN_CONTROL || w->types[id] == HF_TOKEN_USER_DEFINED ||
           w->types[id] == HF_TOKEN_UNKNOWN;
}

/* Text of a token with a NUL behind it, good until the next call. */
static const char *name_of(struct writer *w, uint64_t id) {
    text_clear(&w->name);
    text_append(&w->name, w->tokens[id].data, w->tokens[id].length);
    return w->name.data ? w->name.data : "";
}

static void put_added(struct writer *w) {
    json_put_open(&w->json, "added_tokens", '[');
    for (uint64_t id = 0; id < w->n_tokens; id++) {
        if (!is_added(w, id) || w->tokens[id].length == 0) continue;
        json_put_open(&w->json, NULL, '{');
        json_put_int(&w->json, "id", (int64_t)id);
        json_put_string(&w->json, "content", name_of(w, id));
        json_put_bool(&w->json, "single_word", false);
        json_put_bool(&w->json, "lstrip", false);
        json_put_bool(&w->json, "rstrip", false);
        json_put_bool(&w->json, "normalized", false);
        json_put_bool(&w->json, "special", w->types[id] != HF_TOKEN_USER_DEFINED);
        json_put_close(&w->json, '}');
    }
    json_put_close(&w->json, ']');
}

static void put_byte_level(struct writer *w, const char *key, bool regex) {
    json_put_open(&w->json, key, '{');
    json_put_string(&w->json, "type", "ByteLevel");
    json_put_bool(&w->json, "add_prefix_space", false);
    json_put_bool(&w->json, "trim_offsets", false);
    json_put_bool(&w->json, "use_regex", regex);
    json_put_close(&w->json, '}');
}

static void put_cutter(struct writer *w) {
    bool gpt2 = strcmp(w->family->regex, HF_REGEX_GPT2) == 0;
    json_put_open(&w->json, "pre_tokenizer", '{');
    json_put_string(&w->json, "type", "Sequence");
    json_put_open(&w->json, "pretokenizers", '[');
    if (w->family->digits) json_put_raw(&w->json, NULL, "{\"type\": \"Digits\", \"individual_digits\": true}");
    if (!gpt2) {
        json_put_open(&w->json, NULL, '{');
        json_put_string(&w->json, "type", "Split");
        json_put_open(&w->json, "pattern", '{');
        json_put_string(&w->json, "Regex", w->family->regex);
        json_put_close(&w->json, '}');
        json_put_string(&w->json, "behavior", "Isolated");
        json_put_bool(&w->json, "invert", false);
        json_put_close(&w->json, '}');
    }
    put_byte_level(w, NULL, gpt2);
    json_put_close(&w->json, ']');
    json_put_close(&w->json, '}');
}

/* [bos, "A"] or [bos, "A", bos, "B"]. */
static void put_sequence(struct writer *w, const char *key, const char *const *parts, int n) {
    json_put_open(&w->json, key, '[');
    for (int i = 0; i < n; i++) {
        json_put_open(&w->json, NULL, '{');
        json_put_open(&w->json, "SpecialToken", '{');
        json_put_string(&w->json, "id", name_of(w, (uint64_t)w->bos));
        json_put_int(&w->json, "type_id", i);
        json_put_close(&w->json, '}');
        json_put_close(&w->json, '}');
        json_put_open(&w->json, NULL, '{');
        json_put_open(&w->json, "Sequence", '{');
        json_put_string(&w->json, "id", parts[i]);
        json_put_int(&w->json, "type_id", i);
        json_put_close(&w->json, '}');
        json_put_close(&w->json, '}');
    }
    json_put_close(&w->json, ']');
}

static void put_post_processor(struct writer *w) {
    static const char *const parts[] = {"A", "B"};
    if (!w->add_bos) {
        put_byte_level(w, "post_processor", true);
        return;
    }
    json_put_open(&w->json, "post_processor", '{');
    json_put_string(&w->json, "type", "TemplateProcessing");
    put_sequence(w, "single", parts, 1);
    put_sequence(w, "pair", parts, 2);
    json_put_open(&w->json, "special_tokens", '{');
    json_put_open(&w->json, name_of(w, (uint64_t)w->bos), '{');
    json_put_string(&w->json, "id", name_of(w, (uint64_t)w->bos));
    json_put_open(&w->json, "ids", '[');
    json_put_int(&w->json, NULL, w->bos);
    json_put_close(&w->json, ']');
    json_put_open(&w->json, "tokens", '[');
    json_put_string(&w->json, NULL, name_of(w, (uint64_t)w->bos));
    json_put_close(&w->json, ']');
    json_put_close(&w->json, '}');
    json_put_close(&w->json, '}');
    json_put_close(&w->json, '}');
}

/* Rows without a token, whose names the reader makes anew, are left out. */
static bool is_gap(struct writer *w, uint64_t id) {
    char name[32];
    snprintf(name, sizeof name, "[PAD%llu]", (unsigned long long)id);
    return w->types[id] == HF_TOKEN_UNUSED && strcmp(name_of(w, id), name) == 0;
}

static void put_model(struct writer *w) {
    json_put_open(&w->json, "model", '{');
    json_put_string(&w->json, "type", "BPE");
    json_put_null(&w->json, "dropout");
    json_put_null(&w->json, "unk_token");
    json_put_null(&w->json, "continuing_subword_prefix");
    json_put_null(&w->json, "end_of_word_suffix");
    json_put_bool(&w->json, "fuse_unk", false);
    json_put_bool(&w->json, "byte_fallback", false);
    json_put_bool(&w->json, "ignore_merges", w->family->ignore_merges);
    json_put_open(&w->json, "vocab", '{');
    for (uint64_t id = 0; id < w->n_tokens; id++)
        if (!is_gap(w, id)) json_put_int(&w->json, name_of(w, id), (int64_t)id);
    json_put_close(&w->json, '}');
    json_put_open(&w->json, "merges", '[');
    for (uint64_t i = 0; i < w->n_merges; i++) json_put_bytes(&w->json, NULL, w->merges[i].data, w->merges[i].length);
    json_put_close(&w->json, ']');
    json_put_close(&w->json, '}');
}

static void put_tokenizer(struct writer *w) {
    bool qwen = !w->family->ignore_merges && strcmp(w->family->regex, HF_REGEX_GPT2) != 0;
    json_put_open(&w->json, NULL, '{');
    json_put_string(&w->json, "version", "1.0");
    json_put_null(&w->json, "truncation");
    json_put_null(&w->json, "padding");
    put_added(w);
    if (qwen)
        json_put_raw(&w->json, "normalizer", "{\"type\": \"NFC\"}");
    else
        json_put_null(&w->json, "normalizer");
    put_cutter(w);
    put_post_processor(w);
    put_byte_level(w, "decoder", true);
    put_model(w);
    json_put_close(&w->json, '}');
    json_put_end(&w->json);
}

/* ---- tokenizer_config.json --------------------------------------------------------------------------------------- */

#define TEMPLATE "tokenizer.chat_template"

static bool is_named_template(const struct metadata_value *value) {
    size_t length = strlen(TEMPLATE ".");
    return value->type == METADATA_STRING && value->key.length > length &&
           memcmp(value->key.data, TEMPLATE ".", length) == 0;
}

static void put_string(struct writer *w, const char *key, const struct metadata_value *value) {
    json_put_bytes(&w->json, key, (const char *)value->data + 8, value->size - 8);
}

static void put_template_entry(struct writer *w, struct text_view name, const struct metadata_value *value) {
    json_put_open(&w->json, NULL, '{');
    json_put_bytes(&w->json, "name", name.data, name.length);
    put_string(w, "template", value);
    json_put_close(&w->json, '}');
}

/* One as a text; where there are others with names, a list. */
static void put_templates(struct writer *w) {
    const struct metadata_value *whole = metadata_find(w->m, TEMPLATE);
    int64_t named = 0;
    for (int64_t i = 0; i < w->m->n; i++) named += is_named_template(&w->m->values[i]);
    if (whole && whole->type != METADATA_STRING) whole = NULL;
    if (named == 0) {
        if (whole) put_string(w, "chat_template", whole);
        return;
    }
    json_put_open(&w->json, "chat_template", '[');
    if (whole) put_template_entry(w, (struct text_view){"default", strlen("default")}, whole);
    for (int64_t i = 0; i < w->m->n; i++) {
        const struct metadata_value *value = &w->m->values[i];
        size_t cut = strlen(TEMPLATE ".");
        if (is_named_template(value))
            put_template_entry(w, (struct text_view){value->key.data + cut, value->key.length - cut}, value);
    }
    json_put_close(&w->json, ']');
}

static void put_token(struct writer *w, const char *name, int64_t id) {
    if (id >= 0) json_put_string(&w->json, name, name_of(w, (uint64_t)id));
}

static void put_tokenizer_config(struct writer *w) {
    json_put_open(&w->json, NULL, '{');
    json_put_bool(&w->json, "add_bos_token", w->add_bos);
    json_put_bool(&w->json, "add_prefix_space", false);
    put_token(w, "bos_token", w->bos);
    put_token(w, "eos_token", w->eos);
    put_token(w, "pad_token", w->padding);
    put_token(w, "unk_token", w->unknown);
    json_put_bool(&w->json, "clean_up_tokenization_spaces", false);
    json_put_string(&w->json, "tokenizer_class", "PreTrainedTokenizerFast");
    put_templates(w);
    json_put_close(&w->json, '}');
    json_put_end(&w->json);
}

/* ---- the files --------------------------------------------------------------------------------------------------- */

static opsm_status write_files(struct writer *w, const char *dir) {
    struct text tokenizer = {0}, config = {0};
    w->json = (struct json_writer){.text = &tokenizer, .spaced = true};
    put_tokenizer(w);
    w->json = (struct json_writer){.text = &config, .spaced = true};
    put_tokenizer_config(w);
    opsm_status status = w->name.failed ? mem_exhausted(w->err, "the name of a token", w->name.length) : OPSM_OK;
    if (status == OPSM_OK) status = hf_put_text(dir, "tokenizer.json", &tokenizer, w->err);
    if (status == OPSM_OK) status = hf_put_text(dir, "tokenizer_config.json", &config, w->err);
    text_free(&tokenizer);
    text_free(&config);
    return status;
}

opsm_status hf_tokenizer_write(const struct metadata *m, const char *dir, opsm_error *err) {
    struct writer w = {.m = m, .err = err};
    opsm_status status = read_all(&w);
    if (status == OPSM_OK) status = check_texts(&w);
    if (status == OPSM_OK) status = write_files(&w, dir);
    mem_free(w.tokens);
    mem_free(w.merges);
    mem_free(w.types);
    text_free(&w.name);
    return status;
}
