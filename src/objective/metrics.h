/* SPDX-License-Identifier: Apache-2.0
 *
 * The sums behind the metrics, for who cannot hold all records at once (the audit of a large file).
 */
#ifndef OPSM_OBJECTIVE_METRICS_H
#define OPSM_OBJECTIVE_METRICS_H
#include "objective/parts.h"

/* Zero-initialise, with `penalised` set where beta > 0, and `ess_cap`. */
struct metrics_sums {
    int64_t sequences, negatives, positives, tokens, dropped, dropped_negatives, dropped_tokens;
    int64_t clipped_low, clipped_high, nonfinite, positive_logp, backward, entropy_tokens;
    int64_t lagged, drifts, negative_drifts, positive_drifts, kept_negatives;
    double surrogate, penalty, kl, entropy, mass, dropped_mass, delta, delta_low, delta_high, ratio_max, lag, lag_max;
    double drift_k1, drift_k3, drift_positive, drift_negative, drift_kept_negative;
    double weights, weight_sum, weight_squares, ess_cap;
    bool penalised;
};

void metrics_add(struct metrics_sums *sums, const opsm_sequence *record);

/* Everything but quantiles and groups, which stay NaN and 0. */
void metrics_finish(const struct metrics_sums *sums, opsm_metrics *metrics);

/* Drift quantiles by sign; sorts both arrays. */
void metrics_quantiles(double *negatives, int64_t n_negatives, double *positives, int64_t n_positives,
                       opsm_metrics *metrics);

#endif
