/* SPDX-License-Identifier: Apache-2.0 */
#include "io/json_members.h"
#include "base/mem.h"
#include <string.h>

static opsm_status expected(const struct json_members *m, const char *what) {
    return opsm_fail(m->err, OPSM_FORMAT, "'%.150s', byte %zu: expected %s", m->file, m->offset + m->at, what);
}

/* The next character that is no white space; NUL at the end. */
static char next_mark(struct json_members *m) {
    while (m->at < m->length && m->text[m->at] != '\0' && strchr(" \t\r\n", m->text[m->at])) m->at++;
    return m->at < m->length ? m->text[m->at] : '\0';
}

/* Behind the string that begins at `at`. */
static size_t string_end(const struct json_members *m, size_t at) {
    for (at++; at < m->length && m->text[at] != '"'; at++)
        if (m->text[at] == '\\') at++;
    return at < m->length ? at + 1 : m->length;
}

/* The next comma or bracket that belongs to the object itself: what stands before it is the value that begins at `at`. */
static size_t value_end(const struct json_members *m, size_t at) {
    size_t depth = 0;
    while (at < m->length) {
        char c = m->text[at];
        bool opens = c == '{' || c == '[', closes = c == '}' || c == ']';
        if (depth == 0 && (closes || c == ',')) return at;
        at = c == '"' ? string_end(m, at) : at + 1;
        depth += opens;
        depth -= closes;
    }
    return m->length;
}

static struct text_view take(struct json_members *m, size_t end) {
    struct text_view part = {.data = m->text + m->at, .length = end - m->at};
    m->at = end;
    return part;
}

static opsm_status close_whole(struct json_members *m) {
    m->at++;
    if (next_mark(m) == '\0' && m->at == m->length) return OPSM_OK;
    return expected(m, m->list ? "nothing behind the list" : "nothing behind the object");
}

/* The key and its colon. */
static opsm_status take_key(struct json_members *m, struct json_member *member) {
    if (next_mark(m) != '"') return expected(m, "a name in quotes");
    member->key = take(m, string_end(m, m->at));
    if (next_mark(m) != ':') return expected(m, "':'");
    m->at++;
    return OPSM_OK;
}

opsm_status json_members_next(struct json_members *m, struct json_member *member) {
    char mark = next_mark(m), open = m->list ? '[' : '{', close = m->list ? ']' : '}';
    *member = (struct json_member){0};
    if (!m->started && mark != open) return expected(m, m->list ? "a JSON list" : "a JSON object");
    if (m->started && mark != ',' && mark != close) return expected(m, m->list ? "',' or ']'" : "',' or '}'");
    if (mark != close) m->at++;
    member->end = mark == close || (mark == open && next_mark(m) == close);
    m->started = true;
    if (member->end) return close_whole(m);
    opsm_status status = m->list ? OPSM_OK : take_key(m, member);
    if (status != OPSM_OK) return status;
    next_mark(m);
    member->value = take(m, value_end(m, m->at));
    return OPSM_OK;
}

opsm_status json_members_parse(const struct json_members *m, json_t **value, struct text_view part) {
    json_error_t problem;
    *value = json_loadb(part.data, part.length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &problem);
    if (*value) return OPSM_OK;
    if (!problem.text[0] || json_error_code(&problem) == json_error_out_of_memory)
        return mem_exhausted(m->err, "a part of a JSON object", part.length);
    size_t at = m->offset + (size_t)(part.data - m->text) + (size_t)(problem.position > 0 ? problem.position : 0);
    return opsm_fail(m->err, OPSM_FORMAT, "'%.150s', byte %zu: %s", m->file, at, problem.text);
}
