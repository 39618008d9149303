/* SPDX-License-Identifier: Apache-2.0 */
#include "objective/surrogate.h"
#include <math.h>

bool surrogate_uses_ratio(opsm_surrogate name) {
    return name != OPSM_SURROGATE_REINFORCE && name != OPSM_SURROGATE_DPO;
}

/* min(r a, clip(r) a): the gradient flows where the unclipped branch is the smaller one, ties included. For a < 0 the
 * loss is at most -dual a; a NaN ratio makes s NaN, which the caller finds. */
BLOCK_LOOP static void ppo(int n, const double *r, const double *a, double low, double high, double dual, double *s,
                           double *g) {
    for (int k = 0; k < n; k++) {
        double clipped = r[k] < low ? low : r[k];
        clipped = clipped > high ? high : clipped;
        double u = r[k] * a[k], v = clipped * a[k], most = -dual * a[k];
        double value = u <= v ? -u : -v;
        double slope = u <= v ? -u : 0.0;
        slope = a[k] < 0 && value > most ? 0.0 : slope;
        value = a[k] < 0 && value > most ? most : value;
        s[k] = a[k] == 0 ? 0.0 : value;
        g[k] = a[k] == 0 ? 0.0 : slope;
    }
}

BLOCK_LOOP static void importance(int n, const double *r, const double *a, double *s, double *g) {
    for (int k = 0; k < n; k++) s[k] = g[k] = a[k] == 0 ? 0.0 : -(r[k] * a[k]);
}

/* -w a c with the weight w = clip(r, low, high) held constant: reinforce (low = high = 1), tis, cispo. */
BLOCK_LOOP static void weighted(int n, const double *c, const double *r, const double *a, double low, double high,
                                double *s, double *g) {
    for (int k = 0; k < n; k++) {
        double w = r[k] < low ? low : r[k];
        w = w > high ? high : w;
        double slope = -(w * a[k]);
        s[k] = a[k] == 0 ? 0.0 : slope * c[k];
        g[k] = a[k] == 0 ? 0.0 : slope;
    }
}

BLOCK_LOOP static void reinforce(int n, const double *c, const double *a, double *s, double *g) {
    for (int k = 0; k < n; k++) {
        s[k] = a[k] == 0 ? 0.0 : -(a[k] * c[k]);
        g[k] = -a[k];
    }
}

BLOCK_LOOP static void sapo(int n, const double *r, const double *a, double tau_pos, double tau_neg, double *s,
                            double *g) {
    for (int k = 0; k < n; k++) {
        double tau = a[k] > 0 ? tau_pos : tau_neg;
        double gate = 1.0 / (1.0 + exp_fixed(-(tau * (r[k] - 1.0))));
        double rest = gate * (1.0 - gate);
        double slope = -4.0 * rest * r[k] * a[k];
        s[k] = a[k] == 0 ? 0.0 : -(4.0 / tau) * gate * a[k];
        /* A saturated gate has no slope, even where r overflowed. */
        g[k] = a[k] == 0 || rest == 0 ? 0.0 : slope;
    }
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
        sapo(n, tokens->r, a, config->surrogate_tau_pos, config->surrogate_tau_neg, s, g);
        break;
    case OPSM_SURROGATE_DECOUPLED:
        ppo(n, tokens->r, a, low, high, config->surrogate_dual_clip, s, g);
        decouple(plan, tokens, s, g);
        break;
    default:
        ppo(n, tokens->r, a, low, high, config->surrogate_dual_clip, s, g);
        break;
    }
}

/* Counts of r < low and r > high, by the sign of a where the clip acts on one side only. */
BLOCK_LOOP static void count_outside(int n, const double *r, const double *a, double low, double high, bool one_sided,
                                     int64_t *below, int64_t *above) {
    int64_t lows = 0, highs = 0;
    for (int k = 0; k < n; k++) {
        lows += (r[k] < low) & (!one_sided | (a[k] < 0));
        highs += (r[k] > high) & (!one_sided | (a[k] > 0));
    }
    *below += lows;
    *above += highs;
}

void surrogate_clipped(const struct plan *plan, const struct tokens *tokens, const double *a, int64_t *low,
                       int64_t *high) {
    const opsm_objective *config = &plan->config;
    double bottom = 1.0 - config->surrogate_clip_low, top = 1.0 + config->surrogate_clip_high;
    switch (config->surrogate_name) {
    case OPSM_SURROGATE_PPO:
    case OPSM_SURROGATE_GSPO:
    case OPSM_SURROGATE_DECOUPLED:
        count_outside(tokens->block.n, tokens->r, a, bottom, top, true, low, high);
        break;
    case OPSM_SURROGATE_CISPO:
        count_outside(tokens->block.n, tokens->r, a, bottom, top, false, low, high);
        break;
    case OPSM_SURROGATE_TIS:
        count_outside(tokens->block.n, tokens->r, a, 0.0, config->surrogate_cap, false, low, high);
        break;
    default:
        break;
    }
}
