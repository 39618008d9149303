/* SPDX-License-Identifier: Apache-2.0 */
#include "reward/verifier_type.h"

struct settings {
    bool unfinished_ok;
};

static const struct config_key settings[] = {
    SETTING_UNFINISHED_OK(settings),
};

static opsm_status check_path(const void *self, const struct problem *problem, const char *answer, opsm_error *err) {
    (void)self;
    (void)answer;
    return verifier_needs_digits(problem, 2, "path", err);
}

/* Steps between two lanes of the ring. */
static int64_t ring_distance(int64_t a, int64_t b) {
    int64_t d = a < b ? b - a : a - b;
    return d < 5 ? d : 10 - d;
}

static double score_path(const void *self, const struct problem *problem, const char *answer, struct response response,
                         struct span *found) {
    (void)answer;
    const struct settings *set = self;
    if (!response.finished && !set->unfinished_ok) return 0;
    struct span text = *found = span_trim((struct span){response.text, response.length});
    if (text.length != (size_t)problem->n_numbers - 1) return 0;
    int64_t lane = problem->numbers[0];
    for (size_t i = 0; i < text.length; i++) {
        if (!is_digit(text.at[i])) return 0;
        int64_t next = text.at[i] - '0';
        if (ring_distance(next, lane) > 1 || ring_distance(next, problem->numbers[i + 1]) < 2) return 0;
        lane = next;
    }
    return lane == problem->target;
}

const struct verifier_type verifier_path = {
    .help = "One digit per row: a lane of a ring of ten, beside or equal to the one before\n"
            "(the first number is the start), at least two lanes away from the row's number,\n"
            "and at last the target. Rows of a file need `numbers`, digits, and `target`.\n"
            "A response that was cut off scores 0 unless unfinished_ok.\n",
    .settings = settings,
    .n_settings = sizeof settings / sizeof *settings,
    .size = sizeof(struct settings),
    .check = check_path,
    .score = score_path,
};
