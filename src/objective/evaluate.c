/* SPDX-License-Identifier: Apache-2.0
 *
 * Loss and gradient of a batch: drift, mask, weights, then surrogate and penalty block by block.
 */
#include "objective/dpo.h"
#include "objective/surrogate.h"
#include <math.h>

void opsm_result_init_sized(opsm_result *result, size_t size) {
    memset(result, 0, size);
    result->size = size;
}

/* ---- Decisions and totals ---- */

/* What the mask asks about each token of a block: log ratio and behaviour, and whose advantage. */
struct looks {
    double b[BLOCK], d[BLOCK], a[BLOCK];
};

static void load_looks(const struct plan *plan, const struct block *block, double advantage, struct looks *looks) {
    if (plan->behavior)
        drift_log_ratios(plan, block, looks->b, looks->d);
    else
        memset(looks, 0, sizeof *looks);
    if (plan->batch.token_advantages && plan->config.mask_sign == OPSM_SIGN_TOKEN)
        block_gather(block, plan->batch.token_advantages, looks->a);
    else
        for (int k = 0; k < block->n; k++) looks->a[k] = advantage;
}

static struct token_facts look_at(const struct looks *looks, int k) {
    return (struct token_facts){looks->a[k], looks->d[k], looks->b[k]};
}

/* Loss tokens that a decision by token takes out of the surrogate, and why the first of them. */
static void count_dropped(const struct plan *plan, int64_t i, const struct decision *decision, struct block *block,
                          opsm_sequence *record) {
    struct walk walk = walk_sequence(&plan->batch, i);
    struct looks looks;
    record->dropped_tokens = 0;
    record->reason = OPSM_REASON_KEPT;
    while (walk_next(&walk, block)) {
        load_looks(plan, block, record->advantage, &looks);
        for (int k = 0; k < block->n; k++) {
            struct token_facts token = look_at(&looks, k);
            uint8_t reason = mask_drops_token(plan, decision, &token);
            if (reason && record->dropped_tokens++ == 0) record->reason = reason;
        }
    }
}

static bool has_outlier(const struct plan *plan, int64_t i, struct block *block) {
    struct walk walk = walk_sequence(&plan->batch, i);
    struct looks looks;
    while (walk_next(&walk, block)) {
        load_looks(plan, block, 0, &looks);
        for (int k = 0; k < block->n; k++)
            if (mask_is_outlier(plan, looks.d[k])) return true;
    }
    return false;
}

static struct decision decide(const struct plan *plan, int64_t i, double random_cut, struct tokens *tokens,
                              opsm_sequence *record) {
    struct decision decision = mask_decide(plan, record, batch_id(&plan->batch, i), random_cut);
    if (decision.outlier && has_outlier(plan, i, &tokens->block)) decision = mask_whole(OPSM_REASON_OUTLIER);
    if (decision.by_token) {
        count_dropped(plan, i, &decision, &tokens->block, record);
        record->keep = record->tokens == 0 || record->dropped_tokens < record->tokens;
    } else {
        record->dropped_tokens = decision.hit ? record->tokens : 0;
        record->keep = !decision.hit;
        record->reason = decision.hit ? decision.reason : OPSM_REASON_KEPT;
    }
    if (record->tokens == 0) record->reason = OPSM_REASON_EMPTY;
    return decision;
}

static opsm_status measure(const struct plan *plan, int64_t i, bool scan, struct tokens *tokens, opsm_sequence *record,
                           opsm_error *err) {
    opsm_status status = drift_measure(plan, i, scan, tokens, record, err);
    record->delta = opsm_threshold_delta(&plan->config, plan->state, record->tokens);
    return status;
}

/* The cut below which a negative's random number makes it drop: exactly as many negatives as have drifted. */
static double random_cut(const struct plan *plan, const opsm_sequence *records, int64_t drifted, struct arena arena) {
    double *units = arena_take(&arena, plan->batch.n_sequences, sizeof *units);
    int64_t n = 0;
    for (int64_t i = 0; i < plan->batch.n_sequences; i++)
        if (records[i].advantage < 0 && !records[i].nonfinite)
            units[n++] = mask_random_unit(plan->config.mask_seed, plan->batch.step, batch_id(&plan->batch, i));
    sort_doubles(units, n);
    return drifted >= n ? 1.0 : units[drifted];
}

