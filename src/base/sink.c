/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sink.h"
#include <stddef.h>

void metrics_begin(struct metrics_line *line, enum metrics_kind kind, int64_t iteration, int64_t step) {
    line->kind = kind;
    line->iteration = iteration;
    line->step = step;
    line->group = NULL;
    line->n = 0;
}

static void add(struct metrics_line *line, struct metrics_value value) {
    value.group = line->group;
    if (line->n < METRICS_VALUES_MAX) line->values[line->n] = value;
    if (line->n <= METRICS_VALUES_MAX) line->n++;
}

void metrics_number(struct metrics_line *line, const char *key, double value) {
    add(line, (struct metrics_value){.key = key, .type = METRICS_NUMBER, .number = value});
}

void metrics_integer(struct metrics_line *line, const char *key, int64_t value) {
    add(line, (struct metrics_value){.key = key, .type = METRICS_INTEGER, .integer = value});
}

void metrics_string(struct metrics_line *line, const char *key, const char *value) {
    add(line, (struct metrics_value){.key = key, .type = METRICS_STRING, .string = value});
}

void metrics_integers(struct metrics_line *line, const char *key, const int64_t *values, int n) {
    add(line, (struct metrics_value){.key = key, .type = METRICS_INTEGERS, .n = n, .integers = values});
}

void metrics_group(struct metrics_line *line, const char *key) {
    line->group = key;
}

void metrics_group_end(struct metrics_line *line) {
    line->group = NULL;
}

opsm_status sink_open(const struct sink *sink, const char *directory, int64_t iteration, const struct sink_mark *mark,
                      opsm_error *err) {
    return sink ? sink->open(sink->self, directory, iteration, mark, err) : OPSM_OK;
}

opsm_status sink_write(const struct sink *sink, const struct metrics_line *line, opsm_error *err) {
    if (line->n > METRICS_VALUES_MAX)
        return opsm_fail(err, OPSM_INTERNAL, "a line of metrics has more than %d values", METRICS_VALUES_MAX);
    return sink ? sink->write(sink->self, line, err) : OPSM_OK;
}

void sink_mark(const struct sink *sink, struct sink_mark *mark) {
    if (sink) sink->mark(sink->self, mark);
}
