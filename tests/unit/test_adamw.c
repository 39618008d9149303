/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/adamw.h"
#include "numeric.h"

static void follows_the_algorithm(void **state) {
    (void)state;
    const int64_t n = 100003;
    const int64_t decay_from = 50000; /* two calls: without and with decay */
    float *w = random_floats(1, n, 1.0f), *m = zero_floats(n), *v = zero_floats(n);
    double *w_ref = mem_alloc((size_t)n, sizeof *w_ref), *m_ref = mem_zalloc((size_t)n, sizeof *m_ref);
    double *v_ref = mem_zalloc((size_t)n, sizeof *v_ref);
    for (int64_t i = 0; i < n; i++) w_ref[i] = (double)w[i];
    for (int t = 1; t <= 5; t++) {
        float *g = random_floats(100 + (uint32_t)t, n, 0.01f);
        g[7] = 0.0f;
        const struct adamw_step step = {.lr = 0.01f,
                                        .beta1 = 0.9f,
                                        .beta2 = 0.99f,
                                        .eps = 1e-8f,
                                        .weight_decay = 0.1f,
                                        .grad_scale = 0.5f,
                                        .bias1 = (float)(1 - pow(0.9, t)),
                                        .bias2 = (float)(1 - pow(0.99, t))};
        adamw_update(w, m, v, g, decay_from, &step, false);
        adamw_update(w + decay_from, m + decay_from, v + decay_from, g + decay_from, n - decay_from, &step, true);
        for (int64_t i = 0; i < n; i++) {
            double grad = (double)g[i] * 0.5;
            m_ref[i] = 0.9 * m_ref[i] + 0.1 * grad;
            v_ref[i] = 0.99 * v_ref[i] + 0.01 * grad * grad;
            double mean = m_ref[i] / (1 - pow(0.9, t)), square = v_ref[i] / (1 - pow(0.99, t));
            w_ref[i] -= 0.01 * (mean / (sqrt(square) + 1e-8) + (i >= decay_from ? 0.1 * w_ref[i] : 0.0));
        }
        mem_free(g);
    }
    assert_close(w, w_ref, n, 1e-6);
    assert_close(m, m_ref, n, 1e-7);
    assert_close(v, v_ref, n, 1e-8);
    assert_true(v[7] == 0.0f && m[7] == 0.0f);
    mem_free(w);
    mem_free(m);
    mem_free(v);
    mem_free(w_ref);
    mem_free(m_ref);
    mem_free(v_ref);
}

static void threads_change_nothing(void **state) {
    (void)state;
    const int64_t n = 300001;
    const struct adamw_step step = {0.01f, 0.9f, 0.99f, 1e-8f, 0.1f, 1.0f, 0.1f, 0.01f};
    float *w[3], *m, *v, *g = random_floats(2, n, 1.0f);
    double sums[3];
    for (int t = 0; t < 3; t++) {
        threads_set(t + 1);
        w[t] = random_floats(1, n, 1.0f);
        m = zero_floats(n);
        v = zero_floats(n);
        adamw_update(w[t], m, v, g, n, &step, true);
        sums[t] = sum_squares(w[t], n);
        assert_same_bits(w[t], w[0], (size_t)n * sizeof(float));
        assert_true(sums[t] == sums[0]);
        mem_free(m);
        mem_free(v);
    }
    for (int t = 0; t < 3; t++) mem_free(w[t]);
    mem_free(g);
}

static void sum_of_squares(void **state) {
    (void)state;
    const int64_t sizes[] = {0, 1, 15, 17, 16384, 16385, 20000000};
    float *x = random_floats(3, 20000000, 1.0f);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        long double exact = 0;
        for (int64_t i = 0; i < sizes[s]; i++) exact += (long double)x[i] * (long double)x[i];
        assert_near(sum_squares(x, sizes[s]), (double)exact, 1e-12 * (double)exact);
    }
    float big[3] = {1e30f, -1e30f, 3e-30f};
    assert_near(sum_squares(big, 3), 2.0 * (double)1e30f * (double)1e30f, 1e48); /* beyond the range of float */
    for (int64_t at = 0; at < 40000; at += 7777) {
        float old = x[at];
        x[at] = NAN;
        assert_true(isnan(sum_squares(x, 40000)));
        x[at] = -INFINITY;
        assert_true(sum_squares(x, 40000) == INFINITY);
        x[at] = old;
    }
    mem_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_algorithm),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(sum_of_squares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
