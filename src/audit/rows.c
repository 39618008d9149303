/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/rows.h"
#include "base/mem.h"
#include "io/jsonl.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const column_names[AUDIT_COLUMNS] = {"logp_current", "logp_behavior", "logp_trainer",
                                                        "logp_reference", "advantage"};

struct audit_rows {
    struct jsonl *lines;
    char *path;
    json_t *pending; /* first row of the next group, already read */
    int64_t pending_line, row;
    struct audit_group group;
};

opsm_status audit_rows_open(struct audit_rows **result, const char *path, const char *name, opsm_error *err) {
    *result = NULL;
    struct audit_rows *rows = mem_zalloc(1, sizeof *rows);
    if (!rows) return mem_exhausted(err, "the rollout reader", sizeof *rows);
    rows->path = mem_strdup(name);
    opsm_status status = rows->path ? jsonl_open_as(&rows->lines, path, name, JSONL_LINE_DEFAULT, err)
                                    : mem_exhausted(err, "a file name", strlen(name));
    if (status == OPSM_OK)
        *result = rows;
    else
        audit_rows_close(rows);
    return status;
}

void audit_rows_close(struct audit_rows *rows) {
    if (!rows) return;
    jsonl_close(rows->lines);
    json_decref(rows->pending);
    for (int c = 0; c < AUDIT_COLUMNS; c++) mem_free(rows->group.columns[c]);
    mem_free(rows->group.mask);
    mem_free(rows->group.ids);
    mem_free(rows->group.rows);
    mem_free(rows->group.label);
    mem_free(rows->path);
    mem_free(rows);
}

opsm_status audit_rows_fail(const struct audit_rows *rows, const struct audit_row *row, opsm_status code,
                            const char *sentence, opsm_error *err) {
    return opsm_fail(err, code, "'%.200s', line %lld: %s", rows->path, (long long)row->line, sentence);
}

/* FNV-1a; never 0. */
static uint64_t hash(const char *text, size_t length) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < length; i++) h = (h ^ (unsigned char)text[i]) * 0x100000001b3u;
    return h ? h : 1;
}

/* The key of the id whose JSON text is `label` had it been written as the other type. */
static uint64_t twin_of(const char *label) {
    size_t length = strlen(label);
    if (label[0] != '"') {
        char quoted[32];
        return hash(quoted, (size_t)snprintf(quoted, sizeof quoted, "\"%.24s\"", label));
    }
    size_t digits = strspn(label + 1 + (label[1] == '-'), "0123456789");
    bool integer = digits > 0 && digits < 20 && 2 + (label[1] == '-') + digits == length;
    return integer ? hash(label + 1, length - 2) : 0;
}

/* ---- Room ---- */

static opsm_status grow_tokens(struct audit_group *group, int64_t more, opsm_error *err) {
    int64_t needed = group->n_tokens + more, room = group->tokens_room ? group->tokens_room : 1024;
    if (needed <= group->tokens_room) return OPSM_OK;
    while (room < needed) room *= 2;
    size_t old_count = (size_t)group->tokens_room, count = (size_t)room;
    for (int c = 0; c < AUDIT_COLUMNS; c++) {
        float *grown = mem_resize(group->columns[c], old_count, count, sizeof *grown);
        if (!grown) return mem_exhausted(err, "a group's log-probs", count * sizeof *grown);
        group->columns[c] = grown;
    }
    uint8_t *mask = mem_resize(group->mask, old_count, count, 1);
    if (!mask) return mem_exhausted(err, "a group's mask", count);
    group->mask = mask;
    int64_t *ids = mem_resize(group->ids, old_count, count, sizeof *ids);
    if (!ids) return mem_exhausted(err, "a group's token ids", count * sizeof *ids);
    group->ids = ids;
    group->tokens_room = room;
    return OPSM_OK;
}

static opsm_status grow_rows(struct audit_group *group, opsm_error *err) {
    if (group->n_rows < group->rows_room) return OPSM_OK;
    int64_t room = group->rows_room ? 2 * group->rows_room : 16;
    struct audit_row *grown = mem_resize(group->rows, (size_t)group->rows_room, (size_t)room, sizeof *grown);
    if (!grown) return mem_exhausted(err, "a group's rows", (size_t)room * sizeof *grown);
    group->rows = grown;
    group->rows_room = room;
    return OPSM_OK;
}

