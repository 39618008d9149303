/* SPDX-License-Identifier: Apache-2.0
 *
 * Methods of str, dict, list and loop. The subject is a[0], parameters by the names in jinja_builtin.h follow.
 */
#include "text/jinja_builtin.h"
#include "text/unicode.h"
#include <string.h>

#define METHOD(name)                                                                                                   \
    struct jinja_value jinja_method_##name(struct jinja_run *run, const struct jinja_value *a,                         \
                                           const struct jinja_arguments *given)

/* ---- texts ------------------------------------------------------------------------------------------------------- */

static bool is_text(struct jinja_run *run, struct jinja_value value) {
    if (value.type == JINJA_STRING) return true;
    jinja_fail(run, OPSM_INVALID, "expected a text, found a value of the type %s", jinja_type_name(value));
    return false;
}

#define CASE_METHOD(name, to)                                                                                          \
    METHOD(name) {                                                                                                     \
        (void)given;                                                                                                   \
        return jinja_case(run, a[0], to);                                                                              \
    }
CASE_METHOD(capitalize, JINJA_CAPITAL)
CASE_METHOD(lower, JINJA_LOWER)
CASE_METHOD(title, JINJA_TITLE)
CASE_METHOD(upper, JINJA_UPPER)

static struct jinja_value strip(struct jinja_run *run, const struct jinja_value *a, bool left, bool right) {
    if (jinja_given(a[1]) && !is_text(run, a[1])) return jinja_none();
    return jinja_strip(run, a[0], a[1], left, right);
}

METHOD(strip) {
    (void)given;
    return strip(run, a, true, true);
}

METHOD(lstrip) {
    (void)given;
    return strip(run, a, true, false);
}

METHOD(rstrip) {
    (void)given;
    return strip(run, a, false, true);
}

METHOD(replace) {
    (void)given;
    int64_t count = -1;
    if (!is_text(run, a[1]) || !is_text(run, a[2])) return jinja_none();
    if (a[3].type != JINJA_MISSING && !jinja_whole(run, a[3], &count)) return jinja_none();
    return jinja_replace(run, a[0], a[1], a[2], count);
}

METHOD(join) {
    (void)given;
    struct jinja_value list = jinja_iterate(run, a[1]);
    for (uint32_t i = 0; i < list.length; i++)
        if (!is_text(run, list.items[i])) return jinja_none();
    return jinja_join(run, a[0], list);
}

METHOD(splitlines) {
    (void)given;
    return jinja_lines(run, a[0], jinja_truth(a[1]));
}

METHOD(format) {
    return jinja_format(run, a[0], given);
}

/* From the left: pieces between separators (white space of any length without one). */
static size_t cut_left(struct jinja_run *run, struct jinja_value text, struct jinja_value separator, int64_t most,
                       struct jinja_value *out) {
    size_t count = 0, from = 0;
    bool blanks = separator.type != JINJA_STRING;
    if (blanks) from = jinja_leading_space(text.text, text.length);
    while (run->status == OPSM_OK && (most < 0 || (int64_t)count < most)) {
        size_t to = from, next;
        if (blanks) {
            while (to < text.length && !jinja_leading_space(text.text + to, text.length - to)) to++;
            next = to + jinja_leading_space(text.text + to, text.length - to);
            if (to == text.length) break;
        } else {
            to = jinja_search(run, text, separator, from, text.length, false);
            if (to == SIZE_MAX) break;
            next = to + separator.length;
        }
        if (out) out[count] = jinja_substring(text, from, to);
        count++;
        from = next;
    }
    if (blanks && from >= text.length) return count;
    if (out) out[count] = jinja_substring(text, from, text.length);
    return count + 1;
}

/* From the right; the pieces come out last first. */
static size_t cut_right(struct jinja_run *run, struct jinja_value text, struct jinja_value separator, int64_t most,
                        struct jinja_value *out) {
    size_t count = 0, to = text.length;
    bool blanks = separator.type != JINJA_STRING;
    if (blanks) to -= jinja_trailing_space(text.text, to);
    while (run->status == OPSM_OK && (most < 0 || (int64_t)count < most)) {
        size_t from = to, next;
        if (blanks) {
            while (from > 0 && !jinja_trailing_space(text.text, from)) from--;
            next = from - jinja_trailing_space(text.text, from);
            if (from == 0) break;
        } else {
            next = jinja_search(run, text, separator, 0, to, true);
            if (next == SIZE_MAX) break;
            from = next + separator.length;
        }
        if (out) out[count] = jinja_substring(text, from, to);
        count++;
        to = next;
    }
    if (blanks && to == 0) return count;
    if (out) out[count] = jinja_substring(text, 0, to);
    return count + 1;
}

