/* SPDX-License-Identifier: Apache-2.0
 *
 * Metadata that no file holds: what is set is found; what a file holds is in test_gguf_read.
 */
#include "base/mem.h"
#include "check.h"
#include "io/metadata.h"
#include <string.h>

static struct metadata made(void) {
    struct metadata m;
    opsm_error err = {0};
    assert_ok(metadata_init(&m, "sft.init", &err));
    return m;
}

static void what_was_set_is_found(void **state) {
    (void)state;
    opsm_error err = {0};
    struct metadata m = made();
    const struct text_view texts[] = {{"a", 1}, {"", 0}, {"NUL\0inside", 10}};
    assert_ok(metadata_set_u32(&m, "number", UINT32_MAX, &err));
    assert_ok(metadata_set_f32(&m, "real", -0.1f, &err));
    assert_ok(metadata_set_bool(&m, "flag", true, &err));
    assert_ok(metadata_set_string(&m, "text", "value", &err));
    assert_ok(metadata_set_strings(&m, "texts", texts, 3, &err));
    assert_ok(metadata_set_i32s(&m, "numbers", (const int32_t[]){-1, 2}, 2, &err));
    assert_ok(metadata_set_f32s(&m, "reals", (const float[]){0.5f}, 1, &err));
    assert_int_equal(m.n, 7);
    uint32_t u;
    float x, *reals;
    bool flag = false;
    int32_t *numbers;
    uint64_t n;
    struct text_view text, *views;
    assert_ok(metadata_get_u32(&m, "number", &u, &err));
    assert_ok(metadata_get_f32(&m, "real", &x, &err));
    assert_ok(metadata_get_bool(&m, "flag", &flag, &err));
    assert_true(u == UINT32_MAX && x == -0.1f && flag);
    assert_ok(metadata_get_string(&m, "text", &text, &err));
    assert_true(text.length == 5 && memcmp(text.data, "value", 5) == 0);
    assert_ok(metadata_get_strings(&m, "texts", &views, &n, &err));
    assert_int_equal(n, 3);
    assert_int_equal(views[1].length, 0);
    assert_memory_equal(views[2].data, "NUL\0inside", 10);
    assert_ok(metadata_get_i32s(&m, "numbers", &numbers, &n, &err));
    assert_true(n == 2 && numbers[0] == -1 && numbers[1] == 2);
    assert_ok(metadata_get_f32s(&m, "reals", &reals, &n, &err));
    assert_true(n == 1 && reals[0] == 0.5f);
    mem_free(views);
    mem_free(numbers);
    mem_free(reals);
    metadata_free(&m);
}

/* The sentences are those of a file, but name no byte. */
static void sentences_name_the_place(void **state) {
    (void)state;
    opsm_error err = {0};
    struct metadata m = made();
    uint32_t u;
    int32_t *numbers;
    uint64_t n;
    assert_ok(metadata_set_f32(&m, "real", 1, &err));
    assert_ok(metadata_set_f32s(&m, "reals", (const float[]){1}, 1, &err));
    assert_int_equal(metadata_get_u32(&m, "real", &u, &err), OPSM_FORMAT);
    assert_string_equal(err.text, "'sft.init': metadata key 'real' is of type f32, expected an integer");
    assert_int_equal(metadata_get_i32s(&m, "reals", &numbers, &n, &err), OPSM_FORMAT);
    assert_string_equal(err.text, "'sft.init': metadata key 'reals' is an array of f32, expected an array of integers");
    assert_int_equal(metadata_get_u32(&m, "absent", &u, &err), OPSM_MISSING);
    assert_string_equal(err.text, "'sft.init': metadata key 'absent' is missing; the model file is incomplete");
    metadata_free(&m);
}

/* Borrowed or copied, the last value of a key stands where the first stood, and the lender keeps its own. */
static void the_last_value_of_a_key_stands(void **state) {
    (void)state;
    opsm_error err = {0};
    struct metadata lender = made(), m = made();
    uint32_t u;
    assert_ok(metadata_set_u32(&lender, "a", 1, &err));
    assert_ok(metadata_set_u32(&lender, "b", 2, &err));
    for (int64_t i = 0; i < lender.n; i++) assert_ok(metadata_carry(&m, &lender.values[i], &err));
    assert_ptr_equal(m.values[1].data, lender.values[1].data); /* not copied */
    assert_ok(metadata_set_string(&m, "a", "other", &err));
    assert_ok(metadata_set_u32(&m, "c", 3, &err));
    assert_ok(metadata_carry(&m, metadata_find(&lender, "a"), &err));
    assert_ok(metadata_set_u32(&m, "b", 4, &err));
    assert_int_equal(m.n, 3);
    assert_ok(metadata_get_u32(&m, "a", &u, &err));
    assert_int_equal(u, 1);
    assert_ok(metadata_get_u32(&m, "b", &u, &err));
    assert_int_equal(u, 4);
    assert_ptr_equal(metadata_find(&m, "b"), &m.values[1]);
    assert_ok(metadata_get_u32(&lender, "b", &u, &err));
    assert_int_equal(u, 2);
    metadata_free(&m);
    metadata_free(&lender);
}

static opsm_status set_many(struct metadata *m, opsm_error *err) {
    opsm_status status = metadata_init(m, "sft.init", err);
    for (uint32_t i = 0; i < 100 && status == OPSM_OK; i++) {
        char key[16];
        snprintf(key, sizeof key, "key.%u", i);
        status = metadata_set_u32(m, key, i, err);
    }
    return status;
}

static void out_of_memory_at_every_allocation(void **state) {
    (void)state;
    for (int failures = 0;; failures++) {
        opsm_error err = {0};
        struct metadata m;
        mem_fail_at(failures + 1);
        opsm_status status = set_many(&m, &err);
        mem_fail_at(0);
        uint32_t last;
        if (status == OPSM_OK) {
            assert_true(failures > 100);
            assert_ok(metadata_get_u32(&m, "key.99", &last, &err));
            assert_int_equal(last, 99);
        } else {
            assert_int_equal(status, OPSM_NOMEM);
            assert_non_null(strstr(err.text, "out of memory"));
        }
        metadata_free(&m);
        if (status == OPSM_OK) break;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_set_is_found),
        cmocka_unit_test(sentences_name_the_place),
        cmocka_unit_test(the_last_value_of_a_key_stands),
        cmocka_unit_test(out_of_memory_at_every_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
