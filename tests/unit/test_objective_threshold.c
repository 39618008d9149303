/* SPDX-License-Identifier: Apache-2.0
 *
 * Threshold policies on records with known drifts, the noise floor, saving and restoring, and the fixed arithmetic that
 * every instruction set must reproduce.
 */
#include "objective_fixture.h"

static opsm_sequence record(double advantage, double drift, int keep) {
    return (opsm_sequence){
        .advantage = advantage, .drift = drift, .drift_k1 = drift, .tokens = 4, .keep = (uint8_t)keep};
}

static void update(struct fixture *x, opsm_threshold *threshold, const opsm_sequence *records, int64_t n) {
    opsm_error err = {0};
    assert_ok(opsm_threshold_update(&x->config, threshold, records, n, x->workspace, sizeof x->workspace, &err));
}

static struct fixture *with_policy(const char *policy, opsm_threshold *threshold) {
    struct fixture *x = fixture_new();
    opsm_error err = {0};
    fixture_set(x, "mask.policy", policy);
    assert_ok(opsm_threshold_start(&x->config, threshold, &err));
    return x;
}

/* Negatives drift 0.01, 0.03, NaN; q = 0.5 -> 0.02; delta 0.05 -> exp(0.9 ln 0.05 + 0.1 ln 0.02) = 0.0456220. */
static void quantile_moves_in_log_space(void **state) {
    (void)state;
    opsm_threshold threshold;
    struct fixture *x = with_policy("quantile", &threshold);
    fixture_set(x, "mask.quantile", "0.5");
    const opsm_sequence records[] = {record(-1, 0.01, 1), record(1, 9, 1), record(-1, NAN, 0), record(-2, 0.03, 0)};
    update(x, &threshold, records, 4);
    assert_near(threshold.delta, 0.045622, 1e-6);
    assert_near(opsm_threshold_delta(&x->config, &threshold, 10), threshold.delta, 0);
    for (int k = 0; k < 300; k++) update(x, &threshold, records, 4);
    assert_near(threshold.delta, 0.02, 1e-9);
    free(x);
}

static void quantile_has_floor_and_ceiling(void **state) {
    (void)state;
    opsm_threshold threshold;
    opsm_error err = {0};
    struct fixture *x = with_policy("quantile", &threshold);
    fixture_set(x, "mask.floor", "0.004");
    const opsm_sequence still[] = {record(-1, -0.5, 1), record(-1, 0, 1)}, burst[] = {record(-1, 7, 0)};
    for (int k = 0; k < 400; k++) update(x, &threshold, still, 2);
    assert_near(threshold.delta, 0.004, 1e-12);
    for (int k = 0; k < 400; k++) update(x, &threshold, burst, 1);
    assert_near(threshold.delta, 0.1, 1e-12);
    /* Engine noise of +-0.02 around 0: floor 3 sd, above the configured one. */
    const opsm_sequence noise[] = {record(1, 0.02, 1), record(-1, -0.02, 1), record(0, NAN, 1)};
    assert_ok(opsm_threshold_calibrate(&threshold, noise, 3, &err));
    assert_near(threshold.noise_sd, 0.02 * sqrt(2), 1e-15);
    assert_near(threshold.noise_floor, 0.06 * sqrt(2), 1e-15);
    for (int k = 0; k < 400; k++) update(x, &threshold, still, 2);
    assert_near(threshold.delta, 0.06 * sqrt(2), 1e-12);
    free(x);
}

static void nothing_to_learn_from_moves_nothing(void **state) {
    (void)state;
    opsm_threshold threshold;
    opsm_error err = {0};
    const char *policies[] = {"fixed", "length", "quantile", "controller", "auto"};
    for (int k = 0; k < 5; k++) {
        struct fixture *x = with_policy(policies[k], &threshold);
        const opsm_sequence records[] = {record(1, 0.5, 1), record(-1, NAN, 0)};
        double before = threshold.delta;
        update(x, &threshold, records, 2);
        update(x, &threshold, records, 0);
        assert_true(threshold.delta == before);
        assert_int_equal(threshold.updates, 2);
        assert_ok(opsm_threshold_calibrate(&threshold, records, 1, &err));
        assert_int_equal(threshold.calibrations, 0);
        free(x);
    }
}

