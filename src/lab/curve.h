/* SPDX-License-Identifier: Apache-2.0
 *
 * From the record of one run to its curve and what is read off it.
 */
#ifndef OPSM_LAB_CURVE_H
#define OPSM_LAB_CURVE_H
#include "lab/lab.h"

/* The mean over a curve's last `final_rounds`, its largest value, its lowest after the first third, and whether it
 * collapsed (train/diagnosis.h). A value that is not finite counts as nothing in `best`, and as below everything
 * elsewhere: final and worst are then NaN. */
struct lab_measures {
    double final, best, worst;
    bool collapsed;
};
struct lab_measures lab_curve_measure(const double *curve, int32_t rounds, int32_t final_rounds,
                                      const struct lab_collapse *collapse);

/* Fills `seed` from DIRECTORY/metrics.jsonl: the curve as far as it goes, means, counts. *iterations receives the
 * number of iteration lines, 0 when there is no file. steps_per_iteration: of this run. */
opsm_status lab_read_metrics(struct lab_seed *seed, const char *directory, int32_t steps_per_iteration,
                             int32_t steps_per_round, int32_t rounds, int64_t *iterations, opsm_error *err);

/* Whether every weight in a GGUF file is finite. */
opsm_status lab_weights_finite(const char *path, bool *finite, opsm_error *err);

#endif
