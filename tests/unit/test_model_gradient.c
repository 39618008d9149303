/* SPDX-License-Identifier: Apache-2.0
 *
 * Gradients of whole tiny models against central differences, and the laws of the backward pass.
 */
#include "base/mem.h"
#include "base/threads.h"
#include "check.h"
#include "tiny_batch.h"

enum { ROOM = 128 };

struct fixture {
    struct model *model;
    struct activations *acts;
    struct tiny_batch batch;
    struct tiny_packed packed;
    float *grads;
};

static void open_fixture(struct fixture *f, const struct model_config *config, enum dtype precision,
                         enum activations_keep keep) {
    opsm_error err = {0};
    *f = (struct fixture){0};
    assert_ok(tiny_model(&f->model, config, precision, true, 1, &err));
    assert_ok(tiny_randomise(f->model, 5, 0.7f, &err));
    assert_ok(activations_create(&f->acts, f->model, ROOM, keep, &err));
    f->grads = mem_zalloc((size_t)f->model->params.size, sizeof(float));
    assert_non_null(f->grads);
    tiny_two_groups(&f->batch);
    assert_ok(tiny_pack(&f->packed, &f->batch, 0, f->batch.n, true, &err));
}

static void close_fixture(struct fixture *f) {
    pack_free(&f->packed.pack);
    activations_free(f->acts);
    model_free(f->model);
    mem_free(f->grads);
}

static double loss(struct fixture *f, struct tiny_packed *p) {
    opsm_error err = {0};
    assert_ok(model_forward(f->acts, f->model, &p->pack, &err));
    assert_ok(lm_head_logprobs(p->logp, p->entropy, f->acts, f->model, &p->request, &err));
    double sum = 0;
    for (int64_t i = 0; i < p->request.n; i++) sum += (double)p->coef[i] * p->logp[i];
    return sum;
}

/* Adds the gradient to `grads`, which stands in for the model's own. */
static void backward(struct fixture *f, struct tiny_packed *p, float *grads) {
    opsm_error err = {0};
    float *own = f->model->params.grads;
    loss(f, p);
    f->model->params.grads = grads;
    assert_ok(lm_head_backward(f->acts, f->model, &p->request, p->coef, &err));
    assert_ok(model_backward(f->acts, f->model, &p->pack, &err));
    f->model->params.grads = own;
}

static float *zeros(const struct fixture *f) {
    float *x = mem_zalloc((size_t)f->model->params.size, sizeof(float));
    assert_non_null(x);
    return x;
}

/* |a - b| / |b|. */
static double distance(const float *a, const float *b, int64_t n) {
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)a[i] - b[i];
        difference += d * d;
        norm += (double)b[i] * b[i];
    }
    return sqrt(difference / norm);
}

/* The loss with tensor t moved by h along `direction`. */
static double moved(struct fixture *f, const struct parameter *t, const float *direction, double h) {
    opsm_error err = {0};
    int64_t n = t->rows * t->cols;
    float *w = f->model->params.values + t->offset, *saved = mem_alloc((size_t)n, sizeof *saved);
    memcpy(saved, w, (size_t)n * sizeof *w);
    for (int64_t i = 0; i < n; i++) w[i] = (float)(w[i] + h * direction[i]);
    assert_ok(model_publish(f->model, &err));
    double value = loss(f, &f->packed);
    memcpy(w, saved, (size_t)n * sizeof *w);
    mem_free(saved);
    return value;
}

/* Central differences of fourth order along one direction. */
static double derivative(struct fixture *f, const struct parameter *t, const float *direction, double h) {
    double near_by = moved(f, t, direction, h) - moved(f, t, direction, -h);
    double far = moved(f, t, direction, 2 * h) - moved(f, t, direction, -2 * h);
    return (8 * near_by - far) / (12 * h);
}

/* Along random signs every element of the gradient counts with equal weight: a missing, doubled or misplaced one shows.
 * The derivative is then of the size of the gradient's norm, which is what the error is relative to. */
