/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether the fields of a configuration go together.
 */
#include "objective/parts.h"
#include <string.h>

static opsm_status check_mask(const opsm_objective *config, opsm_error *err) {
    opsm_rule rule = config->mask_rule;
    bool signed_rule = rule == OPSM_RULE_NEGATIVES || rule == OPSM_RULE_POSITIVES || rule == OPSM_RULE_RANDOM;
    if (config->mask_sign == OPSM_SIGN_ANY && signed_rule)
        return opsm_fail(err, OPSM_INVALID, "mask.sign = any contradicts mask.rule = %s, which is about a sign",
                         opsm_rule_name(rule));
    if (config->mask_current == OPSM_POINT_TRAINER && config->mask_behavior == OPSM_SOURCE_TRAINER)
        return opsm_fail(err, OPSM_INVALID,
                         "mask.behavior and mask.current are both trainer: drift from p to p is always zero");
    if (config->mask_skip_nan && config->surrogate_ratio == OPSM_SOURCE_SAMPLER && objective_needs_ratio(config))
        return opsm_fail(err, OPSM_INVALID,
                         "mask.skip_nan = true leaves the ratio without its denominator where logp_behavior is NaN: "
                         "set surrogate.ratio = trainer");
    if (config->weight_level == OPSM_WEIGHT_NONE) return OPSM_OK;
    if (config->surrogate_name == OPSM_SURROGATE_DECOUPLED)
        return opsm_fail(err, OPSM_INVALID,
                         "surrogate.name = decoupled has its own weight: use ppo with surrogate.ratio = trainer and "
                         "weight.level = %s",
                         opsm_weight_name(config->weight_level));
    if (!(config->weight_low <= config->weight_high))
        return opsm_fail(err, OPSM_INVALID, "weight.low = %g is above weight.high = %g", config->weight_low,
                         config->weight_high);
    return OPSM_OK;
}

/* Pairs are kept or rejected whole, and carry no weight. */
static opsm_status check_pairs(const opsm_objective *config, opsm_error *err) {
    opsm_rule rule = config->mask_rule;
    if (config->mask_sign == OPSM_SIGN_TOKEN)
        return opsm_fail(err, OPSM_INVALID,
                         "mask.sign = token has no meaning for surrogate.name = dpo: "
                         "pairs are kept or rejected whole");
    bool also = config->mask_also == OPSM_BAND_ICEPOP;
    if (also || rule_by_token(rule))
        return opsm_fail(err, OPSM_INVALID,
                         "mask.%s = %s drops tokens, surrogate.name = dpo compares whole sequences: "
                         "use a rule that drops sequences",
                         also ? "also" : "rule", also ? "icepop" : opsm_rule_name(rule));
    if (config->weight_level != OPSM_WEIGHT_NONE)
        return opsm_fail(err, OPSM_INVALID, "weight.level = %s: surrogate.name = dpo takes no weights",
                         opsm_weight_name(config->weight_level));
    return check_mask(config, err);
}

static opsm_status check_combination(const opsm_objective *config, opsm_error *err) {
    bool adaptive = config->mask_policy == OPSM_POLICY_QUANTILE || config->mask_policy == OPSM_POLICY_CONTROLLER;
    if (adaptive && !(config->mask_floor <= config->mask_ceiling))
        return opsm_fail(err, OPSM_INVALID,
                         "mask.floor = %g is above mask.ceiling = %g: no threshold lies between them",
                         config->mask_floor, config->mask_ceiling);
    return config->surrogate_name == OPSM_SURROGATE_DPO ? check_pairs(config, err) : check_mask(config, err);
}

opsm_status objective_load_config(const opsm_objective *config, opsm_objective *full, opsm_error *err) {
    if (!config || config->size < sizeof(size_t))
        return opsm_fail(err, OPSM_INVALID, "objective configuration not initialised: call opsm_objective_defaults");
    if (config->size > sizeof *full)
        return opsm_fail(err, OPSM_UNSUPPORTED,
                         "objective configuration of %zu bytes: this libopsm %s knows %zu; "
                         "the program was compiled for a newer one",
                         config->size, opsm_version(), sizeof *full);
    opsm_objective_defaults(full);
    memcpy(full, config, config->size);
    full->size = sizeof *full;
    opsm_status status = keys_check(full, err);
    return status == OPSM_OK ? check_combination(full, err) : status;
}

opsm_status opsm_objective_check(const opsm_objective *config, opsm_error *err) {
    opsm_objective full;
    return objective_load_config(config, &full, err);
}
