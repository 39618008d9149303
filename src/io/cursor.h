/* SPDX-License-Identifier: Apache-2.0
 *
 * A position in untrusted bytes. Every read is checked against the end; the first error sticks, with the offset where
 * it happened, and all later reads return zero: a parser reads a whole record and checks once.
 */
#ifndef OPSM_IO_CURSOR_H
#define OPSM_IO_CURSOR_H
#include <opsm/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cursor {
    const uint8_t *data; /* borrowed; NULL allowed when size is 0 */
    size_t size;
    size_t at;          /* next byte to read, <= size */
    const char *name;   /* of the file, for sentences; borrowed */
    opsm_error *err;    /* where the first sentence goes; may be NULL */
    opsm_status status; /* OPSM_OK until the first error */
};

struct cursor cursor_make(const void *data, size_t size, const char *name, opsm_error *err);

/* Records "'name', byte OFFSET: sentence", unless an earlier error stands. Returns the status that stands. */
opsm_status cursor_fail(struct cursor *c, opsm_status status, size_t offset, const char *format, ...) OPSM_PRINTF(4, 5);

static inline bool cursor_ok(const struct cursor *c) {
    return c->status == OPSM_OK;
}

static inline size_t cursor_left(const struct cursor *c) {
    return c->size - c->at;
}

/* The next `size` bytes, or NULL with an error that says what was being read. `what` is a noun with its article. */
const uint8_t *cursor_take(struct cursor *c, uint64_t size, const char *what);

/* Little-endian numbers; 0 on error. */
uint32_t cursor_u32(struct cursor *c, const char *what);
uint64_t cursor_u64(struct cursor *c, const char *what);

/* Unaligned little-endian loads, for bytes that are known to be there. */
static inline uint16_t load_u16(const uint8_t *p) {
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t load_u32(const uint8_t *p) {
    return (uint32_t)load_u16(p) | (uint32_t)load_u16(p + 2) << 16;
}

static inline uint64_t load_u64(const uint8_t *p) {
    return (uint64_t)load_u32(p) | (uint64_t)load_u32(p + 4) << 32;
}

/* And stores; each returns where the next byte goes. */
static inline uint8_t *store_u32(uint8_t *p, uint32_t x) {
    for (int i = 0; i < 4; i++) *p++ = (uint8_t)(x >> 8 * i);
    return p;
}

static inline uint8_t *store_u64(uint8_t *p, uint64_t x) {
    return store_u32(store_u32(p, (uint32_t)x), (uint32_t)(x >> 32));
}

#endif
