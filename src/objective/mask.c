/* SPDX-License-Identifier: Apache-2.0 */
#include "objective/parts.h"

bool rule_needs_behavior(opsm_rule rule) {
    return rule != OPSM_RULE_NONE && rule != OPSM_RULE_NEGATIVES;
}

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

/* Comparisons with a NaN drift are false: nothing is dropped here, the non-finite rule decides. */
struct decision mask_decide(const struct plan *plan, const opsm_sequence *record, int64_t id, double random_cut) {
    const opsm_objective *config = &plan->config;
    struct decision decision = {.side = SIDE_NEGATIVE};
    switch (config->mask_rule) {
    case OPSM_RULE_OPSM:
        decision.hit = record->drift > record->delta;
        break;
    case OPSM_RULE_GEOMETRIC:
        decision.hit = -record->drift < plan->log_low || -record->drift > plan->log_high;
        decision.side = SIDE_ANY;
        break;
    case OPSM_RULE_ICEPOP:
    case OPSM_RULE_TOKEN_K2:
        decision.by_token = true;
        break;
    case OPSM_RULE_NEGATIVES:
        decision.hit = true;
        break;
    case OPSM_RULE_RANDOM:
        decision.hit = mask_random_unit(config->mask_seed, plan->batch.step, id) < random_cut;
        break;
    case OPSM_RULE_POSITIVES:
        decision.hit = record->drift > record->delta;
        decision.side = SIDE_POSITIVE;
        break;
    default:
        break;
    }
    if (record->nonfinite && record->advantage < 0) return (struct decision){.hit = true, .side = SIDE_ANY};
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

bool mask_drops_token(const struct plan *plan, const struct decision *decision, double advantage, double log_ratio) {
    if (!decision->by_token) return decision->hit;
    switch (plan->config.mask_rule) {
    case OPSM_RULE_ICEPOP:
        return !(log_ratio >= plan->log_low && log_ratio <= plan->log_high);
    case OPSM_RULE_TOKEN_K2:
        return !(0.5 * log_ratio * log_ratio <= plan->config.mask_delta);
    default:
        return decision->hit && (decision->side == SIDE_NEGATIVE ? advantage < 0 : advantage > 0);
    }
}
