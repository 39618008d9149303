/* SPDX-License-Identifier: Apache-2.0 */
#include "objective/parts.h"

static double at_least_one(double x) {
    return x >= 1 ? x : 1;
}

/* n_i under the denominator in force: a sequence that lost some tokens to a token rule counts the rest; one that lost
 * all counts whole, so that its penalty keeps a weight. */
static double sequence_tokens(const opsm_objective *config, const opsm_sequence *record) {
    int64_t kept = record->tokens - record->dropped_tokens;
    return (double)(config->denominator != OPSM_DENOMINATOR_ALL && kept > 0 ? kept : record->tokens);
}

double aggregate_weight(const opsm_objective *config, const opsm_totals *totals, const opsm_sequence *record) {
    switch (config->aggregation) {
    case OPSM_AGGREGATION_TOKEN_MEAN:
        return 1.0 / at_least_one(totals->tokens);
    case OPSM_AGGREGATION_CONSTANT:
        return 1.0 / (at_least_one(totals->sequences) *
                      at_least_one(config->max_length > 0 ? (double)config->max_length : totals->max_length));
    default:
        return 1.0 / (at_least_one(totals->sequences) * at_least_one(sequence_tokens(config, record)));
    }
}

void opsm_totals_add(opsm_totals *sum, const opsm_totals *part) {
    sum->sequences += part->sequences;
    sum->tokens += part->tokens;
    sum->pairs += part->pairs;
    sum->negatives += part->negatives;
    sum->drifted += part->drifted;
    if (part->max_length > sum->max_length) sum->max_length = part->max_length;
    sum->random_cut = sum->negatives > 0 ? sum->drifted / sum->negatives : 0.0;
}
