/* SPDX-License-Identifier: Apache-2.0
 *
 * What is said at the end of a run that taught nothing or broke the model.
 */
#include "check.h"
#include "train/diagnosis.h"
#include <math.h>

enum { GROUPS = 16 };

static struct diagnosis_row row(double reward, double drift, int silent) {
    return (struct diagnosis_row){.reward = reward,
                                  .reward_std = 0.2,
                                  .lowest = reward,
                                  .highest = reward,
                                  .drift = drift,
                                  .groups = GROUPS,
                                  .silent = silent};
}

/* The sentence about `n` equal iterations, "" for none. */
static const char *signal_of(double score, int silent, int n) {
    static char said[1000];
    struct diagnosis_row rows[100] = {0};
    struct text sentence = {0};
    for (int i = 0; i < n; i++) rows[i] = row(score, 0, silent);
    bool speaks = diagnose_signal(rows, n, &sentence);
    snprintf(said, sizeof said, "%s", speaks ? sentence.data : "");
    text_free(&sentence);
    return said;
}

static void no_signal(void **state) {
    (void)state;
    const char *zero = signal_of(0, GROUPS, 5);
    const char *const parts[] = {"no group had both better and worse answers in 5 iterations: nothing was learnt",
                                 "; every answer was judged 0", "opsm sft", "opsm reward"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) assert_non_null(strstr(zero, parts[i]));
    assert_non_null(strstr(signal_of(1, GROUPS, 5), "judged right: try harder problems"));
    assert_non_null(strstr(signal_of(0.5, GROUPS, 5), "try more answers a problem"));
    assert_string_equal(signal_of(0.5, GROUPS - 1, 5), "");
    struct diagnosis_row two = row(0, 0, GROUPS); /* the right form, and never the right answer */
    struct text said = {0};
    two.highest = 1;
    assert_true(diagnose_signal(&two, 1, &said));
    assert_non_null(strstr(said.data, "or a reward that tells answers apart"));
    text_free(&said);
    assert_string_equal(signal_of(0, GROUPS, 0), "");
    struct diagnosis_row rows[10];
    for (int i = 0; i < 10; i++) rows[i] = row(0.01, 0, i ? GROUPS : GROUPS - 3);
    struct text sentence = {0};
    assert_true(diagnose_signal(rows, 10, &sentence));
    assert_non_null(strstr(sentence.data, "only 3 of 160 groups had both better and worse answers: little was learnt"));
    text_free(&sentence);
}

static const char *collapse_of(const double *rewards, int n, double drift, int64_t nonfinite, int staleness) {
    static char said[1000];
    struct diagnosis_row rows[100] = {0};
    struct run_config config = {.optim.lr = 3e-2, .schedule.staleness = staleness};
    struct text sentence = {0};
    for (int i = 0; i < n; i++) rows[i] = row(rewards[i], i == 1 ? drift : NAN, 0);
    bool speaks = diagnose_collapse(rows, n, nonfinite, &config, &sentence);
    snprintf(said, sizeof said, "%s", speaks ? sentence.data : "");
    text_free(&sentence);
    return said;
}

static void collapse_and_leaps(void **state) {
    (void)state;
    const double fallen[] = {0.3, 0.5, 0.8, 0.7, 0.1, 0.1}, held[] = {0.3, 0.5, 0.8, 0.7, 0.1, 0.5};
    const double noise[] = {0.06, 0.08, 0.06, 0.02, 0.01, 0.02};
    const char *said = collapse_of(fallen, 6, 0.1, 0, 0);
    assert_non_null(strstr(said, "the reward collapsed: from 0.800 in iteration 3 to 0.100 in the last third"));
    assert_non_null(strstr(said, "objective.mask.delta"));
    assert_string_equal(collapse_of(held, 6, 0.1, 0, 0), "");
    assert_string_equal(collapse_of(noise, 6, 0.1, 0, 0), "");
    assert_string_equal(collapse_of(fallen, 0, 0.1, 0, 0), "");
    said = collapse_of(noise, 6, 4.4, 0, 0);
    assert_non_null(strstr(said, "in iteration 2 the policy moved by 4.4 nats a token within a batch"));
    assert_non_null(strstr(said, "the learning rate is too high: try optim.lr=3e-03 (now 0.03)"));
    assert_string_equal(collapse_of(noise, 6, 4.4, 0, 4), "");
    assert_non_null(
        strstr(collapse_of(held, 6, 0.1, 7, 0), "7 optimiser steps were not finite and skipped; the learning"));
    said = collapse_of(fallen, 6, 2, 0, 0);
    assert_non_null(strstr(said, "the reward collapsed"));
    assert_non_null(strstr(said, "optim.lr=3e-03"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_signal),
        cmocka_unit_test(collapse_and_leaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
