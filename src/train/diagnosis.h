/* SPDX-License-Identifier: Apache-2.0
 *
 * What went wrong in a run that came to its end: nothing could be learnt, the reward collapsed, the learning rate was
 * too high. Read off the run's own record, so that interruptions change nothing.
 */
#ifndef OPSM_TRAIN_DIAGNOSIS_H
#define OPSM_TRAIN_DIAGNOSIS_H
#include "base/text.h"
#include "config/config.h"

/* One iteration, as its line of metrics.jsonl has it. */
struct diagnosis_row {
    double reward, reward_std; /* over the fresh responses */
    double lowest, highest;    /* means of its verifiers */
    double drift;              /* larger of the means over positives and negatives, in nats a token; NaN: no step */
    int64_t groups, silent;    /* silent: all rewards of the group are equal */
};

/* Elements in a share of n, at least one. */
int32_t curve_share(double share, int32_t n);

/* Whether a curve is below `below` times its largest value so far in every one of its last `window` (a share of n). What
 * is not finite is below; a largest value that is not above 0 has nothing to lose but its finiteness. */
bool curve_collapsed(const double *curve, int32_t n, double below, double window);

/* Adds "no group had ..." with what to try when no group, or hardly any, had both better and worse answers; false when
 * there is nothing to say. */
bool diagnose_signal(const struct diagnosis_row *rows, int64_t n, struct text *sentence);

/* Adds a sentence when the reward collapsed or the weights took steps that were far too large; `nonfinite`: optimiser
 * steps that were skipped for that. */
bool diagnose_collapse(const struct diagnosis_row *rows, int32_t n, int64_t nonfinite, const struct run_config *config,
                       struct text *sentence);

/* Warns of the two, where there is reason to, from OUTPUT/metrics.jsonl. */
opsm_status diagnose_run(const struct run_config *config, opsm_error *err);

#endif
