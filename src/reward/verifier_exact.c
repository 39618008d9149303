/* SPDX-License-Identifier: Apache-2.0 */
#include "reward/verifier_type.h"

struct settings {
    bool ignore_case, unfinished_ok;
};

static const struct config_key settings[] = {
    SETTING(settings, ignore_case, KEY_BOOL, 0, 0, "letters A to Z compare without case"),
    SETTING_UNFINISHED_OK(settings),
};

static opsm_status check_exact(const void *self, const struct problem *problem, const char *answer, opsm_error *err) {
    (void)self;
    return verifier_needs_answer(problem, answer, "exact", err);
}

static double score_exact(const void *self, const struct problem *problem, const char *answer, struct response response,
                          struct span *found) {
    (void)problem;
    const struct settings *set = self;
    if (!response.finished && !set->unfinished_ok) return 0;
    *found = span_trim((struct span){response.text, response.length});
    return span_same(*found, span_of(answer), set->ignore_case);
}

const struct verifier_type verifier_exact = {
    .help = "The whole response equals the answer. White space at both ends is ignored,\n"
            "and a run of it inside counts as one blank. A response that was cut off\n"
            "scores 0 unless unfinished_ok.\n",
    .settings = settings,
    .n_settings = sizeof settings / sizeof *settings,
    .size = sizeof(struct settings),
    .check = check_exact,
    .score = score_exact,
};
