/* SPDX-License-Identifier: Apache-2.0
 *
 * Expressions, with the precedence of jinja2: if-else, or, and, not, comparisons, + -, ~, * / // %, **, unary - and +,
 * then what stands behind a value: . [] () | is.
 */
#include "text/jinja_node.h"
#include <string.h>

/* ---- values ------------------------------------------------------------------------------------------------------ */

static struct jinja_node *constant(struct jinja_parser *parser, struct jinja_value value) {
    struct jinja_node *node = jinja_node_new(parser, NODE_CONSTANT);
    if (node) node->value = value;
    jinja_advance(parser);
    return node;
}

static struct jinja_node *parse_name(struct jinja_parser *parser) {
    static const struct {
        const char *name;
        int truth; /* -1: none */
    } constants[] = {{"true", 1}, {"True", 1}, {"false", 0}, {"False", 0}, {"none", -1}, {"None", -1}};
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (jinja_is_name(parser, constants[i].name))
            return constant(parser, constants[i].truth < 0 ? jinja_none() : jinja_bool(constants[i].truth));
    static const struct {
        const char *name;
        unsigned flag;
    } specials[] = {{"caller", MACRO_CALLER}, {"varargs", MACRO_VARARGS}, {"kwargs", MACRO_KWARGS}};
    for (size_t i = 0; i < sizeof specials / sizeof *specials; i++)
        if (jinja_is_name(parser, specials[i].name)) parser->macro_flags |= specials[i].flag;
    struct jinja_node *node = jinja_node_new(parser, NODE_NAME);
    if (!node) return NULL;
    node->value = jinja_expect_name(parser);
    node->d = (struct jinja_node *)parser->template->names;
    parser->template->names = node;
    return node;
}

/* Adjacent strings are one. */
static struct jinja_node *parse_strings(struct jinja_parser *parser) {
    struct jinja_node *node = constant(parser, parser->token->value);
    while (node && parser->token->type == TOKEN_STRING) {
        struct jinja_value more = parser->token->value;
        char *joined = jinja_arena_alloc(&parser->template->arena, (size_t)node->value.length + more.length + 1);
        if (!joined) return jinja_parse_fail(parser, "out of memory for a string");
        memcpy(joined, node->value.text, node->value.length);
        memcpy(joined + node->value.length, more.text, more.length);
        node->value.text = joined;
        node->value.length += more.length;
        jinja_advance(parser);
    }
    return node;
}

static struct jinja_node *parse_list(struct jinja_parser *parser) {
    struct jinja_node *node = jinja_node_new(parser, NODE_LIST), **end = node ? &node->a : NULL;
    jinja_expect_operator(parser, "[");
    while (parser->status == OPSM_OK && !jinja_is_operator(parser, "]")) {
        jinja_append(&end, jinja_parse_expression(parser, true));
        if (!jinja_is_operator(parser, "]")) jinja_expect_operator(parser, ",");
    }
    jinja_expect_operator(parser, "]");
    return node;
}

static struct jinja_node *parse_dict(struct jinja_parser *parser) {
    struct jinja_node *node = jinja_node_new(parser, NODE_DICT), **end = node ? &node->a : NULL;
    jinja_expect_operator(parser, "{");
    while (parser->status == OPSM_OK && !jinja_is_operator(parser, "}")) {
        struct jinja_node *pair = jinja_node_new(parser, NODE_PAIR);
        if (!pair) break;
        pair->a = jinja_parse_expression(parser, true);
        jinja_expect_operator(parser, ":");
        pair->b = jinja_parse_expression(parser, true);
        jinja_append(&end, pair);
        if (!jinja_is_operator(parser, "}")) jinja_expect_operator(parser, ",");
    }
    jinja_expect_operator(parser, "}");
    return node;
}

static bool tuple_ends(const struct jinja_parser *parser, const char *end) {
    enum jinja_token_type type = parser->token->type;
    return type == TOKEN_VARIABLE_END || type == TOKEN_BLOCK_END || jinja_is_operator(parser, ")") ||
           (end && jinja_is_name(parser, end));
}

