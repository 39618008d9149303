/* SPDX-License-Identifier: Apache-2.0 */
#include "text/tokenizer.h"
#include "base/log.h"
#include "base/mem.h"
#include "text/bpe.h"
#include "text/pretokenize.h"
#include "text/special.h"
#include "text/unicode.h"
#include "text/vocab.h"
#include <string.h>

struct tokenizer {
    struct vocab vocab;
    struct bpe bpe;
    struct special special;
    enum pretokenizer pre;
    const char *name;
    int32_t bos, eos;
    bool add_bos;
    int32_t ends[16]; /* every token that ends a turn */
    int n_ends;
};

/* ---- kinds of tokenizer ------------------------------------------------------------------------------------------ */

struct kind {
    const char *name;
    enum pretokenizer pre;
    bool take_whole; /* a piece that is a token is never cut, whatever the merge rules say */
    bool add_bos;    /* unless the file says otherwise */
};

static const struct kind kinds[] = {
    {"gpt-2", PRE_GPT2, false, false},
    {"smollm", PRE_SMOLLM, false, false},
    {"llama-bpe", PRE_LLAMA3, true, true},
    {"llama3", PRE_LLAMA3, true, true},
    {"llama-v3", PRE_LLAMA3, true, true},
    {"qwen2", PRE_QWEN2, false, false},
    {"deepseek-r1-qwen", PRE_QWEN2, false, false},
};

static const struct kind *find_kind(const char *name, size_t length) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strlen(kinds[i].name) == length && memcmp(kinds[i].name, name, length) == 0) return &kinds[i];
    return NULL;
}

static opsm_status unknown_kind(const char *name, size_t length, opsm_error *err) {
    return opsm_fail(
        err, OPSM_UNSUPPORTED,
        "tokenizer.ggml.pre: the pre-tokenizer '%.*s' is not supported; those that are: gpt-2, smollm, llama-bpe, "
        "qwen2. Choose a model with one of them",
        (int)(length < 60 ? length : 60), name);
}

/* ---- create ------------------------------------------------------------------------------------------------------ */

/* Tokens that end a turn in the published chat models, known by name because few files say so. */
static const char *const end_names[] = {"<|im_end|>",    "<|eot_id|>",    "<|eom_id|>",      "<|end|>",
                                        "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<EOT>"};

static void add_end(struct tokenizer *tokenizer, int32_t id) {
    if (id >= 0 && !tokenizer_is_end(tokenizer, id)) tokenizer->ends[tokenizer->n_ends++] = id;
}

/* Before the special tokens are indexed: some files give an end marker the type of a normal token. */
static void find_ends(struct tokenizer *tokenizer, const struct tokenizer_source *source) {
    add_end(tokenizer, source->eos);
    add_end(tokenizer, source->eot);
    for (size_t i = 0; i < sizeof end_names / sizeof *end_names; i++) {
        int32_t id = vocab_find(&tokenizer->vocab, (const uint8_t *)end_names[i], strlen(end_names[i]));
        if (id >= 0) tokenizer->vocab.type[id] = TOKEN_CONTROL;
        add_end(tokenizer, id);
    }
}

static opsm_status check_id(const struct tokenizer *tokenizer, const char *key, int32_t id, opsm_error *err) {
    if (id >= -1 && id < tokenizer->vocab.size) return OPSM_OK;
    return opsm_fail(err, OPSM_FORMAT, "%s is %d, expected an id below the %d tokens of the vocabulary", key, id,
                     tokenizer->vocab.size);
}

static opsm_status check_ids(const struct tokenizer *tokenizer, const struct tokenizer_source *source,
                             opsm_error *err) {
    opsm_status status = check_id(tokenizer, "tokenizer.ggml.bos_token_id", source->bos, err);
    if (status == OPSM_OK) status = check_id(tokenizer, "tokenizer.ggml.eos_token_id", source->eos, err);
    if (status == OPSM_OK) status = check_id(tokenizer, "tokenizer.ggml.eot_token_id", source->eot, err);
    return status;
}

