/* SPDX-License-Identifier: Apache-2.0
 *
 * Expected values: tests/golden/make_intervals.py (scipy, exact fractions), unless a comment says otherwise.
 */
#include "base/rng.h"
#include "check.h"
#include "train/interval.h"
#include <math.h>

static void rates(void **state) {
    (void)state;
    const struct {
        int64_t right, trials;
        double low, high;
    } rows[] = {
        {0, 10, 0.000000000000, 0.277532799863},     {10, 10, 0.722467200137, 1.000000000000},
        {7, 10, 0.396778147461, 0.892208732594},     {1, 3, 0.061491944720, 0.792340399198},
        {512, 1000, 0.481032554406, 0.542875603390}, {999, 1000, 0.994357441402, 0.999823453629},
        {3, 100000, 0.000010202759, 0.000088208049},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct interval found = interval_rate(rows[i].right, rows[i].trials);
        assert_near(found.estimate, (double)rows[i].right / (double)rows[i].trials, 1e-15);
        assert_near(found.low, rows[i].low, 2e-12);
        assert_near(found.high, rows[i].high, 2e-12);
    }
    struct interval none = interval_rate(0, 0);
    assert_true(isnan(none.estimate) && none.low == 0 && none.high == 1);
}

static void pass_at_k_is_unbiased(void **state) {
    (void)state;
    const struct {
        int64_t n, c, k;
        double expected;
    } rows[] = {
        {10, 3, 1, 0.3},     {10, 3, 5, 0.916666666666667},
        {10, 8, 3, 1},       {200, 17, 100, 0.999996367690840},
        {5, 0, 5, 0},        {5, 1, 5, 1},
        {1000, 1, 10, 0.01}, {64, 32, 8, 0.997623608897208},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_near(pass_at_k(rows[i].n, rows[i].c, rows[i].k), rows[i].expected, 1e-14);
    assert_true(isnan(pass_at_k(5, 1, 6)) && isnan(pass_at_k(5, 1, 0)) && isnan(pass_at_k(5, 6, 1)));
    assert_true(isnan(pass_at_k(5, -1, 1)));
}

/* By hand. Four problems, four samples, 4 4 0 2 right: pass@1 1 1 0 0.5, mean 0.625, variance 0.229166..., so the
 * effective number is 0.234375 / (0.2291666/4) = 4.0909...; Wilson there gives the two bounds. pass@2 of 2 in 4 is 5/6.
 */
static void pass_at_k_over_problems(void **state) {
    (void)state;
    const int64_t right[] = {4, 4, 0, 2};
    struct interval found = interval_pass_at_k(right, NULL, 4, 4, 1);
    assert_near(found.estimate, 0.625, 1e-15);
    assert_near(found.low, 0.222169, 1e-6);
    assert_near(found.high, 0.906762, 1e-6);
    assert_near(interval_pass_at_k(right, NULL, 4, 4, 2).estimate, (2 + 5.0 / 6) / 4, 1e-15);

    const int64_t all[] = {4, 4, 4}, half[] = {2, 2, 2};
    struct interval certain = interval_pass_at_k(all, NULL, 3, 4, 1), plain = interval_rate(3, 3);
    assert_near(certain.low, plain.low, 1e-15);
    assert_near(certain.high, 1, 1e-15);
    struct interval even = interval_pass_at_k(half, NULL, 3, 4, 1); /* no variance: capped at the 12 samples */
    assert_near(even.low, interval_rate(6, 12).low, 1e-15);
    assert_true(isnan(interval_pass_at_k(right, NULL, 4, 4, 5).estimate));
    assert_true(isnan(interval_pass_at_k(right, NULL, 0, 4, 1).estimate));
    struct interval one = interval_pass_at_k(half, NULL, 1, 4, 1);
    assert_true(one.low > 0 && one.high < 1);
}

/* What an interval is for: it covers the true rate in 95 of 100 runs, also when the samples of a problem go together.
 */
static void pass_at_k_intervals_cover(void **state) {
    (void)state;
    enum { RUNS = 4000, PROBLEMS = 100, SAMPLES = 8 };
    struct rng r = rng_make(3, RNG_TEST, 0, 0, 0);
    int covered = 0, covered_naive = 0;
    for (int run = 0; run < RUNS; run++) {
        int64_t right[PROBLEMS], total = 0;
        for (int i = 0; i < PROBLEMS; i++) {
            double rate = rng_unit(&r) < 0.7 ? 0.05 : 0.95; /* true mean 0.32 */
            right[i] = 0;
            for (int s = 0; s < SAMPLES; s++) right[i] += rng_unit(&r) < rate;
            total += right[i];
        }
        struct interval honest = interval_pass_at_k(right, NULL, PROBLEMS, SAMPLES, 1);
        struct interval naive = interval_rate(total, (int64_t)PROBLEMS * SAMPLES);
        covered += honest.low <= 0.32 && 0.32 <= honest.high;
        covered_naive += naive.low <= 0.32 && 0.32 <= naive.high;
    }
    assert_near((double)covered / RUNS, 0.95, 0.014); /* four standard deviations */
    assert_true(covered_naive < 0.7 * RUNS);          /* what ignoring the problems would give */
}

static void student(void **state) {
    (void)state;
    const struct {
        int64_t df;
        double expected;
    } rows[] = {{1, 12.7062047362}, {2, 4.3026527297},   {5, 2.5705818356},    {10, 2.2281388520},
                {29, 2.0452296421}, {30, 2.0422724563},  {31, 2.0395134464},   {40, 2.0210753903},
                {60, 2.0002978220}, {100, 1.9839715185}, {1000, 1.9623390808}, {100000, 1.9599877075}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_near(student_t975(rows[i].df) / rows[i].expected, 1, 2e-4);
    assert_true(isinf(student_t975(0)));
}

static void means(void **state) {
    (void)state;
    const double values[] = {0.959, 0.956, 0.914, 0.975, 0.967};
    struct interval found = interval_mean(values, 5);
    assert_near(found.estimate, 0.9542, 1e-12);
    assert_near(found.low, 0.924824738428, 1e-9);
    assert_near(found.high, 0.983575261572, 1e-9);
    assert_true(isinf(interval_mean(values, 1).high) && isnan(interval_mean(values, 0).estimate));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates),
        cmocka_unit_test(pass_at_k_is_unbiased),
        cmocka_unit_test(pass_at_k_over_problems),
        cmocka_unit_test(pass_at_k_intervals_cover),
        cmocka_unit_test(student),
        cmocka_unit_test(means),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
