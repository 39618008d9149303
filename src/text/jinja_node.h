/* SPDX-License-Identifier: Apache-2.0
 *
 * The tree that a template is parsed into.
 */
#ifndef OPSM_TEXT_JINJA_NODE_H
#define OPSM_TEXT_JINJA_NODE_H
#include "text/jinja_value.h"

/* X(KIND): what stands in a, b, c, d, value. Lists are chained by `next`. */
#define JINJA_KINDS(X)                                                                                                 \
    X(CONSTANT)     /* value */                                                                                        \
    X(NAME)         /* value: the name */                                                                              \
    X(LIST)         /* a: list of elements */                                                                          \
    X(TUPLE)        /* a: list of elements */                                                                          \
    X(DICT)         /* a: list of PAIR */                                                                              \
    X(PAIR)         /* a: key, b: value */                                                                             \
    X(ATTRIBUTE)    /* a: of what, value: its name; as target of a set: of a namespace */                              \
    X(ITEM)         /* a: of what, b: key or SLICE */                                                                  \
    X(SLICE)        /* a, b, c: start, stop, step or NULL */                                                           \
    X(CALL)         /* a: what, b: list of arguments, KEYWORD among them */                                            \
    X(KEYWORD)      /* value: name, a: argument */                                                                     \
    X(FILTER)       /* a: of what (NULL: of a block), builtin (NULL: unknown), value: name, b: arguments */            \
    X(TEST)         /* likewise */                                                                                     \
    X(NOT)          /* a */                                                                                            \
    X(NEGATIVE)     /* a */                                                                                            \
    X(POSITIVE)     /* a */                                                                                            \
    X(BINARY)       /* op, a, b */                                                                                     \
    X(CONCAT)       /* a: list */                                                                                      \
    X(COMPARE)      /* a: the first, b: list of OPERAND */                                                             \
    X(OPERAND)      /* op, a */                                                                                        \
    X(AND)          /* a, b */                                                                                         \
    X(OR)           /* a, b */                                                                                         \
    X(CONDITION)    /* a if b else c (or NULL) */                                                                      \
    X(TEXT)         /* value */                                                                                        \
    X(PRINT)        /* a */                                                                                            \
    X(IF)           /* a: test, b: body, c: else, a list */                                                            \
    X(FOR)          /* a: target, b: over what, c: body, d: FOR_PARTS */                                               \
    X(FOR_PARTS)    /* a: filter or NULL, b: else */                                                                   \
    X(SET)          /* a: target, b: what */                                                                           \
    X(SET_BLOCK)    /* a: target, b: FILTER chain or NULL, c: body */                                                  \
    X(MACRO)        /* value: name, a: list of PARAMETER, b: body, flags */                                            \
    X(PARAMETER)    /* value: name, a: default or NULL */                                                              \
    X(CALL_BLOCK)   /* a: CALL, b: MACRO without a name */                                                             \
    X(FILTER_BLOCK) /* a: FILTER chain, b: body */                                                                     \
    X(WITH)         /* a: list of SET, b: body */                                                                      \
    X(GENERATION)   /* a: body */                                                                                      \
    X(BREAK)                                                                                                           \
    X(CONTINUE)

enum jinja_kind {
#define X(KIND) NODE_##KIND,
    JINJA_KINDS(X)
#undef X
};

enum jinja_operator {
    OP_ADD,
    OP_SUBTRACT,
    OP_MULTIPLY,
    OP_DIVIDE,
    OP_FLOOR_DIVIDE,
    OP_MODULO,
    OP_POWER,
    OP_EQUAL,
    OP_NOT_EQUAL,
    OP_LESS,
    OP_LESS_EQUAL,
    OP_GREATER,
    OP_GREATER_EQUAL,
    OP_IN,
    OP_NOT_IN
};

/* Names that a macro's body mentions: it takes what goes by them. */
enum { MACRO_CALLER = 1, MACRO_VARARGS = 2, MACRO_KWARGS = 4 };

struct jinja_node {
    enum jinja_kind kind;
    enum jinja_operator op;
    unsigned flags;
    uint32_t at; /* offset in the source */
    struct jinja_node *next, *a, *b, *c, *d;
    struct jinja_value value;
    const struct jinja_builtin *builtin;
};

struct jinja_template {
    struct jinja_arena arena;
    const char *source; /* line ends are \n */
    size_t length;
    const struct jinja_node *body;
    const struct jinja_node *names; /* NODE_NAMEs without repetition, chained by `d` */
};

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

enum jinja_token_type {
    TOKEN_DATA, /* text to write */
    TOKEN_BLOCK,
    TOKEN_BLOCK_END,
    TOKEN_VARIABLE,
    TOKEN_VARIABLE_END,
    TOKEN_NAME,
    TOKEN_STRING,
    TOKEN_INT,
    TOKEN_FLOAT,
    TOKEN_OPERATOR,
    TOKEN_END
};

struct jinja_token {
    enum jinja_token_type type;
    uint32_t at;
    struct jinja_value value; /* a string: data, name, operator, contents of a string; a number */
};

