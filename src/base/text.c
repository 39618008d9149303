/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "base/mem.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_MAX = 64, FIRST_ROOM = 128 };

const char *text_find(const char *bytes, size_t length, const char *word, size_t n) {
    if (n == 0) return bytes;
    for (const char *end = bytes + length; (size_t)(end - bytes) >= n; bytes++) {
        bytes = memchr(bytes, word[0], (size_t)(end - bytes) - n + 1);
        if (!bytes || memcmp(bytes, word, n) == 0) return bytes;
    }
    return NULL;
}

/* Makes room for `extra` bytes and the NUL. */
static bool reserve(struct text *text, size_t extra) {
    if (text->failed) return false;
    if (extra < text->room - text->length) return true;
    size_t room = text->room ? text->room : FIRST_ROOM;
    while (room - text->length <= extra) {
        if (room > (size_t)-1 / 2) {
            text->failed = true;
            return false;
        }
        room *= 2;
    }
    char *data = mem_resize(text->data, text->length, room, 1);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->room = room;
    return true;
}

void text_append(struct text *text, const char *bytes, size_t length) {
    if (!reserve(text, length)) return;
    if (length) memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void text_puts(struct text *text, const char *string) {
    text_append(text, string, strlen(string));
}

void text_printf(struct text *text, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0) text->failed = true;
    if (length >= 0 && reserve(text, (size_t)length)) {
        vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
}

void text_number(struct text *text, double value) {
    char digits[32];
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value) break;
    }
    text_puts(text, digits);
}

char *text_readable(char out[TEXT_NUMBER_ROOM], double value) {
    char digits[TEXT_NUMBER_ROOM];
    int places = 0; /* behind the point of d.ddde+n */
    do snprintf(digits, sizeof digits, "%.*e", places, value);
    while (strtod(digits, NULL) != value && ++places < 17);
    char *e = strchr(digits, 'e'); /* infinity has none */
    int power = e ? (int)strtol(e + 1, NULL, 10) : 0;
    if (!e || (power >= -4 && power < 16))
        snprintf(out, TEXT_NUMBER_ROOM, "%.*f", places > power ? places - power : 0, value);
    else
        snprintf(out, TEXT_NUMBER_ROOM, "%.*se%d", (int)(e - digits), digits, power);
    return out;
}

size_t text_utf8_length(const char *bytes, size_t length) {
    const unsigned char *s = (const unsigned char *)bytes;
    if (length == 0) return 0;
    if (s[0] < 0x80) return 1;
    size_t n = s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    if (n == 0 || n > length) return 0;
    for (size_t k = 1; k < n; k++)
        if ((s[k] & 0xc0) != 0x80) return 0;
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool beyond = (s[0] == 0xed && s[1] >= 0xa0) || (s[0] == 0xf4 && s[1] >= 0x90);
    return overlong || beyond ? 0 : n;
}

void text_clear(struct text *text) {
    text->length = 0;
    text->failed = false;
    if (text->data) text->data[0] = '\0';
}

void text_free(struct text *text) {
    mem_free(text->data);
    *text = (struct text){0};
}

static char folded(char c) {
    return c == '_' ? '-' : (char)tolower((unsigned char)c);
}

static int min_int(int a, int b) {
    return a < b ? a : b;
}

/* Optimal string alignment: Levenshtein plus the swap of two neighbours, the commonest slip of the fingers. */
int text_distance(const char *a, const char *b) {
    int n = (int)strnlen(a, WORD_MAX), m = (int)strnlen(b, WORD_MAX);
    int rows[3][WORD_MAX + 1];
    int *before = rows[0], *last = rows[1], *row = rows[2];
    for (int j = 0; j <= m; j++) before[j] = last[j] = j;
    for (int i = 1; i <= n; i++) {
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            char x = folded(a[i - 1]), y = folded(b[j - 1]);
            int best = min_int(min_int(last[j], row[j - 1]) + 1, last[j - 1] + (x != y));
            bool swapped = i > 1 && j > 1 && x == folded(b[j - 2]) && folded(a[i - 2]) == y;
            row[j] = swapped ? min_int(best, before[j - 2] + 1) : best;
        }
        int *free_row = before;
        before = last;
        last = row;
        row = free_row;
    }
    return last[m];
}

static bool begins(const char *word, const char *whole) {
    for (; *word; word++, whole++)
        if (folded(*word) != folded(*whole)) return false;
    return true;
}

const char *text_nearest(const char *word, const char *const *list, size_t count) {
    int length = (int)strnlen(word, WORD_MAX);
    int allowed = length < 6 ? 1 : length / 3;
    const char *best = NULL;
    for (size_t i = 0; i < count; i++) {
        int distance = text_distance(word, list[i]);
        if (distance > allowed) continue;
        best = list[i];
        allowed = distance - 1; /* a later word must be strictly nearer */
    }
    for (size_t i = 0; i < count && !best && length >= 2; i++)
        if (begins(word, list[i])) best = list[i];
    return best;
}
