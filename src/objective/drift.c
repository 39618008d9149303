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

/* NaN stays NaN. */
BLOCK_LOOP static void hold(int n, double bound, double *d) {
    for (int k = 0; k < n; k++) {
        d[k] = d[k] < -bound ? -bound : d[k];
        d[k] = d[k] > bound ? bound : d[k];
    }
}

BLOCK_LOOP static void negate(int n, const double *d, double *x) {
    for (int k = 0; k < n; k++) x[k] = -d[k];
}

/* Running sums over the blocks of a sequence. */
struct sums {
    double d, k3, chosen, chosen_max, r_max;
    double other_max; /* largest c - base, where the ratio stands on other log-probs than the drift */
    double other;     /* sum of everything else that must be finite */
    bool positive;
};

/* The log ratios of drift are those of the surrogate's ratio. */
static bool drift_is_ratio(const struct plan *plan) {
    return plan->base == plan->behavior && plan->now == plan->batch.logp_current;
}

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
    case OPSM_ESTIMATOR_EXP_ABS:
        token_abs(n, tokens->d, x);
        block_exp(n, x, x);
        break;
    default:
        negate(n, tokens->d, x);
        break;
    }
}

/* The largest of positive numbers by their bits, which order alike: integers let every compiler vectorise. A NaN counts
 * as larger than infinity. */
BLOCK_LOOP static double max_positive(int n, const double *r) {
    int64_t most = 0;
    for (int k = 0; k < n; k++) {
        int64_t bits;
        memcpy(&bits, &r[k], 8);
        bits &= INT64_MAX;
        most = bits > most ? bits : most;
    }
    double found;
    memcpy(&found, &most, 8);
    return found;
}

static void add_scanned(const struct plan *plan, const struct block *block, const float *values, struct sums *sums) {
    float spare[BLOCK];
    struct scanned found = plan->sweeps->scan(block->n, block_floats(block, values, spare));
    sums->other += found.sum;
    sums->positive |= found.positive;
}

/* b with the values that are NaN replaced by those of c: no drift there. */
static const float *fill_unknown(int n, const float *c, const float *b, float *spare) {
    for (int k = 0; k < n; k++) spare[k] = isnan(b[k]) ? c[k] : b[k];
    return spare;
}

/* As the sweep, with the log ratios held. */
static struct measured measure_held(const struct plan *plan, int n, const float *c, const float *b, double *d,
                                    double *r) {
    double k3[BLOCK];
    for (int k = 0; k < n; k++) d[k] = (double)c[k] - (double)b[k];
    hold(n, plan->config.ratio_clamp, d);
    block_exp(n, d, r);
    token_k3(n, d, r, k3);
    bool positive = plan->sweeps->scan(n, c).positive || plan->sweeps->scan(n, b).positive;
    return (struct measured){.d = block_sum(n, d), .k3 = block_sum(n, k3), .positive = positive};
}

void drift_log_ratios(const struct plan *plan, const struct block *block, double *b, double *d) {
    int n = block->n;
    block_gather(block, plan->now, d);
    block_gather(block, plan->behavior, b);
    for (int k = 0; plan->skip_nan && k < n; k++) b[k] = isnan(b[k]) ? d[k] : b[k];
    block_subtract(n, d, b, d);
    if (plan->held) hold(n, plan->config.ratio_clamp, d);
}

void drift_held(const struct plan *plan, const struct tokens *tokens, uint8_t *held) {
    int n = tokens->block.n;
    double base[BLOCK];
    block_gather(&tokens->block, plan->base, base);
    for (int k = 0; k < n; k++) held[k] = fabs(tokens->c[k] - base[k]) > plan->config.ratio_clamp;
}

/* The statistics of one block against the behaviour log-probs. `ordinal`: loss tokens of the sequence before it. */
static void measure_block(const struct plan *plan, int64_t ordinal, struct tokens *tokens, struct sums *sums) {
    const struct block *block = &tokens->block;
    int n = block->n;
    float spare[2][BLOCK];
    double x[BLOCK];
    if (!plan->behavior) {
        add_scanned(plan, block, plan->batch.logp_current, sums);
        return;
    }
    const float *c = block_floats(block, plan->now, spare[0]);
    const float *b = block_floats(block, plan->behavior, spare[1]);
    if (plan->skip_nan) b = fill_unknown(n, c, b, spare[1]);
    bool room = ordinal + n <= RATIO_ROOM;
    tokens->r = room ? tokens->ratios + ordinal : tokens->spare;
    struct measured found =
        plan->held ? measure_held(plan, n, c, b, tokens->d, tokens->r) : plan->sweeps->measure(n, c, b, tokens->r);
    if (room && drift_is_ratio(plan)) tokens->ready = ordinal + n;
    sums->d += found.d;
    sums->k3 += found.k3;
    sums->positive |= found.positive;
    sums->r_max = larger(sums->r_max, max_positive(n, tokens->r));
    if (plan->config.mask_estimator == OPSM_ESTIMATOR_K1 && plan->config.mask_reduce != OPSM_REDUCE_MAX) return;
    for (int k = 0; k < n && !plan->held; k++) tokens->d[k] = (double)c[k] - (double)b[k];
    estimate(plan->config.mask_estimator, tokens, x);
    sums->chosen += block_sum(n, x);
    sums->chosen_max = larger(sums->chosen_max, block_max(n, x));
}

