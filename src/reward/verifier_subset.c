/* SPDX-License-Identifier: Apache-2.0 */
#include "reward/verifier_type.h"

struct settings {
    bool unfinished_ok;
};

static const struct config_key settings[] = {
    SETTING_UNFINISHED_OK(settings),
};

static opsm_status check_subset(const void *self, const struct problem *problem, const char *answer, opsm_error *err) {
    (void)self;
    (void)answer;
    return verifier_needs_digits(problem, 1, "subset", err);
}

static double score_subset(const void *self, const struct problem *problem, const char *answer,
                           struct response response, struct span *found) {
    (void)answer;
    const struct settings *set = self;
    if (!response.finished && !set->unfinished_ok) return 0;
    struct span text = *found = span_trim((struct span){response.text, response.length});
    if (text.length != (size_t)problem->n_numbers) return 0;
    int64_t value = 0;
    for (size_t i = 0; i < text.length; i++) {
        int64_t next = text.at[i] - '0';
        if (!is_digit(text.at[i])) return 0;
        if (next != value && next != (value + problem->numbers[i]) % 10) return 0;
        value = next;
    }
    return value == problem->target;
}

const struct verifier_type verifier_subset = {
    .help = "One digit per number of the problem: a value that starts at 0 and at each\n"
            "number stays or grows by it, modulo 10, and ends at the target. Rows of a\n"
            "file need `numbers`, digits, and `target`. A response that was cut off scores\n"
            "0 unless unfinished_ok.\n",
    .settings = settings,
    .n_settings = sizeof settings / sizeof *settings,
    .size = sizeof(struct settings),
    .check = check_subset,
    .score = score_subset,
};
