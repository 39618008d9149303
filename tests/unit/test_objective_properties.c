/* SPDX-License-Identifier: Apache-2.0
 *
 * Laws that hold for every batch, checked on generated ones for every surrogate x penalty x aggregation.
 */
#include "base/rng.h"
#include "objective_fixture.h"
#include <stdbool.h>

enum { SURROGATES = OPSM_SURROGATE_COUNT, PENALTIES = OPSM_PENALTY_COUNT + 1, AGGREGATIONS = OPSM_AGGREGATION_COUNT };

static bool drops_tokens(opsm_rule rule) {
    return rule == OPSM_RULE_ICEPOP || rule == OPSM_RULE_TOKEN_K2 || rule == OPSM_RULE_TOKEN || rule == OPSM_RULE_TV;
}

static bool follows_a_sign(opsm_rule rule) {
    return rule == OPSM_RULE_NEGATIVES || rule == OPSM_RULE_POSITIVES || rule == OPSM_RULE_RANDOM;
}

/* A rule, and perhaps a second one, that the surrogate can take. */
static void choose_mask(struct fixture *x, struct rng *r, bool dpo) {
    opsm_objective *o = &x->config;
    o->mask_rule = (opsm_rule)rng_below(r, OPSM_RULE_COUNT);
    if (dpo && drops_tokens(o->mask_rule)) o->mask_rule = OPSM_RULE_RANDOM;
    if (rng_below(r, 3) == 0) o->mask_also = (opsm_band)rng_below(r, OPSM_BAND_COUNT);
    if (dpo && o->mask_also == OPSM_BAND_ICEPOP) o->mask_also = OPSM_BAND_GEOMETRIC;
    if (rng_below(r, 2) == 0) {
        o->mask_low = 0.8;
        o->mask_high = 1.4;
    }
    o->mask_estimator = (opsm_estimator)rng_below(r, OPSM_ESTIMATOR_COUNT);
    if (o->mask_estimator == OPSM_ESTIMATOR_EXP_ABS) o->mask_delta = 1.25;
    o->mask_reduce = (opsm_reduce)rng_below(r, OPSM_REDUCE_COUNT);
    o->mask_behavior = (opsm_source)rng_below(r, 2);
    if (o->mask_behavior == OPSM_SOURCE_SAMPLER && rng_below(r, 3) == 0) o->mask_current = OPSM_POINT_TRAINER;
    o->mask_sign = (opsm_sign)rng_below(r, OPSM_SIGN_COUNT);
    if (o->mask_sign == OPSM_SIGN_ANY && follows_a_sign(o->mask_rule)) o->mask_sign = OPSM_SIGN_SEQUENCE;
    if (dpo) o->mask_sign = OPSM_SIGN_SEQUENCE;
    o->mask_kl = rng_below(r, 3) == 0;
}

/* Perhaps a weight for the mismatch, and a clamp that some log ratios meet. */
static void choose_weight(struct fixture *x, struct rng *r) {
    opsm_objective *o = &x->config;
    if (rng_below(r, 4) == 0) o->ratio_clamp = 0.35;
    if (o->surrogate_name == OPSM_SURROGATE_DPO || o->surrogate_name == OPSM_SURROGATE_DECOUPLED) return;
    if (rng_below(r, 3) != 0) return;
    o->weight_level = (opsm_weight)rng_below(r, OPSM_WEIGHT_COUNT);
    o->weight_low = 0.9;
    o->weight_high = 1.2;
    o->weight_zero = (int)rng_below(r, 2);
    o->weight_kl = (int)rng_below(r, 2);
}

/* Log-probs on a grid of 2^-12, so that a step of one grid point is exact in float. */
static float grid(double x) {
    return (float)(floor(x * 4096) / 4096);
}

static void fill_row(struct fixture *x, struct rng *r, bool token_advantages) {
    int n = (int)rng_below(r, 9);
    double a = rng_normal(r), drift = 0.1 * rng_normal(r);
    int64_t i = fixture_add(x, n, a, 0, 0), first = x->offsets[i];
    x->groups[i] = (int64_t)rng_below(r, 3);
    for (int64_t t = first; t < first + n; t++) {
        double b = -0.2 - 3 * rng_unit(r);
        x->b[t] = grid(b);
        x->p[t] = grid(b + 0.1 * rng_normal(r));
        x->c[t] = grid(b - drift + 0.3 * rng_normal(r));
        x->f[t] = grid(b + 0.5 * rng_normal(r));
        x->mask[t] = rng_below(r, 5) > 0;
        x->a_token[t] = (float)(token_advantages ? a + rng_normal(r) : a);
    }
}

