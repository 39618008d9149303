/* SPDX-License-Identifier: Apache-2.0
 *
 * Before any arithmetic: is everything there that this objective needs?
 */
#include "objective/parts.h"
#include <math.h>

#ifndef OPSM_VERSION
#define OPSM_VERSION "0.0.0"
#endif

const char *opsm_version(void) {
    return OPSM_VERSION;
}

int opsm_objective_abi(void) {
    return OPSM_OBJECTIVE_ABI;
}

static opsm_status missing(const char *array, const char *why, opsm_error *err) {
    return opsm_fail(err, OPSM_MISSING, "%s is missing: %s needs it", array, why);
}

static bool ratio_needed(const opsm_objective *config) {
    if (surrogate_uses_ratio(config->surrogate_name)) return true;
    return config->penalty_beta > 0 && config->penalty_estimator == OPSM_PENALTY_UNBIASED;
}

static opsm_status need_behavior(const struct plan *plan, opsm_error *err) {
    const opsm_objective *config = &plan->config;
    if (plan->behavior || !rule_needs_behavior(config->mask_rule)) return OPSM_OK;
    bool sampler = config->mask_behavior == OPSM_SOURCE_SAMPLER;
    return opsm_fail(
        err, OPSM_MISSING,
        "%s is missing: mask.rule = %s measures drift from it; record it when sampling%s, or set mask.rule = none "
        "(the current log-probs are no substitute: drift would be zero and the mask a silent no-op)",
        sampler ? "logp_behavior" : "logp_trainer", opsm_rule_name(config->mask_rule),
        sampler && plan->batch.logp_trainer ? ", set mask.behavior = trainer" : "");
}

static opsm_status need_arrays(const struct plan *plan, opsm_error *err) {
    const opsm_objective *config = &plan->config;
    const opsm_batch *batch = &plan->batch;
    opsm_status status = need_behavior(plan, err);
    if (status != OPSM_OK) return status;
    bool decoupled = config->surrogate_name == OPSM_SURROGATE_DECOUPLED;
    if (decoupled && !batch->logp_behavior) return missing("logp_behavior", "surrogate.name = decoupled", err);
    if (decoupled && !batch->logp_trainer) return missing("logp_trainer", "surrogate.name = decoupled", err);
    if (ratio_needed(config) && !plan->base) {
        bool sampler = config->surrogate_ratio == OPSM_SOURCE_SAMPLER;
        return opsm_fail(err, OPSM_MISSING, "%s is missing: the ratio of %s = %s stands on it (surrogate.ratio = %s)",
                         sampler ? "logp_behavior" : "logp_trainer",
                         surrogate_uses_ratio(config->surrogate_name) ? "surrogate.name" : "penalty.estimator",
                         surrogate_uses_ratio(config->surrogate_name) ? opsm_surrogate_name(config->surrogate_name)
                                                                      : "unbiased",
                         opsm_source_name(config->surrogate_ratio));
    }
    if (plan->penalised && !batch->logp_reference) return missing("logp_reference", "penalty.beta > 0", err);
    if (config->surrogate_name == OPSM_SURROGATE_DPO && !batch->logp_reference)
        return missing("logp_reference", "surrogate.name = dpo", err);
    return OPSM_OK;
}

static void resolve_band(struct plan *plan) {
    bool geometric = plan->config.mask_rule == OPSM_RULE_GEOMETRIC;
    double low = isnan(plan->config.mask_low) ? (geometric ? 0.99 : 0.5) : plan->config.mask_low;
    double high = isnan(plan->config.mask_high) ? (geometric ? 1.01 : 5.0) : plan->config.mask_high;
    plan->log_low = log(low);
    plan->log_high = log(high);
}

opsm_status plan_make(struct plan *plan, const opsm_objective *config, const opsm_threshold *state,
                      const opsm_batch *batch, bool forward, opsm_error *err) {
    opsm_status status = objective_load_config(config, &plan->config, err);
    if (status == OPSM_OK) status = batch_load(batch, &plan->batch, err);
    if (status == OPSM_OK) status = batch_check_layout(&plan->batch, err);
    if (status == OPSM_OK && state) status = opsm_threshold_check(state, err);
    if (status != OPSM_OK) return status;
    plan->state = state;
    plan->sweeps = sweeps_best();
    plan->penalised = plan->config.penalty_beta > 0;
    opsm_surrogate name = plan->config.surrogate_name;
    opsm_rule rule = plan->config.mask_rule;
    plan->uses_current = plan->penalised || name == OPSM_SURROGATE_REINFORCE || name == OPSM_SURROGATE_TIS ||
                         name == OPSM_SURROGATE_CISPO || rule == OPSM_RULE_ICEPOP || rule == OPSM_RULE_TOKEN_K2 ||
                         plan->config.mask_sign == OPSM_SIGN_TOKEN;
    plan->behavior =
        plan->config.mask_behavior == OPSM_SOURCE_SAMPLER ? plan->batch.logp_behavior : plan->batch.logp_trainer;
    bool on_trainer =
        plan->config.surrogate_ratio == OPSM_SOURCE_TRAINER || plan->config.surrogate_name == OPSM_SURROGATE_DECOUPLED;
    plan->base = NULL;
    if (ratio_needed(&plan->config)) plan->base = on_trainer ? plan->batch.logp_trainer : plan->batch.logp_behavior;
    resolve_band(plan);
    if (plan->batch.n_sequences > 0 && !plan->batch.advantages && !plan->batch.token_advantages)
        return missing("advantages", "every surrogate (opsm_advantages computes them from rewards)", err);
    if (!forward) return OPSM_OK;
    if (plan->batch.n_tokens > 0 && !plan->batch.logp_current) return missing("logp_current", "the objective", err);
    return plan->batch.n_tokens > 0 ? need_arrays(plan, err) : OPSM_OK;
}
