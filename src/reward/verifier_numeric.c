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
                                 const char *answer, opsm_error *err) {
    (void)state;
    opsm_status status = verifier_needs_answer(problem, answer, spec->type, err);
    if (status != OPSM_OK) return status;
    struct number number;
    bool boxed;
    if (final_number(span_of(answer), &number, &boxed)) return OPSM_OK;
    return opsm_fail(err, OPSM_FORMAT, "verifier 'numeric' finds no number in the answer '%.80s'", answer);
}

static double score_numeric(const void *state, const struct verifier_spec *spec, const struct problem *problem,
                            const char *answer, struct response response, struct span *found) {
    (void)state;
    (void)problem;
    (void)found;
    struct number expected, number;
    bool boxed;
    if (!final_number(span_of(answer), &expected, &boxed)) return 0;
    if (!final_number((struct span){response.text, response.length}, &number, &boxed)) return 0;
    if (!response.finished && !boxed && !spec->unfinished_ok) return 0;
    return number_same(&number, &expected, spec->tolerance);
}

const struct verifier_type verifier_numeric = {
    .name = "numeric",
    .help = "The last number of the response (or of its last \\boxed{}) equals the last\n"
            "number of the answer. Whole numbers are compared digit by digit, others to\n"
            "a relative tolerance of 1e-6; a tolerance above 0 holds for both. A \\boxed{}\n"
            "also counts in a response that was cut off; other numbers then score 0\n"
            "unless unfinished_ok.\n",
    .settings = SETTING_TOLERANCE | SETTING_UNFINISHED,
    .check = check_numeric,
    .score = score_numeric,
};
