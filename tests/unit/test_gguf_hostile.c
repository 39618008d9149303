/* SPDX-License-Identifier: Apache-2.0
 *
 * GGUF files that are not what they say: each is refused with a status and a sentence that names the byte.
 */
#include "base/mem.h"
#include "check.h"
#include "io/tensor_source.h"
#include <stdlib.h>
#include <string.h>

#define GOLDEN OPSM_SOURCE_DIR "/tests/golden/quant.gguf"

/* ---- building files by hand -------------------------------------------------------------------------------------- */

struct image {
    uint8_t *bytes;
    size_t size, room;
};

static void put(struct image *m, const void *data, size_t size) {
    if (m->size + size > m->room) {
        m->room = (m->size + size) * 2;
        m->bytes = realloc(m->bytes, m->room);
        assert_non_null(m->bytes);
    }
    if (size > 0) memcpy(m->bytes + m->size, data, size);
    m->size += size;
}

static void put_u32(struct image *m, uint32_t x) {
    const uint8_t b[] = {(uint8_t)x, (uint8_t)(x >> 8), (uint8_t)(x >> 16), (uint8_t)(x >> 24)};
    put(m, b, sizeof b);
}

static void put_u64(struct image *m, uint64_t x) {
    put_u32(m, (uint32_t)x);
    put_u32(m, (uint32_t)(x >> 32));
}

static void put_text(struct image *m, const char *text, size_t length) {
    put_u64(m, length);
    put(m, text, length);
}

static void put_zeros(struct image *m, size_t n) {
    for (size_t i = 0; i < n; i++) put(m, "", 1);
}

static void pad(struct image *m, size_t alignment) {
    while (m->size % alignment) put(m, "", 1);
}

static struct image header(uint32_t version, uint64_t n_tensors, uint64_t n_kv) {
    struct image m = {0};
    put(&m, "GGUF", 4);
    put_u32(&m, version);
    put_u64(&m, n_tensors);
    put_u64(&m, n_kv);
    return m;
}

static void put_key(struct image *m, const char *key, uint32_t type) {
    put_text(m, key, strlen(key));
    put_u32(m, type);
}

static void put_kv_u32(struct image *m, const char *key, uint32_t value) {
    put_key(m, key, METADATA_U32);
    put_u32(m, value);
}

static void put_tensor(struct image *m, const char *name, uint32_t n_dims, const uint64_t *shape, uint32_t type,
                       uint64_t offset) {
    put_text(m, name, strlen(name));
    put_u32(m, n_dims);
    for (uint32_t d = 0; d < n_dims && d < 8; d++) put_u64(m, shape[d]);
    put_u32(m, type);
    put_u64(m, offset);
}

/* One tensor and nothing else, described as given, followed by 4096 bytes of data. */
static struct image one_tensor(const char *name, uint32_t n_dims, const uint64_t *shape, uint32_t type,
                               uint64_t offset) {
    struct image m = header(3, 1, 0);
    put_tensor(&m, name, n_dims, shape, type, offset);
    pad(&m, 32);
    put_zeros(&m, 4096);
    return m;
}

