/* SPDX-License-Identifier: Apache-2.0 */
#include "reward/verifier_type.h"

opsm_status verifier_misses(const struct problem *problem, const char *name, const char *what, opsm_error *err) {
    if (!*problem->prompt) return opsm_fail(err, OPSM_MISSING, "verifier '%s' %s, but there is none", name, what);
    return opsm_fail(err, OPSM_MISSING, "verifier '%s' %s, but the problem '%.80s' has none", name, what,
                     problem->prompt);
}

opsm_status verifier_needs_answer(const struct problem *problem, const char *answer, const char *name,
                                  opsm_error *err) {
    if (span_trim(span_of(answer)).length > 0) return OPSM_OK;
    if (problem->n_more_answers > 0)
        return opsm_fail(err, OPSM_MISSING, "verifier '%s': one of the accepted answers is blank", name);
    return verifier_misses(problem, name, "compares with the answer", err);
}

opsm_status verifier_needs_digits(const struct problem *problem, int least, const char *name, opsm_error *err) {
    bool digits = problem->n_numbers >= least;
    for (int i = 0; digits && i < problem->n_numbers; i++)
        digits = problem->numbers[i] >= 0 && problem->numbers[i] < 10;
    if (digits) return OPSM_OK;
    return verifier_misses(problem, name, "needs `numbers`, a list of digits, and `target`", err);
}
