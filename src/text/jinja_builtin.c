/* SPDX-License-Identifier: Apache-2.0
 *
 * The filters, tests and functions that templates can call.
 */
#include "text/jinja_builtin.h"

#define X(name, function, parameters, required) {name, parameters, required, jinja_filter_##function},
static const struct jinja_builtin filters[] = {JINJA_FILTERS(X)};
#undef X
#define X(name, function, parameters, required) {name, parameters, required, jinja_test_##function},
static const struct jinja_builtin tests[] = {JINJA_TESTS(X)};
#undef X
#define X(name, function, parameters, required) {name, parameters, required, jinja_global_##function},
static const struct jinja_builtin globals[] = {JINJA_GLOBALS(X)};
#undef X
#define COUNT(table) (sizeof(table) / sizeof *(table))

const struct jinja_builtin *jinja_find_filter(const char *name, size_t length) {
    return jinja_find_builtin(filters, COUNT(filters), name, length);
}

const struct jinja_builtin *jinja_find_test(const char *name, size_t length) {
    return jinja_find_builtin(tests, COUNT(tests), name, length);
}

const struct jinja_builtin *jinja_find_global(const char *name, size_t length) {
    return jinja_find_builtin(globals, COUNT(globals), name, length);
}
