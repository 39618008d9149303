/* SPDX-License-Identifier: Apache-2.0
 *
 * Text to token ids and back: byte-level BPE as GGUF metadata describes it.
 *
 * Special tokens are split out first (where asked for), then the pre-tokenizer's expression cuts the text into pieces,
 * each piece is mapped to the byte alphabet and merged by rank. Identical ids to llama.cpp, also on invalid UTF-8.
 */
#ifndef OPSM_TEXT_TOKENIZER_H
#define OPSM_TEXT_TOKENIZER_H
#include "io/gguf.h"
#include <opsm/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tokenizer; /* opaque; immutable after load, safe to use from many threads */

/* Reads tokenizer.ggml.*; strings are copied, `file` may be closed afterwards. OPSM_UNSUPPORTED names a tokenizer model
 * or pre-tokenizer that is not one of gpt-2, smollm, llama-bpe, qwen2. */
opsm_status tokenizer_load(struct tokenizer **tokenizer, const struct gguf *file, opsm_error *err);
void tokenizer_free(struct tokenizer *tokenizer); /* NULL is allowed */

int32_t tokenizer_size(const struct tokenizer *tokenizer);
const char *tokenizer_name(const struct tokenizer *tokenizer); /* the pre-tokenizer, e.g. "smollm" */

/* -1 where the model has none. */
int32_t tokenizer_bos(const struct tokenizer *tokenizer);
int32_t tokenizer_eos(const struct tokenizer *tokenizer);

/* True for every token that ends a turn: eos, eot, and the end markers known by name (<|im_end|>, <|eot_id|>, ...). */
bool tokenizer_is_end(const struct tokenizer *tokenizer, int32_t id);
bool tokenizer_is_special(const struct tokenizer *tokenizer, int32_t id); /* control or user-defined */

/* The id of a token with exactly this text, -1 if there is none. */
int32_t tokenizer_find(const struct tokenizer *tokenizer, const char *text);

struct token_list {
    int32_t *ids; /* owned; release with token_list_free */
    int64_t count, room;
};
void token_list_free(struct token_list *list);
opsm_status token_list_push(struct token_list *list, int32_t id, opsm_error *err);

enum tokenizer_flags {
    TOKENIZER_BOS = 1,    /* begin with bos where the model's metadata asks for it */
    TOKENIZER_SPECIAL = 2 /* recognise special tokens in the text; without it they are plain text */
};

/* Appends the ids of `text` to `list`. */
opsm_status tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t length, unsigned flags,
                             struct token_list *list, opsm_error *err);

/* The raw bytes of one token (special tokens: their text); may be part of a UTF-8 character. The view lives as long as
 * the tokenizer. An id out of range gives an empty piece. */
struct gguf_string tokenizer_piece(const struct tokenizer *tokenizer, int32_t id);

/* All pieces in a row as NUL-terminated text (invalid UTF-8 stays as it is); release with mem_free. Special tokens are
 * left out unless `special`. NULL when out of memory. */
char *tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, int64_t count, bool special,
                       size_t *length);

/* Streaming decode: feed a token, get the longest text that ends at a character boundary; never half a character. What
 * cannot become valid UTF-8 any more comes out as U+FFFD. Zero-initialise. */
struct token_stream {
    uint8_t pending[8];
    int n_pending;
};
/* Appends to buffer (room bytes; at least 4 * (piece length + 4)); returns the bytes written. */
size_t token_stream_feed(struct token_stream *stream, const uint8_t *piece, size_t length, char *buffer, size_t room);
size_t token_stream_end(struct token_stream *stream, char *buffer, size_t room);

#endif
