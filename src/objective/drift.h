/* SPDX-License-Identifier: Apache-2.0
 *
 * Drift of one sequence (section 2 of the objective's definition): X_i by the configured estimator and reduction, and
 * the fixed statistics of the metrics.
 */
#ifndef OPSM_OBJECTIVE_DRIFT_H
#define OPSM_OBJECTIVE_DRIFT_H
#include "objective/block.h"

/* One block of log-probs, kept between the drift and the loss of the same sequence when it fits one block. */
struct tokens {
    struct block block;
    double c[BLOCK];     /* current */
    double below[BLOCK]; /* behaviour, later whatever the ratio stands on */
    double d[BLOCK];     /* c - below */
    double r[BLOCK];     /* exp(d) */
    bool ratio_ready;    /* d and r hold c - base of this block */
};

/* Fills group, tokens, length, lag, advantage, drift*, ratio_max, entropy_sum, nonfinite, positive_logp of the record
 * and clears the rest. With `scan` false no log-prob is read: drift stays NaN. */
opsm_status drift_measure(const struct plan *plan, int64_t i, bool scan, struct tokens *tokens, opsm_sequence *record,
                          opsm_error *err);

/* Mean over the loss tokens of c - base: the logarithm of gspo's sequence ratio. */
double drift_mean_log_ratio(const struct plan *plan, int64_t i, struct tokens *tokens);

/* Loads c, d, r of a block against the base of the ratio. */
void drift_load_ratio(const struct plan *plan, struct tokens *tokens);

#endif
