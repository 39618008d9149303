/* SPDX-License-Identifier: Apache-2.0
 *
 * The one writer of JSON. Commas come by themselves; a value takes its key first, NULL in a list and at the top:
 *
 *   struct json_writer w = {.text = &text};
 *   json_put_open(&w, NULL, '{');
 *   json_put_int(&w, "steps", 12);
 *   json_put_open(&w, "curve", '[');
 *   for (...) json_put_number(&w, NULL, x[i]);
 *   json_put_close(&w, ']');
 *   json_put_close(&w, '}');
 *   json_put_end(&w);                         {"steps":12,"curve":[0.5,null]}
 *
 * Being out of memory sticks to the text: the caller looks at text.failed once.
 */
#ifndef OPSM_IO_JSON_WRITER_H
#define OPSM_IO_JSON_WRITER_H
#include "base/text.h"
#include <stdint.h>

struct json_writer {
    struct text *text; /* borrowed */
    int digits;        /* significant ones of numbers; 0: as few as read back as the same double */
    bool reals;        /* whole numbers end in .0, for readers that tell them from integers */
    bool spaced;       /* ", " and ": " instead of "," and ":" */
    bool more;         /* something stands before in the same object or list */
    bool breaks;       /* the next value begins a line */
};

void json_put_open(struct json_writer *w, const char *key, char bracket); /* '{' or '[' */
void json_put_close(struct json_writer *w, char bracket);                 /* '}' or ']' */

/* Ends a value at the top with a newline; another may follow. */
void json_put_end(struct json_writer *w);

void json_put_null(struct json_writer *w, const char *key);
void json_put_bool(struct json_writer *w, const char *key, bool value);
void json_put_int(struct json_writer *w, const char *key, int64_t value);
void json_put_number(struct json_writer *w, const char *key, double value);            /* null unless finite */
void json_put_fixed(struct json_writer *w, const char *key, double value, int places); /* likewise */
void json_put_string(struct json_writer *w, const char *key, const char *string);      /* NULL: null */

/* Any bytes; those that are not valid UTF-8 become U+FFFD, so that the result is always JSON. */
void json_put_bytes(struct json_writer *w, const char *key, const char *bytes, size_t length);

/* What is JSON already. */
void json_put_raw(struct json_writer *w, const char *key, const char *json);

#endif
