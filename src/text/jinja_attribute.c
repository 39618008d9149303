/* SPDX-License-Identifier: Apache-2.0
 *
 * What stands behind a dot or in brackets: elements, methods, attributes.
 */
#include "text/jinja_builtin.h"
#include <string.h>

#define X(name, function, parameters, required) {name, parameters, required, jinja_method_##function},
static const struct jinja_builtin string_methods[] = {JINJA_STRING_METHODS(X)};
static const struct jinja_builtin dict_methods[] = {JINJA_DICT_METHODS(X)};
static const struct jinja_builtin list_methods[] = {JINJA_LIST_METHODS(X)};
static const struct jinja_builtin loop_methods[] = {JINJA_LOOP_METHODS(X)};
#undef X

#define COUNT(table) (sizeof(table) / sizeof *(table))

static struct jinja_value loop_attribute(const struct jinja_loop *loop, struct jinja_value name) {
    uint32_t i = loop->index, n = loop->length;
    const struct {
        const char *name;
        struct jinja_value value;
    } attributes[] = {
        {"index", jinja_int((int64_t)i + 1)},
        {"index0", jinja_int(i)},
        {"revindex", jinja_int((int64_t)n - i)},
        {"revindex0", jinja_int((int64_t)n - i - 1)},
        {"first", jinja_bool(i == 0)},
        {"last", jinja_bool(i + 1 == n)},
        {"length", jinja_int(n)},
        {"depth", jinja_int(1)}, /* it counts recursive loops alone */
        {"depth0", jinja_int(0)},
        {"previtem", i > 0 ? loop->items[i - 1] : jinja_undefined("previtem", 8, NULL)},
        {"nextitem", i + 1 < n ? loop->items[i + 1] : jinja_undefined("nextitem", 8, NULL)},
    };
    for (size_t k = 0; k < COUNT(attributes); k++)
        if (jinja_is_text(name, attributes[k].name)) return attributes[k].value;
    return (struct jinja_value){.type = JINJA_MISSING};
}

/* Methods that would change a value: the sandbox lets nobody call them. */
static const char *find_forbidden(struct jinja_value value, struct jinja_value name) {
    static const char *const of_list[] = {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"};
    static const char *const of_dict[] = {"clear", "pop", "popitem", "setdefault", "update"};
    bool list = value.type == JINJA_LIST, dict = value.type == JINJA_DICT;
    for (size_t i = 0; list && i < COUNT(of_list); i++)
        if (jinja_is_text(name, of_list[i])) return of_list[i];
    for (size_t i = 0; dict && i < COUNT(of_dict); i++)
        if (jinja_is_text(name, of_dict[i])) return of_dict[i];
    return NULL;
}

static const struct jinja_builtin *find_method(struct jinja_value value, struct jinja_value name) {
    switch (value.type) {
    case JINJA_STRING:
        return jinja_find_builtin(string_methods, COUNT(string_methods), name.text, name.length);
    case JINJA_DICT:
        return jinja_find_builtin(dict_methods, COUNT(dict_methods), name.text, name.length);
    case JINJA_LIST:
    case JINJA_TUPLE:
        return jinja_find_builtin(list_methods, COUNT(list_methods), name.text, name.length);
    case JINJA_LOOP:
        return jinja_find_builtin(loop_methods, COUNT(loop_methods), name.text, name.length);
    default:
        return NULL;
    }
}

struct jinja_value jinja_method(struct jinja_run *run, struct jinja_value value, struct jinja_value name) {
    const struct jinja_value missing = {.type = JINJA_MISSING};
    if (value.type == JINJA_NAMESPACE) {
        const struct jinja_value *found = jinja_find(run, value.dict, name);
        return found ? *found : missing;
    }
    if (value.type == JINJA_LOOP) {
        struct jinja_value attribute = loop_attribute(value.loop, name);
        if (attribute.type != JINJA_MISSING) return attribute;
    }
    const struct jinja_builtin *builtin = find_method(value, name);
    const char *forbidden = find_forbidden(value, name);
    if (forbidden) return jinja_undefined(forbidden, (uint32_t)strlen(forbidden), jinja_type_name(value));
    struct jinja_function *function = builtin ? jinja_alloc(run, 1, sizeof *function) : NULL;
    if (!function) return missing;
    *function = (struct jinja_function){.builtin = builtin, .self = value};
    return (struct jinja_value){.type = JINJA_FUNCTION, .function = function};
}

static struct jinja_value of_undefined(struct jinja_run *run, struct jinja_value value) {
    return jinja_fail(run, OPSM_INVALID, "'%.*s' is undefined%s%s", (int)(value.length < 60 ? value.length : 60),
                      value.text, value.owner ? ", it is no attribute of a value of the type " : "",
                      value.owner ? value.owner : "");
}

/* value.name: a method before a key. */
struct jinja_value jinja_attribute(struct jinja_run *run, struct jinja_value value, struct jinja_value name) {
    if (value.type == JINJA_UNDEFINED) return of_undefined(run, value);
    struct jinja_value found = jinja_method(run, value, name);
    if (found.type == JINJA_MISSING) found = jinja_item(run, value, name);
    return found.type == JINJA_MISSING ? jinja_undefined(name.text, name.length, jinja_type_name(value)) : found;
}

/* value[key]: a key before a method. */
struct jinja_value jinja_subscript(struct jinja_run *run, struct jinja_value value, struct jinja_value key) {
    if (value.type == JINJA_UNDEFINED) return of_undefined(run, value);
    struct jinja_value found = jinja_item(run, value, key);
    if (found.type != JINJA_MISSING) return found;
    if (key.type != JINJA_STRING) return jinja_undefined("element", 7, jinja_type_name(value));
    found = jinja_method(run, value, key);
    return found.type == JINJA_MISSING ? jinja_undefined(key.text, key.length, jinja_type_name(value)) : found;
}
