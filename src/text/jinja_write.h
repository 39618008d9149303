/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OPSM_TEXT_JINJA_WRITE_H
#define OPSM_TEXT_JINJA_WRITE_H
#include "text/jinja_value.h"

/* The arguments of json.dumps. */
struct jinja_json {
    bool ascii, sorts;
    struct jinja_value indent;         /* one level of it; no string: all in one line */
    struct jinja_value between, colon; /* strings */
};

void jinja_put_json(struct jinja_run *run, struct jinja_value value, const struct jinja_json *style);

/* The elements as str() with the separator between two. */
struct jinja_value jinja_join(struct jinja_run *run, struct jinja_value separator, struct jinja_value list);

/* A sorted copy of `count` elements of `size` bytes; equal ones keep their order. `order` gives <0, 0, >0. */
void *jinja_sorted(struct jinja_run *run, const void *elements, size_t count, size_t size,
                   int (*order)(struct jinja_run *run, const void *a, const void *b));

#endif
