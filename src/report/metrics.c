/* SPDX-License-Identifier: Apache-2.0 */
#include "report/metrics.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "report/tensorboard.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

struct metrics {
    int fd;
    char *path;
    struct tensorboard *board; /* NULL: none, or given up after a failure */
    struct tensorboard_end events;
    enum metrics_kind kind;
    int64_t step;
    bool torn;             /* a failed write left part of a line in the file */
    char group[64];        /* the open group's name, "" outside */
    bool first;            /* no key in the open object yet */
    struct text line, tag; /* the JSON so far; scratch for TensorBoard tags */
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

opsm_status metrics_open(struct metrics **result, const char *path, const char *tensorboard_dir, int64_t keep_iteration,
                         struct tensorboard_end events, opsm_error *err) {
    *result = NULL;
    int64_t last_step;
    opsm_status status = metrics_truncate(path, keep_iteration, &last_step, err);
    if (status != OPSM_OK) return status;
    struct metrics *metrics = mem_zalloc(1, sizeof *metrics);
    if (!metrics) return mem_exhausted(err, "the metrics", sizeof *metrics);
    metrics->fd = -1;
    metrics->events = events;
    status = open_append(metrics, path, err);
    if (status == OPSM_OK && tensorboard_dir)
        status = tensorboard_open(&metrics->board, tensorboard_dir, events, last_step + 1, err);
    if (status != OPSM_OK) {
        metrics_close(metrics);
        return status;
    }
    *result = metrics;
    return OPSM_OK;
}

struct tensorboard_end metrics_events(const struct metrics *metrics) {
    return metrics->events;
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

static void put_key(struct metrics *metrics, const char *key) {
    if (!metrics->first) text_puts(&metrics->line, ",");
    metrics->first = false;
    text_json_string(&metrics->line, key, strlen(key));
    text_puts(&metrics->line, ":");
}

static void put_scalar(struct metrics *metrics, const char *key, double value) {
    if (!metrics->board) return;
    text_clear(&metrics->tag);
    text_printf(&metrics->tag, "%s/%s%s%s", kind_name(metrics->kind), metrics->group, metrics->group[0] ? "/" : "",
                key);
    metrics->line.failed |= metrics->tag.failed;
    if (!metrics->tag.failed) tensorboard_scalar(metrics->board, metrics->tag.data, metrics->step, value);
}

void metrics_begin(struct metrics *metrics, enum metrics_kind kind, int64_t iteration, int64_t step) {
    text_clear(&metrics->line);
    text_clear(&metrics->nonfinite);
    metrics->kind = kind;
    metrics->step = step;
    metrics->group[0] = '\0';
    metrics->first = false;
    text_printf(&metrics->line, "{\"kind\":\"%s\",\"iteration\":%" PRId64 ",\"step\":%" PRId64 ",\"time\":%.3f",
                kind_name(kind), iteration, step, clock_wall());
}

static void remember_nonfinite(struct metrics *metrics, const char *key) {
    struct text *list = &metrics->nonfinite;
    text_clear(&metrics->tag);
    text_printf(&metrics->tag, "%s%s%s", metrics->group, metrics->group[0] ? "." : "", key);
    if (list->length) text_puts(list, ",");
    if (metrics->tag.data) text_json_string(list, metrics->tag.data, metrics->tag.length);
    list->failed |= metrics->tag.failed;
}

void metrics_number(struct metrics *metrics, const char *key, double value) {
    put_key(metrics, key);
    if (isfinite(value)) {
        text_number(&metrics->line, value);
    } else {
        text_puts(&metrics->line, "null");
        remember_nonfinite(metrics, key);
    }
    put_scalar(metrics, key, value);
}

void metrics_integer(struct metrics *metrics, const char *key, int64_t value) {
    put_key(metrics, key);
    text_printf(&metrics->line, "%" PRId64, value);
    put_scalar(metrics, key, (double)value);
}

void metrics_string(struct metrics *metrics, const char *key, const char *value) {
    put_key(metrics, key);
    text_json_string(&metrics->line, value, strlen(value));
}

void metrics_integers(struct metrics *metrics, const char *key, const int64_t *values, int n) {
    put_key(metrics, key);
    for (int i = 0; i < n; i++) text_printf(&metrics->line, "%c%" PRId64, i ? ',' : '[', values[i]);
    text_puts(&metrics->line, n ? "]" : "[]");
}

void metrics_group(struct metrics *metrics, const char *key) {
    metrics_group_end(metrics);
    put_key(metrics, key);
    text_puts(&metrics->line, "{");
    metrics->first = true;
    size_t length = strnlen(key, sizeof metrics->group - 1);
    memcpy(metrics->group, key, length);
    metrics->group[length] = '\0';
}

void metrics_group_end(struct metrics *metrics) {
    if (!metrics->group[0]) return;
    text_puts(&metrics->line, "}");
    metrics->group[0] = '\0';
    metrics->first = false;
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

opsm_status metrics_end(struct metrics *metrics, opsm_error *err) {
    metrics_group_end(metrics);
    if (metrics->nonfinite.length) text_printf(&metrics->line, ",\"nonfinite_keys\":[%s]", metrics->nonfinite.data);
    text_puts(&metrics->line, "}\n");
    if (metrics->line.failed || metrics->nonfinite.failed)
        return mem_exhausted(err, "a line of metrics", metrics->line.room);
    /* A torn line before this one would swallow it: end that line first. Readers skip it. */
    if (metrics->torn && write(metrics->fd, "\n", 1) == 1) metrics->torn = false;
    opsm_status status = write_line(metrics, err);
    opsm_status board_status = flush_board(metrics, status == OPSM_OK ? err : NULL);
    return status != OPSM_OK ? status : board_status;
}
