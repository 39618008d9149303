/* SPDX-License-Identifier: Apache-2.0
 *
 * Filters over lists, dicts and what else has elements.
 */
#include "text/jinja_builtin.h"
#include <string.h>

#define FILTER(name)                                                                                                   \
    struct jinja_value jinja_filter_##name(struct jinja_run *run, const struct jinja_value *a,                         \
                                           const struct jinja_arguments *given)

static struct jinja_value pick_one(struct jinja_run *run, struct jinja_value value, struct jinja_value key,
                                   struct jinja_value fallback) {
    if (!jinja_spend(run, 1)) return fallback;
    value = jinja_subscript(run, value, key);
    return value.type == JINJA_UNDEFINED && jinja_given(fallback) ? fallback : value;
}

struct jinja_value jinja_pick(struct jinja_run *run, struct jinja_value value, struct jinja_value attribute,
                              struct jinja_value fallback) {
    if (attribute.type != JINJA_STRING)
        return jinja_given(attribute) ? pick_one(run, value, attribute, fallback) : value;
    for (size_t from = 0; from <= attribute.length && run->status == OPSM_OK;) {
        const char *dot = memchr(attribute.text + from, '.', attribute.length - from);
        size_t to = dot ? (size_t)(dot - attribute.text) : attribute.length;
        struct jinja_value part = jinja_substring(attribute, from, to);
        int64_t index = 0;
        bool digits = part.length > 0 && part.length < 10;
        for (uint32_t i = 0; i < part.length && digits; i++) {
            digits = part.text[i] >= '0' && part.text[i] <= '9';
            if (digits) index = index * 10 + (part.text[i] - '0');
        }
        value = pick_one(run, value, digits ? jinja_int(index) : part, fallback);
        from = to + 1;
    }
    return value;
}

struct jinja_value jinja_folded(struct jinja_run *run, struct jinja_value value, bool case_sensitive) {
    return value.type == JINJA_STRING && !case_sensitive ? jinja_case(run, value, JINJA_LOWER) : value;
}

FILTER(default) {
    (void)given;
    (void)run;
    bool missing = a[0].type == JINJA_UNDEFINED || (jinja_truth(a[2]) && !jinja_truth(a[0]));
    if (!missing) return a[0];
    return a[1].type == JINJA_MISSING ? jinja_trusted("") : a[1];
}

FILTER(attr) {
    (void)given;
    struct jinja_value name = jinja_str(run, a[1]);
    struct jinja_value found = jinja_method(run, a[0], name);
    return found.type == JINJA_MISSING ? jinja_undefined(name.text, name.length, jinja_type_name(a[0])) : found;
}

FILTER(length) {
    (void)given;
    if (a[0].type == JINJA_UNDEFINED) return jinja_int(0);
    if (a[0].type == JINJA_DICT) return jinja_int(a[0].dict->count);
    if (a[0].type == JINJA_LOOP) return jinja_int(a[0].loop->length);
    if (jinja_is_listed(a[0])) return jinja_int(a[0].length);
    if (a[0].type != JINJA_STRING)
        return jinja_fail(run, OPSM_INVALID, "a value of the type %s has no length", jinja_type_name(a[0]));
    jinja_spend(run, a[0].length / 64);
    return jinja_int((int64_t)jinja_count_codes(a[0].text, a[0].length));
}

FILTER(list) {
    (void)given;
    return jinja_iterate(run, a[0]);
}

FILTER(first) {
    (void)given;
    struct jinja_value list = jinja_sequence(JINJA_LIST, NULL, 0);
    if (a[0].type == JINJA_GENERATOR) {
        struct jinja_generator *generator = a[0].generator;
        if (generator->next < generator->length) return generator->items[generator->next++];
    } else {
        list = jinja_iterate(run, a[0]);
    }
    return list.length ? list.items[0] : jinja_undefined("first", 5, NULL);
}

FILTER(last) {
    (void)given;
    if (a[0].type == JINJA_GENERATOR) return jinja_fail(run, OPSM_INVALID, "a generator has no last element");
    struct jinja_value list = jinja_iterate(run, a[0]);
    return list.length ? list.items[list.length - 1] : jinja_undefined("last", 4, NULL);
}

FILTER(reverse) {
    (void)given;
    if (a[0].type == JINJA_STRING) {
        const struct jinja_value back[3] = {jinja_none(), jinja_none(), jinja_int(-1)};
        return jinja_slice(run, a[0], back);
    }
    struct jinja_value list = jinja_iterate(run, a[0]);
    struct jinja_value *items = jinja_spend(run, list.length / 8) ? jinja_alloc(run, list.length, sizeof *items) : NULL;
    for (uint32_t i = 0; items && i < list.length; i++) items[i] = list.items[list.length - 1 - i];
    bool again = a[0].type == JINJA_GENERATOR;
    return again ? jinja_sequence(JINJA_LIST, items, list.length) : jinja_generate(run, items, items ? list.length : 0);
}

