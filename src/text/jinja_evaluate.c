/* SPDX-License-Identifier: Apache-2.0
 *
 * Expressions.
 */
#include "text/jinja_builtin.h"
#include <string.h>

/* ---- operators -------------------------------------------------------------------------------------------------- */

static struct jinja_value negative(struct jinja_run *run, struct jinja_value value) {
    int64_t whole;
    if (value.type == JINJA_UNDEFINED) return jinja_undefined_used(run, value);
    if (value.type == JINJA_FLOAT) return jinja_float(-value.real);
    return jinja_whole(run, value, &whole) ? jinja_binary(run, OP_SUBTRACT, jinja_int(0), jinja_int(whole)) : value;
}

static struct jinja_value positive(struct jinja_run *run, struct jinja_value value) {
    int64_t whole;
    if (value.type == JINJA_UNDEFINED) return jinja_undefined_used(run, value);
    if (value.type == JINJA_FLOAT) return value;
    return jinja_whole(run, value, &whole) ? jinja_int(whole) : value;
}

/* a < b < c is a < b and b < c, and b is looked at once. */
static struct jinja_value compare_chain(struct jinja_run *run, const struct jinja_node *node) {
    struct jinja_value left = jinja_evaluate(run, node->a);
    for (const struct jinja_node *operand = node->b; operand && run->status == OPSM_OK; operand = operand->next) {
        struct jinja_value right = jinja_evaluate(run, operand->a);
        run->node = operand;
        if (run->status != OPSM_OK || !jinja_compare(run, operand->op, left, right)) return jinja_bool(false);
        left = right;
    }
    return jinja_bool(true);
}

/* ---- names and calls --------------------------------------------------------------------------------------------- */

static struct jinja_value find_name(struct jinja_run *run, struct jinja_value name) {
    size_t passed = 0;
    for (const struct jinja_frame *frame = run->frame; frame; frame = frame->parent) {
        for (const struct jinja_variable *v = frame->variables; v; v = v->next, passed++) {
            if (v->name.length != name.length || memcmp(v->name.text, name.text, name.length) != 0) continue;
            jinja_spend(run, passed / 16);
            return v->value;
        }
    }
    jinja_spend(run, passed / 16);
    const struct jinja_builtin *builtin = jinja_find_global(name.text, name.length);
    struct jinja_function *function = builtin ? jinja_alloc(run, 1, sizeof *function) : NULL;
    if (!function) return jinja_undefined(name.text, name.length, NULL);
    *function = (struct jinja_function){.builtin = builtin};
    return (struct jinja_value){.type = JINJA_FUNCTION, .function = function};
}

static size_t count_nodes(const struct jinja_node *list) {
    size_t count = 0;
    for (; list; list = list->next) count++;
    return count;
}

static struct jinja_value *evaluate_list(struct jinja_run *run, const struct jinja_node *list, size_t count) {
    struct jinja_value *items = jinja_alloc(run, count, sizeof *items);
    for (size_t i = 0; list && items && run->status == OPSM_OK; list = list->next, i++)
        items[i] = jinja_evaluate(run, list);
    return items;
}

struct jinja_arguments jinja_arguments(struct jinja_run *run, const struct jinja_node *list) {
    struct jinja_arguments given = {0};
    size_t count = count_nodes(list);
    if (count == 0) return given;
    struct jinja_value *items = jinja_alloc(run, count, sizeof *items);
    struct jinja_keyword *keywords = jinja_alloc(run, count, sizeof *keywords);
    if (!items || !keywords) return given;
    given.items = items;
    given.keywords = keywords;
    for (; list && run->status == OPSM_OK; list = list->next) {
        if (list->kind == NODE_KEYWORD)
            keywords[given.n_keywords++] = (struct jinja_keyword){list->value, jinja_evaluate(run, list->a)};
        else
            items[given.count++] = jinja_evaluate(run, list);
    }
    return given;
}

struct jinja_value jinja_call_value(struct jinja_run *run, struct jinja_value function,
                                    const struct jinja_arguments *given) {
    if (run->status != OPSM_OK) return jinja_none();
    if (function.type == JINJA_UNDEFINED) return jinja_undefined_used(run, function);
    if (function.type != JINJA_FUNCTION)
        return jinja_fail(run, OPSM_INVALID, "a value of the type %s cannot be called", jinja_type_name(function));
    const struct jinja_function *f = function.function;
    if (f->builtin) return jinja_call_builtin(run, f->builtin, f->self, given);
    return run->call_macro(run, f, given);
}

static struct jinja_value call(struct jinja_run *run, const struct jinja_node *node) {
    struct jinja_value function = jinja_evaluate(run, node->a);
    struct jinja_arguments given = jinja_arguments(run, node->b);
    run->node = node;
    return jinja_call_value(run, function, &given);
}

struct jinja_value jinja_apply(struct jinja_run *run, const struct jinja_node *node, struct jinja_value subject,
                               const struct jinja_arguments *given) {
    if (node->builtin) return jinja_call_builtin(run, node->builtin, subject, given);
    struct jinja_value name = node->value;
    return jinja_fail(run, OPSM_INVALID, "the %s '%.*s' is not known here",
                      node->kind == NODE_FILTER ? "filter" : "test", (int)(name.length < 60 ? name.length : 60),
                      name.text);
}