/* ---- One row ---- */

static opsm_status row_fail(const struct audit_rows *rows, int64_t line, opsm_error *err, const char *format, ...)
    OPSM_PRINTF(4, 5);

static opsm_status row_fail(const struct audit_rows *rows, int64_t line, opsm_error *err, const char *format, ...) {
    char sentence[400];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return opsm_fail(err, OPSM_FORMAT, "'%.200s', line %lld: %s", rows->path, (long long)line, sentence);
}

/* A number, or null for "not a number": engines leave out what they do not know (the first prompt token, say). */
static bool read_number(const json_t *value, float *out) {
    if (json_is_null(value))
        *out = NAN;
    else if (json_is_number(value))
        *out = (float)json_number_value(value);
    else
        return false;
    return true;
}

/* Arrays of different lengths are mostly a text that was tokenised twice. */
static opsm_status length_fail(const struct audit_rows *rows, int64_t line, const char *name, size_t found,
                               int64_t length, opsm_error *err) {
    return row_fail(rows, line, err,
                    "\"%s\" has %zu elements, \"logp_current\" %lld: all arrays of a row have one length. Was the text "
                    "tokenised again after sampling? Keep the sampler's own token ids, and score those",
                    name, found, (long long)length);
}

static opsm_status read_array(const struct audit_rows *rows, int64_t line, const char *name, const json_t *array,
                              int64_t length, float *out, opsm_error *err) {
    if (!json_is_array(array)) return row_fail(rows, line, err, "\"%s\" is not an array of numbers", name);
    if ((int64_t)json_array_size(array) != length)
        return length_fail(rows, line, name, json_array_size(array), length, err);
    for (int64_t t = 0; t < length; t++)
        if (!read_number(json_array_get(array, (size_t)t), &out[t]))
            return row_fail(rows, line, err, "element %lld of \"%s\" is not a number", (long long)t, name);
    return OPSM_OK;
}

/* [] and [null, null]: what a dump writes for a row of which the engine told nothing. */
static bool holds_nothing(const json_t *array) {
    size_t t = 0;
    while (t < json_array_size(array) && json_is_null(json_array_get(array, t))) t++;
    return json_is_null(array) || (json_is_array(array) && t == json_array_size(array));
}

static opsm_status read_mask(const struct audit_rows *rows, int64_t line, const json_t *array, int64_t length,
                             uint8_t *out, opsm_error *err) {
    memset(out, 1, (size_t)length);
    if (!array || json_is_null(array)) return OPSM_OK;
    if (!json_is_array(array) || (int64_t)json_array_size(array) != length)
        return row_fail(rows, line, err, "\"mask\" is not an array of %lld elements, as \"logp_current\" is",
                        (long long)length);
    for (int64_t t = 0; t < length; t++) {
        const json_t *value = json_array_get(array, (size_t)t);
        double x = json_is_boolean(value) ? (double)json_is_true(value) : json_number_value(value);
        if (!(json_is_boolean(value) || json_is_number(value)) || (x != 0 && x != 1))
            return row_fail(rows, line, err, "element %lld of \"mask\" is neither 0 nor 1", (long long)t);
        out[t] = x != 0;
    }
    return OPSM_OK;
}

static opsm_status read_advantage(const struct audit_rows *rows, int64_t line, const json_t *value,
                                  struct audit_group *group, struct audit_row *row, opsm_error *err) {
    float *tokens = group->columns[AUDIT_ADVANTAGE] + row->first;
    row->given = AUDIT_FROM_REWARD;
    for (int64_t t = 0; t < row->length; t++) tokens[t] = 0;
    if (!value || json_is_null(value)) return OPSM_OK;
    if (json_is_array(value)) {
        row->given = AUDIT_PER_TOKEN;
        return read_array(rows, line, "advantage", value, row->length, tokens, err);
    }
    if (!json_is_number(value))
        return row_fail(rows, line, err, "\"advantage\" is neither a number, an array nor null");
    row->given = AUDIT_PER_SEQUENCE;
    row->advantage = (float)json_number_value(value);
    for (int64_t t = 0; t < row->length; t++) tokens[t] = row->advantage;
    return OPSM_OK;
}

