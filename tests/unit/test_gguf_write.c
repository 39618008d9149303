/* SPDX-License-Identifier: Apache-2.0
 *
 * What the writer writes, read back; what it refuses; and that a failure at any point leaves nothing behind.
 * With OPSM_GGUF_OUT=FILE the example file is written there instead, for tests/golden/check_gguf.py.
 */
#include "base/file.h"
#include "base/mem.h"
#include "check.h"
#include "io/gguf.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GOLDEN OPSM_SOURCE_DIR "/tests/golden/quant.gguf"

static char scratch[64];
static char *path; /* of the file under test, in the scratch directory */

static int make_scratch(void **state) {
    (void)state;
    strcpy(scratch, "/tmp/opsm-gguf-XXXXXX");
    if (!mkdtemp(scratch)) return -1;
    path = file_join(scratch, "model.gguf");
    return path ? 0 : -1;
}

static int remove_scratch(void **state) {
    (void)state;
    mem_free(path);
    return file_remove_tree(scratch, NULL) == OPSM_OK ? 0 : -1;
}

static void assert_nothing_left(void) {
    char command[128];
    snprintf(command, sizeof command, "test -z \"$(ls -A '%s')\"", scratch);
    assert_int_equal(system(command), 0);
}

/* ---- the example file: every kind of entry and tensor --------------------------------------------------------------
 */

static const struct {
    const char *name;
    int n_dims;
    int64_t shape[4];
    enum quant_type type;
} example[] = {
    {"a.f32", 2, {3, 5}, QUANT_F32},
    {"b.f16", 1, {7}, QUANT_F16},
    {"c.bf16", 3, {2, 3, 2}, QUANT_BF16},
    {"d.q8_0", 4, {64, 2, 1, 3}, QUANT_Q8_0},
    {"empty", 2, {32, 0}, QUANT_Q8_0},
    {"a.name.of.sixty.three.bytes....................................", 1, {1}, QUANT_F32},
    {"large.q8_0", 1, {32 * 5000}, QUANT_Q8_0},
};
enum { N_EXAMPLE = sizeof example / sizeof *example, EXAMPLE_KEYS = 9 };

/* Integers up to 127 in every block: exact in all formats. */
static float example_value(int64_t i) {
    return (float)(i % 32 == 0 ? 127 : (i * 7919) % 255 - 127);
}

static int64_t example_elements(int i) {
    int64_t n = 1;
    for (int d = 0; d < example[i].n_dims; d++) n *= example[i].shape[d];
    return n;
}

static opsm_status set_example_keys(struct gguf_writer *w, opsm_error *err) {
    const struct gguf_string strings[] = {{"", 0}, {"a", 1}, {"NUL\0inside", 10}, {"\xe6\xbc\xa2", 3}};
    opsm_status s = gguf_writer_set_string(w, "general.architecture", "llama", err);
    if (!s) s = gguf_writer_set_u32(w, "key.u32", 1, err);
    if (!s) s = gguf_writer_set_f32(w, "key.f32", 0.1f, err);
    if (!s) s = gguf_writer_set_bool(w, "key.bool", true, err);
    if (!s) s = gguf_writer_set_string(w, "key.string", "replaced below", err);
    if (!s) s = gguf_writer_set_strings(w, "key.strings", strings, 4, err);
    if (!s) s = gguf_writer_set_i32s(w, "key.i32s", (const int32_t[]){INT32_MIN, 0, INT32_MAX}, 3, err);
    if (!s) s = gguf_writer_set_f32s(w, "key.f32s", (const float[]){1.5f, -0.0f}, 2, err);
    if (!s) s = gguf_writer_set_i32s(w, "key.none", NULL, 0, err);
    if (!s) s = gguf_writer_set_string(w, "key.string", "value", err);
    if (!s) s = gguf_writer_set_u32(w, "key.u32", UINT32_MAX, err);
    return s;
}

static opsm_status put_example_tensors(struct gguf_writer *w, opsm_error *err) {
    opsm_status s = OPSM_OK;
    for (int i = 0; i < N_EXAMPLE && !s; i++)
        s = gguf_writer_add_tensor(w, example[i].name, example[i].n_dims, example[i].shape, example[i].type, err);
    for (int i = 0; i < N_EXAMPLE && !s; i++) {
        int64_t n = example_elements(i);
        float *values = malloc(((size_t)n + 1) * sizeof *values); /* not mem_alloc: its failures are not ours */
        for (int64_t j = 0; j < n; j++) values[j] = example_value(j);
        s = gguf_writer_put(w, values, n, err);
        free(values);
    }
    return s;
}

