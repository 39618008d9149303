/* SPDX-License-Identifier: Apache-2.0
 *
 * Two log-probs of the same tokens side by side: what the sums count, row by row and token by token.
 */
#include "audit/pair.h"
#include "check.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 64 };

static double uniform(void) {
    return (double)rand() / RAND_MAX;
}

static void add_row(struct audit_pair *pair, const float *b, const float *c, int n) {
    uint8_t mask[N];
    memset(mask, 1, sizeof mask);
    audit_pair_add(pair, b, c, mask, NULL, n);
}

/* Moments against their definitions, over centred values. */
static void moments_are_what_they_are_called(void **state) {
    (void)state;
    struct audit_pair pair = {0};
    float b[N], c[N];
    double mean_b = 0, mean_c = 0, bb = 0, cc = 0, bc = 0, dd = 0, dc = 0, left = 0;
    srand(3);
    for (int t = 0; t < N; t++) {
        c[t] = (float)(-4 * uniform() - 0.01);
        b[t] = (float)(1.3 * (double)c[t] - 0.2 - 0.3 * uniform());
        mean_b += (double)b[t] / N;
        mean_c += (double)c[t] / N;
    }
    for (int t = 0; t < N; t++) {
        double x = (double)b[t] - mean_b, y = (double)c[t] - mean_c;
        bb += x * x, cc += y * y, bc += x * y;
        dd += (x - y) * (x - y), dc += (x - y) * y;
    }
    double slope = sqrt(bb / cc);
    for (int t = 0; t < N; t++) left += pow((double)b[t] - mean_b - slope * ((double)c[t] - mean_c), 2);
    add_row(&pair, b, c, N / 2); /* in two rows: the sums are of the file */
    add_row(&pair, b + N / 2, c + N / 2, N / 2);
    const struct moments *m = &pair.values;
    assert_near(m->n, N, 0);
    assert_near(moments_mean(m), mean_b, 1e-9);
    assert_near(moments_variance(m), bb / (N - 1), 1e-9);
    assert_near(moments_difference(m), sqrt(dd / (N - 1)), 1e-9);
    assert_near(moments_correlation(m), bc / sqrt(bb * cc), 1e-9);
    assert_near(moments_tilt(m), dc / sqrt(dd * cc), 1e-9);
    assert_near(moments_slope(m), slope, 1e-9);
    assert_near(moments_scatter(m), left / dd, 1e-9);
    assert_true(left / dd > 0.01 && left / dd < 0.9);
    static const struct moments none;
    assert_true(moments_mean(&none) == 0 && moments_variance(&none) == 0 && moments_correlation(&none) == 0);
    assert_true(moments_slope(&none) == 1 && moments_scatter(&none) == 1 && moments_tilt(&none) == 0);
}

static void tokens_are_counted_by_their_difference(void **state) {
    (void)state;
    struct audit_pair pair = {0};
    const float b[] = {-1, -1, -1, -1, -1, -1, 0, -0.5F, NAN, -1, -9};
    const float c[] = {-1, -1.1F, -0.9F, -1.0005F, -2.5F, -0.1F, -0.5F, 0, -1, -INFINITY, -1};
    const uint8_t mask[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0};
    double weights = 0, inverse = 0, weight_squares = 0;
    for (int t = 0; t < 8; t++) {
        double d = (double)b[t] - (double)c[t];
        weights += exp(-d);
        inverse += exp(d);
        weight_squares += exp(-2 * d);
    }
    audit_pair_add(&pair, b, c, mask, NULL, 11);
    assert_int_equal(pair.rows, 1);
    assert_int_equal(pair.tokens, 8); /* neither the one out of the loss nor those that are not finite */
    assert_int_equal(pair.above, 3);
    assert_int_equal(pair.below, 3);
    assert_int_equal(pair.far_above, 1);
    assert_int_equal(pair.far_below, 0);
    assert_int_equal(pair.certain_b, 1);
    assert_int_equal(pair.certain_c, 1);
    assert_near(pair.weights, weights, 1e-9);
    assert_near(pair.inverse, inverse, 1e-9);
    assert_near(pair.weight_squares, weight_squares, 1e-9);
    struct audit_pair far = {0};
    add_row(&far, (const float[]){-9, -1}, (const float[]){-1, -9}, 2);
    assert_near(far.weights, 20 + exp(-8), 1e-9); /* one token must not make the mean */
    assert_near(far.inverse, 20 + exp(-8), 1e-9);
    assert_int_equal(far.far_above, 1);
    assert_int_equal(far.far_below, 1);
}

