/* SPDX-License-Identifier: Apache-2.0
 *
 * Adapters on tiny models: gradients against central differences, sampler and trainer bit for bit, and what they are
 * merged into.
 */
#include "base/file.h"
#include "base/mem.h"
#include "base/threads.h"
#include "check.h"
#include "model/adapter_file.h"
#include "parity.h"
#include "tiny_batch.h"
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { ROOM = 128 };

static opsm_error err;
static char scratch[] = "/tmp/opsm-lora-XXXXXX";

static int make_scratch(void **state) {
    (void)state;
    return mkdtemp(scratch) ? 0 : -1;
}

static int remove_scratch(void **state) {
    (void)state;
    return file_remove_tree(scratch, NULL) == OPSM_OK ? 0 : -1;
}

static const char *in_scratch(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", scratch, name);
    return path;
}

static const struct lora_config all_linear = {.rank = 4, .alpha = 6, .targets = LORA_ALL};

/* A random model's file. */
static void write_base(const struct model_config *config, float scale) {
    struct model *m;
    assert_ok(tiny_model(&m, config, DTYPE_F32, false, 1, &err));
    assert_ok(tiny_randomise(m, 5, scale, &err));
    assert_ok(model_save(m, in_scratch("base.gguf"), QUANT_F32, &err));
    model_free(m);
}

/* That model with adapters. */
static struct model *open_adapted(const struct lora_config *lora, enum dtype precision, bool trainable) {
    struct model *m;
    assert_ok(model_open(&m, in_scratch("base.gguf"), precision, &err));
    assert_ok(model_adapt(m, lora, 7, &err));
    assert_ok(model_read(m, trainable, &err));
    return m;
}

/* A trained adapter: neither half is zero. */
static void randomise_adapters(struct model *m, double scale) {
    for (int32_t i = 0; i < m->adapters.n_tensors; i++) {
        const struct parameter *t = &m->adapters.tensors[i];
        struct rng r = rng_make(3, RNG_TEST, (uint32_t)i, 78, 0);
        float *w = m->adapters.values + t->offset;
        for (int64_t j = 0; j < t->rows * t->cols; j++) w[j] = (float)(scale * rng_normal(&r) / sqrt((double)t->cols));
    }
    assert_ok(model_publish(m, &err));
}

struct fixture {
    struct model *model;
    struct activations *acts;
    struct tiny_batch batch;
    struct tiny_packed packed;
};

static void open_fixture(struct fixture *f, const struct lora_config *lora, enum dtype precision,
                         enum activations_keep keep) {
    *f = (struct fixture){.model = open_adapted(lora, precision, true)};
    randomise_adapters(f->model, 0.3);
    assert_ok(activations_create(&f->acts, f->model, ROOM, keep, &err));
    tiny_two_groups(&f->batch);
    assert_ok(tiny_pack(&f->packed, &f->batch, 0, f->batch.n, true, &err));
}

static void close_fixture(struct fixture *f) {
    pack_free(&f->packed.pack);
    activations_free(f->acts);
    model_free(f->model);
}

static double loss(struct fixture *f) {
    struct tiny_packed *p = &f->packed;
    assert_ok(model_forward(f->acts, f->model, &p->pack, &err));
    assert_ok(lm_head_logprobs(p->logp, p->entropy, f->acts, f->model, &p->request, &err));
    double sum = 0;
    for (int64_t i = 0; i < p->request.n; i++) sum += (double)p->coef[i] * p->logp[i];
    return sum;
}

static void backward(struct fixture *f) {
    parameters_zero_grads(f->model->trained);
    loss(f);
    assert_ok(lm_head_backward(f->acts, f->model, &f->packed.request, f->packed.coef, &err));
    assert_ok(model_backward(f->acts, f->model, &f->packed.pack, &err));
}

/* ---- gradients --------------------------------------------------------------------------------------------------- */

static double moved(struct fixture *f, const struct parameter *t, const float *direction, double h) {
    int64_t n = t->rows * t->cols;
    float *w = f->model->adapters.values + t->offset, *saved = mem_alloc((size_t)n, sizeof *saved);
    memcpy(saved, w, (size_t)n * sizeof *w);
    for (int64_t i = 0; i < n; i++) w[i] = (float)(w[i] + h * direction[i]);
    assert_ok(model_publish(f->model, &err));
    double value = loss(f);
    memcpy(w, saved, (size_t)n * sizeof *w);
    mem_free(saved);
    return value;
}

