/* SPDX-License-Identifier: Apache-2.0
 *
 * Statements: what writes, binds names and branches.
 */
#include "text/jinja_node.h"
#include <string.h>

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* A scope inside `parent`; blocks, loops and macros have one, if has none. */
static struct jinja_frame *new_frame(struct jinja_run *run, struct jinja_frame *parent) {
    struct jinja_frame *frame = jinja_alloc(run, 1, sizeof *frame);
    if (frame) frame->parent = parent;
    return frame;
}

void jinja_define(struct jinja_run *run, struct jinja_value name, struct jinja_value value) {
    if (run->status != OPSM_OK) return;
    size_t passed = 0;
    for (struct jinja_variable *v = run->frame->variables; v; v = v->next, passed++) {
        if (v->name.length != name.length || memcmp(v->name.text, name.text, name.length) != 0) continue;
        v->value = value;
        return;
    }
    struct jinja_variable *variable = jinja_spend(run, passed / 16) ? jinja_alloc(run, 1, sizeof *variable) : NULL;
    if (!variable) return;
    *variable = (struct jinja_variable){name, value, run->frame->variables};
    run->frame->variables = variable;
}

static void assign(struct jinja_run *run, const struct jinja_node *target, struct jinja_value value);

static void unpack(struct jinja_run *run, const struct jinja_node *target, struct jinja_value value) {
    struct jinja_value list = jinja_iterate(run, value);
    uint32_t count = 0;
    for (const struct jinja_node *part = target->a; part; part = part->next) count++;
    if (list.length != count) {
        jinja_fail(run, OPSM_INVALID, "%u values for %u variables", list.length, count);
        return;
    }
    uint32_t i = 0;
    for (const struct jinja_node *part = target->a; part && run->status == OPSM_OK; part = part->next)
        assign(run, part, list.items[i++]);
}

static void assign_attribute(struct jinja_run *run, const struct jinja_node *target, struct jinja_value value) {
    struct jinja_value space = jinja_evaluate(run, target->a);
    run->node = target;
    if (run->status == OPSM_OK && space.type != JINJA_NAMESPACE)
        jinja_fail(run, OPSM_INVALID, "only attributes of a namespace can be set, found %s", jinja_type_name(space));
    else if (target->value.length && target->value.text[0] == '_')
        jinja_fail(run, OPSM_INVALID, "an attribute of a namespace must not begin with _");
    else if (run->status == OPSM_OK)
        jinja_set(run, space.dict, target->value, value);
}

