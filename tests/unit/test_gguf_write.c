/* SPDX-License-Identifier: Apache-2.0
 *
 * What the writer writes, read back; what it refuses; and that a failure at any point leaves nothing behind.
 * With OPSM_GGUF_OUT=FILE the example file is written there instead, for tests/golden/check_gguf.py.
 */
#include "base/file.h"
#include "base/mem.h"
#include "base/threads.h"
#include "check.h"
#include "io/gguf.h"
#include "io/tensor_source.h"
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

/* ---- the example file: every kind of entry and tensor ------------------------------------------------------------ */

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

static opsm_status set_example_keys(struct metadata *m, opsm_error *err) {
    const struct text_view strings[] = {{"", 0}, {"a", 1}, {"NUL\0inside", 10}, {"\xe6\xbc\xa2", 3}};
    opsm_status s = metadata_set_string(m, "general.architecture", "llama", err);
    if (!s) s = metadata_set_u32(m, "key.u32", 1, err);
    if (!s) s = metadata_set_f32(m, "key.f32", 0.1f, err);
    if (!s) s = metadata_set_bool(m, "key.bool", true, err);
    if (!s) s = metadata_set_string(m, "key.string", "replaced below", err);
    if (!s) s = metadata_set_strings(m, "key.strings", strings, 4, err);
    if (!s) s = metadata_set_i32s(m, "key.i32s", (const int32_t[]){INT32_MIN, 0, INT32_MAX}, 3, err);
    if (!s) s = metadata_set_f32s(m, "key.f32s", (const float[]){1.5f, -0.0f}, 2, err);
    if (!s) s = metadata_set_i32s(m, "key.none", NULL, 0, err);
    if (!s) s = metadata_set_string(m, "key.string", "value", err);
    if (!s) s = metadata_set_u32(m, "key.u32", UINT32_MAX, err);
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

static opsm_status write_example(const char *to, const struct tensor_source *carried, opsm_error *err) {
    struct metadata m = {0};
    struct gguf_writer *w = NULL;
    opsm_status s = metadata_init(&m, to, err);
    if (!s) s = set_example_keys(&m, err);
    for (int64_t i = 0; carried && i < carried->metadata.n && !s; i++)
        s = metadata_carry(&m, &carried->metadata.values[i], err);
    if (!s) s = gguf_writer_create(&w, to, &m, err);
    if (!s) s = put_example_tensors(w, err);
    if (!s)
        s = gguf_writer_commit(w, err);
    else
        gguf_writer_abort(w);
    metadata_free(&m);
    return s;
}

static void what_was_written_is_read(void **state) {
    (void)state;
    opsm_error err = {0};
    struct tensor_source *f;
    assert_ok(write_example(path, NULL, &err));
    assert_ok(tensor_source_open(&f, path, &err));
    assert_int_equal(f->metadata.n, EXAMPLE_KEYS);
    uint32_t u;
    float x;
    bool b = false;
    struct text_view s, *strings;
    assert_ok(metadata_get_u32(&f->metadata, "key.u32", &u, &err));
    assert_true(u == UINT32_MAX);
    assert_ok(metadata_get_f32(&f->metadata, "key.f32", &x, &err));
    assert_true(x == 0.1f);
    assert_ok(metadata_get_bool(&f->metadata, "key.bool", &b, &err));
    assert_true(b);
    assert_ok(metadata_get_string(&f->metadata, "key.string", &s, &err));
    assert_true(s.length == 5 && memcmp(s.data, "value", 5) == 0);
    assert_int_equal(metadata_find(&f->metadata, "key.string") - &f->metadata.values[0], 4); /* replaced in place */
    uint64_t n;
    assert_ok(metadata_get_strings(&f->metadata, "key.strings", &strings, &n, &err));
    assert_int_equal(n, 4);
    assert_int_equal(strings[2].length, 10);
    assert_memory_equal(strings[2].data, "NUL\0inside", 10);
    mem_free(strings);
    int32_t *ints;
    assert_ok(metadata_get_i32s(&f->metadata, "key.i32s", &ints, &n, &err));
    assert_true(n == 3 && ints[0] == INT32_MIN && ints[2] == INT32_MAX);
    mem_free(ints);
    assert_ok(metadata_get_i32s(&f->metadata, "key.none", &ints, &n, &err));
    assert_int_equal(n, 0);
    mem_free(ints);

    assert_int_equal(f->n_tensors, N_EXAMPLE);
    for (int i = 0; i < N_EXAMPLE; i++) {
        const struct tensor_info *t = tensor_source_find(f, example[i].name);
        assert_ptr_equal(t, &f->tensors[i]);
        assert_int_equal(t->type, example[i].type);
        assert_int_equal(t->n_dims, example[i].n_dims);
        for (int d = 0; d < t->n_dims; d++) assert_int_equal(t->shape[d], example[i].shape[d]);
        float *got = mem_alloc((size_t)t->n_elements, sizeof *got);
        assert_ok(tensor_source_read(f, t, 0, t->n_elements, got, &err));
        for (int64_t j = 0; j < t->n_elements; j++) assert_true(got[j] == example_value(j));
        mem_free(got);
    }
    tensor_source_close(f);
}

/* The rules of ggml's reader that ours does not check: 32-byte alignment in the file, padding after the last tensor. */
static void the_layout_is_strict(void **state) {
    (void)state;
    opsm_error err = {0};
    struct file_map map;
    struct tensor_source *f;
    assert_ok(write_example(path, NULL, &err));
    assert_ok(file_map_open(&map, path, &err));
    assert_ok(tensor_source_open_memory(&f, map.data, map.size, "example", &err));
    for (int i = 0; i < N_EXAMPLE; i++) assert_int_equal((f->tensors[i].data - map.data) % 32, 0);
    const struct tensor_info *last = &f->tensors[N_EXAMPLE - 1];
    assert_int_equal(map.size % 32, 0);
    assert_true(map.size - (size_t)(last->data + last->size - map.data) < 32);
    tensor_source_close(f);
    file_map_close(&map);
}

static void metadata_is_carried_over_byte_for_byte(void **state) {
    (void)state;
    opsm_error err = {0};
    struct tensor_source *golden, *f;
    assert_ok(tensor_source_open(&golden, GOLDEN, &err));
    assert_ok(write_example(path, golden, &err));
    assert_ok(tensor_source_open(&f, path, &err));
    int64_t n = golden->metadata.n;
    assert_int_equal(f->metadata.n, EXAMPLE_KEYS + n - 1); /* general.architecture is in both */
    for (int64_t i = 0; i < n; i++) {
        const struct metadata_value *from = &golden->metadata.values[i];
        char key[64];
        snprintf(key, sizeof key, "%.*s", (int)from->key.length, from->key.data);
        const struct metadata_value *to = metadata_find(&f->metadata, key);
        assert_non_null(to);
        assert_int_equal(to->type, from->type);
        assert_int_equal(to->element, from->element);
        assert_int_equal(to->count, from->count);
        assert_int_equal(to->size, from->size);
        assert_memory_equal(to->data, from->data, from->size);
    }
    tensor_source_close(f);
    tensor_source_close(golden);
}

static void announced_alignment_is_obeyed(void **state) {
    (void)state;
    opsm_error err = {0};
    struct gguf_writer *w;
    struct tensor_source *f;
    struct metadata m;
    assert_ok(metadata_init(&m, path, &err));
    assert_ok(metadata_set_u32(&m, "general.alignment", 1024, &err));
    assert_ok(gguf_writer_create(&w, path, &m, &err));
    for (int i = 0; i < 3; i++)
        assert_ok(
            gguf_writer_add_tensor(w, (const char *[]){"a", "b", "c"}[i], 1, (const int64_t[]){1}, QUANT_F32, &err));
    for (int i = 0; i < 3; i++) assert_ok(gguf_writer_put(w, (const float[]){(float)i}, 1, &err));
    assert_ok(gguf_writer_commit(w, &err));
    assert_ok(tensor_source_open(&f, path, &err));
    const uint8_t *start = f->tensors[0].data;
    assert_int_equal((uintptr_t)start % 1024, 0); /* the map is page-aligned */
    for (int i = 0; i < 3; i++) assert_int_equal(f->tensors[i].data - start, i * 1024);
    tensor_source_close(f);

    assert_int_equal(unlink(path), 0);
    assert_ok(metadata_set_u32(&m, "general.alignment", 48, &err));
    assert_ok(gguf_writer_create(&w, path, &m, &err));
    assert_int_equal(gguf_writer_commit(w, &err), OPSM_INVALID);
    assert_ok(metadata_set_string(&m, "general.alignment", "32", &err));
    assert_ok(gguf_writer_create(&w, path, &m, &err));
    assert_int_equal(gguf_writer_commit(w, &err), OPSM_INVALID);
    metadata_free(&m);
    assert_non_null(strstr(err.text, "general.alignment"));
    assert_nothing_left();
}

static void misuse_gets_a_sentence(void **state) {
    (void)state;
    opsm_error err = {0};
    struct gguf_writer *w;
    struct metadata m;
    assert_ok(metadata_init(&m, path, &err));
    assert_ok(gguf_writer_create(&w, path, &m, &err));
    assert_int_equal(metadata_set_u32(&m, "", 1, &err), OPSM_INVALID);
    assert_int_equal(metadata_set_i32s(&m, "long", NULL, (1u << 30) + 1, &err), OPSM_INVALID);
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
    assert_int_equal(gguf_writer_add_tensor(w, "t", 1, two, QUANT_Q4_K, &err), OPSM_INVALID);
    assert_int_equal(gguf_writer_add_tensor(w, "t", 1, two, QUANT_Q4_1, &err), OPSM_UNSUPPORTED);
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
    assert_int_equal(gguf_writer_add_tensor(w, "late", 1, two, QUANT_F16, &err), OPSM_INVALID);
    gguf_writer_abort(w);
    gguf_writer_abort(NULL);

    assert_ok(gguf_writer_create(&w, path, &m, &err));
    assert_ok(gguf_writer_add_tensor(w, "t", 1, two, QUANT_F32, &err));
    assert_int_equal(gguf_writer_commit(w, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "never written"));
    assert_nothing_left();
    assert_int_equal(gguf_writer_create(&w, "/nonexistent/model.gguf", &m, &err), OPSM_IO);
    metadata_free(&m);
}

/* F32 and BF16 keep what is not finite: a diverged model can still be looked at. */
static void nan_survives_in_f32(void **state) {
    (void)state;
    opsm_error err = {0};
    struct gguf_writer *w;
    struct tensor_source *f;
    const struct metadata none = {0};
    assert_ok(gguf_writer_create(&w, path, &none, &err));
    assert_ok(gguf_writer_add_tensor(w, "t", 1, (const int64_t[]){2}, QUANT_F32, &err));
    assert_ok(gguf_writer_put(w, (const float[]){NAN, INFINITY}, 2, &err));
    assert_ok(gguf_writer_commit(w, &err));
    assert_ok(tensor_source_open(&f, path, &err));
    float got[2];
    assert_ok(tensor_source_read(f, &f->tensors[0], 0, 2, got, &err));
    assert_true(isnan(got[0]) && isinf(got[1]));
    tensor_source_close(f);
}

/* Conversion is cut into tasks and these into what one write takes: no cut changes a byte. */
static void any_number_of_threads_writes_the_same(void **state) {
    (void)state;
    opsm_error err = {0};
    enum { N = 300 * 4096 };
    const enum quant_type types[] = {QUANT_Q4_K, QUANT_BF16, QUANT_Q8_0, QUANT_F32};
    float *values = malloc(N * sizeof *values);
    uint8_t *blocks = malloc(N * sizeof *values);
    for (int64_t i = 0; i < N; i++) values[i] = (float)((i * 7919) % 4093 - 2000) / (float)(1 + i % 61);
    for (int threads = 1; threads <= 3; threads += 2) {
        threads_set(threads);
        for (int k = 0; k < 4; k++) {
            const struct quant_traits *traits = quant_traits(types[k]);
            struct metadata m = {0};
            struct gguf_writer *w;
            struct tensor_source *f;
            assert_ok(metadata_init(&m, path, &err));
            assert_ok(gguf_writer_create(&w, path, &m, &err));
            assert_ok(gguf_writer_add_tensor(w, "t", 1, (const int64_t[]){N}, types[k], &err));
            assert_ok(gguf_writer_put(w, values, N, &err));
            assert_ok(gguf_writer_commit(w, &err));
            metadata_free(&m);
            traits->encode(values, N / traits->block, blocks);
            assert_ok(tensor_source_open(&f, path, &err));
            assert_int_equal(f->tensors[0].size, N / traits->block * traits->bytes);
            assert_true(memcmp(f->tensors[0].data, blocks, f->tensors[0].size) == 0);
            tensor_source_close(f);
        }
    }
    free(values);
    free(blocks);
}

static void out_of_memory_at_every_allocation(void **state) {
    (void)state;
    opsm_error err = {0};
    struct tensor_source *golden;
    assert_ok(tensor_source_open(&golden, GOLDEN, &err));
    int failures = 0;
    for (;; failures++) {
        mem_fail_at(failures + 1);
        opsm_status status = write_example(path, golden, &err);
        mem_fail_at(0);
        if (status == OPSM_OK) break;
        assert_int_equal(status, OPSM_NOMEM);
        assert_nothing_left();
    }
    assert_true(failures > N_EXAMPLE + EXAMPLE_KEYS); /* a block per key set, a name per tensor */
    tensor_source_close(golden);
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
        struct tensor_source *golden;
        if (tensor_source_open(&golden, GOLDEN, &err) != OPSM_OK || write_example(wanted, golden, &err) != OPSM_OK) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        tensor_source_close(golden);
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
        IN_SCRATCH(any_number_of_threads_writes_the_same),
        IN_SCRATCH(out_of_memory_at_every_allocation),
        IN_SCRATCH(full_disk_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
