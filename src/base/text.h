/* SPDX-License-Identifier: Apache-2.0
 *
 * Small helpers for text: views, a growing buffer to write into, and "did you mean" for names a person typed.
 */
#ifndef OPSM_BASE_TEXT_H
#define OPSM_BASE_TEXT_H
#include <opsm/status.h>
#include <stdbool.h>
#include <stddef.h>

/* Somebody else's bytes: no NUL behind them, and any inside. */
struct text_view {
    const char *data;
    size_t length;
};

/* The first place where these bytes hold the `n` of `word`; NULL: none. */
const char *text_find(const char *bytes, size_t length, const char *word, size_t n);

/* Text being built. Zero-initialise; release with text_free. Out of memory sticks: `failed` is set, later writes do
 * nothing, and the caller looks once at the end. `data` is NUL-terminated as soon as something was written. */
struct text {
    char *data;
    size_t length, room;
    bool failed;
};

void text_append(struct text *text, const char *bytes, size_t length);
void text_puts(struct text *text, const char *string);
void text_printf(struct text *text, const char *format, ...) OPSM_PRINTF(2, 3);

/* A finite number with the fewest digits (15 to 17) that read back as the same double. */
void text_number(struct text *text, double value);

enum { TEXT_NUMBER_ROOM = 32 };

/* Digits that read back as the same double, as a person writes them: 1000000000, 0.9999999, 1e-30. Returns `out`. */
char *text_readable(char out[TEXT_NUMBER_ROOM], double value);

void text_clear(struct text *text); /* empty again, the memory is kept */
void text_free(struct text *text);

/* Bytes of the UTF-8 character that begins `bytes`, 0 when none does: cut off, overlong, a surrogate, above U+10FFFF.
 */
size_t text_utf8_length(const char *bytes, size_t length);

/* Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`; letters compare without case, and '_'
 * equals '-'. Words longer than 64 bytes are compared by their first 64. */
int text_distance(const char *a, const char *b);

/* The word of `list` nearest to `word`, or NULL when none is near enough to be what was meant: at most one edit per
 * three letters (and one for shorter words), or `word` is the beginning of it. The first of equals wins. */
const char *text_nearest(const char *word, const char *const *list, size_t count);

#endif