static opsm_status write_example(const char *to, const struct gguf *carried, opsm_error *err) {
    struct gguf_writer *w;
    opsm_status s = gguf_writer_create(&w, to, err);
    if (s) return s;
    s = set_example_keys(w, err);
    for (int64_t i = 0; carried && i < gguf_kv_count(carried) && !s; i++)
        s = gguf_writer_copy(w, gguf_kv_at(carried, i), err);
    if (!s) s = put_example_tensors(w, err);
    if (!s) return gguf_writer_commit(w, err);
    gguf_writer_abort(w);
    return s;
}

static void what_was_written_is_read(void **state) {
    (void)state;
    opsm_error err = {0};
    struct gguf *f;
    assert_ok(write_example(path, NULL, &err));
    assert_ok(gguf_open(&f, path, &err));
    assert_int_equal(gguf_kv_count(f), EXAMPLE_KEYS);
    uint32_t u;
    float x;
    bool b = false;
    struct gguf_string s, *strings;
    assert_ok(gguf_get_u32(f, "key.u32", &u, &err));
    assert_true(u == UINT32_MAX);
    assert_ok(gguf_get_f32(f, "key.f32", &x, &err));
    assert_true(x == 0.1f);
    assert_ok(gguf_get_bool(f, "key.bool", &b, &err));
    assert_true(b);
    assert_ok(gguf_get_string(f, "key.string", &s, &err));
    assert_true(s.length == 5 && memcmp(s.data, "value", 5) == 0);
    assert_int_equal(gguf_find(f, "key.string") - gguf_kv_at(f, 0), 4); /* replaced in place */
    uint64_t n;
    assert_ok(gguf_get_strings(f, "key.strings", &strings, &n, &err));
    assert_int_equal(n, 4);
    assert_int_equal(strings[2].length, 10);
    assert_memory_equal(strings[2].data, "NUL\0inside", 10);
    mem_free(strings);
    int32_t *ints;
    assert_ok(gguf_get_i32s(f, "key.i32s", &ints, &n, &err));
    assert_true(n == 3 && ints[0] == INT32_MIN && ints[2] == INT32_MAX);
    mem_free(ints);
    assert_ok(gguf_get_i32s(f, "key.none", &ints, &n, &err));
    assert_int_equal(n, 0);
    mem_free(ints);

    assert_int_equal(gguf_tensor_count(f), N_EXAMPLE);
    for (int i = 0; i < N_EXAMPLE; i++) {
        const struct gguf_tensor *t = gguf_find_tensor(f, example[i].name);
        assert_ptr_equal(t, gguf_tensor_at(f, i));
        assert_int_equal(t->type, example[i].type);
        assert_int_equal(t->n_dims, example[i].n_dims);
        for (int d = 0; d < t->n_dims; d++) assert_int_equal(t->shape[d], example[i].shape[d]);
        float *got = mem_alloc((size_t)t->n_elements, sizeof *got);
        assert_ok(gguf_dequantize(f, t, 0, t->n_elements, got, &err));
        for (int64_t j = 0; j < t->n_elements; j++) assert_true(got[j] == example_value(j));
        mem_free(got);
    }
    gguf_close(f);
}

/* The rules of ggml's reader that ours does not check: 32-byte alignment in the file, padding after the last tensor. */
static void the_layout_is_strict(void **state) {
    (void)state;
    opsm_error err = {0};
    struct file_map map;
    struct gguf *f;
    assert_ok(write_example(path, NULL, &err));
    assert_ok(file_map_open(&map, path, &err));
    assert_ok(gguf_open_memory(&f, map.data, map.size, "example", &err));
    for (int i = 0; i < N_EXAMPLE; i++) assert_int_equal((gguf_tensor_at(f, i)->data - map.data) % 32, 0);
    const struct gguf_tensor *last = gguf_tensor_at(f, N_EXAMPLE - 1);
    assert_int_equal(map.size % 32, 0);
    assert_true(map.size - (size_t)(last->data + last->size - map.data) < 32);
    gguf_close(f);
    file_map_close(&map);
}

