/* SPDX-License-Identifier: Apache-2.0
 *
 * The switches that reproduce what other frameworks do, each on numbers worked out on paper.
 */
#include "objective_fixture.h"

static void set3(float *array, float a, float b, float c) {
    array[0] = a;
    array[1] = b;
    array[2] = c;
}

/* Three tokens, b = -2, c - b given; p = b unless the test says otherwise. */
static struct fixture *three(double advantage, float d0, float d1, float d2) {
    struct fixture *x = fixture_new();
    fixture_add(x, 3, advantage, -2, -2);
    set3(x->c, -2 + d0, -2 + d1, -2 + d2);
    set3(x->p, -2, -2, -2);
    x->batch.logp_trainer = x->p;
    return x;
}

/* No drift is 0, not -0. */
static void no_drift(void **state) {
    (void)state;
    struct fixture *x = three(-1, 0, 0, 0);
    fixture_ok(x);
    assert_true(x->records[0].drift == 0 && !signbit(x->records[0].drift) && !signbit(x->records[0].drift_k1));
    free(x);
}

/* Drift 0.5, A = +1: only a rule without a sign drops it. */
static void any_sign(void **state) {
    (void)state;
    struct fixture *x = three(1, -0.5f, -0.5f, -0.5f);
    fixture_set(x, "mask.delta", "0.3");
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 1);
    fixture_set(x, "mask.sign", "any");
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 0);
    assert_near(x->dlogp[0], 0, 0);
    free(x);
}

/* k1 cancels: 0.5, -0.5, 0. exp|d|: (2 e^0.5 + 1) / 3 = 1.432481. */
static void probability_error_does_not_cancel(void **state) {
    (void)state;
    struct fixture *x = three(1, 0.5f, -0.5f, 0);
    fixture_set(x, "mask.estimator", "exp_abs");
    fixture_set(x, "mask.sign", "any");
    fixture_set(x, "mask.delta", "1.4324");
    fixture_ok(x);
    assert_near(x->records[0].drift, 1.4324808471334188, 1e-12);
    assert_int_equal(x->records[0].keep, 0);
    fixture_set(x, "mask.delta", "1.4325");
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 1);
    free(x);
}

/* k3 of d = 0.5, -0.5, 0.1: 0.148721, 0.106531, 0.005171. */
static void tokens_by_any_estimator(void **state) {
    (void)state;
    struct fixture *x = three(1, 0.5f, -0.5f, 0.1f);
    fixture_set(x, "surrogate.name", "is");
    fixture_set(x, "mask.rule", "token");
    fixture_set(x, "mask.estimator", "k3");
    fixture_set(x, "mask.delta", "0.12");
    fixture_ok(x);
    assert_int_equal(x->records[0].dropped_tokens, 1);
    assert_near(x->dlogp[0], 0, 0);
    assert_near(x->dlogp[1], -exp(-0.5) / 3, 1e-7);
    fixture_set(x, "mask.delta", "0.1");
    fixture_ok(x);
    assert_int_equal(x->records[0].dropped_tokens, 2);
    fixture_set(x, "mask.delta", "0.001");
    fixture_ok(x);
    assert_int_equal(x->records[0].dropped_tokens, 3);
    assert_int_equal(x->records[0].keep, 0);
    free(x);
}

/* One ratio of e^0.5 = 1.649 takes the sequence, although the geometric mean is 1. */
static void outlier_takes_the_sequence(void **state) {
    (void)state;
    struct fixture *x = three(1, 0.5f, -0.25f, -0.25f);
    fixture_set(x, "mask.rule", "outlier");
    fixture_set(x, "mask.low", "0.7"); /* e^-0.25 = 0.7788 */
    fixture_set(x, "mask.high", "1.7");
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 1);
    fixture_set(x, "mask.high", "1.6");
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 0);
    assert_int_equal(x->records[0].dropped_tokens, 3);
    fixture_set(x, "mask.high", "1.7");
    fixture_set(x, "mask.low", "0.8");
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 0);
    x->mask[1] = x->mask[2] = 0; /* outside the loss nobody is an outlier */
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 1);
    free(x);
}

