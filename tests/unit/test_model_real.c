/* SPDX-License-Identifier: Apache-2.0
 *
 * A real model, when there is one: OPSM_TEST_MODEL names a GGUF file (SmolLM2-135M-Instruct in our runs). Sampler and
 * trainer agree bit for bit in f32 and bf16, at 1 and 2 threads, at batch sizes 1 to 70.
 */
#include "base/threads.h"
#include "parity.h"
#include <stdlib.h>

enum { SKIPPED = 77 };

static const char *path;

static void check(struct parity_case *c, int32_t prompts_at_once, int32_t batch) {
    int64_t n;
    double gap;
    parity_sample(c, 1.0f, prompts_at_once, batch);
    int64_t different = parity_differences(c, &n, &gap);
    print_message("%s, %d threads, batch %d: %lld of %lld log-probs differ, gap %g\n",
                  c->model->precision == DTYPE_F32 ? "f32" : "bf16", threads_count(), batch, (long long)different,
                  (long long)n, gap);
    assert_int_equal(different, 0);
}

static void check_precision(enum dtype precision) {
    opsm_error err = {0};
    struct model *model;
    struct parity_case c;
    int before = threads_count();
    assert_ok(model_load(&model, path, precision, false, &err));
    parity_open(&c, model, 7, 10, 33, 5);
    for (int threads = 1; threads <= 2; threads++) {
        threads_set(threads);
        parity_train(&c, 1.0f, ACTIVATIONS_NONE);
        check(&c, 7, 70);
        check(&c, 2, 17);
        if (threads == 1) check(&c, 1, 1);
    }
    threads_set(before);
    parity_close(&c);
    model_free(model);
}

static void sampler_equals_trainer_f32(void **state) {
    (void)state;
    check_precision(DTYPE_F32);
}

static void sampler_equals_trainer_bf16(void **state) {
    (void)state;
    check_precision(DTYPE_BF16);
}

int main(void) {
    path = getenv("OPSM_TEST_MODEL");
    if (!path || !*path) {
        puts("skipped: OPSM_TEST_MODEL names no model file");
        return SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sampler_equals_trainer_f32),
        cmocka_unit_test(sampler_equals_trainer_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