static opsm_status read_scalars(const struct audit_rows *rows, int64_t line, const json_t *object,
                                struct audit_row *row, opsm_error *err) {
    const json_t *reward = json_object_get(object, "reward"), *version = json_object_get(object, "version");
    const json_t *step = json_object_get(object, "step");
    row->reward = json_is_number(reward) ? json_number_value(reward) : (double)NAN;
    if (reward && !json_is_number(reward) && !json_is_null(reward))
        return row_fail(rows, line, err, "\"reward\" is not a number");
    row->version = json_is_integer(version) ? (int64_t)json_integer_value(version) : -1;
    row->first_step = json_is_integer(step) && json_integer_value(step) == 0;
    return OPSM_OK;
}

/* Ids as integers, texts as their hash: the doctor compares them and nothing else. */
static bool read_ids(const json_t *array, int64_t length, int64_t *out) {
    if (!json_is_array(array)) return false;
    for (int64_t t = 0; t < length; t++) {
        const json_t *value = json_array_get(array, (size_t)t);
        if (json_is_integer(value))
            out[t] = (int64_t)json_integer_value(value);
        else if (json_is_string(value))
            out[t] = (int64_t)hash(json_string_value(value), json_string_length(value));
        else
            return false;
    }
    return true;
}

static int64_t count_differing(const json_t *a, const json_t *b) {
    int64_t differ = 0;
    for (size_t t = 0; t < json_array_size(a); t++) differ += !json_equal(json_array_get(a, t), json_array_get(b, t));
    return differ;
}

/* What only the doctor looks at: it may be missing or of any kind. */
static opsm_status read_extras(const struct audit_rows *rows, int64_t line, const json_t *object, int64_t *ids,
                               struct audit_row *row, opsm_error *err) {
    const json_t *tokens = json_object_get(object, "tokens"), *sampled = json_object_get(object, "tokens_behavior");
    const json_t *finish = json_object_get(object, "finish"), *drift = json_object_get(object, "drift");
    if (!finish) finish = json_object_get(object, "finish_reason");
    const json_t *keep = json_object_get(object, "keep");
    row->has_ids = read_ids(tokens, row->length, ids);
    if (json_is_array(sampled) && (int64_t)json_array_size(sampled) != row->length)
        return length_fail(rows, line, "tokens_behavior", json_array_size(sampled), row->length, err);
    if (json_is_array(sampled) && json_is_array(tokens)) row->ids_differ = count_differing(tokens, sampled);
    const json_t *finished = json_object_get(object, "finished");
    const char *how = json_is_string(finish) ? json_string_value(finish) : "";
    row->cut = json_is_false(finished) || !strcmp(how, "length");
    row->ended = json_is_true(finished) || (how[0] && !row->cut);
    row->trainer_drift = json_is_number(drift) ? json_number_value(drift) : (double)NAN;
    row->trainer_keep = json_is_boolean(keep) ? json_is_true(keep) : -1;
    if (json_is_number(keep) && (json_number_value(keep) == 0 || json_number_value(keep) == 1))
        row->trainer_keep = json_number_value(keep) != 0; /* as masks are written */
    return OPSM_OK;
}

