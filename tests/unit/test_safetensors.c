/* SPDX-License-Identifier: Apache-2.0
 *
 * safetensors: what the writer writes is read back, whole and in shards; files and indices that are not what they say
 * are refused with a sentence that names the place; a failure at any point leaves nothing behind.
 */
#include "base/file.h"
#include "base/mem.h"
#include "check.h"
#include "io/cursor.h"
#include "io/hf_names.h"
#include "io/safetensors.h"
#include "io/tensor_source.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch[64];

static int make_scratch(void **state) {
    (void)state;
    strcpy(scratch, "/tmp/opsm-safetensors-XXXXXX");
    return mkdtemp(scratch) ? 0 : -1;
}

static int remove_scratch(void **state) {
    (void)state;
    return file_remove_tree(scratch, NULL) == OPSM_OK ? 0 : -1;
}

/* A path in the scratch directory, good until the fourth next call. */
static const char *in_scratch(const char *name) {
    static char paths[4][160];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", scratch, name);
    return path;
}

static void assert_scratch_holds(const char *names) {
    char command[1024];
    snprintf(command, sizeof command, "test \"$(ls -A '%s' | tr '\\n' ' ')\" = '%s'", scratch, names);
    if (system(command) != 0) fail_msg("the directory does not hold '%s' alone", names);
}

