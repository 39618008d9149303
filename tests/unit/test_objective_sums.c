/* SPDX-License-Identifier: Apache-2.0
 *
 * The sums behind the metrics: what they count, and that parts merged are the whole.
 */
#include "objective_fixture.h"
#include <stdbool.h>

enum { ROWS = 40, PARTS = 5 };

static double uniform(void) {
    return (double)rand() / RAND_MAX;
}

/* Sequences of every kind: dropped and kept, of either sign, with known and unknown lag and entropy, one not finite,
 * one without a token in the loss, one above 0. */
static struct fixture *mixed(void) {
    static int64_t lag[FIX_ROWS];
    static float entropy[FIX_TOKENS];
    struct fixture *x = fixture_new();
    srand(7);
    for (int i = 0; i < ROWS; i++) {
        double advantage = i % 5 == 4 ? 0 : 2 * uniform() - 1;
        int64_t at = fixture_add(x, 1 + rand() % 9, advantage, -1 - uniform(), -1);
        x->groups[at] = i / 4;
        lag[at] = i % 7 - 1;
        for (int64_t t = x->offsets[at]; t < x->batch.n_tokens; t++) {
            x->c[t] = (float)(-2 * uniform());
            x->f[t] = (float)(-2 * uniform());
            entropy[t] = i % 6 ? (float)uniform() : NAN;
        }
    }
    x->advantages[3] = -1;
    x->b[x->offsets[3]] = NAN;
    memset(x->mask + x->offsets[8], 0, (size_t)(x->offsets[9] - x->offsets[8]));
    x->c[x->offsets[11]] = 0.5F;
    x->batch.logp_reference = x->f;
    x->batch.lag = lag;
    x->batch.entropy = entropy;
    fixture_set(x, "penalty.beta", "0.1");
    fixture_set(x, "mask.delta", "0.1");
    fixture_set(x, "mask.also", "icepop");
    fixture_set(x, "mask.high", "1.5");
    fixture_set(x, "guard_cap", "3");
    fixture_ok(x);
    return x;
}

static opsm_metrics_sums start(const struct fixture *x) {
    opsm_metrics_sums sums = {.size = sizeof sums};
    opsm_error err = {0};
    assert_ok(opsm_metrics_start(&x->config, &sums, &err));
    return sums;
}

static opsm_metrics_sums sum_up(const struct fixture *x, int first, int end) {
    opsm_metrics_sums sums = start(x);
    for (int i = first; i < end; i++) opsm_metrics_add(&sums, &x->records[i]);
    return sums;
}

/* Everything but quantiles and groups, which stay unknown, is what opsm_metrics_compute says, bit for bit. */
static void sums_give_the_metrics(void **state) {
    (void)state;
    struct fixture *x = mixed();
    opsm_metrics_sums sums = sum_up(x, 0, ROWS);
    opsm_metrics metrics = {.size = sizeof metrics};
    opsm_error err = {0};
    assert_ok(opsm_metrics_finish(&sums, &metrics, &err));
    int unknown = 0;
    for (int k = 0; k < opsm_metrics_count(); k++) {
        const char *name = opsm_metrics_name(k);
        double ours = opsm_metrics_value(&metrics, k), theirs = opsm_metrics_value(&x->metrics, k);
        bool left = strstr(name, "_p10") || strstr(name, "_p50") || strstr(name, "_p90") || strstr(name, "_p99") ||
                    strstr(name, "groups");
        unknown += left;
        assert_true(isfinite(theirs));
        if (left)
            assert_true(isnan(ours));
        else
            assert_memory_equal(&ours, &theirs, sizeof ours);
    }
    assert_int_equal(unknown, 10);

    double negatives[ROWS], positives[ROWS];
    int64_t n = 0, m = 0;
    for (int i = 0; i < ROWS; i++) {
        const opsm_sequence *record = &x->records[i];
        if (isfinite(record->drift) && record->advantage < 0) negatives[n++] = record->drift;
        if (isfinite(record->drift) && record->advantage > 0) positives[m++] = record->drift;
    }
    opsm_metrics_quantiles(negatives, n, positives, m, &metrics);
    metrics.groups = x->metrics.groups;
    metrics.skipped_groups = x->metrics.skipped_groups;
    assert_memory_equal(&metrics, &x->metrics, sizeof metrics);
    free(x);
}

