/* SPDX-License-Identifier: Apache-2.0
 *
 * GGUF model files: a bounds-checked reader over a memory map and a strict writer.
 *
 *   struct gguf *file;
 *   if (gguf_open(&file, "model.gguf", &err) != OPSM_OK) ...          sentence with the byte offset in err.text
 *   const struct gguf_tensor *t = gguf_find_tensor(file, "token_embd.weight");
 *   gguf_dequantize(file, t, 0, t->n_elements, weights, &err);
 *   gguf_close(file);
 *
 * Everything in the file is hostile until checked: after gguf_open succeeded, every length, offset and string that this
 * header hands out lies inside the map, names and keys are unique, and tensor sizes do not overflow. The tables take at
 * most a small multiple of the file's size, whatever counts it announces. Tensors must lie in the order of their
 * descriptions, aligned and without gaps, as ggml's reader demands; padding after the last one may be missing. What is
 * not guarded against: another process that truncates the file while it is open. Format: versions 2 and 3, little
 * endian. Strings are not NUL-terminated in the file and may hold NUL bytes.
 */
#ifndef OPSM_IO_GGUF_H
#define OPSM_IO_GGUF_H
#include "io/quant.h"
#include <opsm/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers as in the file. */
enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_COUNT
};

struct gguf_string {
    const char *data; /* into the map, not NUL-terminated */
    size_t length;
};

struct gguf_kv {
    struct gguf_string key;
    enum gguf_type type;
    enum gguf_type element; /* of an array */
    uint64_t count;         /* elements of an array, 1 otherwise */
    const uint8_t *data;    /* the value's first byte in the map, unaligned, little endian; array elements lie one after
                             * the other, strings with their u64 lengths */
    size_t size;            /* bytes of the value */
};

struct gguf_tensor {
    char name[64]; /* NUL-terminated */
    int n_dims;
    int64_t shape[4];   /* shape[0] is contiguous; unused dimensions are 1 */
    int64_t n_elements; /* product of shape */
    enum quant_type type;
    const uint8_t *data; /* into the map */
    size_t size;         /* bytes */
};

struct gguf; /* opaque; immutable after gguf_open, safe to read from many threads */

opsm_status gguf_open(struct gguf **file, const char *path, opsm_error *err);

/* The same over bytes that the caller keeps alive (fuzzing, tests). `name` is used in sentences. */
opsm_status gguf_open_memory(struct gguf **file, const void *data, size_t size, const char *name, opsm_error *err);

/* Gives the pages of the map back to the system; they come again from the file when they are asked for. */
void gguf_drop_pages(const struct gguf *file);

void gguf_close(struct gguf *file); /* NULL is allowed */

const char *gguf_path(const struct gguf *file);

int64_t gguf_kv_count(const struct gguf *file);
const struct gguf_kv *gguf_kv_at(const struct gguf *file, int64_t i);
const struct gguf_kv *gguf_find(const struct gguf *file, const char *key); /* NULL: no such key */

int64_t gguf_tensor_count(const struct gguf *file);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *file, int64_t i);
const struct gguf_tensor *gguf_find_tensor(const struct gguf *file, const char *name);

/* Typed getters. OPSM_MISSING when the key is absent, OPSM_FORMAT when its type is wrong or the number is out of range;
 * integers of any width convert, floats from f32 or f64 (and integers). */
opsm_status gguf_get_u32(const struct gguf *file, const char *key, uint32_t *value, opsm_error *err);
opsm_status gguf_get_f32(const struct gguf *file, const char *key, float *value, opsm_error *err);
opsm_status gguf_get_bool(const struct gguf *file, const char *key, bool *value, opsm_error *err);
opsm_status gguf_get_string(const struct gguf *file, const char *key, struct gguf_string *value, opsm_error *err);

/* An array of strings: `strings` becomes a mem_alloc'ed table of `count` views into the map; release with mem_free. */
opsm_status gguf_get_strings(const struct gguf *file, const char *key, struct gguf_string **strings, uint64_t *count,
                             opsm_error *err);
/* An array of integers (any width) or floats as a mem_alloc'ed table; release with mem_free. */
opsm_status gguf_get_i32s(const struct gguf *file, const char *key, int32_t **values, uint64_t *count, opsm_error *err);
opsm_status gguf_get_f32s(const struct gguf *file, const char *key, float **values, uint64_t *count, opsm_error *err);

/* Elements [first, first + count) of a tensor as floats, in file order; `first` and `count` are multiples of the block
 * size. Called by one thread; call it for disjoint ranges from many. OPSM_UNSUPPORTED for a type quant.h cannot read.
 */
opsm_status gguf_dequantize(const struct gguf *file, const struct gguf_tensor *tensor, int64_t first, int64_t count,
                            float *out, opsm_error *err);

/* ---- writing ---------------------------------------------------------------------------------------------------- */

/* Describe the whole file first (metadata in the order it shall have, then all tensors), then write the tensor data in
 * the same order. The file appears under its name only when gguf_writer_commit succeeds. Setting a key again replaces
 * its value in place; "general.alignment", when set (u32, power of two), is obeyed. After an error other than from a
 * setter, abort. Nothing passed in is kept: names, keys and values are copied. */
struct gguf_writer;

opsm_status gguf_writer_create(struct gguf_writer **writer, const char *path, opsm_error *err);

opsm_status gguf_writer_set_u32(struct gguf_writer *writer, const char *key, uint32_t value, opsm_error *err);
opsm_status gguf_writer_set_f32(struct gguf_writer *writer, const char *key, float value, opsm_error *err);
opsm_status gguf_writer_set_bool(struct gguf_writer *writer, const char *key, bool value, opsm_error *err);
opsm_status gguf_writer_set_string(struct gguf_writer *writer, const char *key, const char *value, opsm_error *err);
opsm_status gguf_writer_set_strings(struct gguf_writer *writer, const char *key, const struct gguf_string *values,
                                    uint64_t count, opsm_error *err);
opsm_status gguf_writer_set_i32s(struct gguf_writer *writer, const char *key, const int32_t *values, uint64_t count,
                                 opsm_error *err);
opsm_status gguf_writer_set_f32s(struct gguf_writer *writer, const char *key, const float *values, uint64_t count,
                                 opsm_error *err);
/* Carries a key over from another file, bytes as they are. A key already set is replaced in place. */
opsm_status gguf_writer_copy(struct gguf_writer *writer, const struct gguf_kv *kv, opsm_error *err);

/* Announces a tensor. `type` is one of F32, F16, BF16, Q8_0; rows (shape[0]) must be whole blocks. */
opsm_status gguf_writer_add_tensor(struct gguf_writer *writer, const char *name, int n_dims, const int64_t *shape,
                                   enum quant_type type, opsm_error *err);

/* The values of the next announced tensor, converted to its type; `count` must be its number of elements. F32 and BF16
 * take any value; OPSM_NONFINITE when F16 or Q8_0 cannot hold one. Full disks are reported by gguf_writer_commit. */
opsm_status gguf_writer_put(struct gguf_writer *writer, const float *values, int64_t count, opsm_error *err);

/* Durable under its final name, then frees the writer, whatever happens. OPSM_INVALID when a tensor's data is missing.
 */
opsm_status gguf_writer_commit(struct gguf_writer *writer, opsm_error *err);
void gguf_writer_abort(struct gguf_writer *writer); /* NULL is allowed */

#endif
