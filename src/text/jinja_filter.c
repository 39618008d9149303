/* SPDX-License-Identifier: Apache-2.0
 *
 * Filters over texts and numbers. The subject is a[0], parameters by the names in jinja_builtin.h follow.
 */
#include "text/jinja_builtin.h"
#include "text/unicode.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILTER(name)                                                                                                   \
    struct jinja_value jinja_filter_##name(struct jinja_run *run, const struct jinja_value *a,                         \
                                           const struct jinja_arguments *given)

/* ---- texts ------------------------------------------------------------------------------------------------------- */

FILTER(capitalize) {
    (void)given;
    return jinja_case(run, jinja_str(run, a[0]), JINJA_CAPITAL);
}

FILTER(lower) {
    (void)given;
    return jinja_case(run, jinja_str(run, a[0]), JINJA_LOWER);
}

FILTER(upper) {
    (void)given;
    return jinja_case(run, jinja_str(run, a[0]), JINJA_UPPER);
}

FILTER(string) {
    (void)given;
    return jinja_str(run, a[0]);
}

FILTER(trim) {
    (void)given;
    return jinja_strip(run, jinja_str(run, a[0]), a[1], true, true);
}

FILTER(replace) {
    (void)given;
    int64_t count = -1;
    if (jinja_given(a[3]) && !jinja_whole(run, a[3], &count)) return jinja_none();
    return jinja_replace(run, jinja_str(run, a[0]), jinja_str(run, a[1]), jinja_str(run, a[2]), count);
}

/* The first letter of a word in upper case; words stand between blanks, hyphens and opening brackets. */
FILTER(title) {
    (void)given;
    struct jinja_value text = jinja_str(run, a[0]);
    static const char openers[] = {'-', '(', '{', '[', '<'};
    size_t mark = run->out.length, at = 0;
    while (at < text.length && jinja_spend(run, 1)) {
        size_t begin = at;
        while (at < text.length && !memchr(openers, text.text[at], sizeof openers)) {
            if (jinja_leading_space(text.text + at, text.length - at)) break;
            at++;
        }
        if (at > begin) {
            struct jinja_value word = jinja_substring(text, begin, at);
            size_t first = jinja_offset(word, 1);
            jinja_put_case(run, jinja_substring(word, 0, first), JINJA_UPPER);
            jinja_put_case(run, jinja_substring(word, first, word.length), JINJA_LOWER);
        }
        size_t between = at < text.length ? jinja_offset(jinja_substring(text, at, text.length), 1) : 0;
        jinja_put_value(run, text, at, at + between);
        at += between;
    }
    return jinja_take(run, mark);
}

FILTER(wordcount) {
    (void)given;
    struct jinja_value text = jinja_str(run, a[0]);
    int64_t count = 0;
    bool inside = false;
    size_t n;
    for (size_t at = 0; at < text.length && jinja_spend(run, 1); at += n) {
        uint32_t code;
        n = utf8_decode((const uint8_t *)text.text + at, text.length - at, &code);
        if (n == 0) n = 1, code = 0;
        enum char_class class = unicode_class(code);
        bool word = class == CHAR_LETTER || class == CHAR_NUMBER || code == '_';
        count += word && !inside;
        inside = word;
    }
    return jinja_int(count);
}

static void put_spaces(struct jinja_run *run, int64_t count) {
    for (; count > 0 && jinja_spend(run, 1); count--) jinja_puts(run, " ");
}

FILTER(center) {
    const struct jinja_value b[] = {jinja_str(run, a[0]), a[1].type == JINJA_MISSING ? jinja_int(80) : a[1], {0}};
    return jinja_method_center(run, b, given);
}