/* Kept negatives at twice the target: log delta falls by min(ln 2, 0.2) = 0.2; at 1.1 times by ln 1.1. */
static void controller_is_bounded(void **state) {
    (void)state;
    opsm_threshold threshold;
    struct fixture *x = with_policy("controller", &threshold);
    const opsm_sequence fast[] = {record(-1, 0.02, 1), record(-1, 5, 0), record(1, 3, 1)};
    update(x, &threshold, fast, 3);
    assert_near(threshold.delta, 0.05 * exp(-0.2), 1e-15);
    const opsm_sequence near_target[] = {record(-1, 0.011, 1)};
    update(x, &threshold, near_target, 1);
    assert_near(threshold.delta, 0.05 * exp(-0.2) / 1.1, 1e-12);
    const opsm_sequence backwards[] = {record(-1, -0.5, 1)};
    update(x, &threshold, backwards, 1);
    assert_near(threshold.delta, 0.05 / 1.1, 1e-12);
    free(x);
}

/* Two nats a sequence at full trust; never below the noise floor. */
static void auto_spreads_a_budget(void **state) {
    (void)state;
    opsm_threshold threshold;
    struct fixture *x = with_policy("auto", &threshold);
    assert_near(opsm_threshold_delta(&x->config, NULL, 10), 0.2, 1e-15);
    assert_near(opsm_threshold_delta(&x->config, &threshold, 10), 0.2, 1e-15);
    assert_near(opsm_threshold_delta(&x->config, &threshold, 0), 2, 0);
    threshold.trust = 0.5;
    assert_near(opsm_threshold_delta(&x->config, &threshold, 10), 0.1, 1e-15);
    threshold.noise_floor = 0.3;
    assert_near(opsm_threshold_delta(&x->config, &threshold, 10), 0.3, 0);
    fixture_set(x, "mask.reduce", "sum");
    assert_near(opsm_threshold_delta(&x->config, &threshold, 10), 1, 0);
    fixture_set(x, "mask.budget", "3");
    assert_near(opsm_threshold_delta(&x->config, &threshold, 10), 1.5, 0);
    free(x);
}

/* Four tokens each: weights exp(-0.1 x 4) = 0.670320 and exp(0.05 x 4) = 1.221403, mean 0.945861: decline 0.2 x
 * 0.054139, then 0.2 x 0.054139 x 1.8, then 0.026418 > 0.02. The negative and the unknown do not count. */
static void trust_falls_where_good_answers_do(void **state) {
    (void)state;
    opsm_threshold threshold;
    struct fixture *x = with_policy("fixed", &threshold);
    const opsm_sequence hurt[] = {record(1, 0.1, 1), record(-1, 9, 0), record(2, -0.05, 1), record(1, NAN, 1)};
    const opsm_sequence well[] = {record(1, -0.04, 1), record(-1, 9, 0)}; /* exp(0.16) = 1.173511 */
    update(x, &threshold, hurt, 4);
    assert_near(threshold.decline, 0.0108277, 1e-6);
    assert_near(threshold.trust, 1, 0);
    update(x, &threshold, hurt, 4);
    assert_near(threshold.decline, 0.0194899, 1e-6);
    assert_near(threshold.trust, 1, 0);
    update(x, &threshold, hurt, 4);
    assert_near(threshold.decline, 0.0264196, 1e-6);
    assert_near(threshold.trust, 0.7, 1e-15);
    update(x, &threshold, well, 2);
    assert_near(threshold.decline, 0.8 * 0.0264196 - 0.2 * 0.173511, 1e-6);
    assert_near(threshold.trust, 0.721, 1e-15);
    struct opsm_threshold before = threshold;
    update(x, &threshold, well + 1, 1); /* no positives: nothing is known */
    assert_near(threshold.trust, before.trust, 0);
    assert_near(threshold.decline, before.decline, 0);
    for (int k = 0; k < 100; k++) update(x, &threshold, hurt, 4);
    assert_near(threshold.trust, 0.01, 0);
    for (int k = 0; k < 400; k++) update(x, &threshold, well, 2);
    assert_near(threshold.trust, 1, 0);
    free(x);
}

/* Right answers that give way to other right answers are no decline, though their mean drift is upwards; one lucky
 * sequence counts for eight at most. */
static void giving_way_is_no_decline(void **state) {
    (void)state;
    opsm_threshold threshold;
    struct fixture *x = with_policy("auto", &threshold);
    const opsm_sequence shifted[] = {record(1, 0.5, 1), record(1, -0.2, 1)}; /* weights 0.135335 and 2.225541 */
    update(x, &threshold, shifted, 2);
    assert_near(threshold.decline, 0.2 * (1 - 1.180438), 1e-6);
    opsm_error err = {0};
    assert_ok(opsm_threshold_start(&x->config, &threshold, &err));
    const opsm_sequence lucky[] = {record(1, -200, 1)};
    update(x, &threshold, lucky, 1);
    assert_near(threshold.decline, 0.2 * (1 - 8.0), 1e-12);
    assert_ok(opsm_threshold_check(&threshold, &err));
    free(x);
}