/* A small valid file with every kind of value; its last tensor ends at *data_end, padding follows. */
static struct image small_valid_file(uint32_t version, size_t *data_end) {
    struct image m = header(version, 2, 16);
    put_kv_u32(&m, "general.alignment", 64);
    for (uint32_t type = 0; type < METADATA_TYPE_COUNT; type++) {
        static const size_t sizes[METADATA_TYPE_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
        char key[] = {'k', (char)('a' + type), '\0'};
        put_key(&m, key, type);
        put_zeros(&m, sizes[type]);
        if (type == METADATA_STRING) put_text(&m, "text", 4);
        if (type == METADATA_ARRAY) {
            put_u32(&m, METADATA_U16);
            put_u64(&m, 3);
            put_zeros(&m, 6);
        }
    }
    put_key(&m, "strings", METADATA_ARRAY);
    put_u32(&m, METADATA_STRING);
    put_u64(&m, 2);
    put_text(&m, "one", 3);
    put_text(&m, "", 0);
    put_key(&m, "bools", METADATA_ARRAY);
    put_u32(&m, METADATA_BOOL);
    put_u64(&m, 2);
    put(&m, "\0\1", 2);
    put_tensor(&m, "first", 2, (const uint64_t[]){32, 2}, QUANT_Q8_0, 0);
    put_tensor(&m, "second", 1, (const uint64_t[]){5}, QUANT_F32, 128);
    pad(&m, 64);
    put_zeros(&m, 128 + 5 * 4);
    *data_end = m.size;
    pad(&m, 64);
    return m;
}

/* ---- checks ------------------------------------------------------------------------------------------------------ */

/* Reads everything that an accepted file offers; sanitizers see what lies outside. */
static void walk(const struct tensor_source *f) {
    opsm_error err = {0};
    unsigned sum = 0;
    for (int64_t i = 0; i < f->metadata.n; i++) {
        const struct metadata_value *kv = &f->metadata.values[i];
        for (size_t b = 0; b < kv->size; b++) sum += kv->data[b];
        char *key = mem_strndup(kv->key.data, kv->key.length);
        struct text_view *strings;
        int32_t *ints;
        float *floats, x;
        uint32_t u;
        uint64_t n;
        if (metadata_get_strings(&f->metadata, key, &strings, &n, &err) == OPSM_OK) {
            for (uint64_t s = 0; s < n; s++)
                for (size_t b = 0; b < strings[s].length; b++) sum += (unsigned char)strings[s].data[b];
            mem_free(strings);
        }
        if (metadata_get_i32s(&f->metadata, key, &ints, &n, &err) == OPSM_OK) mem_free(ints);
        if (metadata_get_f32s(&f->metadata, key, &floats, &n, &err) == OPSM_OK) mem_free(floats);
        if (metadata_get_u32(&f->metadata, key, &u, &err) == OPSM_OK) sum += u;
        if (metadata_get_f32(&f->metadata, key, &x, &err) == OPSM_OK) sum++;
        mem_free(key);
    }
    for (int64_t i = 0; i < f->n_tensors; i++) {
        const struct tensor_info *t = &f->tensors[i];
        for (size_t b = 0; b < t->size; b++) sum += t->data[b];
        float *values = mem_alloc((size_t)t->n_elements, sizeof *values);
        assert_non_null(values);
        tensor_source_read(f, t, 0, t->n_elements, values, &err);
        mem_free(values);
    }
    volatile unsigned sink = sum;
    (void)sink;
}

/* Opens a copy of exactly `size` bytes, so that AddressSanitizer sees the first byte too many. */
static opsm_status open_exactly(const uint8_t *bytes, size_t size, opsm_error *err) {
    uint8_t *copy = malloc(size ? size : 1);
    if (size > 0) memcpy(copy, bytes, size);
    struct tensor_source *f;
    *err = (opsm_error){0};
    opsm_status status = tensor_source_open_memory(&f, copy, size, "hostile", err);
    if (status == OPSM_OK) walk(f);
    assert_int_equal(f != NULL, status == OPSM_OK);
    tensor_source_close(f);
    free(copy);
    return status;
}

/* The image is refused, and the sentence contains `part` and a byte offset. Frees the image. */
static void assert_refused(struct image m, opsm_status expected, const char *part) {
    opsm_error err;
    opsm_status status = open_exactly(m.bytes, m.size, &err);
    if (status != expected || !strstr(err.text, part) || strncmp(err.text, "'hostile', byte ", 16) != 0)
        fail_msg("status %d, expected %d with '%s': %s", (int)status, (int)expected, part, err.text);
    free(m.bytes);
}

static void assert_accepted(struct image m) {
    opsm_error err;
    assert_ok(open_exactly(m.bytes, m.size, &err));
    free(m.bytes);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

/* Cut anywhere, the file is refused. Only the padding after the last tensor may be missing: some writers leave it out,
 * and no value is lost. */
static void truncated_at_any_byte(void **state) {
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        size_t data_end;
        struct image m = small_valid_file(version, &data_end);
        assert_true(m.size > data_end);
        for (size_t size = 0; size < data_end; size++) {
            opsm_error err;
            opsm_status status = open_exactly(m.bytes, size, &err);
            char *at = strstr(err.text, "byte ");
            if (status != OPSM_FORMAT || !at || strtoul(at + 5, NULL, 10) > size)
                fail_msg("%zu of %zu bytes: status %d, %s", size, m.size, (int)status, err.text);
        }
        for (size_t size = data_end; size <= m.size; size++) {
            opsm_error err;
            assert_ok(open_exactly(m.bytes, size, &err));
        }
        free(m.bytes);
    }
}

/* Any single byte replaced: refused, or accepted and safe to read. */
static void any_byte_changed(void **state) {
    (void)state;
    size_t data_end;
    struct image m = small_valid_file(3, &data_end);
    int refused = 0;
    for (size_t i = 0; i < m.size; i++) {
        uint8_t original = m.bytes[i];
        const uint8_t changed[] = {0x00, 0x01, 0x7f, 0x80, 0xff, original ^ 1, original + 1, original ^ 0x80};
        for (size_t j = 0; j < sizeof changed; j++) {
            m.bytes[i] = changed[j];
            opsm_error err;
            refused += open_exactly(m.bytes, m.size, &err) != OPSM_OK;
        }
        m.bytes[i] = original;
    }
    assert_true(refused > 1000);
    free(m.bytes);
}

static void bad_headers(void **state) {
    (void)state;
    assert_refused((struct image){0}, OPSM_FORMAT, "byte 0: the mark 'GGUF' needs 4 bytes");
    struct image zip = {0};
    put(&zip, "PK\3\4............................", 32);
    assert_refused(zip, OPSM_FORMAT, "byte 0: not a GGUF file: it starts with 'PK\\x03\\x04'");
    assert_refused(header(1, 0, 0), OPSM_UNSUPPORTED, "byte 4: GGUF version 1");
    assert_refused(header(0, 0, 0), OPSM_UNSUPPORTED, "version 0");
    assert_refused(header(4, 0, 0), OPSM_UNSUPPORTED, "version 4");
    assert_refused(header(3u << 24, 0, 0), OPSM_UNSUPPORTED, "big-endian");
    assert_accepted(header(3, 0, 0));
    const uint64_t counts[] = {1, 1u << 20, 1ull << 32, 1ull << 62, 1ull << 63, UINT64_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        assert_refused(header(3, 0, counts[i]), OPSM_FORMAT, "byte 16: the number of metadata entries is");
        struct image m = header(3, counts[i], 0);
        assert_refused(m, OPSM_FORMAT, "byte 8: the number of tensors is");
    }
}

/* Refused before memory for so many entries is asked for: the next allocation would fail and say so. */
static void counts_are_checked_before_memory_is_taken(void **state) {
    (void)state;
    struct image m = header(3, 0, 1000);
    put_zeros(&m, 999 * 14);
    struct tensor_source *f;
    opsm_error err = {0};
    mem_fail_at(3);
    opsm_status status = tensor_source_open_memory(&f, m.bytes, m.size, "hostile", &err);
    mem_fail_at(0);
    assert_int_equal(status, OPSM_FORMAT);
    free(m.bytes);

    /* The tensors would have fitted into the header's view of the file, but the metadata took the room. */
    m = header(3, 40, 1);
    put_key(&m, "k", METADATA_STRING);
    put_u64(&m, 1200);
    put_zeros(&m, 1200);
    assert_refused(m, OPSM_FORMAT, "40 tensor descriptions should follow");
}

static void bad_keys(void **state) {
    (void)state;
    const uint64_t lengths[] = {100, 1ull << 32, 1ull << 63, UINT64_MAX - 31, UINT64_MAX - 7, UINT64_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct image m = header(3, 0, 1);
        put_u64(&m, lengths[i]);
        put_zeros(&m, 64);
        assert_refused(m, OPSM_FORMAT, "byte 32: a metadata key needs");
    }
    struct image m = header(3, 0, 1);
    put_kv_u32(&m, "", 1);
    put_zeros(&m, 64);
    assert_refused(m, OPSM_FORMAT, "byte 24: empty metadata key");

    m = header(3, 0, 1);
    put_u64(&m, 65536);
    put_zeros(&m, 65536 + 8);
    assert_refused(m, OPSM_FORMAT, "at most 65535");

    m = header(3, 0, 2);
    put_kv_u32(&m, "same", 1);
    put_kv_u32(&m, "same", 2);
    assert_refused(m, OPSM_FORMAT, "byte 44: metadata key 'same' appears twice (entries 0 and 1)");

    m = header(3, 0, 1);
    put_kv_u32(&m, "k", 1);
    m.bytes[24 + 8 + 1] = 13;
    assert_refused(m, OPSM_FORMAT, "byte 33: key 'k': the value's type is 13");
}

static void bad_values(void **state) {
    (void)state;
    const struct {
        uint32_t element;
        uint64_t count;
        opsm_status status;
        const char *part;
    } arrays[] = {
        {METADATA_ARRAY, 1, OPSM_UNSUPPORTED, "byte 37: key 'k': an array of arrays"},
        {METADATA_TYPE_COUNT, 1, OPSM_FORMAT, "byte 37: key 'k': the array's element type is 13"},
        {UINT32_MAX, 1, OPSM_FORMAT, "element type is 4294967295"},
        {METADATA_U8, 65, OPSM_FORMAT, "byte 41: key 'k': an array of 65 u8 values, but only 64 bytes follow"},
        {METADATA_F64, 1ull << 61, OPSM_FORMAT, "an array of 2305843009213693952 f64 values"},
        {METADATA_U8, UINT64_MAX, OPSM_FORMAT, "an array of 18446744073709551615 u8 values"},
        {METADATA_STRING, 9, OPSM_FORMAT, "an array of 9 string values"},
        {METADATA_STRING, 1ull << 61, OPSM_FORMAT, "string values"},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        struct image m = header(3, 0, 1);
        put_key(&m, "k", METADATA_ARRAY);
        put_u32(&m, arrays[i].element);
        put_u64(&m, arrays[i].count);
        put_zeros(&m, 64);
        assert_refused(m, arrays[i].status, arrays[i].part);
    }
    struct image m = header(3, 0, 1);
    put_key(&m, "k", METADATA_ARRAY);
    put_u32(&m, METADATA_STRING);
    put_u64(&m, 2);
    put_text(&m, "fine", 4);
    put_u64(&m, UINT64_MAX - 3);
    put_zeros(&m, 16);
    assert_refused(m, OPSM_FORMAT, "byte 69: a metadata string needs 18446744073709551612 bytes");

    m = header(3, 0, 1);
    put_key(&m, "k", METADATA_BOOL);
    put(&m, "\2", 1);
    assert_refused(m, OPSM_FORMAT, "byte 37: key 'k': a bool is 2");

    m = header(3, 0, 1);
    put_key(&m, "k", METADATA_ARRAY);
    put_u32(&m, METADATA_BOOL);
    put_u64(&m, 3);
    put(&m, "\0\1\377", 3);
    assert_refused(m, OPSM_FORMAT, "byte 51: key 'k': a bool is 255");
}

static void bad_alignments(void **state) {
    (void)state;
    const uint32_t values[] = {0, 3, 48, UINT32_MAX};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct image m = header(3, 0, 1);
        put_kv_u32(&m, "general.alignment", values[i]);
        assert_refused(m, OPSM_FORMAT, "byte 53: 'general.alignment' is");
    }
    struct image m = header(3, 0, 1);
    put_key(&m, "general.alignment", METADATA_U64);
    put_u64(&m, 32);
    assert_refused(m, OPSM_FORMAT, "is of type u64, expected u32");

