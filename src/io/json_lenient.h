/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON that is valid but more than jansson holds, as rows of other programs have it in fields that nobody here reads:
 * numbers beyond int64 or double, NULs, halves of surrogate pairs, a name twice in one object. Used by jsonl.c.
 */
#ifndef OPSM_IO_JSON_LENIENT_H
#define OPSM_IO_JSON_LENIENT_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Whether json_lenient_load may read what json_loadb with JSON_REJECT_DUPLICATES refused like this. */
bool json_lenient_helps(const json_error_t *error);

/* Reads text like json_loadb, with `nul` as with JSON_ALLOW_NUL, and never takes what it cannot hold for something else:
 *   a number beyond int64 or double     a text of a NUL and the number as it was written
 *   a text with a NUL or half a pair    a text of a NUL alone; with `nul`, NULs stay
 *   a name twice in the outer object    its value is a text of a NUL alone; further in, the last value counts
 * NULL: *error says why (its column is of no use), or is without a text when out of memory. */
json_t *json_lenient_load(const char *text, size_t length, bool nul, json_error_t *error);

/* Whether a value is one of these. A text of one NUL, or of a NUL and such a number, is taken for one. */
bool json_is_unfit(const json_t *value);

/* The number that was too large, as it was written; NULL for anything else. */
const char *json_large_number(const json_t *value);

#endif
