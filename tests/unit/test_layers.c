/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/convert.h"
#include "kernels/layers.h"
#include "kernels/scratch.h"
#include "numeric.h"

static const int64_t sizes[] = {1, 7, 15, 16, 17, 64, 100, 576, 1025, 2500};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

/* Fails unless `call`, which fills `bytes` at `result`, gives the same bits at 1, 2 and 3 threads. */
#define SAME_AT_ALL_THREADS(result, bytes, call)                                                                       \
    do {                                                                                                               \
        void *first = NULL;                                                                                            \
        for (int threads = 1; threads <= 3; threads++) {                                                               \
            threads_set(threads);                                                                                      \
            call;                                                                                                      \
            if (!first) memcpy(first = mem_alloc(1, bytes), result, bytes);                                            \
            assert_same_bits(first, result, bytes);                                                                    \
        }                                                                                                              \
        mem_free(first);                                                                                               \
    } while (0)

static void rmsnorm_matches_the_definition(void **state) {
    (void)state;
    const int64_t m = 150;
    const float eps = 1e-5f;
    for (int s = 0; s < N_SIZES; s++) {
        const int64_t dim = sizes[s], n = m * dim;
        float *x = random_floats(1, n, 2.0f), *w = random_floats(2, dim, 1.0f), *y = zero_floats(n),
              *rstd = zero_floats(m);
        double *expected = mem_alloc((size_t)n, sizeof *expected), *root = mem_alloc((size_t)m, sizeof *root);
        for (int64_t i = 0; i < m; i++) {
            double sum = 0;
            for (int64_t j = 0; j < dim; j++) sum += (double)x[i * dim + j] * (double)x[i * dim + j];
            root[i] = 1 / sqrt(sum / (double)dim + (double)eps);
            for (int64_t j = 0; j < dim; j++) expected[i * dim + j] = (double)x[i * dim + j] * root[i] * (double)w[j];
        }
        SAME_AT_ALL_THREADS(y, (size_t)n * sizeof *y, rmsnorm_forward(y, DTYPE_F32, rstd, x, w, m, dim, eps));
        assert_close(y, expected, n, 1e-6);
        assert_close(rstd, root, m, 1e-6);
        float alone[2500];
        rmsnorm_forward(alone, DTYPE_F32, NULL, x + 77 * dim, w, 1, dim, eps);
        assert_same_bits(alone, y + 77 * dim, (size_t)dim * sizeof *y);
        uint16_t *half = mem_alloc((size_t)n, sizeof *half);
        rmsnorm_forward(half, DTYPE_BF16, NULL, x, w, m, dim, eps);
        for (int64_t i = 0; i < n; i++) assert_int_equal(half[i], bf16_from_f32(y[i]));
        mem_free(half);
        mem_free(x);
        mem_free(w);
        mem_free(y);
        mem_free(rstd);
        mem_free(expected);
        mem_free(root);
    }
}

/* The formula in double, row by row: an oracle that shares nothing with the kernels. */
static void norm_gradient(double *dx, double *dw, const float *dy, const float *x, const float *w, int64_t dim,
                          double eps) {
    double sum = 0, inner = 0;
    for (int64_t j = 0; j < dim; j++) sum += (double)x[j] * (double)x[j];
    const double r = 1 / sqrt(sum / (double)dim + eps);
    for (int64_t j = 0; j < dim; j++) inner += (double)dy[j] * (double)w[j] * (double)x[j];
    for (int64_t j = 0; j < dim; j++) {
        dx[j] = r * (double)dy[j] * (double)w[j] - (double)x[j] * r * r * r * inner / (double)dim;
        dw[j] += (double)dy[j] * (double)x[j] * r;
    }
}

