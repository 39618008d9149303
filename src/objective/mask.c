/* SPDX-License-Identifier: Apache-2.0 */
#include "objective/block.h"

/* splitmix64's finaliser (Steele, Lea, Flood 2014), applied word by word. */
static uint64_t mix(uint64_t x) {
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

double mask_random_unit(int64_t seed, int64_t step, int64_t id) {
    uint64_t bits = mix(mix(mix((uint64_t)seed) ^ (uint64_t)step) ^ (uint64_t)id);
    return (double)(bits >> 11) * 0x1p-53;
}

/* Comparisons with a NaN are false: nothing is dropped here, the non-finite rule decides. */
static bool sequence_outside(double drift, double low, double high) {
    return -drift < low || -drift > high;
}

static bool token_outside(double log_ratio, double low, double high) {
    return !(log_ratio >= low && log_ratio <= high);
}

/* mask.rule alone. */
static struct decision decide_rule(const struct plan *plan, const opsm_sequence *record, int64_t id,
                                   double random_cut) {
    const opsm_objective *config = &plan->config;
    struct decision decision = {.side = SIDE_NEGATIVE, .by_token = rule_by_token(config->mask_rule)};
    switch (config->mask_rule) {
    case OPSM_RULE_OPSM:
        decision.hit = record->drift > record->delta;
        decision.reason = OPSM_REASON_OPSM;
        if (config->mask_sign != OPSM_SIGN_ANY) break;
        decision.side = SIDE_ANY;
        decision.reason = OPSM_REASON_DRIFT;
        break;
    case OPSM_RULE_GEOMETRIC:
        decision.hit = sequence_outside(record->drift, plan->log_low, plan->log_high);
        decision.side = SIDE_ANY;
        decision.reason = OPSM_REASON_GEOMETRIC;
        break;
    case OPSM_RULE_OUTLIER:
        decision.outlier = true;
        break;
    case OPSM_RULE_NEGATIVES:
        decision.hit = true;
        decision.reason = OPSM_REASON_NEGATIVES;
        break;
    case OPSM_RULE_RANDOM:
        decision.hit = mask_random_unit(config->mask_seed, plan->batch.step, id) < random_cut;
        decision.reason = OPSM_REASON_RANDOM;
        break;
    case OPSM_RULE_POSITIVES:
        decision.hit = record->drift > record->delta;
        decision.side = SIDE_POSITIVE;
        decision.reason = OPSM_REASON_POSITIVES;
        break;
    default:
        break;
    }
    if (decision.by_token) return decision;
    bool per_token = config->mask_sign == OPSM_SIGN_TOKEN && plan->batch.token_advantages;
    if (decision.hit && per_token && decision.side != SIDE_ANY) {
        decision.by_token = true;
        return decision;
    }
    if (decision.side == SIDE_NEGATIVE) decision.hit = decision.hit && record->advantage < 0;
    if (decision.side == SIDE_POSITIVE) decision.hit = decision.hit && record->advantage > 0;
    decision.side = SIDE_ANY;
    return decision;
}

struct decision mask_whole(opsm_reason reason) {
    return (struct decision){.hit = true, .side = SIDE_ANY, .reason = (uint8_t)reason};
}

struct decision mask_decide(const struct plan *plan, const opsm_sequence *record, int64_t id, double random_cut) {
    if (record->nonfinite && record->advantage < 0) return mask_whole(OPSM_REASON_NONFINITE);
    struct decision decision = decide_rule(plan, record, id, random_cut);
    if (decision.hit && !decision.by_token) return mask_whole((opsm_reason)decision.reason);
    switch (plan->config.mask_also) {
    case OPSM_BAND_GEOMETRIC:
        if (sequence_outside(record->drift, plan->also_low, plan->also_high)) return mask_whole(OPSM_REASON_GEOMETRIC);
        break;
    case OPSM_BAND_ICEPOP:
        decision.by_token = true;
        break;
    case OPSM_BAND_OUTLIER:
        decision.outlier = true;
        break;
    default:
        break;
    }
    return decision;
}

static double token_drift(opsm_estimator estimator, double log_ratio) {
    switch (estimator) {
    case OPSM_ESTIMATOR_K2:
        return 0.5 * log_ratio * log_ratio;
    case OPSM_ESTIMATOR_K3:
        return exp_fixed(log_ratio) - 1.0 - log_ratio;
    case OPSM_ESTIMATOR_ABS:
        return log_ratio < 0 ? -log_ratio : log_ratio;
    case OPSM_ESTIMATOR_EXP_ABS:
        return exp_fixed(log_ratio < 0 ? -log_ratio : log_ratio);
    default:
        return -log_ratio;
    }
}

/* Probability that the token has won (A > 0) or lost (A < 0) since it was sampled. */
static bool moved_too_far(const opsm_objective *config, const struct token_facts *token) {
    double change = exp_fixed(token->behavior + token->log_ratio) - exp_fixed(token->behavior);
    bool up = change > config->mask_delta, down = -change > config->mask_delta;
    if (config->mask_sign == OPSM_SIGN_ANY) return up || down;
    return token->advantage > 0 ? up : down;
}

uint8_t mask_drops_token(const struct plan *plan, const struct decision *decision, const struct token_facts *token) {
    const opsm_objective *config = &plan->config;
    if (!decision->by_token) return decision->hit ? decision->reason : 0;
    if (config->mask_also == OPSM_BAND_ICEPOP && token_outside(token->log_ratio, plan->also_low, plan->also_high))
        return OPSM_REASON_ICEPOP;
    switch (config->mask_rule) {
    case OPSM_RULE_ICEPOP:
        return token_outside(token->log_ratio, plan->log_low, plan->log_high) ? OPSM_REASON_ICEPOP : 0;
    case OPSM_RULE_TOKEN_K2:
        return token_drift(OPSM_ESTIMATOR_K2, token->log_ratio) <= config->mask_delta ? 0 : OPSM_REASON_TOKEN_K2;
    case OPSM_RULE_TOKEN:
        return token_drift(config->mask_estimator, token->log_ratio) <= config->mask_delta ? 0 : OPSM_REASON_TOKEN;
    case OPSM_RULE_TV:
        return moved_too_far(config, token) ? OPSM_REASON_TV : 0;
    default:
        if (!decision->hit) return 0;
        return (decision->side == SIDE_NEGATIVE ? token->advantage < 0 : token->advantage > 0) ? decision->reason : 0;
    }
}

bool mask_is_outlier(const struct plan *plan, double log_ratio) {
    if (plan->config.mask_rule == OPSM_RULE_OUTLIER && token_outside(log_ratio, plan->log_low, plan->log_high))
        return true;
    return plan->config.mask_also == OPSM_BAND_OUTLIER && token_outside(log_ratio, plan->also_low, plan->also_high);
}
