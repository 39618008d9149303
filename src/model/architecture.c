/* SPDX-License-Identifier: Apache-2.0 */
#include "model/architecture.h"
#include <string.h>

static const struct architecture table[] = {
#define ARCHITECTURE_ENTRY(name_, ...) {.name = #name_, __VA_ARGS__},
    ARCHITECTURE_LIST(ARCHITECTURE_ENTRY)
#undef ARCHITECTURE_ENTRY
};
enum { COUNT = sizeof table / sizeof *table };

const struct architecture *architecture_find(const char *name, size_t length) {
    for (int i = 0; i < COUNT; i++)
        if (strlen(table[i].name) == length && memcmp(table[i].name, name, length) == 0) return &table[i];
    return NULL;
}

const struct architecture *architecture_of_key(const char *key, size_t length) {
    const char *point = memchr(key, '.', length);
    return point ? architecture_find(key, (size_t)(point - key)) : NULL;
}

const char *architecture_names(void) {
#define ARCHITECTURE_NAME(name, ...) ", " #name
    static const char names[] = ARCHITECTURE_LIST(ARCHITECTURE_NAME);
#undef ARCHITECTURE_NAME
    return names + 2;
}
