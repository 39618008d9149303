/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing GGUF version 3 in the strict form that ggml's reader demands: unique keys and names, names below 64 bytes,
 * data in the order of the descriptions, every tensor (the last one too) padded to the alignment.
 *
 * Descriptions are collected in memory and go out with the metadata when the first tensor arrives; tensor data streams.
 */
#include "base/mem.h"
#include "io/cursor.h"
#include "io/encode.h"
#include "io/gguf_internal.h"
#include "io/quote.h"
#include "io/tensor_source.h"
#include <string.h>

enum { FIRST_ROOM = 32 };

struct planned_tensor {
    char *name;
    int n_dims;
    int64_t shape[GGUF_DIMS_LIMIT];
    int64_t n_elements;
    enum quant_type type;
    uint64_t size; /* bytes without padding */
};

struct gguf_writer {
    struct file_out *out;
    char *path;
    const struct metadata *metadata; /* borrowed */
    struct planned_tensor *tensors;
    size_t n_tensors, tensors_room;
    struct name_map names;
    size_t next;   /* tensor whose data comes next */
    bool data_now; /* header written, only tensor data may follow */
    uint32_t alignment;
    uint8_t *room; /* ENCODE_ROOM, for conversion */
};

/* ---- life cycle -------------------------------------------------------------------------------------------------- */

static void free_writer(struct gguf_writer *w) {
    name_map_free(&w->names);
    for (size_t i = 0; i < w->n_tensors; i++) mem_free(w->tensors[i].name);
    mem_free(w->tensors);
    mem_free(w->path);
    mem_free(w->room);
    mem_free(w);
}

opsm_status gguf_writer_create(struct gguf_writer **result, const char *path, const struct metadata *metadata,
                               opsm_error *err) {
    *result = NULL;
    struct gguf_writer *w = mem_zalloc(1, sizeof *w);
    if (!w) return mem_exhausted(err, "a GGUF writer", sizeof *w);
    w->metadata = metadata;
    w->names = name_map_make();
    w->path = mem_strdup(path);
    w->room = mem_alloc(ENCODE_ROOM, 1);
    opsm_status status =
        w->path && w->room ? file_create(&w->out, path, err) : mem_exhausted(err, "a GGUF writer", ENCODE_ROOM);
    if (status != OPSM_OK)
        free_writer(w);
    else
        *result = w;
    return status;
}