static void rmsnorm_gradient(void **state) {
    (void)state;
    opsm_error err = {0};
    const int64_t m = 150;
    for (int s = 0; s < N_SIZES; s++) {
        const int64_t dim = sizes[s], n = m * dim;
        float *x = random_floats(1, n, 2.0f), *w = random_floats(2, dim, 1.0f), *dy = random_floats(3, n, 1.0f);
        float *y = zero_floats(n), *rstd = zero_floats(m), *dx = zero_floats(n), *dw = zero_floats(dim);
        double *dx_ref = mem_zalloc((size_t)n, sizeof *dx_ref), *dw_ref = mem_zalloc((size_t)dim, sizeof *dw_ref);
        rmsnorm_forward(y, DTYPE_F32, rstd, x, w, m, dim, 1e-5f);
        for (int64_t i = 0; i < m; i++)
            norm_gradient(dx_ref + i * dim, dw_ref, dy + i * dim, x + i * dim, w, dim, (double)1e-5f);
        SAME_AT_ALL_THREADS(dw, (size_t)dim * sizeof *dw, {
            memset(dw, 0, (size_t)dim * sizeof *dw);
            memset(dx, 0, (size_t)n * sizeof *dx);
            assert_ok(rmsnorm_backward(dx, dw, dy, x, w, rstd, m, dim, &err));
        });
        assert_close(dx, dx_ref, n, 3e-6);
        assert_close(dw, dw_ref, dim, 1e-5);
        float *again = copy_floats(dx, n);
        assert_ok(rmsnorm_backward(again, NULL, dy, x, w, rstd, m, dim, &err)); /* adds to what is there */
        for (int64_t i = 0; i < n; i++) assert_true(again[i] == 2.0f * dx[i]);
        mem_free(again);
        mem_free(x);
        mem_free(w);
        mem_free(dy);
        mem_free(y);
        mem_free(rstd);
        mem_free(dx);
        mem_free(dw);
        mem_free(dx_ref);
        mem_free(dw_ref);
    }
}

static void headnorm_is_rmsnorm_of_each_head(void **state) {
    (void)state;
    opsm_error err = {0};
    const int64_t m = 70, ld = 3 * 24 + 5;
    const int heads = 3, dim = 24;
    float *x = random_floats(1, m * ld, 2.0f), *w = random_floats(2, dim, 1.0f), *dy = random_floats(3, m * ld, 1.0f);
    float *y = copy_floats(x, m * ld), *rstd = zero_floats(m * heads), *dw = zero_floats(dim);
    double dw_ref[24] = {0};
    headnorm_forward(y, ld, rstd, w, m, heads, dim, 1e-6f);
    for (int64_t i = 0; i < m; i++) {
        float expected[24];
        for (int h = 0; h < heads; h++) {
            rmsnorm_forward(expected, DTYPE_F32, NULL, x + i * ld + h * dim, w, 1, dim, 1e-6f);
            assert_same_bits(expected, y + i * ld + h * dim, sizeof expected);
        }
        assert_same_bits(x + i * ld + heads * dim, y + i * ld + heads * dim, 5 * sizeof *x); /* the gap is left alone */
    }
    float *dx = copy_floats(dy, m * ld);
    assert_ok(headnorm_backward(dx, ld, dw, x, ld, w, rstd, m, heads, dim, &err));
    for (int64_t i = 0; i < m; i++)
        for (int h = 0; h < heads; h++) {
            double expected[24];
            int64_t at = i * ld + h * dim;
            norm_gradient(expected, dw_ref, dy + at, x + at, w, dim, 1e-6);
            assert_close(dx + at, expected, dim, 3e-6);
        }
    assert_close(dw, dw_ref, dim, 1e-5);
    mem_free(x);
    mem_free(w);
    mem_free(dy);
    mem_free(y);
    mem_free(rstd);
    mem_free(dw);
    mem_free(dx);
}

static void check_rope(int heads, int head_dim, bool without_memory) {
    const int64_t m = 40, ld = heads * head_dim + 3;
    const int half = head_dim / 2;
    float *x = random_floats(1, m * ld, 1.0f), *inv_freq = zero_floats(half), *y = copy_floats(x, m * ld);
    int32_t position[40];
    for (int i = 0; i < half; i++) inv_freq[i] = (float)pow(10000.0, -(double)i / half);
    for (int64_t i = 0; i < m; i++) position[i] = (int32_t)(i < 20 ? i : i * i * 20); /* up to 30420 */
    if (without_memory) mem_fail_at(1);
    rope_apply(y, ld, position, inv_freq, m, heads, head_dim, 1);
    mem_fail_at(0);
    for (int64_t i = 0; i < m; i++) {
        for (int h = 0; h < heads; h++)
            for (int j = 0; j < half; j++) {
                const float *in = x + i * ld + h * head_dim + j, *out = y + i * ld + h * head_dim + j;
                double angle = (float)position[i] * inv_freq[j], c = cos(angle), s = sin(angle);
                assert_near(out[0], (double)in[0] * c - (double)in[half] * s, 1e-6);
                assert_near(out[half], (double)in[half] * c + (double)in[0] * s, 1e-6);
            }
        assert_same_bits(x + i * ld + heads * head_dim, y + i * ld + heads * head_dim, 3 * sizeof *x);
    }
    float *one = copy_floats(x + 33 * ld, ld);
    rope_apply(one, ld, position + 33, inv_freq, 1, heads, head_dim, 1);
    assert_same_bits(one, y + 33 * ld, (size_t)ld * sizeof *one);
    rope_apply(y, ld, position, inv_freq, m, heads, head_dim, -1); /* and back */
    for (int64_t i = 0; i < m * ld; i++) assert_near(y[i], x[i], 2e-6);
    mem_free(one);
    mem_free(x);
    mem_free(y);
    mem_free(inv_freq);
}

