/* SPDX-License-Identifier: Apache-2.0
 *
 * From the runs to what is said about the arms. Everything here is a function of the results in `struct lab` alone.
 */
#ifndef OPSM_LAB_RESULT_H
#define OPSM_LAB_RESULT_H
#include "base/text.h"
#include "lab/lab.h"

/* Means over the seeds of every arm that are done; the interval of `final` is Student's t over seeds. */
void lab_summarise(struct lab *lab);

/* The difference of two arms' finals over the seeds that both have done, paired by seed: a seed fixes prompts and
 * sampling noise, so that part of the spread is common to both. Student's t interval; infinite for one pair, estimate
 * NaN for none. */
struct interval lab_difference(const struct lab *lab, int32_t arm, int32_t other, int32_t *pairs);

/* What follows from the intervals, in sentences parted by spaces. */
void lab_verdict(const struct lab *lab, struct text *out);

/* Aligned columns for a terminal. */
void lab_table(const struct lab *lab, struct text *out);

/* LAB/lab.json, whole or as it was. */
opsm_status lab_write_json(const struct lab *lab, opsm_error *err);

/* OPSM_INVALID when there is a LAB/lab.json of something else: no laboratory, or one that shares no arm with this; with
 * `done`, where runs are, when they have read other files than lab->inputs. */
opsm_status lab_check_json(const struct lab *lab, bool done, opsm_error *err);

#endif
