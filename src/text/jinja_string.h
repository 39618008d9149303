/* SPDX-License-Identifier: Apache-2.0
 *
 * Strings by code points, as Python's str has them. All text is well-formed UTF-8.
 */
#ifndef OPSM_TEXT_JINJA_STRING_H
#define OPSM_TEXT_JINJA_STRING_H
#include "text/jinja_value.h"

/* Bytes of what str.strip takes away at either end. */
size_t jinja_leading_space(const char *text, size_t length);
size_t jinja_trailing_space(const char *text, size_t length);

size_t jinja_count_codes(const char *text, size_t length);
/* The byte at which code point `index` begins; the length when there are fewer. */
size_t jinja_offset(struct jinja_value string, size_t index);

/* A view of bytes [from, to) of a string. */
struct jinja_value jinja_substring(struct jinja_value string, size_t from, size_t to);

/* The first (or last) place of `part` in bytes [from, to), SIZE_MAX when it does not occur. */
size_t jinja_search(struct jinja_run *run, struct jinja_value string, struct jinja_value part, size_t from, size_t to,
                    bool last);

enum jinja_case { JINJA_UPPER, JINJA_LOWER, JINJA_TITLE, JINJA_CAPITAL };

void jinja_put_case(struct jinja_run *run, struct jinja_value string, enum jinja_case to);
struct jinja_value jinja_case(struct jinja_run *run, struct jinja_value string, enum jinja_case to);

/* Whether it has letters of one case (upper or lower), and none of the other. */
bool jinja_has_case(struct jinja_run *run, struct jinja_value string, bool upper);

/* Without the characters of `set` (white space when it is not a string) at the chosen ends. */
struct jinja_value jinja_strip(struct jinja_run *run, struct jinja_value string, struct jinja_value set, bool left,
                               bool right);
struct jinja_value jinja_replace(struct jinja_run *run, struct jinja_value string, struct jinja_value from,
                                 struct jinja_value to, int64_t count);
struct jinja_value jinja_lines(struct jinja_run *run, struct jinja_value string, bool keep_ends);

#endif