    m = header(3, 1, 1);
    put_kv_u32(&m, "general.alignment", 1u << 31);
    put_tensor(&m, "t", 1, (const uint64_t[]){1}, QUANT_F32, 0);
    put_zeros(&m, 64);
    assert_refused(m, OPSM_FORMAT, "takes bytes 2147483648 to 2147483652");
}

static void bad_tensors(void **state) {
    (void)state;
    static const uint64_t one[] = {1, 1, 1, 1, 1, 1, 1, 1};
    char name[66];
    memset(name, 'n', 65);
    name[65] = '\0';
    assert_refused(one_tensor(name, 1, one, QUANT_F32, 0), OPSM_FORMAT, "has 65 bytes, expected 1 to 63");
    name[64] = '\0';
    assert_refused(one_tensor(name, 1, one, QUANT_F32, 0), OPSM_FORMAT, "has 64 bytes, expected 1 to 63");
    assert_accepted(one_tensor(name + 1, 1, one, QUANT_F32, 0));
    assert_refused(one_tensor("", 1, one, QUANT_F32, 0), OPSM_FORMAT, "byte 24: tensor name '' has 0 bytes");
    assert_refused(one_tensor("t", 5, one, QUANT_F32, 0), OPSM_FORMAT, "byte 33: tensor 't' has 5 dimensions");
    assert_refused(one_tensor("t", UINT32_MAX, one, QUANT_F32, 0), OPSM_FORMAT, "has 4294967295 dimensions");
    assert_accepted(one_tensor("t", 0, one, QUANT_F32, 0));

    const uint64_t overflows[][4] = {{1ull << 63, 1, 1, 1},
                                     {UINT64_MAX, 1, 1, 1},
                                     {1ull << 32, 1ull << 31, 1, 1},
                                     {1ull << 16, 1ull << 16, 1ull << 16, 1ull << 15},
                                     {1ull << 62, 2, 0, 1}};
    for (int i = 0; i < 5; i++)
        assert_refused(one_tensor("t", 4, overflows[i], QUANT_F32, 0), OPSM_FORMAT, "its number of elements overflows");
    const uint64_t large[][4] = {{1ull << 31, 1ull << 31, 1, 1}, {INT64_MAX, 1, 1, 1}, {2000, 1, 1, 1}};
    for (int i = 0; i < 3; i++)
        assert_refused(one_tensor("t", 4, large[i], QUANT_F32, 0), OPSM_FORMAT, "more than the whole file");
    assert_refused(one_tensor("t", 1, (const uint64_t[]){33}, QUANT_Q8_0, 0), OPSM_FORMAT, "not whole Q8_0 blocks");
    assert_accepted(one_tensor("t", 2, (const uint64_t[]){32, 0}, QUANT_Q8_0, 0));

    const uint32_t unknown[] = {4, 5, 31, 40, 1u << 30, UINT32_MAX};
    for (int i = 0; i < 6; i++)
        assert_refused(one_tensor("t", 1, one, unknown[i], 0), OPSM_UNSUPPORTED, "byte 45: tensor 't' has type number");
    const uint64_t offsets[] = {1, 32, 1ull << 63, UINT64_MAX - 31, UINT64_MAX};
    for (int i = 0; i < 5; i++)
        assert_refused(one_tensor("t", 1, one, QUANT_F32, offsets[i]), OPSM_FORMAT,
                       "byte 49: tensor 't' lies at offset");
}

