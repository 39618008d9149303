/* SPDX-License-Identifier: Apache-2.0
 *
 * One line of a dataset to one problem; used by dataset.c, and by `opsm reward` for lines with a response.
 */
#ifndef OPSM_DATA_DATASET_ROW_H
#define OPSM_DATA_DATASET_ROW_H
#include "base/text.h"
#include "data/dataset.h"
#include "io/jsonl.h"

/* `row` is the line that `lines` read last, which begins every sentence. The problem is the caller's. OPSM_MISSING: the
 * prompt is blank. */
opsm_status dataset_row(struct problem *problem, const struct dataset_spec *spec, const json_t *row,
                        const struct jsonl *lines, opsm_error *err);

/* What a row's problem points into until it is copied. Zero-initialise. */
struct row_memory {
    struct text answers, solution, tools;
    const char **more;
    int64_t *numbers;
    struct chat_message *messages;
};

void row_memory_free(struct row_memory *memory);

/* What a response to the row is compared with: `answer` and more_answers from spec->answer (a text, number, boolean, or
 * a list of these; NULL: from "answer"), numbers and target from the fields of these names, or from the answer where it
 * is an object that has them. What is missing stays as it is in `parts`, whose pointers are into `memory`. */
opsm_status dataset_row_reference(struct problem *parts, struct row_memory *memory, const struct dataset_spec *spec,
                                  const json_t *row, const struct jsonl *lines, opsm_error *err);

#endif
