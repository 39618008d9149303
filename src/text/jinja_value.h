/* SPDX-License-Identifier: Apache-2.0
 *
 * Values of a running template, and the run itself. A value is one tagged struct, passed by copy; what it points to
 * lives in the arena of the run (or of the template, for constants) and never changes, but for namespaces and
 * generators: transformers' sandbox forbids changing lists and dicts.
 *
 * Failure sticks: jinja_fail writes the sentence, sets run->status and gives back an undefined value. All goes on
 * with that until the next look at run->status; loops look at it in every round.
 */
#ifndef OPSM_TEXT_JINJA_VALUE_H
#define OPSM_TEXT_JINJA_VALUE_H
#include "text/jinja.h"
#include <stdbool.h>

/* Memory that is released at once. */
struct jinja_arena {
    struct jinja_chunk *chunks;
    size_t used, limit; /* bytes handed out; 0: no limit */
};
void *jinja_arena_alloc(struct jinja_arena *arena, size_t bytes); /* zeroed; NULL: exhausted, or the limit */
void jinja_arena_free(struct jinja_arena *arena);

enum jinja_type {
    JINJA_MISSING, /* an argument that was not given; never seen by a template */
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST,
    JINJA_TUPLE,
    JINJA_VIEW, /* keys(), values(), items() of a dict */
    JINJA_GENERATOR,
    JINJA_DICT,
    JINJA_NAMESPACE,
    JINJA_LOOP,
    JINJA_FUNCTION
};

struct jinja_value {
    enum jinja_type type : 8;
    bool markup : 1; /* of a string: the filter safe marked it; what is added to it is escaped */
    uint32_t length; /* bytes of a string, items of a list, tuple or view */
    union {
        bool truth;
        int64_t integer;
        double real;
        const char *text; /* UTF-8; of JINJA_UNDEFINED the name that was looked for */
        const struct jinja_value *items;
        struct jinja_dict *dict; /* also of a namespace */
        struct jinja_generator *generator;
        struct jinja_loop *loop;
        const struct jinja_function *function;
    };
    union {
        const uint8_t *stranger; /* of a string: as in jinja_rendered; NULL: all of it is trusted */
        const char *view;        /* of a view: "dict_keys", ... */
        const char *owner;       /* of JINJA_UNDEFINED: the kind of value that has no such attribute, or NULL */
    };
};

struct jinja_pair {
    union {
        struct {
            struct jinja_value key, value;
        };
        struct jinja_value both[2];
    };
};

struct jinja_dict { /* in the order of insertion */
    struct jinja_pair *pairs;
    uint32_t count, room;
};

/* What map, select and their like give: to be read once, and always true. */
struct jinja_generator {
    const struct jinja_value *items;
    uint32_t length, next;
};

struct jinja_loop {
    const struct jinja_value *items;
    uint32_t length, index;
    const struct jinja_value *changed; /* what loop.changed saw last */
};

struct jinja_keyword {
    struct jinja_value name, value;
};

struct jinja_arguments {
    const struct jinja_value *items;
    uint32_t count;
    const struct jinja_keyword *keywords;
    uint32_t n_keywords;
};

struct jinja_run;
struct jinja_node;
struct jinja_frame;

/* A filter, test, method or global function. subject[0] is what it is applied to; the parameters by their names follow
 * it, JINJA_MISSING where they were not given. Without parameters (NULL) it reads `given` itself. */
typedef struct jinja_value jinja_call(struct jinja_run *run, const struct jinja_value *subject,
                                      const struct jinja_arguments *given);

enum { JINJA_PARAMETERS = 6 };

struct jinja_builtin {
    const char *name;
    const char *parameters; /* with a blank between two */
    int required;           /* how many of them have no default */
    jinja_call *call;
};

struct jinja_function {
    const struct jinja_builtin *builtin; /* or */
    const struct jinja_node *macro;      /* a macro or the body of a call block */
    struct jinja_frame *closure;         /* where it was defined */
    struct jinja_value self;             /* of a method */
    const char *forbidden;               /* or the name of a method that the sandbox forbids to call */
};

/* Text being written, with what is a stranger's in it. */
struct jinja_buffer {
    char *data;
    uint8_t *stranger;
    size_t length, room;
};

enum jinja_flow { JINJA_GO_ON, JINJA_BREAK, JINJA_CONTINUE };