static void write_file(const char *name, const void *bytes, size_t size) {
    FILE *f = fopen(in_scratch(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

/* ---- files by hand ----------------------------------------------------------------------------------------------- */

struct image {
    uint8_t bytes[4096];
    size_t size;
};

/* `data_size` bytes 0, 1, 2, ... after a header that is padded to a multiple of 8. */
static struct image image_of(const char *header, size_t data_size) {
    struct image m = {0};
    size_t length = strlen(header), padded = (length + 7) / 8 * 8;
    assert_true(8 + padded + data_size <= sizeof m.bytes);
    store_u64(m.bytes, padded);
    memset(m.bytes + 8, ' ', padded);
    memcpy(m.bytes + 8, header, length);
    for (size_t i = 0; i < data_size; i++) m.bytes[8 + padded + i] = (uint8_t)i;
    m.size = 8 + padded + data_size;
    return m;
}

/* At the end of exactly so much memory, so that a sanitizer sees every read behind it. */
static opsm_status open_image(const struct image *m, size_t size, struct safetensors **file, opsm_error *err) {
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, m->bytes, size);
    opsm_status status = safetensors_open_memory(file, copy, size, "the file", err);
    if (status != OPSM_OK) assert_null(*file);
    safetensors_close(status == OPSM_OK ? *file : NULL);
    free(copy);
    return status;
}

static void assert_refused(const char *header, size_t data_size, opsm_status code, const char *sentence) {
    opsm_error err = {0};
    struct safetensors *file;
    struct image m = image_of(header, data_size);
    opsm_status status = open_image(&m, m.size, &file, &err);
    if (status != code || err.code != code || strncmp(err.text, "'the file'", 10) != 0 || !strstr(err.text, sentence))
        fail_msg("%s\n  status %d, '%s', expected '%s'", header, status, err.text, sentence);
}

static void assert_accepted(const char *header, size_t data_size) {
    opsm_error err = {0};
    struct safetensors *file;
    struct image m = image_of(header, data_size);
    if (open_image(&m, m.size, &file, &err) != OPSM_OK) fail_msg("%s\n  %s", header, err.text);
}

static void headers_that_lie_are_refused(void **state) {
    (void)state;
    assert_accepted("{}", 0);
    assert_accepted("{\"__metadata__\":{\"format\":\"pt\"}}", 0);
    assert_accepted("{\"t\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4);
    assert_accepted("{\"t\":{\"dtype\":\"F32\",\"shape\":[0,3],\"data_offsets\":[0,0]}}", 0);
    assert_accepted("{\"b\":{\"dtype\":\"F4\",\"shape\":[6],\"data_offsets\":[2,5]},"
                    "\"e\":{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[2,2]},"
                    "\"a\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2],\"more\":null}}",
                    5);
    const struct {
        const char *header;
        size_t data_size;
        opsm_status code;
        const char *sentence;
    } cases[] = {
        {"[1]", 0, OPSM_FORMAT, "byte 8: the header does not begin with '{'"},
        {" {}", 0, OPSM_FORMAT, "byte 8: the header does not begin"},
        {"{\"t\":1", 0, OPSM_FORMAT, "tensor 't' is not described by an object"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},"
         "\"\\u0061\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}",
         0, OPSM_FORMAT, "tensor 'a' appears twice"},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F16\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, OPSM_FORMAT,
         "byte 35: duplicate object key"},
        {"{} x", 0, OPSM_FORMAT, "byte 11: expected nothing behind the object"},
        {"{\"__metadata__\":{}", 0, OPSM_FORMAT, "byte 32: expected ',' or '}'"},
        {"{,}", 0, OPSM_FORMAT, "byte 9: expected a name in quotes"},
        {"{\"__metadata__\":{},}", 0, OPSM_FORMAT, "byte 27: expected a name in quotes"},
        {"{\"t\" 1}", 0, OPSM_FORMAT, "byte 13: expected ':'"},
        {"{\"t\":", 0, OPSM_FORMAT, "byte 16: unexpected token near end of file"},
        {"{\"t\":[}", 0, OPSM_FORMAT, "byte 15: unexpected token near '}'"},
        {"{\"t", 0, OPSM_FORMAT, "byte 16: expected ':'"},
        {"{\"a\":\"\xff\"}", 0, OPSM_FORMAT, "byte 14: unable to decode byte 0xff"},
        {"{\"a\\u0000\":1}", 0, OPSM_FORMAT, "byte 1"},
        {"{\"a\":\x7f}", 0, OPSM_FORMAT, "byte 14: invalid token near '?'"},
        {"{\"a\":{} \"b\":{}}", 0, OPSM_FORMAT, "byte 19: end of file expected near '\"b\"'"},
        {"{\"t\":[]}", 0, OPSM_FORMAT, "tensor 't' is not described by an object"},
        {"{\"__metadata__\":{\"a\":1}}", 0, OPSM_FORMAT, "'__metadata__' must be an object of texts"},
        {"{\"__metadata__\":[]}", 0, OPSM_FORMAT, "byte 24: expected a JSON object"},
        {"{\"t\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, OPSM_FORMAT, "tensor 't': 'dtype' is missing"},
        {"{\"t\":{\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, OPSM_FORMAT, "'dtype' is no text"},
        {"{\"t\":{\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, OPSM_UNSUPPORTED,
         "tensor 't' has the unknown dtype 'f32'"},
        {"{\"t\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, OPSM_FORMAT, "'shape' is missing"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4, OPSM_FORMAT, "'shape' is something else"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, OPSM_FORMAT,
         "'shape' must hold whole numbers from 0"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, OPSM_FORMAT, "whole numbers"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[18446744073709551616],\"data_offsets\":[0,4]}}", 4, OPSM_FORMAT,
         "too big integer"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}", 4, OPSM_FORMAT,
         "dimension 1 is 4294967296, its size overflows"},
        {"{\"t\":{\"dtype\":\"I64\",\"shape\":[288230376151711744],\"data_offsets\":[0,4]}}", 4, OPSM_FORMAT,
         "dimension 0 is 288230376151711744, its size overflows"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, OPSM_UNSUPPORTED,
         "9 dimensions, at most 8"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, OPSM_FORMAT, "'data_offsets' is missing"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, OPSM_FORMAT, "has 1 numbers, expected 2"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, OPSM_FORMAT, "has 3 numbers"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,\"4\"]}}", 4, OPSM_FORMAT, "whole numbers"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, OPSM_FORMAT, "takes bytes 4 to 0"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 3, OPSM_FORMAT,
         "takes bytes 0 to 4 of the data, which has 3; the file is truncated"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[9223372036854775803,9223372036854775807]}}", 4,
         OPSM_FORMAT, "takes bytes 9223372036854775803 to"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, OPSM_FORMAT,
         "2 elements of F32, which are 64 bits, but takes 4 bytes"},
        {"{\"t\":{\"dtype\":\"F6_E2M3\",\"shape\":[2],\"data_offsets\":[0,1]}}", 1, OPSM_FORMAT, "which are 12 bits"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5, OPSM_FORMAT,
         "the tensors end at byte 4 of the data, which has 5"},
        {"{}", 1, OPSM_FORMAT, "the tensors end at byte 0 of the data, which has 1"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, OPSM_FORMAT,
         "tensor 't' begins at byte 4 of the data, expected 0"},
        {"{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         6, OPSM_FORMAT, "tensor 'b' begins at byte 2 of the data, expected 4"},
        {"{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         4, OPSM_FORMAT, "begins at byte 0 of the data, expected 4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(cases[i].header, cases[i].data_size, cases[i].code, cases[i].sentence);
}

static void lengths_that_lie_are_refused(void **state) {
    (void)state;
    opsm_error err = {0};
    struct safetensors *file;
    struct image m = image_of("{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8);
    for (size_t size = 0; size < m.size; size++) {
        assert_int_equal(open_image(&m, size, &file, &err), OPSM_FORMAT);
        assert_non_null(strstr(err.text, "truncated"));
    }
    const uint64_t lengths[] = {0, m.size - 7, 100000000, 100000001, UINT64_MAX, (uint64_t)1 << 63};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct image lies = m;
        store_u64(lies.bytes, lengths[i]);
        assert_int_equal(open_image(&lies, m.size, &file, &err), OPSM_FORMAT);
        assert_non_null(strstr(err.text, "'the file', byte "));
    }
    assert_non_null(strstr(err.text, "at most 100000000 are allowed"));
}

static void deep_headers_are_refused(void **state) {
    (void)state;
    opsm_error err = {0};
    struct safetensors *file;
    struct image m = image_of("{", 0);
    memset(m.bytes + 9, '[', sizeof m.bytes - 9);
    memcpy(m.bytes + 9, "\"a\":", 4);
    store_u64(m.bytes, sizeof m.bytes - 8);
    assert_int_equal(open_image(&m, sizeof m.bytes, &file, &err), OPSM_FORMAT);
    assert_non_null(strstr(err.text, "depth"));
}

static void long_descriptions_are_refused(void **state) {
    (void)state;
    opsm_error err = {0};
    struct safetensors *file;
    const char *begin = "{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]", *end = "}}";
    for (size_t length = 65535; length <= 65537; length++) { /* of the description, which spaces fill up */
        size_t size = length + strlen("{\"a\":}");
        uint8_t *bytes = malloc(8 + size);
        store_u64(bytes, size);
        memset(bytes + 8, ' ', size);
        memcpy(bytes + 8, begin, strlen(begin));
        memcpy(bytes + 8 + size - strlen(end), end, strlen(end));
        opsm_status status = safetensors_open_memory(&file, bytes, 8 + size, "the file", &err);
        assert_int_equal(status, length <= 65536 ? OPSM_OK : OPSM_FORMAT);
        if (status == OPSM_OK) safetensors_close(file);
        free(bytes);
    }
    assert_non_null(strstr(err.text, "tensor 'a' is described in 65537 bytes, at most 65536 are allowed"));
}

static void other_types_are_listed_and_not_read(void **state) {
    (void)state;
    opsm_error err = {0};
    struct safetensors *file;
    struct image m = image_of("{\"x\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,3],\"data_offsets\":[2,8]},"
                              "\"y\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}}",
                              8);
    assert_ok(safetensors_open_memory(&file, m.bytes, m.size, "the file", &err));
    assert_int_equal(file->n_tensors, 2);
    const struct safetensors_tensor *x = safetensors_find(file, "x"), *y = safetensors_find(file, "y");
    assert_true(y == &file->tensors[0] && x == &file->tensors[1]); /* as they lie */
    assert_null(safetensors_find(file, "z"));
    assert_int_equal(x->n_elements, 6);
    assert_int_equal(x->size, 6);
    float values[6];
    assert_int_equal(safetensors_read(file, x, 0, 6, values, &err), OPSM_UNSUPPORTED);
    assert_non_null(strstr(err.text, "tensor 'x' is stored as F8_E4M3"));
    assert_ok(safetensors_read(file, y, 0, 1, values, &err));
    assert_true(values[0] == f16_to_f32(0x0100));
    const int64_t wrong[][2] = {{0, 2}, {-1, 1}, {1, 1}, {0, -1}, {INT64_MAX, INT64_MAX}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(safetensors_read(file, y, wrong[i][0], wrong[i][1], values, &err), OPSM_INVALID);
    assert_ok(safetensors_read(file, y, 1, 0, values, &err));
    safetensors_close(file);
    safetensors_close(NULL);
}

/* ---- writing and reading back ------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    int n_dims;
    int64_t shape[3];
    enum quant_type type;
} example[] = {
    {"odd.bf16", 1, {3}, QUANT_BF16},     {"a.f32", 2, {2, 5}, QUANT_F32},
    {"b.f16", 3, {2, 2, 2}, QUANT_F16},   {"scalar", 0, {0}, QUANT_F32},
    {"empty", 2, {0, 4}, QUANT_F16},      {"q\"uo\\te \xe6\xbc\xa2", 1, {7}, QUANT_BF16},
    {"large", 2, {300, 1000}, QUANT_F32},
};
enum { N_EXAMPLE = sizeof example / sizeof *example };

static int64_t example_elements(int64_t i) {
    int64_t n = 1;
    for (int d = 0; d < example[i].n_dims; d++) n *= example[i].shape[d];
    return n;
}

/* Exact in every type. */
static float example_value(int64_t i, int64_t j) {
    return (float)((i * 31 + j * 7) % 255 - 127);
}

static opsm_status write_example(const char *path, uint64_t shard_bytes, opsm_error *err) {
    struct safetensors_writer *w;
    opsm_status s = safetensors_writer_create(&w, path, shard_bytes, err);
    if (s) return s;
    for (int i = 0; i < N_EXAMPLE && !s; i++)
        s = safetensors_writer_add(w, example[i].name, example[i].n_dims, example[i].shape, example[i].type, err);
    for (int64_t i; !s && (i = safetensors_writer_next(w)) >= 0;) {
        int64_t n = example_elements(i);
        float *values = malloc((size_t)(n + 1) * sizeof *values); /* not mem_alloc: its failures are not ours */
        for (int64_t j = 0; j < n; j++) values[j] = example_value(i, j);
        s = safetensors_writer_put(w, values, n, err);
        free(values);
    }
    if (!s) return safetensors_writer_commit(w, err);
    safetensors_writer_abort(w);
    return s;
}

static void assert_holds_example(const char *path) {
    opsm_error err = {0};
    struct safetensors *file;
    assert_ok(safetensors_open(&file, path, &err));
    assert_int_equal(file->n_tensors, N_EXAMPLE);
    for (int64_t i = 0; i < N_EXAMPLE; i++) {
        const struct safetensors_tensor *t = safetensors_find(file, example[i].name);
        assert_non_null(t);
        assert_string_equal(t->dtype->name, quant_traits((uint32_t)example[i].type)->name);
        assert_int_equal(t->n_dims, example[i].n_dims);
        for (int d = 0; d < t->n_dims; d++) assert_int_equal(t->shape[d], example[i].shape[d]);
        int64_t n = example_elements(i), half = n / 2;
        assert_int_equal(t->n_elements, n);
        if (t->size > 0) assert_int_equal((uintptr_t)t->data % (t->size / (size_t)n), 0);
        float *values = malloc((size_t)(n + 1) * sizeof *values);
        assert_ok(safetensors_read(file, t, half, n - half, values + half, &err));
        safetensors_drop_pages(file);
        assert_ok(safetensors_read(file, t, 0, half, values, &err));
        for (int64_t j = 0; j < n; j++) assert_true(values[j] == example_value(i, j));
        free(values);
    }
    safetensors_close(file);
}

static void what_was_written_is_read(void **state) {
    (void)state;
    opsm_error err = {0};
    assert_ok(write_example(in_scratch("model.safetensors"), 0, &err));
    assert_scratch_holds("model.safetensors ");
    assert_holds_example(in_scratch("model.safetensors"));
    assert_holds_example(scratch);
}

static void shards_are_written_and_read(void **state) {
    (void)state;
    opsm_error err = {0};
    write_file("model.safetensors", "old", 3);
    assert_ok(write_example(in_scratch("model.safetensors"), 60, &err));
    assert_scratch_holds("model-00001-of-00003.safetensors model-00002-of-00003.safetensors "
                         "model-00003-of-00003.safetensors model.safetensors.index.json ");
    assert_holds_example(scratch);
    assert_holds_example(in_scratch("model.safetensors.index.json"));
    struct safetensors *file;
    assert_ok(safetensors_open(&file, in_scratch("model-00003-of-00003.safetensors"), &err));
    assert_int_equal(file->n_tensors, 1);
    assert_string_equal(file->tensors[0].name, "large");
    safetensors_close(file);
    assert_int_equal(unlink(in_scratch("model-00002-of-00003.safetensors")), 0);
    assert_int_equal(safetensors_open(&file, scratch, &err), OPSM_IO);
    assert_null(file);
    assert_non_null(strstr(err.text, "model-00002-of-00003.safetensors"));
}

static void a_shard_holds_what_fits(void **state) {
    (void)state;
    opsm_error err = {0};
    struct safetensors_writer *w;
    struct safetensors *file;
    const float x[4] = {1, 2, 3, 4};
    assert_ok(safetensors_writer_create(&w, in_scratch("m.safetensors"), 16, &err));
    const char *names[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++)
        assert_ok(safetensors_writer_add(w, names[i], 1, (const int64_t[]){i % 3 == 0 ? 8 : 2}, QUANT_F32, &err));
    for (int i = 0; i < 4; i++) {
        float wide[8] = {0};
        assert_int_equal(safetensors_writer_next(w), i);
        assert_ok(safetensors_writer_put(w, i % 3 == 0 ? wide : x, i % 3 == 0 ? 8 : 2, &err));
    }
    assert_int_equal(safetensors_writer_next(w), -1);
    assert_ok(safetensors_writer_commit(w, &err));
    const int expected[] = {1, 2, 1}; /* a alone though too large, b and c, d */
    for (int i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "m-0000%d-of-00003.safetensors", i + 1);
        assert_ok(safetensors_open(&file, in_scratch(name), &err));
        assert_int_equal(file->n_tensors, expected[i]);
        safetensors_close(file);
    }
}

static void directories_without_a_model_are_refused(void **state) {
    (void)state;
    opsm_error err = {0};
    struct safetensors *file;
    assert_int_equal(safetensors_open(&file, scratch, &err), OPSM_IO);
    assert_non_null(strstr(err.text, "is a directory with neither model.safetensors nor"));
    assert_int_equal(safetensors_open(&file, in_scratch("absent"), &err), OPSM_IO);
}

static void indices_that_lie_are_refused(void **state) {
    (void)state;
    opsm_error err = {0};
    struct safetensors *file;
    struct image m = image_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                              "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
                              8);
    write_file("one.safetensors", m.bytes, m.size);
    write_file("two.safetensors", m.bytes, m.size);
    write_file("bad.safetensors", m.bytes, m.size - 1);
    const struct {
        const char *index;
        opsm_status code;
        const char *sentence;
    } cases[] = {
        {"", OPSM_FORMAT, "byte 0"},
        {"[]", OPSM_FORMAT, "'weight_map' is missing"},
        {"{}", OPSM_FORMAT, "'weight_map' is missing"},
        {"{\"weight_map\":[]}", OPSM_FORMAT, "'weight_map' is something else"},
        {"{\"weight_map\":{\"a\":1}}", OPSM_FORMAT, "tensor 'a': expected the plain name of a file"},
        {"{\"weight_map\":{\"a\":\"../one.safetensors\"}}", OPSM_FORMAT, "in the same directory, without '/'"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", OPSM_FORMAT, "without '/'"},
        {"{\"weight_map\":{\"a\":\"..\"}}", OPSM_FORMAT, "without '/'"},
        {"{\"weight_map\":{\"a\":\"\"}}", OPSM_FORMAT, "without '/'"},
        {"{\"weight_map\":{\"a\":\"\x7f.safetensors\"}}", OPSM_FORMAT, "without '/'"},
        {"{\"weight_map\":{\"a\":\"sub\\\\one.safetensors\"}}", OPSM_FORMAT, "without '/'"},
        {"{\"weight_map\":{\"a\":\"one.safetensors\",\"a\":\"two.safetensors\"}}", OPSM_FORMAT, "duplicate"},
        {"{\"weight_map\":{\"a\":\"none.safetensors\"}}", OPSM_IO, "none.safetensors"},
        {"{\"weight_map\":{\"a\":\"bad.safetensors\"}}", OPSM_FORMAT,
         "bad.safetensors': tensor 'b' takes bytes 4 to 8"},
        {"{\"weight_map\":{\"a\":\"one.safetensors\",\"c\":\"two.safetensors\"}}", OPSM_FORMAT,
         "places tensor 'c' in 'two.safetensors', which does not hold it"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file("model.safetensors.index.json", cases[i].index, strlen(cases[i].index));
        opsm_status status = safetensors_open(&file, scratch, &err);
        if (status != cases[i].code || file || !strstr(err.text, cases[i].sentence))
            fail_msg("%s\n  status %d, '%s'", cases[i].index, status, err.text);
    }
    /* Both files hold both tensors: the index says which counts. */
    const char *both = "{\"metadata\":{},\"weight_map\":{\"b\":\"one.safetensors\",\"a\":\"two.safetensors\"}}";
    write_file("model.safetensors.index.json", both, strlen(both));
    assert_ok(safetensors_open(&file, scratch, &err));
    assert_int_equal(file->n_tensors, 2);
    assert_int_equal(file->n_maps, 2);
    assert_true(safetensors_find(file, "b")->data == file->maps[0].data + file->maps[0].size - 4);
    assert_true(safetensors_find(file, "a")->data == file->maps[1].data + file->maps[1].size - 8);
    safetensors_close(file);
}

/* ---- as a model's tensors ---------------------------------------------------------------------------------------- */

static void names_translate_both_ways(void **state) {
    (void)state;
    const struct {
        const char *hf, *gguf;
        int sandwich; /* 0: plain, 1: sandwich, 2: either */
    } cases[] = {
        {"model.embed_tokens.weight", "token_embd.weight", 2},
        {"model.norm.weight", "output_norm.weight", 2},
        {"lm_head.weight", "output.weight", 2},
        {"model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight", 2},
        {"model.layers.12.self_attn.q_proj.bias", "blk.12.attn_q.bias", 2},
        {"model.layers.7.self_attn.k_norm.weight", "blk.7.attn_k_norm.weight", 2},
        {"model.layers.7.mlp.down_proj.weight", "blk.7.ffn_down.weight", 2},
        {"model.layers.7.post_attention_layernorm.weight", "blk.7.ffn_norm.weight", 0},
        {"model.layers.7.post_attention_layernorm.weight", "blk.7.post_attention_norm.weight", 1},
        {"model.layers.7.pre_feedforward_layernorm.weight", "blk.7.ffn_norm.weight", 1},
        {"model.layers.7.post_feedforward_layernorm.weight", "blk.7.post_ffw_norm.weight", 1},
    };
    char there[GGUF_NAME_ROOM], back[HF_NAME_ROOM];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int sandwich = 0; sandwich < 2; sandwich++) {
            if (cases[i].sandwich == !sandwich) continue;
            assert_true(hf_name_to_gguf(there, cases[i].hf, sandwich));
            assert_string_equal(there, cases[i].gguf);
            assert_true(hf_name_from_gguf(back, cases[i].gguf, sandwich));
            assert_string_equal(back, cases[i].hf);
        }
    const char *const foreign[] = {"",
                                   "model.layers.",
                                   "model.layers.1",
                                   "model.layers.1.weight",
                                   "model.layers..input_layernorm.weight",
                                   "model.layers.x.input_layernorm.weight",
                                   "model.layers.1234567.input_layernorm.weight",
                                   "model.layers.1.input_layernorm",
                                   "model.layers.1.input_layernorm.scale",
                                   "model.layers.1.input_layernorm.weight.weight",
                                   "model.layers.1.self_attn.rotary_emb.inv_freq",
                                   "xmodel.norm.weight",
                                   "model.norm.weight2"};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        assert_false(hf_name_to_gguf(there, foreign[i], false));
    assert_false(hf_name_from_gguf(back, "blk.1.attn_qkv.weight", false));
}

static void assert_source_refused(const char *header, size_t data_size, opsm_status code, const char *sentence) {
    opsm_error err = {0};
    struct tensor_source *source;
    struct image m = image_of(header, data_size);
    write_file("x.safetensors", m.bytes, m.size);
    assert_int_equal(tensor_source_open(&source, in_scratch("x.safetensors"), &err), code);
    assert_null(source);
    if (!strstr(err.text, sentence)) fail_msg("'%s', expected '%s'", err.text, sentence);
}

static void tensors_of_a_model_have_gguf_names(void **state) {
    (void)state;
    opsm_error err = {0};
    struct tensor_source *source;
    struct image m = image_of(
        "{\"model.layers.1.mlp.up_proj.weight\":{\"dtype\":\"BF16\",\"shape\":[3,2],\"data_offsets\":[0,12]},"
        "\"model.layers.1.self_attn.rotary_emb.inv_freq\":{\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[12,14]},"
        "\"other\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[14,16]}}",
        16);
    write_file("model.safetensors", m.bytes, m.size);
    assert_ok(tensor_source_open(&source, scratch, &err));
    assert_int_equal(source->n_tensors, 2);
    assert_true(source->rotate_half);
    const struct tensor_info *up = tensor_source_find(source, "blk.1.ffn_up.weight"),
                             *other = tensor_source_find(source, "other");
    assert_true(up && other);
    assert_true(up->n_dims == 2 && up->shape[0] == 2 && up->shape[1] == 3 && up->shape[2] == 1 &&
                up->type == QUANT_BF16);
    assert_true(other->n_dims == 0 && other->shape[0] == 1 && other->n_elements == 1);
    float x[6], y[6];
    assert_ok(tensor_source_read(source, up, 2, 4, x, &err));
    tensor_source_drop_pages(source);
    quant_traits(QUANT_BF16)->decode(m.bytes + m.size - 16 + 4, 4, y);
    assert_memory_equal(x, y, 4 * sizeof *x);
    tensor_source_close(source);

    assert_source_refused("{\"t\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, OPSM_UNSUPPORTED,
                          "'t' is stored as F8_E4M3");
    assert_source_refused("{\"t\":{\"dtype\":\"F16\",\"shape\":[1,1,1,1,1],\"data_offsets\":[0,2]}}", 2,
                          OPSM_UNSUPPORTED, "5 dimensions, at most 4");
    assert_source_refused("{\"vision_tower.vision_model.encoder.layers.26.self_attn.out_proj.weight\":"
                          "{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}}",
                          2, OPSM_UNSUPPORTED, "is not part of a language model");
    assert_source_refused("{\"lm_head.weight\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]},"
                          "\"output.weight\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[2,4]}}",
                          4, OPSM_FORMAT, "'output.weight' is there under two names");
}

static void misuse_gets_a_sentence(void **state) {
    (void)state;
    opsm_error err = {0};
    struct safetensors_writer *w;
    const int64_t two[] = {2}, negative[] = {-1}, huge[] = {INT64_MAX / 4, 8}, nine[9] = {0};
    assert_ok(safetensors_writer_create(&w, in_scratch("m.safetensors"), 0, &err));
    assert_int_equal(safetensors_writer_add(w, "", 1, two, QUANT_F32, &err), OPSM_INVALID);
    assert_int_equal(safetensors_writer_add(w, "__metadata__", 1, two, QUANT_F32, &err), OPSM_INVALID);
    assert_int_equal(safetensors_writer_add(w, "\xff", 1, two, QUANT_F32, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "cannot be called '\\xff'"));
    assert_int_equal(safetensors_writer_add(w, "t", 1, negative, QUANT_F32, &err), OPSM_INVALID);
    assert_int_equal(safetensors_writer_add(w, "t", 2, huge, QUANT_F32, &err), OPSM_INVALID);
    assert_int_equal(safetensors_writer_add(w, "t", 9, nine, QUANT_F32, &err), OPSM_INVALID);
    assert_int_equal(safetensors_writer_add(w, "t", -1, nine, QUANT_F32, &err), OPSM_INVALID);
    assert_int_equal(safetensors_writer_add(w, "t", 1, two, QUANT_Q8_0, &err), OPSM_UNSUPPORTED);
    assert_non_null(strstr(err.text, "use F32, F16 or BF16"));
    assert_ok(safetensors_writer_add(w, "t", 1, two, QUANT_F16, &err));
    assert_int_equal(safetensors_writer_add(w, "t", 1, two, QUANT_F32, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "'t' is announced twice"));
    assert_int_equal(safetensors_writer_put(w, (const float[]){1}, 1, &err), OPSM_INVALID);
    assert_int_equal(safetensors_writer_put(w, (const float[]){1, 70000}, 2, &err), OPSM_NONFINITE);
    assert_non_null(strstr(err.text, "element 1 of tensor 't' is 70000, which F16 cannot hold"));
    assert_int_equal(safetensors_writer_add(w, "late", 1, two, QUANT_F32, &err), OPSM_INVALID);
    assert_ok(safetensors_writer_put(w, (const float[]){1, 2}, 2, &err));
    assert_int_equal(safetensors_writer_put(w, (const float[]){1, 2}, 2, &err), OPSM_INVALID);
    safetensors_writer_abort(w);
    safetensors_writer_abort(NULL);
    assert_ok(safetensors_writer_create(&w, in_scratch("m.safetensors"), 0, &err));
    assert_ok(safetensors_writer_add(w, "t", 1, two, QUANT_F16, &err));
    assert_int_equal(safetensors_writer_commit(w, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "'t' was never written (0 of 1 were)"));
    assert_scratch_holds("");
    assert_ok(safetensors_writer_create(&w, in_scratch("m.safetensors"), 0, &err));
    assert_ok(safetensors_writer_commit(w, &err)); /* no tensors at all are a file, too */
    struct safetensors *file;
    assert_ok(safetensors_open(&file, in_scratch("m.safetensors"), &err));
    assert_int_equal(file->n_tensors, 0);
    safetensors_close(file);
}

static void out_of_memory_at_every_allocation(void **state) {
    (void)state;
    opsm_error err = {0};
    int failures = 0;
    for (;; failures++) {
        mem_fail_at(failures + 1);
        opsm_status status = write_example(in_scratch("model.safetensors"), 60, &err);
        mem_fail_at(0);
        if (status == OPSM_OK) break;
        assert_int_equal(status, OPSM_NOMEM);
        assert_int_equal(file_remove_tree(scratch, NULL), OPSM_OK); /* complete shards may be there, the index not */
        char command[100];
        snprintf(command, sizeof command, "mkdir '%s'", scratch);
        assert_int_equal(system(command), 0);
    }
    assert_true(failures > 2 * N_EXAMPLE);
    int reads = 0;
    for (;; reads++) {
        struct safetensors *file;
        mem_fail_at(reads + 1);
        opsm_status status = safetensors_open(&file, scratch, &err);
        mem_fail_at(0);
        if (status == OPSM_OK) {
            safetensors_close(file);
            break;
        }
        assert_int_equal(status, OPSM_NOMEM);
        assert_null(file);
    }
    assert_true(reads > N_EXAMPLE);
}

static void full_disk_leaves_no_index(void **state) {
    (void)state;
    opsm_error err = {0};
    int failures = 0;
    for (;; failures++) {
        file_fail_at(failures + 1);
        opsm_status status = write_example(in_scratch("model.safetensors"), 60, &err);
        file_fail_at(0);
        if (status == OPSM_OK) break;
        assert_int_equal(status, OPSM_IO);
        assert_non_null(strstr(err.text, "No space left"));
        assert_false(file_exists(in_scratch("model.safetensors.index.json")));
        char command[160];
        snprintf(command, sizeof command, "! ls -A '%s' | grep -q tmp", scratch);
        assert_int_equal(system(command), 0);
    }
    assert_true(failures >= 4 * 3); /* three shards and the index: write, fsync, rename */
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, make_scratch, remove_scratch)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_that_lie_are_refused),
        cmocka_unit_test(lengths_that_lie_are_refused),
        cmocka_unit_test(deep_headers_are_refused),
        cmocka_unit_test(long_descriptions_are_refused),
        cmocka_unit_test(other_types_are_listed_and_not_read),
        IN_SCRATCH(what_was_written_is_read),
        IN_SCRATCH(shards_are_written_and_read),
        IN_SCRATCH(a_shard_holds_what_fits),
        IN_SCRATCH(directories_without_a_model_are_refused),
        IN_SCRATCH(indices_that_lie_are_refused),
        cmocka_unit_test(names_translate_both_ways),
        IN_SCRATCH(tensors_of_a_model_have_gguf_names),
        IN_SCRATCH(misuse_gets_a_sentence),
        IN_SCRATCH(out_of_memory_at_every_allocation),
        IN_SCRATCH(full_disk_leaves_no_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
