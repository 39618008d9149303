/* SPDX-License-Identifier: Apache-2.0
 *
 * What may stand behind `is`.
 */
#include "text/jinja_builtin.h"

#define TEST(name, truth)                                                                                              \
    struct jinja_value jinja_test_##name(struct jinja_run *run, const struct jinja_value *a,                           \
                                         const struct jinja_arguments *given) {                                        \
        (void)run;                                                                                                     \
        (void)given;                                                                                                   \
        (void)a;                                                                                                       \
        return jinja_bool(truth);                                                                                      \
    }

static bool remainder_is(struct jinja_run *run, struct jinja_value value, struct jinja_value divisor, int64_t wanted) {
    return jinja_equal(run, jinja_binary(run, OP_MODULO, value, divisor), jinja_int(wanted));
}

static bool same(struct jinja_run *run, struct jinja_value x, struct jinja_value y) {
    return x.type == y.type && jinja_equal(run, x, y);
}

static bool has_length(enum jinja_type type) {
    return type == JINJA_STRING || type == JINJA_LIST || type == JINJA_TUPLE || type == JINJA_DICT ||
           type == JINJA_UNDEFINED;
}

TEST(eq, jinja_compare(run, OP_EQUAL, a[0], a[1]))
TEST(ne, jinja_compare(run, OP_NOT_EQUAL, a[0], a[1]))
TEST(lt, jinja_compare(run, OP_LESS, a[0], a[1]))
TEST(le, jinja_compare(run, OP_LESS_EQUAL, a[0], a[1]))
TEST(gt, jinja_compare(run, OP_GREATER, a[0], a[1]))
TEST(ge, jinja_compare(run, OP_GREATER_EQUAL, a[0], a[1]))
TEST(in, jinja_compare(run, OP_IN, a[0], a[1]))
TEST(boolean, a[0].type == JINJA_BOOL)
TEST(callable, a[0].type == JINJA_FUNCTION || a[0].type == JINJA_LOOP || a[0].type == JINJA_UNDEFINED)
TEST(defined, a[0].type != JINJA_UNDEFINED)
TEST(divisibleby, remainder_is(run, a[0], a[1], 0))
TEST(escaped, a[0].markup)
TEST(even, remainder_is(run, a[0], jinja_int(2), 0))
TEST(odd, remainder_is(run, a[0], jinja_int(2), 1))
TEST(false, a[0].type == JINJA_BOOL && !a[0].truth)
TEST(true, a[0].type == JINJA_BOOL && a[0].truth)
TEST(filter, a[0].type == JINJA_STRING && run->find_filter(a[0].text, a[0].length))
TEST(test, a[0].type == JINJA_STRING && run->find_test(a[0].text, a[0].length))
TEST(float, a[0].type == JINJA_FLOAT)
TEST(integer, a[0].type == JINJA_INT)
TEST(number, jinja_is_number(a[0]))
TEST(iterable,
     has_length(a[0].type) || a[0].type == JINJA_VIEW || a[0].type == JINJA_GENERATOR || a[0].type == JINJA_LOOP)
TEST(sequence, has_length(a[0].type))
TEST(lower, jinja_has_case(run, jinja_str(run, a[0]), false))
TEST(upper, jinja_has_case(run, jinja_str(run, a[0]), true))
TEST(mapping, a[0].type == JINJA_DICT)
TEST(none, a[0].type == JINJA_NONE)
TEST(sameas, same(run, a[0], a[1]))
TEST(string, a[0].type == JINJA_STRING)
TEST(undefined, a[0].type == JINJA_UNDEFINED)