static void check_tensor(struct fixture *f, const struct parameter *t, int directions) {
    int64_t n = t->rows * t->cols;
    float *direction = mem_alloc((size_t)n, sizeof *direction);
    const float *g = f->grads + t->offset;
    double norm = 0;
    for (int64_t i = 0; i < n; i++) norm += (double)g[i] * g[i];
    norm = sqrt(norm);
    assert_true(norm > 1e-3);
    for (int d = 0; d < directions; d++) {
        struct rng r = rng_make(11, RNG_TEST, (uint32_t)t->offset, (uint32_t)d, 0);
        double expected = 0;
        for (int64_t i = 0; i < n; i++) {
            direction[i] = rng_below(&r, 2) ? 1.0f : -1.0f;
            expected += (double)direction[i] * g[i];
        }
        double found = derivative(f, t, direction, 0.07 / sqrt((double)n));
        if (!(fabs(found - expected) <= 1e-3 * norm))
            print_error("%s: %.6f by differences, %.6f by backward pass, norm %.6f\n", t->name, found, expected, norm);
        assert_near(found, expected, 1e-3 * norm);
    }
    mem_free(direction);
}

static void check_model(struct model_config config, int directions) {
    struct fixture f;
    config.dim = 32;
    config.head_dim = 8;
    config.ffn_dim = 40;
    open_fixture(&f, &config, DTYPE_F32, ACTIVATIONS_ALL);
    backward(&f, &f.packed, f.grads);
    for (int32_t i = 0; i < f.model->params.n_tensors; i++) check_tensor(&f, &f.model->params.tensors[i], directions);
    close_fixture(&f);
}

static void gradients_llama_tied(void **state) {
    (void)state;
    check_model(tiny_config("llama"), 3);
}

static void gradients_llama_untied_three_groups(void **state) {
    (void)state;
    struct model_config c = tiny_config("llama");
    c.tied = false;
    c.n_heads = 3;
    c.n_kv_heads = 1;
    check_model(c, 2);
}

static void gradients_qwen2(void **state) {
    (void)state;
    check_model(tiny_config("qwen2"), 3);
}

static void gradients_qwen3_untied_no_sharing(void **state) {
    (void)state;
    struct model_config c = tiny_config("qwen3");
    c.tied = false;
    c.n_kv_heads = 4;
    check_model(c, 3);
}

static void gradients_qwen3(void **state) {
    (void)state;
    check_model(tiny_config("qwen3"), 2);
}

/* A prompt that several responses share gets the same gradient as a copy of it in front of each. */
static void shared_prompt_equals_copies(void **state) {
    (void)state;
    static const char *const kinds[] = {"llama", "qwen2", "qwen3"};
    for (int k = 0; k < 3; k++) {
        struct model_config config = tiny_config(kinds[k]);
        struct fixture f;
        struct tiny_packed copies = {0};
        opsm_error err = {0};
        open_fixture(&f, &config, DTYPE_F32, ACTIVATIONS_ALL);
        assert_ok(tiny_pack(&copies, &f.batch, 0, f.batch.n, false, &err));
        assert_true(copies.pack.n_tokens > f.packed.pack.n_tokens);
        float *other = zeros(&f);
        backward(&f, &f.packed, f.grads);
        backward(&f, &copies, other);
        assert_near(distance(f.grads, other, f.model->params.size), 0, 1e-5);
        /* The forward pass does not even differ in the last bit. */
        assert_memory_equal(f.packed.logp, copies.logp, (size_t)copies.request.n * sizeof(float));
        assert_memory_equal(f.packed.entropy, copies.entropy, (size_t)copies.request.n * sizeof(float));
        mem_free(other);
        pack_free(&copies.pack);
        close_fixture(&f);
    }
}

