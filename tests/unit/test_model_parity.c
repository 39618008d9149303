/* SPDX-License-Identifier: Apache-2.0
 *
 * The sampler's log-probs are the trainer's, bit for bit: whatever the batch, the schedule, the threads, the precision.
 */
#include "base/threads.h"
#include "parity.h"
#include "tiny.h"

/* Under an emulator fewer and shorter sequences, in the same schedules. */
enum {
    GROUPS = EMULATED ? 3 : 7,
    SAMPLES = EMULATED ? 4 : 10,
    PROMPT = EMULATED ? 9 : 24,
    RESPONSE = EMULATED ? 5 : 10,
};

static void check(struct parity_case *c, float inv_temperature, int32_t prompts_at_once, int32_t batch) {
    int64_t n;
    double gap;
    parity_sample(c, inv_temperature, prompts_at_once, batch);
    int64_t different = parity_differences(c, &n, &gap);
    if (different)
        print_error("%s, batch %d, %d threads: %lld of %lld log-probs differ, by at most %g\n",
                    c->model->config.architecture->name, batch, threads_count(), (long long)different, (long long)n,
                    gap);
    assert_true(n > 0);
    assert_int_equal(different, 0);
}

static void check_config(struct model_config config, enum dtype precision) {
    opsm_error err = {0};
    struct model *model;
    assert_ok(tiny_model(&model, &config, precision, true, 1, &err));
    assert_ok(tiny_randomise(model, 3, 1.0f, &err));
    struct parity_case c;
    parity_open(&c, model, GROUPS, SAMPLES, PROMPT, RESPONSE);
    int before = threads_count();
    for (int threads = 1; threads <= 2; threads++) {
        threads_set(threads);
        parity_train(&c, 1.0f, threads == 1 ? ACTIVATIONS_NONE : ACTIVATIONS_ALL);
        static const int32_t batches[] = {1, 2, 3, 16, 17, 64, 70};
        for (int i = 0; i < 7; i++) check(&c, 1.0f, 1 + i, batches[i]);
        parity_train(&c, 1.25f, ACTIVATIONS_RECOMPUTE);
        check(&c, 1.25f, 7, 33);
    }
    threads_set(before);
    parity_close(&c);
    model_free(model);
}

static void check_both(struct model_config config) {
    check_config(config, DTYPE_F32);
    check_config(config, DTYPE_BF16);
}

static void llama_tied(void **state) {
    (void)state;
    check_both(tiny_config("llama"));
}

static void llama_odd_sizes(void **state) {
    (void)state;
    struct model_config c = tiny_config("llama");
    c.tied = false;
    c.n_heads = 3;
    c.n_kv_heads = 1;
    c.head_dim = 10;
    c.dim = 36;
    c.ffn_dim = 57;
    check_both(c);
}

static void qwen2(void **state) {
    (void)state;
    struct model_config c = tiny_config("qwen2");
    c.tied = false;
    check_both(c);
}

static void qwen3(void **state) {
    (void)state;
    struct model_config c = tiny_config("qwen3");
    c.dim = 288;
    c.ffn_dim = 1100; /* an inner dimension beyond the sizes at which libraries start to block */
    check_both(c);
}

static void misuse_is_refused(void **state) {
    (void)state;
    struct model_config config = tiny_config("llama");
    struct model *model;
    struct kv_cache *cache;
    opsm_error err = {0};
    assert_ok(tiny_model(&model, &config, DTYPE_F32, false, 1, &err));
    float *logits = parity_alloc(4 * (size_t)TINY_VOCAB, sizeof *logits);
    assert_int_equal(kv_cache_create(&cache, model, 0, 4, 4, 4, &err), OPSM_INVALID);
    assert_int_equal(kv_cache_create(&cache, model, 2, 500, 4, 13, &err), OPSM_INVALID); /* context 512 */
    assert_ok(kv_cache_create(&cache, model, 2, 4, 3, 2, &err));
    const int32_t tokens[5] = {5, 6, 7, 8, 9}, samples[3] = {0, 1, 2};
    struct decode_prompt prompt = {.slot = 1, .tokens = tokens, .n_tokens = 5};
    assert_int_equal(decode_prompts(cache, model, 1, &prompt, logits, &err), OPSM_INVALID);
    prompt.n_tokens = 4;
    prompt.slot = 2;
    assert_int_equal(decode_prompts(cache, model, 1, &prompt, logits, &err), OPSM_INVALID);
    prompt.slot = 1;
    assert_ok(decode_prompts(cache, model, 1, &prompt, logits, &err));
    assert_int_equal(decode_step(cache, model, 1, samples, tokens, logits, &err), OPSM_INVALID); /* not begun */
    decode_begin(cache, 0, 0);                                                                   /* slot 0 is empty */
    assert_int_equal(decode_step(cache, model, 1, samples, tokens, logits, &err), OPSM_INVALID);
    decode_begin(cache, 0, 1);
    assert_ok(decode_step(cache, model, 1, samples, tokens, logits, &err));
    assert_ok(decode_step(cache, model, 1, samples, tokens, logits, &err));
    assert_int_equal(decode_step(cache, model, 1, samples, tokens, logits, &err), OPSM_INVALID); /* full */
    const int32_t outside = TINY_VOCAB;
    decode_begin(cache, 0, 1);
    assert_int_equal(decode_step(cache, model, 1, samples, &outside, logits, &err), OPSM_INVALID);
    struct activations *acts;
    assert_int_equal(activations_create(&acts, model, 16, ACTIVATIONS_ALL, &err), OPSM_INVALID); /* not trainable */
    kv_cache_free(cache);
    mem_free(logits);
    model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_tied), cmocka_unit_test(llama_odd_sizes),   cmocka_unit_test(qwen2),
        cmocka_unit_test(qwen3),      cmocka_unit_test(misuse_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
