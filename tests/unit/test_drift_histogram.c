/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"
#include "train/drift_histogram.h"
#include <math.h>

static void edges_ascend_and_mirror(void **state) {
    (void)state;
    for (int i = 0; i + 1 < DRIFT_EDGES; i++) assert_true(drift_edges[i] < drift_edges[i + 1]);
    for (int i = 0; i < DRIFT_EDGES; i++) assert_true(drift_edges[i] == -drift_edges[DRIFT_EDGES - 1 - i]);
}

/* The mask drops X > delta: a drift of exactly delta lies below the edge delta. */
static void an_edge_belongs_to_the_bin_below(void **state) {
    (void)state;
    for (int i = 0; i < DRIFT_EDGES; i++) {
        assert_int_equal(drift_bin(drift_edges[i]), i);
        assert_int_equal(drift_bin(nextafter(drift_edges[i], INFINITY)), i + 1);
        assert_int_equal(drift_bin(nextafter(drift_edges[i], -INFINITY)), i);
    }
    assert_int_equal(drift_bin(-1e300), 0);
    assert_int_equal(drift_bin(1e300), DRIFT_BINS - 1);
    assert_int_equal(drift_bin(-0.0), drift_bin(0.0));
}

static void signs_are_counted_apart(void **state) {
    (void)state;
    struct drift_histogram h = {0};
    const double cases[][2] = {{-1, 0.04}, {-0.5, 0.04},  {1, 0.04}, {0, 0.04},       {-0.0, 0.04},
                               {-1, NAN},  {1, INFINITY}, {1, -2},   {-1, -INFINITY}, {NAN, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) drift_count(&h, cases[i][0], cases[i][1]);
    int64_t negatives = 0, positives = 0;
    for (int i = 0; i < DRIFT_BINS; i++) {
        negatives += h.negative[i];
        positives += h.positive[i];
    }
    assert_int_equal(negatives, 2);
    assert_int_equal(positives, 2);
    assert_int_equal(h.negative[drift_bin(0.04)], 2);
    assert_int_equal(h.positive[drift_bin(0.04)], 1);
    assert_int_equal(h.positive[drift_bin(-2)], 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edges_ascend_and_mirror),
        cmocka_unit_test(an_edge_belongs_to_the_bin_below),
        cmocka_unit_test(signs_are_counted_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
