/* SPDX-License-Identifier: Apache-2.0
 *
 * Statements, and the template as a whole.
 */
#include "base/mem.h"
#include "text/jinja_node.h"
#include "text/unicode.h"
#include <string.h>

enum { TEMPLATE_MAX = 1 << 20 }; /* bytes; published ones have some thousand */

static struct jinja_node *parse_body(struct jinja_parser *parser, const char *const *ends);

static void end_block(struct jinja_parser *parser) {
    if (parser->status != OPSM_OK) return;
    if (parser->token->type != TOKEN_BLOCK_END)
        jinja_parse_fail(parser, "more in a block tag than belongs there");
    else
        parser->token++;
}

/* The tag that ended a body; its name stays to be looked at. */
static bool at_name(struct jinja_parser *parser, const char *name) {
    return parser->status == OPSM_OK && jinja_skip_name(parser, name);
}

/* The end of this tag, and the body up to {% name %}. */
static struct jinja_node *parse_until(struct jinja_parser *parser, const char *name) {
    const char *const ends[] = {name, NULL};
    end_block(parser);
    struct jinja_node *body = parse_body(parser, ends);
    at_name(parser, name);
    end_block(parser);
    return body;
}

static struct jinja_node *parse_if(struct jinja_parser *parser) {
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    struct jinja_node *node = NULL, *first = NULL, **hole = &first;
    bool outer = parser->in_if;
    parser->in_if = true;
    do {
        node = jinja_node_new(parser, NODE_IF);
        if (!node) return NULL;
        node->a = jinja_parse_tuple(parser, false, NULL);
        end_block(parser);
        node->b = parse_body(parser, ends);
        *hole = node;
        hole = &node->c;
    } while (at_name(parser, "elif"));
    if (at_name(parser, "else")) {
        end_block(parser);
        *hole = parse_body(parser, ends + 2);
    }
    at_name(parser, "endif");
    end_block(parser);
    parser->in_if = outer;
    return first;
}

static struct jinja_node *parse_for(struct jinja_parser *parser) {
    static const char *const ends[] = {"else", "endfor", NULL};
    struct jinja_node *node = jinja_node_new(parser, NODE_FOR), *parts = jinja_node_new(parser, NODE_FOR_PARTS);
    if (!parts) return NULL;
    node->d = parts;
    node->a = jinja_parse_target(parser, true);
    if (node->a && node->a->kind == NODE_NAME && jinja_is_text(node->a->value, "loop"))
        return jinja_parse_fail(parser, "'loop' cannot be the variable of a for");
    if (!jinja_skip_name(parser, "in")) return jinja_parse_fail(parser, "expected 'in' behind the variable of a for");
    node->b = jinja_parse_tuple(parser, false, "recursive");
    if (jinja_skip_name(parser, "if")) parts->a = jinja_parse_expression(parser, true);
    if (jinja_is_name(parser, "recursive")) return jinja_parse_fail(parser, "recursive loops are not supported");
    end_block(parser);
    bool outer = parser->in_loop;
    parser->in_loop = true;
    node->c = parse_body(parser, ends);
    parser->in_loop = outer;
    if (at_name(parser, "else")) {
        end_block(parser);
        parts->b = parse_body(parser, ends + 1);
    }
    at_name(parser, "endfor");
    end_block(parser);
    return node;
}

static struct jinja_node *parse_set(struct jinja_parser *parser) {
    struct jinja_node *node = jinja_node_new(parser, NODE_SET);
    if (!node) return NULL;
    node->a = jinja_parse_target(parser, false);
    if (jinja_skip_operator(parser, "=")) {
        node->b = jinja_parse_tuple(parser, true, NULL);
        end_block(parser);
        return node;
    }
    node->kind = NODE_SET_BLOCK;
    node->b = jinja_parse_filters(parser, NULL, false);
    node->c = parse_until(parser, "endset");
    return node;
}

static struct jinja_node *parse_parameters(struct jinja_parser *parser) {
    struct jinja_node *list = NULL, **end = &list;
    jinja_expect_operator(parser, "(");
    while (parser->status == OPSM_OK && !jinja_is_operator(parser, ")")) {
        struct jinja_node *parameter = jinja_node_new(parser, NODE_PARAMETER);
        struct jinja_node *name = jinja_parse_name(parser);
        if (!name) return NULL;
        parameter->value = name->value;
        if (jinja_skip_operator(parser, "=")) parameter->a = jinja_parse_expression(parser, true);
        jinja_append(&end, parameter);
        if (!jinja_is_operator(parser, ")")) jinja_expect_operator(parser, ",");
    }
    jinja_expect_operator(parser, ")");
    return list;
}

