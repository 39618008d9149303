/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls of what is built in.
 */
#include "text/jinja_node.h"
#include <string.h>

const struct jinja_builtin *jinja_find_builtin(const struct jinja_builtin *table, size_t count, const char *name,
                                               size_t length) {
    for (size_t i = 0; i < count; i++)
        if (strlen(table[i].name) == length && memcmp(table[i].name, name, length) == 0) return &table[i];
    return NULL;
}

/* The number of a parameter, -1 if there is none of this name. */
static int parameter_of(const char *parameters, struct jinja_value name) {
    int index = 0;
    for (const char *at = parameters; *at; index++) {
        size_t n = strcspn(at, " ");
        if (n == name.length && memcmp(at, name.text, n) == 0) return index;
        at += n + (at[n] == ' ');
    }
    return -1;
}

static int count_parameters(const char *parameters) {
    int count = *parameters != '\0';
    for (; *parameters; parameters++) count += *parameters == ' ';
    return count;
}

struct jinja_value jinja_call_builtin(struct jinja_run *run, const struct jinja_builtin *builtin,
                                      struct jinja_value subject, const struct jinja_arguments *given) {
    struct jinja_value a[JINJA_PARAMETERS] = {subject};
    if (!jinja_spend(run, 1)) return jinja_none();
    if (!builtin->parameters) return builtin->call(run, a, given);
    int most = count_parameters(builtin->parameters);
    if (given->count > (uint32_t)most)
        return jinja_fail(run, OPSM_INVALID, "%s takes %d arguments, found %u", builtin->name, most, given->count);
    for (uint32_t i = 0; i < given->count; i++) a[1 + i] = given->items[i];
    for (uint32_t i = 0; i < given->n_keywords; i++) {
        struct jinja_value name = given->keywords[i].name;
        int index = parameter_of(builtin->parameters, name);
        if (index < 0 || a[1 + index].type != JINJA_MISSING)
            return jinja_fail(run, OPSM_INVALID, "%s has no argument '%.*s', or it is given twice", builtin->name,
                              (int)(name.length < 40 ? name.length : 40), name.text);
        a[1 + index] = given->keywords[i].value;
    }
    for (int i = 0; i < builtin->required; i++)
        if (a[1 + i].type == JINJA_MISSING)
            return jinja_fail(run, OPSM_INVALID, "%s needs %d arguments", builtin->name, builtin->required);
    return builtin->call(run, a, given);
}
