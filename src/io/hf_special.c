/* SPDX-License-Identifier: Apache-2.0
 *
 * What tokenizer_config.json, special_tokens_map.json, generation_config.json and config.json say of single tokens, and
 * the chat template. The first that names a token is believed, in this order.
 */
#include "base/mem.h"
#include "io/hf_tokenizer.h"
#include "io/quote.h"
#include <stdio.h>
#include <string.h>

enum { TEMPLATE_MAX = 1 << 20 };

struct special_files {
    const char *dir;
    struct hf_file tokenizer, map, generation;
    const struct hf_file *config;
    struct text_view *tokens; /* of the metadata, owned */
    uint64_t n_tokens;
    struct metadata *metadata;
    opsm_error *err;
};

static opsm_status set_id(struct special_files *f, const char *key, int64_t id) {
    return metadata_set_u32(f->metadata, key, (uint32_t)id, f->err);
}

/* ---- ids by text -------------------------------------------------------------------------------------------------- */

/* The text of a token: as such or as the content of an object; NULL: the file names none. */
static const json_t *token_text(const struct hf_file *file, const char *name) {
    const json_t *value = hf_member(file->root, name);
    return json_is_object(value) ? hf_member(value, "content") : value;
}

static opsm_status find_text(const struct special_files *f, const struct hf_file *file, const char *name,
                             const json_t *text, int64_t *id) {
    char shown[QUOTE_ROOM];
    if (!json_is_string(text)) return hf_wrong(file, name, "no text");
    size_t length = json_string_length(text);
    for (uint64_t i = 0; i < f->n_tokens; i++)
        if (f->tokens[i].length == length && memcmp(f->tokens[i].data, json_string_value(text), length) == 0) {
            *id = (int64_t)i;
            return OPSM_OK;
        }
    return opsm_fail(f->err, OPSM_FORMAT, "'%.150s': %s is %s, which tokenizer.json does not have", file->path, name,
                     quote(shown, json_string_value(text), length));
}

/* ---- ids by number ------------------------------------------------------------------------------------------------ */

static opsm_status read_id(const struct special_files *f, const struct hf_file *file, const char *name,
                           const json_t *value, int64_t *id) {
    if (!json_is_integer(value) || json_integer_value(value) < 0 || (uint64_t)json_integer_value(value) >= f->n_tokens)
        return hf_wrong(file, name, "no id of a token");
    *id = json_integer_value(value);
    return OPSM_OK;
}

/* The number, or the first of a list; -1: the file has none. */
static opsm_status find_number(const struct special_files *f, const struct hf_file *file, const char *name,
                               int64_t *id) {
    const json_t *value = hf_member(file->root, name);
    if (json_is_array(value)) value = json_array_get(value, 0);
    return value ? read_id(f, file, name, value, id) : OPSM_OK;
}

/* A token from the four files. */
static opsm_status find_token(const struct special_files *f, const char *name, int64_t *id) {
    char number[32];
    const json_t *text;
    *id = -1;
    if ((text = token_text(&f->tokenizer, name))) return find_text(f, &f->tokenizer, name, text, id);
    if ((text = token_text(&f->map, name))) return find_text(f, &f->map, name, text, id);
    snprintf(number, sizeof number, "%s_id", name);
    opsm_status status = find_number(f, &f->generation, number, id);
    return status == OPSM_OK && *id < 0 ? find_number(f, f->config, number, id) : status;
}

static opsm_status set_token(struct special_files *f, const char *name, const char *key, int64_t *id) {
    opsm_status status = find_token(f, name, id);
    return status == OPSM_OK && *id >= 0 ? set_id(f, key, *id) : status;
}

/* Other tokens at which generation stops: GGUF has a place for two. */
static opsm_status set_other_ends(struct special_files *f, int64_t eos) {
    static const char *const keys[] = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
    const json_t *list = hf_member(f->generation.root, "eos_token_id"), *value;
    size_t i, used = 0;
    if (json_is_integer(list) && json_integer_value(list) != eos) {
        int64_t id = -1;
        opsm_status status = read_id(f, &f->generation, "eos_token_id", list, &id);
        return status == OPSM_OK ? set_id(f, keys[0], id) : status;
    }
    json_array_foreach((json_t *)list, i, value) {
        int64_t id = -1;
        opsm_status status = read_id(f, &f->generation, "eos_token_id", value, &id);
        if (status == OPSM_OK && id != eos && used < sizeof keys / sizeof *keys) status = set_id(f, keys[used++], id);
        if (status != OPSM_OK) return status;
    }
    return OPSM_OK;
}

/* ---- bos ---------------------------------------------------------------------------------------------------------- */