/* Parameters (where there are any) and body of a macro or a call block. */
static void parse_macro_body(struct jinja_parser *parser, struct jinja_node *macro, const char *end) {
    unsigned outer = parser->macro_flags;
    bool in_loop = parser->in_loop;
    parser->macro_flags = 0;
    parser->in_loop = false;
    if (!macro->a && jinja_is_operator(parser, "(")) macro->a = parse_parameters(parser);
    macro->b = parse_until(parser, end);
    macro->flags = parser->macro_flags;
    parser->macro_flags |= outer;
    parser->in_loop = in_loop;
}

static struct jinja_node *parse_macro(struct jinja_parser *parser) {
    struct jinja_node *node = jinja_node_new(parser, NODE_MACRO);
    if (!node) return NULL;
    struct jinja_node *name = jinja_parse_name(parser);
    if (!name) return NULL;
    node->value = name->value;
    if (!jinja_is_operator(parser, "(")) return jinja_parse_fail(parser, "expected the parameters of a macro");
    parse_macro_body(parser, node, "endmacro");
    return node;
}

static struct jinja_node *parse_call_block(struct jinja_parser *parser) {
    struct jinja_node *node = jinja_node_new(parser, NODE_CALL_BLOCK), *macro = jinja_node_new(parser, NODE_MACRO);
    if (!macro) return NULL;
    macro->value = jinja_trusted("caller");
    if (jinja_is_operator(parser, "(")) macro->a = parse_parameters(parser);
    node->a = jinja_parse_unary(parser);
    if (node->a && node->a->kind != NODE_CALL) return jinja_parse_fail(parser, "expected a call behind 'call'");
    parse_macro_body(parser, macro, "endcall");
    node->b = macro;
    return node;
}

static struct jinja_node *parse_filter_block(struct jinja_parser *parser) {
    struct jinja_node *node = jinja_node_new(parser, NODE_FILTER_BLOCK);
    if (!node) return NULL;
    node->a = jinja_parse_filters(parser, NULL, true);
    node->b = parse_until(parser, "endfilter");
    return node;
}

static struct jinja_node *parse_with(struct jinja_parser *parser) {
    struct jinja_node *node = jinja_node_new(parser, NODE_WITH), **end = node ? &node->a : NULL;
    while (parser->status == OPSM_OK && parser->token->type != TOKEN_BLOCK_END) {
        struct jinja_node *set = jinja_node_new(parser, NODE_SET);
        if (!set) return NULL;
        set->a = jinja_parse_target(parser, true);
        jinja_expect_operator(parser, "=");
        set->b = jinja_parse_expression(parser, true);
        jinja_append(&end, set);
        if (!jinja_skip_operator(parser, ",")) break;
    }
    struct jinja_node *body = parse_until(parser, "endwith");
    if (node) node->b = body;
    return node;
}

static struct jinja_node *parse_generation(struct jinja_parser *parser) {
    struct jinja_node *node = jinja_node_new(parser, NODE_GENERATION), *body = parse_until(parser, "endgeneration");
    if (node) node->a = body;
    return node;
}

static struct jinja_node *parse_leave(struct jinja_parser *parser, enum jinja_kind kind) {
    struct jinja_node *node = jinja_node_new(parser, kind);
    if (!parser->in_loop) return jinja_parse_fail(parser, "break and continue are for loops");
    end_block(parser);
    return node;
}

static struct jinja_node *parse_break(struct jinja_parser *parser) {
    return parse_leave(parser, NODE_BREAK);
}

static struct jinja_node *parse_continue(struct jinja_parser *parser) {
    return parse_leave(parser, NODE_CONTINUE);
}

/* {% print a, b %} writes one after the other. */
static struct jinja_node *parse_print(struct jinja_parser *parser) {
    struct jinja_node *node = jinja_node_new(parser, NODE_PRINT), *concat = jinja_node_new(parser, NODE_CONCAT);
    if (!concat) return NULL;
    struct jinja_node **end = &concat->a;
    do jinja_append(&end, jinja_parse_expression(parser, true));
    while (jinja_skip_operator(parser, ","));
    node->a = concat;
    end_block(parser);
    return node;
}

static struct jinja_node *parse_statement(struct jinja_parser *parser) {
    static const struct {
        const char *name;
        struct jinja_node *(*parse)(struct jinja_parser *parser);
    } statements[] = {
        {"if", parse_if},           {"for", parse_for},
        {"set", parse_set},         {"macro", parse_macro},
        {"call", parse_call_block}, {"filter", parse_filter_block},
        {"with", parse_with},       {"generation", parse_generation},
        {"break", parse_break},     {"continue", parse_continue},
        {"print", parse_print},
    };
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        if (jinja_skip_name(parser, statements[i].name)) return statements[i].parse(parser);
    struct jinja_value found = parser->token->value;
    return jinja_parse_fail(parser, "the block '%.*s' is not known or not opened",
                            found.type == JINJA_STRING ? (int)(found.length < 60 ? found.length : 60) : 0,
                            found.type == JINJA_STRING ? found.text : "");
}