static void metadata_is_carried_over_byte_for_byte(void **state) {
    (void)state;
    opsm_error err = {0};
    struct gguf *golden, *f;
    assert_ok(gguf_open(&golden, GOLDEN, &err));
    assert_ok(write_example(path, golden, &err));
    assert_ok(gguf_open(&f, path, &err));
    int64_t n = gguf_kv_count(golden);
    assert_int_equal(gguf_kv_count(f), EXAMPLE_KEYS + n - 1); /* general.architecture is in both */
    for (int64_t i = 0; i < n; i++) {
        const struct gguf_kv *from = gguf_kv_at(golden, i);
        char key[64];
        snprintf(key, sizeof key, "%.*s", (int)from->key.length, from->key.data);
        const struct gguf_kv *to = gguf_find(f, key);
        assert_non_null(to);
        assert_int_equal(to->type, from->type);
        assert_int_equal(to->element, from->element);
        assert_int_equal(to->count, from->count);
        assert_int_equal(to->size, from->size);
        assert_memory_equal(to->data, from->data, from->size);
    }
    gguf_close(f);
    gguf_close(golden);
}

static void announced_alignment_is_obeyed(void **state) {
    (void)state;
    opsm_error err = {0};
    struct gguf_writer *w;
    struct gguf *f;
    assert_ok(gguf_writer_create(&w, path, &err));
    assert_ok(gguf_writer_set_u32(w, "general.alignment", 1024, &err));
    for (int i = 0; i < 3; i++)
        assert_ok(
            gguf_writer_add_tensor(w, (const char *[]){"a", "b", "c"}[i], 1, (const int64_t[]){1}, QUANT_F32, &err));
    for (int i = 0; i < 3; i++) assert_ok(gguf_writer_put(w, (const float[]){(float)i}, 1, &err));
    assert_ok(gguf_writer_commit(w, &err));
    assert_ok(gguf_open(&f, path, &err));
    const uint8_t *start = gguf_tensor_at(f, 0)->data;
    assert_int_equal((uintptr_t)start % 1024, 0); /* the map is page-aligned */
    for (int i = 0; i < 3; i++) assert_int_equal(gguf_tensor_at(f, i)->data - start, i * 1024);
    gguf_close(f);

    assert_int_equal(unlink(path), 0);
    assert_ok(gguf_writer_create(&w, path, &err));
    assert_ok(gguf_writer_set_u32(w, "general.alignment", 48, &err));
    assert_int_equal(gguf_writer_commit(w, &err), OPSM_INVALID);
    assert_ok(gguf_writer_create(&w, path, &err));
    assert_ok(gguf_writer_set_string(w, "general.alignment", "32", &err));
    assert_int_equal(gguf_writer_commit(w, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "general.alignment"));
    assert_nothing_left();
}

static void misuse_gets_a_sentence(void **state) {
    (void)state;
    opsm_error err = {0};
    struct gguf_writer *w;
    assert_ok(gguf_writer_create(&w, path, &err));
    assert_int_equal(gguf_writer_set_u32(w, "", 1, &err), OPSM_INVALID);
    assert_int_equal(gguf_writer_set_i32s(w, "long", NULL, (1u << 30) + 1, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "'long' has length 1073741825"));
    const int64_t two[] = {2}, row[] = {33, 2}, negative[] = {-1}, huge[] = {INT64_MAX / 2, 32};
    char name[65];
    memset(name, 'n', 64);
    name[64] = '\0';
    assert_int_equal(gguf_writer_add_tensor(w, name, 1, two, QUANT_F32, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "64 bytes"));
    assert_int_equal(gguf_writer_add_tensor(w, "", 1, two, QUANT_F32, &err), OPSM_INVALID);
    assert_int_equal(gguf_writer_add_tensor(w, "t", 0, two, QUANT_F32, &err), OPSM_INVALID);
    assert_int_equal(gguf_writer_add_tensor(w, "t", 5, two, QUANT_F32, &err), OPSM_INVALID);
    assert_int_equal(gguf_writer_add_tensor(w, "t", 1, two, QUANT_Q4_K, &err), OPSM_UNSUPPORTED);
    assert_int_equal(gguf_writer_add_tensor(w, "t", 1, two, (enum quant_type)99, &err), OPSM_UNSUPPORTED);
    assert_int_equal(gguf_writer_add_tensor(w, "t", 2, row, QUANT_Q8_0, &err), OPSM_INVALID);
    assert_int_equal(gguf_writer_add_tensor(w, "t", 1, negative, QUANT_F32, &err), OPSM_INVALID);
    assert_int_equal(gguf_writer_add_tensor(w, "t", 2, huge, QUANT_F32, &err), OPSM_INVALID);
    assert_ok(gguf_writer_add_tensor(w, "t", 1, two, QUANT_F16, &err));
    assert_int_equal(gguf_writer_add_tensor(w, "t", 1, two, QUANT_F16, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "twice"));
    assert_int_equal(gguf_writer_put(w, (const float[]){1}, 1, &err), OPSM_INVALID);
    assert_int_equal(gguf_writer_put(w, (const float[]){1, 70000}, 2, &err), OPSM_NONFINITE);
    assert_non_null(strstr(err.text, "element 1 of tensor 't' is 70000, which F16 cannot hold"));
    assert_int_equal(gguf_writer_put(w, (const float[]){NAN, 1}, 2, &err), OPSM_NONFINITE);
    assert_ok(gguf_writer_put(w, (const float[]){1, 2}, 2, &err));
    assert_int_equal(gguf_writer_put(w, (const float[]){1, 2}, 2, &err), OPSM_INVALID);
    assert_int_equal(gguf_writer_set_u32(w, "late", 1, &err), OPSM_INVALID);
    assert_int_equal(gguf_writer_add_tensor(w, "late", 1, two, QUANT_F16, &err), OPSM_INVALID);
    gguf_writer_abort(w);
    gguf_writer_abort(NULL);

    assert_ok(gguf_writer_create(&w, path, &err));
    assert_ok(gguf_writer_add_tensor(w, "t", 1, two, QUANT_F32, &err));
    assert_int_equal(gguf_writer_commit(w, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "never written"));
    assert_nothing_left();
    assert_int_equal(gguf_writer_create(&w, "/nonexistent/model.gguf", &err), OPSM_IO);
}

