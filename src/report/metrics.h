/* SPDX-License-Identifier: Apache-2.0
 *
 * The record of a run: metrics.jsonl, one JSON object per line, and the same scalars for TensorBoard.
 *
 *   metrics_begin(m, METRICS_STEP, iteration, step);
 *   metrics_number(m, "loss", loss);
 *   metrics_group(m, "seconds");
 *   metrics_number(m, "forward", seconds);
 *   metrics_group_end(m);
 *   status = metrics_end(m, &err);
 *
 * gives {"kind":"step","iteration":3,"step":41,"time":1700000000.123,"loss":0.25,"seconds":{"forward":1.5}} and the
 * TensorBoard scalars step/loss and step/seconds/forward at step 41. A number that is not finite is null in the JSON,
 * and the line ends with "nonfinite_keys":["loss",...], so that the file stays JSON and nothing is hidden.
 *
 * Each line reaches the file by one write when it is complete: kill -9 can at worst tear the last one, which opening
 * and metrics_truncate put right. A failing write (full disk) is reported once by the metrics_end that met it; the line
 * is lost, later ones are tried again.
 */
#ifndef OPSM_REPORT_METRICS_H
#define OPSM_REPORT_METRICS_H
#include "report/tensorboard.h"
#include <opsm/status.h>
#include <stdbool.h>
#include <stdint.h>

struct metrics; /* one thread at a time */

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

/* Opens `path` for appending after metrics_truncate(path, keep_iteration): pass the iteration of the checkpoint the run
 * resumes from, or -1 to start afresh (an old file is emptied). `tensorboard_dir` may be NULL; event files in it are cut
 * back to `events`. The directory of `path` must exist. */
opsm_status metrics_open(struct metrics **metrics, const char *path, const char *tensorboard_dir,
                         int64_t keep_iteration, struct tensorboard_end events, opsm_error *err);

/* Where the events stand now. */
struct tensorboard_end metrics_events(const struct metrics *metrics);
void metrics_close(struct metrics *metrics); /* NULL is allowed */

/* Starts a line; `step` counts optimiser steps since the beginning of the run and is TensorBoard's axis. */
void metrics_begin(struct metrics *metrics, enum metrics_kind kind, int64_t iteration, int64_t step);

void metrics_number(struct metrics *metrics, const char *key, double value);
void metrics_integer(struct metrics *metrics, const char *key, int64_t value);
void metrics_string(struct metrics *metrics, const char *key, const char *value);              /* JSON only */
void metrics_integers(struct metrics *metrics, const char *key, const int64_t *values, int n); /* likewise: an array */

/* What follows goes into an object under `key`, until metrics_group_end. Groups do not nest. */
void metrics_group(struct metrics *metrics, const char *key);
void metrics_group_end(struct metrics *metrics);

/* Writes the line. */
opsm_status metrics_end(struct metrics *metrics, opsm_error *err);

/* Drops from `path` every line of an iteration above `iteration` (all of them for -1), a torn last line, and lines that
 * are not JSON objects with an iteration (with a warning); rewrites the file atomically, and only if something changes.
 * *last_step receives the largest step kept, -1 if none; may be NULL. A file that does not exist is fine. */
opsm_status metrics_truncate(const char *path, int64_t iteration, int64_t *last_step, opsm_error *err);

#endif