static opsm_status append_row(struct audit_rows *rows, const json_t *object, int64_t line, opsm_error *err) {
    struct audit_group *group = &rows->group;
    const json_t *current = json_object_get(object, "logp_current"), *tokens = json_object_get(object, "tokens");
    if (!json_is_array(current))
        return row_fail(rows, line, err,
                        "\"logp_current\" is missing: an array with the current log-prob of each token");
    int64_t length = (int64_t)json_array_size(current);
    if (json_is_array(tokens) && (int64_t)json_array_size(tokens) != length)
        return length_fail(rows, line, "tokens", json_array_size(tokens), length, err);
    opsm_status status = grow_tokens(group, length, err);
    if (status == OPSM_OK) status = grow_rows(group, err);
    if (status != OPSM_OK) return status;
    struct audit_row *row = &group->rows[group->n_rows];
    *row = (struct audit_row){.line = line, .row = rows->row++, .first = group->n_tokens, .length = length};
    for (int c = 0; c < AUDIT_ADVANTAGE && status == OPSM_OK; c++) {
        const json_t *array = json_object_get(object, column_names[c]);
        row->has[c] = array && (c == AUDIT_CURRENT || !holds_nothing(array));
        float *to = group->columns[c] + row->first;
        if (row->has[c])
            status = read_array(rows, line, column_names[c], array, length, to, err);
        else
            memset(to, 0, (size_t)length * sizeof *to);
    }
    if (status == OPSM_OK)
        status = read_mask(rows, line, json_object_get(object, "mask"), length, group->mask + row->first, err);
    if (status == OPSM_OK) status = read_advantage(rows, line, json_object_get(object, "advantage"), group, row, err);
    if (status == OPSM_OK) status = read_scalars(rows, line, object, row, err);
    if (status == OPSM_OK) status = read_extras(rows, line, object, group->ids + row->first, row, err);
    if (status != OPSM_OK) return status;
    group->n_rows++;
    group->n_tokens += length;
    return OPSM_OK;
}

/* ---- Groups ---- */

/* The JSON text of a row's group in fresh memory (release with free), NULL where it has none. */
static opsm_status label_of(const struct audit_rows *rows, const json_t *object, int64_t line, char **label,
                            opsm_error *err) {
    const json_t *group = json_object_get(object, "group");
    *label = NULL;
    if (!group || json_is_null(group)) return OPSM_OK;
    const char *large = json_large_number(group);
    if ((json_is_unfit(group) && !large) || (!json_is_integer(group) && !json_is_string(group)))
        return row_fail(rows, line, err, "\"group\" is neither an integer nor a string");
    char *text = large ? NULL : json_dumps(group, JSON_ENCODE_ANY | JSON_COMPACT);
    *label = large ? mem_strdup(large) : text ? mem_strdup(text) : NULL;
    free(text);
    return *label ? OPSM_OK : mem_exhausted(err, "a group's name", 16);
}

static bool same_label(const char *a, const char *b) {
    return a && b && strcmp(a, b) == 0;
}

/* The row that waits, or the next one of the file; NULL at the end. Takes it out of `pending`. */
static opsm_status take(struct audit_rows *rows, json_t **object, int64_t *line, opsm_error *err) {
    *object = rows->pending;
    *line = rows->pending_line;
    rows->pending = NULL;
    if (*object) return OPSM_OK;
    opsm_status status = jsonl_next(rows->lines, object, err);
    *line = jsonl_line(rows->lines);
    return status;
}

opsm_status audit_rows_next(struct audit_rows *rows, bool whole, const struct audit_group **result, opsm_error *err) {
    struct audit_group *group = &rows->group;
    *result = NULL;
    group->n_rows = group->n_tokens = 0;
    for (;;) {
        json_t *object;
        int64_t line;
        char *label = NULL;
        opsm_status status = take(rows, &object, &line, err);
        if (status == OPSM_OK && object) status = label_of(rows, object, line, &label, err);
        if (status != OPSM_OK || !object) {
            json_decref(object);
            if (status == OPSM_OK && group->n_rows > 0) *result = group;
            return status;
        }
        bool continues = group->n_rows > 0 && whole && same_label(label, group->label);
        if (group->n_rows > 0 && !continues) {
            mem_free(label);
            rows->pending = object;
            rows->pending_line = line;
            *result = group;
            return OPSM_OK;
        }
        if (group->n_rows == 0) {
            mem_free(group->label);
            group->label = label;
            group->named = label != NULL;
            group->text = label && label[0] == '"';
            group->key = label ? hash(label, strlen(label)) : 0;
            group->twin = label ? twin_of(label) : 0;
        } else {
            mem_free(label);
        }
        status = append_row(rows, object, line, err);
        json_decref(object);
        if (status != OPSM_OK) return status;
    }
}
