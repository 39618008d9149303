/* SPDX-License-Identifier: Apache-2.0
 *
 * Every row of a dataset is looked at before anything expensive begins: whether it fits, whether a response to it can be
 * judged, or imitated, and whether the cut into training and evaluation leaves something on both sides.
 */
#ifndef OPSM_ENVIRONMENT_PROBLEM_ROWS_H
#define OPSM_ENVIRONMENT_PROBLEM_ROWS_H
#include "environment/problems.h"

/* Puts every row into tokens, max_prompt at most. A row that cannot be used is an error with file and line, or is left
 * out and counted on the log, by data.on_bad_row. Sets longest_prompt. A task's problems are taken to be good. */
opsm_status problem_rows_check(struct problems *problems, const struct run_config *config, enum problems_use use,
                               int32_t max_prompt, opsm_error *err);

/* Rows that were left out. */
int64_t problem_rows_skipped(const struct problems *problems);

#endif
