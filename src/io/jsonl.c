/* SPDX-License-Identifier: Apache-2.0 */
#include "io/jsonl.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/json_lenient.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { FIRST_ROOM = 1 << 16 };

/* A window into the input: bytes [start, end) of the buffer are read but not yet handed out. */
struct jsonl {
    char *path;
    struct file_in in;     /* fd -1: the bytes come from memory */
    const uint8_t *memory; /* what is left of them */
    size_t memory_left;
    size_t limit;
    char *buffer;
    size_t room, start, end;
    int64_t line;
    bool any_text;     /* see jsonl_accept_any_text */
    bool lenient;      /* the last row has unfit values in it */
    double read, size; /* bytes; size 0: not known */
    bool at_end;       /* the input has no more bytes */
    bool open_line;    /* the line in hand has no line end */
    opsm_status stuck; /* an error that going on cannot cure */
};

/* A reader without input; NULL with the sentence when out of memory. */
static struct jsonl *create(const char *name, size_t limit, opsm_error *err) {
    struct jsonl *lines = mem_zalloc(1, sizeof *lines);
    if (lines) {
        lines->in.fd = -1;
        lines->limit = limit;
        lines->path = mem_strdup(name);
        lines->buffer = mem_alloc(FIRST_ROOM, 1);
        lines->room = FIRST_ROOM;
        if (lines->path && lines->buffer) return lines;
    }
    jsonl_close(lines);
    mem_exhausted(err, "a JSON lines reader", FIRST_ROOM);
    return NULL;
}

opsm_status jsonl_open_as(struct jsonl **result, const char *path, const char *name, size_t limit, opsm_error *err) {
    *result = NULL;
    struct jsonl *lines = create(name, limit, err);
    if (!lines) return OPSM_NOMEM;
    opsm_status status = file_in_open(&lines->in, path, lines->path, err);
    if (status != OPSM_OK) {
        jsonl_close(lines);
        return status;
    }
    struct stat st;
    if (fstat(lines->in.fd, &st) == 0 && S_ISREG(st.st_mode)) lines->size = (double)st.st_size;
    *result = lines;
    return OPSM_OK;
}

opsm_status jsonl_open(struct jsonl **result, const char *path, size_t limit, opsm_error *err) {
    return jsonl_open_as(result, path, path, limit, err);
}

opsm_status jsonl_open_memory(struct jsonl **result, const void *data, size_t size, const char *name, size_t limit,
                              opsm_error *err) {
    *result = create(name, limit, err);
    if (!*result) return OPSM_NOMEM;
    (*result)->memory = data;
    (*result)->memory_left = size;
    return OPSM_OK;
}

opsm_status jsonl_open_stdin(struct jsonl **result, size_t limit, opsm_error *err) {
    *result = NULL;
    struct jsonl *lines = create("standard input", limit, err);
    if (!lines) return OPSM_NOMEM;
    opsm_status status = file_in_standard(&lines->in, err);
    if (status == OPSM_OK)
        *result = lines;
    else
        jsonl_close(lines);
    return status;
}

void jsonl_accept_any_text(struct jsonl *lines) {
    lines->any_text = true;
}

bool jsonl_unfit(const struct jsonl *lines, const json_t *value) {
    return lines->lenient && json_is_unfit(value);
}

void jsonl_close(struct jsonl *lines) {
    if (!lines) return;
    if (lines->size > 0) log_phase(NULL, 0, 0);
    file_in_close(&lines->in);
    mem_free(lines->path);
    mem_free(lines->buffer);
    mem_free(lines);
}

int64_t jsonl_line(const struct jsonl *lines) {
    return lines->line;
}

opsm_status jsonl_fail(const struct jsonl *lines, opsm_error *err, opsm_status code, const char *format, ...) {
    char sentence[320];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return opsm_fail(err, code, "'%.150s', line %lld: %s", lines->path, (long long)lines->line, sentence);
}

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

/* Makes room behind the unread bytes: first by moving them to the front, then by growing. A buffer of limit + 2 bytes
 * holds the longest line with its CR LF. */
static opsm_status make_room(struct jsonl *lines, opsm_error *err) {
    size_t unread = lines->end - lines->start;
    if (lines->start > 0) {
        memmove(lines->buffer, lines->buffer + lines->start, unread);
        lines->start = 0;
        lines->end = unread;
    }
    if (lines->end < lines->room) return OPSM_OK;
    char *bigger = mem_resize(lines->buffer, lines->room, lines->room * 2, 1);
    if (!bigger) return mem_exhausted(err, "a line of JSON", lines->room * 2);
    lines->buffer = bigger;
    lines->room *= 2;
    return OPSM_OK;
}

static opsm_status fill(struct jsonl *lines, opsm_error *err) {
    opsm_status status = make_room(lines, err);
    if (status != OPSM_OK) return status;
    size_t wanted = lines->room - lines->end;
    if (lines->in.fd < 0) {
        size_t n = lines->memory_left < wanted ? lines->memory_left : wanted;
        if (n > 0) memcpy(lines->buffer + lines->end, lines->memory, n);
        if (n > 0) lines->memory += n;
        lines->memory_left -= n;
        lines->end += n;
        lines->at_end = n == 0;
        return OPSM_OK;
    }
    size_t n;
    status = file_in_read(&lines->in, lines->buffer + lines->end, wanted, &n, err);
    if (status != OPSM_OK) return status;
    lines->end += n;
    lines->at_end = n == 0;
    lines->read += (double)n;
    if (lines->size > 0) log_phase("reading", lines->read / lines->size, 1);
    return OPSM_OK;
}

