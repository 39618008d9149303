/* SPDX-License-Identifier: Apache-2.0
 *
 * The fifteen cases of the objective's definition, with the numbers worked out by hand.
 */
#include "objective_fixture.h"

static void case_01_three_way(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_set(x, "mask.delta", "1");
    fixture_add(x, 4, 1, 0, -2);
    fixture_add(x, 4, -1, 0, -0.5);
    fixture_add(x, 4, -1, 0, -2);
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 1);
    assert_int_equal(x->records[1].keep, 1);
    assert_int_equal(x->records[2].keep, 0);
    assert_near(x->records[2].drift, 2.0, 0);
    free(x);
}

static void case_02_masked_out_tokens_do_not_count(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_set(x, "mask.delta", "1");
    fixture_add(x, 4, -1, 0, -2);
    memcpy(x->c, (float[]){-2, -2, -10000, 10000}, 4 * sizeof(float));
    memcpy(x->mask, (uint8_t[]){1, 1, 0, 0}, 4);
    fixture_ok(x);
    assert_near(x->records[0].drift, 2.0, 0);
    assert_int_equal(x->records[0].keep, 0);
    for (int t = 0; t < 4; t++) assert_true(x->dlogp[t] == 0.0f);
    free(x);
}

static void case_03_equality_keeps(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 4, -1, 0, 0);
    memcpy(x->c, (float[]){-0.5f, -100, -0.25f, 100}, 4 * sizeof(float));
    memcpy(x->mask, (uint8_t[]){1, 0, 1, 0}, 4);
    fixture_set(x, "mask.delta", "0.375");
    fixture_ok(x);
    assert_near(x->records[0].drift, 0.375, 0);
    assert_int_equal(x->records[0].keep, 1);
    fixture_set(x, "mask.delta", "0.374");
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 0);
    free(x);
}

static void case_04_zero_advantage_keeps(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_set(x, "mask.delta", "0.1");
    fixture_add(x, 3, 0.0, 0, -5);
    fixture_add(x, 3, -0.0, 0, -5);
    fixture_ok(x);
    assert_near(x->records[1].drift, 5.0, 0);
    assert_int_equal(x->records[0].keep, 1);
    assert_int_equal(x->records[1].keep, 1);
    assert_int_equal(x->result.needs_backward, 0);
    free(x);
}

static void case_05_only_k1_sees_the_direction(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_set(x, "mask.delta", "0.1");
    fixture_add(x, 5, -1, -3, -1);
    const char *names[] = {"k1", "k2", "k3", "abs"};
    const double drift[] = {-2, 2, 4.389056098930650, 2};
    for (int e = 0; e < 4; e++) {
        fixture_set(x, "mask.estimator", names[e]);
        fixture_ok(x);
        assert_near(x->records[0].drift, drift[e], 1e-12);
        assert_int_equal(x->records[0].keep, e == 0);
    }
    free(x);
}

static void case_06_k1_cancels(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_set(x, "mask.delta", "0.1");
    fixture_add(x, 2, -1, 0, -1);
    x->b[1] = -2;
    fixture_ok(x);
    assert_near(x->records[0].drift, 0.0, 0);
    assert_int_equal(x->records[0].keep, 1);
    assert_near(x->records[0].drift_k3, 0.543080634815244, 1e-12);
    free(x);
}

static void case_07_whose_log_probs(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_set(x, "mask.delta", "0.3");
    fixture_add(x, 2, -1, -1.0, -1.5);
    x->p[0] = x->p[1] = -1.4f;
    x->batch.logp_trainer = x->p;
    fixture_ok(x);
    assert_near(x->records[0].drift, 0.5, 0);
    assert_int_equal(x->records[0].keep, 0);
    fixture_set(x, "mask.behavior", "trainer");
    fixture_ok(x);
    assert_near(x->records[0].drift, 0.1, 1e-7);
    assert_int_equal(x->records[0].keep, 1);
    free(x);
}

static struct fixture *case_eight(void) {
    struct fixture *x = fixture_new();
    fixture_add(x, 2, 1, -1, -1.5);
    fixture_add(x, 2, -1, -1, -1.5);
    fixture_set(x, "mask.delta", "0.3");
    return x;
}

static void case_08_loss_and_denominators(void **state) {
    (void)state;
    struct fixture *x = case_eight();
    fixture_set(x, "mask.rule", "none");
    fixture_ok(x);
    assert_near(x->result.loss, 0.096735, 1e-6);
    fixture_set(x, "mask.rule", "opsm");
    fixture_ok(x);
    assert_near(x->result.loss, -0.303265, 1e-6);
    const float expected[] = {-0.151633f, -0.151633f, 0, 0};
    for (int t = 0; t < 4; t++) assert_near(x->dlogp[t], expected[t], 1e-6);
    assert_int_equal(x->records[0].needs_backward, 1);
    assert_int_equal(x->records[1].needs_backward, 0);
    fixture_set(x, "denominator", "kept");
    fixture_ok(x);
    assert_near(x->result.loss, -0.606531, 1e-6);
    free(x);
}

static void case_09_penalty_and_mask(void **state) {
    (void)state;
    struct fixture *x = case_eight();
    for (int t = 0; t < 4; t++) x->f[t] = -1;
    x->batch.logp_reference = x->f;
    fixture_set(x, "penalty.beta", "0.1");
    fixture_set(x, "penalty.estimator", "k3");
    fixture_ok(x);
    assert_near(x->metrics.kl_ref, 0.148721, 1e-6);
    assert_near(x->result.loss, -0.288393, 1e-6);
    fixture_set(x, "mask.kl", "true");
    fixture_ok(x);
    assert_near(x->result.loss, -0.295829, 1e-6);
    free(x);
}

