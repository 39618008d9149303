/* SPDX-License-Identifier: Apache-2.0
 *
 * What an objective reads, from its configuration alone.
 */
#include "objective/parts.h"

bool surrogate_uses_ratio(opsm_surrogate name) {
    return name != OPSM_SURROGATE_REINFORCE && name != OPSM_SURROGATE_DPO;
}

bool objective_needs_ratio(const opsm_objective *config) {
    if (surrogate_uses_ratio(config->surrogate_name)) return true;
    return config->penalty_beta > 0 && config->penalty_estimator == OPSM_PENALTY_UNBIASED;
}

bool rule_drifts(opsm_rule rule) {
    return rule != OPSM_RULE_NONE && rule != OPSM_RULE_NEGATIVES;
}

bool rule_by_token(opsm_rule rule) {
    return rule == OPSM_RULE_ICEPOP || rule == OPSM_RULE_TOKEN_K2 || rule == OPSM_RULE_TOKEN || rule == OPSM_RULE_TV;
}

bool trust_brakes(const opsm_objective *config) {
    if (config->guard == OPSM_GUARD_TRUST) return true;
    return config->guard == OPSM_GUARD_POLICY && config->mask_policy == OPSM_POLICY_AUTO;
}

bool objective_needs_drift(const opsm_objective *config) {
    return rule_drifts(config->mask_rule) || config->mask_also != OPSM_BAND_NONE || config->guard == OPSM_GUARD_KEPT ||
           trust_brakes(config);
}

int opsm_objective_needs_trainer(const opsm_objective *config) {
    bool on_ratio = config->surrogate_ratio == OPSM_SOURCE_TRAINER && objective_needs_ratio(config);
    bool on_drift = config->mask_behavior == OPSM_SOURCE_TRAINER || config->mask_current == OPSM_POINT_TRAINER;
    return on_ratio || on_drift || config->surrogate_name == OPSM_SURROGATE_DECOUPLED ||
           config->weight_level != OPSM_WEIGHT_NONE;
}

int opsm_objective_needs_reference(const opsm_objective *config) {
    return config->penalty_beta > 0 || config->surrogate_name == OPSM_SURROGATE_DPO;
}

int opsm_objective_needs_forward(const opsm_objective *config, double advantage) {
    return config->surrogate_name == OPSM_SURROGATE_DPO || config->penalty_beta > 0 || advantage != 0;
}

int opsm_objective_totals_need_forward(const opsm_objective *config) {
    return config->denominator != OPSM_DENOMINATOR_ALL || config->mask_rule == OPSM_RULE_RANDOM;
}
