/* SPDX-License-Identifier: Apache-2.0 */
#include "text/unicode.h"
#include "base/mem.h"
#include "text/unicode_table.h"
#include <string.h>

enum { REPLACEMENT = 0xfffd, LAST_CODE = 0x10ffff };

enum char_class unicode_class(uint32_t code) {
    if (code > LAST_CODE) return CHAR_OTHER;
    size_t low = 0, high = sizeof class_starts / sizeof *class_starts;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (class_starts[middle] >> 2 <= code)
            low = middle;
        else
            high = middle;
    }
    return (enum char_class)(class_starts[low] & 3);
}

static int is_continuation(uint8_t byte) {
    return (byte & 0xc0) == 0x80;
}

size_t utf8_decode(const uint8_t *text, size_t length, uint32_t *code) {
    if (length == 0) return 0;
    uint32_t lead = text[0];
    if (lead < 0x80) {
        *code = lead;
        return 1;
    }
    if (lead < 0xc0 || lead > 0xf7) return 0;
    size_t n = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (length < n) return 0;
    uint32_t value = lead & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (!is_continuation(text[i])) return 0;
        value = value << 6 | (text[i] & 0x3fu);
    }
    *code = value;
    return n;
}

size_t utf8_encode(uint32_t code, uint8_t out[4]) {
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, code >>= 6) out[i] = (uint8_t)(0x80 | (code & 0x3f));
    out[0] = (uint8_t)(0xf00u >> n | code); /* n leading one bits; the bits above the byte fall away */
    return n;
}

/* One step of the repair: reads a character or one bad byte, gives the code point to write. */
static size_t repair_step(const uint8_t *text, size_t length, uint32_t *code) {
    size_t n = utf8_decode(text, length, code);
    if (n != 0 && *code <= LAST_CODE) return n;
    *code = REPLACEMENT;
    return 1;
}

static size_t shortest_length(uint32_t code) {
    return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

/* Eight bytes without a high bit? */
static int is_ascii8(const uint8_t *text) {
    uint64_t word;
    memcpy(&word, text, sizeof word);
    return (word & 0x8080808080808080u) == 0;
}

int utf8_is_clean(const uint8_t *text, size_t length) {
    for (size_t i = 0; i < length;) {
        if (length - i >= 8 && is_ascii8(text + i)) {
            i += 8;
            continue;
        }
        uint32_t code;
        size_t n = utf8_decode(text + i, length - i, &code);
        if (n == 0 || code > LAST_CODE || n != shortest_length(code)) return 0;
        i += n;
    }
    return 1;
}

opsm_status utf8_repair(const uint8_t *text, size_t length, uint8_t **fixed, size_t *fixed_length, opsm_error *err) {
    size_t total = 0;
    uint32_t code;
    for (size_t i = 0; i < length;) {
        i += repair_step(text + i, length - i, &code);
        total += shortest_length(code);
    }
    uint8_t *out = mem_alloc(total, 1);
    if (!out) return mem_exhausted(err, "a text with malformed UTF-8", total);
    size_t used = 0;
    for (size_t i = 0; i < length;) {
        i += repair_step(text + i, length - i, &code);
        used += utf8_encode(code, out + used);
    }
    *fixed = out;
    *fixed_length = used;
    return OPSM_OK;
}
