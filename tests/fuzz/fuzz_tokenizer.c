/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer target of the tokenizer. The first byte chooses the pre-tokenizer and the half:
 *
 *   even  the rest is text for a sound vocabulary: what was encoded decodes to the repaired text, whole and streamed
 *   odd   the rest is a vocabulary, its merge rules and a text, each after a zero byte, one token or rule to a line; a
 *         token's line begins with its type as a digit. It is refused with a sentence, or works on any text
 */
#include "base/mem.h"
#include "text/tokenizer.h"
#include "text/unicode.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_LINES = 4096 };

static const char *const kinds[] = {"gpt-2", "smollm", "llama-bpe", "qwen2"};

static void require(int condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "broken promise: %s\n", what);
    abort();
}

/* ---- a sound vocabulary ------------------------------------------------------------------------------------------ */

static const char *const rules[] = {"t h", "th e", "Ġ the", "i n", "a b",  "1 2", "12 3", "Ġ Ġ",  "ĠĠ ĠĠ",  "Ċ Ċ",
                                    "! !", "' s",  "Ġ a",   "b a", "ab a", "Ã ©", "ï ¿",  "ï¿ ½", "ï¿½ ï¿½"};
static const char *const added[] = {"<|im_start|>", "<|im_end|>", "<|im", "<think>", "<<"};
enum {
    N_RULES = sizeof rules / sizeof *rules,
    N_ADDED = sizeof added / sizeof *added,
    N_TOKENS = 256 + N_RULES + N_ADDED
};

static struct text_view view(const char *text) {
    return (struct text_view){.data = text, .length = strlen(text)};
}

/* The 256 characters of the byte alphabet. */
static void byte_tokens(struct text_view *tokens, char (*room)[4]) {
    uint32_t next = 0x100;
    for (uint32_t byte = 0; byte < 256; byte++) {
        bool itself = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
        size_t n = utf8_encode(itself ? byte : next++, (uint8_t *)room[byte]);
        tokens[byte] = (struct text_view){.data = room[byte], .length = n};
    }
}

static struct tokenizer *make_sound(const char *pre) {
    static char bytes[256][4], merged[N_RULES][32];
    struct text_view tokens[N_TOKENS], lines[N_RULES];
    int32_t types[N_TOKENS];
    byte_tokens(tokens, bytes);
    for (int i = 0; i < N_RULES; i++) {
        const char *space = strchr(rules[i], ' ');
        snprintf(merged[i], sizeof merged[i], "%.*s%s", (int)(space - rules[i]), rules[i], space + 1);
        tokens[256 + i] = view(merged[i]);
        lines[i] = view(rules[i]);
    }
    for (int i = 0; i < N_ADDED; i++) tokens[256 + N_RULES + i] = view(added[i]);
    for (int i = 0; i < N_TOKENS; i++) types[i] = i < 256 + N_RULES ? 1 : i % 2 ? 3 : 4;
    struct tokenizer_source source = {.pre = pre,
                                      .tokens = tokens,
                                      .types = types,
                                      .n_tokens = N_TOKENS,
                                      .merges = lines,
                                      .n_merges = N_RULES,
                                      .bos = 1,
                                      .eos = 2,
                                      .eot = -1};
    struct tokenizer *tokenizer;
    opsm_error err = {0};
    if (tokenizer_create(&tokenizer, &source, &err) != OPSM_OK) fprintf(stderr, "%s\n", err.text);
    require(tokenizer != NULL, "the sound vocabulary loads");
    return tokenizer;
}

/* Feeds `text` in pieces of `step` bytes; the result has room for 3 bytes for each one and a few more. */
static size_t stream(const char *text, size_t length, size_t step, char *out) {
    struct token_stream state = {0};
    size_t used = 0;
    for (size_t at = 0; at < length; at += step) {
        size_t n = length - at < step ? length - at : step, room = 3 * (n + 4);
        used += token_stream_feed(&state, (const uint8_t *)text + at, n, out + used, room);
    }
    return used + token_stream_end(&state, out + used, 12);
}