/* Expressions with commas between them; without a comma the one expression. */
static struct jinja_node *parse_elements(struct jinja_parser *parser, bool condition, const char *end,
                                         bool may_be_empty) {
    struct jinja_node *tuple = jinja_node_new(parser, NODE_TUPLE), **last = tuple ? &tuple->a : NULL;
    bool comma = false;
    while (parser->status == OPSM_OK && !tuple_ends(parser, end)) {
        jinja_append(&last, jinja_parse_expression(parser, condition));
        if (!jinja_skip_operator(parser, ",")) break;
        comma = true;
    }
    if (!tuple || parser->status != OPSM_OK) return NULL;
    if (!comma && tuple->a) return tuple->a;
    return comma || may_be_empty ? tuple : jinja_unexpected(parser, "an expression");
}

struct jinja_node *jinja_parse_tuple(struct jinja_parser *parser, bool condition, const char *end) {
    return parse_elements(parser, condition, end, false);
}

static struct jinja_node *parse_primary(struct jinja_parser *parser) {
    switch (parser->token->type) {
    case TOKEN_NAME:
        return parse_name(parser);
    case TOKEN_STRING:
        return parse_strings(parser);
    case TOKEN_INT:
    case TOKEN_FLOAT:
        return constant(parser, parser->token->value);
    default:
        break;
    }
    if (jinja_is_operator(parser, "[")) return parse_list(parser);
    if (jinja_is_operator(parser, "{")) return parse_dict(parser);
    if (!jinja_skip_operator(parser, "(")) return jinja_unexpected(parser, "an expression");
    struct jinja_node *inner = parse_elements(parser, true, NULL, true);
    jinja_expect_operator(parser, ")");
    return inner;
}

/* ---- what stands behind a value ---------------------------------------------------------------------------------- */

static struct jinja_node *parse_arguments(struct jinja_parser *parser) {
    struct jinja_node *list = NULL, **end = &list;
    bool named = false;
    jinja_expect_operator(parser, "(");
    while (parser->status == OPSM_OK && !jinja_is_operator(parser, ")")) {
        const struct jinja_token *next = parser->token;
        if (jinja_is_operator(parser, "*") || jinja_is_operator(parser, "**"))
            return jinja_parse_fail(parser, "arguments from a list or dict (* and **) are not supported");
        if (next->type == TOKEN_NAME && next[1].type == TOKEN_OPERATOR && jinja_is_text(next[1].value, "=")) {
            struct jinja_node *keyword = jinja_node_new(parser, NODE_KEYWORD);
            if (!keyword) break;
            keyword->value = jinja_expect_name(parser);
            jinja_expect_operator(parser, "=");
            keyword->a = jinja_parse_expression(parser, true);
            jinja_append(&end, keyword);
            named = true;
        } else {
            if (named) return jinja_parse_fail(parser, "an argument without a name behind one with a name");
            jinja_append(&end, jinja_parse_expression(parser, true));
        }
        if (!jinja_is_operator(parser, ")")) jinja_expect_operator(parser, ",");
    }
    jinja_expect_operator(parser, ")");
    return list;
}

static struct jinja_node *parse_call(struct jinja_parser *parser, struct jinja_node *what) {
    struct jinja_node *node = jinja_node_new(parser, NODE_CALL);
    if (!node) return NULL;
    node->a = what;
    if (what) node->at = what->at;
    node->b = parse_arguments(parser);
    return node;
}

static struct jinja_node *parse_bound(struct jinja_parser *parser) {
    bool none = jinja_is_operator(parser, ":") || jinja_is_operator(parser, "]") || jinja_is_operator(parser, ",");
    return none ? NULL : jinja_parse_expression(parser, true);
}

/* What stands in []: a key, a tuple of keys, or a slice. */
static struct jinja_node *parse_key(struct jinja_parser *parser) {
    struct jinja_node *slice = jinja_node_new(parser, NODE_SLICE), *first = parse_bound(parser);
    if (!slice) return NULL;
    if (jinja_skip_operator(parser, ":")) {
        slice->a = first;
        slice->b = parse_bound(parser);
        if (jinja_skip_operator(parser, ":")) slice->c = parse_bound(parser);
        return slice;
    }
    if (!first || !jinja_is_operator(parser, ",")) return first ? first : jinja_unexpected(parser, "a key");
    struct jinja_node *tuple = jinja_node_new(parser, NODE_TUPLE), **end = tuple ? &tuple->a : NULL;
    jinja_append(&end, first);
    while (jinja_skip_operator(parser, ",")) jinja_append(&end, jinja_parse_expression(parser, true));
    return tuple;
}

