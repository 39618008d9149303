/* SPDX-License-Identifier: Apache-2.0 */
#include "data/dataset_row.h"
#include "base/mem.h"
#include "base/text.h"
#include "text/unicode.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The fields of an object as "a, b, c", for sentences. */
static void list_fields(const json_t *object, char *list, size_t room) {
    const char *key;
    json_t *value;
    size_t used = 0;
    snprintf(list, room, "none");
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        int n = snprintf(list + used, room - used, "%s%.40s", used ? ", " : "", key);
        if (n < 0 || (size_t)n >= room - used) break;
        used += (size_t)n;
    }
}

static const char *kind_of(const json_t *value) {
    if (json_large_number(value)) return "a number";
    if (json_is_unfit(value)) return "a NUL or half of a surrogate pair in it, or the field twice";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a text";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_NULL:
        return "null";
    default:
        return "a boolean";
    }
}

/* The value of a field: "a.b" is a field of that very name, else field b of the object a. NULL: not there. */
static const json_t *find_field(const json_t *row, const char *field) {
    const json_t *value = json_object_get(row, field);
    const char *key;
    json_t *inner;
    if (!value && strchr(field, '.')) {
        json_object_foreach((json_t *)(uintptr_t)row, key, inner) {
            size_t n = strlen(key);
            if (strncmp(field, key, n) != 0 || field[n] != '.') continue;
            if (json_is_object(inner) && (value = find_field(inner, field + n + 1))) break;
        }
    }
    return value;
}

static opsm_status missing_field(const json_t *row, const char *field, const char *setting, const struct jsonl *lines,
                                 opsm_error *err) {
    char fields[160];
    list_fields(row, fields, sizeof fields);
    return jsonl_fail(lines, err, OPSM_FORMAT, "no field '%.60s', only: %s; name the right one with data.%s", field,
                      fields, setting);
}

/* A scalar as text. */
static opsm_status scalar_text(const json_t *value, const char *field, const struct jsonl *lines, struct text *text,
                               opsm_error *err) {
    if (json_is_string(value) && !json_is_unfit(value) && strlen(json_string_value(value)) != json_string_length(value))
        return jsonl_fail(lines, err, OPSM_FORMAT, "field '%.60s' holds a NUL character", field);
    if (json_large_number(value))
        text_puts(text, json_large_number(value));
    else if (json_is_string(value) && !json_is_unfit(value))
        text_append(text, json_string_value(value), json_string_length(value));
    else if (json_is_integer(value))
        text_printf(text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        text_number(text, json_real_value(value));
    else if (json_is_boolean(value))
        text_puts(text, json_is_true(value) ? "true" : "false");
    else
        return jsonl_fail(lines, err, OPSM_FORMAT,
                          "field '%.60s' must be a text, a number or a list of these, found %s", field, kind_of(value));
    if (text->failed) return mem_exhausted(err, "a dataset's text", text->room);
    return OPSM_OK;
}

/* ---- what judges a response -------------------------------------------------------------------------------------- */

enum { ANSWERS_MAX = 1000, NUMBERS_MAX = 1000 };

void row_memory_free(struct row_memory *memory) {
    text_free(&memory->answers);
    text_free(&memory->solution);
    text_free(&memory->tools);
    mem_free(memory->more);
    mem_free(memory->numbers);
    mem_free(memory->messages);
}

/* The accepted answers, one behind the other in memory->answers, each ended by its NUL. */
static opsm_status read_answers(const json_t *value, const char *field, const struct jsonl *lines,
                                struct row_memory *memory, struct problem *parts, opsm_error *err) {
    size_t n = json_is_array(value) ? json_array_size(value) : 1;
    if (n > ANSWERS_MAX)
        return jsonl_fail(lines, err, OPSM_FORMAT, "field '%.60s' lists %zu answers; at most %d are possible", field, n,
                          ANSWERS_MAX);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_is_array(value) ? json_array_get(value, i) : value;
        opsm_status status = scalar_text(item, field, lines, &memory->answers, err);
        if (status != OPSM_OK) return status;
        text_append(&memory->answers, "", 1);
    }
    memory->more = mem_alloc(n, sizeof *memory->more);
    if (!memory->more || memory->answers.failed) return mem_exhausted(err, "a dataset's answers", memory->answers.room);
    const char *at = memory->answers.data;
    for (size_t i = 0; i < n; i++, at += strlen(at) + 1) memory->more[i] = at;
    if (n == 0) return OPSM_OK;
    parts->answer = memory->more[0];
    parts->more_answers = memory->more + 1;
    parts->n_more_answers = (int)n - 1;
    return OPSM_OK;
}