static void rope_turns_and_turns_back(void **state) {
    (void)state;
    check_rope(3, 64, false);
    check_rope(2, 128, false);
    check_rope(1, 10, false);
    check_rope(4, 2, false);
    check_rope(5, 64, false); /* the table of the first call */
}

/* More models than tables, and no memory for one: the same numbers. */
static void rope_without_its_table(void **state) {
    (void)state;
    for (int round = 0; round < 2; round++)
        for (int dim = 8; dim <= 96; dim += 8) check_rope(2, dim, false);
    kernels_release();
    check_rope(2, 64, true);
    check_rope(1, 200, true);
}

static void swiglu_matches_the_definition(void **state) {
    (void)state;
    const int64_t m = 33;
    for (int s = 0; s < N_SIZES; s++) {
        const int64_t n = sizes[s];
        float *x = random_floats(1, m * 2 * n, 4.0f), *dy = random_floats(2, m * n, 1.0f);
        float *y = zero_floats(m * n), *dx = zero_floats(m * 2 * n);
        double *y_ref = mem_alloc((size_t)(m * n), sizeof *y_ref),
               *dx_ref = mem_alloc((size_t)(m * 2 * n), sizeof *dx_ref);
        x[0] = -200.0f; /* exp(200) overflows; silu is -0 and its slope 0 */
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) {
                double g = (double)x[i * 2 * n + j], u = (double)x[i * 2 * n + n + j], sig = 1 / (1 + exp(-g));
                double d = (double)dy[i * n + j];
                y_ref[i * n + j] = g * sig * u;
                dx_ref[i * 2 * n + j] = d * u * sig * (1 + g * (1 - sig));
                dx_ref[i * 2 * n + n + j] = d * g * sig;
            }
        SAME_AT_ALL_THREADS(y, (size_t)(m * n) * sizeof *y, swiglu_forward(y, DTYPE_F32, x, m, n));
        assert_close(y, y_ref, m * n, 1e-6);
        SAME_AT_ALL_THREADS(dx, (size_t)(m * 2 * n) * sizeof *dx, swiglu_backward(dx, DTYPE_F32, dy, x, m, n));
        assert_close(dx, dx_ref, m * 2 * n, 1e-6);
        uint16_t *half = mem_alloc((size_t)(m * 2 * n), sizeof *half);
        swiglu_forward(half, DTYPE_BF16, x, m, n);
        for (int64_t i = 0; i < m * n; i++) assert_int_equal(half[i], bf16_from_f32(y[i]));
        swiglu_backward(half, DTYPE_BF16, dy, x, m, n);
        for (int64_t i = 0; i < m * 2 * n; i++) assert_int_equal(half[i], bf16_from_f32(dx[i]));
        mem_free(half);
        mem_free(x);
        mem_free(dy);
        mem_free(y);
        mem_free(dx);
        mem_free(y_ref);
        mem_free(dx_ref);
    }
}

static void bias_adds_and_sums(void **state) {
    (void)state;
    const int64_t m = 200, n = 131, ld = 140;
    float *x = random_floats(1, m * ld, 1.0f), *bias = random_floats(2, n, 1.0f), *y = copy_floats(x, m * ld);
    float *sum = zero_floats(n);
    bias_forward(y, ld, bias, m, n);
    for (int64_t i = 0; i < m * ld; i++) assert_true(y[i] == (i % ld < n ? x[i] + bias[i % ld] : x[i]));
    SAME_AT_ALL_THREADS(sum, (size_t)n * sizeof *sum, {
        for (int64_t j = 0; j < n; j++) sum[j] = 1.0f;
        bias_backward(sum, x, ld, m, n);
    });
    for (int64_t j = 0; j < n; j++) {
        double expected = 1.0;
        for (int64_t i = 0; i < m; i++) expected += (double)x[i * ld + j];
        assert_near(sum[j], expected, 1e-5);
    }
    mem_free(x);
    mem_free(y);
    mem_free(bias);
    mem_free(sum);
}