static void rows_are_counted_by_their_pattern(void **state) {
    (void)state;
    static const struct {
        const char *name;
        float b[4], c[4];
        int equal, near, flat, flat_above, level;
    } rows[] = {
        {"equal", {-1, -2, -3, -1}, {-1, -2, -3, -1}, 1, 1, 0, 0, 0},
        {"rounded", {-1, -2, -3, -1}, {-1.000004F, -2.000004F, -3.000004F, -1.000004F}, 0, 1, 0, 0, 0},
        {"one offset above", {-1, -2, -3, -1}, {-1.5F, -2.5F, -3.5F, -1.5F}, 0, 0, 1, 1, 0},
        {"one offset below", {-1, -2, -3, -1}, {-0.5F, -1.5F, -2.5F, -0.5F}, 0, 0, 1, 0, 0},
        {"a filler on one side", {-1, -1, -1, -1}, {-1, -2, -3, -1}, 0, 0, 0, 0, 1},
        {"drift", {-1, -2, -3, -1}, {-1.1F, -1.9F, -3.4F, -1}, 0, 0, 0, 0, 0},
    };
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        struct audit_pair pair = {0};
        add_row(&pair, rows[k].b, rows[k].c, 4);
        bool good = pair.rows == 1 && pair.equal_rows == rows[k].equal && pair.near_rows == rows[k].near &&
                    pair.flat_rows == rows[k].flat && pair.flat_above == rows[k].flat_above &&
                    pair.level_rows == rows[k].level && pair.measured == 0;
        if (!good) fail_msg("%s", rows[k].name);
    }
    struct audit_pair level = {0}; /* too even for a correlation, however long */
    float b[N], c[N];
    for (int t = 0; t < N; t++) b[t] = -1, c[t] = -1.0F - (float)(t % 3);
    add_row(&level, b, c, N);
    assert_true(level.level_rows == 1 && level.measured == 0);
    struct audit_pair nothing = {0};
    add_row(&nothing, (const float[]){NAN}, (const float[]){-1}, 1);
    add_row(&nothing, NULL, NULL, 0);
    assert_int_equal(nothing.rows, 0);
}

/* Log-probs one place off: b stands beside the c of the token before. */
static void neighbours_are_compared_where_both_are_known(void **state) {
    (void)state;
    struct audit_pair pair = {0};
    float b[N], c[N + 1];
    srand(4);
    for (int t = 0; t <= N; t++) c[t] = (float)(-4 * uniform());
    memcpy(b, c + 1, sizeof b);
    add_row(&pair, b, c, N);
    assert_near(moments_correlation(&pair.ahead), 1, 1e-6);
    assert_true(fabs(moments_correlation(&pair.behind)) < 0.5);
    assert_near(pair.ahead.n, N - 1, 0);
    assert_int_equal(pair.measured, 1);
    assert_int_equal(pair.unrelated, 1);
    assert_int_equal(pair.crossed, 1);
    struct audit_pair back = {0};
    add_row(&back, c, b, N);
    assert_near(moments_correlation(&back.behind), 1, 1e-6);
    struct audit_pair gaps = {0};
    c[20] = NAN;
    add_row(&gaps, b, c, N);
    assert_near(gaps.ahead.n, N - 3, 0); /* around the unknown one there are no neighbours */
    struct audit_pair same = {0}, apart = {0};
    add_row(&same, b, b, N);
    assert_int_equal(same.measured, 1);
    assert_int_equal(same.unrelated, 0);
    for (int t = 0; t < N; t++) c[t] = (float)(-5 - 3 * uniform()); /* unrelated, but on one side of b throughout */
    for (int t = 0; t < N; t++) b[t] = (float)(-3 * uniform());
    add_row(&apart, b, c, N);
    assert_int_equal(apart.unrelated, 1);
    assert_int_equal(apart.crossed, 0);
}