static struct jinja_node *parse_item(struct jinja_parser *parser, struct jinja_node *of) {
    bool dot = jinja_is_operator(parser, ".");
    jinja_advance(parser);
    struct jinja_node *node =
        jinja_node_new(parser, dot && parser->token->type == TOKEN_NAME ? NODE_ATTRIBUTE : NODE_ITEM);
    if (!node) return NULL;
    node->a = of;
    if (of) node->at = of->at;
    if (node->kind == NODE_ATTRIBUTE) {
        node->value = jinja_expect_name(parser);
    } else if (dot) {
        if (parser->token->type != TOKEN_INT) return jinja_unexpected(parser, "a name or a number");
        node->b = constant(parser, parser->token->value);
    } else {
        node->b = parse_key(parser);
        jinja_expect_operator(parser, "]");
    }
    return node;
}

static struct jinja_node *parse_postfix(struct jinja_parser *parser, struct jinja_node *node) {
    while (parser->status == OPSM_OK) {
        if (jinja_is_operator(parser, ".") || jinja_is_operator(parser, "["))
            node = parse_item(parser, node);
        else if (jinja_is_operator(parser, "("))
            node = parse_call(parser, node);
        else
            break;
    }
    return node;
}

/* In an if it is an error only where it is run, as in jinja2. */
static void unknown(struct jinja_parser *parser, const struct jinja_node *node, const char *what) {
    struct jinja_value name = node->value;
    if (parser->in_if || parser->status != OPSM_OK) return;
    parser->token--;
    jinja_parse_fail(parser, "the %s '%.*s' is not known here", what, (int)(name.length < 60 ? name.length : 60),
                     name.text);
}

/* One `name(arguments)` of a filter. */
static struct jinja_node *parse_filter(struct jinja_parser *parser, struct jinja_node *of) {
    struct jinja_node *node = jinja_node_new(parser, NODE_FILTER);
    if (!node) return NULL;
    node->value = jinja_expect_name(parser);
    node->builtin = jinja_find_filter(node->value.text, node->value.length);
    if (!node->builtin) unknown(parser, node, "filter");
    node->a = of;
    if (jinja_is_operator(parser, "(")) node->b = parse_arguments(parser);
    return node;
}

struct jinja_node *jinja_parse_filters(struct jinja_parser *parser, struct jinja_node *of, bool named) {
    if (named) of = parse_filter(parser, of);
    while (jinja_skip_operator(parser, "|")) of = parse_filter(parser, of);
    return of;
}

/* An argument of a test may stand without brackets: x is divisibleby 3. */
static bool begins_argument(const struct jinja_parser *parser) {
    if (parser->token->type == TOKEN_NAME)
        return !jinja_is_name(parser, "else") && !jinja_is_name(parser, "or") && !jinja_is_name(parser, "and");
    return parser->token->type == TOKEN_STRING || parser->token->type == TOKEN_INT ||
           parser->token->type == TOKEN_FLOAT || jinja_is_operator(parser, "[") || jinja_is_operator(parser, "{");
}

static struct jinja_node *parse_test(struct jinja_parser *parser, struct jinja_node *of) {
    bool negated = jinja_skip_name(parser, "not");
    struct jinja_node *node = jinja_node_new(parser, NODE_TEST);
    if (!node) return NULL;
    node->value = jinja_expect_name(parser);
    node->builtin = jinja_find_test(node->value.text, node->value.length);
    if (!node->builtin) unknown(parser, node, "test");
    node->a = of;
    if (jinja_is_operator(parser, "(")) {
        node->b = parse_arguments(parser);
    } else if (begins_argument(parser)) {
        if (jinja_is_name(parser, "is")) return jinja_parse_fail(parser, "tests with 'is' cannot be chained");
        node->b = parse_postfix(parser, parse_primary(parser));
    }
    if (!negated) return node;
    struct jinja_node *not = jinja_node_new(parser, NODE_NOT);
    if (not ) not ->a = node;
    return not ;
}

