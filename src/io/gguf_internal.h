/* SPDX-License-Identifier: Apache-2.0
 *
 * What the reader and the writer of GGUF share.
 */
#ifndef OPSM_IO_GGUF_INTERNAL_H
#define OPSM_IO_GGUF_INTERNAL_H
#include "io/gguf.h"
#include <stdbool.h>

/* The format's own limits, and those of ggml's reader. */
enum { GGUF_VERSION_MIN = 2, GGUF_VERSION_MAX = 3, GGUF_ALIGNMENT_DEFAULT = 32, GGUF_DIMS_LIMIT = 4 };

#define GGUF_ALIGNMENT_KEY "general.alignment"

/* The multiple of `alignment` (a power of two) at or after n; wraps like unsigned addition. */
static inline uint64_t gguf_align_up(uint64_t n, uint32_t alignment) {
    return (n + alignment - 1) & ~((uint64_t)alignment - 1);
}

static inline bool gguf_alignment_valid(uint32_t alignment) {
    return alignment != 0 && (alignment & (alignment - 1)) == 0;
}

#endif
