/* SPDX-License-Identifier: Apache-2.0
 *
 * Jinja, as far as chat templates use it: a template is parsed once and rendered by as many threads as like, each with
 * an input of its own.
 *
 *   jinja_parse(&template, source, length, &err);
 *   struct jinja_input input = {.data = {"messages": [...]}, .settings = {"add_generation_prompt": true}};
 *   jinja_render(template, &input, &rendered, &err);
 *
 * Results are those of jinja2 in the sandbox of transformers (trim_blocks, lstrip_blocks, loop controls, their tojson):
 * expressions, filters, tests, loops with `loop`, macros, call, filter and set blocks, namespaces, {% generation %}.
 * Integers have 64 bits; what is beyond them is an error. There are no includes, imports, inheritance, no files and no
 * environment. Whatever the template, a render ends: its steps, depth, memory and output are bounded, and every error
 * is a sentence with line and column.
 *
 * A byte of the result knows whether it came out of `data`, whatever the template did to it: see jinja_rendered.
 */
#ifndef OPSM_TEXT_JINJA_H
#define OPSM_TEXT_JINJA_H
#include <jansson.h>
#include <opsm/status.h>
#include <stddef.h>
#include <stdint.h>

struct jinja_template; /* opaque, immutable */

/* OPSM_UNSUPPORTED for what is no template or uses what we do not have. `source` is copied. */
opsm_status jinja_parse(struct jinja_template **template, const char *source, size_t length, opsm_error *err);
void jinja_free(struct jinja_template *template); /* NULL is allowed */

/* Whether the template mentions a variable of this name. */
int jinja_mentions(const struct jinja_template *template, const char *name);

struct jinja_limits {
    int64_t steps;         /* evaluated nodes, 64 bytes or 8 elements looked at, 4 bytes of blanks */
    size_t memory, output; /* bytes */
};

/* What a limit of 0 stands for. */
#define JINJA_STEPS  20000000
#define JINJA_MEMORY ((size_t)256 << 20)
#define JINJA_OUTPUT ((size_t)64 << 20)

struct jinja_input {
    const json_t *data;     /* an object: variables whose texts are a stranger's (messages, tools) */
    const json_t *settings; /* an object or NULL: variables as trusted as the template; they come first */
    const char *word;       /* or NULL: texts under this name in `data` that are one word ([A-Za-z0-9_-]) are trusted:
                               templates build control tokens from "role" */
    int64_t now;            /* for strftime_now: seconds since 1970, UTC */
    struct jinja_limits limits;
};

struct jinja_rendered {
    char *text;        /* NUL-terminated, and may have NULs inside */
    uint8_t *stranger; /* of each byte: 1 where it came out of `data`, 0 where the template or the settings wrote it */
    size_t length;
};

/* OPSM_INVALID when the template raises or fails on this input, or a limit is reached. */
opsm_status jinja_render(const struct jinja_template *template, const struct jinja_input *input,
                         struct jinja_rendered *rendered, opsm_error *err);
void jinja_rendered_free(struct jinja_rendered *rendered);

#endif