/* tokenizer_config.json decides, then what tokenizer.json puts before a text. */
static opsm_status set_add_bos(struct special_files *f, const json_t *first_token, int64_t bos) {
    const json_t *said = hf_member(f->tokenizer.root, "add_bos_token");
    const json_t *end = hf_member(f->tokenizer.root, "add_eos_token");
    int64_t first = -1;
    if (json_is_true(end)) return hf_refuse(&f->tokenizer, "add_eos_token", end);
    if (said && !json_is_boolean(said)) return hf_wrong(&f->tokenizer, "add_bos_token", "neither true nor false");
    if (!said && first_token) {
        opsm_status status = find_text(f, &f->tokenizer, "the first token of post_processor", first_token, &first);
        if (status != OPSM_OK) return status;
        if (first != bos) return hf_refuse(&f->tokenizer, "a first token that is not bos_token:", first_token);
    }
    bool add = said ? json_is_true(said) : first >= 0;
    return metadata_set_bool(f->metadata, "tokenizer.ggml.add_bos_token", add, f->err);
}

/* ---- chat template ------------------------------------------------------------------------------------------------ */

static opsm_status set_template(struct special_files *f, const char *name, const json_t *text) {
    char key[128];
    if (!json_is_string(text)) return hf_wrong(&f->tokenizer, "chat_template", "no text");
    if (strcmp(name, "default") == 0)
        return metadata_set_string(f->metadata, "tokenizer.chat_template", json_string_value(text), f->err);
    snprintf(key, sizeof key, "tokenizer.chat_template.%.80s", name);
    return metadata_set_string(f->metadata, key, json_string_value(text), f->err);
}

static opsm_status set_templates(struct special_files *f) {
    const json_t *value = hf_member(f->tokenizer.root, "chat_template"), *entry;
    size_t i;
    if (!value) return OPSM_OK;
    if (!json_is_array(value)) return set_template(f, "default", value);
    json_array_foreach((json_t *)value, i, entry) {
        const char *name = json_string_value(hf_member(entry, "name"));
        if (!name) return hf_wrong(&f->tokenizer, "chat_template", "a list with an entry that has no name");
        opsm_status status = set_template(f, name, hf_member(entry, "template"));
        if (status != OPSM_OK) return status;
    }
    return OPSM_OK;
}

/* chat_template.jinja, where newer versions keep it, counts more than the others. */
static opsm_status set_template_file(struct special_files *f) {
    char *path = file_join(f->dir, "chat_template.jinja"), *text = NULL;
    size_t size = 0;
    opsm_status status = path ? OPSM_OK : mem_exhausted(f->err, "a file name", 0);
    bool there = path && file_exists(path);
    if (there) status = file_read(path, TEMPLATE_MAX, &text, &size, f->err);
    if (there && status == OPSM_OK && strlen(text) != size)
        status = opsm_fail(f->err, OPSM_FORMAT, "'%.150s': a NUL in a template", path);
    if (there && status == OPSM_OK) status = metadata_set_string(f->metadata, "tokenizer.chat_template", text, f->err);
    mem_free(text);
    mem_free(path);
    return status;
}

/* ---- the whole ---------------------------------------------------------------------------------------------------- */

static opsm_status set_all(struct special_files *f, const json_t *first_token) {
    int64_t bos = -1, eos = -1, id;
    opsm_status status = metadata_get_strings(f->metadata, "tokenizer.ggml.tokens", &f->tokens, &f->n_tokens, f->err);
    if (status == OPSM_OK) status = set_token(f, "bos_token", "tokenizer.ggml.bos_token_id", &bos);
    if (status == OPSM_OK) status = set_token(f, "eos_token", "tokenizer.ggml.eos_token_id", &eos);
    if (status == OPSM_OK) status = set_token(f, "pad_token", "tokenizer.ggml.padding_token_id", &id);
    if (status == OPSM_OK) status = set_token(f, "unk_token", "tokenizer.ggml.unknown_token_id", &id);
    if (status == OPSM_OK) status = set_other_ends(f, eos);
    if (status == OPSM_OK) status = set_add_bos(f, first_token, bos);
    if (status == OPSM_OK) status = set_templates(f);
    return status == OPSM_OK ? set_template_file(f) : status;
}

opsm_status hf_tokenizer_read(struct metadata *m, const char *dir, const struct hf_file *config, int64_t n_vocab,
                              opsm_error *err) {
    struct special_files f = {.dir = dir, .config = config, .metadata = m, .err = err};
    json_t *first_token = NULL;
    char *path = file_join(dir, "tokenizer.json");
    opsm_status status = path ? OPSM_OK : mem_exhausted(err, "a file name", 0);
    if (status == OPSM_OK && !file_exists(path))
        status = opsm_fail(err, OPSM_MISSING,
                           "'%.150s' has no tokenizer.json; load it with transformers' AutoTokenizer and save it again "
                           "with save_pretrained",
                           dir);
    if (status == OPSM_OK) status = hf_tokenizer_lists(m, path, n_vocab, &first_token, err);
    if (status == OPSM_OK) status = hf_file_open(&f.tokenizer, dir, "tokenizer_config.json", false, err);
    if (status == OPSM_OK) status = hf_file_open(&f.map, dir, "special_tokens_map.json", false, err);
    if (status == OPSM_OK) status = hf_file_open(&f.generation, dir, "generation_config.json", false, err);
    if (status == OPSM_OK) status = set_all(&f, first_token);
    hf_file_free(&f.tokenizer);
    hf_file_free(&f.map);
    hf_file_free(&f.generation);
    mem_free(f.tokens);
    json_decref(first_token);
    mem_free(path);
    return status;
}