static void add_record(const struct plan *plan, const opsm_sequence *record, opsm_totals *totals) {
    opsm_denominator denominator = plan->config.denominator;
    totals->sequences += denominator == OPSM_DENOMINATOR_KEPT ? record->keep : 1;
    totals->tokens += (double)(record->tokens - (denominator == OPSM_DENOMINATOR_ALL ? 0 : record->dropped_tokens));
    if ((double)record->length > totals->max_length) totals->max_length = (double)record->length;
}

/* Fills records (drift and decisions, if `scan`) and the totals of a batch. */
static opsm_status sum_totals(const struct plan *plan, bool scan, opsm_sequence *records, opsm_totals *totals,
                              struct arena arena, opsm_error *err) {
    struct tokens tokens;
    int64_t n = plan->batch.n_sequences, drifted = 0;
    *totals = (opsm_totals){.size = sizeof *totals};
    for (int64_t i = 0; i < n; i++) {
        opsm_status status = measure(plan, i, scan, &tokens, &records[i], err);
        if (status != OPSM_OK) return status;
        bool negative = records[i].advantage < 0 && !records[i].nonfinite; /* the others go by themselves */
        totals->negatives += negative;
        drifted += negative && records[i].drift > records[i].delta;
    }
    totals->drifted = (double)drifted;
    if (plan->config.mask_rule == OPSM_RULE_RANDOM) totals->random_cut = random_cut(plan, records, drifted, arena);
    for (int64_t i = 0; i < n; i++) {
        if (scan) decide(plan, i, totals->random_cut, &tokens, &records[i]);
        add_record(plan, &records[i], totals);
    }
    if (plan->config.surrogate_name == OPSM_SURROGATE_DPO) {
        struct member *members = arena_take(&arena, n, sizeof *members);
        totals->pairs = (double)dpo_pairs(plan, records, members, NULL, &tokens);
    }
    return OPSM_OK;
}

static bool all_advantages_zero(const struct plan *plan) {
    for (int64_t i = 0; i < plan->batch.n_sequences; i++)
        if (batch_advantage(&plan->batch, i) != 0) return false;
    return true;
}

opsm_status opsm_objective_totals(const opsm_objective *config, const opsm_threshold *state, const opsm_batch *batch,
                                  opsm_sequence *records, opsm_totals *totals, void *workspace, size_t workspace_size,
                                  opsm_error *err) {
    struct plan plan;
    struct arena arena;
    opsm_status status = plan_make(&plan, config, state, batch, false, err);
    if (status == OPSM_OK) status = arena_open(&arena, workspace, workspace_size, plan.batch.n_sequences, err);
    if (status != OPSM_OK) return status;
    bool scan = opsm_objective_totals_need_forward(&plan.config) &&
                !(plan.batch.logp_current == NULL && all_advantages_zero(&plan));
    if (scan) status = plan_make(&plan, config, state, batch, true, err);
    if (status != OPSM_OK) return status;
    return sum_totals(&plan, scan, records, totals, arena, err);
}

/* ---- One sequence ---- */

/* What the walk over a sequence adds up, before the weight. */
struct amounts {
    double s, k, v;  /* surrogate, KL, clamped KL */
    int32_t largest; /* |d loss / d c| as stored, by its bits */
};

/* Everything a sequence's blocks share. */
struct pass {
    const struct plan *plan;
    struct decision decision;
    double weight;     /* w_i */
    double constant;   /* gspo, dpo: the surrogate's slope is the same for every token (weight included) */
    double log_s;      /* gspo: mean log ratio */
    double correction; /* weight.level: that of the sequence */
    bool surrogate;    /* false: dropped, or A = 0 */
    bool penalty;
    bool lenient; /* values that are not finite are left out instead of refused */
    opsm_sequence *record;
    float *dlogp;
};

