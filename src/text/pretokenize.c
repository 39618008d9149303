/* SPDX-License-Identifier: Apache-2.0 */
#include "text/pretokenize.h"
#include "text/unicode.h"
#include <stdbool.h>

/* The part of the text that a splitter may look at. Digits end it where they are cut out first (smollm). */
struct view {
    const uint8_t *text;
    size_t length;
    bool ends_at_number;
};

/* Classes of the ASCII characters, by far the most frequent ones. */
static enum char_class ascii_class(uint8_t c) {
    if ((uint8_t)((c | 0x20) - 'a') < 26) return CHAR_LETTER;
    if ((uint8_t)(c - '0') < 10) return CHAR_NUMBER;
    if (c == ' ' || (uint8_t)(c - '\t') < 5) return CHAR_SPACE;
    return CHAR_OTHER;
}

/* Class of the character at `at`, and its length; CHAR_END and 0 past the end of the view. */
static enum char_class class_at(const struct view *view, size_t at, size_t *length) {
    *length = 0;
    if (at >= view->length) return CHAR_END;
    *length = 1;
    enum char_class found;
    if (view->text[at] < 0x80) {
        found = ascii_class(view->text[at]);
    } else {
        uint32_t code;
        size_t n = utf8_decode(view->text + at, view->length - at, &code);
        if (n == 0) return CHAR_OTHER;
        *length = n;
        found = unicode_class(code);
    }
    if (found != CHAR_NUMBER || !view->ends_at_number) return found;
    *length = 0;
    return CHAR_END;
}

static bool is_newline(uint8_t c) {
    return c == '\r' || c == '\n';
}

/* The end of the run of one class that begins at `at`. */
static size_t skip_run(const struct view *view, size_t at, enum char_class wanted) {
    size_t n;
    while (class_at(view, at, &n) == wanted) at += n;
    return at;
}

/* 's 't 're 've 'm 'll 'd at the start: the length, or 0. `fold`: 0x20 to ignore the case of ASCII letters, else 0. */
static size_t contraction(const struct view *view, uint8_t fold) {
    const uint8_t *t = view->text;
    if (t[0] != '\'' || view->length < 2) return 0;
    uint8_t a = t[1] | fold;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if (view->length < 3) return 0;
    uint8_t b = t[2] | fold;
    return ((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/* A run of white space: \s+(?!\S)|\s+ leaves the last one to the word behind it, unless it is the only one or the text
 * ends. With `newlines`, \s*[\r\n]+ comes first and takes everything up to the last line break. */
static size_t space_piece(const struct view *view, bool newlines) {
    size_t at = 0, last = 0, past_newline = 0, n;
    enum char_class found;
    while ((found = class_at(view, at, &n)) == CHAR_SPACE) {
        last = at;
        at += n;
        if (is_newline(view->text[last])) past_newline = at;
    }
    if (newlines && past_newline) return past_newline;
    return found != CHAR_END && last > 0 ? last : at;
}

static size_t gpt2_piece(const struct view *view) {
    size_t short_form = contraction(view, 0), n;
    if (short_form) return short_form;
    size_t start = view->text[0] == ' ';
    enum char_class first = class_at(view, start, &n);
    if (first == CHAR_SPACE || first == CHAR_END) return space_piece(view, false);
    return skip_run(view, start + n, first);
}

static size_t number_piece(const struct view *view, int most) {
    size_t at = 0, n;
    for (int i = 0; i < most && class_at(view, at, &n) == CHAR_NUMBER; i++) at += n;
    return at;
}

static size_t llama3_piece(const struct view *view, int most_digits) {
    size_t short_form = contraction(view, 0x20), n, n_second;
    if (short_form) return short_form;
    enum char_class first = class_at(view, 0, &n);
    if (first == CHAR_NUMBER) return number_piece(view, most_digits);
    if (first == CHAR_LETTER) return skip_run(view, n, CHAR_LETTER);
    enum char_class second = class_at(view, n, &n_second);
    if (second == CHAR_LETTER && !is_newline(view->text[0])) return skip_run(view, n + n_second, CHAR_LETTER);
    if (first == CHAR_OTHER || (view->text[0] == ' ' && second == CHAR_OTHER)) {
        size_t end = skip_run(view, n, CHAR_OTHER);
        while (end < view->length && is_newline(view->text[end])) end++;
        return end;
    }
    return space_piece(view, true);
}

size_t pretokenize_next(enum pretokenizer kind, const uint8_t *text, size_t length) {
    struct view view = {.text = text, .length = length, .ends_at_number = kind == PRE_SMOLLM};
    if (kind == PRE_LLAMA3 || kind == PRE_QWEN2) return llama3_piece(&view, kind == PRE_LLAMA3 ? 3 : 1);
    if (kind == PRE_SMOLLM) {
        struct view all = {.text = text, .length = length};
        size_t digit = number_piece(&all, 1);
        if (digit) return digit;
    }
    return gpt2_piece(&view);
}
