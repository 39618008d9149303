/* SPDX-License-Identifier: Apache-2.0 */
#include "objective/surrogate.h"

/* x = f - c and e = exp(x) come ready. */
BLOCK_LOOP static void k1(int n, const double *x, double *k, double *g) {
    for (int j = 0; j < n; j++) {
        k[j] = -x[j];
        g[j] = 1.0;
    }
}

BLOCK_LOOP static void k2(int n, const double *x, double *k, double *g) {
    for (int j = 0; j < n; j++) {
        k[j] = 0.5 * x[j] * x[j];
        g[j] = -x[j];
    }
}

BLOCK_LOOP static void k3(int n, const double *x, const double *e, double *k, double *g) {
    for (int j = 0; j < n; j++) {
        k[j] = e[j] - x[j] - 1.0;
        g[j] = 1.0 - e[j];
    }
}

/* d/dc of r (e - x - 1) is r (e - x - 1) + r (1 - e) = -r x. */
BLOCK_LOOP static void unbiased(int n, const double *x, const double *e, const double *r, double *k, double *g) {
    for (int j = 0; j < n; j++) {
        k[j] = r[j] * (e[j] - x[j] - 1.0);
        g[j] = -(r[j] * x[j]);
    }
}

/* Tokens beyond the bound are held at it; unless `both`, only those below the reference (c < f, x > 0). */
BLOCK_LOOP static void clamp(int n, const double *x, double bound, bool both, double *v, double *g) {
    for (int j = 0; j < n; j++) {
        bool held = (both | (x[j] > 0)) & (v[j] > bound);
        g[j] = held ? 0.0 : g[j];
        v[j] = held ? bound : v[j];
    }
}

/* Where ratio_clamp holds r, only the other factor moves with c. */
static void hold_ratio(const struct plan *plan, const struct tokens *tokens, const double *e, double *g) {
    uint8_t held[BLOCK];
    drift_held(plan, tokens, held);
    for (int j = 0; j < tokens->block.n; j++) g[j] = held[j] ? tokens->r[j] * (1.0 - e[j]) : g[j];
}

void penalty_block(const struct plan *plan, const struct tokens *tokens, double *k, double *v, double *g) {
    int n = tokens->block.n;
    double x[BLOCK], e[BLOCK];
    block_gather(&tokens->block, plan->batch.logp_reference, x);
    block_subtract(n, x, tokens->c, x);
    opsm_penalty estimator = plan->config.penalty_estimator;
    if (estimator != OPSM_PENALTY_K1 && estimator != OPSM_PENALTY_K2) block_exp(n, x, e);
    switch (estimator) {
    case OPSM_PENALTY_K1:
        k1(n, x, k, g);
        break;
    case OPSM_PENALTY_K2:
        k2(n, x, k, g);
        break;
    case OPSM_PENALTY_K3:
        k3(n, x, e, k, g);
        break;
    default:
        unbiased(n, x, e, tokens->r, k, g);
        if (plan->held) hold_ratio(plan, tokens, e, g);
        break;
    }
    memcpy(v, k, (size_t)n * sizeof *v);
    clamp(n, x, plan->config.penalty_clamp, plan->config.penalty_clamp_both, v, g);
}