FILTER(items) {
    if (a[0].type == JINJA_UNDEFINED) return jinja_generate(run, NULL, 0);
    if (a[0].type != JINJA_DICT)
        return jinja_fail(run, OPSM_INVALID, "items: a value of the type %s is no mapping", jinja_type_name(a[0]));
    struct jinja_value view = jinja_method_items(run, a, given);
    return jinja_generate(run, view.items, view.length);
}

/* A generator over what has elements, with room for them. */
static struct jinja_value *room_for(struct jinja_run *run, struct jinja_value list) {
    return jinja_spend(run, list.length) ? jinja_alloc(run, (size_t)list.length + 1, sizeof list) : NULL;
}

FILTER(join) {
    (void)given;
    struct jinja_value list = jinja_iterate(run, a[0]), *items = (struct jinja_value *)list.items;
    if (jinja_given(a[2])) {
        items = room_for(run, list);
        for (uint32_t i = 0; items && i < list.length; i++)
            items[i] = jinja_pick(run, list.items[i], a[2], jinja_none());
    }
    struct jinja_value separator = a[1].type == JINJA_MISSING ? jinja_trusted("") : jinja_str(run, a[1]);
    return jinja_join(run, separator, jinja_sequence(JINJA_LIST, items, list.length));
}

FILTER(batch) {
    (void)given;
    struct jinja_value list = jinja_iterate(run, a[0]), *rows = room_for(run, list);
    int64_t width;
    if (!jinja_whole(run, a[1], &width) || !rows) return jinja_none();
    if (width < 1 || width > 100000) return jinja_fail(run, OPSM_INVALID, "batch: expected a size from 1 to 100000");
    size_t count = 0;
    for (size_t from = 0; from < list.length; from += (size_t)width, count++) {
        size_t left = list.length - from, n = left < (size_t)width ? left : (size_t)width;
        rows[count] = jinja_sequence(JINJA_LIST, list.items + from, n);
        if (n == (size_t)width || !jinja_given(a[2])) continue;
        struct jinja_value *filled = jinja_alloc(run, (size_t)width, sizeof *filled);
        for (size_t i = 0; filled && i < (size_t)width; i++) filled[i] = i < n ? list.items[from + i] : a[2];
        rows[count] = jinja_sequence(JINJA_LIST, filled, (size_t)width);
    }
    return jinja_generate(run, rows, count);
}

/* ---- order ------------------------------------------------------------------------------------------------------- */

/* Pairs of what is compared and the element itself. */
static struct jinja_pair *with_keys(struct jinja_run *run, struct jinja_value list, bool case_sensitive,
                                    struct jinja_value attribute) {
    struct jinja_pair *pairs = jinja_spend(run, list.length) ? jinja_alloc(run, list.length, sizeof *pairs) : NULL;
    for (uint32_t i = 0; pairs && i < list.length && run->status == OPSM_OK; i++) {
        pairs[i].key = jinja_folded(run, jinja_pick(run, list.items[i], attribute, jinja_none()), case_sensitive);
        pairs[i].value = list.items[i];
    }
    return pairs;
}

static int rising(struct jinja_run *run, const void *a, const void *b) {
    return jinja_order(run, ((const struct jinja_pair *)a)->key, ((const struct jinja_pair *)b)->key);
}

static int falling(struct jinja_run *run, const void *a, const void *b) {
    return rising(run, b, a);
}

static struct jinja_value sorted(struct jinja_run *run, const struct jinja_pair *pairs, size_t count, bool reverse) {
    if (pairs) pairs = jinja_sorted(run, pairs, count, sizeof *pairs, reverse ? falling : rising);
    struct jinja_value *items = pairs ? jinja_alloc(run, count, sizeof *items) : NULL;
    for (size_t i = 0; items && i < count; i++) items[i] = pairs[i].value;
    return jinja_sequence(JINJA_LIST, items, count);
}

FILTER(sort) {
    (void)given;
    struct jinja_value list = jinja_iterate(run, a[0]);
    return sorted(run, with_keys(run, list, jinja_truth(a[2]), a[3]), list.length, jinja_truth(a[1]));
}

FILTER(dictsort) {
    bool by_value = jinja_is_text(a[2], "value");
    if (a[0].type != JINJA_DICT) return jinja_fail(run, OPSM_INVALID, "dictsort: expected a mapping");
    if (a[2].type != JINJA_MISSING && !by_value && !jinja_is_text(a[2], "key"))
        return jinja_fail(run, OPSM_INVALID, "dictsort: by is key or value");
    struct jinja_value view = jinja_method_items(run, a, given);
    return sorted(run, with_keys(run, view, jinja_truth(a[1]), jinja_int(by_value)), view.length, jinja_truth(a[3]));
}