/* e^-0.5 - e^-2 = 0.471195; e^-3 - e^-2 = -0.085548. For A > 0 only rising counts, for A < 0 only falling. */
static void total_variation_follows_the_push(void **state) {
    (void)state;
    struct fixture *x = three(1, 1.5f, -1, 0);
    fixture_set(x, "mask.rule", "tv");
    fixture_set(x, "surrogate.name", "reinforce");
    fixture_set(x, "mask.delta", "0.08");
    fixture_ok(x);
    assert_near(x->dlogp[0], 0, 0);
    assert_near(x->dlogp[1], -1.0 / 3, 1e-7);
    x->advantages[0] = -1;
    fixture_ok(x);
    assert_near(x->dlogp[0], 1.0 / 3, 1e-7);
    assert_near(x->dlogp[1], 0, 0);
    fixture_set(x, "mask.sign", "any");
    fixture_ok(x);
    assert_int_equal(x->records[0].dropped_tokens, 2);
    fixture_set(x, "mask.delta", "0.09");
    fixture_ok(x);
    assert_int_equal(x->records[0].dropped_tokens, 1);
    free(x);
}

/* AgileRL's pair: the band drops token 0 of both sequences, the drift all of the negative one. */
static void two_rules(void **state) {
    (void)state;
    struct fixture *x = three(1, -0.9f, 0, 0);
    fixture_add(x, 3, -1, -2, -2);
    set3(x->c + 3, -2.9f, -2, -2);
    fixture_set(x, "mask.also", "icepop"); /* e^-0.9 = 0.4066 < 0.5 */
    fixture_set(x, "mask.delta", "0.31");  /* X = 0.3 */
    fixture_ok(x);
    assert_int_equal(x->records[0].dropped_tokens, 1);
    assert_int_equal(x->records[1].dropped_tokens, 1);
    fixture_set(x, "mask.delta", "0.29");
    fixture_ok(x);
    assert_int_equal(x->records[0].dropped_tokens, 1);
    assert_int_equal(x->records[1].dropped_tokens, 3);
    fixture_set(x, "mask.rule", "none");
    fixture_set(x, "mask.also", "geometric"); /* e^-0.3 = 0.7408 */
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 0);
    x->batch.logp_behavior = NULL;
    fixture_set(x, "surrogate.name", "reinforce");
    x->err = (opsm_error){0};
    assert_int_equal(fixture_run(x), OPSM_MISSING);
    assert_non_null(strstr(x->err.text, "mask.also = geometric"));
    free(x);
}

/* c has moved by 1, p by 0.1: the mismatch alone is 0.1. */
static void drift_to_the_trainer(void **state) {
    (void)state;
    struct fixture *x = three(-1, -1, -1, -1);
    set3(x->p, -2.1f, -2.1f, -2.1f);
    fixture_set(x, "mask.current", "trainer");
    fixture_set(x, "mask.delta", "0.2");
    fixture_ok(x);
    assert_near(x->records[0].drift, 0.1, 1e-6);
    assert_int_equal(x->records[0].keep, 1);
    /* The ratio still is exp(c - b) = e^-1, at the lower clip. */
    assert_near(x->result.loss, 0.8, 1e-12);
    fixture_set(x, "mask.delta", "0.05");
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 0);
    x->batch.logp_trainer = NULL;
    assert_int_equal(fixture_run(x), OPSM_MISSING);
    assert_true(opsm_objective_needs_trainer(&x->config));
    free(x);
}

/* TRL: an unscorable token is no evidence of drift: (0 + 0.6 + 0) / 3 = 0.2. */
static void unknown_behavior(void **state) {
    (void)state;
    struct fixture *x = three(-1, -0.5f, -0.6f, 0);
    x->b[0] = NAN;
    fixture_set(x, "surrogate.ratio", "trainer");
    fixture_set(x, "surrogate.name", "is");
    fixture_set(x, "mask.delta", "0.25");
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 0);
    assert_int_equal(x->records[0].nonfinite, 1);
    fixture_set(x, "mask.skip_nan", "true");
    fixture_ok(x);
    assert_near(x->records[0].drift, 0.2, 1e-6);
    assert_int_equal(x->records[0].keep, 1);
    assert_int_equal(x->records[0].nonfinite, 0);
    assert_near(x->dlogp[0], exp(-0.5) / 3, 1e-7);
    fixture_set(x, "mask.delta", "0.15");
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 0);
    x->b[1] = -INFINITY; /* known, and not a log-prob */
    fixture_ok(x);
    assert_int_equal(x->records[0].nonfinite, 1);
    x->b[1] = -2;
    x->advantages[0] = 1;
    fixture_set(x, "weight.level", "sequence"); /* p - b of the other two tokens is 0 */
    fixture_ok(x);
    assert_near(x->dlogp[2], -1.0 / 3, 1e-7);
    fixture_set(x, "mask.skip_nan", "false");
    x->err = (opsm_error){0};
    assert_int_equal(fixture_run(x), OPSM_NONFINITE);
    assert_non_null(strstr(x->err.text, "logp_behavior of sequence 0, token 0 is nan"));
    free(x);
}