/* Along random signs, central differences of fourth order. */
static void check_tensor(struct fixture *f, const struct parameter *t, uint32_t number) {
    int64_t n = t->rows * t->cols;
    float *direction = mem_alloc((size_t)n, sizeof *direction);
    const float *g = f->model->adapters.grads + t->offset;
    struct rng r = rng_make(11, RNG_TEST, (uint32_t)t->offset, number, 0);
    double norm = 0, expected = 0, h = 0.07 / sqrt((double)n);
    for (int64_t i = 0; i < n; i++) {
        direction[i] = rng_below(&r, 2) ? 1.0f : -1.0f;
        expected += (double)direction[i] * g[i];
        norm += (double)g[i] * g[i];
    }
    norm = sqrt(norm);
    assert_true(norm > 1e-3);
    double found = 8 * (moved(f, t, direction, h) - moved(f, t, direction, -h));
    found = (found - moved(f, t, direction, 2 * h) + moved(f, t, direction, -2 * h)) / (12 * h);
    if (!(fabs(found - expected) <= 1e-3 * norm))
        print_error("%s: %.6f by differences, %.6f by backward pass, norm %.6f\n", t->name, found, expected, norm);
    assert_near(found, expected, 1e-3 * norm);
    mem_free(direction);
}

static void check_gradients(struct model_config config, const struct lora_config *lora, int32_t n_tensors) {
    struct fixture f;
    config.dim = 32;
    config.head_dim = 8;
    config.ffn_dim = 40;
    write_base(&config, 0.7f);
    open_fixture(&f, lora, DTYPE_F32, ACTIVATIONS_ALL);
    assert_null(f.model->params.grads);
    assert_int_equal(f.model->adapters.n_tensors, n_tensors);
    backward(&f);
    for (int32_t i = 0; i < n_tensors; i++)
        for (uint32_t k = 0; k < 2; k++) check_tensor(&f, &f.model->adapters.tensors[i], k);
    close_fixture(&f);
}

static void gradients_of_all_linear(void **state) {
    (void)state;
    check_gradients(tiny_config("llama"), &all_linear, 28);
    check_gradients(tiny_config("qwen2"), &all_linear, 28);
    check_gradients(tiny_config("qwen3"), &all_linear, 28);
}

/* Some of the parts of fused products, and rsLoRA's scale. */
static void gradients_of_some(void **state) {
    (void)state;
    const struct lora_config some = {.rank = 3, .alpha = 2, .rslora = true, .targets = 1 << 0 | 1 << 2 | 1 << 5};
    const struct lora_config one = {.rank = 1, .alpha = 1, .targets = 1 << 1};
    check_gradients(tiny_config("qwen3"), &some, 12);
    check_gradients(tiny_config("llama"), &one, 4);
}

static void threads_and_recomputation_change_no_bit(void **state) {
    (void)state;
    int before = threads_count();
    struct model_config config = tiny_config("qwen3");
    write_base(&config, 0.7f);
    for (int precision = 0; precision < 2; precision++) {
        struct fixture f, again;
        open_fixture(&f, &all_linear, precision ? DTYPE_BF16 : DTYPE_F32, ACTIVATIONS_ALL);
        open_fixture(&again, &all_linear, precision ? DTYPE_BF16 : DTYPE_F32, ACTIVATIONS_RECOMPUTE);
        size_t bytes = parameters_bytes(&f.model->adapters);
        threads_set(1);
        backward(&f);
        for (int n = 1; n <= 3; n++) {
            threads_set(n);
            backward(&again);
            assert_memory_equal(f.model->adapters.grads, again.model->adapters.grads, bytes);
        }
        close_fixture(&f);
        close_fixture(&again);
    }
    threads_set(before);
}

/* ---- sampler and trainer ----------------------------------------------------------------------------------------- */

