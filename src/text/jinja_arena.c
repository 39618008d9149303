/* SPDX-License-Identifier: Apache-2.0
 *
 * What parsing and running stand on: memory that goes at once, and sentences with line and column.
 */
#include "base/mem.h"
#include "text/jinja_node.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct jinja_chunk {
    struct jinja_chunk *next;
    size_t used, room;
    char data[];
};

enum { CHUNK_MIN = 1 << 12, CHUNK_MAX = 1 << 20 };

void *jinja_arena_alloc(struct jinja_arena *arena, size_t bytes) {
    if (bytes > SIZE_MAX / 4 || (arena->limit && bytes > arena->limit - arena->used)) return NULL;
    bytes = (bytes + 15) & ~(size_t)15;
    struct jinja_chunk *chunk = arena->chunks;
    if (!chunk || chunk->room - chunk->used < bytes) {
        size_t room = chunk && chunk->room < CHUNK_MAX ? 2 * chunk->room : chunk ? CHUNK_MAX : CHUNK_MIN;
        if (room < bytes) room = bytes;
        chunk = mem_alloc(1, sizeof *chunk + room);
        if (!chunk) return NULL;
        *chunk = (struct jinja_chunk){.next = arena->chunks, .room = room};
        arena->chunks = chunk;
    }
    void *block = chunk->data + chunk->used;
    chunk->used += bytes;
    arena->used += bytes;
    if (arena->limit && arena->used > arena->limit) arena->used = arena->limit;
    return memset(block, 0, bytes);
}

void jinja_arena_free(struct jinja_arena *arena) {
    while (arena->chunks) {
        struct jinja_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        mem_free(chunk);
    }
    *arena = (struct jinja_arena){0};
}

opsm_status jinja_complain(const struct jinja_template *template, uint32_t at, opsm_status code, opsm_error *err,
                           const char *format, ...) {
    char sentence[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    for (char *c = sentence; *c; c++)
        if ((unsigned char)*c < ' ') *c = ' ';
    int line = 1, column = 1;
    for (uint32_t i = 0; i < at && i < template->length; i++) {
        unsigned char c = (unsigned char)template->source[i];
        if (c == '\n')
            line++, column = 1;
        else if ((c & 0xc0) != 0x80)
            column++;
    }
    return opsm_fail(err, code, "chat template, line %d, column %d: %s", line, column, sentence);
}