static struct jinja_node *parse_filters_and_tests(struct jinja_parser *parser, struct jinja_node *node) {
    while (parser->status == OPSM_OK) {
        if (jinja_is_operator(parser, "|"))
            node = jinja_parse_filters(parser, node, false);
        else if (jinja_skip_name(parser, "is"))
            node = parse_test(parser, node);
        else if (jinja_is_operator(parser, "("))
            node = parse_call(parser, node);
        else
            break;
    }
    return node;
}

/* ---- operators --------------------------------------------------------------------------------------------------- */

static struct jinja_node *parse_signed(struct jinja_parser *parser, bool filters) {
    struct jinja_node *node = NULL;
    bool minus = jinja_is_operator(parser, "-");
    if (!jinja_nest(parser)) return NULL;
    if (minus || jinja_is_operator(parser, "+")) {
        node = jinja_node_new(parser, minus ? NODE_NEGATIVE : NODE_POSITIVE);
        jinja_advance(parser);
        if (node) node->a = parse_signed(parser, false);
    } else {
        node = parse_primary(parser);
    }
    node = parse_postfix(parser, node);
    if (filters) node = parse_filters_and_tests(parser, node);
    parser->depth--;
    return node;
}

struct jinja_node *jinja_parse_unary(struct jinja_parser *parser) {
    return parse_signed(parser, true);
}

static struct jinja_node *two(struct jinja_parser *parser, enum jinja_kind kind, enum jinja_operator op,
                              struct jinja_node *a, struct jinja_node *b) {
    struct jinja_node *node = jinja_node_new(parser, kind);
    if (!node) return NULL;
    node->op = op;
    node->a = a;
    node->b = b;
    if (a) node->at = a->at;
    return node;
}

static struct jinja_node *parse_power(struct jinja_parser *parser) {
    struct jinja_node *left = parse_signed(parser, true);
    while (jinja_skip_operator(parser, "**"))
        left = two(parser, NODE_BINARY, OP_POWER, left, parse_signed(parser, true));
    return left;
}

static struct jinja_node *parse_product(struct jinja_parser *parser) {
    struct jinja_node *left = parse_power(parser);
    while (parser->status == OPSM_OK) {
        enum jinja_operator op = jinja_skip_operator(parser, "*")    ? OP_MULTIPLY
                                 : jinja_skip_operator(parser, "/")  ? OP_DIVIDE
                                 : jinja_skip_operator(parser, "//") ? OP_FLOOR_DIVIDE
                                 : jinja_skip_operator(parser, "%")  ? OP_MODULO
                                                                     : OP_ADD;
        if (op == OP_ADD) break;
        left = two(parser, NODE_BINARY, op, left, parse_power(parser));
    }
    return left;
}

static struct jinja_node *parse_concat(struct jinja_parser *parser) {
    struct jinja_node *first = parse_product(parser);
    if (!jinja_is_operator(parser, "~")) return first;
    struct jinja_node *concat = jinja_node_new(parser, NODE_CONCAT), **end = concat ? &concat->a : NULL;
    if (concat) jinja_append(&end, first);
    while (jinja_skip_operator(parser, "~")) jinja_append(&end, parse_product(parser));
    return concat;
}

static struct jinja_node *parse_sum(struct jinja_parser *parser) {
    struct jinja_node *left = parse_concat(parser);
    while (parser->status == OPSM_OK) {
        bool plus = jinja_skip_operator(parser, "+");
        if (!plus && !jinja_skip_operator(parser, "-")) break;
        left = two(parser, NODE_BINARY, plus ? OP_ADD : OP_SUBTRACT, left, parse_concat(parser));
    }
    return left;
}

static bool skip_comparison(struct jinja_parser *parser, enum jinja_operator *op) {
    static const struct {
        const char *text;
        enum jinja_operator op;
    } comparisons[] = {{"==", OP_EQUAL},  {"!=", OP_NOT_EQUAL},  {"<", OP_LESS},
                       {">", OP_GREATER}, {"<=", OP_LESS_EQUAL}, {">=", OP_GREATER_EQUAL}};
    for (size_t i = 0; i < sizeof comparisons / sizeof *comparisons; i++) {
        *op = comparisons[i].op;
        if (jinja_skip_operator(parser, comparisons[i].text)) return true;
    }
    *op = OP_IN;
    if (jinja_skip_name(parser, "in")) return true;
    *op = OP_NOT_IN;
    bool not_in = jinja_is_name(parser, "not") && parser->token[1].type == TOKEN_NAME &&
                  jinja_is_text(parser->token[1].value, "in");
    return not_in && jinja_skip_name(parser, "not") && jinja_skip_name(parser, "in");
}

