/* SPDX-License-Identifier: Apache-2.0
 *
 * What both halves of the parser stand on: tokens, nodes, the sentence of a failure.
 */
#include "text/jinja_node.h"
#include <stdarg.h>
#include <stdio.h>

struct jinja_node *jinja_parse_fail(struct jinja_parser *parser, const char *format, ...) {
    if (parser->status != OPSM_OK) return NULL;
    char sentence[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    parser->status = jinja_complain(parser->template, parser->token->at, OPSM_UNSUPPORTED, parser->err, "%s", sentence);
    return NULL;
}

struct jinja_node *jinja_unexpected(struct jinja_parser *parser, const char *expected) {
    const struct jinja_value *found = &parser->token->value;
    if (found->type != JINJA_STRING) return jinja_parse_fail(parser, "expected %s, found a number", expected);
    return jinja_parse_fail(parser, "expected %s, found '%.*s'", expected,
                            (int)(found->length < 40 ? found->length : 40), found->text);
}

struct jinja_node *jinja_node_new(struct jinja_parser *parser, enum jinja_kind kind) {
    if (parser->status != OPSM_OK) return NULL;
    struct jinja_node *node = jinja_arena_alloc(&parser->template->arena, sizeof *node);
    if (!node) {
        parser->status = opsm_fail(parser->err, OPSM_NOMEM, "out of memory for a chat template");
        return NULL;
    }
    node->kind = kind;
    node->at = parser->token->at;
    return node;
}

void jinja_append(struct jinja_node ***end, struct jinja_node *node) {
    if (!node || !*end) return; /* after a failure */
    **end = node;
    *end = &node->next;
}

void jinja_advance(struct jinja_parser *parser) {
    if (parser->token->type != TOKEN_END) parser->token++;
}

static bool is_token(const struct jinja_parser *parser, enum jinja_token_type type, const char *text) {
    return parser->token->type == type && jinja_is_text(parser->token->value, text);
}

bool jinja_is_operator(const struct jinja_parser *parser, const char *text) {
    return is_token(parser, TOKEN_OPERATOR, text);
}

bool jinja_is_name(const struct jinja_parser *parser, const char *text) {
    return is_token(parser, TOKEN_NAME, text);
}

bool jinja_skip_operator(struct jinja_parser *parser, const char *text) {
    if (parser->status != OPSM_OK || !jinja_is_operator(parser, text)) return false;
    jinja_advance(parser);
    return true;
}

bool jinja_skip_name(struct jinja_parser *parser, const char *text) {
    if (parser->status != OPSM_OK || !jinja_is_name(parser, text)) return false;
    jinja_advance(parser);
    return true;
}

void jinja_expect_operator(struct jinja_parser *parser, const char *text) {
    char quoted[8];
    snprintf(quoted, sizeof quoted, "'%s'", text);
    if (!jinja_skip_operator(parser, text)) jinja_unexpected(parser, quoted);
}

/* A name; an empty string after a failure. */
struct jinja_value jinja_expect_name(struct jinja_parser *parser) {
    struct jinja_value name = parser->token->value;
    if (parser->token->type != TOKEN_NAME) {
        jinja_unexpected(parser, "a name");
        return jinja_trusted("");
    }
    jinja_advance(parser);
    return name;
}

bool jinja_nest(struct jinja_parser *parser) {
    if (parser->depth++ < JINJA_NESTING) return parser->status == OPSM_OK;
    jinja_parse_fail(parser, "more than %d levels of expressions or blocks in each other", JINJA_NESTING);
    return false;
}