/* p - b = 0.5, -1, 0.25: token weights e^0.5 = 1.648721, e^-1 = 0.367879, e^0.25 = 1.284025; their product
 * e^-0.25 = 0.778801, the geometric mean e^(-1/12) = 0.920044. c = p: ratio 1, surrogate -w per token. */
static void weights(void **state) {
    (void)state;
    struct fixture *x = three(1, 0.5f, -1, 0.25f);
    set3(x->p, -1.5f, -3, -1.75f);
    fixture_set(x, "surrogate.ratio", "trainer");
    fixture_set(x, "mask.rule", "none");
    const struct {
        const char *level, *low, *high, *zero;
        double w[3];
    } rows[] = {
        {"token", "0", "off", "false", {1.6487212707, 0.3678794412, 1.2840254167}},
        {"token", "0.5", "1.5", "false", {1.5, 0.5, 1.2840254167}},
        {"token", "0.5", "1.5", "true", {0, 0, 1.2840254167}},
        {"sequence", "0", "3", "true", {0.7788007831, 0.7788007831, 0.7788007831}},
        {"sequence", "0.8", "3", "false", {0.8, 0.8, 0.8}},
        {"sequence", "0", "0.7", "true", {0, 0, 0}},
        {"geometric", "0", "2", "false", {0.9200444147, 0.9200444147, 0.9200444147}},
    };
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        fixture_set(x, "weight.level", rows[k].level);
        fixture_set(x, "weight.low", rows[k].low);
        fixture_set(x, "weight.high", rows[k].high);
        fixture_set(x, "weight.zero", rows[k].zero);
        fixture_ok(x);
        for (int t = 0; t < 3; t++) assert_near(x->dlogp[t], -rows[k].w[t] / 3, 1e-7);
        assert_near(x->result.loss, -(rows[k].w[0] + rows[k].w[1] + rows[k].w[2]) / 3, 1e-9);
    }
    /* decoupled has a weight of its own. */
    fixture_set(x, "surrogate.name", "decoupled");
    assert_int_equal(fixture_run(x), OPSM_INVALID);
    free(x);
}

/* The weight on the penalty, k1 with c - f = 0.5: 0.1 x 0.5 x 2 = 0.1 a token; without, 0.05. A = 0. */
static void weight_on_the_penalty(void **state) {
    (void)state;
    struct fixture *x = three(0, 0, 0, 0);
    const float up = (float)log(2.0);
    set3(x->p, -2 + up, -2 + up, -2 + up);
    set3(x->f, -2.5f, -2.5f, -2.5f);
    x->batch.logp_reference = x->f;
    fixture_set(x, "penalty.beta", "0.1");
    fixture_set(x, "penalty.estimator", "k1");
    fixture_set(x, "weight.level", "token");
    fixture_set(x, "weight.high", "off");
    fixture_ok(x);
    assert_near(x->result.loss, 0.05, 1e-12);
    fixture_set(x, "weight.kl", "true");
    fixture_ok(x);
    assert_near(x->result.loss, 0.1, 1e-7);
    assert_near(x->records[0].kl_sum, 1.5, 1e-12); /* the metric has neither weight nor beta */
    free(x);
}

