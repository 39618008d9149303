/* SPDX-License-Identifier: Apache-2.0 */
#include "report/metrics.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "io/json_writer.h"
#include "report/tensorboard.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct metrics {
    int fd;
    char *path;
    struct tensorboard *board; /* NULL: none, or given up after a failure */
    struct tensorboard_end events;
    bool torn;             /* a failed write left part of a line in the file */
    struct text line, tag; /* the JSON so far; scratch for names */
    struct text nonfinite; /* quoted keys, with commas */
};

static const char *kind_name(enum metrics_kind kind) {
    switch (kind) {
#define KIND_NAME(id, name)                                                                                            \
    case METRICS_##id:                                                                                                 \
        return name;
        METRICS_KIND_LIST(KIND_NAME)
#undef KIND_NAME
    }
    return "unknown";
}

static opsm_status open_append(struct metrics *metrics, const char *path, opsm_error *err) {
    metrics->path = mem_strdup(path);
    if (!metrics->path) return mem_exhausted(err, "a file name", strlen(path));
    return file_append_open(&metrics->fd, path, err);
}

/* The words of a mark. */
enum { MARK_LINES, MARK_FILE, MARK_EVENTS };

opsm_status metrics_open(struct metrics **result, const char *path, const char *tensorboard_dir, int64_t keep_iteration,
                         const struct sink_mark *mark, opsm_error *err) {
    *result = NULL;
    bool anew = keep_iteration < 0;
    int64_t last_step;
    opsm_status status = anew ? OPSM_OK : file_cut_back(path, (uint64_t)mark->words[MARK_LINES], err);
    if (status == OPSM_OK) status = metrics_truncate(path, keep_iteration, &last_step, err);
    if (status != OPSM_OK) return status;
    struct metrics *metrics = mem_zalloc(1, sizeof *metrics);
    if (!metrics) return mem_exhausted(err, "the metrics", sizeof *metrics);
    metrics->fd = -1;
    metrics->events = anew ? (struct tensorboard_end){.file = -1}
                           : (struct tensorboard_end){mark->words[MARK_FILE], (uint64_t)mark->words[MARK_EVENTS]};
    status = open_append(metrics, path, err);
    if (status == OPSM_OK && tensorboard_dir)
        status = tensorboard_open(&metrics->board, tensorboard_dir, metrics->events, last_step + 1, err);
    if (status != OPSM_OK) {
        metrics_close(metrics);
        return status;
    }
    *result = metrics;
    return OPSM_OK;
}

void metrics_mark(const struct metrics *metrics, struct sink_mark *mark) {
    struct stat st;
    *mark = (struct sink_mark){{[MARK_LINES] = fstat(metrics->fd, &st) == 0 ? st.st_size : 0,
                                [MARK_FILE] = metrics->events.file,
                                [MARK_EVENTS] = (int64_t)metrics->events.bytes}};
}

void metrics_close(struct metrics *metrics) {
    if (!metrics) return;
    if (metrics->fd >= 0) close(metrics->fd);
    tensorboard_close(metrics->board);
    mem_free(metrics->path);
    text_free(&metrics->line);
    text_free(&metrics->tag);
    text_free(&metrics->nonfinite);
    mem_free(metrics);
}

/* ---- building a line --------------------------------------------------------------------------------------------- */

/* kind, group and key, those that there are, in the scratch. */
static const char *name_of(struct metrics *metrics, const char *kind, const struct metrics_value *value,
                           const char *separator) {
    const char *group = value->group ? value->group : "";
    text_clear(&metrics->tag);
    text_printf(&metrics->tag, "%s%s%s%s%s", kind, *kind ? separator : "", group, *group ? separator : "", value->key);
    metrics->line.failed |= metrics->tag.failed;
    return metrics->tag.failed ? "" : metrics->tag.data;
}

