/* SPDX-License-Identifier: Apache-2.0 */
#include "text/jinja_write.h"
#include <string.h>

/* Merges the sorted [low, middle) and [middle, high) of `from` into `to`. */
static void merge(struct jinja_run *run, const char *from, char *to, size_t low, size_t middle, size_t high,
                  size_t size, int (*order)(struct jinja_run *run, const void *a, const void *b)) {
    size_t a = low, b = middle;
    for (size_t i = low; i < high; i++) {
        bool left =
            a < middle && (b >= high || run->status != OPSM_OK || order(run, from + a * size, from + b * size) <= 0);
        memcpy(to + i * size, from + (left ? a++ : b++) * size, size);
    }
}

void *jinja_sorted(struct jinja_run *run, const void *elements, size_t count, size_t size,
                   int (*order)(struct jinja_run *run, const void *a, const void *b)) {
    char *from = jinja_alloc(run, count, size), *to = jinja_alloc(run, count, size);
    if (!from || !to) return NULL;
    if (count) memcpy(from, elements, count * size);
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t low = 0; low < count; low += 2 * width) {
            size_t middle = low + width < count ? low + width : count,
                   high = middle + width < count ? middle + width : count;
            merge(run, from, to, low, middle, high, size, order);
        }
        char *swap = from;
        from = to;
        to = swap;
    }
    return from;
}