/* Log ratios 30, -30, 0.5 held to +-20: drift (-20 + 20 - 0.5) / 3, ratios e^20 and e^-20 without slope. */
static void held_log_ratios(void **state) {
    (void)state;
    struct fixture *x = three(1, 30, -30, 0.5f);
    fixture_set(x, "surrogate.name", "is");
    fixture_set(x, "mask.rule", "none");
    fixture_set(x, "ratio_clamp", "20");
    fixture_ok(x);
    assert_near(x->records[0].drift, -0.5 / 3, 1e-12);
    assert_near(x->result.loss, -(exp(20) + exp(-20) + exp(0.5)) / 3, 1e-3);
    assert_near(x->dlogp[0], 0, 0);
    assert_near(x->dlogp[1], 0, 0);
    assert_near(x->dlogp[2], -exp(0.5) / 3, 1e-7);
    set3(x->c, 998, -2, -2); /* e^1000 overflows; held it does not */
    fixture_ok(x);
    assert_near(x->result.loss, -(exp(20) + 2) / 3, 1e-3);
    free(x);
}

/* f - c = 3, -12: k3 = 16.0855, 11.0000061; the one-sided clamp lets the second be. */
static void clamp_on_both_sides(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 2, 0, -13, -13);
    x->f[0] = -10;
    x->f[1] = -25;
    x->batch.logp_reference = x->f;
    fixture_set(x, "penalty.beta", "1");
    fixture_set(x, "penalty.estimator", "k3");
    fixture_set(x, "penalty.clamp", "10");
    fixture_ok(x);
    assert_near(x->result.loss, (10 + 11.00000614421235) / 2, 1e-9);
    fixture_set(x, "penalty.clamp_both", "true");
    fixture_ok(x);
    assert_near(x->result.loss, 10, 1e-12);
    assert_near(x->dlogp[1], 0, 0);
    free(x);
}

/* Two sequences of 3 and 1 tokens, one token dropped of the first, the second whole. Unit slopes (reinforce, A = -1):
 * weight of a kept token with `all` 1/(2 3), with `kept` 1/(1 2), with `tokens` 1/(2 2). */
static void denominators(void **state) {
    (void)state;
    struct fixture *x = three(-1, 3, 0, 0);
    fixture_add(x, 1, -1, -2, 1);
    fixture_set(x, "surrogate.name", "reinforce");
    fixture_set(x, "mask.rule", "icepop");
    const struct {
        const char *name;
        double sequence_mean, token_mean;
    } rows[] = {{"all", 1.0 / 6, 1.0 / 4}, {"kept", 1.0 / 2, 1.0 / 2}, {"tokens", 1.0 / 4, 1.0 / 2}};
    for (int k = 0; k < 3; k++) {
        fixture_set(x, "denominator", rows[k].name);
        fixture_set(x, "aggregation", "sequence_mean");
        fixture_ok(x);
        assert_near(x->dlogp[1], rows[k].sequence_mean, 1e-7);
        fixture_set(x, "aggregation", "token_mean");
        fixture_ok(x);
        assert_near(x->dlogp[1], rows[k].token_mean, 1e-7);
    }
    free(x);
}

static void contradictions(void **state) {
    (void)state;
    const struct {
        const char *keys[3][2];
        const char *part;
    } rows[] = {
        {{{"mask.sign", "any"}, {"mask.rule", "negatives"}}, "mask.sign = any"},
        {{{"mask.behavior", "trainer"}, {"mask.current", "trainer"}}, "always zero"},
        {{{"mask.skip_nan", "true"}}, "surrogate.ratio = trainer"},
        {{{"weight.level", "token"}, {"weight.low", "3"}}, "weight.low = 3"},
        {{{"surrogate.name", "dpo"}, {"mask.also", "icepop"}}, "mask.also = icepop"},
        {{{"surrogate.name", "dpo"}, {"mask.rule", "tv"}}, "mask.rule = tv"},
        {{{"surrogate.name", "dpo"}, {"weight.level", "token"}}, "takes no weights"},
    };
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        opsm_objective config;
        opsm_error err = {0};
        opsm_objective_defaults(&config);
        for (int j = 0; j < 3 && rows[k].keys[j][0]; j++)
            assert_ok(opsm_objective_set(&config, rows[k].keys[j][0], rows[k].keys[j][1], &err));
        assert_int_equal(opsm_objective_check(&config, &err), OPSM_INVALID);
        if (!strstr(err.text, rows[k].part)) fail_msg("%s", err.text);
    }
}