static struct jinja_value split(struct jinja_run *run, const struct jinja_value *a, bool right) {
    int64_t most = -1;
    if (jinja_given(a[1]) && !is_text(run, a[1])) return jinja_none();
    if (a[2].type != JINJA_MISSING && !jinja_whole(run, a[2], &most)) return jinja_none();
    if (a[1].type == JINJA_STRING && a[1].length == 0) return jinja_fail(run, OPSM_INVALID, "an empty separator");
    size_t (*cut)(struct jinja_run *, struct jinja_value, struct jinja_value, int64_t, struct jinja_value *) =
        right ? cut_right : cut_left;
    size_t count = jinja_spend(run, a[0].length / 4) ? cut(run, a[0], a[1], most, NULL) : 0;
    struct jinja_value *items = jinja_spend(run, count / 8) ? jinja_alloc(run, count, sizeof *items) : NULL;
    if (items) cut(run, a[0], a[1], most, items);
    for (size_t i = 0; items && right && i < count / 2; i++) {
        struct jinja_value swap = items[i];
        items[i] = items[count - 1 - i];
        items[count - 1 - i] = swap;
    }
    return jinja_sequence(JINJA_LIST, items, count);
}

METHOD(split) {
    (void)given;
    return split(run, a, false);
}

METHOD(rsplit) {
    (void)given;
    return split(run, a, true);
}

static struct jinja_value partition(struct jinja_run *run, const struct jinja_value *a, bool right) {
    if (!is_text(run, a[1])) return jinja_none();
    if (a[1].length == 0) return jinja_fail(run, OPSM_INVALID, "an empty separator");
    size_t at = jinja_search(run, a[0], a[1], 0, a[0].length, right);
    struct jinja_value *parts = jinja_alloc(run, 3, sizeof *parts);
    if (!parts) return jinja_none();
    parts[0] = parts[1] = parts[2] = jinja_trusted("");
    if (at == SIZE_MAX) {
        parts[right ? 2 : 0] = a[0];
    } else {
        parts[0] = jinja_substring(a[0], 0, at);
        parts[1] = a[1];
        parts[2] = jinja_substring(a[0], at + a[1].length, a[0].length);
    }
    return jinja_sequence(JINJA_TUPLE, parts, 3);
}

METHOD(partition) {
    (void)given;
    return partition(run, a, false);
}

METHOD(rpartition) {
    (void)given;
    return partition(run, a, true);
}

/* The bytes of text[start:end]; false when start is behind the end of the text. */
static bool bounds(struct jinja_run *run, const struct jinja_value *a, size_t *from, size_t *to) {
    const struct jinja_value slice[3] = {a[2], a[3], jinja_none()};
    *from = 0;
    *to = a[0].length;
    if (!jinja_given(a[2]) && !jinja_given(a[3])) return true;
    struct jinja_value part = jinja_slice(run, a[0], slice);
    if (run->status != OPSM_OK) return false;
    int64_t start = jinja_given(a[2]) ? a[2].integer : 0;
    if (part.length == 0) { /* an empty part has a place all the same */
        size_t codes = jinja_count_codes(a[0].text, a[0].length);
        if (start > (int64_t)codes) return false;
        *from = *to = start < 0 ? 0 : jinja_offset(a[0], (size_t)start);
        return true;
    }
    *from = (size_t)(part.text - a[0].text);
    *to = *from + part.length;
    return true;
}

static struct jinja_value find(struct jinja_run *run, const struct jinja_value *a, bool last, bool must) {
    size_t from, to, at = SIZE_MAX;
    if (!is_text(run, a[1])) return jinja_none();
    if (bounds(run, a, &from, &to)) at = jinja_search(run, a[0], a[1], from, to, last);
    if (at != SIZE_MAX) return jinja_int((int64_t)jinja_count_codes(a[0].text, at));
    return must ? jinja_fail(run, OPSM_INVALID, "the text to find does not occur") : jinja_int(-1);
}

