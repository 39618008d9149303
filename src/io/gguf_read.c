/* SPDX-License-Identifier: Apache-2.0
 *
 * Parsing of GGUF. Layout: header, n_kv x {key, type, value}, n_tensors x {name, shape, type, offset}, padding, data.
 * Tables are sized by counts in the file only after checking that so many entries fit into the bytes that follow, so
 * memory stays within a small multiple of the file's size whatever it announces.
 */
#include "base/mem.h"
#include "io/cursor.h"
#include "io/gguf_internal.h"
#include "io/quote.h"
#include <string.h>

enum {
    KV_BYTES_MIN = 8 + 1 + 4 + 1,         /* key length, one character, type, one byte of value */
    TENSOR_BYTES_MIN = 8 + 1 + 4 + 4 + 8, /* name length, one character, dimensions, type, offset */
    STRING_BYTES_MIN = 8,
    LOW_BYTES_OF_VERSION = 0xffff
};

static const struct {
    const char *name;
    size_t size;
} types[GGUF_TYPE_COUNT] = {
    [GGUF_U8] = {"u8", 1},         [GGUF_I8] = {"i8", 1},       [GGUF_U16] = {"u16", 2}, [GGUF_I16] = {"i16", 2},
    [GGUF_U32] = {"u32", 4},       [GGUF_I32] = {"i32", 4},     [GGUF_F32] = {"f32", 4}, [GGUF_BOOL] = {"bool", 1},
    [GGUF_STRING] = {"string", 0}, [GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"u64", 8}, [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};
_Static_assert(GGUF_F64 == 12 && GGUF_TYPE_COUNT == 13, "type numbers are those of the file format");

size_t gguf_type_size(uint32_t type) {
    return type < GGUF_TYPE_COUNT ? types[type].size : 0;
}

const char *gguf_type_name(uint32_t type) {
    return type < GGUF_TYPE_COUNT ? types[type].name : "unknown type";
}

/* ---- header ------------------------------------------------------------------------------------------------------ */

static void read_magic(struct cursor *c) {
    static const char magic[4] = {'G', 'G', 'U', 'F'};
    const uint8_t *found = cursor_take(c, sizeof magic, "the mark 'GGUF'");
    if (!found || memcmp(found, magic, sizeof magic) == 0) return;
    char shown[QUOTE_ROOM];
    cursor_fail(c, OPSM_FORMAT, 0, "not a GGUF file: it starts with %s, expected 'GGUF'",
                quote(shown, (const char *)found, sizeof magic));
}

static void read_version(struct cursor *c, struct gguf *file) {
    size_t at = c->at;
    file->version = cursor_u32(c, "the format version");
    if (!cursor_ok(c)) return;
    if ((file->version & LOW_BYTES_OF_VERSION) == 0 && file->version != 0)
        cursor_fail(c, OPSM_UNSUPPORTED, at, "a big-endian GGUF file; convert it to little endian");
    else if (file->version < GGUF_VERSION_MIN || file->version > GGUF_VERSION_MAX)
        cursor_fail(c, OPSM_UNSUPPORTED, at, "GGUF version %u; versions %d to %d can be read, convert the file again",
                    file->version, GGUF_VERSION_MIN, GGUF_VERSION_MAX);
}

/* A count from the header, refused when so many entries of at least `entry_min` bytes cannot follow. The caller checks
 * again, with what is then left, before it allocates. */
static int64_t read_count(struct cursor *c, size_t entry_min, const char *what) {
    size_t at = c->at;
    uint64_t count = cursor_u64(c, what);
    if (!cursor_ok(c)) return 0;
    if (count > cursor_left(c) / entry_min || count > UINT32_MAX) {
        cursor_fail(c, OPSM_FORMAT, at, "%s is %llu, but only %zu bytes follow; the file is truncated or damaged", what,
                    (unsigned long long)count, cursor_left(c));
        return 0;
    }
    return (int64_t)count;
}

/* ---- metadata ---------------------------------------------------------------------------------------------------- */

static struct gguf_string read_string(struct cursor *c, const char *what) {
    uint64_t length = cursor_u64(c, what);
    const uint8_t *text = cursor_take(c, length, what);
    return text ? (struct gguf_string){.data = (const char *)text, .length = (size_t)length} : (struct gguf_string){0};
}

static void read_key(struct cursor *c, struct gguf_kv *kv) {
    size_t at = c->at;
    kv->key = read_string(c, "a metadata key");
    if (!cursor_ok(c)) return;
    if (kv->key.length == 0)
        cursor_fail(c, OPSM_FORMAT, at, "empty metadata key");
    else if (kv->key.length > GGUF_KEY_LIMIT)
        cursor_fail(c, OPSM_FORMAT, at, "metadata key of %zu bytes, at most %d are allowed", kv->key.length,
                    GGUF_KEY_LIMIT);
}

static uint32_t read_type(struct cursor *c, const struct gguf_kv *kv, const char *what) {
    char shown[QUOTE_ROOM];
    size_t at = c->at;
    uint32_t type = cursor_u32(c, what);
    if (cursor_ok(c) && type >= GGUF_TYPE_COUNT)
        cursor_fail(c, OPSM_FORMAT, at, "key %s: %s is %u, known are 0 to %d",
                    quote(shown, kv->key.data, kv->key.length), what, type, GGUF_TYPE_COUNT - 1);
    return type;
}

static void check_bools(struct cursor *c, const struct gguf_kv *kv) {
    char shown[QUOTE_ROOM];
    for (size_t i = 0; i < kv->size; i++)
        if (kv->data[i] > 1) {
            cursor_fail(c, OPSM_FORMAT, (size_t)(kv->data - c->data) + i, "key %s: a bool is %d, expected 0 or 1",
                        quote(shown, kv->key.data, kv->key.length), kv->data[i]);
            return;
        }
}

/* `count` values of the element type, one after the other. */
static void read_values(struct cursor *c, struct gguf_kv *kv) {
    size_t first = c->at;
    kv->data = c->data + first;
    if (kv->element == GGUF_STRING) {
        for (uint64_t i = 0; i < kv->count && cursor_ok(c); i++) read_string(c, "a metadata string");
    } else {
        cursor_take(c, kv->count * types[kv->element].size, "a metadata value");
    }
    kv->size = c->at - first;
    if (cursor_ok(c) && kv->element == GGUF_BOOL) check_bools(c, kv);
}

static void read_array_header(struct cursor *c, struct gguf_kv *kv) {
    char shown[QUOTE_ROOM];
    size_t at = c->at;
    kv->element = (enum gguf_type)read_type(c, kv, "the array's element type");
    size_t count_at = c->at;
    kv->count = cursor_u64(c, "the array's length");
    if (!cursor_ok(c)) return;
    if (kv->element == GGUF_ARRAY) {
        cursor_fail(c, OPSM_UNSUPPORTED, at, "key %s: an array of arrays; only flat arrays can be read",
                    quote(shown, kv->key.data, kv->key.length));
        return;
    }
    size_t element_min = kv->element == GGUF_STRING ? STRING_BYTES_MIN : types[kv->element].size;
    if (kv->count > cursor_left(c) / element_min)
        cursor_fail(c, OPSM_FORMAT, count_at,
                    "key %s: an array of %llu %s values, but only %zu bytes follow; the file is truncated or damaged",
                    quote(shown, kv->key.data, kv->key.length), (unsigned long long)kv->count,
                    gguf_type_name(kv->element), cursor_left(c));
}

static void read_kv(struct cursor *c, struct gguf_kv *kv) {
    *kv = (struct gguf_kv){.count = 1};
    read_key(c, kv);
    if (!cursor_ok(c)) return;
    kv->type = (enum gguf_type)read_type(c, kv, "the value's type");
    if (!cursor_ok(c)) return;
    kv->element = kv->type;
    if (kv->type == GGUF_ARRAY) read_array_header(c, kv);
    if (cursor_ok(c)) read_values(c, kv);
}

/* Enters a name that must be new. `at` is where its entry starts in the file. */
static void enter_name(struct cursor *c, struct name_map *map, const char *name, size_t length, int64_t i, size_t at,
                       const char *what) {
    uint32_t index = (uint32_t)i;
    char shown[QUOTE_ROOM];
    if (name_map_add(map, name, length, &index) != OPSM_OK)
        c->status = mem_exhausted(c->err, "the index of a GGUF file", map->capacity * 2 * sizeof *map->slots);
    else if (index != (uint32_t)i)
        cursor_fail(c, OPSM_FORMAT, at, "%s %s appears twice (entries %u and %lld)", what, quote(shown, name, length),
                    index, (long long)i);
}

static void read_metadata(struct cursor *c, struct gguf *file) {
    if (!cursor_ok(c)) return;
    file->kv = mem_alloc((size_t)file->n_kv, sizeof *file->kv);
    if (!file->kv) {
        c->status = mem_exhausted(c->err, "the metadata of a GGUF file", (size_t)file->n_kv * sizeof *file->kv);
        return;
    }
    for (int64_t i = 0; i < file->n_kv && cursor_ok(c); i++) {
        struct gguf_kv *kv = &file->kv[i];
        size_t at = c->at;
        read_kv(c, kv);
        if (cursor_ok(c)) enter_name(c, &file->keys, kv->key.data, kv->key.length, i, at, "metadata key");
    }
}

static void find_alignment(struct cursor *c, struct gguf *file) {
    file->alignment = GGUF_ALIGNMENT_DEFAULT;
    if (!cursor_ok(c)) return;
    const struct gguf_kv *kv = gguf_find(file, GGUF_ALIGNMENT_KEY);
    if (!kv) return;
    size_t at = (size_t)(kv->data - c->data);
    if (kv->type != GGUF_U32) {
        cursor_fail(c, OPSM_FORMAT, at, "'" GGUF_ALIGNMENT_KEY "' is of type %s, expected u32",
                    gguf_type_name(kv->type));
        return;
    }
    file->alignment = load_u32(kv->data);
    if (!gguf_alignment_valid(file->alignment))
        cursor_fail(c, OPSM_FORMAT, at, "'" GGUF_ALIGNMENT_KEY "' is %u, expected a power of two", file->alignment);
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

static void read_tensor_name(struct cursor *c, struct gguf_tensor *t) {
    char shown[QUOTE_ROOM];
    size_t at = c->at;
    struct gguf_string name = read_string(c, "a tensor name");
    if (!cursor_ok(c)) return;
    if (name.length == 0 || name.length >= sizeof t->name) {
        cursor_fail(c, OPSM_FORMAT, at, "tensor name %s has %zu bytes, expected 1 to %zu",
                    quote(shown, name.data, name.length), name.length, sizeof t->name - 1);
        return;
    }
    if (memchr(name.data, '\0', name.length)) {
        cursor_fail(c, OPSM_FORMAT, at, "tensor name %s contains a NUL byte", quote(shown, name.data, name.length));
        return;
    }
    memcpy(t->name, name.data, name.length);
}

static void read_shape(struct cursor *c, struct gguf_tensor *t) {
    char shown[QUOTE_ROOM];
    size_t at = c->at;
    uint32_t n_dims = cursor_u32(c, "a tensor's number of dimensions");
    if (!cursor_ok(c)) return;
    if (n_dims > GGUF_DIMS_LIMIT) {
        cursor_fail(c, OPSM_FORMAT, at, "tensor %s has %u dimensions, at most %d are allowed",
                    quote(shown, t->name, strlen(t->name)), n_dims, GGUF_DIMS_LIMIT);
        return;
    }
    t->n_dims = (int)n_dims;
    t->n_elements = 1;
    for (int d = 0; d < GGUF_DIMS_LIMIT; d++) {
        t->shape[d] = 1;
        if (d >= t->n_dims) continue;
        at = c->at;
        uint64_t length = cursor_u64(c, "a tensor's shape");
        if (!cursor_ok(c)) return;
        if (length > INT64_MAX || (length > 0 && (uint64_t)t->n_elements > INT64_MAX / length)) {
            cursor_fail(c, OPSM_FORMAT, at, "tensor %s: dimension %d is %llu, its number of elements overflows",
                        quote(shown, t->name, strlen(t->name)), d, (unsigned long long)length);
            return;
        }
        t->shape[d] = (int64_t)length;
        t->n_elements *= t->shape[d];
    }
}

/* Sets type and size. A size beyond the file is refused here, so that later sums cannot overflow. */
static void read_tensor_type(struct cursor *c, struct gguf_tensor *t) {
    char shown[QUOTE_ROOM];
    size_t at = c->at;
    uint32_t type = cursor_u32(c, "a tensor's type");
    if (!cursor_ok(c)) return;
    const struct quant_traits *traits = quant_traits(type);
    quote(shown, t->name, strlen(t->name));
    if (traits->block == 0) {
        cursor_fail(c, OPSM_UNSUPPORTED, at, "tensor %s has type number %u, which is not known", shown, type);
        return;
    }
    t->type = (enum quant_type)type;
    if (t->shape[0] % traits->block != 0) {
        cursor_fail(c, OPSM_FORMAT, at, "tensor %s: rows of %lld elements are not whole %s blocks of %d", shown,
                    (long long)t->shape[0], traits->name, traits->block);
        return;
    }
    uint64_t n_blocks = (uint64_t)(t->n_elements / traits->block);
    if (n_blocks > c->size / (size_t)traits->bytes) {
        cursor_fail(c, OPSM_FORMAT, at,
                    "tensor %s has %lld elements of %s, more than the whole file of %zu bytes holds", shown,
                    (long long)t->n_elements, traits->name, c->size);
        return;
    }
    t->size = (size_t)n_blocks * (size_t)traits->bytes;
}

/* ggml's reader demands that tensor data follow the order of the descriptions without gaps. Demanding the same here
 * rules out overlaps, and no file that llama.cpp reads is lost. *running is the offset that must come next. */
static void read_offset(struct cursor *c, const struct gguf *file, const struct gguf_tensor *t, uint64_t *running) {
    char shown[QUOTE_ROOM];
    size_t at = c->at;
    uint64_t offset = cursor_u64(c, "a tensor's offset");
    if (!cursor_ok(c)) return;
    if (offset != *running) {
        cursor_fail(
            c, OPSM_FORMAT, at,
            "tensor %s lies at offset %llu of the data, expected %llu: tensors must follow each other in order, "
            "aligned to %u, without gaps or overlaps",
            quote(shown, t->name, strlen(t->name)), (unsigned long long)offset, (unsigned long long)*running,
            file->alignment);
        return;
    }
    *running += gguf_align_up(t->size, file->alignment);
}

static void read_tensor(struct cursor *c, const struct gguf *file, struct gguf_tensor *t, uint64_t *running) {
    *t = (struct gguf_tensor){0};
    size_t at = c->at;
    read_tensor_name(c, t);
    read_shape(c, t);
    read_tensor_type(c, t);
    read_offset(c, file, t, running);
    if (cursor_ok(c) && *running > gguf_align_up(c->size, file->alignment)) {
        char shown[QUOTE_ROOM];
        cursor_fail(
            c, OPSM_FORMAT, at,
            "tensor %s ends %llu bytes into the data, but the whole file has %zu bytes; it is truncated or damaged",
            quote(shown, t->name, strlen(t->name)), (unsigned long long)*running, c->size);
    }
}

/* Points every tensor at its data, which starts at the first aligned byte after the descriptions. */
static void place_tensors(struct cursor *c, struct gguf *file) {
    char shown[QUOTE_ROOM];
    uint64_t at = gguf_align_up(c->at, file->alignment);
    for (int64_t i = 0; i < file->n_tensors; i++) {
        struct gguf_tensor *t = &file->tensors[i];
        if (at > c->size || t->size > c->size - at) {
            cursor_fail(c, OPSM_FORMAT, c->size,
                        "the file ends here, but tensor %s takes bytes %llu to %llu; the file is truncated or damaged",
                        quote(shown, t->name, strlen(t->name)), (unsigned long long)at,
                        (unsigned long long)at + t->size);
            return;
        }
        t->data = c->data + at;
        at += gguf_align_up(t->size, file->alignment);
    }
}

static void read_tensors(struct cursor *c, struct gguf *file) {
    if (!cursor_ok(c)) return;
    if ((uint64_t)file->n_tensors > cursor_left(c) / TENSOR_BYTES_MIN) {
        cursor_fail(
            c, OPSM_FORMAT, c->at,
            "%lld tensor descriptions should follow, but the file ends after %zu more bytes; it is truncated or "
            "damaged",
            (long long)file->n_tensors, cursor_left(c));
        return;
    }
    file->tensors = mem_alloc((size_t)file->n_tensors, sizeof *file->tensors);
    if (!file->tensors) {
        c->status =
            mem_exhausted(c->err, "the tensor table of a GGUF file", (size_t)file->n_tensors * sizeof *file->tensors);
        return;
    }
    uint64_t running = 0;
    for (int64_t i = 0; i < file->n_tensors && cursor_ok(c); i++) {
        struct gguf_tensor *t = &file->tensors[i];
        size_t at = c->at;
        read_tensor(c, file, t, &running);
        if (cursor_ok(c)) enter_name(c, &file->names, t->name, strlen(t->name), i, at, "tensor");
    }
    if (cursor_ok(c)) place_tensors(c, file);
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static opsm_status parse(struct gguf *file, opsm_error *err) {
    struct cursor c = cursor_make(file->bytes, file->size, file->path, err);
    read_magic(&c);
    read_version(&c, file);
    file->n_tensors = read_count(&c, TENSOR_BYTES_MIN, "the number of tensors");
    file->n_kv = read_count(&c, KV_BYTES_MIN, "the number of metadata entries");
    read_metadata(&c, file);
    find_alignment(&c, file);
    read_tensors(&c, file);
    return c.status;
}

static struct gguf *create(const char *name, opsm_error *err) {
    struct gguf *file = mem_zalloc(1, sizeof *file);
    if (file) file->path = mem_strdup(name);
    if (!file || !file->path) {
        mem_free(file);
        mem_exhausted(err, "a GGUF file", sizeof *file);
        return NULL;
    }
    file->keys = name_map_make();
    file->names = name_map_make();
    return file;
}

opsm_status gguf_open(struct gguf **result, const char *path, opsm_error *err) {
    *result = NULL;
    struct gguf *file = create(path, err);
    if (!file) return OPSM_NOMEM;
    opsm_status status = file_map_open(&file->map, path, err);
    if (status == OPSM_OK) {
        file->bytes = file->map.data;
        file->size = file->map.size;
        status = parse(file, err);
    }
    if (status != OPSM_OK)
        gguf_close(file);
    else
        *result = file;
    return status;
}

opsm_status gguf_open_memory(struct gguf **result, const void *data, size_t size, const char *name, opsm_error *err) {
    *result = NULL;
    struct gguf *file = create(name, err);
    if (!file) return OPSM_NOMEM;
    file->bytes = data;
    file->size = size;
    opsm_status status = parse(file, err);
    if (status != OPSM_OK)
        gguf_close(file);
    else
        *result = file;
    return status;
}

void gguf_drop_pages(const struct gguf *file) {
    file_map_drop(&file->map);
}

void gguf_close(struct gguf *file) {
    if (!file) return;
    name_map_free(&file->keys);
    name_map_free(&file->names);
    mem_free(file->kv);
    mem_free(file->tensors);
    mem_free(file->path);
    file_map_close(&file->map);
    mem_free(file);
}