FILTER(unique) {
    (void)given;
    struct jinja_value list = jinja_iterate(run, a[0]), *items = room_for(run, list);
    const struct jinja_pair *pairs = with_keys(run, list, jinja_truth(a[1]), a[2]);
    struct jinja_value seen = jinja_new_dict(run, JINJA_DICT, (size_t)list.length + 1);
    size_t count = 0;
    for (uint32_t i = 0; run->status == OPSM_OK && i < list.length; i++) {
        uint32_t before = seen.dict->count;
        jinja_set(run, seen.dict, pairs[i].key, jinja_none());
        if (seen.dict->count > before) items[count++] = pairs[i].value;
    }
    return jinja_generate(run, items, count);
}

static struct jinja_value extreme(struct jinja_run *run, const struct jinja_value *a, int sign) {
    struct jinja_value list = jinja_iterate(run, a[0]);
    const struct jinja_pair *pairs = with_keys(run, list, jinja_truth(a[1]), a[2]);
    if (list.length == 0) return jinja_undefined("element of an empty sequence", 28, NULL);
    uint32_t best = 0;
    for (uint32_t i = 1; pairs && i < list.length && run->status == OPSM_OK; i++)
        if (jinja_order(run, pairs[i].key, pairs[best].key) == sign) best = i;
    return pairs ? pairs[best].value : jinja_none();
}

FILTER(min) {
    (void)given;
    return extreme(run, a, -1);
}

FILTER(max) {
    (void)given;
    return extreme(run, a, 1);
}

FILTER(sum) {
    (void)given;
    struct jinja_value list = jinja_iterate(run, a[0]), total = a[2].type == JINJA_MISSING ? jinja_int(0) : a[2];
    if (total.type == JINJA_STRING) return jinja_fail(run, OPSM_INVALID, "sum is for numbers, not for texts");
    for (uint32_t i = 0; i < list.length && run->status == OPSM_OK; i++)
        total = jinja_binary(run, OP_ADD, total, jinja_pick(run, list.items[i], a[1], jinja_none()));
    return total;
}

/* ---- filters and tests over every element ------------------------------------------------------------------------ */

static struct jinja_arguments behind(const struct jinja_arguments *given, uint32_t skip) {
    struct jinja_arguments rest = *given;
    rest.items += skip;
    rest.count -= skip;
    return rest;
}

FILTER(map) {
    if (!jinja_truth(a[0])) return jinja_generate(run, NULL, 0);
    struct jinja_value list = jinja_iterate(run, a[0]), *items = room_for(run, list), attribute = {0}, fallback = {0};
    const struct jinja_builtin *filter = NULL;
    struct jinja_arguments rest = *given;
    for (uint32_t i = 0; i < given->n_keywords && given->count == 0; i++) {
        if (jinja_is_text(given->keywords[i].name, "attribute")) attribute = given->keywords[i].value;
        if (jinja_is_text(given->keywords[i].name, "default")) fallback = given->keywords[i].value;
    }
    if (given->count > 0) {
        if (given->items[0].type == JINJA_STRING)
            filter = run->find_filter(given->items[0].text, given->items[0].length);
        rest = behind(given, 1);
    }
    if (!filter && attribute.type == JINJA_MISSING)
        return jinja_fail(run, OPSM_INVALID, "map: expected the name of a filter, or attribute=");
    for (uint32_t i = 0; items && i < list.length && run->status == OPSM_OK; i++) {
        items[i] = filter ? jinja_call_builtin(run, filter, list.items[i], &rest)
                          : jinja_pick(run, list.items[i], attribute, fallback);
    }
    return jinja_generate(run, items, list.length);
}

/* The elements of which the test (or their truth) is as `wanted`. */
static struct jinja_value choose(struct jinja_run *run, struct jinja_value value, const struct jinja_arguments *given,
                                 bool wanted, bool by_attribute) {
    if (!jinja_truth(value)) return jinja_generate(run, NULL, 0);
    struct jinja_value list = jinja_iterate(run, value), *items = room_for(run, list), attribute = {0};
    const struct jinja_builtin *test = NULL;
    uint32_t skip = by_attribute;
    if (by_attribute && given->count == 0) return jinja_fail(run, OPSM_INVALID, "expected the name of an attribute");
    if (by_attribute) attribute = given->items[0];
    struct jinja_arguments rest = *given;
    if (given->count > skip) {
        struct jinja_value name = given->items[skip];
        if (name.type == JINJA_STRING) test = run->find_test(name.text, name.length);
        if (!test) return jinja_fail(run, OPSM_INVALID, "expected the name of a test");
        rest = behind(given, skip + 1);
    }
    size_t count = 0;
    for (uint32_t i = 0; items && i < list.length && run->status == OPSM_OK; i++) {
        struct jinja_value of = jinja_pick(run, list.items[i], attribute, jinja_none());
        bool truth = jinja_truth(test ? jinja_call_builtin(run, test, of, &rest) : of);
        if (truth == wanted) items[count++] = list.items[i];
    }
    return jinja_generate(run, items, count);
}

FILTER(select) {
    return choose(run, a[0], given, true, false);
}

FILTER(reject) {
    return choose(run, a[0], given, false, false);
}

FILTER(selectattr) {
    return choose(run, a[0], given, true, true);
}

FILTER(rejectattr) {
    return choose(run, a[0], given, false, true);
}
