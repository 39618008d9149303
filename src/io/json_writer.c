/* SPDX-License-Identifier: Apache-2.0 */
#include "io/json_writer.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void put_quoted(struct text *text, const char *bytes, size_t length) {
    text_append(text, "\"", 1);
    size_t plain = 0; /* where what needs no escape begins */
    for (size_t i = 0; i < length;) {
        unsigned char c = (unsigned char)bytes[i];
        size_t n = c < 0x80 ? 1 : text_utf8_length(bytes + i, length - i);
        bool escaped = n == 0 || c == '"' || c == '\\' || c < 0x20;
        if (escaped) text_append(text, bytes + plain, i - plain);
        if (n == 0)
            text_puts(text, "\xef\xbf\xbd");
        else if (c < 0x20)
            text_printf(text, "\\u%04x", c);
        else if (escaped)
            text_printf(text, "\\%c", c);
        i += n ? n : 1;
        if (escaped) plain = i;
    }
    text_append(text, bytes + plain, length - plain);
    text_append(text, "\"", 1);
}

/* What comes before a value: comma, line break, key. */
static void begin(struct json_writer *w, const char *key) {
    if (w->more) text_append(w->text, ",", 1);
    if (w->breaks)
        text_append(w->text, "\n", 1);
    else if (w->more && w->spaced)
        text_append(w->text, " ", 1);
    if (key) {
        put_quoted(w->text, key, strlen(key));
        text_append(w->text, ": ", w->spaced ? 2 : 1);
    }
    w->more = true;
    w->breaks = false;
}

void json_put_open(struct json_writer *w, const char *key, char bracket) {
    begin(w, key);
    text_append(w->text, &bracket, 1);
    w->more = false;
}

void json_put_close(struct json_writer *w, char bracket) {
    text_append(w->text, &bracket, 1);
    w->more = true;
}

void json_put_end(struct json_writer *w) {
    text_append(w->text, "\n", 1);
    w->more = false;
}

void json_put_raw(struct json_writer *w, const char *key, const char *json) {
    begin(w, key);
    text_puts(w->text, json);
}

void json_put_null(struct json_writer *w, const char *key) {
    json_put_raw(w, key, "null");
}

void json_put_bool(struct json_writer *w, const char *key, bool value) {
    json_put_raw(w, key, value ? "true" : "false");
}

void json_put_int(struct json_writer *w, const char *key, int64_t value) {
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRId64, value);
    json_put_raw(w, key, digits);
}

void json_put_number(struct json_writer *w, const char *key, double value) {
    if (!isfinite(value)) {
        json_put_null(w, key);
        return;
    }
    begin(w, key);
    size_t start = w->text->length;
    if (w->digits == 0) {
        text_number(w->text, value);
    } else {
        char digits[40];
        text_append(w->text, digits, (size_t)snprintf(digits, sizeof digits, "%.*g", w->digits, value));
    }
    if (w->reals && !w->text->failed && !strpbrk(w->text->data + start, ".e")) text_puts(w->text, ".0");
}

void json_put_fixed(struct json_writer *w, const char *key, double value, int places) {
    char digits[400] = "null"; /* the largest double has 309 digits */
    if (isfinite(value)) snprintf(digits, sizeof digits, "%.*f", places, value);
    json_put_raw(w, key, digits);
}

void json_put_string(struct json_writer *w, const char *key, const char *string) {
    if (string)
        json_put_bytes(w, key, string, strlen(string));
    else
        json_put_null(w, key);
}

void json_put_bytes(struct json_writer *w, const char *key, const char *bytes, size_t length) {
    begin(w, key);
    put_quoted(w->text, bytes, length);
}