/* The bits of a float's absolute value order as the values do; a NaN counts as larger than infinity. Integers let every
 * compiler vectorise their maximum. */
enum { FLOAT_INFINITE = 0x7f800000 };
static inline int32_t float_magnitude(float x) {
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits & INT32_MAX;
}

/* out = weight s_slope + constant, returns the largest |out| by its bits. */
BLOCK_LOOP static int32_t store_surrogate(int n, double weight, const double *s_slope, double constant, float *out) {
    int32_t largest = 0;
    for (int j = 0; j < n; j++) out[j] = (float)(weight * s_slope[j] + constant);
    for (int j = 0; j < n; j++) {
        int32_t size = float_magnitude(out[j]);
        largest = size > largest ? size : largest;
    }
    return largest;
}

BLOCK_LOOP static void add_penalty(int n, double weight, double *s_slope, double beta_weight, const double *k_slope) {
    for (int j = 0; j < n; j++) s_slope[j] = weight * s_slope[j] + beta_weight * k_slope[j];
}

static void load_advantages(const struct pass *pass, const struct block *block, double *a) {
    if (pass->plan->batch.token_advantages) {
        block_gather(block, pass->plan->batch.token_advantages, a);
        return;
    }
    /* ppo and the clip counts look at a[0] alone where advantages do not differ within a sequence. */
    int n = surrogate_is_ppo(pass->plan->config.surrogate_name) ? 1 : block->n;
    for (int k = 0; k < n; k++) a[k] = pass->record->advantage;
}

/* Which of the n tokens of the block the mask drops; false when none. */
static bool load_drops(const struct pass *pass, const struct tokens *tokens, int n, uint8_t *drops) {
    const struct plan *plan = pass->plan;
    if (!pass->decision.by_token) {
        if (pass->decision.hit) memset(drops, 1, (size_t)n);
        return pass->decision.hit;
    }
    struct looks looks;
    load_looks(plan, &tokens->block, pass->record->advantage, &looks);
    for (int k = 0; k < n; k++) {
        struct token_facts token = look_at(&looks, k);
        drops[k] = mask_drops_token(plan, &pass->decision, &token);
    }
    return true;
}

static void select_kept(int n, const uint8_t *drops, double *x) {
    for (int k = 0; k < n; k++) x[k] = drops[k] ? 0.0 : x[k];
}

static void select_finite(int n, double *k, double *v, double *g) {
    for (int j = 0; j < n; j++)
        if (!isfinite(k[j]) || !isfinite(v[j]) || !isfinite(g[j])) k[j] = v[j] = g[j] = 0.0;
}

static void fill(int n, double value, double *x) {
    for (int k = 0; k < n; k++) x[k] = value;
}

static bool corrects(const struct plan *plan) {
    return plan->config.weight_level != OPSM_WEIGHT_NONE;
}

static void correct(const struct pass *pass, const struct block *block, double *value, double *slope) {
    double w[BLOCK];
    weight_block(pass->plan, block, pass->correction, w);
    weight_apply(block->n, w, value);
    weight_apply(block->n, w, slope);
}

/* Surrogate part of a block: adds to the sums, leaves the slopes in g. */
static void block_surrogate(const struct pass *pass, struct tokens *tokens, const double *a, const uint8_t *drops,
                            bool some_dropped, double *g, struct amounts *sum) {
    int n = tokens->block.n;
    double s[BLOCK];
    if (pass->plan->config.surrogate_name == OPSM_SURROGATE_GSPO) {
        tokens->r = tokens->spare;
        fill(n, exp_fixed(pass->log_s), tokens->r);
    }
    surrogate_clipped(pass->plan, tokens, a, &pass->record->clipped_low, &pass->record->clipped_high);
    if (!pass->surrogate) return;
    surrogate_block(pass->plan, tokens, a, s, g);
    if (corrects(pass->plan)) correct(pass, &tokens->block, s, g);
    if (some_dropped) {
        select_kept(n, drops, s);
        select_kept(n, drops, g);
    }
    sum->s += block_sum(n, s);
}

