/* SPDX-License-Identifier: Apache-2.0 */
#include "objective/drift.h"
#include <math.h>

BLOCK_LOOP static void token_k2(int n, const double *d, double *x) {
    for (int k = 0; k < n; k++) x[k] = 0.5 * d[k] * d[k];
}

BLOCK_LOOP static void token_k3(int n, const double *d, const double *r, double *x) {
    for (int k = 0; k < n; k++) x[k] = r[k] - 1.0 - d[k];
}

BLOCK_LOOP static void token_abs(int n, const double *d, double *x) {
    for (int k = 0; k < n; k++) x[k] = d[k] < 0 ? -d[k] : d[k];
}

BLOCK_LOOP static void negate(int n, const double *d, double *x) {
    for (int k = 0; k < n; k++) x[k] = -d[k];
}

/* Running sums over the blocks of a sequence. */
struct sums {
    double d, k3, chosen, chosen_max, d_max, highest;
    double other; /* sum of everything else that must be finite */
};

static void estimate(opsm_estimator estimator, const struct tokens *tokens, double *x) {
    int n = tokens->block.n;
    switch (estimator) {
    case OPSM_ESTIMATOR_K2:
        token_k2(n, tokens->d, x);
        break;
    case OPSM_ESTIMATOR_K3:
        token_k3(n, tokens->d, tokens->r, x);
        break;
    case OPSM_ESTIMATOR_ABS:
        token_abs(n, tokens->d, x);
        break;
    default:
        negate(n, tokens->d, x);
        break;
    }
}

static double larger(double a, double b) {
    return b > a ? b : a;
}

/* The statistics of one block against the behaviour log-probs. */
static void measure_block(const struct plan *plan, struct tokens *tokens, struct sums *sums) {
    const struct block *block = &tokens->block;
    int n = block->n;
    double x[BLOCK];
    block_gather(block, plan->batch.logp_current, tokens->c);
    sums->highest = larger(sums->highest, block_max(n, tokens->c));
    tokens->ratio_ready = false;
    if (!plan->behavior) {
        sums->other += block_sum(n, tokens->c);
        return;
    }
    block_gather(block, plan->behavior, tokens->below);
    sums->highest = larger(sums->highest, block_max(n, tokens->below));
    block_subtract(n, tokens->c, tokens->below, tokens->d);
    block_exp(n, tokens->d, tokens->r);
    tokens->ratio_ready = plan->base == plan->behavior;
    token_k3(n, tokens->d, tokens->r, x);
    sums->d += block_sum(n, tokens->d);
    sums->d_max = larger(sums->d_max, block_max(n, tokens->d));
    sums->k3 += block_sum(n, x);
    if (plan->config.mask_estimator == OPSM_ESTIMATOR_K1 && plan->config.mask_reduce != OPSM_REDUCE_MAX) return;
    estimate(plan->config.mask_estimator, tokens, x);
    sums->chosen += block_sum(n, x);
    sums->chosen_max = larger(sums->chosen_max, block_max(n, x));
}

/* Arrays that the loss reads besides the two of the drift: they must be finite too. */
static void scan_extra(const float *values, const struct tokens *tokens, const double *c, struct sums *sums) {
    double x[BLOCK];
    if (!values) return;
    block_gather(&tokens->block, values, x);
    sums->other += block_sum(tokens->block.n, x);
    sums->highest = larger(sums->highest, block_max(tokens->block.n, x));
    if (!c) return;
    block_subtract(tokens->block.n, c, x, x);
    sums->d_max = larger(sums->d_max, block_max(tokens->block.n, x));
}

static void scan_block(const struct plan *plan, struct tokens *tokens, struct sums *sums) {
    const opsm_batch *batch = &plan->batch;
    measure_block(plan, tokens, sums);
    if (plan->base != plan->behavior) scan_extra(plan->base, tokens, tokens->c, sums);
    if (plan->config.surrogate_name == OPSM_SURROGATE_DECOUPLED && batch->logp_behavior != plan->behavior)
        scan_extra(batch->logp_behavior, tokens, NULL, sums);
    if (plan->penalised || plan->config.surrogate_name == OPSM_SURROGATE_DPO)
        scan_extra(batch->logp_reference, tokens, NULL, sums);
}

static double reduce(const opsm_objective *config, const struct sums *sums, double n) {
    bool plain = config->mask_estimator == OPSM_ESTIMATOR_K1;
    double total = plain && config->mask_reduce != OPSM_REDUCE_MAX ? -sums->d : sums->chosen;
    if (config->mask_reduce == OPSM_REDUCE_SUM) return total;
    /* The sum is finite exactly if every token is: keep NaN and infinity visible in the maximum too. */
    if (config->mask_reduce == OPSM_REDUCE_MAX) return n == 0 ? 0.0 : isfinite(total) ? sums->chosen_max : total;
    return n == 0 ? 0.0 : total / n;
}

