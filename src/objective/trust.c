/* SPDX-License-Identifier: Apache-2.0 */
#include "objective/trust.h"
#include <math.h>

static const double LOWEST = 0.01, TIGHTEN = 0.7, RECOVER = 1.03;
static const double NEWEST = 0.2; /* weight of the newest step in the moving harm */

bool movement_add(struct movement *movement, const opsm_sequence *record, double noise_mean, double noise_sd) {
    if (!(record->advantage > 0) || !isfinite(record->drift_k1)) return false;
    double x = record->drift_k1 - noise_mean;
    if (x > noise_sd) movement->wrong += x - noise_sd;
    movement->all += fabs(x) + noise_sd;
    return true;
}

double movement_harm(const struct movement *movement) {
    return movement->all > 0 ? movement->wrong / movement->all : 0;
}

void trust_update(opsm_threshold *state, const opsm_sequence *records, int64_t n) {
    struct movement movement = {0};
    int64_t positives = 0;
    for (int64_t i = 0; i < n; i++)
        positives += movement_add(&movement, &records[i], state->noise_mean, state->noise_sd);
    if (positives == 0) return;
    state->harm += NEWEST * (movement_harm(&movement) - state->harm);
    double trust = state->trust * (state->harm > TRUST_ALARM ? TIGHTEN : RECOVER);
    state->trust = trust < LOWEST ? LOWEST : trust > 1 ? 1 : trust;
}

bool trust_is_sane(const opsm_threshold *state) {
    return state->trust >= LOWEST && state->trust <= 1 && state->harm >= 0 && state->harm <= 1;
}
