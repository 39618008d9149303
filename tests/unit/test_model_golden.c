/* SPDX-License-Identifier: Apache-2.0
 *
 * Log-probs and gradients against transformers in double, on tiny models that the gguf package wrote
 * (tests/golden/make_model.py).
 */
#include "base/mem.h"
#include "check.h"
#include "model/layout.h"
#include "model/lm_head.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SEQUENCES = 2 };

struct golden {
    struct model *model;
    struct tensor_source *expected;
    struct pack pack;
    struct lm_head_request request;
    int32_t *tokens[SEQUENCES], row[128], target[128];
    float coef[128], logp[128], expected_logp[128];
};

static float *floats_of(const struct tensor_source *file, const char *what, int index, uint64_t *n) {
    char key[32];
    float *values;
    opsm_error err = {0};
    snprintf(key, sizeof key, "%s.%d", what, index);
    assert_ok(metadata_get_f32s(&file->metadata, key, &values, n, &err));
    return values;
}

static void add_sequence(struct golden *g, int index) {
    opsm_error err = {0};
    char key[32];
    uint64_t n, n_weights, n_logp;
    int32_t segment;
    snprintf(key, sizeof key, "tokens.%d", index);
    assert_ok(metadata_get_i32s(&g->expected->metadata, key, &g->tokens[index], &n, &err));
    float *weights = floats_of(g->expected, "weights", index, &n_weights);
    float *logp = floats_of(g->expected, "logp", index, &n_logp);
    assert_int_equal(n_weights, n - 1);
    assert_int_equal(n_logp, n - 1);
    assert_ok(pack_add(&g->pack, g->tokens[index], (int32_t)n, -1, &segment, &err));
    for (uint64_t i = 0; i + 1 < n; i++) {
        int64_t at = g->request.n++;
        g->row[at] = g->pack.segments[segment].start + (int32_t)i;
        g->target[at] = g->tokens[index][i + 1];
        g->coef[at] = weights[i];
        g->expected_logp[at] = logp[i];
    }
    mem_free(weights);
    mem_free(logp);
}

static void open_golden(struct golden *g, const char *name, enum dtype precision) {
    char path[256];
    opsm_error err = {0};
    *g = (struct golden){0};
    g->request = (struct lm_head_request){.row = g->row, .target = g->target, .inv_temperature = 1.0f};
    snprintf(path, sizeof path, OPSM_SOURCE_DIR "/tests/golden/model-%s.gguf", name);
    assert_ok(model_load(&g->model, path, precision, true, &err));
    snprintf(path, sizeof path, OPSM_SOURCE_DIR "/tests/golden/model-%s-expected.gguf", name);
    assert_ok(tensor_source_open(&g->expected, path, &err));
    for (int i = 0; i < SEQUENCES; i++) add_sequence(g, i);
}

static void close_golden(struct golden *g) {
    for (int i = 0; i < SEQUENCES; i++) mem_free(g->tokens[i]);
    pack_free(&g->pack);
    tensor_source_close(g->expected);
    model_free(g->model);
}

/* |ours - theirs| / |theirs| for one tensor, theirs in the file's row order. */
static double gradient_error(const struct golden *g, const struct parameter *t, const float *grads) {
    opsm_error err = {0};
    const struct tensor_info *theirs = tensor_source_find(g->expected, t->name);
    assert_non_null(theirs);
    int64_t n = t->rows * t->cols, width = t->decay ? t->cols : 1;
    assert_int_equal(theirs->n_elements, n);
    float *values = mem_alloc((size_t)n, sizeof *values);
    assert_ok(tensor_source_read(g->expected, theirs, 0, n, values, &err));
    bool interleaved = model_is_interleaved(g->model, t);
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t row = interleaved ? model_rotate_half_row(i / width, g->model->config.head_dim) : i / width;
        double d = (double)grads[t->offset + row * width + i % width] - values[i];
        difference += d * d;
        norm += (double)values[i] * values[i];
    }
    mem_free(values);
    return sqrt(difference / norm);
}

static void check(const char *name, enum dtype precision, double logp_tolerance, double gradient_tolerance) {
    struct golden g;
    struct activations *acts;
    opsm_error err = {0};
    open_golden(&g, name, precision);
    assert_ok(activations_create(&acts, g.model, g.pack.n_tokens, ACTIVATIONS_ALL, &err));
    assert_ok(model_forward(acts, g.model, &g.pack, &err));
    assert_ok(lm_head_logprobs(g.logp, NULL, acts, g.model, &g.request, &err));
    double gap = 0;
    for (int64_t i = 0; i < g.request.n; i++) gap += fabs((double)g.logp[i] - g.expected_logp[i]);
    assert_int_equal(g.request.n, 45);
    assert_near(gap / (double)g.request.n, 0, logp_tolerance);
    assert_ok(lm_head_backward(acts, g.model, &g.request, g.coef, &err));
    assert_ok(model_backward(acts, g.model, &g.pack, &err));
    double worst = 0;
    for (int32_t i = 0; i < g.model->params.n_tensors; i++) {
        double error = gradient_error(&g, &g.model->params.tensors[i], g.model->params.grads);
        if (!(error <= worst)) worst = error;
        if (!(error <= gradient_tolerance))
            print_error("%s: gradient off by %g\n", g.model->params.tensors[i].name, error);
    }
    print_message("%s %s: log-probs off by %.2g nats on average, gradients by at most %.2g\n", name,
                  precision == DTYPE_F32 ? "f32" : "bf16", gap / (double)g.request.n, worst);
    assert_near(worst, 0, gradient_tolerance);
    activations_free(acts);
    close_golden(&g);
}

/* In bf16 only the order of magnitude: these models have logits of standard deviation 5. */
static void llama_with_scaled_rope(void **state) {
    (void)state;
    check("llama", DTYPE_F32, 1e-5, 1e-4);
    check("llama", DTYPE_BF16, 0.1, 0.1);
}

static void qwen2(void **state) {
    (void)state;
    check("qwen2", DTYPE_F32, 1e-5, 1e-4);
    check("qwen2", DTYPE_BF16, 0.1, 0.1);
}

static void qwen3(void **state) {
    (void)state;
    check("qwen3", DTYPE_F32, 1e-5, 1e-4);
    check("qwen3", DTYPE_BF16, 0.1, 0.1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_with_scaled_rope),
        cmocka_unit_test(qwen2),
        cmocka_unit_test(qwen3),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
