/* SPDX-License-Identifier: Apache-2.0 */
#include "text/bpe.h"
#include "base/mem.h"
#include <string.h>

enum { SHORT_PIECE = 48 }; /* bytes; up to here scanning beats the heap */

#define NO_RANK UINT32_MAX
#define NO_NODE UINT32_MAX

struct bpe_merge {
    int32_t left, right;
    uint32_t rank;
    int32_t result; /* -1: empty slot */
};

static const struct bpe_merge no_merge = {.left = -1, .right = -1, .rank = NO_RANK, .result = -1};

static struct bpe_merge *find_merge(const struct bpe *bpe, int32_t left, int32_t right) {
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    key *= 0x9e3779b97f4a7c15u;
    for (size_t i = (size_t)(key >> 32) & bpe->mask;; i = (i + 1) & bpe->mask) {
        struct bpe_merge *merge = &bpe->merges[i];
        if (merge->result < 0 || (merge->left == left && merge->right == right)) return merge;
    }
}

/* The rule for two neighbours; rank NO_RANK where there is none or one of them is no token. */
static const struct bpe_merge *rule_for(const struct bpe *bpe, int32_t left, int32_t right) {
    return left < 0 || right < 0 ? &no_merge : find_merge(bpe, left, right);
}

/* -1: a byte that is no token. */
static opsm_status push_or_drop(struct token_list *list, int32_t id, opsm_error *err) {
    list->dropped += id < 0;
    return id < 0 ? OPSM_OK : token_list_push(list, id, err);
}

/* ---- short pieces ------------------------------------------------------------------------------------------------ */

/* Merges ids[0..n) in place, n <= SHORT_PIECE; returns how many are left. */
static int merge_short(const struct bpe *bpe, int32_t *ids, int n) {
    uint32_t rank[SHORT_PIECE];
    int32_t result[SHORT_PIECE];
    for (int i = 0; i + 1 < n; i++) {
        const struct bpe_merge *rule = rule_for(bpe, ids[i], ids[i + 1]);
        rank[i] = rule->rank;
        result[i] = rule->result;
    }
    while (n > 1) {
        int best = 0;
        for (int i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best]) best = i;
        if (rank[best] == NO_RANK) break;
        ids[best] = result[best];
        n--;
        for (int i = best + 1; i < n; i++) ids[i] = ids[i + 1];
        for (int i = best + 1; i + 1 < n; i++) {
            rank[i] = rank[i + 1];
            result[i] = result[i + 1];
        }
        for (int i = best > 0 ? best - 1 : 0; i <= best && i + 1 < n; i++) {
            const struct bpe_merge *rule = rule_for(bpe, ids[i], ids[i + 1]);
            rank[i] = rule->rank;
            result[i] = rule->result;
        }
    }
    return n;
}

/* ---- long pieces ------------------------------------------------------------------------------------------------- */

/* A doubly linked list of tokens. `rank` is that of the merge with the right neighbour: an entry of the heap is stale
 * when it names another. */
struct node {
    int32_t id;
    uint32_t previous, next;
    uint32_t rank;
    int32_t result;
};

/* Binary heap of rank << 32 | index of the left node. */
struct heap {
    uint64_t *items;
    size_t count;
};

