/* SPDX-License-Identifier: Apache-2.0
 *
 * What comes from outside: refused with the right status and a sentence that names the place, or handled as defined.
 */
#include "objective_fixture.h"

static void refused(struct fixture *x, opsm_status status, const char *part1, const char *part2) {
    x->err = (opsm_error){0};
    assert_int_equal(fixture_run(x), status);
    if (!strstr(x->err.text, part1) || !strstr(x->err.text, part2)) {
        print_error("sentence: %s\nexpected in it: %s, %s\n", x->err.text, part1, part2);
        fail();
    }
}

static struct fixture *two(void) {
    struct fixture *x = fixture_new();
    fixture_add(x, 2, 1, -1, -1.5);
    fixture_add(x, 2, -1, -1, -1.5);
    return x;
}

static void missing_behavior_is_never_replaced(void **state) {
    (void)state;
    struct fixture *x = two();
    x->batch.logp_behavior = NULL;
    fixture_set(x, "surrogate.name", "reinforce");
    const char *rules[] = {"opsm", "geometric", "icepop", "token_k2", "random", "positives"};
    for (int k = 0; k < 6; k++) {
        fixture_set(x, "mask.rule", rules[k]);
        refused(x, OPSM_MISSING, "logp_behavior", rules[k]);
    }
    x->batch.logp_trainer = x->p; /* present, but the configuration asks for the sampler's */
    refused(x, OPSM_MISSING, "logp_behavior", "mask.behavior = trainer");
    fixture_set(x, "mask.behavior", "trainer");
    fixture_ok(x);
    x->batch.logp_trainer = NULL;
    refused(x, OPSM_MISSING, "logp_trainer", "positives");
    fixture_set(x, "mask.rule", "none");
    fixture_ok(x);
    assert_true(isnan(x->records[0].drift));
    fixture_set(x, "mask.rule", "negatives");
    fixture_ok(x);
    assert_int_equal(x->records[1].keep, 0);
    free(x);
}

static void other_missing_arrays(void **state) {
    (void)state;
    struct fixture *x = two();
    fixture_set(x, "surrogate.ratio", "trainer");
    refused(x, OPSM_MISSING, "logp_trainer", "surrogate.ratio = trainer");
    fixture_set(x, "surrogate.ratio", "sampler");
    fixture_set(x, "surrogate.name", "decoupled");
    refused(x, OPSM_MISSING, "logp_trainer", "decoupled");
    fixture_set(x, "surrogate.name", "dpo");
    refused(x, OPSM_MISSING, "logp_reference", "dpo");
    fixture_set(x, "surrogate.name", "ppo");
    fixture_set(x, "penalty.beta", "0.1");
    refused(x, OPSM_MISSING, "logp_reference", "penalty.beta");
    fixture_set(x, "penalty.beta", "0");
    x->batch.advantages = NULL;
    refused(x, OPSM_MISSING, "advantages", "opsm_advantages");
    x->batch.advantages = x->advantages;
    x->batch.logp_current = NULL;
    refused(x, OPSM_MISSING, "logp_current", "");
    free(x);
}

static void lengths_that_disagree(void **state) {
    (void)state;
    struct fixture *x = two();
    x->batch.n_tokens = 5;
    refused(x, OPSM_LENGTHS, "token 4", "5");
    x->batch.n_tokens = 4;
    x->offsets[1] = 5;
    refused(x, OPSM_LENGTHS, "sequence 1", "before it starts");
    x->offsets[1] = 2;
    x->offsets[0] = 1;
    refused(x, OPSM_LENGTHS, "offsets[0]", "expected 0");
    x->offsets[0] = 0;
    x->batch.n_sequences = -1;
    refused(x, OPSM_INVALID, "-1 sequences", "");
    x->batch.n_sequences = 2;
    x->batch.offsets = NULL;
    refused(x, OPSM_MISSING, "offsets", "");
    free(x);
}

static void groups_and_rewards(void **state) {
    (void)state;
    struct fixture *x = two();
    float a[2];
    opsm_error err = {0};
#define ADVANTAGES() opsm_advantages(&x->config, &x->batch, a, NULL, x->workspace, sizeof x->workspace, &err)
    assert_int_equal(ADVANTAGES(), OPSM_MISSING);
    x->batch.rewards = x->rewards;
    x->batch.n_groups = 3;
    x->groups[0] = 0;
    x->groups[1] = 2;
    assert_int_equal(ADVANTAGES(), OPSM_GROUPS);
    assert_non_null(strstr(err.text, "group 1 of 3 has no members"));
    x->groups[1] = 3;
    assert_int_equal(ADVANTAGES(), OPSM_GROUPS);
    assert_non_null(strstr(err.text, "sequence 1 belongs to group 3"));
    x->batch.n_groups = 0;
    x->rewards[1] = NAN;
    assert_int_equal(ADVANTAGES(), OPSM_NONFINITE);
    assert_non_null(strstr(err.text, "reward of sequence 1"));
    x->rewards[1] = 1;
    fixture_set(x, "advantage", "given");
    assert_int_equal(ADVANTAGES(), OPSM_INVALID);
    free(x);
}

