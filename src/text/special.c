/* SPDX-License-Identifier: Apache-2.0 */
#include "text/special.h"
#include "base/mem.h"

/* Children of a node form a list; node 0 is the root, and as nobody's child or sibling also the end of every list. */
struct special_node {
    int32_t child, sibling;
    int32_t id; /* the token that ends here, -1: none */
    uint8_t byte;
};

static size_t piece_length(const struct vocab *vocab, int32_t id) {
    return vocab->start[id + 1] - vocab->start[id];
}

static int32_t child_of(const struct special *special, int32_t node, uint8_t byte) {
    int32_t child = special->nodes[node].child;
    while (child && special->nodes[child].byte != byte) child = special->nodes[child].sibling;
    return child;
}

static int32_t add_child(struct special *special, int32_t node, uint8_t byte) {
    int32_t child = special->count++;
    special->nodes[child] = (struct special_node){.sibling = special->nodes[node].child, .id = -1, .byte = byte};
    special->nodes[node].child = child;
    return child;
}

static opsm_status add_token(struct special *special, int32_t id, opsm_error *err) {
    const struct vocab *vocab = special->vocab;
    const uint8_t *piece = vocab->bytes + vocab->start[id];
    size_t length = piece_length(vocab, id);
    if (length > SPECIAL_LENGTH_MAX)
        return opsm_fail(err, OPSM_FORMAT, "tokenizer.ggml.tokens: special token %d has %zu bytes, expected at most %d",
                         id, length, SPECIAL_LENGTH_MAX);
    int32_t node = 0;
    for (size_t i = 0; i < length; i++) {
        int32_t child = child_of(special, node, piece[i]);
        node = child ? child : add_child(special, node, piece[i]);
    }
    if (special->nodes[node].id >= 0)
        return opsm_fail(
            err, OPSM_FORMAT,
            "tokenizer.ggml.tokens: special tokens %d and %d are the same text '%.*s'; every token must be unique",
            special->nodes[node].id, id, (int)(length < 40 ? length : 40), (const char *)piece);
    special->nodes[node].id = id;
    special->first[piece[0]] = true;
    if (vocab->type[id] == TOKEN_USER_DEFINED) special->first_user[piece[0]] = true;
    return OPSM_OK;
}

opsm_status special_init(struct special *special, const struct vocab *vocab, opsm_error *err) {
    *special = (struct special){.vocab = vocab, .count = 1};
    size_t room = 1;
    for (int32_t id = 0; id < vocab->size; id++)
        if (vocab_is_special(vocab, id)) room += piece_length(vocab, id);
    if (room > INT32_MAX)
        return opsm_fail(err, OPSM_FORMAT,
                         "tokenizer.ggml.tokens: the special tokens have %zu bytes, expected less than 2 GiB", room);
    special->nodes = mem_alloc(room, sizeof *special->nodes);
    if (!special->nodes) return mem_exhausted(err, "the special tokens", room * sizeof *special->nodes);
    special->nodes[0] = (struct special_node){.id = -1};
    opsm_status status = OPSM_OK;
    for (int32_t id = 0; id < vocab->size && status == OPSM_OK; id++)
        if (vocab_is_special(vocab, id) && piece_length(vocab, id) > 0) status = add_token(special, id, err);
    return status;
}

void special_free(struct special *special) {
    mem_free(special->nodes);
    *special = (struct special){0};
}

/* The longest token at the start of `text`; -1 and 0 if there is none. */
static int32_t longest_at(const struct special *special, const uint8_t *text, const uint8_t *plain, size_t length,
                          bool control, size_t *match_length) {
    int32_t node = 0, found = -1;
    *match_length = 0;
    for (size_t i = 0; i < length && (node = child_of(special, node, text[i])); i++) {
        int32_t id = special->nodes[node].id;
        if (plain && plain[i]) control = false;
        if (id < 0 || (!control && special->vocab->type[id] != TOKEN_USER_DEFINED)) continue;
        found = id;
        *match_length = i + 1;
    }
    return found;
}

bool special_next(const struct special *special, const uint8_t *text, const uint8_t *plain, size_t length, size_t from,
                  bool control, struct special_match *match) {
    const bool *first = control ? special->first : special->first_user;
    for (size_t i = from; i < length; i++) {
        if (!first[text[i]]) continue;
        size_t n;
        int32_t id = longest_at(special, text + i, plain ? plain + i : NULL, length - i, control, &n);
        if (id < 0) continue;
        *match = (struct special_match){.start = i, .length = n, .id = id};
        return true;
    }
    return false;
}

int32_t special_find(const struct special *special, const uint8_t *text, size_t length) {
    int32_t node = 0;
    for (size_t i = 0; i < length; i++)
        if (!(node = child_of(special, node, text[i]))) return -1;
    return special->nodes[node].id;
}
