/* SPDX-License-Identifier: Apache-2.0
 *
 * Drift of one sequence (section 2 of the objective's definition): X_i by the configured estimator and reduction, and
 * the fixed statistics of the metrics.
 */
#ifndef OPSM_OBJECTIVE_DRIFT_H
#define OPSM_OBJECTIVE_DRIFT_H
#include "objective/block.h"

enum { RATIO_ROOM = 16 * BLOCK };

/* One block at a time, and the ratios of a whole sequence where they fit: the drift computes them, the loss uses them
 * again. About 60 KiB, on the stack of who evaluates. */
struct tokens {
    struct block block;
    double c[BLOCK];           /* current */
    double d[BLOCK];           /* c - behaviour */
    double *r;                 /* exp of the log ratio of the block's tokens */
    double ratios[RATIO_ROOM]; /* exp(c - b) of the sequence's first tokens */
    double spare[BLOCK];       /* r beyond that */
    int64_t ready;             /* so many of ratios[] are those of the surrogate's ratio, for the sequence at hand */
};

/* Fills group, tokens, length, lag, advantage, drift*, ratio_max, entropy_sum, nonfinite, positive_logp of the record
 * and clears the rest. With `scan` false no log-prob is read: drift stays NaN. */
opsm_status drift_measure(const struct plan *plan, int64_t i, bool scan, struct tokens *tokens, opsm_sequence *record,
                          opsm_error *err);

/* d = log ratio from the behaviour log-probs (also written to b) to where drift leads, held within ratio_clamp. */
void drift_log_ratios(const struct plan *plan, const struct block *block, double *b, double *d);

/* With ratio_clamp: which tokens of the block have c - base beyond it, so that the ratio does not move with c. Needs
 * tokens->c. */
void drift_held(const struct plan *plan, const struct tokens *tokens, uint8_t *held);

/* Mean over the loss tokens of c - base: the logarithm of gspo's sequence ratio. */
double drift_mean_log_ratio(const struct plan *plan, int64_t i, struct tokens *tokens);

/* Loads c and r of a block whose first token is loss token `ordinal` of the sequence. */
void drift_load_ratio(const struct plan *plan, int64_t ordinal, struct tokens *tokens);

#endif