/* The counts and sums against plain loops, one condition each. */
static void every_sum_is_what_its_line_says(void **state) {
    (void)state;
    struct fixture *x = mixed();
    opsm_metrics_sums sums = sum_up(x, 0, ROWS);
#define COUNT(field, condition, amount)                                                                                \
    do {                                                                                                               \
        int64_t n = 0;                                                                                                 \
        for (const opsm_sequence *r = x->records; r < x->records + ROWS; r++) n += (condition) ? (amount) : 0;         \
        assert_int_equal(sums.field, n);                                                                               \
        assert_true(n > 0 && n < 1000);                                                                                \
    } while (0)
#define SUM(field, condition, amount)                                                                                  \
    do {                                                                                                               \
        double sum = 0;                                                                                                \
        for (const opsm_sequence *r = x->records; r < x->records + ROWS; r++) sum += (condition) ? (amount) : 0;       \
        assert_float_equal(sums.field, sum, 1e-9 * fabs(sum));                                                         \
        assert_true(sum != 0);                                                                                         \
    } while (0)
    COUNT(sequences, true, 1);
    COUNT(negatives, r->advantage < 0, 1);
    COUNT(positives, r->advantage > 0, 1);
    COUNT(tokens, true, r->tokens);
    COUNT(dropped, !r->keep, 1);
    COUNT(dropped_negatives, !r->keep && r->advantage < 0, 1);
    COUNT(dropped_tokens, true, r->dropped_tokens);
    COUNT(clipped_low, true, r->clipped_low);
    COUNT(clipped_high, true, r->clipped_high);
    COUNT(nonfinite, r->nonfinite, 1);
    COUNT(positive_logp, r->positive_logp, 1);
    COUNT(backward_sequences, r->needs_backward, 1);
    COUNT(entropy_tokens, isfinite(r->entropy_sum), r->tokens);
    COUNT(lagged, r->lag >= 0, 1);
    COUNT(drifts, isfinite(r->drift), 1);
    COUNT(negative_drifts, isfinite(r->drift) && r->advantage < 0, 1);
    COUNT(positive_drifts, isfinite(r->drift) && r->advantage > 0, 1);
    COUNT(kept_negatives, isfinite(r->drift) && r->advantage < 0 && r->keep, 1);
    COUNT(weights, isfinite(r->drift), 1);
    COUNT(positive_weights, isfinite(r->drift) && r->advantage > 0, 1);
    SUM(surrogate_sum, true, r->surrogate);
    SUM(penalty_sum, true, r->penalty);
    SUM(kl_sum, true, r->kl_sum);
    SUM(entropy_sum, isfinite(r->entropy_sum), r->entropy_sum);
    SUM(mass, true, fabs(r->advantage));
    SUM(dropped_mass, r->tokens > 0, fabs(r->advantage) * (double)r->dropped_tokens / (double)r->tokens);
    SUM(delta_sum, r->advantage < 0, r->delta);
    SUM(lag_sum, r->lag >= 0, (double)r->lag);
    SUM(drift_k1_sum, isfinite(r->drift), r->drift_k1);
    SUM(drift_k3_sum, isfinite(r->drift), r->drift_k3);
    SUM(drift_negative_sum, isfinite(r->drift) && r->advantage < 0, r->drift);
    SUM(drift_positive_sum, isfinite(r->drift) && r->advantage > 0, r->drift);
    SUM(drift_kept_negative_sum, isfinite(r->drift) && r->advantage < 0 && r->keep, r->drift);
    SUM(weight_sum, isfinite(r->drift), fmin(exp(-r->drift_k1 * (double)r->tokens), 3));
    SUM(weight_square_sum, isfinite(r->drift), pow(fmin(exp(-r->drift_k1 * (double)r->tokens), 3), 2));
    SUM(positive_weight_sum, isfinite(r->drift) && r->advantage > 0, fmin(exp(-r->drift_k1 * (double)r->tokens), 8));
    assert_true(sums.delta_low == 0.1 && sums.delta_high == 0.1 && sums.lag_max == 5);
    assert_true(sums.ess_cap == 3 && sums.penalised == 1);
    free(x);
}

