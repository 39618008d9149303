/* SPDX-License-Identifier: Apache-2.0
 *
 * Values in values: compared, looked up, iterated over and cut as Python does it.
 */
#include "text/jinja_string.h"
#include <math.h>
#include <string.h>

/* ---- making ------------------------------------------------------------------------------------------------------ */

struct jinja_value jinja_generate(struct jinja_run *run, const struct jinja_value *items, size_t count) {
    struct jinja_generator *generator = jinja_alloc(run, 1, sizeof *generator);
    if (!generator) return jinja_none();
    *generator = (struct jinja_generator){.items = items, .length = (uint32_t)count};
    return (struct jinja_value){.type = JINJA_GENERATOR, .generator = generator};
}

struct jinja_value jinja_new_dict(struct jinja_run *run, enum jinja_type type, size_t room) {
    struct jinja_dict *dict = jinja_alloc(run, 1, sizeof *dict);
    if (dict) dict->pairs = jinja_alloc(run, room, sizeof *dict->pairs);
    if (!dict || !dict->pairs) return jinja_none();
    dict->room = (uint32_t)room;
    return (struct jinja_value){.type = type, .dict = dict};
}

bool jinja_whole(struct jinja_run *run, struct jinja_value value, int64_t *number) {
    *number = value.type == JINJA_BOOL ? value.truth : value.integer;
    if (value.type == JINJA_INT || value.type == JINJA_BOOL) return true;
    jinja_fail(run, OPSM_INVALID, "expected an integer, found a value of the type %s", jinja_type_name(value));
    return false;
}

/* ---- comparing --------------------------------------------------------------------------------------------------- */

enum { UNORDERED = 2 };

static int order_numbers(struct jinja_value a, struct jinja_value b) {
    if (a.type != JINJA_FLOAT && b.type != JINJA_FLOAT) {
        int64_t x = a.type == JINJA_BOOL ? a.truth : a.integer, y = b.type == JINJA_BOOL ? b.truth : b.integer;
        return (x > y) - (x < y);
    }
    double x = jinja_as_double(a), y = jinja_as_double(b);
    return isnan(x) || isnan(y) ? UNORDERED : (x > y) - (x < y);
}

static bool equal_strings(struct jinja_value a, struct jinja_value b) {
    return a.length == b.length && memcmp(a.text, b.text, a.length) == 0;
}

static bool equal_items(struct jinja_run *run, struct jinja_value a, struct jinja_value b) {
    if (a.length != b.length) return false;
    for (uint32_t i = 0; i < a.length; i++)
        if (!jinja_equal(run, a.items[i], b.items[i])) return false;
    return true;
}

static bool equal_dicts(struct jinja_run *run, const struct jinja_dict *a, const struct jinja_dict *b) {
    if (a->count != b->count) return false;
    for (uint32_t i = 0; i < a->count; i++) {
        const struct jinja_value *other = jinja_find(run, b, a->pairs[i].key);
        if (!other || !jinja_equal(run, a->pairs[i].value, *other)) return false;
    }
    return true;
}

static bool equal_inside(struct jinja_run *run, struct jinja_value a, struct jinja_value b) {
    if (jinja_is_number(a) && jinja_is_number(b)) return order_numbers(a, b) == 0;
    if (a.type != b.type) return false;
    switch (a.type) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return true;
    case JINJA_STRING:
        return jinja_spend(run, a.length / 64) && equal_strings(a, b);
    case JINJA_LIST:
    case JINJA_TUPLE:
        return equal_items(run, a, b);
    case JINJA_VIEW:
        return a.items == b.items && a.length == b.length;
    case JINJA_DICT:
        return equal_dicts(run, a.dict, b.dict);
    case JINJA_NAMESPACE:
        return a.dict == b.dict;
    case JINJA_GENERATOR:
        return a.generator == b.generator;
    case JINJA_LOOP:
        return a.loop == b.loop;
    case JINJA_FUNCTION:
        return a.function == b.function;
    default:
        return false;
    }
}

bool jinja_equal(struct jinja_run *run, struct jinja_value a, struct jinja_value b) {
    bool equal = jinja_spend(run, 1) && jinja_enter(run) && equal_inside(run, a, b);
    jinja_leave(run);
    return equal && run->status == OPSM_OK;
}

static int order_items(struct jinja_run *run, struct jinja_value a, struct jinja_value b) {
    for (uint32_t i = 0; i < a.length && i < b.length && run->status == OPSM_OK; i++)
        if (!jinja_equal(run, a.items[i], b.items[i])) return jinja_order(run, a.items[i], b.items[i]);
    return (a.length > b.length) - (a.length < b.length);
}

