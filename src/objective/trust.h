/* SPDX-License-Identifier: Apache-2.0
 *
 * How far stale data may still be trusted: the state behind policy auto and guard trust. The rule stands at
 * opsm_threshold_update in the public header.
 */
#ifndef OPSM_OBJECTIVE_TRUST_H
#define OPSM_OBJECTIVE_TRUST_H
#include "objective/parts.h"

/* The importance weight of a record with A > 0 and known drift; NaN: neither. */
double trust_weight(const opsm_sequence *record, double noise_mean);

void trust_update(opsm_threshold *state, const opsm_sequence *records, int64_t n);
bool trust_is_sane(const opsm_threshold *state);

#endif