static void check_parity(const char *architecture, enum dtype precision) {
    struct model_config config = tiny_config(architecture);
    write_base(&config, 1.0f);
    struct model *m = open_adapted(&all_linear, precision, true);
    randomise_adapters(m, 1.0);
    struct parity_case c;
    parity_open(&c, m, EMULATED ? 2 : 5, EMULATED ? 3 : 6, 12, 8);
    int before = threads_count();
    for (int threads = 1; threads <= 2; threads++) {
        threads_set(threads);
        parity_train(&c, 1.0f, threads == 1 ? ACTIVATIONS_RECOMPUTE : ACTIVATIONS_ALL);
        static const int32_t batches[] = {1, 3, 16, 17, 30};
        for (int i = 0; i < 5; i++) {
            int64_t n;
            double gap;
            parity_sample(&c, 1.0f, 1 + i, batches[i]);
            assert_int_equal(parity_differences(&c, &n, &gap), 0);
            assert_true(n > 0);
        }
    }
    threads_set(before);
    parity_close(&c);
    model_free(m);
}

static void sampler_and_trainer_agree_to_the_bit(void **state) {
    (void)state;
    static const char *const architectures[] = {"llama", "qwen2", "qwen3"};
    for (int i = 0; i < 3; i++) {
        check_parity(architectures[i], DTYPE_F32);
        check_parity(architectures[i], DTYPE_BF16);
    }
}

/* ---- what an adapter is ------------------------------------------------------------------------------------------ */

/* Log-probs of the two groups' tokens. */
static void logprobs(struct model *m, float *logp, int64_t *n) {
    struct fixture f = {.model = m};
    assert_ok(activations_create(&f.acts, m, ROOM, ACTIVATIONS_NONE, &err));
    tiny_two_groups(&f.batch);
    assert_ok(tiny_pack(&f.packed, &f.batch, 0, f.batch.n, true, &err));
    loss(&f);
    *n = f.packed.request.n;
    memcpy(logp, f.packed.logp, (size_t)*n * sizeof *logp);
    pack_free(&f.packed.pack);
    activations_free(f.acts);
}

/* Untrained, and switched off, it is the model that was read, bit for bit: the reference. */
static void without_it_the_model_is_as_it_was(void **state) {
    (void)state;
    struct model_config config = tiny_config("llama");
    float plain[TINY_REQUESTS_MAX], adapted[TINY_REQUESTS_MAX];
    write_base(&config, 1.0f);
    for (int precision = 0; precision < 2; precision++) {
        enum dtype type = precision ? DTYPE_BF16 : DTYPE_F32;
        struct model *base, *m = open_adapted(&all_linear, type, true);
        int64_t n;
        size_t bytes;
        assert_ok(model_load(&base, in_scratch("base.gguf"), type, false, &err));
        logprobs(base, plain, &n);
        bytes = (size_t)n * sizeof *plain;
        logprobs(m, adapted, &n);
        assert_memory_equal(plain, adapted, bytes);
        randomise_adapters(m, 0.3);
        logprobs(m, adapted, &n);
        assert_true(memcmp(plain, adapted, bytes) != 0);
        model_switch_adapters(m, false);
        logprobs(m, adapted, &n);
        assert_memory_equal(plain, adapted, bytes);
        model_switch_adapters(m, true);
        logprobs(m, adapted, &n);
        assert_true(memcmp(plain, adapted, bytes) != 0);
        model_free(m);
        model_free(base);
    }
}

static void merged_it_is_the_same_model(void **state) {
    (void)state;
    static const char *const architectures[] = {"llama", "qwen2", "qwen3"};
    for (int i = 0; i < 3; i++) {
        struct model_config config = tiny_config(architectures[i]);
        float adapted[TINY_REQUESTS_MAX], merged[TINY_REQUESTS_MAX];
        int64_t n;
        write_base(&config, 1.0f);
        struct model *m = open_adapted(&all_linear, DTYPE_F32, true), *back;
        randomise_adapters(m, 0.3);
        logprobs(m, adapted, &n);
        assert_ok(model_save(m, in_scratch("merged.gguf"), QUANT_F32, &err));
        assert_ok(model_load(&back, in_scratch("merged.gguf"), DTYPE_F32, false, &err));
        logprobs(back, merged, &n);
        for (int64_t k = 0; k < n; k++) assert_near(merged[k], adapted[k], 1e-5 + 1e-6 * fabs((double)adapted[k]));
        model_free(back);
        model_free(m);
    }
}