int jinja_order(struct jinja_run *run, struct jinja_value a, struct jinja_value b) {
    int order = UNORDERED;
    if (!jinja_spend(run, 1) || !jinja_enter(run)) {
        jinja_leave(run);
        return UNORDERED;
    }
    if (jinja_is_number(a) && jinja_is_number(b)) {
        order = order_numbers(a, b);
    } else if (a.type == JINJA_STRING && b.type == JINJA_STRING) {
        uint32_t shorter = a.length < b.length ? a.length : b.length;
        jinja_spend(run, shorter / 64);
        int bytes = memcmp(a.text, b.text, shorter);
        order = bytes ? (bytes > 0) - (bytes < 0) : (a.length > b.length) - (a.length < b.length);
    } else if (a.type == b.type && (a.type == JINJA_LIST || a.type == JINJA_TUPLE)) {
        order = order_items(run, a, b);
    } else {
        jinja_fail(run, OPSM_INVALID, "values of the types %s and %s have no order", jinja_type_name(a),
                   jinja_type_name(b));
    }
    jinja_leave(run);
    return order;
}

static struct jinja_value not_iterable(struct jinja_run *run, struct jinja_value value) {
    jinja_fail(run, OPSM_INVALID, "a value of the type %s cannot be iterated over", jinja_type_name(value));
    return jinja_sequence(JINJA_LIST, NULL, 0);
}

bool jinja_contains(struct jinja_run *run, struct jinja_value whole, struct jinja_value part) {
    if (whole.type == JINJA_STRING) {
        if (part.type == JINJA_STRING) return jinja_search(run, whole, part, 0, whole.length, false) != SIZE_MAX;
        jinja_fail(run, OPSM_INVALID, "a value of the type %s cannot be in a string", jinja_type_name(part));
        return false;
    }
    if (whole.type == JINJA_DICT) return jinja_find(run, whole.dict, part) != NULL;
    struct jinja_value list = jinja_iterate(run, whole);
    for (uint32_t i = 0; i < list.length && run->status == OPSM_OK; i++)
        if (jinja_equal(run, list.items[i], part)) return true;
    return false;
}

/* ---- elements ---------------------------------------------------------------------------------------------------- */

static struct jinja_value characters(struct jinja_run *run, struct jinja_value string) {
    size_t count = jinja_count_codes(string.text, string.length);
    struct jinja_value *items = jinja_spend(run, count) ? jinja_alloc(run, count, sizeof *items) : NULL;
    for (size_t i = 0, at = 0; items && i < count; i++) {
        struct jinja_value rest = jinja_substring(string, at, string.length);
        size_t next = at + jinja_offset(rest, 1);
        items[i] = jinja_substring(string, at, next);
        at = next;
    }
    return jinja_sequence(JINJA_LIST, items, count);
}

struct jinja_value jinja_iterate(struct jinja_run *run, struct jinja_value value) {
    if (value.type == JINJA_GENERATOR) {
        struct jinja_generator *generator = value.generator;
        uint32_t from = generator->next;
        generator->next = generator->length;
        return jinja_sequence(JINJA_LIST, generator->items ? generator->items + from : NULL, generator->length - from);
    }
    if (jinja_is_listed(value)) return jinja_sequence(JINJA_LIST, value.items, value.length);
    if (value.type == JINJA_STRING) return characters(run, value);
    if (value.type == JINJA_UNDEFINED) return jinja_sequence(JINJA_LIST, NULL, 0);
    if (value.type != JINJA_DICT) return not_iterable(run, value);
    uint32_t count = value.dict->count;
    struct jinja_value *keys = jinja_spend(run, count) ? jinja_alloc(run, count, sizeof *keys) : NULL;
    for (uint32_t i = 0; keys && i < count; i++) keys[i] = value.dict->pairs[i].key;
    return jinja_sequence(JINJA_LIST, keys, count);
}

static bool is_hashable(struct jinja_run *run, struct jinja_value key) {
    bool hashable = key.type != JINJA_LIST && key.type != JINJA_DICT;
    if (key.type != JINJA_TUPLE) return hashable;
    hashable = jinja_enter(run);
    for (uint32_t i = 0; i < key.length && hashable; i++)
        hashable = jinja_spend(run, 1) && is_hashable(run, key.items[i]);
    jinja_leave(run);
    return hashable;
}

/* Strings first: almost all keys are. */
static bool same_key(struct jinja_run *run, struct jinja_value a, struct jinja_value b) {
    if (a.type != JINJA_STRING || b.type != JINJA_STRING) return jinja_equal(run, a, b);
    return a.length == b.length && jinja_spend(run, a.length / 64) && memcmp(a.text, b.text, a.length) == 0;
}

struct jinja_value *jinja_find(struct jinja_run *run, const struct jinja_dict *dict, struct jinja_value key) {
    if (!is_hashable(run, key)) {
        jinja_fail(run, OPSM_INVALID, "a value of the type %s cannot be a key", jinja_type_name(key));
        return NULL;
    }
    if (!jinja_spend(run, dict->count / 8)) return NULL;
    for (uint32_t i = 0; i < dict->count; i++)
        if (same_key(run, dict->pairs[i].key, key)) return &dict->pairs[i].value;
    return NULL;
}