static opsm_status build(struct tokenizer *tokenizer, const struct tokenizer_source *source, const struct kind *kind,
                         opsm_error *err) {
    tokenizer->name = kind->name;
    tokenizer->pre = kind->pre;
    tokenizer->bos = source->bos;
    tokenizer->eos = source->eos;
    tokenizer->add_bos = source->add_bos;
    opsm_status status = vocab_init(&tokenizer->vocab, source->tokens, source->types, source->n_tokens, err);
    if (status == OPSM_OK) status = check_ids(tokenizer, source, err);
    if (status != OPSM_OK) return status;
    find_ends(tokenizer, source);
    status = special_init(&tokenizer->special, &tokenizer->vocab, err);
    if (status != OPSM_OK) return status;
    return bpe_init(&tokenizer->bpe, &tokenizer->vocab, source->merges, source->n_merges, kind->take_whole, err);
}

opsm_status tokenizer_create(struct tokenizer **tokenizer, const struct tokenizer_source *source, opsm_error *err) {
    *tokenizer = NULL;
    const struct kind *kind = find_kind(source->pre, strlen(source->pre));
    if (!kind) return unknown_kind(source->pre, strlen(source->pre), err);
    struct tokenizer *made = mem_zalloc(1, sizeof *made);
    if (!made) return mem_exhausted(err, "the tokenizer", sizeof *made);
    opsm_status status = build(made, source, kind, err);
    if (status == OPSM_OK)
        *tokenizer = made;
    else
        tokenizer_free(made);
    return status;
}

void tokenizer_free(struct tokenizer *tokenizer) {
    if (!tokenizer) return;
    bpe_free(&tokenizer->bpe);
    special_free(&tokenizer->special);
    vocab_free(&tokenizer->vocab);
    mem_free(tokenizer);
}

/* ---- load -------------------------------------------------------------------------------------------------------- */

static opsm_status load_kind(const struct metadata *metadata, const struct kind **kind, opsm_error *err) {
    struct text_view model, pre;
    opsm_status status = metadata_get_string(metadata, "tokenizer.ggml.model", &model, err);
    if (status != OPSM_OK) return status;
    if (model.length != 4 || memcmp(model.data, "gpt2", 4) != 0)
        return opsm_fail(
            err, OPSM_UNSUPPORTED,
            "tokenizer.ggml.model is '%.*s', but only gpt2 (byte-level BPE) is supported; choose a model of the "
            "Llama 3, Qwen or SmolLM families",
            (int)(model.length < 60 ? model.length : 60), model.data);
    if (!metadata_find(metadata, "tokenizer.ggml.pre"))
        return opsm_fail(
            err, OPSM_UNSUPPORTED,
            "tokenizer.ggml.pre is missing, so how this model cuts its text is unknown; convert it again with a "
            "current converter");
    status = metadata_get_string(metadata, "tokenizer.ggml.pre", &pre, err);
    if (status != OPSM_OK) return status;
    *kind = find_kind(pre.data, pre.length);
    return *kind ? OPSM_OK : unknown_kind(pre.data, pre.length, err);
}

static opsm_status load_id(const struct metadata *metadata, const char *key, int32_t *id, opsm_error *err) {
    *id = -1;
    if (!metadata_find(metadata, key)) return OPSM_OK;
    uint32_t value;
    opsm_status status = metadata_get_u32(metadata, key, &value, err);
    if (status != OPSM_OK) return status;
    if (value > INT32_MAX) return opsm_fail(err, OPSM_FORMAT, "%s is %u, expected the id of a token", key, value);
    *id = (int32_t)value;
    return OPSM_OK;
}