static void check_stream(const char *text, size_t length) {
    char *whole = malloc(15 * length + 32), *parts = malloc(15 * length + 32), *again = malloc(45 * length + 100);
    size_t n = stream(text, length, length + 1, whole);
    for (size_t step = 1; step <= 5; step++) {
        size_t m = stream(text, length, step, parts);
        require(m == n && memcmp(whole, parts, n) == 0, "a stream does not depend on how it is cut");
    }
    size_t m = stream(whole, n, 3, again);
    require(m == n && memcmp(whole, again, n) == 0, "what a stream gives is well-formed");
    free(whole);
    free(parts);
    free(again);
}

static void check_text(const struct tokenizer *tokenizer, const char *text, size_t length, unsigned flags) {
    opsm_error err = {0};
    struct token_list list = {0};
    require(tokenizer_encode(tokenizer, text, length, flags, &list, &err) == OPSM_OK, "any text can be encoded");
    uint8_t *expected;
    size_t expected_length, back_length;
    require(utf8_repair((const uint8_t *)text, length, &expected, &expected_length, &err) == OPSM_OK,
            "any text is repaired");
    char *back = tokenizer_decode(tokenizer, list.ids, list.count, true, &back_length);
    require(back_length == expected_length && memcmp(back, expected, back_length) == 0, "text comes back");
    check_stream(back, back_length);
    mem_free(back);
    mem_free(expected);
    token_list_free(&list);
}

/* ---- a hostile one ----------------------------------------------------------------------------------------------- */

static uint64_t read_lines(const char **at, const char *end, struct text_view *lines) {
    uint64_t n = 0;
    while (*at < end && **at && n < MOST_LINES) {
        const char *begin = *at;
        while (*at < end && **at && **at != '\n') ++*at;
        lines[n++] = (struct text_view){.data = begin, .length = (size_t)(*at - begin)};
        if (*at < end && **at == '\n') ++*at;
    }
    if (*at < end && !**at) ++*at;
    return n;
}

static void check_hostile(const char *pre, const char *text, size_t length) {
    static struct text_view tokens[MOST_LINES], merges[MOST_LINES];
    static int32_t types[MOST_LINES];
    const char *at = text, *end = text + length;
    struct tokenizer_source source = {
        .pre = pre, .tokens = tokens, .types = types, .merges = merges, .bos = 0, .eos = 1, .eot = -1};
    source.n_tokens = read_lines(&at, end, tokens);
    for (uint64_t i = 0; i < source.n_tokens; i++) {
        types[i] = tokens[i].length ? tokens[i].data[0] - '0' : 1;
        if (tokens[i].length) tokens[i].data++, tokens[i].length--;
    }
    source.n_merges = read_lines(&at, end, merges);
    struct tokenizer *tokenizer;
    opsm_error err = {0};
    opsm_status status = tokenizer_create(&tokenizer, &source, &err);
    require((status == OPSM_OK) == (tokenizer != NULL), "a tokenizer, or none");
    if (!tokenizer) {
        require(status == OPSM_FORMAT && strlen(err.text) > 20, "a refused vocabulary gets a sentence");
        return;
    }
    struct token_list list = {0};
    require(tokenizer_encode(tokenizer, at, (size_t)(end - at), TOKENIZER_SPECIAL | TOKENIZER_BOS, &list, &err) ==
                OPSM_OK,
            "any text can be encoded");
    for (int64_t i = 0; i < list.count; i++)
        require(list.ids[i] >= 0 && list.ids[i] < tokenizer_size(tokenizer), "ids are tokens");
    mem_free(tokenizer_decode(tokenizer, list.ids, list.count, true, NULL));
    token_list_free(&list);
    tokenizer_free(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct tokenizer *sound[4];
    if (size == 0) return 0;
    int kind = data[0] >> 1 & 3;
    char *text = malloc(size); /* an allocation of its own, so that reading past it is seen */
    memcpy(text, data + 1, size - 1);
    if (data[0] & 1) {
        check_hostile(kinds[kind], text, size - 1);
    } else {
        if (!sound[kind]) sound[kind] = make_sound(kinds[kind]);
        check_text(sound[kind], text, size - 1, data[0] & 8 ? TOKENIZER_SPECIAL : 0);
    }
    free(text);
    return 0;
}