/* Arrays that the loss reads besides the two of the drift: they must be finite too. `ratio`: c - values is
 * exponentiated. */
static void scan_extra(const struct plan *plan, const float *values, bool ratio, struct tokens *tokens,
                       struct sums *sums) {
    double x[BLOCK];
    int n = tokens->block.n;
    if (!values) return;
    add_scanned(plan, &tokens->block, values, sums);
    if (!ratio) return;
    block_gather(&tokens->block, values, x);
    block_gather(&tokens->block, plan->batch.logp_current, tokens->c);
    block_subtract(n, tokens->c, x, x);
    if (plan->held) hold(n, plan->config.ratio_clamp, x);
    sums->other_max = larger(sums->other_max, block_max(n, x));
}

static void scan_block(const struct plan *plan, int64_t ordinal, struct tokens *tokens, struct sums *sums) {
    const opsm_batch *batch = &plan->batch;
    measure_block(plan, ordinal, tokens, sums);
    if (plan->base && !drift_is_ratio(plan)) scan_extra(plan, plan->base, true, tokens, sums);
    if (plan->behavior && plan->now != batch->logp_current) scan_extra(plan, batch->logp_current, false, tokens, sums);
    if (plan->config.surrogate_name == OPSM_SURROGATE_DECOUPLED && batch->logp_behavior != plan->behavior)
        scan_extra(plan, batch->logp_behavior, false, tokens, sums);
    if (plan->config.weight_level != OPSM_WEIGHT_NONE) {
        scan_extra(plan, batch->logp_trainer, false, tokens, sums);
        if (!plan->config.mask_skip_nan) scan_extra(plan, batch->logp_behavior, false, tokens, sums);
    }
    if (plan->penalised || plan->config.surrogate_name == OPSM_SURROGATE_DPO)
        scan_extra(plan, batch->logp_reference, false, tokens, sums);
}

static double reduce(const opsm_objective *config, const struct sums *sums, double n) {
    bool plain = config->mask_estimator == OPSM_ESTIMATOR_K1;
    double total = plain && config->mask_reduce != OPSM_REDUCE_MAX ? 0.0 - sums->d : sums->chosen; /* never -0 */
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
    struct sums sums = {.chosen_max = -(double)INFINITY, .other_max = -(double)INFINITY};
    struct walk walk = walk_sequence(batch, i);
    tokens->ready = 0;
    while (walk_next(&walk, &tokens->block)) {
        scan_block(plan, record->tokens, tokens, &sums);
        record->tokens += tokens->block.n;
    }
    double n = (double)record->tokens;
    /* The finite floats of any array that fits memory sum to a finite double: the sum tells whether all are finite. */
    record->nonfinite =
        !isfinite(sums.d) || !isfinite(sums.other) || (plan->base && (sums.r_max > 1e300 || sums.other_max > 690.0));
    record->positive_logp = sums.positive;
    if (!plan->behavior) return OPSM_OK;
    record->drift = reduce(&plan->config, &sums, n);
    record->drift_k1 = n > 0 ? (0.0 - sums.d) / n : 0.0;
    record->drift_k3 = n > 0 ? sums.k3 / n : 0.0;
    record->ratio_max = n > 0 ? sums.r_max : (double)NAN;
    return OPSM_OK;
}

void drift_load_ratio(const struct plan *plan, int64_t ordinal, struct tokens *tokens) {
    const struct block *block = &tokens->block;
    bool ready = ordinal + block->n <= tokens->ready;
    if (!ready || plan->uses_current) block_gather(block, plan->batch.logp_current, tokens->c);
    if (!plan->base) return;
    if (ready) {
        tokens->r = tokens->ratios + ordinal;
        return;
    }
    tokens->r = tokens->spare;
    block_gather(block, plan->base, tokens->d);
    block_subtract(block->n, tokens->c, tokens->d, tokens->d);
    if (plan->held) hold(block->n, plan->config.ratio_clamp, tokens->d);
    block_exp(block->n, tokens->d, tokens->r);
}

double drift_mean_log_ratio(const struct plan *plan, int64_t i, struct tokens *tokens) {
    struct walk walk = walk_sequence(&plan->batch, i);
    double sum = 0;
    int64_t n = 0;
    while (walk_next(&walk, &tokens->block)) {
        const struct block *block = &tokens->block;
        block_gather(block, plan->batch.logp_current, tokens->c);
        block_gather(block, plan->base, tokens->d);
        block_subtract(block->n, tokens->c, tokens->d, tokens->d);
        sum += block_sum(block->n, tokens->d);
        n += block->n;
    }
    return n ? sum / (double)n : 0.0;
}