/* Tokens that occur often, beside each other and far apart. */
static void embedding_gathers_and_scatters(void **state) {
    (void)state;
    const int64_t m = 300, dim = 150, n_vocab = 40;
    float *table = random_floats(1, n_vocab * dim, 1.0f), *dy = random_floats(2, m * dim, 1.0f),
          *y = zero_floats(m * dim);
    float *grad = zero_floats(n_vocab * dim), *expected = zero_floats(n_vocab * dim);
    int32_t ids[300];
    struct rng r = rng_make(1, RNG_TEST, 0, 0, 1);
    for (int64_t i = 0; i < m; i++) ids[i] = i % 3 ? (int32_t)rng_below(&r, (uint32_t)n_vocab) : 7;
    embedding_forward(y, table, ids, m, dim);
    for (int64_t i = 0; i < m; i++) {
        assert_same_bits(y + i * dim, table + ids[i] * dim, (size_t)dim * sizeof *y);
        for (int64_t j = 0; j < dim; j++) expected[ids[i] * dim + j] += dy[i * dim + j]; /* row order, in float */
    }
    SAME_AT_ALL_THREADS(grad, (size_t)(n_vocab * dim) * sizeof *grad, {
        memset(grad, 0, (size_t)(n_vocab * dim) * sizeof *grad);
        embedding_backward(grad, dy, ids, m, dim);
    });
    assert_same_bits(grad, expected, (size_t)(n_vocab * dim) * sizeof *grad);
    mem_free(table);
    mem_free(dy);
    mem_free(y);
    mem_free(grad);
    mem_free(expected);
}

/* Every bf16 value and its neighbours, ties, NaN with any payload, infinities, denormals: the vector conversion is
 * bf16_from_f32. */
