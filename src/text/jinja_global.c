/* SPDX-License-Identifier: Apache-2.0
 *
 * The functions that every template has.
 */
#include "text/jinja_builtin.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

#define GLOBAL(name)                                                                                                   \
    struct jinja_value jinja_global_##name(struct jinja_run *run, const struct jinja_value *a,                         \
                                           const struct jinja_arguments *given)

GLOBAL(raise_exception) {
    (void)given;
    struct jinja_value message = jinja_str(run, a[1]);
    return jinja_fail(run, OPSM_INVALID, "%.*s", (int)(message.length < 300 ? message.length : 300), message.text);
}

enum { RANGE_MAX = 100000 }; /* of jinja2's sandbox */

GLOBAL(range) {
    (void)given;
    int64_t first = 0, stop, step = 1;
    bool one = a[2].type == JINJA_MISSING;
    if (!jinja_whole(run, a[1], one ? &stop : &first)) return jinja_none();
    if (!one && !jinja_whole(run, a[2], &stop)) return jinja_none();
    if (a[3].type != JINJA_MISSING && !jinja_whole(run, a[3], &step)) return jinja_none();
    if (step == 0) return jinja_fail(run, OPSM_INVALID, "range: the step is 0");
    double span = ((double)stop - (double)first) / (double)step; /* in doubles: nothing overflows */
    if (span > RANGE_MAX) return jinja_fail(run, OPSM_INVALID, "range: more than %d numbers", RANGE_MAX);
    size_t count = span <= 0 ? 0 : (size_t)span + (span > (double)(size_t)span);
    struct jinja_value *items = jinja_spend(run, count / 8) ? jinja_alloc(run, count, sizeof *items) : NULL;
    for (size_t i = 0; items && i < count; i++) items[i] = jinja_int(first + (int64_t)i * step);
    return jinja_sequence(JINJA_LIST, items, count);
}

/* A mapping from what dict() of Python takes: a mapping or pairs, and keywords. */
static struct jinja_value make_dict(struct jinja_run *run, enum jinja_type type, const struct jinja_arguments *given) {
    if (given->count > 1) return jinja_fail(run, OPSM_INVALID, "expected one mapping at most");
    struct jinja_value dict = jinja_new_dict(run, type, given->n_keywords + 4);
    bool mapping = given->count && given->items[0].type == JINJA_DICT;
    for (uint32_t i = 0; mapping && run->status == OPSM_OK && i < given->items[0].dict->count; i++)
        jinja_set(run, dict.dict, given->items[0].dict->pairs[i].key, given->items[0].dict->pairs[i].value);
    struct jinja_value list = jinja_sequence(JINJA_LIST, NULL, 0);
    if (given->count && !mapping) list = jinja_iterate(run, given->items[0]);
    for (uint32_t i = 0; i < list.length && run->status == OPSM_OK; i++) {
        struct jinja_value pair = jinja_iterate(run, list.items[i]);
        if (pair.length != 2) return jinja_fail(run, OPSM_INVALID, "dict: expected pairs");
        jinja_set(run, dict.dict, pair.items[0], pair.items[1]);
    }
    for (uint32_t i = 0; i < given->n_keywords && run->status == OPSM_OK; i++)
        jinja_set(run, dict.dict, given->keywords[i].name, given->keywords[i].value);
    return dict;
}

GLOBAL(dict) {
    (void)a;
    return make_dict(run, JINJA_DICT, given);
}

GLOBAL(namespace) {
    (void)a;
    struct jinja_value made = make_dict(run, JINJA_NAMESPACE, given);
    for (uint32_t i = 0; run->status == OPSM_OK && i < made.dict->count; i++) {
        struct jinja_value name = made.dict->pairs[i].key;
        if (name.type == JINJA_STRING && name.length > 0 && name.text[0] == '_')
            return jinja_fail(run, OPSM_INVALID, "namespace: a name must not begin with _");
    }
    return made;
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};

/* One directive of strftime in the C locale; false if it is not known here. */
static bool put_time(struct jinja_run *run, const struct tm *t, char directive) {
    char text[64];
    int hour = t->tm_hour % 12 ? t->tm_hour % 12 : 12;
    switch (directive) {
#define CASE(letter, ...)                                                                                              \
    case letter:                                                                                                       \
        snprintf(text, sizeof text, __VA_ARGS__);                                                                      \
        break;
        CASE('%', "%%")
        CASE('A', "%s", days[t->tm_wday])
        CASE('a', "%.3s", days[t->tm_wday])
        CASE('B', "%s", months[t->tm_mon])
        CASE('b', "%.3s", months[t->tm_mon])
        CASE('D', "%02d/%02d/%02d", t->tm_mon + 1, t->tm_mday, t->tm_year % 100)
        CASE('d', "%02d", t->tm_mday)
        CASE('e', "%2d", t->tm_mday)
        CASE('F', "%d-%02d-%02d", t->tm_year + 1900, t->tm_mon + 1, t->tm_mday)
        CASE('H', "%02d", t->tm_hour)
        CASE('h', "%.3s", months[t->tm_mon])
        CASE('I', "%02d", hour)
        CASE('j', "%03d", t->tm_yday + 1)
        CASE('M', "%02d", t->tm_min)
        CASE('m', "%02d", t->tm_mon + 1)
        CASE('p', "%s", t->tm_hour < 12 ? "AM" : "PM")
        CASE('R', "%02d:%02d", t->tm_hour, t->tm_min)
        CASE('S', "%02d", t->tm_sec)
        CASE('T', "%02d:%02d:%02d", t->tm_hour, t->tm_min, t->tm_sec)
        CASE('u', "%d", t->tm_wday ? t->tm_wday : 7)
        CASE('w', "%d", t->tm_wday)
        CASE('Y', "%d", t->tm_year + 1900)
        CASE('y', "%02d", t->tm_year % 100)
#undef CASE
    default:
        return false;
    }
    jinja_puts(run, text);
    return true;
}

GLOBAL(strftime_now) {
    (void)given;
    struct jinja_value format = a[1];
    time_t seconds = (time_t)run->input->now;
    struct tm now;
    if (format.type != JINJA_STRING) return jinja_fail(run, OPSM_INVALID, "strftime_now: expected a text");
    if (!gmtime_r(&seconds, &now) || now.tm_year < -900 || now.tm_year > 8099)
        return jinja_fail(run, OPSM_INVALID, "strftime_now: the time is outside the years 1000 to 9999");
    size_t mark = run->out.length, plain = 0;
    for (size_t i = 0; i < format.length && run->status == OPSM_OK; i++) {
        if (format.text[i] != '%') continue;
        jinja_put_value(run, format, plain, i);
        bool bare = i + 2 < format.length && format.text[i + 1] == '-'; /* without zeros in front */
        size_t before = run->out.length;
        i += bare ? 2 : 1;
        if (i >= format.length || !put_time(run, &now, format.text[i]))
            return jinja_fail(run, OPSM_INVALID, "strftime_now: a directive that is not known here");
        plain = i + 1;
        size_t zeros = 0;
        while (bare && before + zeros + 1 < run->out.length && run->out.data[before + zeros] == '0') zeros++;
        struct jinja_value digits = jinja_take(run, before + zeros);
        run->out.length = before;
        jinja_put_value(run, digits, 0, digits.length);
    }
    jinja_put_value(run, format, plain, format.length);
    return jinja_take(run, mark);
}
