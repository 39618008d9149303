/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer.json of a byte-level BPE as GGUF's lists. It may have tens of megabytes: vocabulary and merges are read one
 * entry at a time, and everything else is small.
 */
#include "io/hf_tokenizer.h"
#include "base/mem.h"
#include "io/json_members.h"
#include "io/quote.h"
#include <stdio.h>
#include <string.h>

enum {
    FILE_MAX = 100 << 20, /* bytes; the largest published has 33 MiB */
    PART_MAX = 1 << 20,   /* of what is neither vocabulary nor merges */
    ENTRY_MAX = 1 << 16,
    MERGES_MAX = 1 << 24,
    TOKENS_MAX = 1 << 22
};

/* A text in the pool; `length` 0: none. */
struct piece {
    uint32_t at, length;
};

struct reader {
    struct file_map map;
    const char *path;
    struct text pool;
    struct piece *tokens; /* [n_tokens] */
    int32_t *types;       /* [n_tokens], tokenizer.ggml.token_type */
    int64_t n_tokens;
    struct piece *merges;
    int64_t n_merges, merges_room;
    bool ignore_merges, digits;
    const char *regex;   /* of the pre-tokenizer, owned by `cutter` */
    json_t *cutter;      /* pre_tokenizer */
    json_t *first_token; /* text of what post_processor puts before a text */
    opsm_error *err;
};

/* ---- small helpers ------------------------------------------------------------------------------------------------ */

static opsm_status wrong(const struct reader *r, const char *what) {
    return opsm_fail(r->err, OPSM_FORMAT, "'%.150s': %s", r->path, what);
}

/* What no tokenizer of ours does. */
static opsm_status refuse(const struct reader *r, const char *where, const json_t *value) {
    struct hf_file file = {.path = (char *)r->path, .err = r->err};
    return hf_refuse(&file, where, value);
}

static struct json_members open_members(const struct reader *r, struct text_view text, bool list) {
    const char *start = (const char *)r->map.data;
    return (struct json_members){.text = text.data,
                                 .length = text.length,
                                 .offset = (size_t)(text.data - start),
                                 .file = r->path,
                                 .err = r->err,
                                 .list = list};
}

/* A value of at most `most` bytes. */
static opsm_status parse(const struct reader *r, struct text_view part, size_t most, json_t **value) {
    struct json_members whole = open_members(r, part, false);
    *value = NULL;
    if (part.length > most)
        return opsm_fail(r->err, OPSM_FORMAT, "'%.150s', byte %zu: a value of %zu bytes, expected at most %zu", r->path,
                         whole.offset, part.length, most);
    return json_members_parse(&whole, value, part);
}

static opsm_status keep(struct reader *r, const char *text, size_t length, struct piece *piece) {
    *piece = (struct piece){(uint32_t)r->pool.length, (uint32_t)length};
    text_append(&r->pool, text, length);
    return r->pool.failed ? mem_exhausted(r->err, "the tokens of a model", r->pool.length) : OPSM_OK;
}

static bool key_is(const struct json_member *member, const char *name) {
    size_t length = strlen(name);
    return member->key.length == length + 2 && memcmp(member->key.data + 1, name, length) == 0;
}

/* ---- vocabulary --------------------------------------------------------------------------------------------------- */

static opsm_status check_id(const struct reader *r, const json_t *id, const char *text, size_t length) {
    char shown[QUOTE_ROOM];
    if (json_is_integer(id) && json_integer_value(id) >= 0 && json_integer_value(id) < r->n_tokens) return OPSM_OK;
    return opsm_fail(r->err, OPSM_FORMAT,
                     "'%.150s': the id of token %s is no whole number below the vocab_size of config.json, %lld",
                     r->path, quote(shown, text, length), (long long)r->n_tokens);
}

static opsm_status add_token(struct reader *r, const json_t *name, const json_t *id) {
    char shown[QUOTE_ROOM];
    const char *text = json_string_value(name);
    size_t length = json_string_length(name);
    opsm_status status = check_id(r, id, text, length);
    if (status != OPSM_OK) return status;
    if (length == 0) return wrong(r, "model.vocab: a token without text");
    struct piece *token = &r->tokens[json_integer_value(id)];
    if (token->length > 0)
        return opsm_fail(r->err, OPSM_FORMAT, "'%.150s': token %s has the id %lld, which another one has", r->path,
                         quote(shown, text, length), (long long)json_integer_value(id));
    r->types[json_integer_value(id)] = HF_TOKEN_NORMAL;
    return keep(r, text, length, token);
}

