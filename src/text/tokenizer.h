/* SPDX-License-Identifier: Apache-2.0
 *
 * Text to token ids and back: byte-level BPE as GGUF metadata describes it.
 *
 *   tokenizer_load(&tokenizer, &source->metadata, &err);
 *   struct token_list list = {0};
 *   tokenizer_encode(tokenizer, text, strlen(text), TOKENIZER_BOS, &list, &err);
 *   char *back = tokenizer_decode(tokenizer, list.ids, list.count, false, NULL);
 *
 * Special tokens are split out first (where asked for), then the pre-tokenizer's expression cuts the text into pieces,
 * each piece is mapped to the byte alphabet and merged by rank. Identical ids to llama.cpp, also on malformed UTF-8:
 * each byte that does not begin a character becomes U+FFFD, so such text does not come back as it was. Nor does text
 * with bytes for which a vocabulary has no token (SmolLM2 lacks 21 of them): they are left out, and counted. All other
 * text does.
 *
 * Like llama.cpp, and unlike Hugging Face, we do not normalise: Qwen's tokenizer.json composes characters first (NFC),
 * so ids of decomposed accents differ from theirs. tests/golden/compare_tokenizer.py is the evidence for the rest.
 */
#ifndef OPSM_TEXT_TOKENIZER_H
#define OPSM_TEXT_TOKENIZER_H
#include "io/metadata.h"
#include "text/token_list.h"
#include <opsm/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tokenizer; /* opaque; immutable after load, safe to use from many threads */

/* What a tokenizer is made of. Arrays and strings are borrowed for the call. */
struct tokenizer_source {
    const char *pre;                /* gpt-2, smollm, llama-bpe (llama3, llama-v3), qwen2 (deepseek-r1-qwen) */
    const struct text_view *tokens; /* in the byte alphabet; special ones as they appear in text */
    const int32_t *types;           /* of each token, tokenizer.ggml.token_type; NULL: all normal */
    uint64_t n_tokens;
    const struct text_view *merges; /* "A B", the best first */
    uint64_t n_merges;
    int32_t bos, eos, eot; /* -1: none */
    bool add_bos;
};

/* OPSM_UNSUPPORTED for a pre-tokenizer that we do not have, OPSM_FORMAT for a damaged vocabulary: a token that occurs
 * twice, a merge rule without a space or with a piece that is no token, ids out of range. */
opsm_status tokenizer_create(struct tokenizer **tokenizer, const struct tokenizer_source *source, opsm_error *err);

/* Reads tokenizer.ggml.*; strings are copied, `metadata` may be freed afterwards. OPSM_UNSUPPORTED names a tokenizer model
 * or pre-tokenizer that we do not have. bos is added by default with llama-bpe only; tokenizer.ggml.add_bos_token
 * decides where it is present. */
opsm_status tokenizer_load(struct tokenizer **tokenizer, const struct metadata *metadata, opsm_error *err);
void tokenizer_free(struct tokenizer *tokenizer); /* NULL is allowed */

int32_t tokenizer_size(const struct tokenizer *tokenizer);
const char *tokenizer_name(const struct tokenizer *tokenizer); /* the pre-tokenizer, e.g. "smollm" */

/* -1 where the model has none. */
int32_t tokenizer_bos(const struct tokenizer *tokenizer);
int32_t tokenizer_eos(const struct tokenizer *tokenizer);

/* True for every token that ends a turn: eos, eot, and the end markers known by name (<|im_end|>, <|eot_id|>, ...). */
bool tokenizer_is_end(const struct tokenizer *tokenizer, int32_t id);

/* False: this byte is left out of texts, where no longer token holds it. */
bool tokenizer_has_byte(const struct tokenizer *tokenizer, uint8_t byte);

/* The id of the token whose piece is exactly this text, special ones first; -1 if there is none. */
int32_t tokenizer_find(const struct tokenizer *tokenizer, const char *text);

enum tokenizer_flags {
    TOKENIZER_BOS = 1,    /* begin with bos where the model's metadata asks for it */
    TOKENIZER_SPECIAL = 2 /* recognise control tokens in the text; without it they are plain text. User-defined tokens
                             are recognised always */
};

/* Appends the ids of `text` to `list`, which is unchanged on failure. Time and memory are linear in `length` but for a
 * logarithm; `length` is below 2^31, OPSM_INVALID otherwise. */
opsm_status tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t length, unsigned flags,
                             struct token_list *list, opsm_error *err);

/* The same; a byte at which `plain` is 1 is part of no control token. */
opsm_status tokenizer_encode_marked(const struct tokenizer *tokenizer, const char *text, size_t length,
                                    const uint8_t *plain, unsigned flags, struct token_list *list, opsm_error *err);

/* The raw bytes of one token (special tokens: their name); may be part of a UTF-8 character. The view lives as long as
 * the tokenizer. An id out of range gives an empty piece, and so does an unused token (padding of the vocabulary). */
struct text_view tokenizer_piece(const struct tokenizer *tokenizer, int32_t id);

/* What a token adds to the text of a response: its piece, but nothing for control and unknown tokens and for those that
 * end a turn, which are no text. User-defined ones (<think>, runs of spaces) are text. Whatever measures, matches,
 * prints or judges a response takes its bytes from here. */
struct text_view tokenizer_text(const struct tokenizer *tokenizer, int32_t id);
size_t tokenizer_longest(const struct tokenizer *tokenizer); /* bytes of the longest text of a token */

/* The texts of tokens in a row, with a NUL behind them (invalid UTF-8 stays as it is); release with mem_free. `control`:
 * their pieces, to show a prompt. `length` may be NULL. NULL when out of memory. */
char *tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, int64_t count, bool control,
                       size_t *length);

/* Streaming decode: feed a token, get the longest text that ends at a character boundary; never half a character. What
 * cannot become valid UTF-8 any more comes out as U+FFFD. Zero-initialise. */
struct token_stream {
    uint8_t pending[4];
    int n_pending;
};
/* Writes to `buffer`, which has room for 3 * (length + 4) bytes; returns the bytes written. What does not fit into a
 * smaller `room` is lost. */
size_t token_stream_feed(struct token_stream *stream, const uint8_t *piece, size_t length, char *buffer, size_t room);
/* The text ends: an unfinished character comes out as U+FFFD. */
size_t token_stream_end(struct token_stream *stream, char *buffer, size_t room);

#endif