static opsm_status load_scalars(const struct metadata *metadata, struct tokenizer_source *source, opsm_error *err) {
    opsm_status status = load_id(metadata, "tokenizer.ggml.bos_token_id", &source->bos, err);
    if (status == OPSM_OK) status = load_id(metadata, "tokenizer.ggml.eos_token_id", &source->eos, err);
    if (status == OPSM_OK) status = load_id(metadata, "tokenizer.ggml.eot_token_id", &source->eot, err);
    if (status == OPSM_OK && metadata_find(metadata, "tokenizer.ggml.add_bos_token"))
        status = metadata_get_bool(metadata, "tokenizer.ggml.add_bos_token", &source->add_bos, err);
    return status;
}

static opsm_status load_types(const struct metadata *metadata, uint64_t n_tokens, int32_t **types, opsm_error *err) {
    if (!metadata_find(metadata, "tokenizer.ggml.token_type")) return OPSM_OK;
    uint64_t count;
    opsm_status status = metadata_get_i32s(metadata, "tokenizer.ggml.token_type", types, &count, err);
    if (status == OPSM_OK && count != n_tokens)
        return opsm_fail(err, OPSM_FORMAT,
                         "tokenizer.ggml.token_type has %llu entries, expected one for each of %llu tokens",
                         (unsigned long long)count, (unsigned long long)n_tokens);
    return status;
}

opsm_status tokenizer_load(struct tokenizer **tokenizer, const struct metadata *metadata, opsm_error *err) {
    *tokenizer = NULL;
    const struct kind *kind = NULL;
    opsm_status status = load_kind(metadata, &kind, err);
    if (status != OPSM_OK || !kind) return status;
    struct tokenizer_source source = {.pre = kind->name, .add_bos = kind->add_bos};
    struct text_view *tokens = NULL, *merges = NULL;
    int32_t *types = NULL;
    status = load_scalars(metadata, &source, err);
    if (status == OPSM_OK)
        status = metadata_get_strings(metadata, "tokenizer.ggml.tokens", &tokens, &source.n_tokens, err);
    if (status == OPSM_OK)
        status = metadata_get_strings(metadata, "tokenizer.ggml.merges", &merges, &source.n_merges, err);
    if (status == OPSM_OK) status = load_types(metadata, source.n_tokens, &types, err);
    source.tokens = tokens;
    source.merges = merges;
    source.types = types;
    if (status == OPSM_OK) status = tokenizer_create(tokenizer, &source, err);
    mem_free(tokens);
    mem_free(merges);
    mem_free(types);
    return status;
}

/* ---- what it knows ----------------------------------------------------------------------------------------------- */

static bool in_range(const struct tokenizer *tokenizer, int32_t id) {
    return id >= 0 && id < tokenizer->vocab.size;
}

int32_t tokenizer_size(const struct tokenizer *tokenizer) {
    return tokenizer->vocab.size;
}

const char *tokenizer_name(const struct tokenizer *tokenizer) {
    return tokenizer->name;
}

int32_t tokenizer_bos(const struct tokenizer *tokenizer) {
    return tokenizer->bos;
}

int32_t tokenizer_eos(const struct tokenizer *tokenizer) {
    return tokenizer->eos;
}

bool tokenizer_is_end(const struct tokenizer *tokenizer, int32_t id) {
    for (int i = 0; i < tokenizer->n_ends; i++)
        if (tokenizer->ends[i] == id) return true;
    return false;
}

bool tokenizer_has_byte(const struct tokenizer *tokenizer, uint8_t byte) {
    return tokenizer->vocab.byte_id[byte] >= 0;
}

int32_t tokenizer_find(const struct tokenizer *tokenizer, const char *text) {
    size_t length = strlen(text);
    int32_t id = special_find(&tokenizer->special, (const uint8_t *)text, length);
    return id >= 0 ? id : vocab_find(&tokenizer->vocab, (const uint8_t *)text, length);
}

struct text_view tokenizer_piece(const struct tokenizer *tokenizer, int32_t id) {
    const struct vocab *vocab = &tokenizer->vocab;
    if (!in_range(tokenizer, id) || vocab->type[id] == TOKEN_UNUSED) return (struct text_view){.data = ""};
    return (struct text_view){.data = (const char *)vocab->bytes + vocab->start[id],
                              .length = vocab->start[id + 1] - vocab->start[id]};
}