static void bf16_conversion_is_exact(void **state) {
    (void)state;
    static const uint32_t low[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
    enum { N = 1 << 16 };
    float *x = zero_floats(N);
    uint16_t *half = mem_alloc(N, sizeof *half);
    for (size_t l = 0; l < sizeof low / sizeof *low; l++) {
        for (uint32_t i = 0; i < N; i++) {
            uint32_t bits = i << 16 | low[l];
            memcpy(&x[i], &bits, sizeof bits);
        }
        convert(half, DTYPE_BF16, x, N);
        for (uint32_t i = 0; i < N; i++) {
            assert_int_equal(half[i], bf16_from_f32(x[i]));
            assert_true(isnan(x[i]) == isnan(bf16_to_f32(half[i])));
        }
        memset(half, 0, N * sizeof *half);
        convert_rows(DTYPE_BF16, 1003, x + 5, half);
        for (uint32_t i = 0; i < 1003; i++) assert_int_equal(half[i], bf16_from_f32(x[i + 5]));
        assert_int_equal(half[1003], 0);
    }
    float *same = zero_floats(N);
    convert(same, DTYPE_F32, x, N);
    assert_same_bits(same, x, N * sizeof *x);
    mem_free(x);
    mem_free(half);
    mem_free(same);
}

static void add_adds(void **state) {
    (void)state;
    const int64_t n = 200003;
    float *x = random_floats(1, n, 1.0f), *y = random_floats(2, n, 1.0f), *sum = copy_floats(y, n);
    add_inplace(sum, x, n);
    for (int64_t i = 0; i < n; i++) assert_true(sum[i] == y[i] + x[i]);
    mem_free(x);
    mem_free(y);
    mem_free(sum);
}

/* Central differences through a norm, SwiGLU and RoPE in a row. */
struct chain {
    float *x, *w;
    const float *weight;
    float y[6 * 16], z[6 * 8];
    float rstd[6];
};

static const int32_t chain_position[6] = {0, 1, 2, 30, 4, 5};
static const float chain_freq[4] = {1.0f, 0.1f, 0.01f, 0.001f};

static double chain_loss(void *context) {
    struct chain *c = context;
    rmsnorm_forward(c->y, DTYPE_F32, c->rstd, c->x, c->w, 6, 16, 1e-5f);
    swiglu_forward(c->z, DTYPE_F32, c->y, 6, 8);
    rope_apply(c->z, 8, chain_position, chain_freq, 6, 1, 8, 1);
    double loss = 0;
    for (int i = 0; i < 48; i++) loss += (double)c->z[i] * (double)c->weight[i];
    return loss;
}

static void gradients_by_differences(void **state) {
    (void)state;
    opsm_error err = {0};
    struct chain c = {.x = random_floats(1, 96, 1.0f), .w = random_floats(2, 16, 1.0f)};
    float *dz = random_floats(3, 48, 1.0f), *dy = zero_floats(96), *dx = zero_floats(96), *dw = zero_floats(16);
    c.weight = copy_floats(dz, 48);
    chain_loss(&c);
    rope_apply(dz, 8, chain_position, chain_freq, 6, 1, 8, -1);
    swiglu_backward(dy, DTYPE_F32, dz, c.y, 6, 8);
    assert_ok(rmsnorm_backward(dx, dw, dy, c.x, c.w, c.rstd, 6, 16, &err));
    for (int i = 0; i < 96; i++) assert_gradient((double)dx[i], slope(chain_loss, &c, &c.x[i], 0x1p-7f), 1.0);
    for (int i = 0; i < 16; i++) assert_gradient((double)dw[i], slope(chain_loss, &c, &c.w[i], 0x1p-7f), 1.0);
    mem_free(c.x);
    mem_free(c.w);
    mem_free((void *)(uintptr_t)c.weight);
    mem_free(dz);
    mem_free(dy);
    mem_free(dx);
    mem_free(dw);
}

static void no_rows(void **state) {
    (void)state;
    opsm_error err = {0};
    float w[4] = {1, 1, 1, 1}, dw[4] = {0};
    rmsnorm_forward(NULL, DTYPE_F32, NULL, NULL, w, 0, 4, 1e-5f);
    assert_ok(rmsnorm_backward(NULL, dw, NULL, NULL, w, NULL, 0, 4, &err));
    headnorm_forward(NULL, 4, NULL, w, 0, 1, 4, 1e-5f);
    assert_ok(headnorm_backward(NULL, 4, dw, NULL, 4, w, NULL, 0, 1, 4, &err));
    rope_apply(NULL, 4, NULL, w, 0, 1, 4, 1);
    swiglu_forward(NULL, DTYPE_F32, NULL, 0, 4);
    swiglu_backward(NULL, DTYPE_BF16, NULL, NULL, 0, 4);
    bias_forward(NULL, 4, w, 0, 4);
    bias_backward(dw, NULL, 4, 0, 4);
    embedding_forward(NULL, NULL, NULL, 0, 4);
    embedding_backward(NULL, NULL, NULL, 0, 4);
    convert(NULL, DTYPE_BF16, NULL, 0);
    add_inplace(NULL, NULL, 0);
    for (int i = 0; i < 4; i++) assert_true(dw[i] == 0.0f);
}

static void norm_gradient_without_memory(void **state) {
    (void)state;
    opsm_error err = {0};
    float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, w[4] = {1, 1, 1, 1}, dw[4] = {0}, dx[8] = {0}, rstd[2] = {1, 1};
    kernels_release();
    mem_fail_at(1);
    assert_int_equal(rmsnorm_backward(dx, dw, x, x, w, rstd, 2, 4, &err), OPSM_NOMEM);
    mem_fail_at(0);
    assert_non_null(strstr(err.text, "norm"));
    assert_true(dx[0] == 0.0f && dw[0] == 0.0f);
}

static int reset(void **state) {
    (void)state;
    threads_set(2);
    kernels_release();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(rmsnorm_matches_the_definition, reset),
        cmocka_unit_test_teardown(rmsnorm_gradient, reset),
        cmocka_unit_test_teardown(headnorm_is_rmsnorm_of_each_head, reset),
        cmocka_unit_test_teardown(rope_turns_and_turns_back, reset),
        cmocka_unit_test_teardown(rope_without_its_table, reset),
        cmocka_unit_test_teardown(swiglu_matches_the_definition, reset),
        cmocka_unit_test_teardown(bias_adds_and_sums, reset),
        cmocka_unit_test_teardown(embedding_gathers_and_scatters, reset),
        cmocka_unit_test_teardown(bf16_conversion_is_exact, reset),
        cmocka_unit_test_teardown(add_adds, reset),
        cmocka_unit_test_teardown(gradients_by_differences, reset),
        cmocka_unit_test_teardown(no_rows, reset),
        cmocka_unit_test_teardown(norm_gradient_without_memory, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
