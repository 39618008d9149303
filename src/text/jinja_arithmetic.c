/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators over values, as Python has them but for integers of 64 bits.
 */
#include "text/jinja_node.h"
#include <math.h>
#include <string.h>

struct jinja_value jinja_undefined_used(struct jinja_run *run, struct jinja_value value) {
    return jinja_fail(run, OPSM_INVALID, "'%.*s' is undefined", (int)(value.length < 60 ? value.length : 60),
                      value.text);
}

static const char *const signs[] = {"+", "-", "*", "/", "//", "%", "**"};

static struct jinja_value cannot(struct jinja_run *run, enum jinja_operator op, struct jinja_value a,
                                 struct jinja_value b) {
    if (a.type == JINJA_UNDEFINED) return jinja_undefined_used(run, a);
    if (b.type == JINJA_UNDEFINED) return jinja_undefined_used(run, b);
    return jinja_fail(run, OPSM_INVALID, "%s %s %s: values of these types have no such operation", jinja_type_name(a),
                      signs[op], jinja_type_name(b));
}

static struct jinja_value power(struct jinja_run *run, int64_t base, int64_t exponent) {
    int64_t result = 1;
    if (exponent < 0) return jinja_float(pow((double)base, (double)exponent));
    for (; exponent > 0; exponent >>= 1) {
        if (exponent & 1 && __builtin_mul_overflow(result, base, &result))
            return jinja_fail(run, OPSM_INVALID, "a number beyond 64 bits");
        if (exponent > 1 && __builtin_mul_overflow(base, base, &base))
            return jinja_fail(run, OPSM_INVALID, "a number beyond 64 bits");
    }
    return jinja_int(result);
}

static struct jinja_value integers(struct jinja_run *run, enum jinja_operator op, int64_t a, int64_t b) {
    int64_t result = 0;
    bool overflow = false;
    switch (op) {
    case OP_ADD:
        overflow = __builtin_add_overflow(a, b, &result);
        break;
    case OP_SUBTRACT:
        overflow = __builtin_sub_overflow(a, b, &result);
        break;
    case OP_MULTIPLY:
        overflow = __builtin_mul_overflow(a, b, &result);
        break;
    case OP_POWER:
        return power(run, a, b);
    default:
        if (b == 0) return jinja_fail(run, OPSM_INVALID, "a division by zero");
        if (op == OP_DIVIDE) return jinja_float((double)a / (double)b);
        overflow = a == INT64_MIN && b == -1;
        if (overflow) break;
        result = op == OP_MODULO ? a % b : a / b; /* rounded down, as Python does */
        if (a % b != 0 && (a < 0) != (b < 0)) result += op == OP_MODULO ? b : -1;
    }
    return overflow ? jinja_fail(run, OPSM_INVALID, "a number beyond 64 bits") : jinja_int(result);
}

static struct jinja_value reals(struct jinja_run *run, enum jinja_operator op, double a, double b) {
    double rest;
    switch (op) {
    case OP_ADD:
        return jinja_float(a + b);
    case OP_SUBTRACT:
        return jinja_float(a - b);
    case OP_MULTIPLY:
        return jinja_float(a * b);
    case OP_POWER:
        return jinja_float(pow(a, b));
    default:
        if (b == 0) return jinja_fail(run, OPSM_INVALID, "a division by zero");
        if (op == OP_DIVIDE) return jinja_float(a / b);
        rest = fmod(a, b);
        if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
        return jinja_float(op == OP_MODULO ? rest : floor((a - rest) / b + 0.5));
    }
}