static void nonfinite_with_negative_advantage_is_dropped(void **state) {
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    const char *rules[] = {"none", "opsm", "geometric", "icepop", "negatives"};
    for (int k = 0; k < 3; k++)
        for (int r = 0; r < 5; r++)
            for (int array = 0; array < 2; array++) {
                struct fixture *x = two();
                fixture_set(x, "mask.rule", rules[r]);
                (array ? x->b : x->c)[3] = bad[k];
                fixture_ok(x);
                assert_int_equal(x->records[1].keep, 0);
                assert_int_equal(x->records[1].nonfinite, 1);
                assert_near(x->metrics.nonfinite, 1, 0);
                assert_near(x->records[1].loss, 0, 0);
                assert_near(x->dlogp[2], 0, 0);
                assert_near(x->dlogp[3], 0, 0);
                assert_true(isfinite(x->metrics.drift_mean));
                free(x);
            }
}

static void nonfinite_outside_the_mask_changes_nothing(void **state) {
    (void)state;
    struct fixture *x = fixture_new(), *y = fixture_new();
    for (int i = 0; i < 2; i++) {
        fixture_add(x, 3, i ? -1 : 1, -1, -1.02);
        fixture_add(y, 3, i ? -1 : 1, -1, -1.02);
        x->mask[3 * i + 1] = y->mask[3 * i + 1] = 0;
        y->c[3 * i + 1] = NAN;
        y->b[3 * i + 1] = INFINITY;
        y->f[3 * i + 1] = -INFINITY;
    }
    x->batch.logp_reference = x->f;
    y->batch.logp_reference = y->f;
    fixture_set(x, "penalty.beta", "0.1");
    fixture_set(y, "penalty.beta", "0.1");
    fixture_ok(x);
    fixture_ok(y);
    assert_memory_equal(x->dlogp, y->dlogp, 6 * sizeof(float));
    assert_memory_equal(x->records, y->records, 2 * sizeof *x->records);
    assert_near(y->metrics.nonfinite, 0, 0);
    free(x);
    free(y);
}

static void nonfinite_with_positive_advantage_is_refused(void **state) {
    (void)state;
    struct fixture *x = two();
    x->c[1] = NAN;
    refused(x, OPSM_NONFINITE, "logp_current of sequence 0, token 1", "nan");
    x->c[1] = -1.5f;
    x->b[0] = -INFINITY;
    fixture_set(x, "surrogate.name", "is");
    refused(x, OPSM_NONFINITE, "logp_behavior of sequence 0, token 0", "-inf");
    fixture_set(x, "surrogate.name", "reinforce"); /* does not look at b: nothing bad reaches the loss */
    fixture_ok(x);
    assert_near(x->metrics.nonfinite, 1, 0);
    x->advantages[0] = 0; /* contributes nothing, whatever it holds */
    x->c[0] = NAN;
    fixture_ok(x);
    assert_near(x->records[0].loss, 0, 0);
    free(x);
}

static void nonfinite_keeps_the_rest_of_the_penalty(void **state) {
    (void)state;
    struct fixture *x = two();
    x->batch.logp_reference = x->f;
    for (int t = 0; t < 4; t++) x->f[t] = -1;
    fixture_set(x, "penalty.beta", "1");
    fixture_set(x, "penalty.estimator", "k1");
    x->c[3] = NAN;
    fixture_ok(x);
    assert_near(x->records[1].penalty, -0.5 / 4, 1e-7); /* token 2 alone: (c - f) / (N n) */
    assert_near(x->dlogp[2], 0.25, 1e-7);
    assert_near(x->dlogp[3], 0, 0);
    free(x);
}

