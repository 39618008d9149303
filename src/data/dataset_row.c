/* SPDX-License-Identifier: Apache-2.0 */
#include "data/dataset_row.h"
#include "base/mem.h"
#include "base/text.h"
#include <stdio.h>
#include <string.h>

/* The fields of an object as "a, b, c", for sentences. */
static void list_fields(const json_t *object, char *list, size_t room) {
    const char *key;
    json_t *value;
    size_t used = 0;
    list[0] = '\0';
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        int n = snprintf(list + used, room - used, "%s%.40s", used ? ", " : "", key);
        if (n < 0 || (size_t)n >= room - used) break;
        used += (size_t)n;
    }
}

static const char *kind_of(const json_t *value) {
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
    if (json_is_string(value))
        text_append(text, json_string_value(value), json_string_length(value));
    else if (json_is_integer(value))
        text_printf(text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        text_number(text, json_real_value(value));
    else if (json_is_boolean(value))
        text_puts(text, json_is_true(value) ? "true" : "false");
    else
        return jsonl_fail(lines, err, OPSM_FORMAT, "field '%.60s' must be a text or a number, found %s", field,
                          kind_of(value));
    if (text->failed) return mem_exhausted(err, "a dataset's text", text->room);
    return OPSM_OK;
}

/* A field with a default name is optional, one that was named is not. */
static opsm_status optional_field(const json_t *row, const char *named, const char *usual, const char *setting,
                                  const struct jsonl *lines, struct text *text, opsm_error *err) {
    const json_t *value = json_object_get(row, named ? named : usual);
    if (!value || json_is_null(value)) return named ? missing_field(row, named, setting, lines, err) : OPSM_OK;
    return scalar_text(value, named ? named : usual, lines, text, err);
}

static opsm_status read_message(const json_t *item, size_t index, struct chat_message *message,
                                const struct jsonl *lines, opsm_error *err) {
    if (!json_is_object(item))
        return jsonl_fail(lines, err, OPSM_FORMAT, "message %zu must be an object with role and content, found %s",
                          index + 1, kind_of(item));
    message->role = json_string_value(json_object_get(item, "role"));
    message->content = json_string_value(json_object_get(item, "content"));
    if (!message->role || !message->content)
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
    if (n > INT32_MAX) return jsonl_fail(lines, err, OPSM_FORMAT, "too many messages");
    parts->messages = *messages;
    parts->n_messages = (int)n;
    parts->prompt = (*messages)[n - 1].content;
    return OPSM_OK;
}

static opsm_status read_prompt(const json_t *row, const struct dataset_spec *spec, struct problem *parts,
                               struct chat_message **messages, const struct jsonl *lines, opsm_error *err) {
    const char *field = spec->prompt ? spec->prompt : json_object_get(row, "messages") ? "messages" : "prompt";
    const json_t *value = json_object_get(row, field);
    if (!value) return missing_field(row, field, "prompt", lines, err);
    if (json_is_array(value)) return read_messages(value, parts, messages, lines, err);
    if (!json_is_string(value))
        return jsonl_fail(lines, err, OPSM_FORMAT, "field '%.60s' must be a text or a list of messages, found %s",
                          field, kind_of(value));
    parts->prompt = json_string_value(value);
    if (parts->prompt[0] == '\0') return jsonl_fail(lines, err, OPSM_FORMAT, "field '%.60s' is empty", field);
    return OPSM_OK;
}

/* What a row's problem points into until it is copied. */
struct row_memory {
    struct text answer, solution;
    struct chat_message *messages;
};

static opsm_status read_row(const json_t *row, const struct dataset_spec *spec, struct row_memory *memory,
                            struct problem *problem, const struct jsonl *lines, opsm_error *err) {
    struct problem parts = {0};
    struct text *answer = &memory->answer, *solution = &memory->solution;
    opsm_status status = read_prompt(row, spec, &parts, &memory->messages, lines, err);
    if (status == OPSM_OK) status = optional_field(row, spec->answer, "answer", "answer", lines, answer, err);
    if (status == OPSM_OK && spec->solution)
        status = optional_field(row, spec->solution, "", "solution", lines, solution, err);
    if (status != OPSM_OK) return status;
    const char *said = parts.solution; /* by the assistant */
    parts.answer = answer->data ? answer->data : said;
    parts.solution = solution->data ? solution->data : said ? said : parts.answer;
    return problem_copy(problem, &parts, err);
}

opsm_status dataset_row(struct problem *problem, const struct dataset_spec *spec, const json_t *row,
                        const struct jsonl *lines, opsm_error *err) {
    *problem = (struct problem){0};
    struct row_memory memory = {0};
    opsm_status status = read_row(row, spec, &memory, problem, lines, err);
    mem_free(memory.messages);
    text_free(&memory.answer);
    text_free(&memory.solution);
    return status;
}