/* The next line without its end. *text is NULL when there is none; it stays valid until the next call. */
static opsm_status next_line(struct jsonl *lines, const char **text, size_t *length, opsm_error *err) {
    *text = NULL;
    size_t searched = 0;
    for (;;) {
        const char *from = lines->buffer + lines->start;
        size_t unread = lines->end - lines->start;
        const char *newline = memchr(from + searched, '\n', unread - searched);
        searched = unread;
        size_t n = newline ? (size_t)(newline - from) : unread;
        bool whole = newline || lines->at_end;
        if (whole && n == 0 && !newline) return OPSM_OK;
        size_t content = n > 0 && from[n - 1] == '\r' ? n - 1 : n;
        if (content > lines->limit) {
            lines->line++;
            return jsonl_fail(lines, err, OPSM_FORMAT, "the line is longer than %zu bytes, and no more are read of one",
                              lines->limit);
        }
        if (whole) {
            lines->line++;
            lines->open_line = !newline;
            lines->start += n + (newline ? 1 : 0);
            *text = from;
            *length = content;
            return OPSM_OK;
        }
        opsm_status status = fill(lines, err);
        if (status != OPSM_OK) return status;
    }
}

bool jsonl_ready(const struct jsonl *lines) {
    return lines->at_end || memchr(lines->buffer + lines->start, '\n', lines->end - lines->start);
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static bool is_blank(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r') return false;
    return true;
}

/* Editors of some systems put a byte order mark in front of a file. */
static void skip_byte_order_mark(const struct jsonl *lines, const char **text, size_t *length) {
    if (lines->line != 1 || *length < 3 || memcmp(*text, "\xef\xbb\xbf", 3) != 0) return;
    *text += 3;
    *length -= 3;
}

/* The code unit of an escape like "\u12ab" at text, -1 where there is none. */
static int32_t escaped_unit(const char *text, size_t length) {
    if (length < 6 || text[0] != '\\' || text[1] != 'u') return -1;
    int32_t unit = 0;
    for (int i = 2; i < 6; i++) {
        char c = text[i], lower = (char)(c | 0x20);
        int digit = c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
        if (digit < 0) return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

static bool is_high(int32_t unit) {
    return unit >= 0xd800 && unit < 0xdc00;
}

static bool is_low(int32_t unit) {
    return unit >= 0xdc00 && unit < 0xe000;
}

/* A text that was cut inside of a character is written with half a surrogate pair; the replacement is as long. */
static void mend_surrogates(char *text, size_t length) {
    static const char replacement[4] = {'f', 'f', 'f', 'd'};
    char *end = text + length;
    while ((text = memchr(text, '\\', (size_t)(end - text)))) {
        int32_t unit = escaped_unit(text, (size_t)(end - text));
        bool pair = is_high(unit) && is_low(escaped_unit(text + 6, (size_t)(end - text - 6)));
        if (!pair && (is_high(unit) || is_low(unit))) memcpy(text + 2, replacement, sizeof replacement);
        text += pair ? 12 : unit >= 0 ? 6 : end - text > 1 ? 2 : 1;
    }
}

static opsm_status parse_row(struct jsonl *lines, const char *text, size_t length, json_t **object, opsm_error *err) {
    json_error_t problem;
    if (lines->any_text) mend_surrogates(lines->buffer + (text - lines->buffer), length);
    size_t flags = JSON_REJECT_DUPLICATES | (lines->any_text ? JSON_ALLOW_NUL : 0);
    json_t *row = json_loadb(text, length, flags, &problem);
    bool lenient = lines->lenient = !row && json_lenient_helps(&problem);
    if (lenient) row = json_lenient_load(text, length, lines->any_text, &problem);
    /* Out of memory, jansson mostly leaves the description empty; on some paths it takes the missing value for a fault
     * of the text, which cannot be told apart. */
    if (!row && (!problem.text[0] || json_error_code(&problem) == json_error_out_of_memory)) {
        lines->stuck = OPSM_NOMEM;
        return mem_exhausted(err, "a line of JSON", length);
    }
    bool cut = lines->open_line && !row && json_error_code(&problem) == json_error_premature_end_of_input;
    const char *rule = cut ? "the file ends inside this line: it was cut off or is still being written"
                           : "every line must be one JSON object";
    if (!row && lenient) return jsonl_fail(lines, err, OPSM_FORMAT, "%s; %s", problem.text, rule);
    if (!row)
        return jsonl_fail(lines, err, OPSM_FORMAT, "column %d: %s; %s", problem.column > 0 ? problem.column : 1,
                          problem.text, rule);
    if (!json_is_object(row)) {
        json_decref(row);
        return jsonl_fail(lines, err, OPSM_FORMAT, "column 1: a JSON array; every line must be one JSON object");
    }
    *object = row;
    return OPSM_OK;
}

opsm_status jsonl_next(struct jsonl *lines, json_t **object, opsm_error *err) {
    *object = NULL;
    if (lines->stuck != OPSM_OK)
        return jsonl_fail(lines, err, lines->stuck, "reading cannot go on after an earlier error");
    const char *text;
    size_t length;
    do {
        opsm_status status = next_line(lines, &text, &length, err);
        if (status != OPSM_OK) lines->stuck = status;
        if (status != OPSM_OK || !text) return status;
        skip_byte_order_mark(lines, &text, &length);
    } while (is_blank(text, length));
    return parse_row(lines, text, length, object, err);
}