static opsm_status read_vocabulary(struct reader *r, struct text_view text) {
    struct json_members m = open_members(r, text, false);
    struct json_member member;
    opsm_status status;
    while ((status = json_members_next(&m, &member)) == OPSM_OK && !member.end) {
        json_t *name = NULL, *id = NULL;
        status = parse(r, member.key, ENTRY_MAX, &name);
        if (status == OPSM_OK) status = parse(r, member.value, ENTRY_MAX, &id);
        if (status == OPSM_OK) status = add_token(r, name, id);
        json_decref(name);
        json_decref(id);
        if (status != OPSM_OK) return status;
    }
    return status;
}

/* ---- merges ------------------------------------------------------------------------------------------------------- */

static opsm_status grow_merges(struct reader *r) {
    enum { FIRST_ROOM = 1024 };
    if (r->n_merges < r->merges_room) return OPSM_OK;
    int64_t room = r->merges_room ? 2 * r->merges_room : FIRST_ROOM;
    if (room > MERGES_MAX) return wrong(r, "model.merges has more than 16 million entries");
    struct piece *merges = mem_resize(r->merges, (size_t)r->merges_room, (size_t)room, sizeof *merges);
    if (!merges) return mem_exhausted(r->err, "the merges of a model", (size_t)room * sizeof *merges);
    r->merges = merges;
    r->merges_room = room;
    return OPSM_OK;
}

/* "A B", or ["A", "B"] as newer files have it. */
static opsm_status add_merge(struct reader *r, const json_t *merge) {
    const json_t *left = json_array_get(merge, 0), *right = json_array_get(merge, 1);
    const char *text = json_string_value(merge);
    opsm_status status = grow_merges(r);
    if (status != OPSM_OK) return status;
    struct piece *piece = &r->merges[r->n_merges++];
    if (text && json_string_length(merge) >= 3) return keep(r, text, json_string_length(merge), piece);
    if (json_array_size(merge) != 2 || json_string_length(left) == 0 || json_string_length(right) == 0 ||
        strchr(json_string_value(left), ' ') || strchr(json_string_value(right), ' '))
        return opsm_fail(r->err, OPSM_FORMAT,
                         "'%.150s': entry %lld of model.merges is neither \"A B\" nor [\"A\", \"B\"] without spaces",
                         r->path, (long long)r->n_merges - 1);
    status = keep(r, json_string_value(left), json_string_length(left), piece);
    text_append(&r->pool, " ", 1);
    text_append(&r->pool, json_string_value(right), json_string_length(right));
    piece->length += 1 + (uint32_t)json_string_length(right);
    return status;
}

static opsm_status read_merges(struct reader *r, struct text_view text) {
    struct json_members m = open_members(r, text, true);
    struct json_member member;
    opsm_status status;
    while ((status = json_members_next(&m, &member)) == OPSM_OK && !member.end) {
        json_t *merge = NULL;
        status = parse(r, member.value, ENTRY_MAX, &merge);
        if (status == OPSM_OK) status = add_merge(r, merge);
        json_decref(merge);
        if (status != OPSM_OK) return status;
    }
    return status;
}

/* ---- model -------------------------------------------------------------------------------------------------------- */

/* The settings of model beside vocab and merges: what is on is refused, but for ignore_merges. */
static opsm_status read_setting(struct reader *r, const json_t *name, const json_t *value) {
    const char *key = json_string_value(name);
    if (!key) return wrong(r, "model has a member without a name");
    if (strcmp(key, "type") == 0) {
        bool bpe = json_is_string(value) && strcmp(json_string_value(value), "BPE") == 0;
        return bpe ? OPSM_OK : refuse(r, "model.type", value);
    }
    if (strcmp(key, "ignore_merges") == 0) {
        r->ignore_merges = json_is_true(value);
        return OPSM_OK;
    }
    bool off = json_is_null(value) || json_is_false(value) || (json_is_string(value) && !json_string_length(value)) ||
               (json_is_number(value) && json_number_value(value) == 0);
    bool known = strcmp(key, "unk_token") == 0 || strcmp(key, "fuse_unk") == 0;
    if (off || known) return OPSM_OK;
    char where[QUOTE_ROOM + 8], shown[QUOTE_ROOM];
    snprintf(where, sizeof where, "model %s", quote(shown, key, strlen(key)));
    return refuse(r, where, value);
}

