/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run tells while it goes on: lines of numbers under keys. Where they go is not the run's business; the program
 * hands it a sink (report/recorder.h: files and a terminal), or none.
 *
 *   struct metrics_line line;
 *   metrics_begin(&line, METRICS_STEP, iteration, step);
 *   metrics_number(&line, "loss", loss);
 *   metrics_group(&line, "seconds");
 *   metrics_number(&line, "forward", seconds);
 *   metrics_group_end(&line);
 *   status = sink_write(sink, &line, &err);
 */
#ifndef OPSM_BASE_SINK_H
#define OPSM_BASE_SINK_H
#include <opsm/status.h>
#include <stdint.h>

/* X(id, name): what a line is about. */
#define METRICS_KIND_LIST(X)                                                                                           \
    X(STEP, "step")           /* one optimiser step */                                                                 \
    X(ITERATION, "iteration") /* one round of rollouts and the steps on it */                                          \
    X(EVAL, "eval")           /* one evaluation */

enum metrics_kind {
#define METRICS_KIND(id, name) METRICS_##id,
    METRICS_KIND_LIST(METRICS_KIND)
#undef METRICS_KIND
};

enum metrics_type { METRICS_NUMBER, METRICS_INTEGER, METRICS_STRING, METRICS_INTEGERS };

struct metrics_value {
    const char *group, *key; /* group NULL: none */
    enum metrics_type type;
    int n; /* of integers */
    union {
        double number;
        int64_t integer;
        const char *string;
        const int64_t *integers;
    };
};

enum { METRICS_VALUES_MAX = 128 };

/* Keys, strings and arrays are borrowed until the line is written. */
struct metrics_line {
    enum metrics_kind kind;
    int64_t iteration, step; /* optimiser steps since the beginning of the run */
    const char *group;       /* of the values to come */
    int n;                   /* values; one more than there is room for: some found none */
    struct metrics_value values[METRICS_VALUES_MAX];
};

void metrics_begin(struct metrics_line *line, enum metrics_kind kind, int64_t iteration, int64_t step);
void metrics_number(struct metrics_line *line, const char *key, double value);
void metrics_integer(struct metrics_line *line, const char *key, int64_t value);
void metrics_string(struct metrics_line *line, const char *key, const char *value);
void metrics_integers(struct metrics_line *line, const char *key, const int64_t *values, int n);

/* What follows goes into an object under `key`, until metrics_group_end. Groups do not nest. */
void metrics_group(struct metrics_line *line, const char *key);
void metrics_group_end(struct metrics_line *line);

/* How far the files of a sink go, in the sink's own words: saved with a checkpoint as bytes. */
struct sink_mark {
    int64_t words[4];
};

struct sink {
    void *self;
    /* Begins to write into `directory`: anew where `iteration` is -1, else with what was there up to the end of this
     * iteration, at `mark`. */
    opsm_status (*open)(void *self, const char *directory, int64_t iteration, const struct sink_mark *mark,
                        opsm_error *err);
    opsm_status (*write)(void *self, const struct metrics_line *line, opsm_error *err);
    void (*mark)(const void *self, struct sink_mark *mark);
};

/* The same for a sink that may be NULL. */
opsm_status sink_open(const struct sink *sink, const char *directory, int64_t iteration, const struct sink_mark *mark,
                      opsm_error *err);
opsm_status sink_write(const struct sink *sink, const struct metrics_line *line, opsm_error *err);
void sink_mark(const struct sink *sink, struct sink_mark *mark);

#endif