static void put_scalar(struct metrics *metrics, const struct metrics_line *line, const struct metrics_value *value,
                       double number) {
    if (!metrics->board) return;
    tensorboard_scalar(metrics->board, name_of(metrics, kind_name(line->kind), value, "/"), line->step, number);
}

/* The name of a number that JSON has no word for. */
static void note_nonfinite(struct metrics *metrics, const struct metrics_value *value) {
    struct json_writer names = {.text = &metrics->nonfinite, .more = metrics->nonfinite.length > 0};
    json_put_string(&names, NULL, name_of(metrics, "", value, "."));
}

static void put_value(struct metrics *metrics, struct json_writer *json, const struct metrics_line *line,
                      const struct metrics_value *value) {
    switch (value->type) {
    case METRICS_NUMBER:
        json_put_number(json, value->key, value->number);
        if (!isfinite(value->number)) note_nonfinite(metrics, value);
        put_scalar(metrics, line, value, value->number);
        break;
    case METRICS_INTEGER:
        json_put_int(json, value->key, value->integer);
        put_scalar(metrics, line, value, (double)value->integer);
        break;
    case METRICS_STRING:
        json_put_string(json, value->key, value->string);
        break;
    case METRICS_INTEGERS:
        json_put_open(json, value->key, '[');
        for (int i = 0; i < value->n; i++) json_put_int(json, NULL, value->integers[i]);
        json_put_close(json, ']');
        break;
    }
}

static void build(struct metrics *metrics, const struct metrics_line *line) {
    struct json_writer json = {.text = &metrics->line};
    text_clear(&metrics->line);
    text_clear(&metrics->nonfinite);
    json_put_open(&json, NULL, '{');
    json_put_string(&json, "kind", kind_name(line->kind));
    json_put_int(&json, "iteration", line->iteration);
    json_put_int(&json, "step", line->step);
    json_put_fixed(&json, "time", clock_wall(), 3);
    const char *group = NULL; /* the open object */
    for (int i = 0; i < line->n; i++) {
        const struct metrics_value *value = &line->values[i];
        if (group && value->group != group) json_put_close(&json, '}');
        if (value->group && value->group != group) json_put_open(&json, value->group, '{');
        group = value->group;
        put_value(metrics, &json, line, value);
    }
    if (group) json_put_close(&json, '}');
    if (metrics->nonfinite.length) {
        json_put_open(&json, "nonfinite_keys", '[');
        json_put_raw(&json, NULL, metrics->nonfinite.data);
        json_put_close(&json, ']');
    }
    json_put_close(&json, '}');
    json_put_end(&json);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static opsm_status write_line(struct metrics *metrics, opsm_error *err) {
    size_t written;
    opsm_status status =
        file_append(metrics->fd, metrics->path, metrics->line.data, metrics->line.length, &written, err);
    metrics->torn = written < metrics->line.length && (metrics->torn || written > 0);
    return status;
}

/* TensorBoard reads no further than a torn record: after a failure there is no point in going on. */
static opsm_status flush_board(struct metrics *metrics, opsm_error *err) {
    if (!metrics->board) return OPSM_OK;
    opsm_status status = tensorboard_flush(metrics->board, err);
    metrics->events = tensorboard_written(metrics->board);
    if (status == OPSM_OK) return OPSM_OK;
    tensorboard_close(metrics->board);
    metrics->board = NULL;
    return status;
}

opsm_status metrics_write(struct metrics *metrics, const struct metrics_line *line, opsm_error *err) {
    build(metrics, line);
    if (metrics->line.failed || metrics->nonfinite.failed)
        return mem_exhausted(err, "a line of metrics", metrics->line.room);
    /* A torn line before this one would swallow it: end that line first. Readers skip it. */
    if (metrics->torn && write(metrics->fd, "\n", 1) == 1) metrics->torn = false;
    opsm_status status = write_line(metrics, err);
    opsm_status board_status = flush_board(metrics, status == OPSM_OK ? err : NULL);
    return status != OPSM_OK ? status : board_status;
}
