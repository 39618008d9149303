/* SPDX-License-Identifier: Apache-2.0
 *
 * Values as text: str() and repr() of Python, and json.dumps.
 */
#include "text/jinja_write.h"
#include "text/jinja_string.h"
#include "text/unicode.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

/* The shortest digits that read back as the same double; an exponent below 1e-4 and from 1e16. */
void jinja_put_float(struct jinja_run *run, double value) {
    char text[64];
    if (!isfinite(value)) {
        jinja_puts(run, isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
        return;
    }
    int digits = 1;
    do snprintf(text, sizeof text, "%.*e", digits - 1, value);
    while (strtod(text, NULL) != value && digits++ < 17);
    long exponent = strtol(strchr(text, 'e') + 1, NULL, 10);
    if (exponent < -4 || exponent >= 16) { /* Python and C write the exponent alike */
        jinja_puts(run, text);
        return;
    }
    int behind = digits - 1 - (int)exponent;
    snprintf(text, sizeof text, "%.*f", behind > 0 ? behind : 1, value);
    jinja_puts(run, text);
}

static void put_int(struct jinja_run *run, int64_t value) {
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    jinja_puts(run, text);
}

/* ---- repr -------------------------------------------------------------------------------------------------------- */

/* The characters that repr() escapes, but for unassigned ones. */
static bool is_printable(uint32_t code) {
    static const struct {
        uint32_t first, last;
    } hidden[] = {{0, 0x1f},          {0x7f, 0xa0},       {0xad, 0xad},     {0x600, 0x605},   {0x61c, 0x61c},
                  {0x6dd, 0x6dd},     {0x70f, 0x70f},     {0x180e, 0x180e}, {0x200b, 0x200f}, {0x2028, 0x202e},
                  {0x2060, 0x206f},   {0xd800, 0xf8ff},   {0xfeff, 0xfeff}, {0xfff0, 0xfffb}, {0xfffe, 0xffff},
                  {0xe0000, 0xe00ff}, {0xe01f0, 0x10ffff}};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (code >= hidden[i].first && code <= hidden[i].last) return false;
    return code == ' ' || unicode_class(code) != CHAR_SPACE;
}

static void put_quoted(struct jinja_run *run, struct jinja_value string) {
    bool single = memchr(string.text, '\'', string.length), both = single && memchr(string.text, '"', string.length);
    char quote = single && !both ? '"' : '\'';
    jinja_put(run, &quote, 1, NULL);
    size_t n;
    for (size_t at = 0; at < string.length && run->status == OPSM_OK; at += n) {
        uint32_t code;
        n = utf8_decode((const uint8_t *)string.text + at, string.length - at, &code);
        if (n == 0) n = 1, code = 0xfffd;
        const char *simple = code == '\n'   ? "\\n"
                             : code == '\r' ? "\\r"
                             : code == '\t' ? "\\t"
                             : code == '\\' ? "\\\\"
                                            : NULL;
        char escape[16];
        if (simple || code == (uint32_t)quote) {
            jinja_puts(run, simple ? simple : "\\'");
        } else if (is_printable(code)) {
            jinja_put_value(run, string, at, at + n);
        } else {
            const char *format = code < 0x100 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x";
            snprintf(escape, sizeof escape, format, code); /* NOLINT: all three take one number */
            jinja_puts(run, escape);
        }
    }
    jinja_put(run, &quote, 1, NULL);
}

static void put_items(struct jinja_run *run, struct jinja_value list, const char *open, const char *close) {
    jinja_puts(run, open);
    for (uint32_t i = 0; i < list.length && run->status == OPSM_OK; i++) {
        if (i > 0) jinja_puts(run, ", ");
        jinja_put_repr(run, list.items[i]);
    }
    if (list.type == JINJA_TUPLE && list.length == 1) jinja_puts(run, ",");
    jinja_puts(run, close);
}

static void put_dict(struct jinja_run *run, const struct jinja_dict *dict) {
    jinja_puts(run, "{");
    for (uint32_t i = 0; i < dict->count && run->status == OPSM_OK; i++) {
        if (i > 0) jinja_puts(run, ", ");
        jinja_put_repr(run, dict->pairs[i].key);
        jinja_puts(run, ": ");
        jinja_put_repr(run, dict->pairs[i].value);
    }
    jinja_puts(run, "}");
}

static void put_inside(struct jinja_run *run, struct jinja_value value) {
    switch (value.type) {
    case JINJA_MISSING:
    case JINJA_UNDEFINED:
        jinja_puts(run, "Undefined");
        break;
    case JINJA_NONE:
        jinja_puts(run, "None");
        break;
    case JINJA_BOOL:
        jinja_puts(run, value.truth ? "True" : "False");
        break;
    case JINJA_INT:
        put_int(run, value.integer);
        break;
    case JINJA_FLOAT:
        jinja_put_float(run, value.real);
        break;
    case JINJA_STRING:
        if (value.markup) jinja_puts(run, "Markup(");
        put_quoted(run, value);
        if (value.markup) jinja_puts(run, ")");
        break;
    case JINJA_LIST:
        put_items(run, value, "[", "]");
        break;
    case JINJA_TUPLE:
        put_items(run, value, "(", ")");
        break;
    case JINJA_VIEW:
        jinja_puts(run, value.view);
        put_items(run, value, "([", "])");
        break;
    case JINJA_DICT:
        put_dict(run, value.dict);
        break;
    case JINJA_NAMESPACE:
        jinja_puts(run, "<Namespace ");
        put_dict(run, value.dict);
        jinja_puts(run, ">");
        break;
    case JINJA_GENERATOR:
    case JINJA_LOOP:
    case JINJA_FUNCTION: /* Python writes addresses */
        jinja_fail(run, OPSM_INVALID, "a value of the type %s is written as text", jinja_type_name(value));
        break;
    }
}

void jinja_put_repr(struct jinja_run *run, struct jinja_value value) {
    if (jinja_spend(run, 1) && jinja_enter(run)) put_inside(run, value);
    jinja_leave(run);
}

void jinja_put_str(struct jinja_run *run, struct jinja_value value) {
    if (value.type == JINJA_STRING)
        jinja_put_value(run, value, 0, value.length);
    else if (value.type != JINJA_UNDEFINED)
        jinja_put_repr(run, value);
}

struct jinja_value jinja_str(struct jinja_run *run, struct jinja_value value) {
    if (value.type == JINJA_STRING) return value;
    size_t mark = run->out.length;
    jinja_put_str(run, value);
    return jinja_take(run, mark);
}

struct jinja_value jinja_join(struct jinja_run *run, struct jinja_value separator, struct jinja_value list) {
    size_t mark = run->out.length;
    for (uint32_t i = 0; i < list.length && jinja_spend(run, 1); i++) {
        if (i > 0) jinja_put_value(run, separator, 0, separator.length);
        jinja_put_str(run, list.items[i]);
    }
    return jinja_take(run, mark);
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void put_unicode_escape(struct jinja_run *run, uint32_t code) {
    char escape[16];
    if (code >= 0x10000)
        snprintf(escape, sizeof escape, "\\u%04x\\u%04x", 0xd800 + ((code - 0x10000) >> 10), 0xdc00 + (code & 0x3ff));
    else
        snprintf(escape, sizeof escape, "\\u%04x", code);
    jinja_puts(run, escape);
}

static void put_json_string(struct jinja_run *run, struct jinja_value string, bool ascii) {
    static const char from[] = "\"\\\n\r\t\f\b", *const to[] = {"\\\"", "\\\\", "\\n", "\\r", "\\t", "\\f", "\\b"};
    jinja_puts(run, "\"");
    size_t n, plain = 0; /* what needs no escape is written in one piece */
    for (size_t at = 0; at < string.length && run->status == OPSM_OK; at += n) {
        uint32_t code;
        n = utf8_decode((const uint8_t *)string.text + at, string.length - at, &code);
        if (n == 0) n = 1, code = 0xfffd;
        const char *simple = code && code < 0x80 ? strchr(from, (int)code) : NULL;
        if (!simple && code >= ' ' && (code < 0x7f || !ascii || code == 0x7f)) continue;
        jinja_put_value(run, string, plain, at);
        plain = at + n;
        if (simple)
            jinja_puts(run, to[simple - from]);
        else
            put_unicode_escape(run, code);
    }
    jinja_put_value(run, string, plain, string.length);
    jinja_puts(run, "\"");
}

static void put_json(struct jinja_run *run, struct jinja_value value, const struct jinja_json *style, int level);

static void put_line(struct jinja_run *run, const struct jinja_json *style, int level) {
    if (style->indent.type != JINJA_STRING) return;
    jinja_puts(run, "\n");
    for (int i = 0; i < level; i++) jinja_put_value(run, style->indent, 0, style->indent.length);
}

static void put_json_key(struct jinja_run *run, struct jinja_value key, const struct jinja_json *style) {
    if (key.type == JINJA_STRING) {
        put_json_string(run, key, style->ascii);
    } else if (jinja_is_number(key) || key.type == JINJA_NONE) {
        jinja_puts(run, "\"");
        put_json(run, key, style, 0);
        jinja_puts(run, "\"");
    } else {
        jinja_fail(run, OPSM_INVALID, "tojson: a value of the type %s cannot be a key", jinja_type_name(key));
    }
}

static int by_key(struct jinja_run *run, const void *a, const void *b) {
    return jinja_order(run, ((const struct jinja_pair *)a)->key, ((const struct jinja_pair *)b)->key);
}

static void put_json_dict(struct jinja_run *run, const struct jinja_dict *dict, const struct jinja_json *style,
                          int level) {
    const struct jinja_pair *pairs = dict->pairs;
    if (style->sorts && dict->count > 1) pairs = jinja_sorted(run, pairs, dict->count, sizeof *pairs, by_key);
    jinja_puts(run, "{");
    for (uint32_t i = 0; i < dict->count && run->status == OPSM_OK; i++) {
        if (i > 0) jinja_put_value(run, style->between, 0, style->between.length);
        put_line(run, style, level + 1);
        put_json_key(run, pairs[i].key, style);
        jinja_put_value(run, style->colon, 0, style->colon.length);
        put_json(run, pairs[i].value, style, level + 1);
    }
    if (dict->count) put_line(run, style, level);
    jinja_puts(run, "}");
}

static void put_json_list(struct jinja_run *run, struct jinja_value list, const struct jinja_json *style, int level) {
    jinja_puts(run, "[");
    for (uint32_t i = 0; i < list.length && run->status == OPSM_OK; i++) {
        if (i > 0) jinja_put_value(run, style->between, 0, style->between.length);
        put_line(run, style, level + 1);
        put_json(run, list.items[i], style, level + 1);
    }
    if (list.length) put_line(run, style, level);
    jinja_puts(run, "]");
}

static void put_json(struct jinja_run *run, struct jinja_value value, const struct jinja_json *style, int level) {
    if (!jinja_spend(run, 1) || !jinja_enter(run)) {
        jinja_leave(run);
        return;
    }
    if (value.type == JINJA_NONE)
        jinja_puts(run, "null");
    else if (value.type == JINJA_BOOL)
        jinja_puts(run, value.truth ? "true" : "false");
    else if (value.type == JINJA_INT)
        put_int(run, value.integer);
    else if (value.type == JINJA_FLOAT && !isfinite(value.real))
        jinja_puts(run, isnan(value.real) ? "NaN" : value.real < 0 ? "-Infinity" : "Infinity");
    else if (value.type == JINJA_FLOAT)
        jinja_put_float(run, value.real);
    else if (value.type == JINJA_STRING)
        put_json_string(run, value, style->ascii);
    else if (value.type == JINJA_LIST || value.type == JINJA_TUPLE)
        put_json_list(run, value, style, level);
    else if (value.type == JINJA_DICT)
        put_json_dict(run, value.dict, style, level);
    else
        jinja_fail(run, OPSM_INVALID, "tojson: a value of the type %s has no JSON", jinja_type_name(value));
    jinja_leave(run);
}

void jinja_put_json(struct jinja_run *run, struct jinja_value value, const struct jinja_json *style) {
    put_json(run, value, style, 0);
}
