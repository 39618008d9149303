/* SPDX-License-Identifier: Apache-2.0
 *
 * The tokens: what bytes each stands for, and the id of given bytes.
 *
 * A byte-level vocabulary is written in an alphabet of 256 printable characters, one per byte (GPT-2's table). We
 * translate every token to its raw bytes at load, so that encoding never leaves the bytes of the text.
 */
#ifndef OPSM_TEXT_VOCAB_H
#define OPSM_TEXT_VOCAB_H
#include "base/text.h"
#include <stdbool.h>
#include <stdint.h>

enum token_type {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 3,
    TOKEN_USER_DEFINED = 4,
    TOKEN_UNUSED = 5,
    TOKEN_BYTE = 6
};

enum { VOCAB_MAX = 1 << 24 }; /* tokens; the largest published vocabularies have 2^18 */

struct vocab_slot;

struct vocab {
    int32_t size;
    uint8_t *bytes; /* all pieces in a row */
    size_t *start;  /* size + 1 offsets into bytes */
    uint8_t *type;  /* enum token_type */
    struct vocab_slot *slots;
    size_t mask;             /* number of slots - 1 */
    int32_t byte_id[256];    /* the token of a single byte, -1 where the vocabulary has none */
    int16_t alphabet[0x144]; /* the byte that a character stands for, -1: none */
};

/* `types` may be NULL: all normal. OPSM_FORMAT for a token that occurs twice. Free it in any case. */
opsm_status vocab_init(struct vocab *vocab, const struct text_view *texts, const int32_t *types, uint64_t count,
                       opsm_error *err);
void vocab_free(struct vocab *vocab);

/* The token of exactly these bytes, -1 if there is none. Tokens whose text is not in the byte alphabet, and special
 * ones that are not plain ASCII, can not come out of BPE and are not found. */
int32_t vocab_find(const struct vocab *vocab, const uint8_t *bytes, size_t length);

/* The same for a text in the byte alphabet (half of a merge rule); `scratch` has room for `length` bytes. */
int32_t vocab_find_text(const struct vocab *vocab, const char *text, size_t length, uint8_t *scratch);

/* The character that stands for a byte in that alphabet, as UTF-8 with a NUL behind it. */
void vocab_byte_symbol(uint8_t byte, char symbol[5]);

static inline bool vocab_is_special(const struct vocab *vocab, int32_t id) {
    uint8_t type = vocab->type[id];
    return type == TOKEN_UNKNOWN || type == TOKEN_CONTROL || type == TOKEN_USER_DEFINED;
}

#endif