struct jinja_run {
    const struct jinja_template *template;
    const struct jinja_input *input;
    struct jinja_arena arena;
    struct jinja_buffer out;
    struct jinja_frame *frame;
    const uint8_t *ones; /* what strings from outside have as `stranger` */
    size_t n_ones;
    const struct jinja_node *node; /* what is being evaluated, for sentences */
    struct jinja_limits left;
    uint32_t depth;
    enum jinja_flow flow;
    opsm_status status;
    opsm_error *err;
    /* Here, so that expressions need not know statements, nor filters the table that they stand in. */
    const struct jinja_builtin *(*find_filter)(const char *name, size_t length);
    const struct jinja_builtin *(*find_test)(const char *name, size_t length);
    struct jinja_value (*call_macro)(struct jinja_run *run, const struct jinja_function *function,
                                     const struct jinja_arguments *given);
};

enum { JINJA_DEPTH = 1000 };

/* ---- running ----------------------------------------------------------------------------------------------------- */

struct jinja_value jinja_fail(struct jinja_run *run, opsm_status code, const char *format, ...) OPSM_PRINTF(3, 4);
bool jinja_spend(struct jinja_run *run, size_t steps); /* false: the run has failed */
void *jinja_alloc(struct jinja_run *run, size_t count, size_t size);
bool jinja_enter(struct jinja_run *run); /* one level down; jinja_leave in any case */
void jinja_leave(struct jinja_run *run);

/* ---- making and asking ------------------------------------------------------------------------------------------- */

struct jinja_value jinja_none(void);
struct jinja_value jinja_bool(bool truth);
struct jinja_value jinja_int(int64_t integer);
struct jinja_value jinja_float(double real);
struct jinja_value jinja_trusted(const char *text); /* a string that is kept as it stands */
struct jinja_value jinja_undefined(const char *name, uint32_t length, const char *owner);
struct jinja_value jinja_sequence(enum jinja_type type, const struct jinja_value *items, size_t count);
struct jinja_value jinja_generate(struct jinja_run *run, const struct jinja_value *items, size_t count);
struct jinja_value jinja_new_dict(struct jinja_run *run, enum jinja_type type, size_t room);

/* A value from outside; `name` is the key under which it stood, or NULL. Its texts are not copied. */
struct jinja_value jinja_import(struct jinja_run *run, const json_t *json, bool stranger, const char *name);

const char *jinja_type_name(struct jinja_value value); /* as Python calls it */
bool jinja_is_listed(struct jinja_value value);        /* a list, tuple or view: `items` and `length` */
bool jinja_is_number(struct jinja_value value);        /* also a bool */
double jinja_as_double(struct jinja_value value);
bool jinja_is_text(struct jinja_value value, const char *text);
bool jinja_truth(struct jinja_value value);
bool jinja_given(struct jinja_value value);                                         /* neither missing nor None */
bool jinja_whole(struct jinja_run *run, struct jinja_value value, int64_t *number); /* an int, or fails */

/* As == and < of Python; the second fails for values without an order. */
bool jinja_equal(struct jinja_run *run, struct jinja_value a, struct jinja_value b);
int jinja_order(struct jinja_run *run, struct jinja_value a, struct jinja_value b);
bool jinja_contains(struct jinja_run *run, struct jinja_value whole, struct jinja_value part);

/* The elements of anything that can be iterated over, as a list; a generator is used up. Fails for other values. */
struct jinja_value jinja_iterate(struct jinja_run *run, struct jinja_value value);

struct jinja_value *jinja_find(struct jinja_run *run, const struct jinja_dict *dict, struct jinja_value key);
void jinja_set(struct jinja_run *run, struct jinja_dict *dict, struct jinja_value key, struct jinja_value value);

/* value[key] without the attributes: JINJA_MISSING when there is none. */
struct jinja_value jinja_item(struct jinja_run *run, struct jinja_value value, struct jinja_value key);
struct jinja_value jinja_slice(struct jinja_run *run, struct jinja_value value, const struct jinja_value bounds[3]);

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* What is written between a mark and jinja_take becomes a string and leaves the buffer. */
void jinja_put(struct jinja_run *run, const char *text, size_t length, const uint8_t *stranger);
void jinja_puts(struct jinja_run *run, const char *text);
void jinja_put_value(struct jinja_run *run, struct jinja_value string, size_t from, size_t to);
/* The text with the characters of HTML escaped. */
void jinja_put_escaped(struct jinja_run *run, struct jinja_value string);
void jinja_put_code(struct jinja_run *run, uint32_t code, bool stranger);
struct jinja_value jinja_take(struct jinja_run *run, size_t mark);
void jinja_put_str(struct jinja_run *run, struct jinja_value value);  /* as str() */
void jinja_put_repr(struct jinja_run *run, struct jinja_value value); /* as repr() */
void jinja_put_float(struct jinja_run *run, double value);
struct jinja_value jinja_str(struct jinja_run *run, struct jinja_value value);

#endif
