/* SPDX-License-Identifier: Apache-2.0 */
#include "text/vocab.h"
#include "base/mem.h"
#include "text/unicode.h"
#include <string.h>

struct vocab_slot {
    uint32_t tag; /* upper half of the hash: most mismatches are seen without touching the bytes */
    int32_t id;   /* -1: empty */
};

/* GPT-2's alphabet: printable Latin-1 stands for itself, the other 68 bytes for U+0100... in order. */
static bool stands_for_itself(uint32_t byte) {
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
}

static void alphabet_init(int16_t alphabet[0x144]) {
    for (uint32_t code = 0; code < 0x100; code++) alphabet[code] = stands_for_itself(code) ? (int16_t)code : -1;
    uint32_t next = 0x100;
    for (uint32_t byte = 0; byte < 0x100; byte++)
        if (!stands_for_itself(byte)) alphabet[next++] = (int16_t)byte;
}

void vocab_byte_symbol(uint8_t byte, char symbol[5]) {
    uint32_t code = byte;
    if (!stands_for_itself(byte)) {
        code = 0x100;
        for (uint32_t other = 0; other < byte; other++) code += !stands_for_itself(other);
    }
    symbol[utf8_encode(code, (uint8_t *)symbol)] = '\0';
}

/* Translates to raw bytes (never longer than the text); false, and nothing useful in `out`, where a character is not in
 * the alphabet. */
static bool alphabet_decode(const int16_t *alphabet, const char *text, size_t length, uint8_t *out,
                            size_t *out_length) {
    size_t used = 0;
    for (size_t i = 0; i < length;) {
        uint32_t code;
        size_t n = utf8_decode((const uint8_t *)text + i, length - i, &code);
        if (n == 0 || code >= 0x144 || alphabet[code] < 0 || (n == 2 && code < 0x80)) return false;
        out[used++] = (uint8_t)alphabet[code];
        i += n;
    }
    *out_length = used;
    return true;
}

static uint64_t hash_bytes(const uint8_t *bytes, size_t length) {
    const uint64_t factor = 0x9e3779b97f4a7c15u;
    uint64_t hash = length * factor;
    for (; length >= 8; bytes += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        hash = (hash ^ word) * factor;
        hash ^= hash >> 32;
    }
    uint64_t tail = 0;
    memcpy(&tail, bytes, length);
    hash = (hash ^ tail) * factor;
    hash ^= hash >> 32;
    return hash * factor;
}

/* The slot that holds these bytes, or the empty one where they belong. */
static struct vocab_slot *find_slot(const struct vocab *vocab, const uint8_t *bytes, size_t length, uint32_t *tag) {
    uint64_t hash = hash_bytes(bytes, length);
    *tag = (uint32_t)(hash >> 32);
    for (size_t i = *tag & vocab->mask;; i = (i + 1) & vocab->mask) {
        struct vocab_slot *slot = &vocab->slots[i];
        if (slot->id < 0) return slot;
        if (slot->tag != *tag) continue;
        size_t start = vocab->start[slot->id];
        if (vocab->start[slot->id + 1] - start == length && memcmp(vocab->bytes + start, bytes, length) == 0)
            return slot;
    }
}

int32_t vocab_find(const struct vocab *vocab, const uint8_t *bytes, size_t length) {
    uint32_t tag;
    return length ? find_slot(vocab, bytes, length, &tag)->id : -1;
}

int32_t vocab_find_text(const struct vocab *vocab, const char *text, size_t length, uint8_t *scratch) {
    size_t n;
    return alphabet_decode(vocab->alphabet, text, length, scratch, &n) ? vocab_find(vocab, scratch, n) : -1;
}