static void case_10_the_rest_of_a_drifted_sequence(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 4, -1, -1, -1);
    x->c[0] = -3;
    fixture_set(x, "mask.rule", "none");
    fixture_ok(x);
    assert_near(x->result.loss, 0.95, 1e-12);
    const float unmasked[] = {0, 0.25f, 0.25f, 0.25f};
    for (int t = 0; t < 4; t++) assert_near(x->dlogp[t], unmasked[t], 0);
    fixture_set(x, "mask.rule", "opsm");
    fixture_set(x, "mask.delta", "0.3");
    fixture_ok(x);
    assert_near(x->records[0].drift, 0.5, 0);
    for (int t = 0; t < 4; t++) assert_near(x->dlogp[t], 0, 0);
    assert_near(x->metrics.backward_sequences, 0, 0);
    free(x);
}

/* Sequences of one token each: the contribution of each is S / N. */
static void case_11_clips(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_set(x, "mask.rule", "none");
    fixture_add(x, 1, 1, -1, -1 + log(0.5));
    fixture_add(x, 1, -1, -1, -1);
    fixture_add(x, 1, 2, -1, -1 + log(1.5));
    fixture_ok(x);
    const double plain[] = {-0.5, 1, -2.4};
    for (int i = 0; i < 3; i++) assert_near(x->records[i].surrogate * 3, plain[i], 1e-6);
    x->advantages[2] = -4;
    x->c[2] = (float)(-1 + log(10));
    fixture_set(x, "surrogate.dual_clip", "3");
    fixture_ok(x);
    const double dual[] = {-0.5, 1, 12};
    for (int i = 0; i < 3; i++) assert_near(x->records[i].surrogate * 3, dual[i], 1e-6);
    assert_near(x->dlogp[2], 0, 0);
    free(x);
}

static void case_12_penalties(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 3, 0, -1, -1);
    memcpy(x->f, (float[]){0, -15, -30}, 3 * sizeof(float));
    x->batch.logp_reference = x->f;
    fixture_set(x, "penalty.beta", "1");
    const struct {
        const char *name;
        double k[3];
    } rows[] = {{"k1", {-1, 14, 29}}, {"k2", {0.5, 98, 420.5}}, {"k3", {0.718281828, 13.000000832, 28}}};
    for (int e = 0; e < 3; e++)
        for (int t = 0; t < 3; t++) {
            fixture_set(x, "penalty.estimator", rows[e].name);
            memset(x->mask, 0, 3);
            x->mask[t] = 1;
            fixture_ok(x);
            assert_near(x->result.penalty, rows[e].k[t], 1e-6);
        }
    free(x);
}

static void case_13_advantages(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    opsm_error err = {0};
    opsm_group_stats stats;
    memcpy(x->rewards, (float[]){1, 0, 0, 1, 1, 3}, 6 * sizeof(float));
    memcpy(x->groups, (int64_t[]){7, 7, 7, 7, -2, -2}, 6 * sizeof(int64_t));
    x->batch.rewards = x->rewards;
    x->batch.n_sequences = 4;
    float a[6];
    fixture_set(x, "advantage", "grpo");
    assert_ok(opsm_advantages(&x->config, &x->batch, a, &stats, x->workspace, sizeof x->workspace, &err));
    const double grpo[] = {0.865875, -0.865875, -0.865875, 0.865875};
    for (int i = 0; i < 4; i++) assert_near(a[i], grpo[i], 1e-6);
    x->batch.n_sequences = 6;
    fixture_set(x, "advantage", "rloo");
    assert_ok(opsm_advantages(&x->config, &x->batch, a, &stats, x->workspace, sizeof x->workspace, &err));
    assert_near(a[4], -2, 0);
    assert_near(a[5], 2, 0);
    assert_int_equal(stats.groups, 2);
    free(x);
}

/* b is renormalised over a kept mass of 0.95; c is not: drift of 0.051 with equal weights, gone once c is replayed. */
static void case_14_truncated_sampling(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 3, -1, -1 - log(0.95), -1);
    fixture_ok(x);
    assert_near(x->records[0].drift, 0.051293, 1e-6);
    assert_int_equal(x->records[0].keep, 0);
    for (int t = 0; t < 3; t++) x->c[t] = x->b[t];
    fixture_ok(x);
    assert_near(x->records[0].drift, 0, 0);
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_01_three_way),
        cmocka_unit_test(case_02_masked_out_tokens_do_not_count),
        cmocka_unit_test(case_03_equality_keeps),
        cmocka_unit_test(case_04_zero_advantage_keeps),
        cmocka_unit_test(case_05_only_k1_sees_the_direction),
        cmocka_unit_test(case_06_k1_cancels),
        cmocka_unit_test(case_07_whose_log_probs),
        cmocka_unit_test(case_08_loss_and_denominators),
        cmocka_unit_test(case_09_penalty_and_mask),
        cmocka_unit_test(case_10_the_rest_of_a_drifted_sequence),
        cmocka_unit_test(case_11_clips),
        cmocka_unit_test(case_12_penalties),
        cmocka_unit_test(case_13_advantages),
        cmocka_unit_test(case_14_truncated_sampling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
