/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "text/tokenizer.h"
#include <string.h>

char *tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, int64_t count, bool control,
                       size_t *length) {
    struct text_view (*bytes_of)(const struct tokenizer *, int32_t) = control ? tokenizer_piece : tokenizer_text;
    size_t total = 0;
    for (int64_t i = 0; i < count; i++) total += bytes_of(tokenizer, ids[i]).length;
    char *text = mem_alloc(total + 1, 1);
    if (!text) return NULL;
    size_t used = 0;
    for (int64_t i = 0; i < count; i++) {
        struct text_view bytes = bytes_of(tokenizer, ids[i]);
        memcpy(text + used, bytes.data, bytes.length);
        used += bytes.length;
    }
    text[used] = '\0';
    if (length) *length = used;
    return text;
}

/* ---- streaming --------------------------------------------------------------------------------------------------- */

/* How many bytes a character has that begins with `lead`; 1 for bytes that begin none. */
static int expected_length(uint8_t lead) {
    if (lead < 0xc2 || lead > 0xf4) return 1;
    return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* Can `next` follow the `n` bytes of an unfinished character? Only the second byte has rules of its own: no over-long
 * forms, no surrogates, nothing above U+10FFFF (table 3-7 of the Unicode standard). */
static bool can_follow(const uint8_t *pending, int n, uint8_t next) {
    uint8_t low = 0x80, high = 0xbf;
    if (n == 1 && pending[0] == 0xe0) low = 0xa0;
    if (n == 1 && pending[0] == 0xed) high = 0x9f;
    if (n == 1 && pending[0] == 0xf0) low = 0x90;
    if (n == 1 && pending[0] == 0xf4) high = 0x8f;
    return next >= low && next <= high;
}

struct output {
    char *buffer;
    size_t used, room;
};

static void put(struct output *out, const void *bytes, size_t n) {
    if (out->room - out->used < n) return;
    memcpy(out->buffer + out->used, bytes, n);
    out->used += n;
}

static void put_replacement(struct output *out) {
    put(out, "\xef\xbf\xbd", 3);
}

static void begin_character(struct token_stream *stream, uint8_t byte, struct output *out) {
    if (byte < 0x80) {
        put(out, &byte, 1);
    } else if (expected_length(byte) == 1) {
        put_replacement(out);
    } else {
        stream->pending[0] = byte;
        stream->n_pending = 1;
    }
}

size_t token_stream_feed(struct token_stream *stream, const uint8_t *piece, size_t length, char *buffer, size_t room) {
    struct output out = {.buffer = buffer, .room = room};
    for (size_t i = 0; i < length; i++) {
        if (stream->n_pending > 0 && !can_follow(stream->pending, stream->n_pending, piece[i])) {
            put_replacement(&out);
            stream->n_pending = 0;
        }
        if (stream->n_pending == 0) {
            begin_character(stream, piece[i], &out);
            continue;
        }
        stream->pending[stream->n_pending++] = piece[i];
        if (stream->n_pending < expected_length(stream->pending[0])) continue;
        put(&out, stream->pending, (size_t)stream->n_pending);
        stream->n_pending = 0;
    }
    return out.used;
}

size_t token_stream_end(struct token_stream *stream, char *buffer, size_t room) {
    struct output out = {.buffer = buffer, .room = room};
    if (stream->n_pending > 0) put_replacement(&out);
    stream->n_pending = 0;
    return out.used;
}