METHOD(find) {
    (void)given;
    return find(run, a, false, false);
}

METHOD(rfind) {
    (void)given;
    return find(run, a, true, false);
}

METHOD(index) {
    (void)given;
    return find(run, a, false, true);
}

METHOD(rindex) {
    (void)given;
    return find(run, a, true, true);
}

METHOD(count) {
    (void)given;
    size_t from, to;
    int64_t count = 0;
    if (!is_text(run, a[1]) || !bounds(run, a, &from, &to)) return jinja_int(0);
    jinja_spend(run, a[0].length / 64);
    if (a[1].length == 0) return jinja_int((int64_t)jinja_count_codes(a[0].text + from, to - from) + 1);
    for (; (from = jinja_search(run, a[0], a[1], from, to, false)) != SIZE_MAX && jinja_spend(run, 1); count++)
        from += a[1].length;
    return jinja_int(count);
}

static struct jinja_value affix(struct jinja_run *run, const struct jinja_value *a, bool end) {
    size_t from, to;
    struct jinja_value one = a[1], list = jinja_sequence(JINJA_LIST, &one, 1);
    if (a[1].type == JINJA_TUPLE) list = a[1];
    bool inside = bounds(run, a, &from, &to);
    for (uint32_t i = 0; i < list.length; i++) {
        struct jinja_value part = list.items[i];
        if (!is_text(run, part)) return jinja_none();
        if (!inside || part.length > to - from) continue;
        size_t at = end ? to - part.length : from;
        if (jinja_search(run, a[0], part, at, at + part.length, false) != SIZE_MAX) return jinja_bool(true);
    }
    return jinja_bool(false);
}

METHOD(startswith) {
    (void)given;
    return affix(run, a, false);
}

METHOD(endswith) {
    (void)given;
    return affix(run, a, true);
}

static struct jinja_value without(struct jinja_run *run, const struct jinja_value *a, bool end) {
    const struct jinja_value whole[4] = {a[0], a[1]};
    if (!is_text(run, a[1]) || !jinja_truth(affix(run, whole, end)) || run->status != OPSM_OK) return a[0];
    size_t left = a[0].length - a[1].length;
    return end ? jinja_substring(a[0], 0, left) : jinja_substring(a[0], a[1].length, a[0].length);
}

METHOD(removeprefix) {
    (void)given;
    return without(run, a, false);
}

METHOD(removesuffix) {
    (void)given;
    return without(run, a, true);
}

static void put_times(struct jinja_run *run, struct jinja_value text, int64_t times) {
    for (; times > 0 && jinja_spend(run, 1); times--) jinja_put_value(run, text, 0, text.length);
}

enum place { PAD_LEFT, PAD_RIGHT, PAD_BOTH };

static struct jinja_value pad(struct jinja_run *run, const struct jinja_value *a, enum place place) {
    int64_t width;
    struct jinja_value fill = a[2].type == JINJA_MISSING ? jinja_trusted(" ") : a[2];
    if (!jinja_whole(run, a[1], &width) || !is_text(run, fill)) return jinja_none();
    if (jinja_count_codes(fill.text, fill.length) != 1) return jinja_fail(run, OPSM_INVALID, "expected one character");
    size_t mark = run->out.length;
    int64_t length = (int64_t)jinja_count_codes(a[0].text, a[0].length), more = width > length ? width - length : 0;
    int64_t left = place == PAD_LEFT ? more : place == PAD_RIGHT ? 0 : more / 2 + (more & width & 1);
    put_times(run, fill, left);
    jinja_put_value(run, a[0], 0, a[0].length);
    put_times(run, fill, more - left);
    return jinja_take(run, mark);
}

METHOD(center) {
    (void)given;
    return pad(run, a, PAD_BOTH);
}

METHOD(ljust) {
    (void)given;
    return pad(run, a, PAD_RIGHT);
}

METHOD(rjust) {
    (void)given;
    return pad(run, a, PAD_LEFT);
}

METHOD(zfill) {
    (void)given;
    bool sign = a[0].length > 0 && strchr("+-", a[0].text[0]) != NULL;
    int64_t width;
    if (!jinja_whole(run, a[1], &width)) return jinja_none();
    const struct jinja_value rest[3] = {jinja_substring(a[0], sign, a[0].length),
                                        jinja_int(width > 0 ? width - sign : 0), jinja_trusted("0")};
    struct jinja_value padded = pad(run, rest, PAD_LEFT);
    size_t mark = run->out.length;
    jinja_put_value(run, a[0], 0, sign);
    jinja_put_value(run, padded, 0, padded.length);
    return jinja_take(run, mark);
}