static bool is_printable_ascii(const struct text_view *text) {
    for (size_t i = 0; i < text->length; i++)
        if (text->data[i] < 0x21 || text->data[i] > 0x7e) return false;
    return true;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that a byte token "<0x0A>" stands for, -1 where the text is of another form. */
static int named_byte(const struct text_view *text) {
    if (text->length != 6 || memcmp(text->data, "<0x", 3) != 0 || text->data[5] != '>') return -1;
    int high = hex_digit(text->data[3]), low = hex_digit(text->data[4]);
    return high >= 0 && low >= 0 ? high * 16 + low : -1;
}

/* Takes the place of a byte that has no token of its own so far. */
static void add_byte(struct vocab *vocab, int32_t id, int byte) {
    vocab->bytes[vocab->start[id]] = (uint8_t)byte;
    vocab->start[id + 1] = vocab->start[id] + 1;
    if (vocab->byte_id[byte] < 0) vocab->byte_id[byte] = id;
}

/* Appends the piece of token `id`, and enters it in the hash table if BPE can produce it. */
static opsm_status add_token(struct vocab *vocab, int32_t id, const struct text_view *text, opsm_error *err) {
    int byte = vocab->type[id] == TOKEN_BYTE ? named_byte(text) : -1;
    if (byte >= 0) {
        add_byte(vocab, id, byte);
        return OPSM_OK;
    }
    uint8_t *piece = vocab->bytes + vocab->start[id];
    size_t length = text->length;
    bool in_alphabet = vocab_is_special(vocab, id)
                           ? is_printable_ascii(text)
                           : alphabet_decode(vocab->alphabet, text->data, length, piece, &length);
    if (!in_alphabet || vocab_is_special(vocab, id)) {
        length = text->length;
        memcpy(piece, text->data, length);
    }
    vocab->start[id + 1] = vocab->start[id] + length;
    if (!in_alphabet || length == 0) return OPSM_OK;
    uint32_t tag;
    struct vocab_slot *slot = find_slot(vocab, piece, length, &tag);
    if (slot->id >= 0)
        return opsm_fail(err, OPSM_FORMAT,
                         "tokenizer.ggml.tokens: tokens %d and %d are the same text '%.*s'; every token must be unique",
                         slot->id, id, (int)(length < 40 ? length : 40), (const char *)piece);
    *slot = (struct vocab_slot){.tag = tag, .id = id};
    if (length == 1) vocab->byte_id[piece[0]] = id;
    return OPSM_OK;
}

static opsm_status allocate(struct vocab *vocab, uint64_t count, size_t total, opsm_error *err) {
    size_t slots = 16;
    while (slots < count * 2) slots *= 2;
    vocab->mask = slots - 1;
    vocab->bytes = mem_alloc(total, 1);
    vocab->start = mem_alloc(count + 1, sizeof *vocab->start);
    vocab->type = mem_alloc(count, 1);
    vocab->slots = mem_alloc(slots, sizeof *vocab->slots);
    if (!vocab->bytes || !vocab->start || !vocab->type || !vocab->slots)
        return mem_exhausted(err, "the vocabulary", total + count * sizeof(size_t) + slots * sizeof *vocab->slots);
    for (size_t i = 0; i < slots; i++) vocab->slots[i].id = -1;
    return OPSM_OK;
}

opsm_status vocab_init(struct vocab *vocab, const struct text_view *texts, const int32_t *types, uint64_t count,
                       opsm_error *err) {
    *vocab = (struct vocab){0};
    if (count == 0 || count > VOCAB_MAX)
        return opsm_fail(err, OPSM_FORMAT, "tokenizer.ggml.tokens has %llu tokens, expected 1 to %d",
                         (unsigned long long)count, VOCAB_MAX);
    size_t total = 0;
    for (uint64_t i = 0; i < count; i++) total += texts[i].length; /* the texts are in memory: no overflow */
    opsm_status status = allocate(vocab, count, total, err);
    if (status != OPSM_OK) return status;
    alphabet_init(vocab->alphabet);
    for (int byte = 0; byte < 256; byte++) vocab->byte_id[byte] = -1;
    vocab->size = (int32_t)count;
    vocab->start[0] = 0;
    for (int32_t id = 0; id < vocab->size && status == OPSM_OK; id++) {
        int32_t type = types ? types[id] : TOKEN_NORMAL;
        vocab->type[id] = type >= TOKEN_NORMAL && type <= TOKEN_BYTE ? (uint8_t)type : 0;
        status = add_token(vocab, id, &texts[id], err);
    }
    return status;
}

void vocab_free(struct vocab *vocab) {
    mem_free(vocab->bytes);
    mem_free(vocab->start);
    mem_free(vocab->type);
    mem_free(vocab->slots);
    *vocab = (struct vocab){0};
}