/* On-policy drift is exactly zero; the mean of engine noise is no decline. */
static void noise_is_no_decline(void **state) {
    (void)state;
    opsm_threshold threshold;
    opsm_error err = {0};
    struct fixture *x = with_policy("auto", &threshold);
    const opsm_sequence still[] = {record(1, 0, 1), record(-1, 0, 1)};
    for (int k = 0; k < 50; k++) update(x, &threshold, still, 2);
    assert_near(threshold.decline, 0, 0);
    const opsm_sequence noise[] = {record(1, 0.05, 1), record(1, 0.03, 1), record(-1, 0.04, 1)}; /* 0.04 +- 0.01 */
    assert_ok(opsm_threshold_calibrate(&threshold, noise, 3, &err));
    for (int k = 0; k < 50; k++) update(x, &threshold, noise, 3);
    assert_true(threshold.decline < 1e-3 && threshold.decline > -1e-3);
    assert_near(threshold.trust, 1, 0);
    free(x);
}

static void brake_follows_trust(void **state) {
    (void)state;
    opsm_threshold threshold;
    struct fixture *x = with_policy("auto", &threshold);
    threshold.trust = 0.0625;
    assert_near(opsm_guard_factor(&x->config, &threshold, NULL, 0), 0.5, 0);
    assert_near(opsm_guard_factor(&x->config, NULL, NULL, 0), 1, 0);
    fixture_set(x, "guard", "none");
    assert_near(opsm_guard_factor(&x->config, &threshold, NULL, 0), 1, 0);
    fixture_set(x, "guard", "trust");
    fixture_set(x, "mask.policy", "fixed");
    assert_near(opsm_guard_factor(&x->config, &threshold, NULL, 0), 0.5, 0);
    fixture_set(x, "guard", "policy");
    assert_near(opsm_guard_factor(&x->config, &threshold, NULL, 0), 1, 0);
    /* Without behaviour log-probs there is no drift to brake by: refused, not ignored. */
    fixture_set(x, "mask.rule", "none");
    fixture_set(x, "guard", "trust");
    fixture_set(x, "surrogate.name", "reinforce");
    fixture_add(x, 1, -1, NAN, -1);
    x->batch.logp_behavior = NULL;
    assert_int_equal(fixture_run(x), OPSM_MISSING);
    free(x);
}

/* The mask uses the state's threshold, not the configured one. */
static void state_decides(void **state) {
    (void)state;
    opsm_threshold threshold;
    struct fixture *x = with_policy("quantile", &threshold);
    fixture_add(x, 2, -1, -1, -1.03);
    x->state = &threshold;
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 1);
    threshold.delta = 0.02;
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 0);
    assert_near(x->metrics.delta, 0.02, 0);
    free(x);
}

static void saved_as_bytes(void **state) {
    (void)state;
    opsm_threshold threshold, restored;
    opsm_error err = {0};
    struct fixture *x = with_policy("controller", &threshold);
    const opsm_sequence records[] = {record(-1, 0.02, 1)};
    update(x, &threshold, records, 1);
    unsigned char bytes[sizeof threshold];
    memcpy(bytes, &threshold, sizeof bytes);
    memcpy(&restored, bytes, sizeof bytes);
    assert_ok(opsm_threshold_check(&restored, &err));
    update(x, &threshold, records, 1);
    update(x, &restored, records, 1);
    assert_memory_equal(&threshold, &restored, sizeof restored);
    restored.magic ^= 1;
    assert_int_equal(opsm_threshold_check(&restored, &err), OPSM_FORMAT);
    restored = threshold;
    restored.delta = NAN;
    assert_int_equal(opsm_threshold_check(&restored, &err), OPSM_FORMAT);
    restored = threshold;
    restored.trust = 0;
    assert_int_equal(opsm_threshold_check(&restored, &err), OPSM_FORMAT);
    restored = threshold;
    restored.decline = NAN;
    assert_int_equal(opsm_threshold_check(&restored, &err), OPSM_FORMAT);
    x->state = &restored;
    fixture_add(x, 1, -1, -1, -1);
    assert_int_equal(fixture_run(x), OPSM_FORMAT);
    assert_int_equal(opsm_threshold_check(NULL, &err), OPSM_FORMAT);
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantile_moves_in_log_space),
        cmocka_unit_test(quantile_has_floor_and_ceiling),
        cmocka_unit_test(nothing_to_learn_from_moves_nothing),
        cmocka_unit_test(controller_is_bounded),
        cmocka_unit_test(auto_spreads_a_budget),
        cmocka_unit_test(trust_falls_where_good_answers_do),
        cmocka_unit_test(giving_way_is_no_decline),
        cmocka_unit_test(noise_is_no_decline),
        cmocka_unit_test(brake_follows_trust),
        cmocka_unit_test(state_decides),
        cmocka_unit_test(saved_as_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
