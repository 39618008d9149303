/* SPDX-License-Identifier: Apache-2.0 */
#include "reward/verifier_type.h"

static opsm_status check_exact(const void *state, const struct verifier_spec *spec, const struct problem *problem,
                               const char *answer, opsm_error *err) {
    (void)state;
    return verifier_needs_answer(problem, answer, spec->type, err);
}

static double score_exact(const void *state, const struct verifier_spec *spec, const struct problem *problem,
                          const char *answer, struct response response, struct span *found) {
    (void)state;
    (void)problem;
    if (!response.finished && !spec->unfinished_ok) return 0;
    *found = span_trim((struct span){response.text, response.length});
    return span_same(*found, span_of(answer), spec->ignore_case);
}

const struct verifier_type verifier_exact = {
    .name = "exact",
    .help = "The whole response equals the answer. White space at both ends is ignored,\n"
            "and a run of it inside counts as one blank. A response that was cut off\n"
            "scores 0 unless unfinished_ok.\n",
    .settings = SETTING_IGNORE_CASE | SETTING_UNFINISHED,
    .check = check_exact,
    .score = score_exact,
};