static struct jinja_node *parse_text(struct jinja_parser *parser) {
    struct jinja_node *node = jinja_node_new(parser, NODE_TEXT);
    if (node) node->value = parser->token->value;
    parser->token++;
    return node;
}

static struct jinja_node *parse_variable(struct jinja_parser *parser) {
    parser->token++;
    struct jinja_node *node = jinja_node_new(parser, NODE_PRINT);
    if (!node) return NULL;
    node->a = jinja_parse_tuple(parser, true, NULL);
    if (parser->status == OPSM_OK && parser->token->type != TOKEN_VARIABLE_END)
        return jinja_parse_fail(parser, "expected the end of the tag, }}");
    if (parser->status == OPSM_OK) parser->token++;
    return node;
}

static bool is_end(const struct jinja_parser *parser, const char *const *ends) {
    for (; ends && *ends; ends++)
        if (jinja_is_name(parser, *ends)) return true;
    return false;
}

/* A list of statements up to a tag that begins with one of `ends`, the name of which is the next token; NULL: up to the
 * end of the template. */
static struct jinja_node *parse_body(struct jinja_parser *parser, const char *const *ends) {
    struct jinja_node *list = NULL, **end = &list;
    if (!jinja_nest(parser)) return NULL;
    while (parser->status == OPSM_OK && parser->token->type != TOKEN_END) {
        if (parser->token->type == TOKEN_DATA) {
            jinja_append(&end, parse_text(parser));
        } else if (parser->token->type == TOKEN_VARIABLE) {
            jinja_append(&end, parse_variable(parser));
        } else {
            parser->token++; /* {% */
            if (is_end(parser, ends)) {
                parser->depth--;
                return list;
            }
            jinja_append(&end, parse_statement(parser));
        }
    }
    while (ends && ends[1]) ends++;
    if (ends) jinja_parse_fail(parser, "the template ends, but {%% %s %%} is missing", *ends);
    parser->depth--;
    return list;
}

/* jinja2 reads every line end as \n, and leaves out the last one. */
static void copy_source(struct jinja_template *template, char *copy, const char *source, size_t length) {
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        bool cr = source[i] == '\r';
        if (cr && i + 1 < length && source[i + 1] == '\n') i++;
        copy[used++] = cr ? '\n' : source[i];
    }
    if (used > 0 && copy[used - 1] == '\n') used--;
    copy[used] = '\0';
    template->source = copy;
    template->length = used;
}

static opsm_status parse_template(struct jinja_template *template, opsm_error *err) {
    struct jinja_token *tokens;
    opsm_status status = jinja_tokenize(template, &tokens, err);
    if (status != OPSM_OK) return status;
    struct jinja_parser parser = {.template = template, .token = tokens, .err = err};
    template->body = parse_body(&parser, NULL);
    mem_free(tokens);
    return parser.status;
}

opsm_status jinja_parse(struct jinja_template **parsed, const char *source, size_t length, opsm_error *err) {
    *parsed = NULL;
    if (length > TEMPLATE_MAX)
        return opsm_fail(err, OPSM_UNSUPPORTED, "a chat template of %zu bytes is longer than %d", length, TEMPLATE_MAX);
    if (memchr(source, '\0', length) || !utf8_is_clean((const uint8_t *)source, length))
        return opsm_fail(err, OPSM_UNSUPPORTED, "the chat template is not UTF-8 text");
    struct jinja_template *template = mem_zalloc(1, sizeof *template);
    char *copy = template ? jinja_arena_alloc(&template->arena, length + 1) : NULL;
    if (!copy) {
        mem_free(template);
        return mem_exhausted(err, "a chat template", length);
    }
    copy_source(template, copy, source, length);
    opsm_status status = parse_template(template, err);
    if (status != OPSM_OK) {
        jinja_free(template);
        return status;
    }
    *parsed = template;
    return OPSM_OK;
}

void jinja_free(struct jinja_template *template) {
    if (!template) return;
    jinja_arena_free(&template->arena);
    mem_free(template);
}

int jinja_mentions(const struct jinja_template *template, const char *name) {
    for (const struct jinja_node *node = template->names; node; node = node->d)
        if (jinja_is_text(node->value, name)) return 1;
    return 0;
}