/* Parts of different sizes, one of them empty. */
static opsm_metrics_sums merge_parts(const struct fixture *x) {
    static const int ends[PARTS] = {1, 14, 14, 17, ROWS};
    opsm_metrics_sums sums = start(x);
    for (int k = 0, first = 0; k < PARTS; first = ends[k++]) {
        opsm_metrics_sums part = sum_up(x, first, ends[k]);
        opsm_metrics_merge(&sums, &part);
    }
    return sums;
}

static void parts_merged_are_the_whole(void **state) {
    (void)state;
    struct fixture *x = mixed();
    for (int i = 0; i < ROWS; i++) x->records[i].delta = 0.1 + 0.001 * ((i * 7) % ROWS); /* extremes in the middle */
    opsm_metrics_sums whole = sum_up(x, 0, ROWS), merged = merge_parts(x), again = merge_parts(x);
    assert_memory_equal(&merged, &again, sizeof merged);
#define SAME(field, doc) assert_int_equal(merged.field, whole.field);
    OPSM_METRICS_COUNT_LIST(SAME)
#define NEAR(field, doc) assert_float_equal(merged.field, whole.field, 1e-12 * (1 + fabs(whole.field)));
    OPSM_METRICS_SUM_LIST(NEAR)
    assert_true(merged.delta_low == whole.delta_low && merged.delta_high == whole.delta_high);
    assert_true(merged.delta_low < merged.delta_high);
    assert_true(merged.ratio_max == whole.ratio_max && merged.lag_max == whole.lag_max);

    opsm_metrics_sums copy = start(x);
    opsm_metrics_merge(&copy, &whole);
    assert_memory_equal(&copy, &whole, sizeof copy);
    opsm_metrics_sums empty = start(x);
    opsm_metrics_merge(&copy, &empty);
    assert_memory_equal(&copy, &whole, sizeof copy);
    fixture_set(x, "penalty.beta", "0"); /* a divergence of which nothing is known */
    fixture_ok(x);
    assert_true(isnan(x->metrics.kl_ref) && x->metrics.tokens > 0);
    free(x);
}

static void nothing_added_is_nothing_measured(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    opsm_metrics_sums sums = start(x);
    opsm_metrics metrics = {.size = sizeof metrics};
    opsm_error err = {0};
    assert_ok(opsm_metrics_finish(&sums, &metrics, &err));
    assert_true(metrics.sequences == 0 && metrics.loss == 0);
    assert_true(opsm_metrics_name(-1) == NULL && isnan(opsm_metrics_value(&metrics, -1)));
    assert_true(isnan(metrics.delta) && isnan(metrics.ratio_max) && isnan(metrics.lag_max) && isnan(metrics.kl_ref));
    assert_true(isnan(metrics.dropped) && isnan(metrics.ess) && isnan(metrics.entropy));
    free(x);
}

/* The weights of the positives are those by which opsm_threshold_update moves the decline. */
static void the_decline_follows_from_the_sums(void **state) {
    (void)state;
    struct fixture *x = mixed();
    opsm_metrics_sums sums = sum_up(x, 0, ROWS);
    opsm_threshold threshold;
    opsm_error err = {0};
    assert_ok(opsm_threshold_start(&x->config, &threshold, &err));
    assert_ok(opsm_threshold_update(&x->config, &threshold, x->records, ROWS, x->workspace, sizeof x->workspace, &err));
    double decline = 1 - sums.positive_weight_sum / (double)sums.positive_weights;
    assert_float_equal(threshold.decline, 0.2 * decline, 1e-15);
    assert_true(threshold.decline != 0);
    assert_true(threshold.trust == (threshold.decline > OPSM_DECLINE_ALARM ? 0.7 : 1));
    free(x);
}

static void sizes_and_configurations_are_checked(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    opsm_metrics_sums sums = {0};
    opsm_metrics metrics = {0};
    opsm_error err = {0};
    assert_int_equal(opsm_metrics_start(&x->config, &sums, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "sums.size"));
    sums = start(x);
    assert_int_equal(opsm_metrics_finish(&sums, &metrics, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "metrics.size"));
    x->config.guard_cap = -1;
    assert_int_equal(opsm_metrics_start(&x->config, &sums, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "guard_cap"));
    free(x);
}