/* F32 and BF16 keep what is not finite: a diverged model can still be looked at. */
static void nan_survives_in_f32(void **state) {
    (void)state;
    opsm_error err = {0};
    struct gguf_writer *w;
    struct gguf *f;
    assert_ok(gguf_writer_create(&w, path, &err));
    assert_ok(gguf_writer_add_tensor(w, "t", 1, (const int64_t[]){2}, QUANT_F32, &err));
    assert_ok(gguf_writer_put(w, (const float[]){NAN, INFINITY}, 2, &err));
    assert_ok(gguf_writer_commit(w, &err));
    assert_ok(gguf_open(&f, path, &err));
    float got[2];
    assert_ok(gguf_dequantize(f, gguf_tensor_at(f, 0), 0, 2, got, &err));
    assert_true(isnan(got[0]) && isinf(got[1]));
    gguf_close(f);
}

static void out_of_memory_at_every_allocation(void **state) {
    (void)state;
    opsm_error err = {0};
    struct gguf *golden;
    assert_ok(gguf_open(&golden, GOLDEN, &err));
    int failures = 0;
    for (;; failures++) {
        mem_fail_at(failures + 1);
        opsm_status status = write_example(path, golden, &err);
        mem_fail_at(0);
        if (status == OPSM_OK) break;
        assert_int_equal(status, OPSM_NOMEM);
        assert_nothing_left();
    }
    assert_true(failures > 2 * N_EXAMPLE + 2 * EXAMPLE_KEYS);
    gguf_close(golden);
}

static void full_disk_leaves_nothing(void **state) {
    (void)state;
    opsm_error err = {0};
    int failures = 0;
    for (;; failures++) {
        file_fail_at(failures + 1);
        opsm_status status = write_example(path, NULL, &err);
        file_fail_at(0);
        if (status == OPSM_OK) break;
        assert_int_equal(status, OPSM_IO);
        assert_non_null(strstr(err.text, "No space left"));
        assert_nothing_left();
    }
    assert_true(failures >= 3); /* write, fsync, rename */
}

int main(void) {
    const char *wanted = getenv("OPSM_GGUF_OUT");
    if (wanted) {
        opsm_error err = {0};
        struct gguf *golden;
        if (gguf_open(&golden, GOLDEN, &err) != OPSM_OK || write_example(wanted, golden, &err) != OPSM_OK) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        gguf_close(golden);
        return 0;
    }
#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, make_scratch, remove_scratch)
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(what_was_written_is_read),
        IN_SCRATCH(the_layout_is_strict),
        IN_SCRATCH(metadata_is_carried_over_byte_for_byte),
        IN_SCRATCH(announced_alignment_is_obeyed),
        IN_SCRATCH(misuse_gets_a_sentence),
        IN_SCRATCH(nan_survives_in_f32),
        IN_SCRATCH(out_of_memory_at_every_allocation),
        IN_SCRATCH(full_disk_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