/* Batch and configuration number `seed` for one cell of the product. */
static struct fixture *generate(uint32_t seed, int surrogate, int penalty, int aggregation) {
    struct rng r = rng_make(11, RNG_TEST, seed, (uint32_t)(surrogate * 100 + penalty * 10 + aggregation), 0);
    struct fixture *x = fixture_new();
    bool dpo = surrogate == OPSM_SURROGATE_DPO, tokens = !dpo && rng_below(&r, 3) == 0;
    for (int i = 0; i < 9; i++) fill_row(x, &r, tokens);
    x->batch.logp_trainer = x->p;
    x->batch.logp_reference = x->f;
    x->batch.ids = x->ids;
    if (tokens) x->batch.token_advantages = x->a_token;
    x->config.surrogate_name = (opsm_surrogate)surrogate;
    x->config.aggregation = (opsm_aggregation)aggregation;
    if (penalty < OPSM_PENALTY_COUNT) {
        x->config.penalty_estimator = (opsm_penalty)penalty;
        x->config.penalty_beta = 0.3;
        if (rng_below(&r, 3) == 0) x->config.penalty_clamp = 0.07;
        x->config.penalty_clamp_both = (int)rng_below(&r, 2);
    }
    choose_mask(x, &r, dpo);
    x->config.surrogate_ratio = (opsm_source)rng_below(&r, 2);
    x->config.denominator = (opsm_denominator)rng_below(&r, OPSM_DENOMINATOR_COUNT);
    choose_weight(x, &r);
    if (rng_below(&r, 3) == 0) x->config.surrogate_dual_clip = 1.3;
    return x;
}

typedef void (*law)(struct fixture *x);

static void for_every_combination(law check, uint32_t seeds) {
    for (int s = 0; s < SURROGATES; s++)
        for (int p = 0; p < PENALTIES; p++)
            for (int a = 0; a < AGGREGATIONS; a++)
                for (uint32_t seed = 0; seed < seeds; seed++) {
                    struct fixture *x = generate(seed, s, p, a);
                    check(x);
                    free(x);
                }
}

/* ---- Gradients ---- */

/* The surrogate with its stop-gradient weights held: b and p move with c, so that no ratio changes. */
static double surrogate_at(struct fixture *x, int64_t t, float step, bool hold) {
    float c = x->c[t], b = x->b[t], p = x->p[t];
    x->c[t] += step;
    if (hold) {
        x->b[t] += step;
        x->p[t] += step;
    }
    fixture_ok(x);
    double value = x->result.surrogate;
    x->c[t] = c;
    x->b[t] = b;
    x->p[t] = p;
    return value;
}

static double penalty_at(struct fixture *x, int64_t t, float step) {
    float c = x->c[t];
    x->c[t] += step;
    fixture_ok(x);
    x->c[t] = c;
    return x->result.penalty;
}

static int tokens_checked, tokens_at_a_kink;

/* Where the slopes to the left and to the right differ, a clip, a bound or the threshold lies within the step: there is
 * no derivative to compare with. A wrong gradient does not look like that. */
static void gradient_is_central_difference(struct fixture *x) {
    const float h = 1.0f / 4096;
    opsm_surrogate name = x->config.surrogate_name;
    bool hold = name == OPSM_SURROGATE_TIS || name == OPSM_SURROGATE_CISPO;
    float analytic[FIX_TOKENS];
    fixture_ok(x);
    memcpy(analytic, x->dlogp, sizeof analytic);
    double s0 = x->result.surrogate, k0 = x->result.penalty;
    for (int64_t t = 0; t < x->batch.n_tokens; t++) {
        double s1 = surrogate_at(x, t, h, hold), s2 = surrogate_at(x, t, -h, hold);
        double k1 = penalty_at(x, t, h), k2 = penalty_at(x, t, -h);
        double slope = ((s1 - s2) + (k1 - k2)) / (2 * (double)h);
        double bend = (fabs(s1 - 2 * s0 + s2) + fabs(k1 - 2 * k0 + k2)) / (double)h;
        tokens_checked++;
        if (bend > 0.01 * (0.01 + fabs(slope)))
            tokens_at_a_kink++;
        else
            assert_near(analytic[t], slope, 1e-7 + 1e-6 * fabs(slope));
    }
}