static void overflowing_ratios(void **state) {
    (void)state;
    struct fixture *x = two();
    fixture_set(x, "surrogate.name", "is");
    x->b[0] = -800; /* r = e^798.5: not a double */
    refused(x, OPSM_NONFINITE, "ratio of sequence 0, token 0 overflows", "-800");
    fixture_set(x, "surrogate.name", "ppo"); /* clipped: fine */
    fixture_ok(x);
    assert_near(x->records[0].surrogate, -1.0 / 4 * (1.2 + exp(-0.5)), 1e-6);
    x->b[0] = -1;
    x->b[2] = -800;
    fixture_ok(x);
    assert_int_equal(x->records[1].keep, 0);
    x->b[2] = -102; /* a double, but not a float: the gradient cannot be stored */
    fixture_set(x, "mask.rule", "none");
    refused(x, OPSM_NONFINITE, "sequence 1", "overflows");
    free(x);
}

static void advantages_must_be_finite(void **state) {
    (void)state;
    struct fixture *x = two();
    x->advantages[1] = NAN;
    refused(x, OPSM_NONFINITE, "advantage of sequence 1", "nan");
    x->batch.token_advantages = x->a_token;
    x->a_token[1] = INFINITY;
    refused(x, OPSM_NONFINITE, "advantage of sequence 0, token 1", "inf");
    x->mask[1] = 0;
    fixture_ok(x);
    free(x);
}

static void positive_log_probs_are_counted_and_refused_by_the_strict_check(void **state) {
    (void)state;
    struct fixture *x = two();
    opsm_error err = {0};
    assert_ok(opsm_batch_check(&x->batch, &err));
    x->c[1] = 0.25f;
    fixture_ok(x);
    assert_int_equal(x->records[0].positive_logp, 1);
    assert_near(x->metrics.positive_logp, 1, 0);
    assert_int_equal(opsm_batch_check(&x->batch, &err), OPSM_POSITIVE);
    assert_non_null(strstr(err.text, "logp_current of sequence 0, token 1 is 0.25"));
    x->mask[1] = 0;
    assert_ok(opsm_batch_check(&x->batch, &err));
    x->b[2] = NAN;
    assert_int_equal(opsm_batch_check(&x->batch, &err), OPSM_NONFINITE);
    assert_non_null(strstr(err.text, "logp_behavior of sequence 1, token 0"));
    x->mask[0] = 7;
    assert_int_equal(opsm_batch_check(&x->batch, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "mask of sequence 0, token 0 is 7"));
    free(x);
}

static void fields_out_of_range(void **state) {
    (void)state;
    struct fixture *x = two();
    const opsm_objective good = x->config;
    x->config.mask_delta = -0.1;
    refused(x, OPSM_INVALID, "mask.delta", "-0.1");
    x->config.mask_delta = NAN;
    refused(x, OPSM_INVALID, "mask.delta", "nan");
    x->config = good;
    x->config.mask_low = 1.5;
    refused(x, OPSM_INVALID, "mask.low", "1.5");
    x->config = good;
    x->config.mask_high = 0.5;
    refused(x, OPSM_INVALID, "mask.high", "0.5");
    x->config = good;
    x->config.mask_rule = (opsm_rule)99;
    refused(x, OPSM_INVALID, "mask.rule", "opsm");
    x->config = good;
    x->config.surrogate_dual_clip = 1;
    refused(x, OPSM_INVALID, "surrogate.dual_clip", "> 1");
    x->config = good;
    x->config.mask_policy = OPSM_POLICY_QUANTILE;
    x->config.mask_floor = 0.2;
    refused(x, OPSM_INVALID, "mask.floor", "mask.ceiling");
    x->config = good;
    fixture_set(x, "surrogate.name", "dpo");
    fixture_set(x, "mask.rule", "icepop");
    refused(x, OPSM_INVALID, "icepop", "dpo");
    free(x);
}

/* Structs of another size: a smaller one is an older program (missing fields get their defaults), a larger one a newer.
 */
static void sized_structs(void **state) {
    (void)state;
    struct fixture *x = two();
    fixture_ok(x);
    double loss = x->result.loss;
    x->config.size = offsetof(opsm_objective, guard_base);
    x->config.guard_base = -5;
    fixture_ok(x);
    assert_true(x->result.loss == loss);
    assert_int_equal(opsm_objective_set(&x->config, "guard_base", "0.5", &x->err), OPSM_UNSUPPORTED);
    x->config.size = sizeof x->config + 8;
    refused(x, OPSM_UNSUPPORTED, "newer", "");
    x->config.size = 0;
    refused(x, OPSM_INVALID, "opsm_objective_defaults", "");
    opsm_objective_defaults(&x->config);
    x->batch.size += 64;
    refused(x, OPSM_UNSUPPORTED, "newer", "");
    x->batch.size = 0;
    refused(x, OPSM_INVALID, "opsm_batch_init", "");
    opsm_batch_init(&x->batch);
    x->result.size = 3;
    x->batch.offsets = x->offsets;
    refused(x, OPSM_INVALID, "opsm_result_init", "");
    assert_string_equal(opsm_version(), OPSM_VERSION);
    assert_int_equal(opsm_objective_abi(), OPSM_OBJECTIVE_ABI);
    free(x);
}