static struct image two_tensors(const char *first, const char *second, uint64_t second_offset) {
    struct image m = header(3, 2, 0);
    put_tensor(&m, first, 1, (const uint64_t[]){16}, QUANT_F32, 0);
    put_tensor(&m, second, 1, (const uint64_t[]){16}, QUANT_F32, second_offset);
    pad(&m, 32);
    put_zeros(&m, 128);
    return m;
}

static void tensors_that_disagree(void **state) {
    (void)state;
    assert_accepted(two_tensors("a", "b", 64));
    assert_refused(two_tensors("a", "a", 64), OPSM_FORMAT, "byte 57: tensor 'a' appears twice (entries 0 and 1)");
    assert_refused(two_tensors("a", "b", 0), OPSM_FORMAT, "lies at offset 0 of the data, expected 64");
    assert_refused(two_tensors("a", "b", 32), OPSM_FORMAT, "without gaps or overlaps");
    assert_refused(two_tensors("a", "b", 96), OPSM_FORMAT, "expected 64");
    struct image m = two_tensors("a", "b", 64);
    m.size--;
    assert_refused(m, OPSM_FORMAT, "the file ends here, but tensor 'b' takes bytes 160 to 224");
}

/* Each fits into the file alone, the two together do not. */
static void tensors_that_exceed_the_file_together(void **state) {
    (void)state;
    struct image m = header(3, 2, 0);
    put_tensor(&m, "a", 1, (const uint64_t[]){200}, QUANT_F32, 0);
    put_tensor(&m, "b", 1, (const uint64_t[]){200}, QUANT_F32, 800);
    pad(&m, 32);
    put_zeros(&m, 800);
    assert_refused(m, OPSM_FORMAT, "tensor 'b' ends 1600 bytes into the data, but the whole file has");
}