static struct jinja_value apply(struct jinja_run *run, const struct jinja_node *node) {
    struct jinja_value subject = jinja_evaluate(run, node->a);
    struct jinja_arguments given = jinja_arguments(run, node->b);
    run->node = node;
    return run->status == OPSM_OK ? jinja_apply(run, node, subject, &given) : subject;
}

static struct jinja_value item(struct jinja_run *run, const struct jinja_node *node) {
    struct jinja_value of = jinja_evaluate(run, node->a), bounds[3];
    if (node->b->kind != NODE_SLICE) {
        struct jinja_value key = jinja_evaluate(run, node->b);
        run->node = node;
        return run->status == OPSM_OK ? jinja_subscript(run, of, key) : of;
    }
    const struct jinja_node *parts[3] = {node->b->a, node->b->b, node->b->c};
    for (int i = 0; i < 3; i++) bounds[i] = parts[i] ? jinja_evaluate(run, parts[i]) : jinja_none();
    run->node = node;
    if (run->status != OPSM_OK) return of;
    return of.type == JINJA_UNDEFINED ? jinja_undefined_used(run, of) : jinja_slice(run, of, bounds);
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static struct jinja_value make_dict(struct jinja_run *run, const struct jinja_node *node) {
    struct jinja_value dict = jinja_new_dict(run, JINJA_DICT, count_nodes(node->a));
    for (const struct jinja_node *pair = node->a; pair && run->status == OPSM_OK; pair = pair->next) {
        struct jinja_value key = jinja_evaluate(run, pair->a), value = jinja_evaluate(run, pair->b);
        run->node = pair;
        if (run->status == OPSM_OK) jinja_set(run, dict.dict, key, value);
    }
    return dict;
}

static struct jinja_value concat(struct jinja_run *run, const struct jinja_node *node) {
    size_t count = count_nodes(node->a), mark;
    struct jinja_value *items = evaluate_list(run, node->a, count);
    run->node = node;
    mark = run->out.length;
    for (size_t i = 0; items && i < count && run->status == OPSM_OK; i++) jinja_put_str(run, items[i]);
    return jinja_take(run, mark);
}

static struct jinja_value condition(struct jinja_run *run, const struct jinja_node *node) {
    if (jinja_truth(jinja_evaluate(run, node->b))) return jinja_evaluate(run, node->a);
    return node->c ? jinja_evaluate(run, node->c) : jinja_undefined("the value without an else", 25, NULL);
}

static struct jinja_value evaluate_inside(struct jinja_run *run, const struct jinja_node *node) {
    struct jinja_value a, b;
    size_t count;
    run->node = node;
    switch (node->kind) {
    case NODE_CONSTANT:
        return node->value;
    case NODE_NAME:
        return find_name(run, node->value);
    case NODE_LIST:
    case NODE_TUPLE:
        count = count_nodes(node->a);
        return jinja_sequence(node->kind == NODE_LIST ? JINJA_LIST : JINJA_TUPLE, evaluate_list(run, node->a, count),
                              count);
    case NODE_DICT:
        return make_dict(run, node);
    case NODE_ATTRIBUTE:
        a = jinja_evaluate(run, node->a);
        run->node = node;
        return run->status == OPSM_OK ? jinja_attribute(run, a, node->value) : a;
    case NODE_ITEM:
        return item(run, node);
    case NODE_CALL:
        return call(run, node);
    case NODE_FILTER:
    case NODE_TEST:
        return apply(run, node);
    case NODE_NOT:
        return jinja_bool(!jinja_truth(jinja_evaluate(run, node->a)));
    case NODE_NEGATIVE:
        return negative(run, jinja_evaluate(run, node->a));
    case NODE_POSITIVE:
        return positive(run, jinja_evaluate(run, node->a));
    case NODE_BINARY:
        a = jinja_evaluate(run, node->a);
        b = jinja_evaluate(run, node->b);
        run->node = node;
        return run->status == OPSM_OK ? jinja_binary(run, node->op, a, b) : a;
    case NODE_CONCAT:
        return concat(run, node);
    case NODE_COMPARE:
        return compare_chain(run, node);
    case NODE_AND:
        a = jinja_evaluate(run, node->a);
        return jinja_truth(a) ? jinja_evaluate(run, node->b) : a;
    case NODE_OR:
        a = jinja_evaluate(run, node->a);
        return jinja_truth(a) ? a : jinja_evaluate(run, node->b);
    case NODE_CONDITION:
        return condition(run, node);
    default:
        return jinja_fail(run, OPSM_INTERNAL, "a statement in the place of an expression");
    }
}

struct jinja_value jinja_evaluate(struct jinja_run *run, const struct jinja_node *node) {
    struct jinja_value value = jinja_none();
    if (jinja_spend(run, 1) && jinja_enter(run)) value = evaluate_inside(run, node);
    jinja_leave(run);
    return value;
}