/* Writes the sentence with line and column of an offset in the source. */
opsm_status jinja_complain(const struct jinja_template *template, uint32_t at, opsm_status code, opsm_error *err,
                           const char *format, ...) OPSM_PRINTF(5, 6);

/* All tokens, TOKEN_END the last; released with mem_free. */
opsm_status jinja_tokenize(struct jinja_template *template, struct jinja_token **tokens, opsm_error *err);

/* ---- parser ------------------------------------------------------------------------------------------------------ */

enum { JINJA_NESTING = 200 }; /* of expressions and statements in each other */

struct jinja_parser {
    struct jinja_template *template;
    const struct jinja_token *token; /* the next one */
    int depth;
    unsigned macro_flags;
    bool in_loop, in_if;
    opsm_status status;
    opsm_error *err;
};

/* After a failure they give back NULL, and the parser stands still. */
struct jinja_node *jinja_node_new(struct jinja_parser *parser, enum jinja_kind kind);
struct jinja_node *jinja_parse_fail(struct jinja_parser *parser, const char *format, ...) OPSM_PRINTF(2, 3);
struct jinja_node *jinja_unexpected(struct jinja_parser *parser, const char *expected);
void jinja_advance(struct jinja_parser *parser);
struct jinja_value jinja_expect_name(struct jinja_parser *parser); /* an empty string after a failure */
bool jinja_is_operator(const struct jinja_parser *parser, const char *text);
bool jinja_is_name(const struct jinja_parser *parser, const char *text);
bool jinja_skip_operator(struct jinja_parser *parser, const char *text);
bool jinja_skip_name(struct jinja_parser *parser, const char *text);
void jinja_expect_operator(struct jinja_parser *parser, const char *text);
bool jinja_nest(struct jinja_parser *parser); /* false: too deep */
struct jinja_node *jinja_parse_expression(struct jinja_parser *parser, bool condition);
/* With `end`, that name ends it. */
struct jinja_node *jinja_parse_tuple(struct jinja_parser *parser, bool condition, const char *end);
struct jinja_node *jinja_parse_unary(struct jinja_parser *parser);
struct jinja_node *jinja_parse_filters(struct jinja_parser *parser, struct jinja_node *of, bool named);
struct jinja_node *jinja_parse_target(struct jinja_parser *parser, bool in_for);
struct jinja_node *jinja_parse_name(struct jinja_parser *parser); /* one name to be assigned to */
void jinja_append(struct jinja_node ***end, struct jinja_node *node);

/* ---- what the templates can call --------------------------------------------------------------------------------- */

const struct jinja_builtin *jinja_find_builtin(const struct jinja_builtin *table, size_t count, const char *name,
                                               size_t length);
const struct jinja_builtin *jinja_find_filter(const char *name, size_t length);
const struct jinja_builtin *jinja_find_test(const char *name, size_t length);
const struct jinja_builtin *jinja_find_global(const char *name, size_t length);
struct jinja_value jinja_call_builtin(struct jinja_run *run, const struct jinja_builtin *builtin,
                                      struct jinja_value subject, const struct jinja_arguments *given);
/* A method, or what else an attribute of a value that is no item of it; JINJA_MISSING when it has none. */
struct jinja_value jinja_method(struct jinja_run *run, struct jinja_value value, struct jinja_value name);
struct jinja_value jinja_attribute(struct jinja_run *run, struct jinja_value value, struct jinja_value name);
struct jinja_value jinja_subscript(struct jinja_run *run, struct jinja_value value, struct jinja_value key);

/* ---- running ----------------------------------------------------------------------------------------------------- */

struct jinja_variable {
    struct jinja_value name, value;
    struct jinja_variable *next;
};

struct jinja_frame {
    struct jinja_variable *variables;
    struct jinja_frame *parent;
};

struct jinja_value jinja_evaluate(struct jinja_run *run, const struct jinja_node *node);
struct jinja_value jinja_binary(struct jinja_run *run, enum jinja_operator op, struct jinja_value a,
                                struct jinja_value b);
bool jinja_compare(struct jinja_run *run, enum jinja_operator op, struct jinja_value a, struct jinja_value b);
struct jinja_value jinja_undefined_used(struct jinja_run *run, struct jinja_value value); /* fails */
struct jinja_value jinja_percent(struct jinja_run *run, struct jinja_value format, struct jinja_value values);
struct jinja_value jinja_format(struct jinja_run *run, struct jinja_value format, const struct jinja_arguments *given);
struct jinja_value jinja_call_value(struct jinja_run *run, struct jinja_value function,
                                    const struct jinja_arguments *given);
struct jinja_arguments jinja_arguments(struct jinja_run *run, const struct jinja_node *list);
/* A filter or test on its subject. */
struct jinja_value jinja_apply(struct jinja_run *run, const struct jinja_node *node, struct jinja_value subject,
                               const struct jinja_arguments *given);
void jinja_define(struct jinja_run *run, struct jinja_value name, struct jinja_value value);
void jinja_execute(struct jinja_run *run, const struct jinja_node *list);

#endif
