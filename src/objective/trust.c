/* SPDX-License-Identifier: Apache-2.0 */
#include "objective/trust.h"
#include "objective/block.h"

static const double LOWEST = 0.01, TIGHTEN = 0.7, RECOVER = 1.03;
static const double NEWEST = 0.2; /* weight of the newest step in the moving decline */
static const double CAP = 8;      /* of a weight: one lucky sequence must not hide what happens to the others */

/* E[w] over what the old policy sampled is 1, and E[w R] the reward of the current one: over the positives the mean
 * weight tells how much of the old accuracy is left. The mean of -X, their drift, would not: it falls below 0 also
 * where right answers only give way to other right answers (Jensen). */
double trust_weight(const opsm_sequence *record, double noise_mean) {
    if (!(record->advantage > 0) || !isfinite(record->drift_k1)) return (double)NAN;
    double weight = exp_fixed(-(record->drift_k1 - noise_mean) * (double)record->tokens);
    return weight < CAP ? weight : CAP;
}

void trust_update(opsm_threshold *state, const opsm_sequence *records, int64_t n) {
    double sum = 0, count = 0;
    for (int64_t i = 0; i < n; i++) {
        double weight = trust_weight(&records[i], state->noise_mean);
        if (!(weight >= 0)) continue;
        sum += weight;
        count++;
    }
    if (count == 0) return;
    state->decline += NEWEST * (1 - sum / count - state->decline);
    double trust = state->trust * (state->decline > OPSM_DECLINE_ALARM ? TIGHTEN : RECOVER);
    state->trust = trust < LOWEST ? LOWEST : trust > 1 ? 1 : trust;
}

bool trust_is_sane(const opsm_threshold *state) {
    return state->trust >= LOWEST && state->trust <= 1 && state->decline >= 1 - CAP && state->decline <= 1;
}