static bool whole_number(const json_t *value, int64_t *number) {
    double real = json_real_value(value);
    if (json_is_real(value) && !(real == floor(real) && fabs(real) < 0x1p53)) return false;
    *number = json_is_real(value) ? (int64_t)real : json_integer_value(value);
    return json_is_number(value);
}

/* `numbers` and `target` of the row; anything else under these names is somebody else's and left alone: a verifier
 * that needs them says so. */
static opsm_status read_numbers(const json_t *object, struct row_memory *memory, struct problem *parts,
                                opsm_error *err) {
    const json_t *list = json_object_get(object, "numbers");
    size_t n = json_array_size(list);
    int64_t target;
    if (n == 0 || n > NUMBERS_MAX || !whole_number(json_object_get(object, "target"), &target)) return OPSM_OK;
    memory->numbers = mem_alloc(n, sizeof *memory->numbers);
    if (!memory->numbers) return mem_exhausted(err, "a dataset's numbers", n * sizeof *memory->numbers);
    for (size_t i = 0; i < n; i++)
        if (!whole_number(json_array_get(list, i), &memory->numbers[i])) return OPSM_OK;
    parts->numbers = memory->numbers;
    parts->n_numbers = (int)n;
    parts->target = target;
    return OPSM_OK;
}

opsm_status dataset_row_reference(struct problem *parts, struct row_memory *memory, const struct dataset_spec *spec,
                                  const json_t *row, const struct jsonl *lines, opsm_error *err) {
    const char *field = spec->answer ? spec->answer : "answer";
    const json_t *value = find_field(row, field);
    bool puzzle = json_is_object(value) && json_object_get(value, "numbers") && json_object_get(value, "target");
    opsm_status status = read_numbers(puzzle ? value : row, memory, parts, err);
    if (status != OPSM_OK || !value || json_is_null(value) || puzzle) return status;
    return read_answers(value, field, lines, memory, parts, err);
}

/* ---- what the model is asked ------------------------------------------------------------------------------------- */

/* Has neither ink nor, by its class, width: a space or joiner of no width, a byte order mark. */
static bool is_invisible(uint32_t code) {
    return (code >= 0x200b && code <= 0x200d) || code == 0x2060 || code == 0xfeff;
}

/* Nothing but white space: a model would be asked nothing. */
static bool is_blank(const char *text) {
    const uint8_t *at = (const uint8_t *)text;
    for (size_t left = strlen(text), n; left > 0; at += n, left -= n) {
        uint32_t code;
        n = utf8_decode(at, left, &code);
        if (n == 0 || (unicode_class(code) != CHAR_SPACE && !is_invisible(code))) return false;
    }
    return true;
}

static opsm_status read_message(const json_t *item, size_t index, struct chat_message *message,
                                const struct jsonl *lines, opsm_error *err) {
    if (!json_is_object(item))
        return jsonl_fail(lines, err, OPSM_FORMAT, "message %zu must be an object with role and content, found %s",
                          index + 1, kind_of(item));
    message->role = json_string_value(json_object_get(item, "role"));
    message->content = json_string_value(json_object_get(item, "content"));
    bool unfit = json_is_unfit(json_object_get(item, "content"));
    if (!message->role || !message->content || unfit)
        return jsonl_fail(lines, err, OPSM_FORMAT, "message %zu needs a text '%s'", index + 1,
                          message->role ? "content" : "role");
    const char *known[] = {"system", "user", "assistant"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(message->role, known[i])) return OPSM_OK;
    return jsonl_fail(lines, err, OPSM_FORMAT, "message %zu has the role '%.40s'; known are system, user and assistant",
                      index + 1, message->role);
}

/* A conversation; the texts in `parts` point into the JSON. *messages is the caller's to free. */
static opsm_status read_messages(const json_t *list, struct problem *parts, struct chat_message **messages,
                                 const struct jsonl *lines, opsm_error *err) {
    size_t n = json_array_size(list);
    *messages = mem_alloc(n, sizeof **messages);
    if (!*messages) return mem_exhausted(err, "a conversation", n * sizeof **messages);
    for (size_t i = 0; i < n; i++) {
        opsm_status status = read_message(json_array_get(list, i), i, &(*messages)[i], lines, err);
        if (status != OPSM_OK) return status;
    }
    if (n > 0 && !strcmp((*messages)[n - 1].role, "assistant")) parts->solution = (*messages)[--n].content;
    if (n == 0 || strcmp((*messages)[n - 1].role, "user") != 0)
        return jsonl_fail(lines, err, OPSM_FORMAT,
                          "the conversation must have a message of the user, right before the assistant's last one "
                          "if there is one");
    if (is_blank((*messages)[n - 1].content))
        return jsonl_fail(lines, err, OPSM_MISSING, "message %zu, the user's last, is empty or blank", n);
    if (n > INT32_MAX) return jsonl_fail(lines, err, OPSM_FORMAT, "too many messages");
    parts->messages = *messages;
    parts->n_messages = (int)n;
    parts->prompt = (*messages)[n - 1].content;
    return OPSM_OK;
}

