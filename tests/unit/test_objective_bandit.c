/* SPDX-License-Identifier: Apache-2.0
 *
 * Case 15: an exact bandit under a softmax policy, trained off-policy from a fixed uniform behaviour policy with
 * A = r - V (2506.20520): the support collapses for V at or above the mean reward under mu and survives below it. Each
 * arm is a sequence of one token, so that the batch is the expectation over mu and the gradient has no noise.
 *
 * What this shows, and what it does not:
 * - V = mean, no mask: all mass goes to the best arm, entropy tends to 0.
 * - V below the mean: pi(y) -> mu(y) (r_y - V) / (mean - V); all arms with r > V stay.
 * - V = mean with OPSM: negatives are pushed down by delta and then left alone, but the softmax still drains them while
 *   the positives grow; the mask keeps the support of the *positive* arms, pi(y) -> A_y / sum of positive A.
 * - With one positive arm OPSM therefore does not prevent the collapse on it: there is nothing else to keep.
 */
#include "objective_fixture.h"

enum { ARMS_MAX = 5 };

struct bandit {
    int arms;
    double logits[ARMS_MAX], pi[ARMS_MAX];
};

static void softmax(struct bandit *bandit) {
    double sum = 0;
    for (int y = 0; y < bandit->arms; y++) sum += exp(bandit->logits[y]);
    for (int y = 0; y < bandit->arms; y++) bandit->pi[y] = exp(bandit->logits[y]) / sum;
}

static double entropy(const struct bandit *bandit) {
    double h = 0;
    for (int y = 0; y < bandit->arms; y++) h -= bandit->pi[y] > 0 ? bandit->pi[y] * log(bandit->pi[y]) : 0;
    return h;
}

/* Gradient descent on the objective; d loss / d logit_j = sum_y g_y (1[y = j] - pi_j). */
static void train(struct bandit *bandit, const double *rewards, double baseline, const char *rule, int steps) {
    struct fixture *x = fixture_new();
    fixture_set(x, "surrogate.name", "reinforce");
    fixture_set(x, "mask.rule", rule);
    fixture_set(x, "mask.delta", "0.1");
    for (int y = 0; y < bandit->arms; y++) {
        bandit->logits[y] = 0;
        fixture_add(x, 1, rewards[y] - baseline, -log(bandit->arms), 0);
    }
    for (int step = 0; step < steps; step++) {
        softmax(bandit);
        for (int y = 0; y < bandit->arms; y++) x->c[y] = (float)log(bandit->pi[y]);
        fixture_ok(x);
        double total = 0;
        for (int y = 0; y < bandit->arms; y++) total += (double)x->dlogp[y];
        for (int y = 0; y < bandit->arms; y++) bandit->logits[y] -= 0.5 * ((double)x->dlogp[y] - total * bandit->pi[y]);
    }
    softmax(bandit);
    free(x);
}

static const double rewards[] = {1.0, 0.9, 0.8, 0.1, 0.2}; /* mean 0.6 */

static void baseline_at_the_mean_collapses(void **state) {
    (void)state;
    struct bandit bandit = {.arms = 5};
    train(&bandit, rewards, 0.6, "none", 2000);
    assert_true(entropy(&bandit) < 0.01);
    assert_true(bandit.pi[0] > 0.99);
}

static void baseline_above_the_mean_collapses(void **state) {
    (void)state;
    struct bandit bandit = {.arms = 5};
    train(&bandit, rewards, 0.7, "none", 2000);
    assert_true(entropy(&bandit) < 0.01);
}

static void lower_baseline_keeps_the_support(void **state) {
    (void)state;
    struct bandit bandit = {.arms = 5};
    train(&bandit, rewards, 0.0, "none", 20000);
    for (int y = 0; y < 5; y++) assert_near(bandit.pi[y], rewards[y] / 3.0, 1e-4);
    assert_true(entropy(&bandit) > 1.2);
}

static void mask_keeps_the_positive_arms(void **state) {
    (void)state;
    struct bandit bandit = {.arms = 5};
    train(&bandit, rewards, 0.6, "opsm", 20000);
    const double expected[] = {4.0 / 9, 3.0 / 9, 2.0 / 9};
    for (int y = 0; y < 3; y++) assert_near(bandit.pi[y], expected[y], 1e-3);
    assert_true(bandit.pi[3] < 1e-3 && bandit.pi[4] < 1e-3);
    assert_true(entropy(&bandit) > 1.0);
}

static void mask_cannot_keep_what_is_not_positive(void **state) {
    (void)state;
    const double two[] = {1, 0};
    struct bandit bandit = {.arms = 2};
    train(&bandit, two, 0.5, "none", 4000);
    double unmasked = entropy(&bandit);
    train(&bandit, two, 0.5, "opsm", 4000);
    double masked = entropy(&bandit);
    assert_true(unmasked < 0.01);
    assert_true(masked < 0.05); /* it falls more slowly: only the positive arm pushes */
    assert_true(masked > unmasked);
    train(&bandit, two, -0.5, "none", 4000);
    assert_near(bandit.pi[0], 0.75, 1e-3); /* (1.5, 0.5) / 2 */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(baseline_at_the_mean_collapses),        cmocka_unit_test(baseline_above_the_mean_collapses),
        cmocka_unit_test(lower_baseline_keeps_the_support),      cmocka_unit_test(mask_keeps_the_positive_arms),
        cmocka_unit_test(mask_cannot_keep_what_is_not_positive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