static void assign(struct jinja_run *run, const struct jinja_node *target, struct jinja_value value) {
    if (run->status != OPSM_OK) return;
    if (target->kind == NODE_TUPLE)
        unpack(run, target, value);
    else if (target->kind == NODE_ATTRIBUTE)
        assign_attribute(run, target, value);
    else
        jinja_define(run, target->value, value);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

static void in_new_frame(struct jinja_run *run, const struct jinja_node *body) {
    struct jinja_frame *outer = run->frame, *frame = new_frame(run, outer);
    if (!frame) return;
    run->frame = frame;
    jinja_execute(run, body);
    run->frame = outer;
}

/* What a body writes, as a string. */
static struct jinja_value capture(struct jinja_run *run, const struct jinja_node *body) {
    size_t mark = run->out.length;
    in_new_frame(run, body);
    return jinja_take(run, mark);
}

/* The filters of a block: the innermost has no subject of its own. */
static struct jinja_value filtered(struct jinja_run *run, const struct jinja_node *filter, struct jinja_value text) {
    if (filter->a) text = filtered(run, filter->a, text);
    struct jinja_arguments given = jinja_arguments(run, filter->b);
    run->node = filter;
    return run->status == OPSM_OK ? jinja_apply(run, filter, text, &given) : text;
}

static void execute_set_block(struct jinja_run *run, const struct jinja_node *node) {
    struct jinja_value text = capture(run, node->c);
    if (node->b && run->status == OPSM_OK) text = filtered(run, node->b, text);
    assign(run, node->a, text);
}

static void execute_filter_block(struct jinja_run *run, const struct jinja_node *node) {
    struct jinja_value text = capture(run, node->b);
    if (run->status == OPSM_OK) jinja_put_str(run, filtered(run, node->a, text));
}

/* The values are looked up outside of the new scope. */
static void execute_with(struct jinja_run *run, const struct jinja_node *node) {
    struct jinja_frame *outer = run->frame, *frame = new_frame(run, outer);
    for (const struct jinja_node *set = node->a; set && frame && run->status == OPSM_OK; set = set->next) {
        struct jinja_value value = jinja_evaluate(run, set->b);
        run->frame = frame;
        assign(run, set->a, value);
        run->frame = outer;
    }
    if (!frame) return;
    run->frame = frame;
    jinja_execute(run, node->b);
    run->frame = outer;
}

static void execute_if(struct jinja_run *run, const struct jinja_node *node) {
    bool truth = jinja_truth(jinja_evaluate(run, node->a));
    if (run->status == OPSM_OK) jinja_execute(run, truth ? node->b : node->c);
}

/* ---- loops ------------------------------------------------------------------------------------------------------- */

/* The elements for which the condition of the loop holds. */
static struct jinja_value keep(struct jinja_run *run, const struct jinja_node *node, struct jinja_value list) {
    struct jinja_value *kept = jinja_alloc(run, list.length, sizeof *kept);
    struct jinja_frame *outer = run->frame;
    size_t count = 0;
    for (uint32_t i = 0; kept && i < list.length && run->status == OPSM_OK; i++) {
        struct jinja_frame *frame = new_frame(run, outer);
        if (!frame) break;
        run->frame = frame;
        assign(run, node->a, list.items[i]);
        if (run->status == OPSM_OK && jinja_truth(jinja_evaluate(run, node->d->a))) kept[count++] = list.items[i];
        run->frame = outer;
    }
    return jinja_sequence(JINJA_LIST, kept, count);
}

/* False when no round got to the end of the body: then the else is for it, as it is in jinja2. */
static bool loop_over(struct jinja_run *run, const struct jinja_node *node, struct jinja_value list) {
    struct jinja_frame *outer = run->frame;
    struct jinja_loop *loop = jinja_alloc(run, 1, sizeof *loop);
    bool completed = false;
    if (!loop) return true;
    *loop = (struct jinja_loop){.items = list.items, .length = list.length};
    const struct jinja_value loop_value = {.type = JINJA_LOOP, .loop = loop};
    for (; loop->index < list.length && run->status == OPSM_OK; loop->index++) {
        struct jinja_frame *frame = new_frame(run, outer);
        if (!frame) break;
        run->frame = frame;
        jinja_define(run, jinja_trusted("loop"), loop_value);
        assign(run, node->a, list.items[loop->index]);
        jinja_execute(run, node->c);
        run->frame = outer;
        enum jinja_flow flow = run->flow;
        run->flow = JINJA_GO_ON;
        if (flow == JINJA_GO_ON) completed = true;
        if (flow == JINJA_BREAK) break;
    }
    return completed;
}

static void execute_for(struct jinja_run *run, const struct jinja_node *node) {
    struct jinja_value over = jinja_evaluate(run, node->b);
    run->node = node;
    if (run->status != OPSM_OK) return;
    struct jinja_value list = jinja_iterate(run, over);
    if (node->d->a && run->status == OPSM_OK) list = keep(run, node, list);
    if (!loop_over(run, node, list) && node->d->b) in_new_frame(run, node->d->b);
}

/* ---- macros ------------------------------------------------------------------------------------------------------ */

static struct jinja_value make_macro(struct jinja_run *run, const struct jinja_node *macro) {
    struct jinja_function *function = jinja_alloc(run, 1, sizeof *function);
    if (!function) return jinja_none();
    *function = (struct jinja_function){.macro = macro, .closure = run->frame};
    return (struct jinja_value){.type = JINJA_FUNCTION, .function = function};
}

static const struct jinja_keyword *find_keyword(const struct jinja_arguments *given, struct jinja_value name) {
    for (uint32_t i = 0; i < given->n_keywords; i++) {
        struct jinja_value other = given->keywords[i].name;
        if (other.length == name.length && memcmp(other.text, name.text, name.length) == 0) return &given->keywords[i];
    }
    return NULL;
}

/* What was given beyond the parameters goes by the names caller, varargs and kwargs, where the body mentions them. */
static void bind_rest(struct jinja_run *run, const struct jinja_node *macro, const struct jinja_arguments *given,
                      uint32_t n_parameters, uint32_t used_keywords) {
    const struct jinja_keyword *caller = find_keyword(given, jinja_trusted("caller"));
    if (macro->flags & MACRO_CALLER) {
        jinja_define(run, jinja_trusted("caller"), caller ? caller->value : jinja_undefined("caller", 6, NULL));
        used_keywords += caller != NULL;
    }
    if (macro->flags & MACRO_VARARGS) {
        uint32_t more = given->count > n_parameters ? given->count - n_parameters : 0;
        jinja_define(run, jinja_trusted("varargs"),
                     jinja_sequence(JINJA_TUPLE, more ? given->items + n_parameters : NULL, more));
    } else if (given->count > n_parameters) {
        jinja_fail(run, OPSM_INVALID, "the macro '%.*s' takes %u arguments, found %u", (int)macro->value.length,
                   macro->value.text, n_parameters, given->count);
    }
    if (!(macro->flags & MACRO_KWARGS)) {
        if (given->n_keywords > used_keywords)
            jinja_fail(run, OPSM_INVALID, "the macro '%.*s' has no argument of a name that it is given",
                       (int)macro->value.length, macro->value.text);
        return;
    }
    struct jinja_value rest = jinja_new_dict(run, JINJA_DICT, given->n_keywords + 1);
    for (uint32_t i = 0; i < given->n_keywords && run->status == OPSM_OK; i++) {
        bool parameter = &given->keywords[i] == caller;
        for (const struct jinja_node *p = macro->a; p && !parameter; p = p->next)
            parameter = find_keyword(given, p->value) == &given->keywords[i];
        if (!parameter) jinja_set(run, rest.dict, given->keywords[i].name, given->keywords[i].value);
    }
    jinja_define(run, jinja_trusted("kwargs"), rest);
}

static void bind_parameters(struct jinja_run *run, const struct jinja_node *macro,
                            const struct jinja_arguments *given) {
    uint32_t n = 0, used_keywords = 0;
    for (const struct jinja_node *p = macro->a; p && run->status == OPSM_OK; p = p->next, n++) {
        const struct jinja_keyword *keyword = find_keyword(given, p->value);
        struct jinja_value value = jinja_undefined(p->value.text, p->value.length, NULL);
        if (n < given->count && keyword) {
            jinja_fail(run, OPSM_INVALID, "an argument of a macro is given twice");
        } else if (n < given->count) {
            value = given->items[n];
        } else if (keyword) {
            value = keyword->value;
            used_keywords++;
        } else if (p->a) {
            value = jinja_evaluate(run, p->a);
        }
        jinja_define(run, p->value, value);
    }
    if (run->status == OPSM_OK) bind_rest(run, macro, given, n, used_keywords);
}

/* The run's call_macro. */
static struct jinja_value call_macro(struct jinja_run *run, const struct jinja_function *function,
                                     const struct jinja_arguments *given) {
    struct jinja_frame *outer = run->frame, *frame = new_frame(run, function->closure);
    if (!frame) return jinja_none();
    size_t mark = run->out.length;
    run->frame = frame;
    bind_parameters(run, function->macro, given);
    jinja_execute(run, function->macro->b);
    run->frame = outer;
    return jinja_take(run, mark);
}

/* A call with the block as its caller. */
static void execute_call_block(struct jinja_run *run, const struct jinja_node *node) {
    struct jinja_value function = jinja_evaluate(run, node->a->a);
    struct jinja_arguments given = jinja_arguments(run, node->a->b);
    struct jinja_keyword *keywords = jinja_alloc(run, given.n_keywords + 1, sizeof *keywords);
    if (!keywords) return;
    if (given.n_keywords) memcpy(keywords, given.keywords, given.n_keywords * sizeof *keywords);
    keywords[given.n_keywords++] = (struct jinja_keyword){jinja_trusted("caller"), make_macro(run, node->b)};
    given.keywords = keywords;
    run->node = node;
    struct jinja_value text = jinja_call_value(run, function, &given);
    if (run->status == OPSM_OK) jinja_put_str(run, text);
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static void execute_inside(struct jinja_run *run, const struct jinja_node *node) {
    struct jinja_value value;
    run->node = node;
    switch (node->kind) {
    case NODE_TEXT:
        jinja_put_value(run, node->value, 0, node->value.length);
        break;
    case NODE_PRINT:
        value = jinja_evaluate(run, node->a);
        run->node = node;
        if (run->status == OPSM_OK) jinja_put_str(run, value);
        break;
    case NODE_IF:
        execute_if(run, node);
        break;
    case NODE_FOR:
        execute_for(run, node);
        break;
    case NODE_SET:
        assign(run, node->a, jinja_evaluate(run, node->b));
        break;
    case NODE_SET_BLOCK:
        execute_set_block(run, node);
        break;
    case NODE_MACRO:
        jinja_define(run, node->value, make_macro(run, node));
        break;
    case NODE_CALL_BLOCK:
        execute_call_block(run, node);
        break;
    case NODE_FILTER_BLOCK:
        execute_filter_block(run, node);
        break;
    case NODE_WITH:
        execute_with(run, node);
        break;
    case NODE_GENERATION:
        in_new_frame(run, node->a);
        break;
    case NODE_BREAK:
        run->flow = JINJA_BREAK;
        break;
    case NODE_CONTINUE:
        run->flow = JINJA_CONTINUE;
        break;
    default:
        jinja_fail(run, OPSM_INTERNAL, "an expression in the place of a statement");
    }
}

void jinja_execute(struct jinja_run *run, const struct jinja_node *list) {
    if (jinja_enter(run))
        for (; list && run->flow == JINJA_GO_ON && jinja_spend(run, 1); list = list->next) execute_inside(run, list);
    jinja_leave(run);
}

static void define_all(struct jinja_run *run, const json_t *object, bool stranger) {
    const char *key;
    json_t *item;
    json_object_foreach((json_t *)object, key, item)
        jinja_define(run, jinja_trusted(key), jinja_import(run, item, stranger, key));
}

static opsm_status render(struct jinja_run *run) {
    run->frame = new_frame(run, NULL);
    if (run->frame) {
        define_all(run, run->input->data, true);
        define_all(run, run->input->settings, false);
        jinja_execute(run, run->template->body);
        jinja_puts(run, ""); /* so that there is a text, however short */
    }
    return run->status;
}

static void set_limits(struct jinja_run *run) {
    run->left = run->input->limits;
    if (!run->left.steps) run->left.steps = JINJA_STEPS;
    if (!run->left.memory) run->left.memory = JINJA_MEMORY;
    if (!run->left.output) run->left.output = JINJA_OUTPUT;
    run->arena.limit = run->left.memory;
}

opsm_status jinja_render(const struct jinja_template *template, const struct jinja_input *input,
                         struct jinja_rendered *rendered, opsm_error *err) {
    struct jinja_run run = {.template = template,
                            .input = input,
                            .err = err,
                            .find_filter = jinja_find_filter,
                            .find_test = jinja_find_test,
                            .call_macro = call_macro};
    *rendered = (struct jinja_rendered){0};
    set_limits(&run);
    opsm_status status = render(&run);
    *rendered = (struct jinja_rendered){run.out.data, run.out.stranger, run.out.length};
    jinja_arena_free(&run.arena);
    if (status != OPSM_OK) jinja_rendered_free(rendered);
    return status;
}
