/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

static atomic_llong fail_countdown;

void mem_fail_at(int64_t nth) {
    atomic_store(&fail_countdown, nth);
}

static int injected_failure(void) {
    return atomic_load(&fail_countdown) > 0 && atomic_fetch_sub(&fail_countdown, 1) == 1;
}

void *mem_alloc(size_t count, size_t size) {
    if (size != 0 && count > (SIZE_MAX - ALIGNMENT) / size) return NULL;
    if (injected_failure()) return NULL;
    size_t bytes = count * size;
    size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return aligned_alloc(ALIGNMENT, rounded ? rounded : ALIGNMENT);
}

void *mem_zalloc(size_t count, size_t size) {
    void *p = mem_alloc(count, size);
    if (p) memset(p, 0, count * size);
    return p;
}

void *mem_resize(void *p, size_t old_count, size_t new_count, size_t size) {
    void *q = mem_alloc(new_count, size);
    if (!q) return NULL;
    size_t kept = old_count < new_count ? old_count : new_count;
    if (p && kept) memcpy(q, p, kept * size);
    mem_free(p);
    return q;
}

char *mem_strndup(const char *text, size_t length) {
    char *copy = mem_alloc(length + 1, 1);
    if (!copy) return NULL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *mem_strdup(const char *text) {
    return mem_strndup(text, strlen(text));
}

void mem_free(void *p) {
    free(p);
}

void mem_explain_exhausted(opsm_error *err, const char *what, size_t bytes) {
    opsm_fail(err, OPSM_NOMEM, "out of memory: %s needs %.1f MiB; free some memory or make the job smaller", what,
              (double)bytes / (1024.0 * 1024.0));
}