static struct jinja_node *parse_comparison(struct jinja_parser *parser) {
    struct jinja_node *first = parse_sum(parser), *compare = NULL, **end = NULL;
    enum jinja_operator op;
    while (parser->status == OPSM_OK && skip_comparison(parser, &op)) {
        if (!compare) {
            compare = two(parser, NODE_COMPARE, op, first, NULL);
            if (!compare) return NULL;
            end = &compare->b;
        }
        jinja_append(&end, two(parser, NODE_OPERAND, op, parse_sum(parser), NULL));
    }
    return compare ? compare : first;
}

static struct jinja_node *parse_not(struct jinja_parser *parser) {
    if (!jinja_is_name(parser, "not")) return parse_comparison(parser);
    if (!jinja_nest(parser)) return NULL;
    struct jinja_node *node = jinja_node_new(parser, NODE_NOT);
    jinja_advance(parser);
    if (node) node->a = parse_not(parser);
    parser->depth--;
    return node;
}

static struct jinja_node *parse_and(struct jinja_parser *parser) {
    struct jinja_node *left = parse_not(parser);
    while (jinja_skip_name(parser, "and")) left = two(parser, NODE_AND, OP_ADD, left, parse_not(parser));
    return left;
}

static struct jinja_node *parse_or(struct jinja_parser *parser) {
    struct jinja_node *left = parse_and(parser);
    while (jinja_skip_name(parser, "or")) left = two(parser, NODE_OR, OP_ADD, left, parse_and(parser));
    return left;
}

struct jinja_node *jinja_parse_expression(struct jinja_parser *parser, bool condition) {
    if (!jinja_nest(parser)) return NULL;
    struct jinja_node *value = parse_or(parser);
    while (condition && jinja_skip_name(parser, "if")) {
        struct jinja_node *test = parse_or(parser);
        value = two(parser, NODE_CONDITION, OP_ADD, value, test);
        if (jinja_skip_name(parser, "else") && value) value->c = jinja_parse_expression(parser, true);
    }
    parser->depth--;
    return value;
}

/* ---- what is assigned to ----------------------------------------------------------------------------------------- */

struct jinja_node *jinja_parse_name(struct jinja_parser *parser) {
    struct jinja_node *name = jinja_node_new(parser, NODE_NAME);
    if (!name) return NULL;
    name->value = jinja_expect_name(parser);
    static const char *const reserved[] = {"true", "True", "false", "False", "none", "None"};
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (jinja_is_text(name->value, reserved[i]))
            return jinja_parse_fail(parser, "a constant cannot be assigned to");
    return name;
}

static struct jinja_node *parse_one_target(struct jinja_parser *parser, bool in_for) {
    if (jinja_skip_operator(parser, "(")) {
        struct jinja_node *inner = jinja_parse_target(parser, in_for);
        jinja_expect_operator(parser, ")");
        return inner;
    }
    struct jinja_node *name = jinja_parse_name(parser);
    if (!name || in_for || !jinja_skip_operator(parser, ".")) return name;
    struct jinja_node *attribute = two(parser, NODE_ATTRIBUTE, OP_ADD, name, NULL);
    if (attribute) attribute->value = jinja_expect_name(parser);
    return attribute;
}

struct jinja_node *jinja_parse_target(struct jinja_parser *parser, bool in_for) {
    if (!jinja_nest(parser)) return NULL;
    struct jinja_node *first = parse_one_target(parser, in_for);
    if (jinja_is_operator(parser, ",")) {
        struct jinja_node *tuple = jinja_node_new(parser, NODE_TUPLE), **end = tuple ? &tuple->a : NULL;
        if (tuple) jinja_append(&end, first);
        while (jinja_skip_operator(parser, ",") &&
               (parser->token->type == TOKEN_NAME || jinja_is_operator(parser, "(")) && !jinja_is_name(parser, "in"))
            jinja_append(&end, parse_one_target(parser, in_for));
        first = tuple;
    }
    parser->depth--;
    return first;
}