struct text_view tokenizer_text(const struct tokenizer *tokenizer, int32_t id) {
    uint8_t type = in_range(tokenizer, id) ? tokenizer->vocab.type[id] : TOKEN_UNUSED;
    if (type == TOKEN_CONTROL || type == TOKEN_UNKNOWN || tokenizer_is_end(tokenizer, id))
        return (struct text_view){.data = ""};
    return tokenizer_piece(tokenizer, id);
}

size_t tokenizer_longest(const struct tokenizer *tokenizer) {
    size_t longest = 0;
    for (int32_t id = 0; id < tokenizer->vocab.size; id++) {
        size_t length = tokenizer_text(tokenizer, id).length;
        if (length > longest) longest = length;
    }
    return longest;
}

/* ---- encode ------------------------------------------------------------------------------------------------------ */

/* Text without special tokens, already well-formed. */
static opsm_status encode_pieces(const struct tokenizer *tokenizer, const uint8_t *text, size_t length,
                                 struct bpe_scratch *scratch, struct token_list *list, opsm_error *err) {
    for (size_t at = 0; at < length;) {
        size_t n = pretokenize_next(tokenizer->pre, text + at, length - at);
        opsm_status status = bpe_encode(&tokenizer->bpe, text + at, n, scratch, list, err);
        if (status != OPSM_OK) return status;
        at += n;
    }
    return OPSM_OK;
}

static opsm_status encode_text(const struct tokenizer *tokenizer, const uint8_t *text, size_t length,
                               struct bpe_scratch *scratch, struct token_list *list, opsm_error *err) {
    if (utf8_is_clean(text, length)) return encode_pieces(tokenizer, text, length, scratch, list, err);
    uint8_t *fixed;
    opsm_status status = utf8_repair(text, length, &fixed, &length, err);
    if (status != OPSM_OK) return status;
    status = encode_pieces(tokenizer, fixed, length, scratch, list, err);
    mem_free(fixed);
    return status;
}

static opsm_status encode_all(const struct tokenizer *tokenizer, const uint8_t *text, const uint8_t *plain,
                              size_t length, unsigned flags, struct bpe_scratch *scratch, struct token_list *list,
                              opsm_error *err) {
    opsm_status status = OPSM_OK;
    if ((flags & TOKENIZER_BOS) && tokenizer->add_bos && tokenizer->bos >= 0)
        status = token_list_push(list, tokenizer->bos, err);
    bool control = flags & TOKENIZER_SPECIAL;
    size_t at = 0;
    struct special_match match;
    while (status == OPSM_OK && special_next(&tokenizer->special, text, plain, length, at, control, &match)) {
        status = encode_text(tokenizer, text + at, match.start - at, scratch, list, err);
        if (status == OPSM_OK) status = token_list_push(list, match.id, err);
        at = match.start + match.length;
    }
    return status == OPSM_OK ? encode_text(tokenizer, text + at, length - at, scratch, list, err) : status;
}

opsm_status tokenizer_encode_marked(const struct tokenizer *tokenizer, const char *text, size_t length,
                                    const uint8_t *plain, unsigned flags, struct token_list *list, opsm_error *err) {
    if (length > INT32_MAX)
        return opsm_fail(err, OPSM_INVALID, "a text of %zu bytes is too long to tokenise at once; cut it below 2 GiB",
                         length);
    int64_t before = list->count, dropped = list->dropped;
    struct bpe_scratch scratch = {0};
    opsm_status status = encode_all(tokenizer, (const uint8_t *)text, plain, length, flags, &scratch, list, err);
    if (status != OPSM_OK) {
        list->count = before;
        list->dropped = dropped;
    }
    bpe_scratch_free(&scratch);
    return status;
}

opsm_status tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t length, unsigned flags,
                             struct token_list *list, opsm_error *err) {
    return tokenizer_encode_marked(tokenizer, text, length, NULL, flags, list, err);
}
