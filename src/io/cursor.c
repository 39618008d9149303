/* SPDX-License-Identifier: Apache-2.0 */
#include "io/cursor.h"
#include <stdarg.h>
#include <stdio.h>

struct cursor cursor_make(const void *data, size_t size, const char *name, opsm_error *err) {
    return (struct cursor){.data = data, .size = size, .name = name, .err = err};
}

opsm_status cursor_fail(struct cursor *c, opsm_status status, size_t offset, const char *format, ...) {
    if (c->status != OPSM_OK) return c->status;
    char sentence[320];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    c->status = opsm_fail(c->err, status, "'%.150s', byte %zu: %s", c->name, offset, sentence);
    return c->status;
}

const uint8_t *cursor_take(struct cursor *c, uint64_t size, const char *what) {
    if (c->status != OPSM_OK) return NULL;
    if (size > cursor_left(c)) {
        cursor_fail(c, OPSM_FORMAT, c->at,
                    "%s needs %llu bytes, but the file ends after %zu more; it is truncated or damaged", what,
                    (unsigned long long)size, cursor_left(c));
        return NULL;
    }
    const uint8_t *bytes = c->data + c->at;
    c->at += (size_t)size;
    return bytes;
}

uint32_t cursor_u32(struct cursor *c, const char *what) {
    const uint8_t *bytes = cursor_take(c, sizeof(uint32_t), what);
    return bytes ? load_u32(bytes) : 0;
}

uint64_t cursor_u64(struct cursor *c, const char *what) {
    const uint8_t *bytes = cursor_take(c, sizeof(uint64_t), what);
    return bytes ? load_u64(bytes) : 0;
}
