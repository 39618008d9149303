/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run lives on: its limits, the sentence of a failure, and the text being written.
 */
#include "base/mem.h"
#include "text/jinja_node.h"
#include "text/unicode.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- failure and limits ------------------------------------------------------------------------------------------ */

struct jinja_value jinja_fail(struct jinja_run *run, opsm_status code, const char *format, ...) {
    struct jinja_value nothing = {.type = JINJA_UNDEFINED, .text = ""};
    if (run->status != OPSM_OK) return nothing;
    char sentence[360];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    run->status = jinja_complain(run->template, run->node ? run->node->at : 0, code, run->err, "%s", sentence);
    return nothing;
}

bool jinja_spend(struct jinja_run *run, size_t steps) {
    if (run->status != OPSM_OK) return false;
    if (steps < (uint64_t)run->left.steps) {
        run->left.steps -= (int64_t)steps;
        return true;
    }
    jinja_fail(run, OPSM_INVALID, "the template takes more steps than allowed on this conversation; does it end?");
    return false;
}

void *jinja_alloc(struct jinja_run *run, size_t count, size_t size) {
    if (run->status != OPSM_OK) return NULL;
    bool fits = count <= run->left.memory / size;
    void *block = fits ? jinja_arena_alloc(&run->arena, count * size) : NULL;
    if (block) return block;
    if (!fits || count * size > run->arena.limit - run->arena.used)
        jinja_fail(run, OPSM_INVALID, "the template takes more than the %zu MiB of memory allowed",
                   run->left.memory >> 20);
    else
        run->status = mem_exhausted(run->err, "a chat template", count * size);
    return NULL;
}

bool jinja_enter(struct jinja_run *run) {
    run->depth++;
    if (run->depth > JINJA_DEPTH) jinja_fail(run, OPSM_INVALID, "more than %d levels deep", JINJA_DEPTH);
    return run->status == OPSM_OK;
}

void jinja_leave(struct jinja_run *run) {
    run->depth--;
}

/* ---- text being written ------------------------------------------------------------------------------------------ */

static bool make_room(struct jinja_run *run, size_t more) {
    struct jinja_buffer *out = &run->out;
    if (run->status != OPSM_OK) return false;
    if (more > run->left.output - out->length) {
        jinja_fail(run, OPSM_INVALID, "the text becomes longer than the %zu MiB allowed", run->left.output >> 20);
        return false;
    }
    size_t room = out->room ? out->room : 256;
    while (room < out->length + more + 1) room *= 2;
    if (room == out->room) return true;
    char *data = mem_resize(out->data, out->room, room, 1);
    if (data) out->data = data;
    uint8_t *stranger = data ? mem_resize(out->stranger, out->room, room, 1) : NULL;
    if (stranger) out->stranger = stranger;
    if (!stranger) {
        run->status = mem_exhausted(run->err, "a prompt", 2 * room);
        return false;
    }
    out->room = room;
    return true;
}

void jinja_put(struct jinja_run *run, const char *text, size_t length, const uint8_t *stranger) {
    if (!jinja_spend(run, length / 64) || !make_room(run, length)) return;
    struct jinja_buffer *out = &run->out;
    if (length) memmove(out->data + out->length, text, length);
    if (stranger && length)
        memmove(out->stranger + out->length, stranger, length);
    else
        memset(out->stranger + out->length, 0, length);
    out->length += length;
    out->data[out->length] = '\0';
}

void jinja_puts(struct jinja_run *run, const char *text) {
    jinja_put(run, text, strlen(text), NULL);
}

void jinja_put_value(struct jinja_run *run, struct jinja_value string, size_t from, size_t to) {
    if (from < to) jinja_put(run, string.text + from, to - from, string.stranger ? string.stranger + from : NULL);
}

void jinja_put_escaped(struct jinja_run *run, struct jinja_value string) {
    size_t plain = 0;
    for (size_t i = 0; i < string.length && !string.markup && run->status == OPSM_OK; i++) {
        char c = string.text[i];
        const char *code = c == '&'    ? "&amp;"
                           : c == '<'  ? "&lt;"
                           : c == '>'  ? "&gt;"
                           : c == '\'' ? "&#39;"
                           : c == '"'  ? "&#34;"
                                       : NULL;
        if (!code) continue;
        jinja_put_value(run, string, plain, i);
        jinja_puts(run, code);
        plain = i + 1;
    }
    jinja_put_value(run, string, plain, string.length);
}

void jinja_put_code(struct jinja_run *run, uint32_t code, bool stranger) {
    static const uint8_t all[4] = {1, 1, 1, 1};
    uint8_t bytes[4];
    jinja_put(run, (const char *)bytes, utf8_encode(code, bytes), stranger ? all : NULL);
}

struct jinja_value jinja_take(struct jinja_run *run, size_t mark) {
    struct jinja_buffer *out = &run->out;
    struct jinja_value taken = jinja_trusted("");
    size_t length = out->length - mark;
    if (length == 0 || run->status != OPSM_OK) return taken;
    char *text = jinja_alloc(run, length, 1);
    uint8_t *stranger = NULL;
    bool mixed = memchr(out->stranger + mark, 1, length) != NULL;
    if (text && mixed) stranger = jinja_alloc(run, length, 1);
    if (!text || (mixed && !stranger)) return taken;
    memcpy(text, out->data + mark, length);
    if (mixed) memcpy(stranger, out->stranger + mark, length);
    out->length = mark;
    taken.text = text;
    taken.length = (uint32_t)length;
    taken.stranger = stranger;
    return taken;
}

void jinja_rendered_free(struct jinja_rendered *rendered) {
    mem_free(rendered->text);
    mem_free(rendered->stranger);
    *rendered = (struct jinja_rendered){0};
}