FILTER(indent) {
    (void)given;
    if (a[0].type != JINJA_STRING)
        return jinja_fail(run, OPSM_INVALID, "indent is for texts, found %s", jinja_type_name(a[0]));
    size_t mark = run->out.length;
    int64_t width = 4;
    struct jinja_value indent = a[1];
    if (indent.type != JINJA_STRING) {
        if (jinja_given(indent) && !jinja_whole(run, indent, &width)) return jinja_none();
        put_spaces(run, width);
        indent = jinja_take(run, mark);
    }
    jinja_put_value(run, a[0], 0, a[0].length);
    jinja_puts(run, "\n");
    struct jinja_value lines = jinja_lines(run, jinja_take(run, mark), false);
    for (uint32_t i = 0; i < lines.length && jinja_spend(run, 1); i++) {
        if (i > 0) jinja_puts(run, "\n");
        bool wanted = i == 0 ? jinja_truth(a[2]) : jinja_truth(a[3]) || lines.items[i].length > 0;
        if (wanted) jinja_put_value(run, indent, 0, indent.length);
        jinja_put_value(run, lines.items[i], 0, lines.items[i].length);
    }
    return jinja_take(run, mark);
}

static struct jinja_value marked(struct jinja_value string) {
    string.markup = string.type == JINJA_STRING;
    return string;
}

FILTER(safe) {
    (void)given;
    return marked(jinja_str(run, a[0]));
}

FILTER(escape) {
    (void)given;
    struct jinja_value text = jinja_str(run, a[0]);
    size_t mark = run->out.length;
    jinja_put_escaped(run, text);
    return marked(jinja_take(run, mark));
}

FILTER(format) {
    struct jinja_value list = jinja_sequence(JINJA_TUPLE, given->items, given->count);
    if (given->n_keywords == 0) return jinja_percent(run, jinja_str(run, a[0]), list);
    struct jinja_value dict = jinja_new_dict(run, JINJA_DICT, given->n_keywords);
    for (uint32_t i = 0; i < given->n_keywords && run->status == OPSM_OK; i++)
        jinja_set(run, dict.dict, given->keywords[i].name, given->keywords[i].value);
    return run->status == OPSM_OK ? jinja_percent(run, jinja_str(run, a[0]), dict) : dict;
}