static void block_penalty(const struct pass *pass, const struct tokens *tokens, const uint8_t *drops, bool some_dropped,
                          double *g, struct amounts *sum) {
    int n = tokens->block.n;
    double k[BLOCK], v[BLOCK];
    penalty_block(pass->plan, tokens, k, v, g);
    if (pass->lenient) select_finite(n, k, v, g);
    sum->k += block_sum(n, k);
    if (pass->plan->config.weight_kl && corrects(pass->plan)) correct(pass, &tokens->block, v, g);
    if (some_dropped && pass->plan->config.mask_kl) {
        select_kept(n, drops, v);
        select_kept(n, drops, g);
    }
    sum->v += block_sum(n, v);
}

static bool has_gradient(const struct pass *pass) {
    return pass->surrogate || pass->penalty || pass->constant != 0;
}

/* Zeros where the walk will write nothing: outside the mask, or everywhere. */
static void clear_gradient(const struct pass *pass, int64_t i) {
    const int64_t *offsets = pass->plan->batch.offsets;
    if (!pass->dlogp || (has_gradient(pass) && pass->record->tokens == pass->record->length)) return;
    memset(pass->dlogp + offsets[i], 0, (size_t)(offsets[i + 1] - offsets[i]) * sizeof *pass->dlogp);
}

static void block_pass(const struct pass *pass, int64_t ordinal, struct tokens *tokens, struct amounts *sum) {
    const opsm_objective *config = &pass->plan->config;
    int n = tokens->block.n;
    double a[BLOCK], slope[BLOCK], k_slope[BLOCK], weight = pass->weight;
    uint8_t drops[BLOCK];
    drift_load_ratio(pass->plan, ordinal, tokens);
    load_advantages(pass, &tokens->block, a);
    bool some_dropped = load_drops(pass, tokens, n, drops);
    if (pass->penalty) block_penalty(pass, tokens, drops, some_dropped, k_slope, sum);
    bool dpo = config->surrogate_name == OPSM_SURROGATE_DPO, gspo = config->surrogate_name == OPSM_SURROGATE_GSPO;
    if (!dpo) block_surrogate(pass, tokens, a, drops, some_dropped, slope, sum);
    if (!has_gradient(pass)) return;
    if (!pass->surrogate || gspo) fill(n, 0.0, slope);
    if (pass->penalty) {
        add_penalty(n, weight, slope, weight * config->penalty_beta, k_slope);
        weight = 1.0;
    }
    float out[BLOCK];
    int32_t largest = store_surrogate(n, weight, slope, pass->constant, out);
    if (largest > sum->largest) sum->largest = largest;
    if (pass->dlogp) block_scatter(&tokens->block, out, pass->dlogp);
}

/* gspo: w_i sum_t m M dS_t/dc_k, the same for every k: w_i (sum_t m M g_t) / n_i. */
static double gspo_slope(const struct pass *pass, int64_t i, struct tokens *tokens) {
    struct walk walk = walk_sequence(&pass->plan->batch, i);
    double sum = 0, a[BLOCK], s[BLOCK], g[BLOCK];
    uint8_t drops[BLOCK];
    while (walk_next(&walk, &tokens->block)) {
        int n = tokens->block.n;
        block_gather(&tokens->block, pass->plan->batch.logp_current, tokens->c);
        tokens->r = tokens->spare;
        fill(n, exp_fixed(pass->log_s), tokens->r);
        load_advantages(pass, &tokens->block, a);
        surrogate_block(pass->plan, tokens, a, s, g);
        if (corrects(pass->plan)) correct(pass, &tokens->block, s, g);
        if (load_drops(pass, tokens, n, drops)) select_kept(n, drops, g);
        sum += block_sum(n, g);
    }
    return pass->record->tokens ? pass->weight * sum / (double)pass->record->tokens : 0.0;
}

