/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking things up in an opened GGUF file, with the conversions that the format's many number types call for.
 */
#include "base/mem.h"
#include "io/cursor.h"
#include "io/gguf_internal.h"
#include "io/quote.h"
#include <math.h>
#include <string.h>

const char *gguf_path(const struct gguf *file) {
    return file->path;
}

int64_t gguf_kv_count(const struct gguf *file) {
    return file->n_kv;
}

const struct gguf_kv *gguf_kv_at(const struct gguf *file, int64_t i) {
    return &file->kv[i];
}

const struct gguf_kv *gguf_find(const struct gguf *file, const char *key) {
    int64_t i = name_map_find(&file->keys, key, strlen(key));
    return i < 0 ? NULL : &file->kv[i];
}

int64_t gguf_tensor_count(const struct gguf *file) {
    return file->n_tensors;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *file, int64_t i) {
    return &file->tensors[i];
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *file, const char *name) {
    int64_t i = name_map_find(&file->names, name, strlen(name));
    return i < 0 ? NULL : &file->tensors[i];
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

/* Any number of the format, kept exactly. */
struct number {
    enum { NOT_A_NUMBER, SIGNED, UNSIGNED, FLOAT } kind;
    int64_t i;
    uint64_t u;
    double f;
};

static struct number load_number(enum gguf_type type, const uint8_t *p) {
    struct number n = {.kind = NOT_A_NUMBER};
    uint32_t bits32;
    uint64_t bits64;
    float f;
    switch (type) {
    case GGUF_U8:
        return (struct number){.kind = UNSIGNED, .u = *p};
    case GGUF_I8:
        return (struct number){.kind = SIGNED, .i = (int8_t)*p};
    case GGUF_U16:
        return (struct number){.kind = UNSIGNED, .u = load_u16(p)};
    case GGUF_I16:
        return (struct number){.kind = SIGNED, .i = (int16_t)load_u16(p)};
    case GGUF_U32:
        return (struct number){.kind = UNSIGNED, .u = load_u32(p)};
    case GGUF_I32:
        return (struct number){.kind = SIGNED, .i = (int32_t)load_u32(p)};
    case GGUF_U64:
        return (struct number){.kind = UNSIGNED, .u = load_u64(p)};
    case GGUF_I64:
        return (struct number){.kind = SIGNED, .i = (int64_t)load_u64(p)};
    case GGUF_F32:
        bits32 = load_u32(p);
        memcpy(&f, &bits32, sizeof f);
        return (struct number){.kind = FLOAT, .f = f};
    case GGUF_F64:
        bits64 = load_u64(p);
        n.kind = FLOAT;
        memcpy(&n.f, &bits64, sizeof n.f);
        return n;
    default:
        return n;
    }
}

static bool is_integer(enum gguf_type type) {
    struct number n = load_number(type, (const uint8_t[8]){0});
    return n.kind == SIGNED || n.kind == UNSIGNED;
}

static bool is_number(enum gguf_type type) {
    return load_number(type, (const uint8_t[8]){0}).kind != NOT_A_NUMBER;
}

/* True when the integer fits into low..high; *value is then set. */
static bool fits(struct number n, int64_t low, int64_t high, int64_t *value) {
    if (n.kind == UNSIGNED) {
        if (n.u > (uint64_t)high) return false;
        *value = (int64_t)n.u;
        return *value >= low;
    }
    *value = n.i;
    return n.i >= low && n.i <= high;
}

/* Integers round to nearest as any conversion does; a finite f64 that no float can hold is refused. */
static bool to_float(struct number n, float *value) {
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

static size_t value_offset(const struct gguf *file, const struct gguf_kv *kv) {
    return (size_t)(kv->data - file->bytes);
}

/* The entry of a key, NULL with the sentence when it is missing. */
static const struct gguf_kv *require(const struct gguf *file, const char *key, opsm_error *err) {
    const struct gguf_kv *kv = gguf_find(file, key);
    if (!kv)
        opsm_fail(err, OPSM_MISSING, "'%.150s': metadata key '%.150s' is missing; the model file is incomplete",
                  file->path, key);
    return kv;
}

static opsm_status wrong_type(const struct gguf *file, const char *key, const struct gguf_kv *kv, const char *expected,
                              opsm_error *err) {
    bool array = kv->type == GGUF_ARRAY;
    return opsm_fail(err, OPSM_FORMAT, "'%.150s', byte %zu: metadata key '%.150s' is %s%s, expected %s", file->path,
                     value_offset(file, kv), key, array ? "an array of " : "of type ", gguf_type_name(kv->element),
                     expected);
}

static opsm_status out_of_range(const struct gguf *file, const char *key, const struct gguf_kv *kv, uint64_t i,
                                const char *expected, opsm_error *err) {
    return opsm_fail(err, OPSM_FORMAT, "'%.150s', byte %zu: element %llu of metadata key '%.150s' is not %s",
                     file->path, value_offset(file, kv) + (size_t)i * gguf_type_size(kv->element),
                     (unsigned long long)i, key, expected);
}

static opsm_status require_scalar(const struct gguf *file, const char *key, bool (*accept)(enum gguf_type),
                                  const char *expected, const struct gguf_kv **kv, opsm_error *err) {
    *kv = require(file, key, err);
    if (!*kv) return OPSM_MISSING;
    if (!accept((*kv)->type)) return wrong_type(file, key, *kv, expected, err);
    return OPSM_OK;
}

static opsm_status require_array(const struct gguf *file, const char *key, bool (*accept)(enum gguf_type),
                                 const char *expected, const struct gguf_kv **kv, opsm_error *err) {
    *kv = require(file, key, err);
    if (!*kv) return OPSM_MISSING;
    if ((*kv)->type != GGUF_ARRAY || !accept((*kv)->element)) return wrong_type(file, key, *kv, expected, err);
    return OPSM_OK;
}

static bool is_bool(enum gguf_type type) {
    return type == GGUF_BOOL;
}

static bool is_string(enum gguf_type type) {
    return type == GGUF_STRING;
}

opsm_status gguf_get_u32(const struct gguf *file, const char *key, uint32_t *value, opsm_error *err) {
    const struct gguf_kv *kv;
    opsm_status status = require_scalar(file, key, is_integer, "an integer", &kv, err);
    if (status != OPSM_OK) return status;
    int64_t wide;
    if (!fits(load_number(kv->type, kv->data), 0, UINT32_MAX, &wide))
        return out_of_range(file, key, kv, 0, "between 0 and 4294967295", err);
    *value = (uint32_t)wide;
    return OPSM_OK;
}

opsm_status gguf_get_f32(const struct gguf *file, const char *key, float *value, opsm_error *err) {
    const struct gguf_kv *kv;
    opsm_status status = require_scalar(file, key, is_number, "a number", &kv, err);
    if (status != OPSM_OK) return status;
    if (!to_float(load_number(kv->type, kv->data), value))
        return out_of_range(file, key, kv, 0, "within the range of a 32-bit float", err);
    return OPSM_OK;
}

opsm_status gguf_get_bool(const struct gguf *file, const char *key, bool *value, opsm_error *err) {
    const struct gguf_kv *kv;
    opsm_status status = require_scalar(file, key, is_bool, "bool", &kv, err);
    if (status == OPSM_OK) *value = *kv->data != 0;
    return status;
}

/* The string at *p, which the parser has checked; *p moves past it. */
static struct gguf_string next_string(const uint8_t **p) {
    struct gguf_string s = {.data = (const char *)*p + sizeof(uint64_t), .length = (size_t)load_u64(*p)};
    *p += sizeof(uint64_t) + s.length;
    return s;
}

opsm_status gguf_get_string(const struct gguf *file, const char *key, struct gguf_string *value, opsm_error *err) {
    const struct gguf_kv *kv;
    opsm_status status = require_scalar(file, key, is_string, "a string", &kv, err);
    if (status != OPSM_OK) return status;
    const uint8_t *p = kv->data;
    *value = next_string(&p);
    return OPSM_OK;
}

opsm_status gguf_get_strings(const struct gguf *file, const char *key, struct gguf_string **strings, uint64_t *count,
                             opsm_error *err) {
    const struct gguf_kv *kv;
    opsm_status status = require_array(file, key, is_string, "an array of strings", &kv, err);
    if (status != OPSM_OK) return status;
    struct gguf_string *table = mem_alloc((size_t)kv->count, sizeof *table);
    if (!table) return mem_exhausted(err, key, (size_t)kv->count * sizeof *table);
    const uint8_t *p = kv->data;
    for (uint64_t i = 0; i < kv->count; i++) table[i] = next_string(&p);
    *strings = table;
    *count = kv->count;
    return OPSM_OK;
}

opsm_status gguf_get_i32s(const struct gguf *file, const char *key, int32_t **values, uint64_t *count,
                          opsm_error *err) {
    const struct gguf_kv *kv;
    opsm_status status = require_array(file, key, is_integer, "an array of integers", &kv, err);
    if (status != OPSM_OK) return status;
    int32_t *table = mem_alloc((size_t)kv->count, sizeof *table);
    if (!table) return mem_exhausted(err, key, (size_t)kv->count * sizeof *table);
    size_t step = gguf_type_size(kv->element);
    for (uint64_t i = 0; i < kv->count; i++) {
        int64_t wide;
        if (!fits(load_number(kv->element, kv->data + i * step), INT32_MIN, INT32_MAX, &wide)) {
            mem_free(table);
            return out_of_range(file, key, kv, i, "a 32-bit integer", err);
        }
        table[i] = (int32_t)wide;
    }
    *values = table;
    *count = kv->count;
    return OPSM_OK;
}

opsm_status gguf_get_f32s(const struct gguf *file, const char *key, float **values, uint64_t *count, opsm_error *err) {
    const struct gguf_kv *kv;
    opsm_status status = require_array(file, key, is_number, "an array of numbers", &kv, err);
    if (status != OPSM_OK) return status;
    float *table = mem_alloc((size_t)kv->count, sizeof *table);
    if (!table) return mem_exhausted(err, key, (size_t)kv->count * sizeof *table);
    size_t step = gguf_type_size(kv->element);
    for (uint64_t i = 0; i < kv->count; i++)
        if (!to_float(load_number(kv->element, kv->data + i * step), &table[i])) {
            mem_free(table);
            return out_of_range(file, key, kv, i, "within the range of a 32-bit float", err);
        }
    *values = table;
    *count = kv->count;
    return OPSM_OK;
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

opsm_status gguf_dequantize(const struct gguf *file, const struct gguf_tensor *tensor, int64_t first, int64_t count,
                            float *out, opsm_error *err) {
    const struct quant_traits *traits = quant_traits((uint32_t)tensor->type);
    char shown[QUOTE_ROOM];
    quote(shown, tensor->name, strlen(tensor->name));
    if (!traits->decode)
        return opsm_fail(err, OPSM_UNSUPPORTED,
                         "'%.150s': tensor %s is stored as %s, which cannot be read; convert the model to F16, BF16 or "
                         "Q8_0",
                         file->path, shown, traits->name);
    if (first < 0 || count < 0 || first > tensor->n_elements || count > tensor->n_elements - first ||
        first % traits->block != 0 || count % traits->block != 0)
        return opsm_fail(
            err, OPSM_INVALID, "'%.150s': elements %lld + %lld asked of tensor %s, which has %lld in blocks of %d",
            file->path, (long long)first, (long long)count, shown, (long long)tensor->n_elements, traits->block);
    const uint8_t *blocks = tensor->data + first / traits->block * traits->bytes;
    if (count > 0) traits->decode(blocks, count / traits->block, out);
    return OPSM_OK;
}
