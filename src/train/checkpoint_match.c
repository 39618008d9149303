/* SPDX-License-Identifier: Apache-2.0 */
#include "train/checkpoint.h"
#include "train/config_diff.h"
#include <stdlib.h>
#include <string.h>

/* Both whole numbers, the first not below the second. */
static bool at_least(const char *wanted, const char *saved) {
    char *wanted_end, *saved_end;
    long long w = strtoll(wanted, &wanted_end, 10), s = strtoll(saved, &saved_end, 10);
    return wanted_end != wanted && !*wanted_end && saved_end != saved && !*saved_end && w >= s;
}

static bool may_differ(const char *path, const char *saved, const char *wanted) {
    static const char *const free_keys[] = {"output", "train.keep", "train.checkpoint_every"};
    static const char *const growing[] = {"train.iterations", "sft.steps"};
    for (size_t i = 0; i < sizeof free_keys / sizeof *free_keys; i++)
        if (!strcmp(path, free_keys[i])) return true;
    for (size_t i = 0; i < sizeof growing / sizeof *growing; i++)
        if (!strcmp(path, growing[i]) && at_least(wanted, saved)) return true;
    return false;
}

opsm_status checkpoint_match(const char *run, const char *saved, const char *wanted, opsm_error *err) {
    struct config_diff diff = {.a = saved, .b = wanted};
    while (config_diff_next(&diff))
        if (!diff.aligned || !may_differ(diff.path, diff.value_a, diff.value_b))
            return opsm_fail(err, OPSM_INVALID,
                             "'%s' holds a run with another configuration: %s is %.60s there and %.60s now; take "
                             "another output, or remove that directory",
                             run, diff.path, diff.value_a, diff.value_b);
    return OPSM_OK;
}