static void threads_and_recomputation_change_no_bit(void **state) {
    (void)state;
    int before = threads_count();
    for (int precision = 0; precision < 2; precision++) {
        struct model_config config = tiny_config("qwen3");
        struct fixture f, again;
        open_fixture(&f, &config, precision ? DTYPE_BF16 : DTYPE_F32, ACTIVATIONS_ALL);
        open_fixture(&again, &config, precision ? DTYPE_BF16 : DTYPE_F32, ACTIVATIONS_RECOMPUTE);
        size_t bytes = (size_t)f.model->params.size * sizeof(float);
        float *other = zeros(&f);
        threads_set(1);
        backward(&f, &f.packed, f.grads);
        for (int n = 1; n <= 4; n++) {
            threads_set(n);
            memset(other, 0, bytes);
            backward(&f, &f.packed, other);
            assert_memory_equal(f.grads, other, bytes);
            memset(other, 0, bytes);
            backward(&again, &again.packed, other);
            assert_memory_equal(f.grads, other, bytes);
        }
        mem_free(other);
        close_fixture(&f);
        close_fixture(&again);
    }
    threads_set(before);
}

static void micro_batches_add_up(void **state) {
    (void)state;
    struct model_config config = tiny_config("qwen2");
    struct fixture f;
    struct tiny_packed part = {0};
    opsm_error err = {0};
    open_fixture(&f, &config, DTYPE_F32, ACTIVATIONS_ALL);
    float *sum = zeros(&f);
    backward(&f, &f.packed, f.grads);
    for (int32_t first = 0; first < f.batch.n; first += 3) {
        int32_t n = f.batch.n - first < 3 ? f.batch.n - first : 3;
        assert_ok(tiny_pack(&part, &f.batch, first, n, true, &err));
        backward(&f, &part, sum);
    }
    assert_near(distance(sum, f.grads, f.model->params.size), 0, 1e-6);
    mem_free(sum);
    pack_free(&part.pack);
    close_fixture(&f);
}

/* Heads one after the other on one forward pass: the layers go back once, with the sum of what they sent. */
static void gradients_of_heads_add_up(void **state) {
    (void)state;
    struct model_config config = tiny_config("qwen3");
    struct fixture f;
    opsm_error err = {0};
    open_fixture(&f, &config, DTYPE_F32, ACTIVATIONS_ALL);
    struct tiny_packed *p = &f.packed;
    backward(&f, p, f.grads);
    float *own = f.model->params.grads, *sum = f.model->params.grads = zeros(&f);
    loss(&f, p);
    for (int64_t first = 0; first < p->request.n; first += 5) {
        struct lm_head_request part = p->request;
        part.n = p->request.n - first < 5 ? p->request.n - first : 5;
        part.row += first;
        part.target += first;
        assert_ok(lm_head_backward(f.acts, f.model, &part, p->coef + first, &err));
    }
    assert_ok(model_backward(f.acts, f.model, &p->pack, &err));
    assert_near(distance(sum, f.grads, f.model->params.size), 0, 1e-6);
    f.model->params.grads = own;
    mem_free(sum);
    close_fixture(&f);
}

/* Sequences without a coefficient cost no backward work and leave the others' gradient as it is. */
static void dead_sequences_are_left_out(void **state) {
    (void)state;
    struct model_config config = tiny_config("qwen3");
    for (int keep = ACTIVATIONS_ALL; keep <= ACTIVATIONS_RECOMPUTE; keep++) {
        struct fixture f;
        struct tiny_packed less = {0};
        struct tiny_batch alive;
        opsm_error err = {0};
        open_fixture(&f, &config, DTYPE_F32, (enum activations_keep)keep);
        alive.n = 2;
        alive.sequence[0] = f.batch.sequence[2];
        alive.sequence[1] = f.batch.sequence[4];
        for (int i = 0; i < 4; i++)
            if (i != 2) memset(f.batch.sequence[i].coef, 0, sizeof f.batch.sequence[i].coef);
        assert_ok(tiny_pack(&f.packed, &f.batch, 0, f.batch.n, true, &err));
        assert_ok(tiny_pack(&less, &alive, 0, 2, true, &err));
        float *expected = zeros(&f);
        backward(&f, &less, expected);
        assert_int_equal(activations_backward_rows(f.acts), less.pack.n_tokens);
        backward(&f, &f.packed, f.grads);
        assert_int_equal(activations_backward_rows(f.acts), less.pack.n_tokens);
        assert_true(less.pack.n_tokens < f.packed.pack.n_tokens);
        assert_memory_equal(f.grads, expected, (size_t)f.model->params.size * sizeof(float));
        /* Nothing at all: no gradient, no work. */
        memset(f.packed.coef, 0, sizeof f.packed.coef);
        backward(&f, &f.packed, f.grads);
        assert_int_equal(activations_backward_rows(f.acts), 0);
        assert_memory_equal(f.grads, expected, (size_t)f.model->params.size * sizeof(float));
        mem_free(expected);
        pack_free(&less.pack);
        close_fixture(&f);
    }
}

