/* SPDX-License-Identifier: Apache-2.0 */
#include "reward/number.h"
#include "reward/verifier_type.h"

/* The number a text settles on: in the last \boxed{} if there is one (`boxed` says so), else the last of all. */
static bool final_number(struct span text, struct number *number, bool *boxed) {
    struct span content;
    *boxed = span_last_boxed(text, &content);
    return number_last(*boxed ? content : text, number);
}

static opsm_status check_numeric(const void *state, const struct verifier_spec *spec, const struct problem *problem,
                                 opsm_error *err) {
    (void)state;
    opsm_status status = verifier_needs_answer(problem, spec->type, err);
    if (status != OPSM_OK) return status;
    struct number number;
    bool boxed;
    if (final_number(span_of(problem->answer), &number, &boxed)) return OPSM_OK;
    return opsm_fail(err, OPSM_FORMAT, "verifier 'numeric' finds no number in the answer '%.80s'", problem->answer);
}

static double score_numeric(const void *state, const struct verifier_spec *spec, const struct problem *problem,
                            struct response response) {
    (void)state;
    struct number expected, found;
    bool boxed;
    if (!final_number(span_of(problem->answer), &expected, &boxed)) return 0;
    if (!final_number((struct span){response.text, response.length}, &found, &boxed)) return 0;
    if (!response.finished && !boxed && !spec->unfinished_ok) return 0;
    return number_same(&found, &expected, spec->tolerance);
}

const struct verifier_type verifier_numeric = {
    .name = "numeric",
    .settings = SETTING_TOLERANCE | SETTING_UNFINISHED,
    .check = check_numeric,
    .score = score_numeric,
};
