/* SPDX-License-Identifier: Apache-2.0
 *
 * The one place that asks the system for memory: 64-byte aligned, overflow-checked, and able to fail on purpose, so
 * that a test can walk through every out-of-memory path (mem_fail_at).
 */
#ifndef OPSM_BASE_MEM_H
#define OPSM_BASE_MEM_H
#include <opsm/status.h>
#include <stddef.h>
#include <stdint.h>

/* `count` x `size` bytes, 64-byte aligned, contents undefined; NULL on overflow or exhaustion. A zero-sized request
 * returns a valid pointer. Release with mem_free. */
void *mem_alloc(size_t count, size_t size);

/* As mem_alloc, filled with zero bytes. */
void *mem_zalloc(size_t count, size_t size);

/* Grows or shrinks a block from old_count to new_count elements, contents kept. On failure NULL, `p` still valid. */
void *mem_resize(void *p, size_t old_count, size_t new_count, size_t size);

/* A NUL-terminated copy of `text` (at most `length` bytes of it with mem_strndup). */
char *mem_strdup(const char *text);
char *mem_strndup(const char *text, size_t length);

void mem_free(void *p);

/* Writes the sentence for a failed allocation of `what`. */
void mem_explain_exhausted(opsm_error *err, const char *what, size_t bytes);

/* The same, and returns OPSM_NOMEM; inline, so that static analysis sees it never returns OPSM_OK. */
static inline opsm_status mem_exhausted(opsm_error *err, const char *what, size_t bytes) {
    mem_explain_exhausted(err, what, bytes);
    return OPSM_NOMEM;
}

/* Tests only: the nth allocation from now fails (1 = the next); 0 switches the injection off. */
void mem_fail_at(int64_t nth);

#endif