/* In the order of a file's rows: what was merged into the tensor is scale * B A of adapter.gguf. */
static void check_product(const struct tensor_source *base, const struct tensor_source *merged,
                          const struct tensor_source *adapter, const char *name, double scale) {
    char half[80];
    const struct tensor_info *w = tensor_source_find(base, name), *v = tensor_source_find(merged, name);
    snprintf(half, sizeof half, "%s.lora_a", name);
    const struct tensor_info *a = tensor_source_find(adapter, half);
    half[strlen(half) - 1] = 'b';
    const struct tensor_info *b = tensor_source_find(adapter, half);
    assert_true(w && v && a && b);
    int64_t rows = w->shape[1], cols = w->shape[0], rank = a->shape[1];
    assert_true(a->shape[0] == cols && b->shape[0] == rank && b->shape[1] == rows);
    float *data = mem_alloc((size_t)(2 * rows * cols + rank * (rows + cols)), sizeof *data);
    float *x = data, *y = x + rows * cols, *p = y + rows * cols, *q = p + rank * cols;
    assert_ok(tensor_source_read(base, w, 0, rows * cols, x, &err));
    assert_ok(tensor_source_read(merged, v, 0, rows * cols, y, &err));
    assert_ok(tensor_source_read(adapter, a, 0, rank * cols, p, &err));
    assert_ok(tensor_source_read(adapter, b, 0, rank * rows, q, &err));
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) {
            double sum = 0;
            for (int64_t k = 0; k < rank; k++) sum += (double)q[i * rank + k] * p[k * cols + j];
            assert_near(y[i * cols + j], x[i * cols + j] + scale * sum, 1e-5);
        }
    mem_free(data);
}

static void its_gguf_is_in_the_order_of_the_model(void **state) {
    (void)state;
    static const char *const architectures[] = {"llama", "qwen3"};
    for (int i = 0; i < 2; i++) {
        struct model_config config = tiny_config(architectures[i]);
        write_base(&config, 1.0f);
        struct model *m = open_adapted(&all_linear, DTYPE_F32, true);
        randomise_adapters(m, 0.3);
        assert_ok(model_save(m, in_scratch("merged.gguf"), QUANT_F32, &err));
        assert_ok(adapter_save_gguf(m, in_scratch("adapter.gguf"), &err));
        model_free(m);
        struct tensor_source *base, *merged, *adapter;
        assert_ok(tensor_source_open(&base, in_scratch("base.gguf"), &err));
        assert_ok(tensor_source_open(&merged, in_scratch("merged.gguf"), &err));
        assert_ok(tensor_source_open(&adapter, in_scratch("adapter.gguf"), &err));
        float alpha;
        assert_ok(metadata_get_f32(&adapter->metadata, "adapter.lora.alpha", &alpha, &err));
        assert_near(alpha, 6, 0);
        const char *name = LORA_TARGETS;
        for (int t = 0; t < LORA_N_TARGETS; t++, name += strcspn(name, "|") + 1) {
            char tensor[64];
            snprintf(tensor, sizeof tensor, "blk.1.%.*s.weight", (int)strcspn(name, "|"), name);
            check_product(base, merged, adapter, tensor, 1.5);
        }
        tensor_source_close(base);
        tensor_source_close(merged);
        tensor_source_close(adapter);
    }
}

static void it_is_read_as_it_was_written(void **state) {
    (void)state;
    const struct lora_config some = {.rank = 3, .alpha = 2, .rslora = true, .targets = 1 << 0 | 1 << 2 | 1 << 5};
    struct model_config config = tiny_config("llama");
    write_base(&config, 1.0f);
    for (int i = 0; i < 2; i++) {
        const struct lora_config *lora = i ? &some : &all_linear;
        struct model *m = open_adapted(lora, DTYPE_F32, true), *back;
        randomise_adapters(m, 0.3);
        assert_ok(adapter_save_gguf(m, in_scratch("adapter.gguf"), &err));
        assert_ok(adapter_save_peft(m, in_scratch("adapter"), "base", &err));
        static const char *const files[] = {"adapter.gguf", "adapter"};
        for (int k = 0; k < 2; k++) {
            back = open_adapted(lora, DTYPE_F32, true);
            assert_ok(adapter_load(back, in_scratch(files[k]), &err));
            assert_memory_equal(back->adapters.values, m->adapters.values, parameters_bytes(&m->adapters));
            model_free(back);
        }
        model_free(m);
    }
}