static void bf16_gradient_points_the_same_way(void **state) {
    (void)state;
    struct model_config config = tiny_config("llama");
    struct fixture f, g;
    open_fixture(&f, &config, DTYPE_F32, ACTIVATIONS_ALL);
    open_fixture(&g, &config, DTYPE_BF16, ACTIVATIONS_ALL);
    backward(&f, &f.packed, f.grads);
    backward(&g, &g.packed, g.grads);
    assert_near(distance(g.grads, f.grads, f.model->params.size), 0, 0.03);
    close_fixture(&f);
    close_fixture(&g);
}

static void misuse_is_refused(void **state) {
    (void)state;
    struct model_config config = tiny_config("llama");
    struct fixture f;
    opsm_error err = {0};
    open_fixture(&f, &config, DTYPE_F32, ACTIVATIONS_ALL);
    struct pack *p = &f.packed.pack;
    assert_int_equal(lm_head_backward(f.acts, f.model, &f.packed.request, f.packed.coef, &err), OPSM_INVALID);
    assert_int_equal(model_backward(f.acts, f.model, p, &err), OPSM_INVALID);
    p->tokens[3] = TINY_VOCAB;
    assert_int_equal(model_forward(f.acts, f.model, p, &err), OPSM_INVALID);
    p->tokens[3] = 1;
    p->positions[2] = config.context;
    assert_int_equal(model_forward(f.acts, f.model, p, &err), OPSM_INVALID);
    p->positions[2] = 2;
    assert_ok(model_forward(f.acts, f.model, p, &err));
    f.packed.row[0] = p->n_tokens;
    assert_int_equal(lm_head_logprobs(f.packed.logp, NULL, f.acts, f.model, &f.packed.request, &err), OPSM_INVALID);
    f.packed.row[0] = 0;
    f.packed.request.inv_temperature = 0;
    assert_int_equal(lm_head_logprobs(f.packed.logp, NULL, f.acts, f.model, &f.packed.request, &err), OPSM_INVALID);
    int32_t index;
    assert_int_equal(pack_add(p, p->tokens, 0, -1, &index, &err), OPSM_INVALID);
    assert_int_equal(pack_add(p, p->tokens, 2, 1, &index, &err), OPSM_INVALID); /* behind a response */
    assert_int_equal(pack_add(p, p->tokens, 2, 99, &index, &err), OPSM_INVALID);
    while (p->n_tokens <= ROOM) assert_ok(pack_add(p, p->tokens, 5, 0, &index, &err));
    assert_int_equal(model_forward(f.acts, f.model, p, &err), OPSM_INVALID);
    struct model_config other = config;
    other.ffn_dim = 64;
    struct fixture g;
    open_fixture(&g, &other, DTYPE_F32, ACTIVATIONS_ALL);
    assert_int_equal(model_forward(f.acts, g.model, &g.packed.pack, &err), OPSM_INVALID);
    close_fixture(&g);
    close_fixture(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_llama_tied),
        cmocka_unit_test(gradients_llama_untied_three_groups),
        cmocka_unit_test(gradients_qwen2),
        cmocka_unit_test(gradients_qwen3),
        cmocka_unit_test(gradients_qwen3_untied_no_sharing),
        cmocka_unit_test(shared_prompt_equals_copies),
        cmocka_unit_test(threads_and_recomputation_change_no_bit),
        cmocka_unit_test(micro_batches_add_up),
        cmocka_unit_test(gradients_of_heads_add_up),
        cmocka_unit_test(dead_sequences_are_left_out),
        cmocka_unit_test(bf16_gradient_points_the_same_way),
        cmocka_unit_test(misuse_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