/* Values that the caller's type cannot hold, alone and as the last element of an array. */
static void numbers_out_of_range(void **state) {
    (void)state;
    const double large[] = {1.0, -1e300};
    struct image m = header(3, 0, 3);
    put_key(&m, "f64", METADATA_F64);
    put(&m, &large[1], 8);
    put_key(&m, "f64s", METADATA_ARRAY);
    put_u32(&m, METADATA_F64);
    put_u64(&m, 2);
    put(&m, large, 16);
    put_key(&m, "u32s", METADATA_ARRAY);
    put_u32(&m, METADATA_U32);
    put_u64(&m, 2);
    put_u32(&m, INT32_MAX);
    put_u32(&m, 1u << 31);
    opsm_error err = {0};
    struct tensor_source *f;
    float x = 7, *floats;
    int32_t *ints;
    uint64_t n;
    assert_ok(tensor_source_open_memory(&f, m.bytes, m.size, "hostile", &err));
    assert_int_equal(metadata_get_f32(&f->metadata, "f64", &x, &err), OPSM_FORMAT);
    assert_true(x == 7);
    assert_int_equal(metadata_get_f32s(&f->metadata, "f64s", &floats, &n, &err), OPSM_FORMAT);
    assert_string_equal(err.text, "'hostile', byte 83: element 1 of metadata key 'f64s' is not within the range of a "
                                  "32-bit float");
    assert_int_equal(metadata_get_i32s(&f->metadata, "u32s", &ints, &n, &err), OPSM_FORMAT);
    assert_non_null(strstr(err.text, "element 1 of metadata key 'u32s' is not a 32-bit integer"));
    tensor_source_close(f);
    free(m.bytes);
}