static opsm_status read_other(struct reader *r, const struct json_member *member) {
    json_t *name = NULL, *value = NULL;
    opsm_status status = parse(r, member->key, ENTRY_MAX, &name);
    if (status == OPSM_OK) status = parse(r, member->value, ENTRY_MAX, &value);
    if (status == OPSM_OK) status = read_setting(r, name, value);
    json_decref(name);
    json_decref(value);
    return status;
}

static opsm_status read_model(struct reader *r, struct text_view text) {
    struct json_members m = open_members(r, text, false);
    struct json_member member;
    bool vocabulary = false, merges = false;
    opsm_status status;
    while ((status = json_members_next(&m, &member)) == OPSM_OK && !member.end) {
        bool is_vocabulary = key_is(&member, "vocab"), is_merges = key_is(&member, "merges");
        if ((is_vocabulary && vocabulary) || (is_merges && merges))
            return wrong(r, "model.vocab or merges occurs twice");
        vocabulary = vocabulary || is_vocabulary;
        merges = merges || is_merges;
        status = is_vocabulary && member.value.data[0] != '[' ? read_vocabulary(r, member.value)
                 : is_merges                                  ? read_merges(r, member.value)
                 : is_vocabulary                              ? opsm_fail(r->err, OPSM_UNSUPPORTED,
                                                                          "'%.150s': model.vocab is a list (a unigram model); only "
                                                                                                       "byte-level BPE is supported",
                                                                          r->path)
                                                              : read_other(r, &member);
        if (status != OPSM_OK) return status;
    }
    if (status == OPSM_OK && (!vocabulary || !merges)) return wrong(r, "model needs vocab and merges");
    return status;
}

/* ---- added tokens ------------------------------------------------------------------------------------------------- */

/* An added token is in the vocabulary already or goes behind it. */
static opsm_status add_added(struct reader *r, const json_t *entry) {
    static const char *const strips[] = {"single_word", "lstrip", "rstrip"};
    const json_t *content = hf_member(entry, "content"), *id = hf_member(entry, "id");
    const char *text = json_string_value(content);
    size_t length = json_string_length(content);
    if (length == 0) return wrong(r, "an entry of added_tokens without content");
    opsm_status status = check_id(r, id, text, length);
    if (status != OPSM_OK) return status;
    for (size_t i = 0; i < sizeof strips / sizeof *strips; i++)
        if (json_is_true(hf_member(entry, strips[i])))
            return opsm_fail(r->err, OPSM_UNSUPPORTED, "'%.150s': an added token with '%s' is not supported", r->path,
                             strips[i]);
    struct piece *token = &r->tokens[json_integer_value(id)];
    int32_t *type = &r->types[json_integer_value(id)];
    if (token->length > 0 &&
        (token->length != length || memcmp(r->pool.data + token->at, text, length) != 0 || *type != HF_TOKEN_NORMAL))
        return opsm_fail(r->err, OPSM_FORMAT, "'%.150s': the id %lld of an added token is another token's", r->path,
                         (long long)json_integer_value(id));
    *type = json_is_true(hf_member(entry, "special")) ? HF_TOKEN_CONTROL : HF_TOKEN_USER_DEFINED;
    return token->length > 0 ? OPSM_OK : keep(r, text, length, token);
}

static opsm_status read_added(struct reader *r, struct text_view text) {
    struct json_members m = open_members(r, text, true);
    struct json_member member;
    opsm_status status;
    while ((status = json_members_next(&m, &member)) == OPSM_OK && !member.end) {
        json_t *entry = NULL;
        status = parse(r, member.value, ENTRY_MAX, &entry);
        if (status == OPSM_OK) status = add_added(r, entry);
        json_decref(entry);
        if (status != OPSM_OK) return status;
    }
    return status;
}

/* ---- what is done to text before and after ------------------------------------------------------------------------ */

static bool type_is(const json_t *step, const char *type) {
    const json_t *found = hf_member(step, "type");
    return json_is_string(found) && strcmp(json_string_value(found), type) == 0;
}

/* The steps of a Sequence, or the one step. */
static const json_t *step_at(const json_t *value, const char *list, size_t i) {
    return type_is(value, "Sequence") ? json_array_get(hf_member(value, list), i) : i == 0 ? value : NULL;
}

static opsm_status read_split(struct reader *r, const json_t *step) {
    const json_t *regex = hf_member(hf_member(step, "pattern"), "Regex"), *behaviour = hf_member(step, "behavior");
    bool isolated = json_is_string(behaviour) && strcmp(json_string_value(behaviour), "Isolated") == 0;
    if (r->regex || !json_is_string(regex) || !isolated || json_is_true(hf_member(step, "invert")))
        return refuse(r, "pre_tokenizer", step);
    r->regex = json_string_value(regex);
    return OPSM_OK;
}

