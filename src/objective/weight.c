/* SPDX-License-Identifier: Apache-2.0
 *
 * Importance weights exp(p - b) from sampler to trainer, constant with respect to the gradient: per token, or the
 * product or geometric mean over the sequence; bounded, or zero outside the bounds.
 */
#include "objective/surrogate.h"

static double bounded(const opsm_objective *config, double w) {
    if (w < config->weight_low) return config->weight_zero ? 0.0 : config->weight_low;
    if (w > config->weight_high) return config->weight_zero ? 0.0 : config->weight_high;
    return w;
}

/* p - b; 0 where b is unknown and may be. */
static void log_weights(const struct plan *plan, const struct block *block, double *d) {
    double b[BLOCK];
    block_gather(block, plan->batch.logp_trainer, d);
    block_gather(block, plan->batch.logp_behavior, b);
    for (int k = 0; plan->config.mask_skip_nan && k < block->n; k++) b[k] = isnan(b[k]) ? d[k] : b[k];
    block_subtract(block->n, d, b, d);
}

double weight_of_sequence(const struct plan *plan, int64_t i, struct tokens *tokens) {
    if (plan->config.weight_level == OPSM_WEIGHT_TOKEN) return 1.0;
    struct walk walk = walk_sequence(&plan->batch, i);
    double sum = 0, d[BLOCK], bound = plan->config.ratio_clamp;
    int64_t n = 0;
    while (walk_next(&walk, &tokens->block)) {
        log_weights(plan, &tokens->block, d);
        sum += block_sum(tokens->block.n, d);
        n += tokens->block.n;
    }
    if (plan->config.weight_level == OPSM_WEIGHT_GEOMETRIC && n > 0) sum /= (double)n;
    return bounded(&plan->config, exp_fixed(clamp_to(sum, -bound, bound)));
}

void weight_block(const struct plan *plan, const struct block *block, double sequence, double *w) {
    if (plan->config.weight_level != OPSM_WEIGHT_TOKEN) {
        for (int k = 0; k < block->n; k++) w[k] = sequence;
        return;
    }
    double bound = plan->config.ratio_clamp;
    log_weights(plan, block, w);
    for (int k = 0; k < block->n; k++) w[k] = clamp_to(w[k], -bound, bound);
    block_exp(block->n, w, w);
    for (int k = 0; k < block->n; k++) w[k] = bounded(&plan->config, w[k]);
}

void weight_apply(int n, const double *w, double *x) {
    for (int k = 0; k < n; k++) x[k] = w[k] == 0 ? 0.0 : w[k] * x[k];
}
