/* SPDX-License-Identifier: Apache-2.0
 *
 * One line of a dataset to one problem; used by dataset.c.
 */
#ifndef OPSM_DATA_DATASET_ROW_H
#define OPSM_DATA_DATASET_ROW_H
#include "data/dataset.h"
#include "io/jsonl.h"

/* `row` is the line that `lines` read last, which begins every sentence. The problem is the caller's. */
opsm_status dataset_row(struct problem *problem, const struct dataset_spec *spec, const json_t *row,
                        const struct jsonl *lines, opsm_error *err);

#endif