/* Names are data: terminal escapes, NUL bytes and invalid UTF-8 do not reach the terminal as they are. */
static void names_are_printed_safely(void **state) {
    (void)state;
    const char *evil = "\xff\x1b[31m\xc3(\n\x7f";
    assert_refused(two_tensors(evil, evil, 64), OPSM_FORMAT, "tensor '\\xff\\x1b[31m\\xc3(\\x0a\\x7f' appears twice");

    struct image m = header(3, 1, 0);
    put_text(&m, "a\0b", 3);
    put_zeros(&m, 64);
    assert_refused(m, OPSM_FORMAT, "tensor name 'a\\x00b' contains a NUL byte");

    m = header(3, 0, 2);
    char *key = malloc(60001);
    memset(key, 0xfe, 60000);
    key[60000] = '\0';
    put_kv_u32(&m, key, 1);
    put_kv_u32(&m, key, 2);
    free(key);
    assert_refused(m, OPSM_FORMAT, "\\xfe\\xfe...' appears twice");
}

/* A million names: an index that compared each with each would need hours. */
static void a_million_names_are_quick(void **state) {
    (void)state;
    enum { N = 1000000 };
    struct image m = header(3, 0, N);
    char key[16];
    for (uint32_t i = 0; i < N; i++) {
        snprintf(key, sizeof key, "%08x", i);
        put_kv_u32(&m, key, i);
    }
    struct tensor_source *f;
    opsm_error err = {0};
    assert_ok(tensor_source_open_memory(&f, m.bytes, m.size, "hostile", &err));
    uint32_t value;
    assert_ok(metadata_get_u32(&f->metadata, "000f423f", &value, &err));
    assert_int_equal(value, N - 1);
    assert_int_equal(metadata_get_u32(&f->metadata, "000f4240", &value, &err), OPSM_MISSING);
    tensor_source_close(f);
    memcpy(m.bytes + m.size - 16, "00000000", 8); /* the last key repeats the first */
    assert_refused(m, OPSM_FORMAT, "metadata key '00000000' appears twice (entries 0 and 999999)");
}