static void heap_push(struct heap *heap, uint64_t item) {
    size_t at = heap->count++;
    while (at > 0 && item < heap->items[(at - 1) / 2]) {
        heap->items[at] = heap->items[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->items[at] = item;
}

static uint64_t heap_pop(struct heap *heap) {
    uint64_t top = heap->items[0], item = heap->items[--heap->count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap->count) break;
        if (child + 1 < heap->count && heap->items[child + 1] < heap->items[child]) child++;
        if (item <= heap->items[child]) break;
        heap->items[at] = heap->items[child];
        at = child;
    }
    heap->items[at] = item;
    return top;
}

/* Looks up the merge of node `i` with its right neighbour and queues it. */
static void consider(const struct bpe *bpe, struct node *nodes, struct heap *heap, uint32_t i) {
    uint32_t next = nodes[i].next;
    const struct bpe_merge *rule = next == NO_NODE ? &no_merge : rule_for(bpe, nodes[i].id, nodes[next].id);
    nodes[i].rank = rule->rank;
    nodes[i].result = rule->result;
    if (rule->rank != NO_RANK) heap_push(heap, (uint64_t)rule->rank << 32 | i);
}

static void merge_with_next(const struct bpe *bpe, struct node *nodes, struct heap *heap, uint32_t i) {
    uint32_t gone = nodes[i].next, after = nodes[gone].next;
    nodes[i].id = nodes[i].result;
    nodes[i].next = after;
    nodes[gone].rank = NO_RANK;
    if (after != NO_NODE) nodes[after].previous = i;
    consider(bpe, nodes, heap, i);
    if (nodes[i].previous != NO_NODE) consider(bpe, nodes, heap, nodes[i].previous);
}

static opsm_status grow_scratch(struct bpe_scratch *scratch, size_t length, size_t each, opsm_error *err) {
    if (scratch->size >= length * each) return OPSM_OK;
    mem_free(scratch->memory);
    scratch->size = 0;
    scratch->memory = mem_alloc(length, each);
    if (!scratch->memory) return mem_exhausted(err, "the tokens of a very long word", length * each);
    scratch->size = length * each;
    return OPSM_OK;
}

static opsm_status encode_long(const struct bpe *bpe, const uint8_t *piece, size_t length, struct bpe_scratch *scratch,
                               struct token_list *list, opsm_error *err) {
    /* n - 1 pairs at first, and every one of at most n - 1 merges queues two more. */
    opsm_status status = grow_scratch(scratch, length, sizeof(struct node) + 3 * sizeof(uint64_t), err);
    if (status != OPSM_OK || !scratch->memory) return status;
    struct heap heap = {.items = scratch->memory};
    struct node *nodes = (struct node *)(heap.items + 3 * length);
    for (uint32_t i = 0; i < length; i++) {
        nodes[i].id = bpe->vocab->byte_id[piece[i]];
        nodes[i].previous = i == 0 ? NO_NODE : i - 1;
        nodes[i].next = i + 1 == length ? NO_NODE : i + 1;
    }
    for (uint32_t i = 0; i < length; i++) consider(bpe, nodes, &heap, i);
    while (heap.count > 0) {
        uint64_t top = heap_pop(&heap);
        uint32_t i = (uint32_t)top;
        if (nodes[i].rank == top >> 32) merge_with_next(bpe, nodes, &heap, i);
    }
    for (uint32_t i = 0; i != NO_NODE && status == OPSM_OK; i = nodes[i].next)
        status = push_or_drop(list, nodes[i].id, err);
    return status;
}

/* ---- one piece --------------------------------------------------------------------------------------------------- */

opsm_status bpe_encode(const struct bpe *bpe, const uint8_t *piece, size_t length, struct bpe_scratch *scratch,
                       struct token_list *list, opsm_error *err) {
    int32_t id = vocab_find(bpe->vocab, piece, length);
    if (id >= 0 && (bpe->whole[id / 8] >> id % 8 & 1)) return token_list_push(list, id, err);
    if (length > SHORT_PIECE) return encode_long(bpe, piece, length, scratch, list, err);
    int32_t ids[SHORT_PIECE];
    for (size_t i = 0; i < length; i++) ids[i] = bpe->vocab->byte_id[piece[i]];
    int n = merge_short(bpe, ids, (int)length);
    for (int i = 0; i < n; i++) {
        opsm_status status = push_or_drop(list, ids[i], err);
        if (status != OPSM_OK) return status;
    }
    return OPSM_OK;
}

void bpe_scratch_free(struct bpe_scratch *scratch) {
    mem_free(scratch->memory);
    *scratch = (struct bpe_scratch){0};
}

/* ---- load -------------------------------------------------------------------------------------------------------- */

static opsm_status bad_rule(uint64_t rank, const struct text_view *rule, const char *why, opsm_error *err) {
    return opsm_fail(err, OPSM_FORMAT, "tokenizer.ggml.merges: rule %llu '%.*s' %s; the file's tokenizer is damaged",
                     (unsigned long long)rank, (int)(rule->length < 60 ? rule->length : 60), rule->data, why);
}

/* `scratch` has room for the rule's text, and for the piece it makes. */
static opsm_status add_rule(struct bpe *bpe, const struct text_view *rule, uint64_t rank, uint8_t *scratch,
                            opsm_error *err) {
    const struct vocab *vocab = bpe->vocab;
    const char *space = rule->length > 1 ? memchr(rule->data + 1, ' ', rule->length - 1) : NULL;
    if (!space) return bad_rule(rank, rule, "has no space between its two pieces", err);
    size_t left_length = (size_t)(space - rule->data), right_length = rule->length - left_length - 1;
    int32_t left = vocab_find_text(vocab, rule->data, left_length, scratch);
    int32_t right = vocab_find_text(vocab, space + 1, right_length, scratch);
    if (left < 0 || right < 0) return bad_rule(rank, rule, "names a piece that is not in the vocabulary", err);
    size_t left_bytes = vocab->start[left + 1] - vocab->start[left];
    size_t right_bytes = vocab->start[right + 1] - vocab->start[right];
    memcpy(scratch, vocab->bytes + vocab->start[left], left_bytes);
    memcpy(scratch + left_bytes, vocab->bytes + vocab->start[right], right_bytes);
    int32_t result = vocab_find(vocab, scratch, left_bytes + right_bytes);
    if (result < 0) return bad_rule(rank, rule, "makes a piece that is not in the vocabulary", err);
    struct bpe_merge *slot = find_merge(bpe, left, right);
    if (slot->result >= 0) return OPSM_OK;
    *slot = (struct bpe_merge){.left = left, .right = right, .rank = (uint32_t)rank, .result = result};
    return OPSM_OK;
}

static opsm_status read_rules(struct bpe *bpe, const struct text_view *rules, uint64_t count, opsm_error *err) {
    size_t slots = 16, longest = 0;
    while (slots < count * 2) slots *= 2;
    for (uint64_t i = 0; i < count; i++)
        if (rules[i].length > longest) longest = rules[i].length;
    bpe->merges = mem_alloc(slots, sizeof *bpe->merges);
    uint8_t *scratch = mem_alloc(longest, 1);
    if (!bpe->merges || !scratch) {
        mem_free(scratch);
        return mem_exhausted(err, "the merge rules", slots * sizeof *bpe->merges + longest);
    }
    bpe->mask = slots - 1;
    for (size_t i = 0; i < slots; i++) bpe->merges[i] = no_merge;
    opsm_status status = OPSM_OK;
    for (uint64_t i = 0; i < count && status == OPSM_OK; i++) status = add_rule(bpe, &rules[i], i, scratch, err);
    mem_free(scratch);
    return status;
}

/* Finds the tokens that encode to themselves. Most words of a text are such tokens, and then cost one look-up. */
static opsm_status find_whole(struct bpe *bpe, bool take_whole, opsm_error *err) {
    const struct vocab *vocab = bpe->vocab;
    size_t bytes = (size_t)vocab->size / 8 + 1;
    bpe->whole = mem_zalloc(bytes, 1);
    if (!bpe->whole) return mem_exhausted(err, "the vocabulary", bytes);
    if (take_whole) {
        memset(bpe->whole, 0xff, bytes);
        return OPSM_OK;
    }
    struct bpe_scratch scratch = {0};
    struct token_list list = {0};
    opsm_status status = OPSM_OK;
    for (int32_t id = 0; id < vocab->size && status == OPSM_OK; id++) {
        const uint8_t *piece = vocab->bytes + vocab->start[id];
        size_t length = vocab->start[id + 1] - vocab->start[id];
        if (length == 0 || length > SHORT_PIECE) continue;
        list.count = 0;
        status = bpe_encode(bpe, piece, length, &scratch, &list, err);
        if (status == OPSM_OK && list.count == 1 && list.ids[0] == id) bpe->whole[id / 8] |= (uint8_t)(1 << id % 8);
    }
    bpe_scratch_free(&scratch);
    token_list_free(&list);
    return status;
}

opsm_status bpe_init(struct bpe *bpe, const struct vocab *vocab, const struct text_view *rules, uint64_t count,
                     bool take_whole, opsm_error *err) {
    *bpe = (struct bpe){.vocab = vocab};
    if (count >= NO_RANK / 4)
        return opsm_fail(err, OPSM_FORMAT, "tokenizer.ggml.merges has %llu rules, expected at most %u",
                         (unsigned long long)count, NO_RANK / 4);
    opsm_status status = read_rules(bpe, rules, count, err);
    return status == OPSM_OK ? find_whole(bpe, take_whole, err) : status;
}

void bpe_free(struct bpe *bpe) {
    mem_free(bpe->merges);
    mem_free(bpe->whole);
    *bpe = (struct bpe){0};
}