/* Why a sequence lost tokens is said where it did, and nowhere else. */
static void reasons_are_given(struct fixture *x) {
    fixture_ok(x);
    for (int64_t i = 0; i < x->batch.n_sequences; i++) {
        const opsm_sequence *r = &x->records[i];
        assert_true(r->reason != OPSM_REASON_UNKNOWN && r->reason != OPSM_REASON_TRUNCATED);
        assert_int_equal(r->reason == OPSM_REASON_EMPTY, r->tokens == 0);
        if (r->tokens > 0) assert_int_equal(r->reason != OPSM_REASON_KEPT, r->dropped_tokens > 0);
    }
}

static void reasons(void **state) {
    (void)state;
    for_every_combination(reasons_are_given, 6);
}

static void gradients(void **state) {
    (void)state;
    for_every_combination(gradient_is_central_difference, 5);
    assert_true(tokens_checked > 10000);
    assert_true(tokens_at_a_kink * 50 < tokens_checked);
}

/* ---- delta = infinity is none ---- */

static void infinite_delta_is_none(struct fixture *x) {
    fixture_set(x, "mask.rule", "opsm");
    fixture_set(x, "mask.delta", "inf");
    fixture_set(x, "mask.policy", "fixed");
    fixture_set(x, "mask.also", "none");
    for (int64_t i = 0; i < x->batch.n_sequences && !x->batch.token_advantages; i++)
        if (x->advantages[i] < -1 && x->offsets[i + 1] > x->offsets[i]) x->c[x->offsets[i]] = NAN;
    fixture_ok(x);
    struct fixture *y = fixture_new();
    memcpy(y->dlogp, x->dlogp, sizeof y->dlogp);
    opsm_result with = x->result;
    fixture_set(x, "mask.rule", "none");
    fixture_ok(x);
    assert_memory_equal(x->dlogp, y->dlogp, sizeof y->dlogp);
    assert_memory_equal(&with, &x->result, sizeof with);
    free(y);
}

static void infinite_delta(void **state) {
    (void)state;
    for_every_combination(infinite_delta_is_none, 2);
}

/* ---- Scaling the advantages ---- */

static void scaling_keeps_the_mask(struct fixture *x) {
    fixture_ok(x);
    uint8_t keep[FIX_ROWS];
    int64_t dropped[FIX_ROWS];
    for (int64_t i = 0; i < x->batch.n_sequences; i++) {
        keep[i] = x->records[i].keep;
        dropped[i] = x->records[i].dropped_tokens;
    }
    const float factors[] = {1e-3f, 0.5f, 1000};
    for (int k = 0; k < 3; k++) {
        struct fixture *y = fixture_new();
        memcpy(y->a_token, x->a_token, sizeof y->a_token);
        memcpy(y->advantages, x->advantages, sizeof y->advantages);
        for (int t = 0; t < FIX_TOKENS; t++) x->a_token[t] *= factors[k];
        for (int i = 0; i < FIX_ROWS; i++) x->advantages[i] *= factors[k];
        fixture_ok(x);
        for (int64_t i = 0; i < x->batch.n_sequences; i++) {
            assert_int_equal(keep[i], x->records[i].keep);
            assert_int_equal(dropped[i], x->records[i].dropped_tokens);
        }
        memcpy(x->a_token, y->a_token, sizeof y->a_token);
        memcpy(x->advantages, y->advantages, sizeof y->advantages);
        free(y);
    }
}

static void scaling(void **state) {
    (void)state;
    for_every_combination(scaling_keeps_the_mask, 2);
}

/* ---- Permuting and splitting ---- */

