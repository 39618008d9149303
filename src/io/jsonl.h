/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON lines: one object per line, read as a stream. Memory is bounded by the longest line allowed (and what jansson
 * makes of it, up to about 40 bytes per character of numbers), not by the file.
 *
 *   struct jsonl *lines;
 *   if (jsonl_open(&lines, "rollouts.jsonl", JSONL_LINE_DEFAULT, &err) != OPSM_OK) ...
 *   for (json_t *row; (status = jsonl_next(lines, &row, &err)) == OPSM_OK && row; json_decref(row))
 *       if (!usable(row)) { status = jsonl_fail(lines, &err, OPSM_FORMAT, "field 'reward' is missing"); ... }
 *   jsonl_close(lines);
 *
 * Accepted: CRLF line ends, blank lines, a last line without its newline, a UTF-8 byte order mark at the start; what is
 * valid but more than jansson holds, as an unfit value (json_lenient.h), which readers refuse where they need the field.
 * Refused, with file, line and column: anything but an object, text that is not UTF-8, more than 2048 levels of lists
 * and objects, a line above the limit.
 */
#ifndef OPSM_IO_JSONL_H
#define OPSM_IO_JSONL_H
#include "io/json_lenient.h"
#include <jansson.h>
#include <opsm/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 64 MiB: a sequence of a million tokens with three log-prob arrays fits. */
#define JSONL_LINE_DEFAULT ((size_t)64 << 20)

struct jsonl; /* one thread at a time */

/* `path` may be a pipe or terminal ("/dev/stdin"). `line_limit` in bytes, at least 1, without the line end. */
opsm_status jsonl_open(struct jsonl **lines, const char *path, size_t line_limit, opsm_error *err);

/* The same, with `name` for the file in sentences. */
opsm_status jsonl_open_as(struct jsonl **lines, const char *path, const char *name, size_t line_limit, opsm_error *err);

/* The same over bytes that the caller keeps alive; `name` is used in sentences. */
opsm_status jsonl_open_memory(struct jsonl **lines, const void *data, size_t size, const char *name, size_t line_limit,
                              opsm_error *err);

/* The same over standard input, whatever it is. */
opsm_status jsonl_open_stdin(struct jsonl **lines, size_t line_limit, opsm_error *err);

/* Takes texts as a model may have written them: with the escape of a NUL, and with halves of surrogate pairs, which
 * become U+FFFD. A string's length is then json_string_length, and jsonl_unfit tells what json_is_unfit cannot. */
void jsonl_accept_any_text(struct jsonl *lines);

/* Whether a value of the last row is one that jansson had no room for. */
bool jsonl_unfit(const struct jsonl *lines, const json_t *value);

void jsonl_close(struct jsonl *lines); /* NULL is allowed */

/* The next object, a new reference for the caller; NULL with OPSM_OK at the end. After an error the reader stands
 * behind the faulty line and may go on, except after OPSM_IO and a line above the limit, which it repeats. */
opsm_status jsonl_next(struct jsonl *lines, json_t **object, opsm_error *err);

/* Whether the next line has been read from the input already, so that jsonl_next will not wait for it. */
bool jsonl_ready(const struct jsonl *lines);

/* The line that jsonl_next read last, from 1; 0 before the first. */
int64_t jsonl_line(const struct jsonl *lines);

/* "'file', line N: sentence" for a row whose content is wrong; returns `code`. */
opsm_status jsonl_fail(const struct jsonl *lines, opsm_error *err, opsm_status code, const char *format, ...)
    OPSM_PRINTF(4, 5);

#endif