static struct jinja_value repeated(struct jinja_run *run, struct jinja_value what, int64_t times) {
    if (times < 0) times = 0;
    if (what.type != JINJA_STRING) {
        size_t count = what.length;
        if (count && (uint64_t)times > UINT32_MAX / count) return jinja_fail(run, OPSM_INVALID, "a list too long");
        struct jinja_value *items =
            jinja_spend(run, count * (size_t)times / 8) ? jinja_alloc(run, count * (size_t)times, sizeof *items) : NULL;
        for (size_t i = 0; items && i < count * (size_t)times; i++) items[i] = what.items[i % count];
        return jinja_sequence(what.type, items, count * (size_t)times);
    }
    size_t mark = run->out.length;
    for (; times > 0 && what.length && jinja_spend(run, 1); times--) jinja_put_value(run, what, 0, what.length);
    struct jinja_value product = jinja_take(run, mark);
    product.markup = what.markup;
    return product;
}

static struct jinja_value joined(struct jinja_run *run, struct jinja_value a, struct jinja_value b) {
    if (a.type == JINJA_STRING) {
        size_t mark = run->out.length;
        bool markup = a.markup || b.markup;
        a.markup = a.markup || !markup; /* nothing is escaped where neither is marked */
        b.markup = b.markup || !markup;
        jinja_put_escaped(run, a);
        jinja_put_escaped(run, b);
        struct jinja_value sum = jinja_take(run, mark);
        sum.markup = markup;
        return sum;
    }
    size_t count = (size_t)a.length + b.length;
    struct jinja_value *items = jinja_spend(run, count / 8) ? jinja_alloc(run, count, sizeof *items) : NULL;
    if (items && a.length) memcpy(items, a.items, a.length * sizeof *items);
    if (items && b.length) memcpy(items + a.length, b.items, b.length * sizeof *items);
    return jinja_sequence(a.type, items, count);
}

static bool repeats(struct jinja_value value) {
    return value.type == JINJA_STRING || value.type == JINJA_LIST || value.type == JINJA_TUPLE;
}

struct jinja_value jinja_binary(struct jinja_run *run, enum jinja_operator op, struct jinja_value a,
                                struct jinja_value b) {
    if (jinja_is_number(a) && jinja_is_number(b)) {
        if (a.type == JINJA_FLOAT || b.type == JINJA_FLOAT)
            return reals(run, op, jinja_as_double(a), jinja_as_double(b));
        int64_t x = 0, y = 0;
        bool whole = jinja_whole(run, a, &x) && jinja_whole(run, b, &y);
        return whole ? integers(run, op, x, y) : a;
    }
    int64_t times;
    if (op == OP_MODULO && a.type == JINJA_STRING) return jinja_percent(run, a, b);
    if (op == OP_ADD && repeats(a) && a.type == b.type) return joined(run, a, b);
    bool left = op == OP_MULTIPLY && repeats(a) && (b.type == JINJA_INT || b.type == JINJA_BOOL);
    bool right = op == OP_MULTIPLY && repeats(b) && (a.type == JINJA_INT || a.type == JINJA_BOOL);
    if ((left || right) && jinja_whole(run, left ? b : a, &times)) return repeated(run, left ? a : b, times);
    return cannot(run, op, a, b);
}

/* ---- comparisons ------------------------------------------------------------------------------------------------- */

bool jinja_compare(struct jinja_run *run, enum jinja_operator op, struct jinja_value a, struct jinja_value b) {
    if (op == OP_EQUAL || op == OP_NOT_EQUAL) return jinja_equal(run, a, b) == (op == OP_EQUAL);
    if (op == OP_IN || op == OP_NOT_IN) return jinja_contains(run, b, a) == (op == OP_IN);
    if (a.type == JINJA_UNDEFINED || b.type == JINJA_UNDEFINED) {
        jinja_undefined_used(run, a.type == JINJA_UNDEFINED ? a : b);
        return false;
    }
    int order = jinja_order(run, a, b);
    switch (op) {
    case OP_LESS:
        return order == -1;
    case OP_LESS_EQUAL:
        return order == -1 || order == 0;
    case OP_GREATER:
        return order == 1;
    default:
        return order == 1 || order == 0;
    }
}
