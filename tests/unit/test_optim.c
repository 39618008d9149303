/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "check.h"
#include "optim/optim.h"
#include "tiny.h"
#include <math.h>

static opsm_error err;
static const struct optim_config PLAIN = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8};

struct fixture {
    struct model *model;
    float *before;
};

static void setup(struct fixture *f) {
    struct model_config config = tiny_config("qwen2");
    assert_ok(tiny_model(&f->model, &config, DTYPE_F32, true, 1, &err));
    assert_ok(tiny_randomise(f->model, 1, 0.5f, &err));
    assert_ok(parameters_begin(&f->model->params, &err));
    size_t n = (size_t)f->model->params.size;
    f->before = mem_alloc(n, sizeof(float));
    memcpy(f->before, f->model->params.values, n * sizeof(float));
    for (int32_t i = 0; i < f->model->params.n_tensors; i++) {
        const struct parameter *t = &f->model->params.tensors[i];
        struct rng r = rng_make(2, RNG_TEST, (uint32_t)i, 0, 0);
        for (int64_t j = 0; j < t->rows * t->cols; j++) f->model->params.grads[t->offset + j] = (float)rng_normal(&r);
    }
}

static void teardown(struct fixture *f) {
    mem_free(f->before);
    model_free(f->model);
}

/* The definition, in double: Loshchilov and Hutter, algorithm 2. */
static void updates_follow_the_definition(void **state) {
    (void)state;
    struct fixture f;
    setup(&f);
    struct optim_config config = PLAIN;
    config.weight_decay = 0.1;
    config.clip_norm = 1;
    config.warmup = 4;
    int64_t n = f.model->params.size;
    double *w = mem_alloc((size_t)n, sizeof *w), *m = mem_zalloc((size_t)n, sizeof *m),
           *v = mem_zalloc((size_t)n, sizeof *v), norm = 0;
    for (int64_t j = 0; j < n; j++) w[j] = (double)f.before[j];
    for (int64_t j = 0; j < n; j++) norm += (double)f.model->params.grads[j] * (double)f.model->params.grads[j];
    norm = sqrt(norm);
    for (int t = 1; t <= 6; t++) {
        struct optim_report report = optim_step(&f.model->params, &config, 0.5);
        double lr = 0.5 * 0.01 * (t < 4 ? t / 4.0 : 1);
        assert_near(report.lr, lr, 1e-12);
        assert_near(report.grad_norm, norm, 1e-6 * norm);
        for (int32_t i = 0; i < f.model->params.n_tensors; i++) {
            const struct parameter *x = &f.model->params.tensors[i];
            for (int64_t j = x->offset; j < x->offset + x->rows * x->cols; j++) {
                double g = (double)f.model->params.grads[j] / norm;
                m[j] = 0.9 * m[j] + 0.1 * g;
                v[j] = 0.99 * v[j] + 0.01 * g * g;
                if (x->decay) w[j] -= lr * 0.1 * w[j];
                w[j] -= lr * (m[j] / (1 - pow(0.9, t))) / (sqrt(v[j] / (1 - pow(0.99, t))) + 1e-8);
            }
        }
    }
    double worst = 0;
    for (int64_t j = 0; j < n; j++) worst = fmax(worst, fabs(w[j] - (double)f.model->params.values[j]));
    assert_true(worst < 2e-5);
    mem_free(w);
    mem_free(m);
    mem_free(v);
    teardown(&f);
}

static void small_gradients_are_not_scaled_up(void **state) {
    (void)state;
    struct fixture f, g;
    setup(&f);
    setup(&g);
    struct optim_config clipped = PLAIN;
    clipped.clip_norm = 1e6;
    optim_step(&f.model->params, &PLAIN, 1);
    optim_step(&g.model->params, &clipped, 1);
    assert_memory_equal(f.model->params.values, g.model->params.values, (size_t)f.model->params.size * sizeof(float));
    teardown(&f);
    teardown(&g);
}

static void a_gradient_that_is_not_finite_is_never_applied(void **state) {
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        struct fixture f;
        setup(&f);
        f.model->params.grads[f.model->params.tensors[3].offset + 5] = bad[i];
        struct optim_report report = optim_step(&f.model->params, &PLAIN, 1);
        assert_true(report.skipped && !isfinite(report.grad_norm) && report.lr == 0);
        assert_int_equal(f.model->params.updates, 0);
        assert_int_equal(f.model->params.nonfinite, 1);
        assert_memory_equal(f.before, f.model->params.values, (size_t)f.model->params.size * sizeof(float));
        for (int64_t j = 0; j < f.model->params.size; j++)
            assert_true(f.model->params.m[j] == 0 && f.model->params.v[j] == 0);
        teardown(&f);
    }
}

static void padding_stays_zero(void **state) {
    (void)state;
    struct fixture f;
    setup(&f);
    struct optim_config config = PLAIN;
    config.weight_decay = 0.5;
    for (int i = 0; i < 3; i++) optim_step(&f.model->params, &config, 1);
    bool *used = mem_zalloc((size_t)f.model->params.size, sizeof *used);
    for (int32_t i = 0; i < f.model->params.n_tensors; i++)
        memset(used + f.model->params.tensors[i].offset, 1,
               (size_t)(f.model->params.tensors[i].rows * f.model->params.tensors[i].cols) * sizeof *used);
    for (int64_t j = 0; j < f.model->params.size; j++)
        if (!used[j]) assert_true(f.model->params.values[j] == 0);
    mem_free(used);
    teardown(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates_follow_the_definition),
        cmocka_unit_test(small_gradients_are_not_scaled_up),
        cmocka_unit_test(a_gradient_that_is_not_finite_is_never_applied),
        cmocka_unit_test(padding_stays_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
