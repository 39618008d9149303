/* SPDX-License-Identifier: Apache-2.0 */
#include "objective/surrogate.h"
#include <math.h>

bool surrogate_is_ppo(opsm_surrogate name) {
    return name == OPSM_SURROGATE_PPO || name == OPSM_SURROGATE_GSPO || name == OPSM_SURROGATE_DECOUPLED;
}

/* All loops choose between operands, not between results, so that compilers make plain vector code of them. Where a = 0
 * the weight is set to 0 first: a ratio that is not finite does not matter there. */

/* -min(r a, clip(r) a) is -min(r, high) a for a > 0 and -max(r, low) a for a < 0, there at most -dual a. The gradient
 * flows where r is not held, ties included. A NaN ratio makes s NaN, which the caller finds. */
BLOCK_LOOP static void ppo(int n, const double *r, const double *a, double low, double high, double dual, double *s,
                           double *g) {
    for (int k = 0; k < n; k++) {
        double bottom = a[k] < 0 ? low : 0.0, top = a[k] < 0 ? dual : high;
        double t = r[k] < bottom ? bottom : r[k];
        t = t > top ? top : t;
        double open = t == r[k] ? t : 0.0;
        t = a[k] == 0 ? 0.0 : t;
        open = a[k] == 0 ? 0.0 : open;
        s[k] = -(t * a[k]);
        g[k] = -(open * a[k]);
    }
}

/* The same for one advantage and its two bounds. */
BLOCK_LOOP static void ppo_uniform(int n, const double *r, double a, double bottom, double top, double *s, double *g) {
    for (int k = 0; k < n; k++) {
        double t = r[k] < bottom ? bottom : r[k];
        t = t > top ? top : t;
        double open = t == r[k] ? t : 0.0;
        s[k] = -(t * a);
        g[k] = -(open * a);
    }
}

static void ppo_block(const struct plan *plan, const struct tokens *tokens, const double *a, double *s, double *g) {
    int n = tokens->block.n;
    double low = 1.0 - plan->config.surrogate_clip_low, high = 1.0 + plan->config.surrogate_clip_high;
    double dual = plan->config.surrogate_dual_clip;
    if (plan->batch.token_advantages || a[0] == 0)
        ppo(n, tokens->r, a, low, high, dual, s, g);
    else
        ppo_uniform(n, tokens->r, a[0], a[0] < 0 ? low : 0.0, a[0] < 0 ? dual : high, s, g);
}

BLOCK_LOOP static void importance(int n, const double *r, const double *a, double *s, double *g) {
    for (int k = 0; k < n; k++) {
        double t = a[k] == 0 ? 0.0 : r[k];
        s[k] = g[k] = -(t * a[k]);
    }
}

/* -w a c with the weight w = clip(r, low, high) held constant: tis, cispo. */
BLOCK_LOOP static void weighted(int n, const double *c, const double *r, const double *a, double low, double high,
                                double *s, double *g) {
    for (int k = 0; k < n; k++) {
        double w = r[k] < low ? low : r[k];
        w = w > high ? high : w;
        w = a[k] == 0 ? 0.0 : w;
        double at = a[k] == 0 ? 0.0 : c[k];
        g[k] = -(w * a[k]);
        s[k] = -(w * a[k]) * at;
    }
}

BLOCK_LOOP static void reinforce(int n, const double *c, const double *a, double *s, double *g) {
    for (int k = 0; k < n; k++) {
        double at = a[k] == 0 ? 0.0 : c[k];
        s[k] = -(a[k] * at);
        g[k] = -a[k];
    }
}

/* x = -tau (r - 1): the gate is 1 / (1 + exp(x)). */
BLOCK_LOOP static void sapo_arguments(int n, const double *r, const double *a, double tau_pos, double tau_neg,
                                      double *x) {
    for (int k = 0; k < n; k++) {
        double tau = a[k] > 0 ? tau_pos : tau_neg, t = a[k] == 0 ? 1.0 : r[k];
        x[k] = -(tau * (t - 1.0));
    }
}

BLOCK_LOOP static void sapo(int n, const double *r, const double *a, const double *e, double tau_pos, double tau_neg,
                            double *s, double *g) {
    for (int k = 0; k < n; k++) {
        double tau = a[k] > 0 ? tau_pos : tau_neg, t = a[k] == 0 ? 1.0 : r[k];
        double gate = 1.0 / (1.0 + e[k]);
        double rest = gate * (1.0 - gate);
        t = rest == 0 ? 0.0 : t; /* a saturated gate has no slope, even where r overflowed */
        s[k] = -(4.0 / tau) * gate * a[k];
        g[k] = -4.0 * rest * t * a[k];
    }
}