FILTER(tojson) {
    (void)given;
    size_t mark = run->out.length;
    struct jinja_json style = {.ascii = jinja_truth(a[1]), .sorts = jinja_truth(a[4]), .colon = jinja_trusted(": ")};
    style.indent = a[2];
    if (jinja_is_number(a[2])) {
        int64_t width;
        if (!jinja_whole(run, a[2], &width)) return jinja_none();
        put_spaces(run, width);
        style.indent = jinja_take(run, mark);
    }
    style.between = jinja_trusted(style.indent.type == JINJA_STRING ? "," : ", ");
    if (jinja_given(a[3])) {
        bool two = (a[3].type == JINJA_LIST || a[3].type == JINJA_TUPLE) && a[3].length == 2;
        if (!two || a[3].items[0].type != JINJA_STRING || a[3].items[1].type != JINJA_STRING)
            return jinja_fail(run, OPSM_INVALID, "tojson: separators must be two texts");
        style.between = a[3].items[0];
        style.colon = a[3].items[1];
    }
    jinja_put_json(run, a[0], &style);
    return jinja_take(run, mark);
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

FILTER(abs) {
    (void)given;
    if (a[0].type == JINJA_FLOAT) return jinja_float(fabs(a[0].real));
    int64_t number;
    if (!jinja_whole(run, a[0], &number)) return jinja_none();
    if (number == INT64_MIN) return jinja_fail(run, OPSM_INVALID, "a number beyond 64 bits");
    return jinja_int(number < 0 ? -number : number);
}

/* The text of a number without blanks around it and underscores inside; false if it is none or too long. */
static bool copy_number(struct jinja_run *run, struct jinja_value text, char *out, size_t room) {
    struct jinja_value bare = jinja_strip(run, text, jinja_none(), true, true);
    size_t used = 0;
    for (uint32_t i = 0; i < bare.length; i++) {
        unsigned char c = (unsigned char)bare.text[i];
        if (c == '_' && i > 0 && i + 1 < bare.length && bare.text[i - 1] != '_') continue;
        if (c <= ' ' || c >= 0x7f || used + 1 >= room) return false;
        out[used++] = (char)c;
    }
    out[used] = '\0';
    return used > 0;
}

/* As int(text, base): false for what is no such number, or (with a failure) one beyond 64 bits. */
static bool read_int(struct jinja_run *run, struct jinja_value text, int base, int64_t *number) {
    char copy[80], *end;
    if (!copy_number(run, text, copy, sizeof copy)) return false;
    const char *digits = copy + strspn(copy, "+-");
    if (digits > copy + 1) return false;
    bool prefixed = digits[0] == '0' && digits[1] && strchr("xXoObB", digits[1]);
    if (prefixed) {
        char kind = digits[1] | 0x20;
        int of = kind == 'x' ? 16 : kind == 'o' ? 8 : 2;
        if (base != of && base != 0 && !(base > of && kind == 'b')) return false;
        if (base == of || base == 0) {
            if (base == 0) base = of;
            memmove(copy + (digits - copy), digits + 2, strlen(digits + 2) + 1);
        }
    }
    errno = 0;
    long long value = strtoll(copy, &end, base);
    if (*end || end == copy) return false;
    if (errno) jinja_fail(run, OPSM_INVALID, "a number beyond 64 bits");
    *number = value;
    return true;
}

static bool read_float(struct jinja_run *run, struct jinja_value value, double *number) {
    char copy[400], *end;
    if (jinja_is_number(value)) {
        *number = jinja_as_double(value);
        return true;
    }
    if (value.type == JINJA_UNDEFINED) jinja_fail(run, OPSM_INVALID, "a number from an undefined value");
    if (value.type != JINJA_STRING || !copy_number(run, value, copy, sizeof copy)) return false;
    if (strpbrk(copy, "xXpP(")) return false; /* strtod takes more than Python */
    *number = strtod(copy, &end);
    return !*end && end != copy;
}

FILTER(int) {
    (void)given;
    int64_t number, base = 10;
    struct jinja_value fallback = a[1].type == JINJA_MISSING ? jinja_int(0) : a[1];
    if (jinja_given(a[2]) && !jinja_whole(run, a[2], &base)) return jinja_none();
    bool wrong_base = base < 0 || base == 1 || base > 36;
    if (a[0].type == JINJA_STRING && !wrong_base && read_int(run, a[0], (int)base, &number)) return jinja_int(number);
    if (a[0].type == JINJA_INT || a[0].type == JINJA_BOOL)
        return jinja_whole(run, a[0], &number) ? jinja_int(number) : a[0];
    double real;
    if (run->status != OPSM_OK || !read_float(run, a[0], &real) || isnan(real)) return fallback;
    if (isinf(real) && a[0].type == JINJA_STRING) return fallback;
    if (!(fabs(real) < 9.2e18)) return jinja_fail(run, OPSM_INVALID, "a number beyond 64 bits");
    return jinja_int((int64_t)real);
}

FILTER(float) {
    (void)given;
    double real;
    if (read_float(run, a[0], &real)) return jinja_float(real);
    return a[1].type == JINJA_MISSING ? jinja_float(0) : a[1];
}

FILTER(round) {
    (void)given;
    int64_t precision = 0;
    if (jinja_given(a[1]) && !jinja_whole(run, a[1], &precision)) return jinja_none();
    if (!jinja_is_number(a[0]) || precision < -300 || precision > 300)
        return jinja_fail(run, OPSM_INVALID, "round: not a number, or with a precision beyond 300");
    double value = jinja_as_double(a[0]), power = pow(10, (double)precision);
    if (jinja_is_text(a[2], "ceil")) return jinja_float(ceil(value * power) / power);
    if (jinja_is_text(a[2], "floor")) return jinja_float(floor(value * power) / power);
    if (a[2].type != JINJA_MISSING && !jinja_is_text(a[2], "common"))
        return jinja_fail(run, OPSM_INVALID, "round: the method is common, ceil or floor");
    if (a[0].type != JINJA_FLOAT && precision >= 0) return a[0].type == JINJA_BOOL ? jinja_int(a[0].truth) : a[0];
    if (precision < 0) {
        double rounded = nearbyint(value * power) / power;
        if (!(fabs(rounded) < 9.2e18)) return jinja_fail(run, OPSM_INVALID, "a number beyond 64 bits");
        return a[0].type == JINJA_FLOAT ? jinja_float(rounded) : jinja_int((int64_t)rounded);
    }
    char text[700]; /* as Python: the decimal digits decide, not a product */
    snprintf(text, sizeof text, "%.*f", (int)precision, value);
    return jinja_float(strtod(text, NULL));
}