static opsm_status read_prompt(const json_t *row, const struct dataset_spec *spec, struct problem *parts,
                               struct chat_message **messages, const struct jsonl *lines, opsm_error *err) {
    const char *field = spec->prompt ? spec->prompt : json_object_get(row, "messages") ? "messages" : "prompt";
    const json_t *value = find_field(row, field);
    if (!value) return missing_field(row, field, "prompt", lines, err);
    if (json_is_array(value)) return read_messages(value, parts, messages, lines, err);
    if (!json_is_string(value) || json_is_unfit(value))
        return jsonl_fail(lines, err, OPSM_FORMAT, "field '%.60s' must be a text or a list of messages, found %s",
                          field, kind_of(value));
    parts->prompt = json_string_value(value);
    if (is_blank(parts->prompt)) return jsonl_fail(lines, err, OPSM_MISSING, "field '%.60s' is empty or blank", field);
    return OPSM_OK;
}

static opsm_status read_solution(const json_t *row, const struct dataset_spec *spec, struct row_memory *memory,
                                 struct problem *parts, const struct jsonl *lines, opsm_error *err) {
    const json_t *value = find_field(row, spec->solution);
    if (!value || json_is_null(value)) return missing_field(row, spec->solution, "solution", lines, err);
    opsm_status status = scalar_text(value, spec->solution, lines, &memory->solution, err);
    parts->solution = memory->solution.data;
    return status;
}

/* Whether it and all in it are what they were written as. */
static bool is_fit(const json_t *value) {
    const char *key;
    json_t *item;
    size_t i;
    json_array_foreach((json_t *)value, i, item) if (!is_fit(item)) return false;
    json_object_foreach((json_t *)value, key, item) if (!is_fit(item)) return false;
    return !json_is_unfit(value);
}

/* The field `tools`: a list, or (as some files have it) a text that is JSON of one. Other texts are none of a template. */
static opsm_status read_tools(const json_t *row, struct row_memory *memory, struct problem *parts,
                              const struct jsonl *lines, opsm_error *err) {
    const json_t *value = json_object_get(row, "tools");
    const char *text = json_string_value(value);
    if (!value || json_is_null(value) || (text && *text != '[' && !json_is_unfit(value))) return OPSM_OK;
    json_t *list = text ? json_loads(text, 0, NULL) : json_incref((json_t *)value);
    bool right = json_is_array(list) && is_fit(list);
    char *copy = right ? json_dumps(list, JSON_COMPACT) : NULL;
    json_decref(list);
    if (!right) return jsonl_fail(lines, err, OPSM_FORMAT, "field 'tools' must be a list, found %s", kind_of(value));
    if (copy) text_puts(&memory->tools, copy);
    parts->tools = memory->tools.data;
    free(copy);
    return copy && !memory->tools.failed ? OPSM_OK : mem_exhausted(err, "a row's tools", 0);
}

static opsm_status read_row(const json_t *row, const struct dataset_spec *spec, struct row_memory *memory,
                            struct problem *problem, const struct jsonl *lines, opsm_error *err) {
    struct problem parts = {.line = jsonl_line(lines)};
    opsm_status status = read_prompt(row, spec, &parts, &memory->messages, lines, err);
    /* A field with a default name is optional, one that was named is not. */
    const json_t *answer = spec->answer ? find_field(row, spec->answer) : json_true();
    if (status == OPSM_OK && (!answer || json_is_null(answer)))
        status = missing_field(row, spec->answer, "answer", lines, err);
    if (status == OPSM_OK) status = dataset_row_reference(&parts, memory, spec, row, lines, err);
    if (status == OPSM_OK) status = read_tools(row, memory, &parts, lines, err);
    const char *said = parts.solution; /* by the assistant */
    if (!parts.answer) parts.answer = said;
    if (!parts.solution) parts.solution = parts.answer;
    if (status == OPSM_OK && spec->solution) status = read_solution(row, spec, memory, &parts, lines, err);
    return status == OPSM_OK ? problem_copy(problem, &parts, err) : status;
}

opsm_status dataset_row(struct problem *problem, const struct dataset_spec *spec, const json_t *row,
                        const struct jsonl *lines, opsm_error *err) {
    *problem = (struct problem){0};
    struct row_memory memory = {0};
    opsm_status status = read_row(row, spec, &memory, problem, lines, err);
    row_memory_free(&memory);
    return status;
}