void jinja_set(struct jinja_run *run, struct jinja_dict *dict, struct jinja_value key, struct jinja_value value) {
    struct jinja_value *old = jinja_find(run, dict, key);
    if (old) *old = value;
    if (old || run->status != OPSM_OK) return;
    if (dict->count == dict->room) {
        uint32_t room = dict->room ? 2 * dict->room : 4;
        struct jinja_pair *grown = jinja_alloc(run, room, sizeof *grown);
        if (!grown) return;
        if (dict->count) memcpy(grown, dict->pairs, dict->count * sizeof *grown);
        dict->pairs = grown;
        dict->room = room;
    }
    dict->pairs[dict->count++] = (struct jinja_pair){.key = key, .value = value};
}

/* An index as Python counts it; false when it is outside. */
static bool find_index(struct jinja_value key, size_t count, size_t *index) {
    int64_t at = key.type == JINJA_BOOL ? key.truth : key.integer;
    if (at < 0) at += (int64_t)count;
    *index = (size_t)at;
    return at >= 0 && (size_t)at < count;
}

struct jinja_value jinja_item(struct jinja_run *run, struct jinja_value value, struct jinja_value key) {
    const struct jinja_value missing = {.type = JINJA_MISSING};
    size_t index;
    if (value.type == JINJA_DICT) {
        if (!is_hashable(run, key)) return missing;
        const struct jinja_value *found = jinja_find(run, value.dict, key);
        return found ? *found : missing;
    }
    if (key.type != JINJA_INT && key.type != JINJA_BOOL) return missing;
    if (value.type == JINJA_LIST || value.type == JINJA_TUPLE)
        return find_index(key, value.length, &index) ? value.items[index] : missing;
    if (value.type != JINJA_STRING || !jinja_spend(run, value.length / 64)) return missing;
    if (!find_index(key, jinja_count_codes(value.text, value.length), &index)) return missing;
    return jinja_substring(value, jinja_offset(value, index), jinja_offset(value, index + 1));
}

/* ---- slices ------------------------------------------------------------------------------------------------------ */

static int64_t clip(int64_t at, int64_t count, int64_t low, int64_t high) {
    if (at < 0) at = at < -count ? low : at + count;
    return at < low ? low : at > high ? high : at;
}

/* From [start:stop:step] to first, stop and step over `count` elements. */
static bool read_bounds(struct jinja_run *run, const struct jinja_value bounds[3], int64_t count, int64_t out[3]) {
    int64_t step = 1, low, high;
    if (jinja_given(bounds[2]) && !jinja_whole(run, bounds[2], &step)) return false;
    if (step == 0) {
        jinja_fail(run, OPSM_INVALID, "the step of a slice is 0");
        return false;
    }
    if (step > count) step = count + 1;
    if (step < -count) step = -count - 1;
    low = step < 0 ? -1 : 0;
    high = step < 0 ? count - 1 : count;
    out[0] = step < 0 ? high : low;
    out[1] = step < 0 ? low : high;
    out[2] = step;
    for (int i = 0; i < 2; i++) {
        int64_t at;
        if (!jinja_given(bounds[i])) continue;
        if (!jinja_whole(run, bounds[i], &at)) return false;
        out[i] = clip(at, count, low, high);
    }
    return run->status == OPSM_OK;
}

static struct jinja_value slice_string(struct jinja_run *run, struct jinja_value string, const int64_t bounds[3]) {
    if (bounds[2] == 1) {
        if (bounds[0] >= bounds[1]) return jinja_trusted("");
        return jinja_substring(string, jinja_offset(string, (size_t)bounds[0]),
                               jinja_offset(string, (size_t)bounds[1]));
    }
    struct jinja_value list = characters(run, string);
    size_t mark = run->out.length;
    for (int64_t i = bounds[0]; list.length && (bounds[2] > 0 ? i < bounds[1] : i > bounds[1]); i += bounds[2])
        jinja_put_value(run, list.items[i], 0, list.items[i].length);
    return jinja_take(run, mark);
}

struct jinja_value jinja_slice(struct jinja_run *run, struct jinja_value value, const struct jinja_value bounds[3]) {
    int64_t b[3];
    bool string = value.type == JINJA_STRING;
    if (!string && value.type != JINJA_LIST && value.type != JINJA_TUPLE)
        return jinja_fail(run, OPSM_INVALID, "a value of the type %s has no slices", jinja_type_name(value));
    size_t count = string ? jinja_count_codes(value.text, value.length) : value.length;
    if (!jinja_spend(run, value.length / 64) || !read_bounds(run, bounds, (int64_t)count, b)) return jinja_none();
    if (string) return slice_string(run, value, b);
    int64_t span = b[2] > 0 ? b[1] - b[0] : b[0] - b[1], stride = b[2] > 0 ? b[2] : -b[2];
    size_t n = span > 0 && stride > 0 ? (size_t)((span - 1) / stride + 1) : 0;
    if (b[2] == 1 && n) return jinja_sequence(value.type, value.items + b[0], n);
    struct jinja_value *items = jinja_spend(run, n / 8) ? jinja_alloc(run, n, sizeof *items) : NULL;
    for (size_t i = 0; items && i < n; i++) items[i] = value.items[b[0] + (int64_t)i * b[2]];
    return jinja_sequence(value.type, items, n);
}