static void quantiles_lie_between_order_statistics(void **state) {
    (void)state;
    static const double x[] = {1, 2, 4, 8};
    assert_true(opsm_quantile(x, 4, 0) == 1 && opsm_quantile(x, 4, 1) == 8);
    assert_true(opsm_quantile(x, 4, 0.5) == 3 && opsm_quantile(x, 1, 0.7) == 1);
    assert_float_equal(opsm_quantile(x, 4, 0.9), 4 + 4 * 0.7, 1e-12);
    double drifts[] = {3, -1, 2, 0, 1};
    opsm_metrics metrics = {.size = sizeof metrics, .drift_positive_p50 = 7};
    opsm_metrics_quantiles(drifts, 5, NULL, 0, &metrics);
    for (int k = 0; k < 5; k++) assert_true(drifts[k] == k - 1);
    assert_true(metrics.drift_negative_p50 == 1 && metrics.drift_positive_p50 == 7);
    assert_float_equal(metrics.drift_negative_p10, -0.6, 1e-12);
    assert_float_equal(metrics.drift_negative_p90, 2.6, 1e-12);
    assert_float_equal(metrics.drift_negative_p99, 2.96, 1e-12);
}

static void configurations_say_what_needs_a_forward_pass(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    assert_true(opsm_objective_needs_forward(&x->config, 0.5) && opsm_objective_needs_forward(&x->config, -0.5));
    assert_false(opsm_objective_needs_forward(&x->config, 0));
    fixture_set(x, "penalty.beta", "0.1");
    assert_true(opsm_objective_needs_forward(&x->config, 0));
    fixture_set(x, "penalty.beta", "0");
    fixture_set(x, "surrogate.name", "dpo");
    assert_true(opsm_objective_needs_forward(&x->config, 0));
    fixture_set(x, "surrogate.name", "ppo");
    assert_false(opsm_objective_totals_need_forward(&x->config));
    fixture_set(x, "mask.rule", "random");
    assert_true(opsm_objective_totals_need_forward(&x->config));
    fixture_set(x, "mask.rule", "opsm");
    fixture_set(x, "denominator", "kept");
    assert_true(opsm_objective_totals_need_forward(&x->config));
    fixture_set(x, "denominator", "tokens");
    assert_true(opsm_objective_totals_need_forward(&x->config));
    free(x);
}

static void configurations_say_which_logprobs_they_read(void **state) {
    (void)state;
    static const struct {
        const char *key, *value;
        bool trainer, reference;
    } cases[] = {{"mask.rule", "opsm", false, false},          {"mask.behavior", "trainer", true, false},
                 {"mask.current", "trainer", true, false},     {"surrogate.ratio", "trainer", true, false},
                 {"surrogate.name", "decoupled", true, false}, {"weight.level", "token", true, false},
                 {"penalty.beta", "0.1", false, true},         {"surrogate.name", "dpo", false, true}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        struct fixture *x = fixture_new();
        fixture_set(x, cases[k].key, cases[k].value);
        assert_int_equal(opsm_objective_needs_trainer(&x->config), cases[k].trainer);
        assert_int_equal(opsm_objective_needs_reference(&x->config), cases[k].reference);
        free(x);
    }
    struct fixture *x = fixture_new();
    fixture_set(x, "surrogate.ratio", "trainer"); /* of a ratio that there is not */
    fixture_set(x, "surrogate.name", "reinforce");
    assert_false(opsm_objective_needs_trainer(&x->config));
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sums_give_the_metrics),
                                       cmocka_unit_test(every_sum_is_what_its_line_says),
                                       cmocka_unit_test(parts_merged_are_the_whole),
                                       cmocka_unit_test(nothing_added_is_nothing_measured),
                                       cmocka_unit_test(the_decline_follows_from_the_sums),
                                       cmocka_unit_test(sizes_and_configurations_are_checked),
                                       cmocka_unit_test(quantiles_lie_between_order_statistics),
                                       cmocka_unit_test(configurations_say_what_needs_a_forward_pass),
                                       cmocka_unit_test(configurations_say_which_logprobs_they_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
