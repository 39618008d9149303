/* SPDX-License-Identifier: Apache-2.0 */
#include "reward/verifier_type.h"

static opsm_status check_exact(const void *state, const struct verifier_spec *spec, const struct problem *problem,
                               opsm_error *err) {
    (void)state;
    return verifier_needs_answer(problem, spec->type, err);
}

static double score_exact(const void *state, const struct verifier_spec *spec, const struct problem *problem,
                          struct response response) {
    (void)state;
    if (!response.finished && !spec->unfinished_ok) return 0;
    return span_same((struct span){response.text, response.length}, span_of(problem->answer), spec->ignore_case);
}

const struct verifier_type verifier_exact = {
    .name = "exact",
    .settings = SETTING_IGNORE_CASE | SETTING_UNFINISHED,
    .check = check_exact,
    .score = score_exact,
};
