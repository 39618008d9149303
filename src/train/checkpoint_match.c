/* SPDX-License-Identifier: Apache-2.0 */
#include "config/diff.h"
#include "train/checkpoint.h"
#include <stdlib.h>
#include <string.h>

/* Keys that change no number of the training itself. */
static const struct {
    const char *path;
    bool grows;  /* to larger numbers only */
    bool always; /* else for a run that goes on only: inputs are compared by content there, results by nobody */
} keys[] = {
    {"output", false, true},
    {"train.keep", false, true},
    {"train.checkpoint_every", false, true},
    {"train.iterations", true, true},
    {"sft.steps", true, true},
    {"model", false, false},
    {"data.file", false, false},
    {"data.eval_file", false, false},
    {"rollout.max_prompt", true, false},
    {"rollout.in_flight", false, false},
    {"rollout.samples", false, false},
    {"train.eval_every", false, false},
    {"train.recompute", false, false},
    {"train.save_type", false, false},
    {"train.save", false, false},
    {"train.lora.init", false, false},
    {"train.lora.base", false, false},
    {"eval.problems", false, false},
    {"eval.samples", false, false},
    {"eval.temperature", false, false},
    {"eval.verifier", false, false},
};

/* Both whole numbers, the first not below the second. */
static bool at_least(const char *wanted, const char *saved) {
    char *wanted_end, *saved_end;
    long long w = strtoll(wanted, &wanted_end, 10), s = strtoll(saved, &saved_end, 10);
    return wanted_end != wanted && !*wanted_end && saved_end != saved && !*saved_end && w >= s;
}

/* *grows: smaller numbers are what is wrong. */
static bool may_differ(const struct config_diff *diff, bool goes_on, bool *grows) {
    *grows = false;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(diff->path, keys[i].path) != 0 || (!keys[i].always && !goes_on)) continue;
        /* Another file is compared by its rows; with one or without decides what is trained on. */
        if (!strcmp(diff->path, "data.eval_file") && !strcmp(diff->value_a, "null") != !strcmp(diff->value_b, "null"))
            return false;
        *grows = keys[i].grows;
        return !keys[i].grows || at_least(diff->value_b, diff->value_a);
    }
    return false;
}

opsm_status checkpoint_match(const char *run, const char *saved, const char *wanted, bool goes_on, opsm_error *err) {
    struct config_diff diff = {.a = saved, .b = wanted};
    bool grows = false;
    while (config_diff_next(&diff))
        if (!diff.aligned || !may_differ(&diff, goes_on, &grows))
            return opsm_fail(err, OPSM_INVALID,
                             "'%s' holds a run with another configuration: %s is %.60s there and %.60s now%s; take "
                             "another output, or remove that directory",
                             run, diff.path, diff.value_a, diff.value_b, grows ? ", and it may only grow" : "");
    return OPSM_OK;
}