/* y gets the sequences order[0..n) of x, the same configuration. */
static struct fixture *select_rows(const struct fixture *x, const int32_t *order, int n) {
    struct fixture *y = fixture_new();
    y->config = x->config;
    y->batch.logp_trainer = y->p;
    y->batch.logp_reference = y->f;
    y->batch.ids = y->ids;
    if (x->batch.token_advantages) y->batch.token_advantages = y->a_token;
    for (int k = 0; k < n; k++) {
        int64_t from = x->offsets[order[k]], length = x->offsets[order[k] + 1] - from, to = y->batch.n_tokens;
        int64_t i = fixture_add(y, (int)length, (double)x->advantages[order[k]], 0, 0);
        y->groups[i] = x->groups[order[k]];
        y->ids[i] = x->ids[order[k]];
        size_t bytes = (size_t)length * sizeof(float);
        memcpy(y->c + to, x->c + from, bytes);
        memcpy(y->b + to, x->b + from, bytes);
        memcpy(y->p + to, x->p + from, bytes);
        memcpy(y->f + to, x->f + from, bytes);
        memcpy(y->a_token + to, x->a_token + from, bytes);
        memcpy(y->mask + to, x->mask + from, (size_t)length);
    }
    return y;
}

static void permuting_permutes(struct fixture *x) {
    fixture_ok(x);
    int n = (int)x->batch.n_sequences;
    int32_t order[FIX_ROWS];
    for (int i = 0; i < n; i++) order[i] = i;
    struct rng r = rng_make(5, RNG_TEST, 0, 0, 0);
    rng_shuffle(&r, order, n);
    struct fixture *y = select_rows(x, order, n);
    fixture_ok(y);
    assert_near(y->result.loss, x->result.loss, 1e-13 * (1 + fabs(x->result.loss)));
    for (int k = 0; k < n; k++) {
        assert_memory_equal(&y->records[k], &x->records[order[k]], sizeof y->records[k]);
        assert_memory_equal(y->dlogp + y->offsets[k], x->dlogp + x->offsets[order[k]],
                            (size_t)(y->offsets[k + 1] - y->offsets[k]) * sizeof(float));
    }
    free(y);
}

static void permutation(void **state) {
    (void)state;
    for_every_combination(permuting_permutes, 2);
}

static bool ends_group(const struct fixture *x, int64_t i) {
    for (int64_t j = i + 1; j < x->batch.n_sequences; j++)
        if (x->groups[j] == x->groups[i]) return false;
    return true;
}

/* Micro-batches with the totals of the whole give the same bits as the whole. Pairs stay together. */
static void splitting_changes_nothing(struct fixture *given) {
    int32_t order[FIX_ROWS];
    int n = 0;
    for (int64_t group = 0; group < 3; group++)
        for (int64_t i = 0; i < given->batch.n_sequences; i++)
            if (given->groups[i] == group) order[n++] = (int32_t)i;
    struct fixture *x = select_rows(given, order, n);
    fixture_ok(x);
    opsm_error err = {0};
    opsm_sequence records[FIX_ROWS];
    assert_ok(opsm_objective_totals(&x->config, NULL, &x->batch, records, &x->totals, x->workspace, sizeof x->workspace,
                                    &err));
    for (int first = 0, next; first < n; first = next) {
        next = first + 1;
        while (next < n && (x->config.surrogate_name == OPSM_SURROGATE_DPO && !ends_group(x, next - 1))) next++;
        int32_t part[FIX_ROWS];
        for (int k = first; k < next; k++) part[k - first] = k;
        struct fixture *y = select_rows(x, part, next - first);
        assert_ok(opsm_objective_evaluate(&y->config, NULL, &y->batch, &x->totals, &y->result, y->workspace,
                                          sizeof y->workspace, &err));
        memcpy(records + first, y->records, (size_t)(next - first) * sizeof *records);
        assert_memory_equal(y->dlogp, x->dlogp + x->offsets[first], (size_t)y->batch.n_tokens * sizeof(float));
        free(y);
    }
    assert_memory_equal(records, x->records, (size_t)n * sizeof *records);
    opsm_metrics metrics = {.size = sizeof metrics};
    assert_ok(opsm_metrics_compute(&x->config, records, n, &metrics, x->workspace, sizeof x->workspace, &err));
    assert_memory_equal(&metrics, &x->metrics, sizeof metrics);
    free(x);
}

static void splitting(void **state) {
    (void)state;
    for_every_combination(splitting_changes_nothing, 4);
}

