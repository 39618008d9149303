/* SPDX-License-Identifier: Apache-2.0
 *
 * How far stale data may still be trusted: the state behind policy auto and guard trust. The rule stands at
 * opsm_threshold_update in the public header.
 */
#ifndef OPSM_OBJECTIVE_TRUST_H
#define OPSM_OBJECTIVE_TRUST_H
#include <opsm/objective.h>
#include <stdbool.h>

#define TRUST_ALARM 0.25 /* harm above it is too much */

/* How positives have moved, in nats: the wrong way (less likely), and altogether. Zero-initialise. */
struct movement {
    double wrong, all;
};

/* Adds a record if its advantage is positive and its drift known; true if it did. */
bool movement_add(struct movement *movement, const opsm_sequence *record, double noise_mean, double noise_sd);

/* The share that went the wrong way, 0..1; 0 where nothing moved. */
double movement_harm(const struct movement *movement);

void trust_update(opsm_threshold *state, const opsm_sequence *records, int64_t n);
bool trust_is_sane(const opsm_threshold *state);

/* Does the learning rate follow trust? */
bool trust_brakes(const opsm_objective *config);

#endif