/* ---- kinds of characters ----------------------------------------------------------------------------------------- */

static struct jinja_value all_are(struct jinja_run *run, struct jinja_value text, unsigned classes) {
    size_t n;
    for (size_t at = 0; at < text.length && jinja_spend(run, 1); at += n) {
        uint32_t code;
        n = utf8_decode((const uint8_t *)text.text + at, text.length - at, &code);
        if (n == 0) n = 1, code = 0;
        bool separator = code >= 0x1c && code <= 0x1f && (classes >> CHAR_SPACE & 1);
        if (!(classes >> unicode_class(code) & 1) && !separator) return jinja_bool(false);
    }
    return jinja_bool(text.length > 0);
}

METHOD(isalpha) {
    (void)given;
    return all_are(run, a[0], 1u << CHAR_LETTER);
}

METHOD(isdigit) {
    (void)given;
    return all_are(run, a[0], 1u << CHAR_NUMBER);
}

METHOD(isalnum) {
    (void)given;
    return all_are(run, a[0], 1u << CHAR_LETTER | 1u << CHAR_NUMBER);
}

METHOD(isspace) {
    (void)given;
    return all_are(run, a[0], 1u << CHAR_SPACE);
}

METHOD(islower) {
    (void)given;
    return jinja_bool(jinja_has_case(run, a[0], false));
}

METHOD(isupper) {
    (void)given;
    return jinja_bool(jinja_has_case(run, a[0], true));
}

/* ---- dicts, lists, loops ----------------------------------------------------------------------------------------- */

METHOD(get) {
    (void)given;
    const struct jinja_value *found = jinja_find(run, a[0].dict, a[1]);
    if (found) return *found;
    return a[2].type == JINJA_MISSING ? jinja_none() : a[2];
}

static struct jinja_value view(struct jinja_run *run, struct jinja_value dict, const char *name) {
    uint32_t count = dict.dict->count;
    bool both = !strcmp(name, "dict_items"), keys = !strcmp(name, "dict_keys");
    struct jinja_value *items = jinja_spend(run, count) ? jinja_alloc(run, count, sizeof *items) : NULL;
    for (uint32_t i = 0; items && i < count; i++) {
        const struct jinja_pair *pair = &dict.dict->pairs[i];
        items[i] = both ? jinja_sequence(JINJA_TUPLE, pair->both, 2) : keys ? pair->key : pair->value;
    }
    struct jinja_value list = jinja_sequence(JINJA_VIEW, items, count);
    list.view = name;
    return list;
}

METHOD(items) {
    (void)given;
    return view(run, a[0], "dict_items");
}

METHOD(keys) {
    (void)given;
    return view(run, a[0], "dict_keys");
}

METHOD(values) {
    (void)given;
    return view(run, a[0], "dict_values");
}

METHOD(copy) {
    (void)given;
    (void)run;
    return a[0]; /* nothing changes it */
}

METHOD(list_index) {
    (void)given;
    for (uint32_t i = 0; i < a[0].length && run->status == OPSM_OK; i++)
        if (jinja_equal(run, a[0].items[i], a[1])) return jinja_int(i);
    return jinja_fail(run, OPSM_INVALID, "the value is not in the list");
}

METHOD(list_count) {
    (void)given;
    int64_t count = 0;
    for (uint32_t i = 0; i < a[0].length && run->status == OPSM_OK; i++) count += jinja_equal(run, a[0].items[i], a[1]);
    return jinja_int(count);
}

METHOD(cycle) {
    if (given->count == 0) return jinja_fail(run, OPSM_INVALID, "cycle: expected at least one value");
    return given->items[a[0].loop->index % given->count];
}

METHOD(changed) {
    struct jinja_loop *loop = a[0].loop;
    struct jinja_value *now = jinja_alloc(run, 1, sizeof *now);
    if (!now) return jinja_none();
    *now = jinja_sequence(JINJA_TUPLE, given->items, given->count);
    bool same = loop->changed && jinja_equal(run, *loop->changed, *now);
    loop->changed = now;
    return jinja_bool(!same);
}
