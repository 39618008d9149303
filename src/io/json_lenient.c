/* SPDX-License-Identifier: Apache-2.0
 *
 * The text is written anew with texts in place of what jansson has no room for, and jansson reads that: whether it is
 * JSON at all is its judgement alone.
 */
#include "io/json_lenient.h"
#include "base/text.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char UNFIT[] = "\"\\u0000\"";

bool json_lenient_helps(const json_error_t *error) {
    switch (json_error_code(error)) {
    case json_error_numeric_overflow:
    case json_error_duplicate_key:
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return true;
    default:
        return !strncmp(error->text, "invalid Unicode", strlen("invalid Unicode"));
    }
}

/* ---- strings ------------------------------------------------------------------------------------------------------ */

/* The end of the string that begins at `from` with its quote, behind the closing one; `end` when it is not closed. */
static const char *string_end(const char *from, const char *end) {
    for (from++; from < end && *from != '"'; from++) from += *from == '\\' && from + 1 < end;
    return from < end ? from + 1 : end;
}

/* Whether a name of an object ends here. */
static bool colon_follows(const char *from, const char *end) {
    while (from < end && (*from == ' ' || *from == '\t' || *from == '\r' || *from == '\n')) from++;
    return from < end && *from == ':';
}

/* The code unit of an escape "\uXXXX", -1: there is none at `from`. */
static int unit_at(const char *from, const char *end) {
    char digits[5] = "", *stop;
    if (end - from < 6 || from[0] != '\\' || from[1] != 'u') return -1;
    memcpy(digits, from + 2, 4);
    long unit = strtol(digits, &stop, 16);
    return stop == digits + 4 && strchr("0123456789abcdefABCDEF", digits[0]) ? (int)unit : -1;
}

/* Bytes of the escape at `from`, a backslash; *fits tells whether its character can be kept, `nul` whether a
 * NUL can. */
static size_t escape_length(const char *from, const char *end, bool nul, bool *fits) {
    int unit = unit_at(from, end);
    *fits = true;
    if (unit < 0) return 2;
    int second = unit >= 0xd800 && unit < 0xdc00 ? unit_at(from + 6, end) : -1;
    if (second >= 0xdc00 && second < 0xe000) return 12;
    *fits = (unit != 0 || nul) && (unit < 0xd800 || unit >= 0xe000);
    return 6;
}

/* In a name, what cannot be kept (a NUL never can) becomes U+FFFD; a value becomes UNFIT as a whole. */
static const char *rewrite_string(struct text *out, const char *from, const char *end, bool nul) {
    const char *stop = string_end(from, end);
    bool is_name = colon_follows(stop, end), fits = true;
    size_t before = out->length;
    while (from < stop) {
        size_t n = 1;
        if (*from == '\\')
            n = escape_length(from, stop, nul && !is_name, &fits);
        else
            while (from + n < stop && from[n] != '\\') n++;
        if (n > (size_t)(stop - from)) n = (size_t)(stop - from);
        if (!fits && !is_name && !out->failed) {
            out->length = before;
            text_puts(out, UNFIT);
            return stop;
        }
        text_append(out, fits ? from : "\\ufffd", fits ? n : 6);
        fits = true;
        from += n;
    }
    return stop;
}

/* ---- numbers ------------------------------------------------------------------------------------------------------ */

static size_t digits_at(const char *text) {
    return strspn(text, "0123456789");
}

/* Whether the whole text is a number of JSON. */
static bool is_number(const char *text) {
    text += *text == '-';
    size_t whole = digits_at(text);
    if (whole == 0 || (whole > 1 && *text == '0')) return false;
    text += whole;
    if (*text == '.') {
        size_t fraction = digits_at(++text);
        if (fraction == 0) return false;
        text += fraction;
    }
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '+' || *text == '-';
        size_t exponent = digits_at(text);
        if (exponent == 0) return false;
        text += exponent;
    }
    return *text == '\0';
}

/* Whether jansson has room for it: whole numbers go into int64, others into double. */
static bool number_fits(const char *text) {
    if (strpbrk(text, ".eE")) return isfinite(strtod(text, NULL));
    errno = 0;
    strtoll(text, NULL, 10);
    return errno == 0;
}

static const char *rewrite_number(struct text *out, const char *from, const char *end) {
    const char *stop = from;
    while (stop < end && *stop && strchr("+-.eE0123456789", *stop)) stop++;
    size_t before = out->length;
    text_puts(out, "\"\\u0000");
    size_t number = out->length;
    text_append(out, from, (size_t)(stop - from));
    if (out->failed) return stop;
    if (is_number(out->data + number) && !number_fits(out->data + number)) {
        text_puts(out, "\"");
        return stop;
    }
    out->length = before;
    text_append(out, from, (size_t)(stop - from));
    return stop;
}

/* ---- names that stand twice ---------------------------------------------------------------------------------------- */

/* Makes the values of names that the outer object has twice unfit. False when out of memory. */
static bool mark_repeated(json_t *object, const char *text, size_t length) {
    const char *end = text + length;
    json_t *seen = json_object();
    bool going = seen != NULL;
    int depth = 0;
    for (const char *at = text; going && at < end;) {
        if (*at != '"') {
            depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
            at++;
            continue;
        }
        const char *stop = string_end(at, end);
        if (depth == 1 && colon_follows(stop, end)) {
            json_t *name = json_loadb(at, (size_t)(stop - at), JSON_DECODE_ANY, NULL);
            const char *word = json_string_value(name);
            json_t *target = word && json_object_get(seen, word) ? object : seen;
            going = word && json_object_set_new(target, word, json_stringn("", 1)) == 0;
            json_decref(name);
        }
        at = stop;
    }
    json_decref(seen);
    return going;
}

/* ---- the whole ----------------------------------------------------------------------------------------------------- */

static void rewrite(struct text *out, const char *text, size_t length, bool nul) {
    const char *end = text + length;
    while (text < end) {
        if (*text == '"') {
            text = rewrite_string(out, text, end, nul);
        } else if (*text == '-' || (*text >= '0' && *text <= '9')) {
            text = rewrite_number(out, text, end);
        } else {
            text_append(out, text, 1);
            text++;
        }
    }
}

json_t *json_lenient_load(const char *text, size_t length, bool nul, json_error_t *error) {
    struct text out = {0};
    memset(error, 0, sizeof *error);
    rewrite(&out, text, length, nul);
    json_t *value = out.failed ? NULL : json_loadb(out.data, out.length, JSON_ALLOW_NUL, error);
    if (json_is_object(value) && !mark_repeated(value, out.data, out.length)) {
        json_decref(value);
        value = NULL;
    }
    text_free(&out);
    return value;
}

bool json_is_unfit(const json_t *value) {
    if (!json_is_string(value) || json_string_length(value) == 0 || *json_string_value(value)) return false;
    const char *number = json_string_value(value) + 1;
    size_t length = json_string_length(value) - 1;
    return length == 0 || (strlen(number) == length && is_number(number) && !number_fits(number));
}

const char *json_large_number(const json_t *value) {
    return json_is_unfit(value) && json_string_length(value) > 1 ? json_string_value(value) + 1 : NULL;
}