/* c - b of the three tokens: -0.5, -0.5, +0.1. Drift 0.3; ratios 0.61, 0.61, 1.11; b = -2. */
static void every_drop_has_its_reason(void **state) {
    (void)state;
    const struct {
        opsm_reason reason;
        double advantage;
        const char *keys[3][2];
    } rows[] = {
        {OPSM_REASON_OPSM, -1, {{"mask.delta", "0.2"}}},
        {OPSM_REASON_KEPT, 1, {{"mask.delta", "0.2"}}},
        {OPSM_REASON_KEPT, -1, {{"mask.delta", "0.4"}}},
        {OPSM_REASON_DRIFT, 1, {{"mask.delta", "0.2"}, {"mask.sign", "any"}}},
        {OPSM_REASON_DRIFT, -1, {{"mask.delta", "0.2"}, {"mask.sign", "any"}}},
        {OPSM_REASON_POSITIVES, 1, {{"mask.rule", "positives"}, {"mask.delta", "0.2"}}},
        {OPSM_REASON_NEGATIVES, -1, {{"mask.rule", "negatives"}}},
        {OPSM_REASON_RANDOM, -1, {{"mask.rule", "random"}, {"mask.delta", "0.2"}}},
        {OPSM_REASON_GEOMETRIC, 1, {{"mask.rule", "geometric"}, {"mask.low", "0.8"}, {"mask.high", "1.2"}}},
        {OPSM_REASON_GEOMETRIC, 1, {{"mask.also", "geometric"}, {"mask.low", "0.8"}, {"mask.high", "1.2"}}},
        {OPSM_REASON_OUTLIER, 1, {{"mask.rule", "outlier"}, {"mask.low", "0.8"}, {"mask.high", "1.2"}}},
        {OPSM_REASON_OUTLIER, 1, {{"mask.also", "outlier"}, {"mask.low", "0.8"}, {"mask.high", "1.2"}}},
        {OPSM_REASON_ICEPOP, 1, {{"mask.rule", "icepop"}, {"mask.low", "0.8"}, {"mask.high", "1.2"}}},
        {OPSM_REASON_ICEPOP, 1, {{"mask.also", "icepop"}, {"mask.low", "0.8"}, {"mask.high", "1.2"}}},
        {OPSM_REASON_OPSM, -1, {{"mask.delta", "0.2"}, {"mask.also", "icepop"}}},
        {OPSM_REASON_TOKEN_K2, 1, {{"mask.rule", "token_k2"}, {"mask.delta", "0.1"}}},
        {OPSM_REASON_TOKEN, 1, {{"mask.rule", "token"}, {"mask.delta", "0.1"}}},
        {OPSM_REASON_TV, -1, {{"mask.rule", "tv"}, {"mask.delta", "0.05"}}},
        {OPSM_REASON_KEPT, -1, {{"mask.rule", "none"}}},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        struct fixture *x = three(rows[k].advantage, -0.5f, -0.5f, 0.1f);
        for (int j = 0; j < 3 && rows[k].keys[j][0]; j++) fixture_set(x, rows[k].keys[j][0], rows[k].keys[j][1]);
        fixture_ok(x);
        assert_string_equal(opsm_reason_name((opsm_reason)x->records[0].reason), opsm_reason_name(rows[k].reason));
        free(x);
    }
    struct fixture *x = three(-1, NAN, 0, 0);
    fixture_ok(x);
    assert_int_equal(x->records[0].reason, OPSM_REASON_NONFINITE);
    memset(x->mask, 0, 3);
    fixture_ok(x);
    assert_int_equal(x->records[0].reason, OPSM_REASON_EMPTY);
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_drift),
        cmocka_unit_test(any_sign),
        cmocka_unit_test(probability_error_does_not_cancel),
        cmocka_unit_test(tokens_by_any_estimator),
        cmocka_unit_test(outlier_takes_the_sequence),
        cmocka_unit_test(total_variation_follows_the_push),
        cmocka_unit_test(two_rules),
        cmocka_unit_test(drift_to_the_trainer),
        cmocka_unit_test(unknown_behavior),
        cmocka_unit_test(weights),
        cmocka_unit_test(weight_on_the_penalty),
        cmocka_unit_test(held_log_ratios),
        cmocka_unit_test(clamp_on_both_sides),
        cmocka_unit_test(denominators),
        cmocka_unit_test(contradictions),
        cmocka_unit_test(every_drop_has_its_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