static opsm_status read_cutting_step(struct reader *r, const json_t *step) {
    if (type_is(step, "Split")) return read_split(r, step);
    if (type_is(step, "Digits") && json_is_true(hf_member(step, "individual_digits")) && !r->regex && !r->digits) {
        r->digits = true;
        return OPSM_OK;
    }
    if (!type_is(step, "ByteLevel") || json_is_true(hf_member(step, "add_prefix_space")))
        return refuse(r, "pre_tokenizer", step);
    if (json_is_false(hf_member(step, "use_regex"))) return OPSM_OK;
    if (r->regex) return refuse(r, "pre_tokenizer", step);
    r->regex = HF_REGEX_GPT2;
    return OPSM_OK;
}

static opsm_status read_cutter(struct reader *r) {
    const json_t *step;
    for (size_t i = 0; (step = step_at(r->cutter, "pretokenizers", i)); i++) {
        opsm_status status = read_cutting_step(r, step);
        if (status != OPSM_OK) return status;
    }
    return r->regex ? OPSM_OK : refuse(r, "pre_tokenizer", r->cutter);
}

/* Composed characters (NFC), as Qwen asks for them, are left to who writes the text: see text/tokenizer.h. */
static opsm_status check_normalizer(struct reader *r, const json_t *value) {
    return json_is_null(value) || type_is(value, "NFC") ? OPSM_OK : refuse(r, "normalizer", value);
}

/* A template may put one token before a text, and nothing behind it. */
static opsm_status read_template(struct reader *r, const json_t *step) {
    const json_t *parts = hf_member(step, "single"), *part;
    const json_t *first = hf_member(hf_member(json_array_get(parts, 0), "SpecialToken"), "id");
    size_t i, n_texts = 0;
    json_array_foreach((json_t *)parts, i, part) n_texts += json_is_object(hf_member(part, "Sequence"));
    if (n_texts != 1 || json_array_size(parts) != 1 + (size_t)json_is_string(first) || r->first_token)
        return refuse(r, "post_processor", step);
    if (first) r->first_token = json_incref((json_t *)first);
    return OPSM_OK;
}

static opsm_status read_post_processor(struct reader *r, const json_t *value) {
    const json_t *step;
    for (size_t i = 0; !json_is_null(value) && (step = step_at(value, "processors", i)); i++) {
        opsm_status status = type_is(step, "TemplateProcessing") ? read_template(r, step)
                             : type_is(step, "ByteLevel")        ? OPSM_OK
                                                                 : refuse(r, "post_processor", step);
        if (status != OPSM_OK) return status;
    }
    return OPSM_OK;
}

/* ---- the file ----------------------------------------------------------------------------------------------------- */

/* Where the large parts stand. They are read after all is found: added tokens come before the vocabulary. */
struct parts {
    struct text_view model, added, cutter, normalizer, post_processor;
};

static opsm_status find_parts(const struct reader *r, struct parts *parts) {
    const struct {
        const char *name;
        struct text_view *view;
    } wanted[] = {{"model", &parts->model},
                  {"added_tokens", &parts->added},
                  {"pre_tokenizer", &parts->cutter},
                  {"normalizer", &parts->normalizer},
                  {"post_processor", &parts->post_processor}};
    struct json_members m = open_members(r, (struct text_view){(const char *)r->map.data, r->map.size}, false);
    struct json_member member;
    opsm_status status;
    while ((status = json_members_next(&m, &member)) == OPSM_OK && !member.end)
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
            if (!key_is(&member, wanted[i].name)) continue;
            if (wanted[i].view->data) return wrong(r, "a member occurs twice");
            *wanted[i].view = member.value;
        }
    if (status == OPSM_OK && (!parts->model.data || !parts->cutter.data))
        return wrong(r, "expected the members model and pre_tokenizer, as a fast tokenizer has them");
    return status;
}

static opsm_status read_small(struct reader *r, struct text_view part,
                              opsm_status (*read)(struct reader *r, const json_t *value)) {
    json_t *value;
    if (!part.data) return OPSM_OK;
    opsm_status status = parse(r, part, PART_MAX, &value);
    if (status == OPSM_OK) status = read(r, value);
    json_decref(value);
    return status;
}

