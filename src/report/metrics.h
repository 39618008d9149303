/* SPDX-License-Identifier: Apache-2.0
 *
 * The record of a run: metrics.jsonl, one JSON object per line, and the same scalars for TensorBoard. The line of the
 * example in base/sink.h becomes
 *
 *   {"kind":"step","iteration":3,"step":41,"time":1700000000.123,"loss":0.25,"seconds":{"forward":1.5}}
 *
 * and the TensorBoard scalars step/loss and step/seconds/forward at step 41. A number that is not finite is null in the JSON,
 * and the line ends with "nonfinite_keys":["loss",...], so that the file stays JSON and nothing is hidden.
 *
 * Each line reaches the file by one write when it is complete: kill -9 can at worst tear the last one, which opening
 * and metrics_truncate put right. A failing write (full disk) is reported once by the metrics_write that met it; the
 * line is lost, later ones are tried again.
 */
#ifndef OPSM_REPORT_METRICS_H
#define OPSM_REPORT_METRICS_H
#include "base/sink.h"
#include <opsm/status.h>
#include <stdint.h>

struct metrics; /* one thread at a time */

/* Opens `path` for appending. keep_iteration -1: afresh (an old file is emptied). Else the run goes on: the file is cut
 * back to `mark` and to this iteration (metrics_truncate). `tensorboard_dir` may be NULL; event files in it are cut back,
 * too. The directory of `path` must exist. */
opsm_status metrics_open(struct metrics **metrics, const char *path, const char *tensorboard_dir,
                         int64_t keep_iteration, const struct sink_mark *mark, opsm_error *err);
opsm_status metrics_write(struct metrics *metrics, const struct metrics_line *line, opsm_error *err);
void metrics_mark(const struct metrics *metrics, struct sink_mark *mark); /* how far the files go now */
void metrics_close(struct metrics *metrics);                              /* NULL is allowed */

/* Drops from `path` every line of an iteration above `iteration` (all of them for -1), a torn last line, and lines that
 * are not JSON objects with an iteration (with a warning); rewrites the file atomically, and only if something changes.
 * *last_step receives the largest step kept, -1 if none; may be NULL. A file that does not exist is fine. */
opsm_status metrics_truncate(const char *path, int64_t iteration, int64_t *last_step, opsm_error *err);

#endif