static double entropy_sum(const struct plan *plan, int64_t i) {
    if (!plan->batch.entropy) return NAN;
    struct walk walk = walk_sequence(&plan->batch, i);
    struct block block;
    double x[BLOCK], sum = 0;
    while (walk_next(&walk, &block)) {
        block_gather(&block, plan->batch.entropy, x);
        sum += block_sum(block.n, x);
    }
    return sum;
}

static opsm_status read_advantage(const struct plan *plan, int64_t i, double *advantage, opsm_error *err) {
    *advantage = batch_advantage(&plan->batch, i);
    if (isfinite(*advantage)) return OPSM_OK;
    const opsm_batch *batch = &plan->batch;
    for (int64_t t = batch->offsets[i]; batch->token_advantages && t < batch->offsets[i + 1]; t++)
        if ((!batch->mask || batch->mask[t]) && !isfinite(batch->token_advantages[t]))
            return opsm_fail(err, OPSM_NONFINITE,
                             "advantage of sequence %lld, token %lld is %g: expected a finite number", (long long)i,
                             (long long)(t - batch->offsets[i]), (double)batch->token_advantages[t]);
    return opsm_fail(err, OPSM_NONFINITE, "advantage of sequence %lld is %g: expected a finite number", (long long)i,
                     *advantage);
}

opsm_status drift_measure(const struct plan *plan, int64_t i, bool scan, struct tokens *tokens, opsm_sequence *record,
                          opsm_error *err) {
    const opsm_batch *batch = &plan->batch;
    memset(record, 0, sizeof *record);
    record->group = batch->groups ? batch->groups[i] : 0;
    record->length = batch->offsets[i + 1] - batch->offsets[i];
    record->lag = batch->lag ? batch->lag[i] : -1;
    record->drift = record->drift_k1 = record->drift_k3 = record->ratio_max = NAN;
    record->entropy_sum = entropy_sum(plan, i);
    record->keep = 1;
    opsm_status status = read_advantage(plan, i, &record->advantage, err);
    if (status != OPSM_OK) return status;
    if (!scan) {
        record->tokens = batch_tokens(batch, i);
        return OPSM_OK;
    }
    struct sums sums = {.chosen_max = -(double)INFINITY, .d_max = -(double)INFINITY, .highest = -(double)INFINITY};
    struct walk walk = walk_sequence(batch, i);
    while (walk_next(&walk, &tokens->block)) {
        scan_block(plan, tokens, &sums);
        record->tokens += tokens->block.n;
    }
    double n = (double)record->tokens;
    /* The finite floats of any array that fits memory sum to a finite double: the sum tells whether all are finite. */
    record->nonfinite = !isfinite(sums.d) || !isfinite(sums.other) || (plan->base && exp_fixed(sums.d_max) > 1e300);
    record->positive_logp = sums.highest > 0;
    if (!plan->behavior) return OPSM_OK;
    record->drift = reduce(&plan->config, &sums, n);
    record->drift_k1 = n > 0 ? -sums.d / n : 0.0;
    record->drift_k3 = n > 0 ? sums.k3 / n : 0.0;
    record->ratio_max = n > 0 ? exp_fixed(sums.d_max) : NAN;
    return OPSM_OK;
}

void drift_load_ratio(const struct plan *plan, struct tokens *tokens) {
    if (tokens->ratio_ready) return;
    const struct block *block = &tokens->block;
    block_gather(block, plan->batch.logp_current, tokens->c);
    if (!plan->base) return;
    block_gather(block, plan->base, tokens->below);
    block_subtract(block->n, tokens->c, tokens->below, tokens->d);
    block_exp(block->n, tokens->d, tokens->r);
}

double drift_mean_log_ratio(const struct plan *plan, int64_t i, struct tokens *tokens) {
    struct walk walk = walk_sequence(&plan->batch, i);
    double sum = 0;
    int64_t n = 0;
    while (walk_next(&walk, &tokens->block)) {
        const struct block *block = &tokens->block;
        block_gather(block, plan->batch.logp_current, tokens->c);
        block_gather(block, plan->base, tokens->below);
        block_subtract(block->n, tokens->c, tokens->below, tokens->d);
        sum += block_sum(block->n, tokens->d);
        n += block->n;
    }
    tokens->ratio_ready = false;
    return n ? sum / (double)n : 0.0;
}
