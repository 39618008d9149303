/* SPDX-License-Identifier: Apache-2.0 */
#include "io/metadata.h"
#include "base/mem.h"
#include "io/cursor.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} types[METADATA_TYPE_COUNT] = {
    [METADATA_U8] = {"u8", 1},       [METADATA_I8] = {"i8", 1},     [METADATA_U16] = {"u16", 2},
    [METADATA_I16] = {"i16", 2},     [METADATA_U32] = {"u32", 4},   [METADATA_I32] = {"i32", 4},
    [METADATA_F32] = {"f32", 4},     [METADATA_BOOL] = {"bool", 1}, [METADATA_STRING] = {"string", 0},
    [METADATA_ARRAY] = {"array", 0}, [METADATA_U64] = {"u64", 8},   [METADATA_I64] = {"i64", 8},
    [METADATA_F64] = {"f64", 8},
};
_Static_assert(METADATA_F64 == 12 && METADATA_TYPE_COUNT == 13, "type numbers are those of the file format");

size_t metadata_type_size(uint32_t type) {
    return type < METADATA_TYPE_COUNT ? types[type].size : 0;
}

const char *metadata_type_name(uint32_t type) {
    return type < METADATA_TYPE_COUNT ? types[type].name : "unknown type";
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

/* A piece of memory that the table owns, its bytes behind it. Values that were replaced stay until the end. */
struct metadata_block {
    struct metadata_block *next;
    uint8_t bytes[];
};

opsm_status metadata_init(struct metadata *m, const char *where, opsm_error *err) {
    *m = (struct metadata){.where = mem_strdup(where), .keys = name_map_make()};
    return m->where ? OPSM_OK : mem_exhausted(err, "the metadata of a model", strlen(where));
}

void metadata_free(struct metadata *m) {
    for (struct metadata_block *block = m->blocks, *next; block; block = next) {
        next = block->next;
        mem_free(block);
    }
    name_map_free(&m->keys);
    mem_free(m->values);
    mem_free(m->where);
    *m = (struct metadata){0};
}

const struct metadata_value *metadata_find(const struct metadata *m, const char *key) {
    int64_t i = name_map_find(&m->keys, key, strlen(key));
    return i < 0 ? NULL : &m->values[i];
}

opsm_status metadata_reserve(struct metadata *m, int64_t n, opsm_error *err) {
    if (n <= m->room) return OPSM_OK;
    struct metadata_value *values = mem_resize(m->values, (size_t)m->n, (size_t)n, sizeof *values);
    if (!values) return mem_exhausted(err, "the metadata of a model", (size_t)n * sizeof *values);
    m->values = values;
    m->room = n;
    return OPSM_OK;
}

opsm_status metadata_add(struct metadata *m, const struct metadata_value *value, int64_t *index, opsm_error *err) {
    enum { FIRST_ROOM = 32 };
    uint32_t place = (uint32_t)m->n;
    opsm_status status = OPSM_OK;
    if (m->n == m->room) status = metadata_reserve(m, m->room ? 2 * m->room : FIRST_ROOM, err);
    if (status != OPSM_OK) return status;
    if (name_map_add(&m->keys, value->key.data, value->key.length, &place) != OPSM_OK)
        return mem_exhausted(err, "the index of a model's metadata", m->keys.capacity * 2 * sizeof *m->keys.slots);
    if (place == m->n) m->values[m->n++] = *value;
    *index = place;
    return OPSM_OK;
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

/* Any number of the format, kept exactly. */
struct number_format {
    enum { NOT_A_NUMBER, SIGNED, UNSIGNED, FLOAT } kind;
    int64_t i;
    uint64_t u;
    double f;
};

static struct number_format load_number(enum metadata_type type, const uint8_t *p) {
    struct number_format n = {.kind = NOT_A_NUMBER};
    uint32_t bits32;
    uint64_t bits64;
    float f;
    switch (type) {
    case METADATA_U8:
        return (struct number_format){.kind = UNSIGNED, .u = *p};
    case METADATA_I8:
        return (struct number_format){.kind = SIGNED, .i = (int8_t)*p};
    case METADATA_U16:
        return (struct number_format){.kind = UNSIGNED, .u = load_u16(p)};
    case METADATA_I16:
        return (struct number_format){.kind = SIGNED, .i = (int16_t)load_u16(p)};
    case METADATA_U32:
        return (struct number_format){.kind = UNSIGNED, .u = load_u32(p)};
    case METADATA_I32:
        return (struct number_format){.kind = SIGNED, .i = (int32_t)load_u32(p)};
    case METADATA_U64:
        return (struct number_format){.kind = UNSIGNED, .u = load_u64(p)};
    case METADATA_I64:
        return (struct number_format){.kind = SIGNED, .i = (int64_t)load_u64(p)};
    case METADATA_F32:
        bits32 = load_u32(p);
        memcpy(&f, &bits32, sizeof f);
        return (struct number_format){.kind = FLOAT, .f = f};
    case METADATA_F64:
        bits64 = load_u64(p);
        n.kind = FLOAT;
        memcpy(&n.f, &bits64, sizeof n.f);
        return n;
    default:
        return n;
    }
}

static bool is_integer(enum metadata_type type) {
    struct number_format n = load_number(type, (const uint8_t[8]){0});
    return n.kind == SIGNED || n.kind == UNSIGNED;
}

static bool is_number(enum metadata_type type) {
    return load_number(type, (const uint8_t[8]){0}).kind != NOT_A_NUMBER;
}

/* True when the integer fits into low..high; *value is then set. */
static bool fits(struct number_format n, int64_t low, int64_t high, int64_t *value) {
    if (n.kind == UNSIGNED) {
        if (n.u > (uint64_t)high) return false;
        *value = (int64_t)n.u;
        return *value >= low;
    }
    *value = n.i;
    return n.i >= low && n.i <= high;
}

/* Integers round to nearest as any conversion does; a finite f64 that no float can hold is refused. */
static bool to_float(struct number_format n, float *value) {
    if (n.kind == SIGNED)
        *value = (float)n.i;
    else if (n.kind == UNSIGNED)
        *value = (float)n.u;
    else if (isfinite(n.f) && fabs(n.f) > 0x1.fffffep127)
        return false;
    else
        *value = (float)n.f;
    return true;
}

/* ---- typed access ------------------------------------------------------------------------------------------------ */

/* ---- reading ----------------------------------------------------------------------------------------------------- */

enum { PLACE_ROOM = 200 };

/* "'model.gguf', byte 17"; without the byte where there is no file. */
static const char *place(char out[PLACE_ROOM], const struct metadata *m, const uint8_t *data) {
    if (m->origin)
        snprintf(out, PLACE_ROOM, "'%.150s', byte %zu", m->where, (size_t)(data - m->origin));
    else
        snprintf(out, PLACE_ROOM, "'%.150s'", m->where);
    return out;
}

/* The value of a key, which must be there and of an accepted type; of an array, its elements must. */
static opsm_status require(const struct metadata *m, const char *key, bool array, bool (*accept)(enum metadata_type),
                           const char *expected, const struct metadata_value **found, opsm_error *err) {
    char at[PLACE_ROOM];
    const struct metadata_value *value = *found = metadata_find(m, key);
    if (!value)
        return opsm_fail(err, OPSM_MISSING, "'%.150s': metadata key '%.150s' is missing; the model file is incomplete",
                         m->where, key);
    if ((value->type == METADATA_ARRAY) == array && accept(value->element)) return OPSM_OK;
    return opsm_fail(err, OPSM_FORMAT, "%s: metadata key '%.150s' is %s%s, expected %s%s", place(at, m, value->data),
                     key, value->type == METADATA_ARRAY ? "an array of " : "of type ",
                     metadata_type_name(value->element), array ? "an array of " : "", expected);
}

static opsm_status out_of_range(const struct metadata *m, const char *key, const struct metadata_value *value,
                                uint64_t i, const char *expected, opsm_error *err) {
    char at[PLACE_ROOM];
    return opsm_fail(err, OPSM_FORMAT, "%s: element %llu of metadata key '%.150s' is not %s",
                     place(at, m, value->data + i * metadata_type_size(value->element)), (unsigned long long)i, key,
                     expected);
}

static bool is_bool(enum metadata_type type) {
    return type == METADATA_BOOL;
}

static bool is_string(enum metadata_type type) {
    return type == METADATA_STRING;
}

opsm_status metadata_get_u32(const struct metadata *m, const char *key, uint32_t *value, opsm_error *err) {
    const struct metadata_value *found;
    opsm_status status = require(m, key, false, is_integer, "an integer", &found, err);
    if (status != OPSM_OK) return status;
    int64_t wide;
    if (!fits(load_number(found->type, found->data), 0, UINT32_MAX, &wide))
        return out_of_range(m, key, found, 0, "between 0 and 4294967295", err);
    *value = (uint32_t)wide;
    return OPSM_OK;
}

opsm_status metadata_get_f32(const struct metadata *m, const char *key, float *value, opsm_error *err) {
    const struct metadata_value *found;
    opsm_status status = require(m, key, false, is_number, "a number", &found, err);
    if (status != OPSM_OK) return status;
    if (!to_float(load_number(found->type, found->data), value))
        return out_of_range(m, key, found, 0, "within the range of a 32-bit float", err);
    return OPSM_OK;
}

opsm_status metadata_get_bool(const struct metadata *m, const char *key, bool *value, opsm_error *err) {
    const struct metadata_value *found;
    opsm_status status = require(m, key, false, is_bool, "bool", &found, err);
    if (status == OPSM_OK) *value = *found->data != 0;
    return status;
}

/* The string at *p, whose reader has checked it; *p moves past it. */
static struct text_view next_string(const uint8_t **p) {
    struct text_view s = {.data = (const char *)*p + sizeof(uint64_t), .length = (size_t)load_u64(*p)};
    *p += sizeof(uint64_t) + s.length;
    return s;
}

opsm_status metadata_get_string(const struct metadata *m, const char *key, struct text_view *value, opsm_error *err) {
    const struct metadata_value *found;
    opsm_status status = require(m, key, false, is_string, "a string", &found, err);
    if (status != OPSM_OK) return status;
    const uint8_t *p = found->data;
    *value = next_string(&p);
    return OPSM_OK;
}

opsm_status metadata_get_strings(const struct metadata *m, const char *key, struct text_view **strings, uint64_t *count,
                                 opsm_error *err) {
    const struct metadata_value *found;
    opsm_status status = require(m, key, true, is_string, "strings", &found, err);
    if (status != OPSM_OK) return status;
    struct text_view *table = mem_alloc((size_t)found->count, sizeof *table);
    if (!table) return mem_exhausted(err, key, (size_t)found->count * sizeof *table);
    const uint8_t *p = found->data;
    for (uint64_t i = 0; i < found->count; i++) table[i] = next_string(&p);
    *strings = table;
    *count = found->count;
    return OPSM_OK;
}

opsm_status metadata_get_i32s(const struct metadata *m, const char *key, int32_t **values, uint64_t *count,
                              opsm_error *err) {
    const struct metadata_value *found;
    opsm_status status = require(m, key, true, is_integer, "integers", &found, err);
    if (status != OPSM_OK) return status;
    int32_t *table = mem_alloc((size_t)found->count, sizeof *table);
    if (!table) return mem_exhausted(err, key, (size_t)found->count * sizeof *table);
    size_t step = metadata_type_size(found->element);
    for (uint64_t i = 0; i < found->count; i++) {
        int64_t wide;
        if (!fits(load_number(found->element, found->data + i * step), INT32_MIN, INT32_MAX, &wide)) {
            mem_free(table);
            return out_of_range(m, key, found, i, "a 32-bit integer", err);
        }
        table[i] = (int32_t)wide;
    }
    *values = table;
    *count = found->count;
    return OPSM_OK;
}

opsm_status metadata_get_f32s(const struct metadata *m, const char *key, float **values, uint64_t *count,
                              opsm_error *err) {
    const struct metadata_value *found;
    opsm_status status = require(m, key, true, is_number, "numbers", &found, err);
    if (status != OPSM_OK) return status;
    float *table = mem_alloc((size_t)found->count, sizeof *table);
    if (!table) return mem_exhausted(err, key, (size_t)found->count * sizeof *table);
    size_t step = metadata_type_size(found->element);
    for (uint64_t i = 0; i < found->count; i++)
        if (!to_float(load_number(found->element, found->data + i * step), &table[i])) {
            mem_free(table);
            return out_of_range(m, key, found, i, "within the range of a 32-bit float", err);
        }
    *values = table;
    *count = found->count;
    return OPSM_OK;
}

/* ---- setting ----------------------------------------------------------------------------------------------------- */

opsm_status metadata_carry(struct metadata *m, const struct metadata_value *value, opsm_error *err) {
    int64_t i;
    opsm_status status = metadata_add(m, value, &i, err);
    if (status == OPSM_OK) m->values[i] = *value;
    return status;
}

static opsm_status check_length(const struct metadata *m, const char *key, uint64_t length, opsm_error *err) {
    if (length <= METADATA_LENGTH_MAX) return OPSM_OK;
    return opsm_fail(err, OPSM_INVALID, "'%.150s': metadata key '%.150s' has length %llu, expected at most %d",
                     m->where, key, (unsigned long long)length, METADATA_LENGTH_MAX);
}

/* Enters a value of `size` bytes, which the caller fills in at *bytes, under a copy of its key. */
static opsm_status set(struct metadata *m, const char *key, enum metadata_type type, enum metadata_type element,
                       uint64_t count, size_t size, uint8_t **bytes, opsm_error *err) {
    size_t length = strlen(key);
    if (length == 0 || length > METADATA_KEY_MAX)
        return opsm_fail(err, OPSM_INVALID, "'%.150s': a metadata key of %zu bytes, expected 1 to %d", m->where, length,
                         METADATA_KEY_MAX);
    struct metadata_block *block = mem_alloc(sizeof *block + size + length, 1);
    if (!block) return mem_exhausted(err, "the metadata of a model", size);
    *bytes = block->bytes;
    memcpy(block->bytes + size, key, length);
    struct metadata_value value = {.key = {(const char *)block->bytes + size, length},
                                   .type = type,
                                   .element = element,
                                   .count = count,
                                   .data = block->bytes,
                                   .size = size};
    opsm_status status = metadata_carry(m, &value, err);
    if (status != OPSM_OK) {
        mem_free(block);
        return status;
    }
    block->next = m->blocks;
    m->blocks = block;
    return OPSM_OK;
}

/* A number of `size` bytes. */
static opsm_status set_scalar(struct metadata *m, const char *key, enum metadata_type type, uint32_t bits, size_t size,
                              opsm_error *err) {
    uint8_t value[4], *bytes = NULL;
    store_u32(value, bits);
    opsm_status status = set(m, key, type, type, 1, size, &bytes, err);
    if (status == OPSM_OK && bytes) memcpy(bytes, value, size);
    return status;
}

opsm_status metadata_set_u32(struct metadata *m, const char *key, uint32_t value, opsm_error *err) {
    return set_scalar(m, key, METADATA_U32, value, 4, err);
}

opsm_status metadata_set_f32(struct metadata *m, const char *key, float value, opsm_error *err) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return set_scalar(m, key, METADATA_F32, bits, 4, err);
}

opsm_status metadata_set_bool(struct metadata *m, const char *key, bool value, opsm_error *err) {
    return set_scalar(m, key, METADATA_BOOL, value, 1, err);
}

opsm_status metadata_set_string(struct metadata *m, const char *key, const char *value, opsm_error *err) {
    uint8_t *bytes = NULL;
    size_t length = strlen(value);
    opsm_status status = check_length(m, key, length, err);
    if (status == OPSM_OK) status = set(m, key, METADATA_STRING, METADATA_STRING, 1, 8 + length, &bytes, err);
    if (status == OPSM_OK && bytes) memcpy(store_u64(bytes, length), value, length); /* NOLINT: without its NUL */
    return status;
}

opsm_status metadata_set_strings(struct metadata *m, const char *key, const struct text_view *values, uint64_t count,
                                 opsm_error *err) {
    uint8_t *bytes = NULL;
    uint64_t size = 0;
    opsm_status status = check_length(m, key, count, err);
    for (uint64_t i = 0; i < count && status == OPSM_OK; i++) {
        status = check_length(m, key, values[i].length, err);
        size += 8 + values[i].length;
    }
    if (status == OPSM_OK) status = set(m, key, METADATA_ARRAY, METADATA_STRING, count, size, &bytes, err);
    for (uint64_t i = 0; i < count && status == OPSM_OK && bytes; i++) {
        bytes = store_u64(bytes, values[i].length);
        if (values[i].length > 0) memcpy(bytes, values[i].data, values[i].length);
        bytes += values[i].length;
    }
    return status;
}

/* An array of 4-byte numbers. */
static opsm_status set_words(struct metadata *m, const char *key, enum metadata_type element, const void *values,
                             uint64_t count, opsm_error *err) {
    uint8_t *bytes = NULL;
    opsm_status status = check_length(m, key, count, err);
    if (status == OPSM_OK) status = set(m, key, METADATA_ARRAY, element, count, (size_t)count * 4, &bytes, err);
    if (status == OPSM_OK && bytes && count > 0) memcpy(bytes, values, (size_t)count * 4);
    return status;
}

opsm_status metadata_set_i32s(struct metadata *m, const char *key, const int32_t *values, uint64_t count,
                              opsm_error *err) {
    return set_words(m, key, METADATA_I32, values, count, err);
}

opsm_status metadata_set_f32s(struct metadata *m, const char *key, const float *values, uint64_t count,
                              opsm_error *err) {
    return set_words(m, key, METADATA_F32, values, count, err);
}
