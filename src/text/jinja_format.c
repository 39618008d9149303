/* SPDX-License-Identifier: Apache-2.0
 *
 * The two ways of Python to fill values into a text: '%s' % value and '{}'.format(value).
 */
#include "text/jinja_builtin.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- % ----------------------------------------------------------------------------------------------------------- */

struct directive {
    bool left, zero, sign, blank, other;
    int width, precision; /* -1: none */
    char kind;
};

/* Digits up to 9999. */
static int read_number(struct jinja_value format, size_t *at) {
    int number = 0;
    while (*at < format.length && format.text[*at] >= '0' && format.text[*at] <= '9' && number < 1000)
        number = number * 10 + (format.text[(*at)++] - '0');
    return number;
}

/* What stands behind a % (and the key in brackets); `at` moves behind it. */
static struct directive read_directive(struct jinja_value format, size_t *at) {
    struct directive d = {.precision = -1};
    for (; *at < format.length; (*at)++) {
        char c = format.text[*at];
        if (c == '-')
            d.left = true;
        else if (c == '0')
            d.zero = true;
        else if (c == '+')
            d.sign = true;
        else if (c == ' ')
            d.blank = true;
        else if (c == '#')
            d.other = true;
        else
            break;
    }
    d.width = read_number(format, at);
    if (*at < format.length && format.text[*at] == '.') {
        (*at)++;
        d.precision = read_number(format, at);
    }
    if (*at < format.length) d.kind = format.text[(*at)++];
    return d;
}

static void put_padded(struct jinja_run *run, const struct directive *d, struct jinja_value text) {
    int64_t more = d->width - (int64_t)jinja_count_codes(text.text, text.length);
    if (d->left) jinja_put_value(run, text, 0, text.length);
    for (; more > 0; more--) jinja_puts(run, " ");
    if (!d->left) jinja_put_value(run, text, 0, text.length);
}

static void put_text(struct jinja_run *run, const struct directive *d, struct jinja_value value) {
    size_t mark = run->out.length;
    if (d->kind == 'r')
        jinja_put_repr(run, value);
    else
        jinja_put_str(run, value);
    struct jinja_value text = jinja_take(run, mark);
    if (d->precision >= 0) text = jinja_substring(text, 0, jinja_offset(text, (size_t)d->precision));
    put_padded(run, d, text);
}

static void put_number(struct jinja_run *run, const struct directive *d, struct jinja_value value) {
    char format[32], text[1400];
    bool real = strchr("eEfFgG", d->kind) != NULL;
    if (!jinja_is_number(value) || d->other) {
        jinja_fail(run, OPSM_INVALID, "'%%%c' is for numbers, found a value of the type %s", d->kind,
                   jinja_type_name(value));
        return;
    }
    double number = jinja_as_double(value);
    if (!real && value.type == JINJA_FLOAT && !(fabs(number) < 9.2e18)) {
        jinja_fail(run, OPSM_INVALID, "a number beyond 64 bits");
        return;
    }
    long long integer = 0;
    if (!real)
        integer = value.type == JINJA_FLOAT  ? (long long)number
                  : value.type == JINJA_BOOL ? value.truth
                                             : value.integer;
    bool hexadecimal = strchr("xXo", d->kind) != NULL, minus = hexadecimal && integer < 0;
    snprintf(format, sizeof format, "%%%s%s%s%s%d.*%s%c", d->left ? "-" : "", d->zero ? "0" : "", d->sign ? "+" : "",
             d->blank ? " " : "", d->width ? d->width : 1, real ? "" : "ll", real || hexadecimal ? d->kind : 'd');
    int precision = d->precision > 300 ? 300 : d->precision;
    unsigned long long magnitude = minus ? 0 - (unsigned long long)integer : (unsigned long long)integer;
    if (real)
        snprintf(text, sizeof text, format, precision < 0 ? 6 : precision, number); /* NOLINT: the format is ours */
    else if (hexadecimal)
        snprintf(text, sizeof text, format, precision, magnitude); /* NOLINT */
    else
        snprintf(text, sizeof text, format, precision, integer); /* NOLINT */
    if (minus) jinja_puts(run, "-");
    jinja_puts(run, text);
}

