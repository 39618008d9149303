/* SPDX-License-Identifier: Apache-2.0
 *
 * How far stale data may still be trusted: the state behind policy auto and guard trust. The rule stands at
 * opsm_threshold_update in the public header.
 */
#ifndef OPSM_OBJECTIVE_TRUST_H
#define OPSM_OBJECTIVE_TRUST_H
#include <opsm/objective.h>
#include <stdbool.h>

#define TRUST_ALARM 0.02 /* decline above it is too much */

/* Importance weights of the positives. Zero-initialise. */
struct positives {
    double weights;
    int64_t n;
};

/* Adds a record if its advantage is positive and its drift known. */
void positives_add(struct positives *positives, const opsm_sequence *record, double noise_mean);

/* By how much of itself their probability has fallen since they were sampled; negative: it has risen. 0 without any. */
double positives_decline(const struct positives *positives);

void trust_update(opsm_threshold *state, const opsm_sequence *records, int64_t n);
bool trust_is_sane(const opsm_threshold *state);

/* Does the learning rate follow trust? */
bool trust_brakes(const opsm_objective *config);

#endif