/* Totals of two ranks added up are the totals of the whole; `all` needs no forward pass for them. */
static void totals_add_up(struct fixture *x) {
    if (x->config.mask_rule == OPSM_RULE_RANDOM || x->config.surrogate_name == OPSM_SURROGATE_DPO) return;
    opsm_error err = {0};
    assert_ok(opsm_objective_totals(&x->config, NULL, &x->batch, x->records, &x->totals, x->workspace,
                                    sizeof x->workspace, &err));
    int32_t order[FIX_ROWS];
    for (int i = 0; i < 9; i++) order[i] = i;
    opsm_totals sum = {.size = sizeof sum};
    for (int half = 0; half < 2; half++) {
        struct fixture *y = select_rows(x, order + (half ? 4 : 0), half ? 5 : 4);
        if (x->config.denominator == OPSM_DENOMINATOR_ALL) y->batch.logp_current = NULL;
        assert_ok(opsm_objective_totals(&y->config, NULL, &y->batch, y->records, &y->totals, y->workspace,
                                        sizeof y->workspace, &err));
        opsm_totals_add(&sum, &y->totals);
        free(y);
    }
    assert_true(sum.sequences == x->totals.sequences && sum.tokens == x->totals.tokens);
    assert_true(sum.max_length == x->totals.max_length && sum.negatives == x->totals.negatives);
}

static void totals(void **state) {
    (void)state;
    for_every_combination(totals_add_up, 2);
}

/* ---- Threads: concurrent calls do not see each other ---- */

static void concurrent_calls_agree(void **state) {
    (void)state;
    struct fixture *x = generate(3, OPSM_SURROGATE_PPO, OPSM_PENALTY_UNBIASED, 0);
    fixture_ok(x);
    int wrong = 0;
#pragma omp parallel for num_threads(4) reduction(+ : wrong)
    for (int k = 0; k < 64; k++) {
        struct fixture *y = generate(3, OPSM_SURROGATE_PPO, OPSM_PENALTY_UNBIASED, 0);
        wrong += fixture_run(y) != OPSM_OK;
        wrong += memcmp(y->dlogp, x->dlogp, sizeof x->dlogp) != 0;
        wrong += memcmp(&y->metrics, &x->metrics, sizeof x->metrics) != 0;
        free(y);
    }
    assert_int_equal(wrong, 0);
    free(x);
}

/* ---- Advantages ---- */

static void advantages_follow_their_sequence(void **state) {
    (void)state;
    enum { N = 40 };
    opsm_error err = {0};
    for (uint32_t seed = 0; seed < 40; seed++) {
        struct fixture *x = fixture_new();
        struct rng r = rng_make(6, RNG_TEST, seed, 0, 0);
        int32_t order[N];
        float rewards[N], a[N], shuffled[N];
        int64_t groups[N];
        for (int i = 0; i < N; i++) {
            order[i] = i;
            rewards[i] = (float)rng_normal(&r);
            groups[i] = (int64_t)rng_below(&r, 7) - 3;
        }
        rng_shuffle(&r, order, N);
        for (int i = 0; i < N; i++) {
            x->rewards[i] = rewards[order[i]];
            x->groups[i] = groups[order[i]];
        }
        x->batch.n_sequences = N;
        x->config.advantage = (opsm_advantage)(seed % 4);
        opsm_batch plain = x->batch;
        plain.rewards = rewards;
        plain.groups = groups;
        x->batch.rewards = x->rewards;
        assert_ok(opsm_advantages(&x->config, &plain, a, NULL, x->workspace, sizeof x->workspace, &err));
        assert_ok(opsm_advantages(&x->config, &x->batch, shuffled, NULL, x->workspace, sizeof x->workspace, &err));
        for (int i = 0; i < N; i++) assert_true(shuffled[i] == a[order[i]]);
        for (int64_t g = -3; g < 4; g++) {
            double sum = 0;
            for (int i = 0; i < N; i++) sum += groups[i] == g ? (double)a[i] : 0;
            assert_near(sum, 0, 1e-5);
        }
        free(x);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reasons),
        cmocka_unit_test(gradients),
        cmocka_unit_test(infinite_delta),
        cmocka_unit_test(scaling),
        cmocka_unit_test(permutation),
        cmocka_unit_test(splitting),
        cmocka_unit_test(totals),
        cmocka_unit_test(concurrent_calls_agree),
        cmocka_unit_test(advantages_follow_their_sequence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