static void workspaces(void **state) {
    (void)state;
    struct fixture *x = two();
    fixture_set(x, "denominator", "kept");
    opsm_error err = {0};
    assert_int_equal(opsm_objective_evaluate(&x->config, NULL, &x->batch, NULL, &x->result, x->workspace, 10, &err),
                     OPSM_INVALID);
    assert_non_null(strstr(err.text, "opsm_objective_workspace"));
    assert_int_equal(opsm_objective_evaluate(&x->config, NULL, &x->batch, NULL, &x->result, NULL, 1000000, &err),
                     OPSM_INVALID);
    fixture_set(x, "denominator", "all");
    assert_ok(opsm_objective_evaluate(&x->config, NULL, &x->batch, NULL, &x->result, NULL, 0, &err));
    char *exact = malloc(opsm_objective_workspace(2) + 3);
    assert_ok(opsm_metrics_compute(&x->config, x->records, 2, &x->metrics, exact + 3, opsm_objective_workspace(2),
                                   &err)); /* any alignment */
    free(exact);
    free(x);
}

/* The behaviour log-prob of decoupled's weight counts although drift is measured from the trainer's. */
static void nonfinite_is_looked_for_in_every_array_that_is_read(void **state) {
    (void)state;
    struct fixture *x = two();
    fixture_set(x, "surrogate.name", "decoupled");
    fixture_set(x, "mask.behavior", "trainer");
    x->batch.logp_trainer = x->p;
    memcpy(x->p, x->c, sizeof x->p);
    fixture_ok(x);
    assert_true(x->records[1].keep && !x->records[1].nonfinite);
    x->b[3] = NAN;
    fixture_ok(x);
    assert_true(!x->records[1].keep && x->records[1].nonfinite);
    free(x);
}

static void nonfinite_without_advantage_is_not_dropped(void **state) {
    (void)state;
    struct fixture *x = two();
    x->advantages[1] = 0;
    x->b[3] = NAN;
    fixture_ok(x);
    assert_true(x->records[1].nonfinite && x->records[1].keep && x->records[1].dropped_tokens == 0);
    assert_true(x->records[1].loss == 0 && x->dlogp[2] == 0 && x->dlogp[3] == 0);
    free(x);
}

static void the_first_token_in_the_loss_is_blamed(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 4, 1, -1, -1.5);
    x->batch.token_advantages = x->a_token;
    x->mask[0] = 0;
    x->a_token[0] = x->a_token[2] = x->a_token[3] = NAN;
    refused(x, OPSM_NONFINITE, "advantage of sequence 0, token 2", "nan");
    free(x);
}

static void results_need_records(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 2, 1, -1, -1.5);
    x->result.records = NULL;
    refused(x, OPSM_INVALID, "result->records is NULL", "1 records");
    x->result.size = 0;
    refused(x, OPSM_INVALID, "result not initialised", "opsm_result_init");
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_behavior_is_never_replaced),
        cmocka_unit_test(other_missing_arrays),
        cmocka_unit_test(lengths_that_disagree),
        cmocka_unit_test(groups_and_rewards),
        cmocka_unit_test(nonfinite_with_negative_advantage_is_dropped),
        cmocka_unit_test(nonfinite_outside_the_mask_changes_nothing),
        cmocka_unit_test(nonfinite_with_positive_advantage_is_refused),
        cmocka_unit_test(nonfinite_keeps_the_rest_of_the_penalty),
        cmocka_unit_test(overflowing_ratios),
        cmocka_unit_test(advantages_must_be_finite),
        cmocka_unit_test(positive_log_probs_are_counted_and_refused_by_the_strict_check),
        cmocka_unit_test(fields_out_of_range),
        cmocka_unit_test(sized_structs),
        cmocka_unit_test(workspaces),
        cmocka_unit_test(nonfinite_is_looked_for_in_every_array_that_is_read),
        cmocka_unit_test(nonfinite_without_advantage_is_not_dropped),
        cmocka_unit_test(the_first_token_in_the_loss_is_blamed),
        cmocka_unit_test(results_need_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
