/* SPDX-License-Identifier: Apache-2.0 */
#include "reward/verifier_type.h"
#include "text/unicode.h"

struct span span_trim(struct span span) {
    while (span.length && is_space(span.at[0])) span.at++, span.length--;
    while (span.length && is_space(span.at[span.length - 1])) span.length--;
    return span;
}

/* The next character with a run of white space read as one blank. */
static char next_folded(const struct span *span, size_t *i, bool ignore_case) {
    char c = span->at[(*i)++];
    if (!is_space(c)) return ignore_case ? lower_ascii(c) : c;
    while (*i < span->length && is_space(span->at[*i])) (*i)++;
    return ' ';
}

bool span_same(struct span a, struct span b, bool ignore_case) {
    a = span_trim(a);
    b = span_trim(b);
    size_t i = 0, j = 0;
    while (i < a.length && j < b.length)
        if (next_folded(&a, &i, ignore_case) != next_folded(&b, &j, ignore_case)) return false;
    return i == a.length && j == b.length;
}

const char *span_find(struct span span, const char *needle) {
    size_t length = strlen(needle);
    const char *end = span.at + span.length;
    for (const char *at = span.at; (size_t)(end - at) >= length; at++) {
        at = memchr(at, *needle, (size_t)(end - at));
        if (!at || (size_t)(end - at) < length) return NULL;
        if (!memcmp(at, needle, length)) return at;
    }
    return NULL;
}

const char *span_find_last(struct span span, const char *needle) {
    size_t length = strlen(needle);
    for (size_t i = span.length; i >= length; i--)
        if (span.at[i - length] == *needle && !memcmp(span.at + i - length, needle, length))
            return span.at + i - length;
    return NULL;
}

uint32_t span_code_at(struct span text, size_t i, size_t *length) {
    uint32_t code = 0;
    *length = i < text.length ? utf8_decode((const uint8_t *)text.at + i, text.length - i, &code) : 0;
    if (*length > 0) return code;
    *length = 1;
    return 0;
}

uint32_t span_code_before(struct span text, size_t i, size_t *start) {
    for (size_t n = 1; n <= 4 && n <= i; n++) {
        uint32_t code;
        if (utf8_decode((const uint8_t *)text.at + i - n, n, &code) != n) continue;
        *start = i - n;
        return code;
    }
    *start = i - (i > 0);
    return 0;
}
