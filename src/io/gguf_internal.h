/* SPDX-License-Identifier: Apache-2.0
 *
 * What the reader, the getters and the writer of GGUF share.
 */
#ifndef OPSM_IO_GGUF_INTERNAL_H
#define OPSM_IO_GGUF_INTERNAL_H
#include "base/file.h"
#include "io/gguf.h"
#include "io/name_map.h"

/* The format's own limits, and those of ggml's reader. */
enum {
    GGUF_VERSION_MIN = 2,
    GGUF_VERSION_MAX = 3,
    GGUF_ALIGNMENT_DEFAULT = 32,
    GGUF_KEY_LIMIT = 65535,
    GGUF_DIMS_LIMIT = 4,
    GGUF_LENGTH_LIMIT = 1 << 30 /* bytes of a string, elements of an array */
};

#define GGUF_ALIGNMENT_KEY "general.alignment"

struct gguf {
    struct file_map map; /* empty when the bytes belong to the caller */
    const uint8_t *bytes;
    size_t size;
    char *path;
    uint32_t version;
    uint32_t alignment;
    int64_t n_kv, n_tensors;
    struct gguf_kv *kv;
    struct gguf_tensor *tensors;
    struct name_map keys, names;
};

/* Bytes of one value of a type; 0 for strings, arrays and unknown numbers. */
size_t gguf_type_size(uint32_t type);

/* "u32", "string" ...; "unknown type" for a number outside the list. */
const char *gguf_type_name(uint32_t type);

/* The multiple of `alignment` (a power of two) at or after n; wraps like unsigned addition. */
static inline uint64_t gguf_align_up(uint64_t n, uint32_t alignment) {
    return (n + alignment - 1) & ~((uint64_t)alignment - 1);
}

static inline bool gguf_alignment_valid(uint32_t alignment) {
    return alignment != 0 && (alignment & (alignment - 1)) == 0;
}

#endif