static void put_directive(struct jinja_run *run, const struct directive *d, struct jinja_value value) {
    if (d->width > 1000 || d->precision > 1000)
        jinja_fail(run, OPSM_INVALID, "a width above 1000");
    else if (d->kind == 's' || d->kind == 'r')
        put_text(run, d, value);
    else if (d->kind && strchr("diuxXoeEfFgG", d->kind))
        put_number(run, d, value);
    else
        jinja_fail(run, OPSM_INVALID, "a directive behind %% that is not known here");
}

struct jinja_value jinja_percent(struct jinja_run *run, struct jinja_value format, struct jinja_value values) {
    struct jinja_value one = values, list = values.type == JINJA_TUPLE ? values : jinja_sequence(JINJA_TUPLE, &one, 1);
    size_t mark = run->out.length, plain = 0;
    uint32_t used = 0;
    bool named = values.type == JINJA_DICT;
    for (size_t at = 0; at < format.length && run->status == OPSM_OK;) {
        if (format.text[at++] != '%') continue;
        jinja_put_value(run, format, plain, at - 1);
        struct jinja_value value = {.type = JINJA_MISSING};
        const char *end =
            at < format.length && format.text[at] == '(' ? memchr(format.text + at, ')', format.length - at) : NULL;
        if (end && values.type == JINJA_DICT) {
            size_t to = (size_t)(end - format.text);
            value = jinja_item(run, values, jinja_substring(format, at + 1, to));
            at = to + 1;
        }
        bool by_name = end && values.type == JINJA_DICT;
        struct directive d = read_directive(format, &at);
        plain = at;
        if (d.kind == '%') {
            jinja_puts(run, "%");
            continue;
        }
        if (!by_name && used < list.length) value = list.items[used++];
        if (value.type == JINJA_MISSING) return jinja_fail(run, OPSM_INVALID, "a value for the text is missing");
        put_directive(run, &d, value);
    }
    jinja_put_value(run, format, plain, format.length);
    if (used < list.length && !named) return jinja_fail(run, OPSM_INVALID, "more values than the text takes");
    return jinja_take(run, mark);
}

/* ---- str.format -------------------------------------------------------------------------------------------------- */

/* The value that a field without its brackets names: a position, a name, or the next one. */
static struct jinja_value field_value(struct jinja_run *run, struct jinja_value name,
                                      const struct jinja_arguments *given, uint32_t *next) {
    uint32_t index = 0;
    bool digits = name.length < 9;
    for (uint32_t i = 0; i < name.length && digits; i++) {
        digits = name.text[i] >= '0' && name.text[i] <= '9';
        if (digits) index = index * 10 + (uint32_t)(name.text[i] - '0');
    }
    if (name.length == 0) index = (*next)++;
    if (digits && index < given->count) return given->items[index];
    for (uint32_t i = 0; i < given->n_keywords && !digits; i++)
        if (jinja_equal(run, given->keywords[i].name, name)) return given->keywords[i].value;
    return jinja_fail(run, OPSM_INVALID, "format: a field that has no value, or more than a name or a number");
}

struct jinja_value jinja_format(struct jinja_run *run, struct jinja_value format, const struct jinja_arguments *given) {
    size_t mark = run->out.length, plain = 0;
    uint32_t next = 0;
    for (size_t at = 0; at < format.length && run->status == OPSM_OK; at++) {
        char c = format.text[at];
        if (c != '{' && c != '}') continue;
        jinja_put_value(run, format, plain, at);
        if (at + 1 < format.length && format.text[at + 1] == c) {
            jinja_put_value(run, format, at, at + 1);
            plain = ++at + 1;
            continue;
        }
        const char *end = c == '{' ? memchr(format.text + at, '}', format.length - at) : NULL;
        if (!end) return jinja_fail(run, OPSM_INVALID, "format: a single bracket in the text");
        size_t to = (size_t)(end - format.text);
        struct jinja_value value = field_value(run, jinja_substring(format, at + 1, to), given, &next);
        jinja_put_str(run, value);
        at = to;
        plain = to + 1;
    }
    jinja_put_value(run, format, plain, format.length);
    return jinja_take(run, mark);
}