/* The sentence for a sequence whose amounts are not finite: names the first token that is to blame. */
static opsm_status blame(const struct plan *plan, int64_t i, opsm_error *err) {
    const opsm_batch *batch = &plan->batch;
    struct named_array arrays[LOG_PROBS];
    batch_log_probs(batch, arrays);
    for (int64_t t = batch->offsets[i]; t < batch->offsets[i + 1]; t++) {
        if (batch->mask && !batch->mask[t]) continue;
        for (int k = 0; k < LOG_PROBS; k++)
            if (arrays[k].values && !isfinite(arrays[k].values[t]))
                return opsm_fail(err, OPSM_NONFINITE,
                                 "%s of sequence %lld, token %lld is %g and the advantage is %g: "
                                 "expected a finite log-prob",
                                 arrays[k].name, (long long)i, (long long)(t - batch->offsets[i]),
                                 (double)arrays[k].values[t], batch_advantage(batch, i));
    }
    for (int64_t t = batch->offsets[i]; plan->base && !plan->held && t < batch->offsets[i + 1]; t++) {
        if (batch->mask && !batch->mask[t]) continue;
        double d = (double)batch->logp_current[t] - (double)plan->base[t];
        if (fabs(d) > 80)
            return opsm_fail(err, OPSM_NONFINITE,
                             "the ratio of sequence %lld, token %lld overflows: log-prob %g against "
                             "%g when it was sampled",
                             (long long)i, (long long)(t - batch->offsets[i]), (double)batch->logp_current[t],
                             (double)plan->base[t]);
    }
    return opsm_fail(err, OPSM_NONFINITE,
                     "loss or gradient of sequence %lld overflows: its log-probs lie too far apart", (long long)i);
}

static void walk_sequence_loss(const struct pass *pass, int64_t i, struct tokens *tokens, struct amounts *sum) {
    struct walk walk = walk_sequence(&pass->plan->batch, i);
    if (pass->record->tokens == pass->record->length) walk.mask = NULL; /* all ones: already looked at */
    for (int64_t ordinal = 0; walk_next(&walk, &tokens->block); ordinal += tokens->block.n)
        block_pass(pass, ordinal, tokens, sum);
}

/* Loss and gradient of sequence i, decision and weight given. */
static opsm_status sequence_loss(struct pass *pass, int64_t i, const struct dpo_share *share, double pairs,
                                 struct tokens *tokens, opsm_error *err) {
    const struct plan *plan = pass->plan;
    const opsm_objective *config = &plan->config;
    opsm_sequence *record = pass->record;
    bool zero = record->advantage == 0 && !plan->batch.token_advantages;
    bool ignored = record->nonfinite && record->advantage == 0;
    bool all_dropped = pass->decision.hit && !pass->decision.by_token;
    pass->surrogate = !all_dropped && !zero && !ignored && config->surrogate_name != OPSM_SURROGATE_DPO;
    pass->penalty = plan->penalised && !ignored && !(all_dropped && config->mask_kl);
    pass->lenient = record->nonfinite && record->advantage < 0;
    pass->constant = share ? share->slope / pairs : 0.0;
    if (corrects(plan)) pass->correction = weight_of_sequence(plan, i, tokens);
    if (config->surrogate_name == OPSM_SURROGATE_GSPO) {
        pass->log_s = drift_mean_log_ratio(plan, i, tokens);
        if (pass->surrogate) pass->constant = gspo_slope(pass, i, tokens);
    }
    clear_gradient(pass, i);
    struct amounts sum = {0};
    walk_sequence_loss(pass, i, tokens, &sum);
    record->surrogate = share ? share->value / pairs : pass->weight * sum.s;
    record->penalty = pass->weight * config->penalty_beta * sum.v;
    record->loss = record->surrogate + record->penalty;
    record->kl_sum = sum.k;
    record->needs_backward = sum.largest > 0;
    bool finite = isfinite(record->loss) && sum.largest < FLOAT_INFINITE;
    return finite ? OPSM_OK : blame(plan, i, err);
}

/* ---- The batch ---- */

static opsm_status check_result(const opsm_result *result, int64_t n, opsm_error *err) {
    if (!result || result->size != sizeof *result)
        return opsm_fail(err, OPSM_INVALID, "result not initialised: call opsm_result_init");
    if (n > 0 && !result->records)
        return opsm_fail(err, OPSM_INVALID, "result->records is NULL: %lld records needed", (long long)n);
    return OPSM_OK;
}