static void refused(const struct lora_config *lora, const char *file, opsm_status status, const char *part) {
    struct model *m = open_adapted(lora, DTYPE_F32, true);
    assert_int_equal(adapter_load(m, in_scratch(file), &err), status);
    if (!strstr(err.text, part)) print_error("%s\n", err.text);
    assert_non_null(strstr(err.text, part));
    model_free(m);
}

static void write_text(const char *name, const char *text) {
    FILE *f = fopen(in_scratch(name), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* Somebody's adapter is as hostile as any file. */
static void another_adapter_is_refused(void **state) {
    (void)state;
    struct model_config config = tiny_config("llama");
    write_base(&config, 1.0f);
    struct lora_config lora = all_linear;
    struct model *m = open_adapted(&lora, DTYPE_F32, true);
    assert_ok(adapter_save_gguf(m, in_scratch("adapter.gguf"), &err));
    assert_ok(adapter_save_peft(m, in_scratch("adapter"), NULL, &err));
    lora.rank = 5;
    refused(&lora, "adapter.gguf", OPSM_INVALID, "blk.0.attn_q.weight.lora_a is 4 x 64, expected 5 x 64");
    refused(&lora, "adapter", OPSM_INVALID, "has rank 4, and train.lora 5");
    lora = all_linear;
    lora.alpha = 7;
    refused(&lora, "adapter.gguf", OPSM_INVALID, "scales by 1.5, and train.lora by 1.75");
    refused(&lora, "adapter", OPSM_INVALID, "scales by 1.5, and train.lora by 1.75");
    lora = all_linear;
    lora.targets = 1;
    refused(&lora, "adapter.gguf", OPSM_INVALID, "has 28 tensors, expected 4");
    refused(&lora, "adapter", OPSM_INVALID, "has 28 tensors, expected 4");
    refused(&all_linear, "base.gguf", OPSM_MISSING, "adapter.lora.alpha");
    refused(&all_linear, "nowhere.gguf", OPSM_IO, "nowhere.gguf");
    write_text("adapter/adapter_config.json", "[");
    refused(&all_linear, "adapter", OPSM_FORMAT, "expected a JSON object");
    write_text("adapter/adapter_config.json", "{\"r\": \"4\", \"lora_alpha\": 6}");
    refused(&all_linear, "adapter", OPSM_FORMAT, "expected numbers r and lora_alpha");
    write_text("adapter/adapter_config.json", "{\"r\": 4, \"lora_alpha\": 6, \"use_dora\": true}");
    refused(&all_linear, "adapter", OPSM_UNSUPPORTED, "use_dora");
    m->adapters.values[5] = NAN;
    assert_ok(adapter_save_gguf(m, in_scratch("adapter.gguf"), &err));
    refused(&all_linear, "adapter.gguf", OPSM_NONFINITE, "not finite");
    model_free(m);
}

/* Kept in the file's format and decoded in every product, they give the same bits, forward and backward. */
static void kept_as_it_came_it_is_the_same_model(void **state) {
    (void)state;
    static const char *const architectures[] = {"llama", "qwen2"};
    static const enum quant_type formats[] = {QUANT_F32, QUANT_BF16, QUANT_Q8_0};
    struct lora_config as_it_came = all_linear;
    as_it_came.base = LORA_BASE_FILE;
    for (int i = 0; i < 6; i++) {
        struct model_config config = tiny_config(architectures[i % 2]);
        config.tied = i < 4;
        struct model *m;
        assert_ok(tiny_model(&m, &config, DTYPE_F32, false, 1, &err));
        assert_ok(tiny_randomise(m, 5, 0.7f, &err));
        assert_ok(model_save(m, in_scratch("base.gguf"), formats[i / 2], &err));
        model_free(m);
        for (int precision = 0; precision < 2; precision++) {
            struct fixture f, g;
            open_fixture(&f, &all_linear, precision ? DTYPE_BF16 : DTYPE_F32, ACTIVATIONS_ALL);
            open_fixture(&g, &as_it_came, precision ? DTYPE_BF16 : DTYPE_F32, ACTIVATIONS_ALL);
            backward(&f);
            backward(&g);
            assert_memory_equal(f.packed.logp, g.packed.logp, (size_t)f.packed.request.n * sizeof(float));
            assert_memory_equal(f.model->adapters.grads, g.model->adapters.grads, parameters_bytes(&f.model->adapters));
            if (formats[i / 2] == QUANT_Q8_0) assert_true(model_bytes(g.model, true) < model_bytes(f.model, true));
            close_fixture(&f);
            close_fixture(&g);
        }
    }
}

/* Frozen matrices are kept as the products want them, and merged from the file: that must be the same one still. */
static void a_model_written_over_is_noticed(void **state) {
    (void)state;
    struct model_config config = tiny_config("llama");
    write_base(&config, 1.0f);
    struct model *m = open_adapted(&all_linear, DTYPE_BF16, true);
    assert_true(m->params.size < m->params.n_weights / 2);
    assert_ok(model_check_frozen(m, &err));
    const struct tensor_info *t = tensor_source_find(m->source, "blk.1.ffn_down.weight");
    long at = (long)(t->data - (const uint8_t *)m->source->map.data);
    FILE *f = fopen(in_scratch("base.gguf"), "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    fputc(t->data[0] ^ 1, f);
    fclose(f);
    assert_int_equal(model_check_frozen(m, &err), OPSM_IO);
    assert_non_null(strstr(err.text, "was written over"));
    model_free(m);
}

/* As PEFT starts one. */
static void it_starts_as_nothing(void **state) {
    (void)state;
    struct model_config config = tiny_config("llama");
    write_base(&config, 1.0f);
    struct model *m = open_adapted(&all_linear, DTYPE_F32, true);
    assert_int_equal(m->adapters.n_tensors, 28);
    for (int32_t i = 0; i < m->adapters.n_tensors; i++) {
        const struct parameter *t = &m->adapters.tensors[i];
        const float *w = m->adapters.values + t->offset;
        bool a = strstr(t->name, ".lora_a") != NULL;
        double bound = a ? 1 / sqrt((double)t->cols) : 0, sum = 0;
        int64_t n = t->rows * t->cols;
        for (int64_t k = 0; k < n; k++) {
            assert_true(fabs((double)w[k]) <= bound);
            sum += (double)w[k] * w[k];
        }
        /* The variance of a uniform number within `bound`; over 256 of them and more. */
        if (a) assert_near(sum / (double)n, bound * bound / 3, 0.25 * bound * bound / 3);
    }
    model_free(m);
}

static void too_much_is_refused(void **state) {
    (void)state;
    struct model_config config = tiny_config("llama"); /* keys and values: 32 x 64 */
    write_base(&config, 1.0f);
    struct lora_config lora = {.rank = 33, .alpha = 1, .targets = LORA_ALL};
    struct model *m;
    assert_ok(model_open(&m, in_scratch("base.gguf"), DTYPE_F32, &err));
    assert_int_equal(model_adapt(m, &lora, 1, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "blk.0.attn_k.weight"));
    model_free(m);
    lora = (struct lora_config){.rank = 32, .alpha = 1, .targets = 1 << 1};
    m = open_adapted(&lora, DTYPE_BF16, true);
    model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_all_linear),
        cmocka_unit_test(gradients_of_some),
        cmocka_unit_test(threads_and_recomputation_change_no_bit),
        cmocka_unit_test(sampler_and_trainer_agree_to_the_bit),
        cmocka_unit_test(without_it_the_model_is_as_it_was),
        cmocka_unit_test(merged_it_is_the_same_model),
        cmocka_unit_test(its_gguf_is_in_the_order_of_the_model),
        cmocka_unit_test(it_is_read_as_it_was_written),
        cmocka_unit_test(another_adapter_is_refused),
        cmocka_unit_test(kept_as_it_came_it_is_the_same_model),
        cmocka_unit_test(a_model_written_over_is_noticed),
        cmocka_unit_test(it_starts_as_nothing),
        cmocka_unit_test(too_much_is_refused),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