static opsm_status read_file(struct reader *r) {
    struct parts parts = {0};
    opsm_status status = file_map_open(&r->map, r->path, r->err);
    if (status != OPSM_OK) return status;
    if (r->map.size > FILE_MAX)
        return opsm_fail(r->err, OPSM_FORMAT, "'%.150s' has %zu bytes, expected at most %d", r->path, r->map.size,
                         FILE_MAX);
    status = find_parts(r, &parts);
    if (status == OPSM_OK) status = parse(r, parts.cutter, PART_MAX, &r->cutter);
    if (status == OPSM_OK) status = read_cutter(r);
    if (status == OPSM_OK) status = read_small(r, parts.normalizer, check_normalizer);
    if (status == OPSM_OK) status = read_small(r, parts.post_processor, read_post_processor);
    if (status == OPSM_OK) status = read_model(r, parts.model);
    if (status == OPSM_OK && parts.added.data) status = read_added(r, parts.added);
    return status;
}

/* ---- into metadata ------------------------------------------------------------------------------------------------ */

/* Rows of the embedding that no token has are called as llama.cpp's converter calls them. */
static opsm_status fill_gaps(struct reader *r) {
    char name[32];
    for (int64_t id = 0; id < r->n_tokens; id++) {
        if (r->tokens[id].length > 0) continue;
        int length = snprintf(name, sizeof name, "[PAD%lld]", (long long)id);
        opsm_status status = keep(r, name, (size_t)length, &r->tokens[id]);
        if (status != OPSM_OK) return status;
        r->types[id] = HF_TOKEN_UNUSED;
    }
    return OPSM_OK;
}

static opsm_status set_texts(struct metadata *m, const char *key, const struct reader *r, const struct piece *pieces,
                             int64_t n) {
    struct text_view *views = mem_alloc((size_t)n, sizeof *views);
    if (!views) return mem_exhausted(r->err, key, (size_t)n * sizeof *views);
    for (int64_t i = 0; i < n; i++) views[i] = (struct text_view){r->pool.data + pieces[i].at, pieces[i].length};
    opsm_status status = metadata_set_strings(m, key, views, (uint64_t)n, r->err);
    mem_free(views);
    return status;
}

static opsm_status set_lists(struct metadata *m, struct reader *r) {
    const struct hf_family *family = hf_family_of(r->regex, r->digits, r->ignore_merges);
    if (!family) return refuse(r, r->ignore_merges ? "ignore_merges with pre_tokenizer" : "pre_tokenizer", r->cutter);
    opsm_status status = metadata_set_string(m, "tokenizer.ggml.model", "gpt2", r->err);
    if (status == OPSM_OK) status = metadata_set_string(m, "tokenizer.ggml.pre", family->pre, r->err);
    if (status == OPSM_OK) status = fill_gaps(r);
    if (status == OPSM_OK) status = set_texts(m, "tokenizer.ggml.tokens", r, r->tokens, r->n_tokens);
    if (status == OPSM_OK)
        status = metadata_set_i32s(m, "tokenizer.ggml.token_type", r->types, (uint64_t)r->n_tokens, r->err);
    return status == OPSM_OK ? set_texts(m, "tokenizer.ggml.merges", r, r->merges, r->n_merges) : status;
}

static opsm_status allocate(struct reader *r) {
    if (r->n_tokens < 1 || r->n_tokens > TOKENS_MAX) return wrong(r, "the vocab_size of config.json is out of range");
    r->tokens = mem_zalloc((size_t)r->n_tokens, sizeof *r->tokens);
    r->types = mem_zalloc((size_t)r->n_tokens, sizeof *r->types);
    if (r->tokens && r->types) return OPSM_OK;
    return mem_exhausted(r->err, "the tokens of a model", (size_t)r->n_tokens * sizeof *r->tokens);
}

static void release(struct reader *r) {
    file_map_close(&r->map);
    text_free(&r->pool);
    mem_free(r->tokens);
    mem_free(r->types);
    mem_free(r->merges);
    json_decref(r->cutter);
}

opsm_status hf_tokenizer_lists(struct metadata *m, const char *path, int64_t n_tokens, json_t **first_token,
                               opsm_error *err) {
    struct reader r = {.path = path, .n_tokens = n_tokens, .err = err};
    opsm_status status = allocate(&r);
    if (status == OPSM_OK) status = read_file(&r);
    if (status == OPSM_OK) status = set_lists(m, &r);
    release(&r);
    *first_token = r.first_token;
    return status;
}
