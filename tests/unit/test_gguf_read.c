/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a file made by an independent writer (tests/golden/make_quant.py).
 */
#include "base/mem.h"
#include "check.h"
#include "io/tensor_source.h"
#include <string.h>

#define GOLDEN OPSM_SOURCE_DIR "/tests/golden/quant.gguf"

static struct tensor_source *file;

static int open_golden(void **state) {
    (void)state;
    return tensor_source_open(&file, GOLDEN, NULL) == OPSM_OK ? 0 : -1;
}

static int close_golden(void **state) {
    (void)state;
    tensor_source_close(file);
    return 0;
}

static void every_type_is_listed(void **state) {
    (void)state;
    const struct {
        const char *key;
        enum metadata_type type, element;
        uint64_t count;
        size_t size;
    } expected[] = {
        {"kv.u8", METADATA_U8, METADATA_U8, 1, 1},
        {"kv.i8", METADATA_I8, METADATA_I8, 1, 1},
        {"kv.u16", METADATA_U16, METADATA_U16, 1, 2},
        {"kv.i16", METADATA_I16, METADATA_I16, 1, 2},
        {"kv.u32", METADATA_U32, METADATA_U32, 1, 4},
        {"kv.i32", METADATA_I32, METADATA_I32, 1, 4},
        {"kv.u64", METADATA_U64, METADATA_U64, 1, 8},
        {"kv.i64", METADATA_I64, METADATA_I64, 1, 8},
        {"kv.f32", METADATA_F32, METADATA_F32, 1, 4},
        {"kv.f64", METADATA_F64, METADATA_F64, 1, 8},
        {"kv.bool", METADATA_BOOL, METADATA_BOOL, 1, 1},
        {"kv.string", METADATA_STRING, METADATA_STRING, 1, 8 + 13},
        {"kv.strings", METADATA_ARRAY, METADATA_STRING, 4, 4 * 8 + 0 + 1 + 9 + 4},
        {"kv.i32s", METADATA_ARRAY, METADATA_I32, 3, 12},
        {"kv.f32s", METADATA_ARRAY, METADATA_F32, 2, 8},
    };
    size_t n = sizeof expected / sizeof *expected;
    assert_int_equal(file->metadata.n, n + 1); /* and general.architecture */
    for (size_t i = 0; i < n; i++) {
        const struct metadata_value *kv = metadata_find(&file->metadata, expected[i].key);
        assert_non_null(kv);
        assert_int_equal(kv->type, expected[i].type);
        assert_int_equal(kv->element, expected[i].element);
        assert_int_equal(kv->count, expected[i].count);
        assert_int_equal(kv->size, expected[i].size);
    }
    assert_null(metadata_find(&file->metadata, "kv.nothing"));
    assert_null(tensor_source_find(file, "nothing"));
    assert_string_equal(tensor_source_path(file), GOLDEN);
    assert_int_equal(file->metadata.values[0].key.length, strlen("general.architecture"));
}

static void numbers_convert_where_they_fit(void **state) {
    (void)state;
    opsm_error err = {0};
    uint32_t u;
    assert_ok(metadata_get_u32(&file->metadata, "kv.u8", &u, &err));
    assert_int_equal(u, 255);
    assert_ok(metadata_get_u32(&file->metadata, "kv.u16", &u, &err));
    assert_int_equal(u, 65535);
    assert_ok(metadata_get_u32(&file->metadata, "kv.u32", &u, &err));
    assert_true(u == UINT32_MAX);
    const char *out_of_range[] = {"kv.i8", "kv.i16", "kv.i32", "kv.i64", "kv.u64"};
    for (int i = 0; i < 5; i++) {
        u = 7;
        assert_int_equal(metadata_get_u32(&file->metadata, out_of_range[i], &u, &err), OPSM_FORMAT);
        assert_int_equal(u, 7);
        assert_non_null(strstr(err.text, out_of_range[i]));
        assert_non_null(strstr(err.text, "byte "));
    }
    float f;
    assert_ok(metadata_get_f32(&file->metadata, "kv.f32", &f, &err));
    assert_true(f == 1.5f);
    assert_ok(metadata_get_f32(&file->metadata, "kv.f64", &f, &err));
    assert_true(f == -2.25f);
    assert_ok(metadata_get_f32(&file->metadata, "kv.i64", &f, &err));
    assert_true(f == -0x1p63f);
    assert_ok(metadata_get_f32(&file->metadata, "kv.u64", &f, &err));
    assert_true(f == 0x1p64f);
    bool b = false;
    assert_ok(metadata_get_bool(&file->metadata, "kv.bool", &b, &err));
    assert_true(b);
}