void gguf_writer_abort(struct gguf_writer *w) {
    if (!w) return;
    file_abort(w->out);
    free_writer(w);
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

static opsm_status check_shape(const struct gguf_writer *w, const char *shown, int n_dims, const int64_t *shape,
                               const struct quant_traits *traits, int64_t *n_elements, opsm_error *err) {
    if (n_dims < 1 || n_dims > GGUF_DIMS_LIMIT)
        return opsm_fail(err, OPSM_INVALID, "'%.150s': tensor %s has %d dimensions, expected 1 to %d", w->path, shown,
                         n_dims, GGUF_DIMS_LIMIT);
    /* Bytes, not elements, must stay countable: 4 is the most that an element of a writable type takes. */
    int64_t n = 1, limit = INT64_MAX / 8;
    for (int d = 0; d < n_dims; d++) {
        if (shape[d] < 0 || (shape[d] > 0 && n > limit / shape[d]))
            return opsm_fail(err, OPSM_INVALID, "'%.150s': tensor %s: dimension %d is %lld, negative or too large",
                             w->path, shown, d, (long long)shape[d]);
        n *= shape[d];
    }
    if (shape[0] % traits->block != 0)
        return opsm_fail(err, OPSM_INVALID, "'%.150s': tensor %s: rows of %lld elements are not whole %s blocks of %d",
                         w->path, shown, (long long)shape[0], traits->name, traits->block);
    *n_elements = n;
    return OPSM_OK;
}

/* So that one more tensor fits. */
static opsm_status make_room(struct gguf_writer *w, opsm_error *err) {
    if (w->n_tensors < w->tensors_room) return OPSM_OK;
    size_t more = w->tensors_room ? w->tensors_room * 2 : FIRST_ROOM;
    struct planned_tensor *bigger = mem_resize(w->tensors, w->n_tensors, more, sizeof *bigger);
    if (!bigger) return mem_exhausted(err, "the tensor table of a GGUF writer", more * sizeof *bigger);
    w->tensors = bigger;
    w->tensors_room = more;
    return OPSM_OK;
}

static opsm_status append_tensor(struct gguf_writer *w, const char *name, const struct planned_tensor *tensor,
                                 opsm_error *err) {
    char shown[QUOTE_ROOM];
    size_t length = strlen(name);
    opsm_status status = make_room(w, err);
    if (status != OPSM_OK) return status;
    char *copy = mem_strndup(name, length);
    uint32_t index = (uint32_t)w->n_tensors;
    if (!copy || name_map_add(&w->names, copy, length, &index) != OPSM_OK) {
        mem_free(copy);
        return mem_exhausted(err, "the tensor table of a GGUF writer", length);
    }
    if (index != w->n_tensors) {
        mem_free(copy);
        return opsm_fail(err, OPSM_INVALID, "'%.150s': tensor %s is announced twice", w->path,
                         quote(shown, name, length));
    }
    w->tensors[w->n_tensors] = *tensor;
    w->tensors[w->n_tensors++].name = copy;
    return OPSM_OK;
}

opsm_status gguf_writer_add_tensor(struct gguf_writer *w, const char *name, int n_dims, const int64_t *shape,
                                   enum quant_type type, opsm_error *err) {
    enum { NAME_LIMIT = sizeof((struct tensor_info *)0)->name - 1 };
    char shown[QUOTE_ROOM];
    size_t length = strlen(name);
    quote(shown, name, length);
    if (w->data_now)
        return opsm_fail(err, OPSM_INVALID, "'%.150s': tensor %s announced after tensor data was written", w->path,
                         shown);
    if (length == 0 || length > NAME_LIMIT)
        return opsm_fail(err, OPSM_INVALID, "'%.150s': tensor name %s has %zu bytes, expected 1 to %d", w->path, shown,
                         length, NAME_LIMIT);
    const struct quant_traits *traits = quant_traits((uint32_t)type);
    if (!traits->encode)
        return opsm_fail(err, OPSM_UNSUPPORTED,
                         "'%.150s': tensor %s cannot be written as %s; use F32, F16, BF16, Q8_0, Q4_0 or Q4_K", w->path,
                         shown, traits->name);
    struct planned_tensor tensor = {.n_dims = n_dims, .type = type};
    opsm_status status = check_shape(w, shown, n_dims, shape, traits, &tensor.n_elements, err);
    if (status != OPSM_OK) return status;
    memcpy(tensor.shape, shape, (size_t)n_dims * sizeof *shape);
    tensor.size = (uint64_t)(tensor.n_elements / traits->block) * (uint64_t)traits->bytes;
    return append_tensor(w, name, &tensor, err);
}

/* ---- output ------------------------------------------------------------------------------------------------------ */

static void write_u32(struct gguf_writer *w, uint32_t x) {
    uint8_t bytes[4];
    store_u32(bytes, x);
    file_write(w->out, bytes, sizeof bytes);
}

static void write_u64(struct gguf_writer *w, uint64_t x) {
    uint8_t bytes[8];
    store_u64(bytes, x);
    file_write(w->out, bytes, sizeof bytes);
}

/* Zeros up to the next multiple of the alignment. `size` counts from an aligned position. */
static void write_padding(struct gguf_writer *w, uint64_t size) {
    static const uint8_t zeros[256];
    for (uint64_t left = gguf_align_up(size, w->alignment) - size; left > 0;) {
        size_t n = left < sizeof zeros ? (size_t)left : sizeof zeros;
        file_write(w->out, zeros, n);
        left -= n;
    }
}

/* The alignment that the metadata announces, which may have been carried over from another file. */
static opsm_status settle_alignment(struct gguf_writer *w, opsm_error *err) {
    const struct metadata_value *value = metadata_find(w->metadata, GGUF_ALIGNMENT_KEY);
    w->alignment = GGUF_ALIGNMENT_DEFAULT;
    if (value && value->type == METADATA_U32) w->alignment = load_u32(value->data);
    if ((!value || value->type == METADATA_U32) && gguf_alignment_valid(w->alignment)) return OPSM_OK;
    return opsm_fail(err, OPSM_INVALID, "'%.150s': metadata key '" GGUF_ALIGNMENT_KEY "' must be a u32 power of two",
                     w->path);
}

static void write_value(struct gguf_writer *w, const struct metadata_value *value) {
    write_u64(w, value->key.length);
    file_write(w->out, value->key.data, value->key.length);
    write_u32(w, value->type);
    if (value->type == METADATA_ARRAY) {
        write_u32(w, value->element);
        write_u64(w, value->count);
    }
    file_write(w->out, value->data, value->size);
}

static void write_description(struct gguf_writer *w, const struct planned_tensor *t, uint64_t offset) {
    size_t length = strlen(t->name);
    write_u64(w, length);
    file_write(w->out, t->name, length);
    write_u32(w, (uint32_t)t->n_dims);
    for (int d = 0; d < t->n_dims; d++) write_u64(w, (uint64_t)t->shape[d]);
    write_u32(w, (uint32_t)t->type);
    write_u64(w, offset);
}

/* Everything before the tensor data. */
static opsm_status write_header(struct gguf_writer *w, opsm_error *err) {
    opsm_status status = settle_alignment(w, err);
    if (status != OPSM_OK) return status;
    w->data_now = true;
    file_write(w->out, "GGUF", 4);
    write_u32(w, GGUF_VERSION_MAX);
    write_u64(w, w->n_tensors);
    write_u64(w, (uint64_t)w->metadata->n);
    for (int64_t i = 0; i < w->metadata->n; i++) write_value(w, &w->metadata->values[i]);
    uint64_t offset = 0;
    for (size_t i = 0; i < w->n_tensors; i++) {
        write_description(w, &w->tensors[i], offset);
        offset += gguf_align_up(w->tensors[i].size, w->alignment);
    }
    write_padding(w, file_written(w->out));
    return OPSM_OK;
}

opsm_status gguf_writer_put(struct gguf_writer *w, const float *values, int64_t count, opsm_error *err) {
    opsm_status status = w->data_now ? OPSM_OK : write_header(w, err);
    if (status != OPSM_OK) return status;
    if (w->next == w->n_tensors)
        return opsm_fail(err, OPSM_INVALID, "'%.150s': data for more than the %zu announced tensors", w->path,
                         w->n_tensors);
    const struct planned_tensor *t = &w->tensors[w->next];
    if (count != t->n_elements)
        return opsm_fail(err, OPSM_INVALID, "'%.150s': %lld values for tensor '%s', expected %lld", w->path,
                         (long long)count, t->name, (long long)t->n_elements);
    status = encode_to_file(w->out, t->type, values, count, w->room, w->path, t->name, err);
    if (status != OPSM_OK) return status;
    write_padding(w, t->size);
    w->next++;
    return OPSM_OK;
}

opsm_status gguf_writer_commit(struct gguf_writer *w, opsm_error *err) {
    opsm_status status = w->data_now ? OPSM_OK : write_header(w, err);
    if (status == OPSM_OK && w->next < w->n_tensors)
        status = opsm_fail(err, OPSM_INVALID, "'%.150s': the data of tensor '%s' was never written (%zu of %zu were)",
                           w->path, w->tensors[w->next].name, w->next, w->n_tensors);
    if (status != OPSM_OK) {
        gguf_writer_abort(w);
        return status;
    }
    status = file_commit(w->out, err);
    free_writer(w);
    return status;
}