static void out_of_memory_at_every_allocation(void **state) {
    (void)state;
    opsm_error err = {0};
    int failures = 0;
    for (;; failures++) {
        struct tensor_source *f;
        mem_fail_at(failures + 1);
        opsm_status status = tensor_source_open(&f, GOLDEN, &err);
        mem_fail_at(0);
        tensor_source_close(f);
        if (status == OPSM_OK) break;
        assert_int_equal(status, OPSM_NOMEM);
        assert_null(f);
        assert_non_null(strstr(err.text, "out of memory"));
    }
    assert_int_equal(failures, 6); /* handle, name, two tables, two indices */
    struct tensor_source *f;
    assert_ok(tensor_source_open(&f, GOLDEN, &err));
    struct text_view *strings;
    int32_t *ints;
    float *floats;
    uint64_t n;
    mem_fail_at(1);
    assert_int_equal(metadata_get_strings(&f->metadata, "kv.strings", &strings, &n, &err), OPSM_NOMEM);
    mem_fail_at(1);
    assert_int_equal(metadata_get_i32s(&f->metadata, "kv.i32s", &ints, &n, &err), OPSM_NOMEM);
    mem_fail_at(1);
    assert_int_equal(metadata_get_f32s(&f->metadata, "kv.f32s", &floats, &n, &err), OPSM_NOMEM);
    mem_fail_at(0);
    tensor_source_close(f);
}

static void files_that_cannot_be_opened(void **state) {
    (void)state;
    opsm_error err = {0};
    struct tensor_source *f;
    assert_int_equal(tensor_source_open(&f, "/nonexistent/model.gguf", &err), OPSM_IO);
    assert_null(f);
    assert_int_equal(tensor_source_open(&f, OPSM_SOURCE_DIR, &err), OPSM_IO);
    assert_int_equal(tensor_source_open(&f, "/dev/null", &err), OPSM_IO);
    tensor_source_close(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(truncated_at_any_byte),
        cmocka_unit_test(any_byte_changed),
        cmocka_unit_test(bad_headers),
        cmocka_unit_test(counts_are_checked_before_memory_is_taken),
        cmocka_unit_test(bad_keys),
        cmocka_unit_test(bad_values),
        cmocka_unit_test(bad_alignments),
        cmocka_unit_test(bad_tensors),
        cmocka_unit_test(tensors_that_disagree),
        cmocka_unit_test(tensors_that_exceed_the_file_together),
        cmocka_unit_test(numbers_out_of_range),
        cmocka_unit_test(names_are_printed_safely),
        cmocka_unit_test(a_million_names_are_quick),
        cmocka_unit_test(out_of_memory_at_every_allocation),
        cmocka_unit_test(files_that_cannot_be_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
