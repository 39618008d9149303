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
#include "io/tensor_source.h"
#include <string.h>

enum {
    KV_BYTES_MIN = 8 + 1 + 4 + 1,         /* key length, one character, type, one byte of value */
    TENSOR_BYTES_MIN = 8 + 1 + 4 + 4 + 8, /* name length, one character, dimensions, type, offset */
    STRING_BYTES_MIN = 8,
    LOW_BYTES_OF_VERSION = 0xffff
};

/* ---- header ------------------------------------------------------------------------------------------------------ */

static void read_magic(struct cursor *c) {
    static const char magic[4] = {'G', 'G', 'U', 'F'};
    const uint8_t *found = cursor_take(c, sizeof magic, "the mark 'GGUF'");
    if (!found || memcmp(found, magic, sizeof magic) == 0) return;
    char shown[QUOTE_ROOM];
    cursor_fail(c, OPSM_FORMAT, 0, "not a GGUF file: it starts with %s, expected 'GGUF'",
                quote(shown, (const char *)found, sizeof magic));
}

static void read_version(struct cursor *c) {
    size_t at = c->at;
    uint32_t version = cursor_u32(c, "the format version");
    if (!cursor_ok(c)) return;
    if ((version & LOW_BYTES_OF_VERSION) == 0 && version != 0)
        cursor_fail(c, OPSM_UNSUPPORTED, at, "a big-endian GGUF file; convert it to little endian");
    else if (version < GGUF_VERSION_MIN || version > GGUF_VERSION_MAX)
        cursor_fail(c, OPSM_UNSUPPORTED, at, "GGUF version %u; versions %d to %d can be read, convert the file again",
                    version, GGUF_VERSION_MIN, GGUF_VERSION_MAX);
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

static struct text_view read_string(struct cursor *c, const char *what) {
    uint64_t length = cursor_u64(c, what);
    const uint8_t *text = cursor_take(c, length, what);
    return text ? (struct text_view){.data = (const char *)text, .length = (size_t)length} : (struct text_view){0};
}

static void read_key(struct cursor *c, struct metadata_value *kv) {
    size_t at = c->at;
    kv->key = read_string(c, "a metadata key");
    if (!cursor_ok(c)) return;
    if (kv->key.length == 0)
        cursor_fail(c, OPSM_FORMAT, at, "empty metadata key");
    else if (kv->key.length > METADATA_KEY_MAX)
        cursor_fail(c, OPSM_FORMAT, at, "metadata key of %zu bytes, at most %d are allowed", kv->key.length,
                    METADATA_KEY_MAX);
}

static uint32_t read_type(struct cursor *c, const struct metadata_value *kv, const char *what) {
    char shown[QUOTE_ROOM];
    size_t at = c->at;
    uint32_t type = cursor_u32(c, what);
    if (cursor_ok(c) && type >= METADATA_TYPE_COUNT)
        cursor_fail(c, OPSM_FORMAT, at, "key %s: %s is %u, known are 0 to %d",
                    quote(shown, kv->key.data, kv->key.length), what, type, METADATA_TYPE_COUNT - 1);
    return type;
}

static void check_bools(struct cursor *c, const struct metadata_value *kv) {
    char shown[QUOTE_ROOM];
    for (size_t i = 0; i < kv->size; i++)
        if (kv->data[i] > 1) {
            cursor_fail(c, OPSM_FORMAT, (size_t)(kv->data - c->data) + i, "key %s: a bool is %d, expected 0 or 1",
                        quote(shown, kv->key.data, kv->key.length), kv->data[i]);
            return;
        }
}

/* `count` values of the element type, one after the other. */
static void read_values(struct cursor *c, struct metadata_value *kv) {
    size_t first = c->at;
    kv->data = c->data + first;
    if (kv->element == METADATA_STRING) {
        for (uint64_t i = 0; i < kv->count && cursor_ok(c); i++) read_string(c, "a metadata string");
    } else {
        cursor_take(c, kv->count * metadata_type_size(kv->element), "a metadata value");
    }
    kv->size = c->at - first;
    if (cursor_ok(c) && kv->element == METADATA_BOOL) check_bools(c, kv);
}

static void read_array_header(struct cursor *c, struct metadata_value *kv) {
    char shown[QUOTE_ROOM];
    size_t at = c->at;
    kv->element = (enum metadata_type)read_type(c, kv, "the array's element type");
    size_t count_at = c->at;
    kv->count = cursor_u64(c, "the array's length");
    if (!cursor_ok(c)) return;
    if (kv->element == METADATA_ARRAY) {
        cursor_fail(c, OPSM_UNSUPPORTED, at, "key %s: an array of arrays; only flat arrays can be read",
                    quote(shown, kv->key.data, kv->key.length));
        return;
    }
    size_t element_min = kv->element == METADATA_STRING ? STRING_BYTES_MIN : metadata_type_size(kv->element);
    if (kv->count > cursor_left(c) / element_min)
        cursor_fail(c, OPSM_FORMAT, count_at,
                    "key %s: an array of %llu %s values, but only %zu bytes follow; the file is truncated or damaged",
                    quote(shown, kv->key.data, kv->key.length), (unsigned long long)kv->count,
                    metadata_type_name(kv->element), cursor_left(c));
}

static void read_kv(struct cursor *c, struct metadata_value *kv) {
    *kv = (struct metadata_value){.count = 1};
    read_key(c, kv);
    if (!cursor_ok(c)) return;
    kv->type = (enum metadata_type)read_type(c, kv, "the value's type");
    if (!cursor_ok(c)) return;
    kv->element = kv->type;
    if (kv->type == METADATA_ARRAY) read_array_header(c, kv);
    if (cursor_ok(c)) read_values(c, kv);
}

static void appears_twice(struct cursor *c, size_t at, const char *what, const char *name, size_t length, int64_t first,
                          int64_t second) {
    char shown[QUOTE_ROOM];
    cursor_fail(c, OPSM_FORMAT, at, "%s %s appears twice (entries %lld and %lld)", what, quote(shown, name, length),
                (long long)first, (long long)second);
}

static void read_metadata(struct cursor *c, struct metadata *metadata, int64_t n) {
    if (cursor_ok(c)) c->status = metadata_reserve(metadata, n, c->err);
    for (int64_t i = 0; i < n && cursor_ok(c); i++) {
        struct metadata_value kv;
        size_t at = c->at;
        int64_t index = i;
        read_kv(c, &kv);
        if (cursor_ok(c)) c->status = metadata_add(metadata, &kv, &index, c->err);
        if (index != i) appears_twice(c, at, "metadata key", kv.key.data, kv.key.length, index, i);
    }
}

static uint32_t find_alignment(struct cursor *c, const struct metadata *metadata) {
    const struct metadata_value *kv = cursor_ok(c) ? metadata_find(metadata, GGUF_ALIGNMENT_KEY) : NULL;
    if (!kv) return GGUF_ALIGNMENT_DEFAULT;
    size_t at = (size_t)(kv->data - c->data);
    if (kv->type != METADATA_U32) {
        cursor_fail(c, OPSM_FORMAT, at, "'" GGUF_ALIGNMENT_KEY "' is of type %s, expected u32",
                    metadata_type_name(kv->type));
        return GGUF_ALIGNMENT_DEFAULT;
    }
    uint32_t alignment = load_u32(kv->data);
    if (!gguf_alignment_valid(alignment))
        cursor_fail(c, OPSM_FORMAT, at, "'" GGUF_ALIGNMENT_KEY "' is %u, expected a power of two", alignment);
    return alignment;
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

static void read_tensor_name(struct cursor *c, struct tensor_info *t) {
    char shown[QUOTE_ROOM];
    size_t at = c->at;
    struct text_view name = read_string(c, "a tensor name");
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

static void read_shape(struct cursor *c, struct tensor_info *t) {
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
static void read_tensor_type(struct cursor *c, struct tensor_info *t) {
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
static void read_offset(struct cursor *c, const struct tensor_info *t, uint32_t alignment, uint64_t *running) {
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
            alignment);
        return;
    }
    *running += gguf_align_up(t->size, alignment);
}

static void read_tensor(struct cursor *c, struct tensor_info *t, uint32_t alignment, uint64_t *running) {
    *t = (struct tensor_info){0};
    size_t at = c->at;
    read_tensor_name(c, t);
    read_shape(c, t);
    read_tensor_type(c, t);
    read_offset(c, t, alignment, running);
    if (cursor_ok(c) && *running > gguf_align_up(c->size, alignment)) {
        char shown[QUOTE_ROOM];
        cursor_fail(
            c, OPSM_FORMAT, at,
            "tensor %s ends %llu bytes into the data, but the whole file has %zu bytes; it is truncated or damaged",
            quote(shown, t->name, strlen(t->name)), (unsigned long long)*running, c->size);
    }
}

/* Points every tensor at its data, which starts at the first aligned byte after the descriptions. */
static void place_tensors(struct cursor *c, struct tensor_source *source, uint32_t alignment) {
    char shown[QUOTE_ROOM];
    uint64_t at = gguf_align_up(c->at, alignment);
    for (int64_t i = 0; i < source->n_tensors; i++) {
        struct tensor_info *t = &source->tensors[i];
        if (at > c->size || t->size > c->size - at) {
            cursor_fail(c, OPSM_FORMAT, c->size,
                        "the file ends here, but tensor %s takes bytes %llu to %llu; the file is truncated or damaged",
                        quote(shown, t->name, strlen(t->name)), (unsigned long long)at,
                        (unsigned long long)at + t->size);
            return;
        }
        t->data = c->data + at;
        at += gguf_align_up(t->size, alignment);
    }
}

static void read_tensors(struct cursor *c, struct tensor_source *source, int64_t n, uint32_t alignment) {
    if (!cursor_ok(c)) return;
    if ((uint64_t)n > cursor_left(c) / TENSOR_BYTES_MIN) {
        cursor_fail(
            c, OPSM_FORMAT, c->at,
            "%lld tensor descriptions should follow, but the file ends after %zu more bytes; it is truncated or "
            "damaged",
            (long long)n, cursor_left(c));
        return;
    }
    source->tensors = mem_alloc((size_t)n, sizeof *source->tensors);
    if (!source->tensors)
        c->status = mem_exhausted(c->err, "the tensor table of a GGUF file", (size_t)n * sizeof *source->tensors);
    uint64_t running = 0;
    for (int64_t i = 0; i < n && cursor_ok(c); i++) {
        struct tensor_info *t = &source->tensors[i];
        size_t at = c->at;
        uint32_t index = (uint32_t)i;
        read_tensor(c, t, alignment, &running);
        if (!cursor_ok(c)) return;
        if (name_map_add(&source->names, t->name, strlen(t->name), &index) != OPSM_OK)
            c->status = mem_exhausted(c->err, "the index of a GGUF file",
                                      source->names.capacity * 2 * sizeof *source->names.slots);
        else if (index != (uint32_t)i)
            appears_twice(c, at, "tensor", t->name, strlen(t->name), index, i);
    }
    source->n_tensors = n;
    if (cursor_ok(c)) place_tensors(c, source, alignment);
}

opsm_status gguf_read(struct tensor_source *source, const void *data, size_t size, opsm_error *err) {
    struct cursor c = cursor_make(data, size, source->metadata.where, err);
    source->metadata.origin = data;
    read_magic(&c);
    read_version(&c);
    int64_t n_tensors = read_count(&c, TENSOR_BYTES_MIN, "the number of tensors");
    int64_t n_keys = read_count(&c, KV_BYTES_MIN, "the number of metadata entries");
    read_metadata(&c, &source->metadata, n_keys);
    uint32_t alignment = find_alignment(&c, &source->metadata);
    read_tensors(&c, source, n_tensors, alignment);
    return c.status;
}