/* Counts only: what `all` needs before any log-prob is known. */
static void count_totals(const struct plan *plan, opsm_totals *totals) {
    *totals = (opsm_totals){.size = sizeof *totals, .sequences = (double)plan->batch.n_sequences};
    for (int64_t i = 0; i < plan->batch.n_sequences; i++) {
        double length = (double)(plan->batch.offsets[i + 1] - plan->batch.offsets[i]);
        totals->max_length = length > totals->max_length ? length : totals->max_length;
        if (plan->config.aggregation == OPSM_AGGREGATION_TOKEN_MEAN)
            totals->tokens += (double)batch_tokens(&plan->batch, i);
    }
}

static void add_up(opsm_result *result, int64_t n) {
    result->surrogate = result->penalty = 0;
    result->needs_backward = 0;
    for (int64_t i = 0; i < n; i++) {
        result->surrogate += result->records[i].surrogate;
        result->penalty += result->records[i].penalty;
        result->needs_backward += result->records[i].needs_backward;
    }
    result->loss = result->surrogate + result->penalty;
}

/* `measured`: the records already hold drift and decisions. */
static opsm_status evaluate_all(const struct plan *plan, const opsm_totals *totals, bool measured,
                                const struct dpo_share *shares, opsm_result *result, opsm_error *err) {
    struct tokens tokens;
    tokens.ready = 0;
    double pairs = totals->pairs >= 1 ? totals->pairs : 1;
    for (int64_t i = 0; i < plan->batch.n_sequences; i++) {
        opsm_sequence *record = &result->records[i];
        opsm_status status = measured ? OPSM_OK : measure(plan, i, true, &tokens, record, err);
        if (status != OPSM_OK) return status;
        struct pass pass = {.plan = plan, .record = record, .dlogp = result->dlogp};
        pass.decision = decide(plan, i, totals->random_cut, &tokens, record);
        pass.weight = aggregate_weight(&plan->config, totals, record);
        status = sequence_loss(&pass, i, shares ? &shares[i] : NULL, pairs, &tokens, err);
        if (status != OPSM_OK) return status;
        tokens.ready = 0;
    }
    add_up(result, plan->batch.n_sequences);
    return OPSM_OK;
}

opsm_status opsm_objective_evaluate(const opsm_objective *config, const opsm_threshold *state, const opsm_batch *batch,
                                    const opsm_totals *totals, opsm_result *result, void *workspace,
                                    size_t workspace_size, opsm_error *err) {
    struct plan plan;
    opsm_status status = plan_make(&plan, config, state, batch, true, err);
    if (status == OPSM_OK) status = check_result(result, plan.batch.n_sequences, err);
    if (status != OPSM_OK) return status;
    opsm_totals own;
    struct arena arena = {0};
    bool dpo = plan.config.surrogate_name == OPSM_SURROGATE_DPO;
    bool measured = dpo || (!totals && opsm_objective_totals_need_forward(&plan.config));
    if (measured) {
        status = arena_open(&arena, workspace, workspace_size, plan.batch.n_sequences, err);
        if (status == OPSM_OK) status = sum_totals(&plan, true, result->records, &own, arena, err);
        if (status != OPSM_OK) return status;
    } else if (!totals) {
        count_totals(&plan, &own);
    }
    const opsm_totals *global = totals ? totals : &own;
    struct dpo_share *shares = NULL;
    if (dpo) {
        struct tokens tokens;
        for (int64_t i = 0; totals && i < plan.batch.n_sequences; i++) /* the step's random_cut, not this part's */
            decide(&plan, i, totals->random_cut, &tokens, &result->records[i]);
        struct member *members = arena_take(&arena, plan.batch.n_sequences, sizeof *members);
        shares = arena_take(&arena, plan.batch.n_sequences, sizeof *shares);
        dpo_pairs(&plan, result->records, members, shares, &tokens);
    }
    return evaluate_all(&plan, global, measured, shares, result, err);
}
