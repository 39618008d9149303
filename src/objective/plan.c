/* SPDX-License-Identifier: Apache-2.0
 *
 * Before any arithmetic: is everything there that this objective needs?
 */
#include "objective/parts.h"
#include <math.h>

static opsm_status missing(const char *array, const char *why, opsm_error *err) {
    return opsm_fail(err, OPSM_MISSING, "%s is missing: %s needs it", array, why);
}

static opsm_status need_behavior(const struct plan *plan, opsm_error *err) {
    const opsm_objective *config = &plan->config;
    if (!objective_needs_drift(config)) return OPSM_OK;
    if (plan->behavior && !plan->now) return missing("logp_trainer", "mask.current = trainer", err);
    if (plan->behavior) return OPSM_OK;
    bool sampler = config->mask_behavior == OPSM_SOURCE_SAMPLER;
    const char *key = "guard", *value = opsm_guard_name(config->guard);
    if (config->mask_also != OPSM_BAND_NONE) key = "mask.also", value = opsm_band_name(config->mask_also);
    if (rule_drifts(config->mask_rule)) key = "mask.rule", value = opsm_rule_name(config->mask_rule);
    return opsm_fail(err, OPSM_MISSING,
                     "%s is missing: %s = %s measures drift from it; record it when sampling%s, or set %s = none "
                     "(the current log-probs are no substitute: drift would be zero and the mask a silent no-op)",
                     sampler ? "logp_behavior" : "logp_trainer", key, value,
                     sampler && plan->batch.logp_trainer ? ", set mask.behavior = trainer" : "", key);
}

static opsm_status need_arrays(const struct plan *plan, opsm_error *err) {
    const opsm_objective *config = &plan->config;
    const opsm_batch *batch = &plan->batch;
    opsm_status status = need_behavior(plan, err);
    if (status != OPSM_OK) return status;
    bool decoupled = config->surrogate_name == OPSM_SURROGATE_DECOUPLED;
    const char *weight = decoupled ? "surrogate.name = decoupled" : "weight.level";
    if (decoupled || config->weight_level != OPSM_WEIGHT_NONE) {
        if (!batch->logp_behavior) return missing("logp_behavior", weight, err);
        if (!batch->logp_trainer) return missing("logp_trainer", weight, err);
    }
    if (objective_needs_ratio(config) && !plan->base) {
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

static void resolve_band(const opsm_objective *config, bool geometric, double *log_low, double *log_high) {
    *log_low = log(isnan(config->mask_low) ? (geometric ? 0.99 : 0.5) : config->mask_low);
    *log_high = log(isnan(config->mask_high) ? (geometric ? 1.01 : 5.0) : config->mask_high);
}

/* Where drift is measured: from `behavior` to `now`. */
static void resolve_drift(struct plan *plan) {
    const opsm_objective *config = &plan->config;
    const opsm_batch *batch = &plan->batch;
    plan->behavior = config->mask_behavior == OPSM_SOURCE_SAMPLER ? batch->logp_behavior : batch->logp_trainer;
    plan->now = config->mask_current == OPSM_POINT_CURRENT ? batch->logp_current : batch->logp_trainer;
    if (!plan->now && !objective_needs_drift(config)) plan->behavior = NULL;
    plan->skip_nan = config->mask_skip_nan && config->mask_behavior == OPSM_SOURCE_SAMPLER;
    plan->held = isfinite(config->ratio_clamp);
    resolve_band(config, config->mask_rule == OPSM_RULE_GEOMETRIC, &plan->log_low, &plan->log_high);
    resolve_band(config, config->mask_also == OPSM_BAND_GEOMETRIC, &plan->also_low, &plan->also_high);
}

opsm_status plan_make(struct plan *plan, const opsm_objective *config, const opsm_threshold *state,
                      const opsm_batch *batch, bool forward, opsm_error *err) {
    opsm_status status = objective_load_config(config, &plan->config, err);
    if (status == OPSM_OK) status = batch_load(batch, &plan->batch, err);
    if (status == OPSM_OK) status = batch_check_offsets(&plan->batch, err);
    if (status == OPSM_OK && state) status = opsm_threshold_check(state, err);
    if (status != OPSM_OK) return status;
    plan->state = state;
    plan->sweeps = sweeps_best();
    plan->penalised = plan->config.penalty_beta > 0;
    opsm_surrogate name = plan->config.surrogate_name;
    resolve_drift(plan);
    plan->uses_current = plan->penalised || plan->held || name == OPSM_SURROGATE_REINFORCE ||
                         name == OPSM_SURROGATE_TIS || name == OPSM_SURROGATE_CISPO;
    bool on_trainer =
        plan->config.surrogate_ratio == OPSM_SOURCE_TRAINER || plan->config.surrogate_name == OPSM_SURROGATE_DECOUPLED;
    plan->base = NULL;
    if (objective_needs_ratio(&plan->config))
        plan->base = on_trainer ? plan->batch.logp_trainer : plan->batch.logp_behavior;
    if (plan->batch.n_sequences > 0 && !plan->batch.advantages && !plan->batch.token_advantages)
        return missing("advantages", "every surrogate (opsm_advantages computes them from rewards)", err);
    if (!forward) return OPSM_OK;
    if (plan->batch.n_tokens > 0 && !plan->batch.logp_current) return missing("logp_current", "the objective", err);
    return plan->batch.n_tokens > 0 ? need_arrays(plan, err) : OPSM_OK;
}
