/* SPDX-License-Identifier: Apache-2.0
 *
 * What a model file says besides its tensors: keys with typed values, whatever format they came in.
 *
 * The vocabulary of keys is GGUF's ("general.architecture", "llama.block_count", "tokenizer.ggml.tokens", ...): a reader
 * of another format translates its own names into these, and whoever reads a model knows one set of names. Values lie
 * as GGUF stores them, so that the table is made of views into a mapped file: a vocabulary of 150000 tokens is copied
 * nowhere. What is set by hand is copied into blocks of the table's own.
 *
 *   struct metadata metadata;
 *   metadata_init(&metadata, "model.gguf", &err);        begins every sentence about it
 *   metadata_set_u32(&metadata, "llama.block_count", 2, &err);
 *   metadata_get_u32(&metadata, "llama.block_count", &n, &err);
 *   metadata_free(&metadata);
 */
#ifndef OPSM_IO_METADATA_H
#define OPSM_IO_METADATA_H
#include "base/text.h"
#include "io/name_map.h"
#include <opsm/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers as in a GGUF file. */
enum metadata_type {
    METADATA_U8,
    METADATA_I8,
    METADATA_U16,
    METADATA_I16,
    METADATA_U32,
    METADATA_I32,
    METADATA_F32,
    METADATA_BOOL,
    METADATA_STRING,
    METADATA_ARRAY,
    METADATA_U64,
    METADATA_I64,
    METADATA_F64,
    METADATA_TYPE_COUNT
};

/* What GGUF holds: bytes of a key; bytes of a string, elements of an array. */
enum { METADATA_KEY_MAX = 65535, METADATA_LENGTH_MAX = 1 << 30 };

struct metadata_value {
    struct text_view key;
    enum metadata_type type;
    enum metadata_type element; /* of an array, the type itself otherwise */
    uint64_t count;             /* elements of an array, 1 otherwise */
    const uint8_t *data;        /* the value's first byte, unaligned, little endian; array elements lie one after the
                                 * other, strings with their u64 lengths */
    size_t size;                /* bytes of the value */
};

struct metadata_block;

struct metadata {
    char *where;                   /* begins sentences: the file's path. Owned */
    const uint8_t *origin;         /* the file's first byte, for the offsets in sentences; NULL: there is no file */
    struct metadata_value *values; /* [n], in the order of the file or of setting; room for more */
    int64_t n, room;
    struct name_map keys;
    struct metadata_block *blocks; /* what was set */
};

opsm_status metadata_init(struct metadata *metadata, const char *where, opsm_error *err);
void metadata_free(struct metadata *metadata); /* zero-initialised is allowed */

const struct metadata_value *metadata_find(const struct metadata *metadata, const char *key); /* NULL: no such key */

/* Typed getters. OPSM_MISSING when the key is absent, OPSM_FORMAT when its type is wrong or the number is out of range;
 * integers of any width convert, floats from f32 or f64 (and integers). */
opsm_status metadata_get_u32(const struct metadata *metadata, const char *key, uint32_t *value, opsm_error *err);
opsm_status metadata_get_f32(const struct metadata *metadata, const char *key, float *value, opsm_error *err);
opsm_status metadata_get_bool(const struct metadata *metadata, const char *key, bool *value, opsm_error *err);
opsm_status metadata_get_string(const struct metadata *metadata, const char *key, struct text_view *value,
                                opsm_error *err);

/* An array of strings: `strings` becomes a mem_alloc'ed table of `count` views; release with mem_free. */
opsm_status metadata_get_strings(const struct metadata *metadata, const char *key, struct text_view **strings,
                                 uint64_t *count, opsm_error *err);
/* An array of integers (any width) or floats as a mem_alloc'ed table; release with mem_free. */
opsm_status metadata_get_i32s(const struct metadata *metadata, const char *key, int32_t **values, uint64_t *count,
                              opsm_error *err);
opsm_status metadata_get_f32s(const struct metadata *metadata, const char *key, float **values, uint64_t *count,
                              opsm_error *err);

/* Setters copy key and value. A key that is set again keeps its place. OPSM_INVALID for what no GGUF file holds. */
opsm_status metadata_set_u32(struct metadata *metadata, const char *key, uint32_t value, opsm_error *err);
opsm_status metadata_set_f32(struct metadata *metadata, const char *key, float value, opsm_error *err);
opsm_status metadata_set_bool(struct metadata *metadata, const char *key, bool value, opsm_error *err);
opsm_status metadata_set_string(struct metadata *metadata, const char *key, const char *value, opsm_error *err);
opsm_status metadata_set_strings(struct metadata *metadata, const char *key, const struct text_view *values,
                                 uint64_t count, opsm_error *err);
opsm_status metadata_set_i32s(struct metadata *metadata, const char *key, const int32_t *values, uint64_t count,
                              opsm_error *err);
opsm_status metadata_set_f32s(struct metadata *metadata, const char *key, const float *values, uint64_t count,
                              opsm_error *err);

/* The same with a value of another table, bytes as they are: borrowed, so that table must outlive this one. */
opsm_status metadata_carry(struct metadata *metadata, const struct metadata_value *value, opsm_error *err);

/* For readers of files: room for `n` keys, and one that must be new, borrowed. *index receives its place; where the key
 * is there already, the place of that, and nothing changes. */
opsm_status metadata_reserve(struct metadata *metadata, int64_t n, opsm_error *err);
opsm_status metadata_add(struct metadata *metadata, const struct metadata_value *value, int64_t *index,
                         opsm_error *err);

/* Bytes of one value of a type; 0 for strings, arrays and unknown numbers. */
size_t metadata_type_size(uint32_t type);

/* "u32", "string" ...; "unknown type" for a number outside the list. */
const char *metadata_type_name(uint32_t type);

#endif
