/* SPDX-License-Identifier: Apache-2.0
 *
 * Where two configuration texts (config_text) differ, key by key. Both come from one table, so that their keys stand in
 * the same order; a list of maps is one value.
 *
 *   struct config_diff diff = {.a = saved, .b = wanted};
 *   while (config_diff_next(&diff)) printf("%s: %s there, %s here\n", diff.path, diff.value_a, diff.value_b);
 */
#ifndef OPSM_CONFIG_DIFF_H
#define OPSM_CONFIG_DIFF_H
#include <stdbool.h>

enum { CONFIG_DIFF_DEPTH = 8, CONFIG_DIFF_ROOM = 256 };

struct config_diff {
    const char *a, *b; /* the next lines */
    /* The key that differs and its values as YAML, "not set" where a text has no such line; longer ones are cut. */
    char path[CONFIG_DIFF_ROOM], value_a[CONFIG_DIFF_ROOM], value_b[CONFIG_DIFF_ROOM];
    bool aligned;                  /* both texts have this key */
    int levels[CONFIG_DIFF_DEPTH]; /* length of the path above each level of indentation */
};

/* Steps to the next difference; false when there is none. When the two texts have different keys (another version of
 * the program wrote one of them), the first such line is the last difference. */
bool config_diff_next(struct config_diff *diff);

#endif