static void a_factor_is_told_from_an_offset(void **state) {
    (void)state;
    float b[N], c[N], shifted[N];
    srand(5);
    for (int t = 0; t < N; t++) {
        c[t] = (float)(-4 * uniform() - 0.6);
        b[t] = 1.25F * c[t];
        shifted[t] = c[t] - 0.5F;
    }
    struct audit_pair pair = {0}, offset = {0}, same = {0};
    double k;
    int64_t tokens;
    add_row(&pair, b, c, N);
    assert_true(pair_is_proportional(&pair, &k, &tokens));
    assert_near(k, 1.25, 1e-6);
    assert_int_equal(tokens, N);
    assert_near(pair.scaled.n, N, 0);
    add_row(&offset, shifted, c, N);
    assert_false(pair_is_proportional(&offset, &k, &tokens));
    add_row(&same, c, c, N);
    assert_false(pair_is_proportional(&same, &k, &tokens));
    for (int t = 0; t < N; t++) c[t] = (float)(-2 - 0.05 * uniform()); /* so narrow that an offset is a factor nearly */
    for (int t = 0; t < N; t++) shifted[t] = (float)((double)c[t] - 0.5 - 0.01 * uniform());
    struct audit_pair narrow = {0};
    add_row(&narrow, shifted, c, N);
    assert_false(pair_is_proportional(&narrow, &k, &tokens));
    assert_true(tokens == N && fabs(log(k)) > 0.05);
    struct audit_pair few = {0};
    for (int t = 0; t < N; t++) c[t] = b[t] / 1.25F;
    add_row(&few, b, c, 31);
    assert_false(pair_is_proportional(&few, &k, &tokens));
}

/* Repeated and new tokens, among tokens alike. */
static void repetitions_stand_apart(void **state) {
    (void)state;
    struct audit_pair pair = {0};
    const float c[] = {-0.05F, -0.3F, -1, -3, -5, -3}, b[] = {-0.1F, -0.4F, -1.1F, -3.5F, -5.1F, -3.25F};
    const uint8_t mask[] = {1, 1, 1, 1, 1, 1}, repeated[] = {0, 1, 0, 1, 0, 0};
    audit_pair_add(&pair, b, c, mask, repeated, 6);
    static const double fresh[PAIR_STRATA] = {1, 0, 1, 1, 1}, met[PAIR_STRATA] = {0, 1, 0, 1, 0};
    for (int k = 0; k < PAIR_STRATA; k++) {
        assert_near(pair.fresh[k].n, fresh[k], 0);
        assert_near(pair.repeated[k].n, met[k], 0);
    }
    assert_near(moments_mean(&pair.repeated[3]), -0.5, 1e-6);
    assert_near(moments_mean(&pair.fresh[3]), -0.25, 1e-6);
    assert_near(pair.odds.n, 4, 0); /* of new tokens alone */
    double odds =
        -0.1 - log1p(-exp(-0.1)) - 1.1 - log1p(-exp(-1.1)) - 5.1 - log1p(-exp(-5.1)) - 3.25 - log1p(-exp(-3.25));
    assert_near(moments_mean(&pair.odds), odds / 4, 1e-6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_are_what_they_are_called),
        cmocka_unit_test(tokens_are_counted_by_their_difference),
        cmocka_unit_test(rows_are_counted_by_their_pattern),
        cmocka_unit_test(neighbours_are_compared_where_both_are_known),
        cmocka_unit_test(a_factor_is_told_from_an_offset),
        cmocka_unit_test(repetitions_stand_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
