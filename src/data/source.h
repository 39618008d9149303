/* SPDX-License-Identifier: Apache-2.0
 *
 * Where problems come from, a built-in task or a dataset, behind one call. Immutable once open: safe from many threads.
 */
#ifndef OPSM_DATA_SOURCE_H
#define OPSM_DATA_SOURCE_H
#include "data/dataset.h"
#include "data/task.h"

#define DATA_UNLIMITED INT64_MAX

struct data_source;

/* The specifications are copied. `seed` orders the rows of a dataset; a task has its own in the specification. */
opsm_status data_open_task(struct data_source **source, const struct task_spec *spec, opsm_error *err);
opsm_status data_open_file(struct data_source **source, const struct dataset_spec *spec, uint64_t seed,
                           opsm_error *err);
void data_close(struct data_source *source); /* NULL is allowed */

/* Problems of the split: DATA_UNLIMITED for a task, the number of rows for a dataset. */
int64_t data_count(const struct data_source *source, enum data_split split);

/* Problem `index` of the split; release with problem_free, before data_close. Train goes on without end: rows come in
 * epochs, each in an order of its own that follows from the seed alone. Eval of a dataset is in file order and ends:
 * OPSM_INVALID past the last row, and for a split without rows. */
opsm_status data_get(const struct data_source *source, enum data_split split, int64_t index, struct problem *problem,
                     opsm_error *err);

/* dataset_check for a dataset; a task's problems are good. Before the source is used by several threads. */
opsm_status data_check(struct data_source *source, row_check *check, void *user, opsm_error *err);

/* Rows left out for this reason; *first, unless `first` is NULL, receives the sentence about the first of them. */
int64_t data_skipped(const struct data_source *source, enum row_fault fault, const char **first);

/* A task's natural verifier; NULL for a dataset. */
const char *data_verifier(const struct data_source *source);

/* dataset_rows of a dataset. */
opsm_status data_rows(const struct data_source *source, int file, struct data_row **rows, int64_t *n, opsm_error *err);

/* The task's specification, NULL for a dataset. */
const struct task_spec *data_task(const struct data_source *source);

#endif