static void wrong_types_are_named(void **state) {
    (void)state;
    opsm_error err = {0};
    uint32_t u;
    float f;
    bool b;
    struct text_view s, *strings;
    int32_t *ints;
    float *floats;
    uint64_t n;
    assert_int_equal(metadata_get_u32(&file->metadata, "kv.f32", &u, &err), OPSM_FORMAT);
    assert_non_null(strstr(err.text, "metadata key 'kv.f32' is of type f32, expected an integer"));
    assert_int_equal(metadata_get_u32(&file->metadata, "kv.i32s", &u, &err), OPSM_FORMAT);
    assert_non_null(strstr(err.text, "an array of i32"));
    assert_int_equal(metadata_get_f32(&file->metadata, "kv.string", &f, &err), OPSM_FORMAT);
    assert_int_equal(metadata_get_f32(&file->metadata, "kv.bool", &f, &err), OPSM_FORMAT);
    assert_int_equal(metadata_get_bool(&file->metadata, "kv.u8", &b, &err), OPSM_FORMAT);
    assert_int_equal(metadata_get_string(&file->metadata, "kv.strings", &s, &err), OPSM_FORMAT);
    assert_int_equal(metadata_get_strings(&file->metadata, "kv.string", &strings, &n, &err), OPSM_FORMAT);
    assert_int_equal(metadata_get_strings(&file->metadata, "kv.i32s", &strings, &n, &err), OPSM_FORMAT);
    assert_int_equal(metadata_get_i32s(&file->metadata, "kv.f32s", &ints, &n, &err), OPSM_FORMAT);
    assert_int_equal(metadata_get_i32s(&file->metadata, "kv.i32", &ints, &n, &err), OPSM_FORMAT);
    assert_int_equal(metadata_get_f32s(&file->metadata, "kv.strings", &floats, &n, &err), OPSM_FORMAT);
    assert_int_equal(metadata_get_u32(&file->metadata, "absent", &u, &err), OPSM_MISSING);
    assert_non_null(strstr(err.text, "'absent'"));
}

static void strings_and_arrays(void **state) {
    (void)state;
    opsm_error err = {0};
    struct text_view s, *strings;
    assert_ok(metadata_get_string(&file->metadata, "kv.string", &s, &err));
    assert_int_equal(s.length, strlen("na\u00efve \u6f22\u5b57"));
    assert_memory_equal(s.data, "na\u00efve \u6f22\u5b57", s.length);
    uint64_t n;
    assert_ok(metadata_get_strings(&file->metadata, "kv.strings", &strings, &n, &err));
    const char *expected[] = {"", "a", "two words", "\U0001F600"};
    assert_int_equal(n, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(strings[i].length, strlen(expected[i]));
        assert_memory_equal(strings[i].data, expected[i], strings[i].length);
    }
    mem_free(strings);
    int32_t *ints;
    assert_ok(metadata_get_i32s(&file->metadata, "kv.i32s", &ints, &n, &err));
    assert_int_equal(n, 3);
    assert_true(ints[0] == 1 && ints[1] == -2 && ints[2] == 3);
    mem_free(ints);
    float *floats;
    assert_ok(metadata_get_f32s(&file->metadata, "kv.i32s", &floats, &n, &err));
    assert_true(n == 3 && floats[1] == -2.0f);
    mem_free(floats);
    assert_ok(metadata_get_f32s(&file->metadata, "kv.f32s", &floats, &n, &err));
    assert_true(n == 2 && floats[0] == 0.5f && floats[1] == -0.25f);
    mem_free(floats);
}

static void ranges_are_checked(void **state) {
    (void)state;
    opsm_error err = {0};
    const struct tensor_info *t = tensor_source_find(file, "Q4_K.blocks");
    assert_non_null(t);
    assert_int_equal(t->n_dims, 2);
    assert_true(t->shape[0] == 256 && t->shape[1] == 6 && t->shape[2] == 1 && t->n_elements == 1536);
    float out[256];
    const int64_t bad[][2] = {{1, 256},    {0, 255},    {-256, 256},           {0, -256},
                              {1536, 256}, {256, 1536}, {INT64_MAX - 255, 256}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(tensor_source_read(file, t, bad[i][0], bad[i][1], out, &err), OPSM_INVALID);
    assert_ok(tensor_source_read(file, t, 1536, 0, out, &err));
    struct tensor_info other = *t;
    other.type = QUANT_IQ4_XS;
    assert_int_equal(tensor_source_read(file, &other, 0, 256, out, &err), OPSM_UNSUPPORTED);
    assert_non_null(strstr(err.text, "IQ4_XS"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_listed),  cmocka_unit_test(numbers_convert_where_they_fit),
        cmocka_unit_test(wrong_types_are_named), cmocka_unit_test(strings_and_arrays),
        cmocka_unit_test(ranges_are_checked),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