static void sapo_block(const opsm_objective *config, const struct tokens *tokens, const double *a, double *s,
                       double *g) {
    double e[BLOCK] = {0};
    int n = tokens->block.n;
    sapo_arguments(n, tokens->r, a, config->surrogate_tau_pos, config->surrogate_tau_neg, e);
    block_exp(n, e, e);
    sapo(n, tokens->r, a, e, config->surrogate_tau_pos, config->surrogate_tau_neg, s, g);
}

/* Multiplies by sg(min(exp(p - b), cap)). */
BLOCK_LOOP static void scale_by_behavior(int n, const double *weight, double cap, double *s, double *g) {
    for (int k = 0; k < n; k++) {
        double w = weight[k] > cap ? cap : weight[k];
        s[k] *= w;
        g[k] *= w;
    }
}

static void decouple(const struct plan *plan, const struct tokens *tokens, double *s, double *g) {
    const struct block *block = &tokens->block;
    double p[BLOCK], b[BLOCK];
    block_gather(block, plan->batch.logp_trainer, p);
    block_gather(block, plan->batch.logp_behavior, b);
    block_subtract(block->n, p, b, p);
    block_exp(block->n, p, p);
    scale_by_behavior(block->n, p, plan->config.surrogate_cap, s, g);
}

/* Surrogates whose gradient flows through the ratio of each token. */
static bool moves_with_ratio(opsm_surrogate name) {
    return name == OPSM_SURROGATE_PPO || name == OPSM_SURROGATE_IS || name == OPSM_SURROGATE_SAPO ||
           name == OPSM_SURROGATE_DECOUPLED;
}

/* A ratio that ratio_clamp holds does not move with c. */
static void stop_held(const struct plan *plan, const struct tokens *tokens, double *g) {
    uint8_t held[BLOCK];
    drift_held(plan, tokens, held);
    for (int k = 0; k < tokens->block.n; k++) g[k] = held[k] ? 0.0 : g[k];
}

void surrogate_block(const struct plan *plan, const struct tokens *tokens, const double *a, double *s, double *g) {
    const opsm_objective *config = &plan->config;
    int n = tokens->block.n;
    double low = 1.0 - config->surrogate_clip_low, high = 1.0 + config->surrogate_clip_high;
    switch (config->surrogate_name) {
    case OPSM_SURROGATE_IS:
        importance(n, tokens->r, a, s, g);
        break;
    case OPSM_SURROGATE_REINFORCE:
        reinforce(n, tokens->c, a, s, g);
        break;
    case OPSM_SURROGATE_TIS:
        weighted(n, tokens->c, tokens->r, a, 0.0, config->surrogate_cap, s, g);
        break;
    case OPSM_SURROGATE_CISPO:
        weighted(n, tokens->c, tokens->r, a, low, high, s, g);
        break;
    case OPSM_SURROGATE_SAPO:
        sapo_block(config, tokens, a, s, g);
        break;
    case OPSM_SURROGATE_DECOUPLED:
        ppo_block(plan, tokens, a, s, g);
        decouple(plan, tokens, s, g);
        break;
    default:
        ppo_block(plan, tokens, a, s, g);
        break;
    }
    if (plan->held && moves_with_ratio(config->surrogate_name)) stop_held(plan, tokens, g);
}

BLOCK_LOOP static int64_t count_below(int n, const double *r, double bound) {
    int64_t count = 0;
    for (int k = 0; k < n; k++) count += r[k] < bound;
    return count;
}

BLOCK_LOOP static int64_t count_above(int n, const double *r, double bound) {
    int64_t count = 0;
    for (int k = 0; k < n; k++) count += r[k] > bound;
    return count;
}

/* Low counts where a < 0, high where a > 0: the side on which ppo's minimum clips. */
static void count_by_sign(int n, const double *r, const double *a, double bottom, double top, int64_t *low,
                          int64_t *high) {
    for (int k = 0; k < n; k++) {
        *low += a[k] < 0 && r[k] < bottom;
        *high += a[k] > 0 && r[k] > top;
    }
}

void surrogate_clipped(const struct plan *plan, const struct tokens *tokens, const double *a, int64_t *low,
                       int64_t *high) {
    const opsm_objective *config = &plan->config;
    const double *r = tokens->r;
    int n = tokens->block.n;
    double bottom = 1.0 - config->surrogate_clip_low, top = 1.0 + config->surrogate_clip_high;
    switch (config->surrogate_name) {
    case OPSM_SURROGATE_PPO:
    case OPSM_SURROGATE_GSPO:
    case OPSM_SURROGATE_DECOUPLED:
        if (plan->batch.token_advantages)
            count_by_sign(n, r, a, bottom, top, low, high);
        else if (a[0] < 0)
            *low += count_below(n, r, bottom);
        else if (a[0] > 0)
            *high += count_above(n, r, top);
        break;
    case OPSM_SURROGATE_CISPO:
        *low += count_below(n, r, bottom);
        *high += count_above(n, r, top);
        break;
    case OPSM_SURROGATE_TIS:
        *high += count_above(n, r, config->surrogate_cap);
        break;
    default:
        break;
    }
}
