/* SPDX-License-Identifier: Apache-2.0 */
#include "reward/expression.h"
#include "reward/verifier_type.h"

struct settings {
    bool unfinished_ok;
};

static const struct config_key settings[] = {
    SETTING_UNFINISHED_OK(settings),
};

static opsm_status check_expression(const void *self, const struct problem *problem, const char *answer,
                                    opsm_error *err) {
    (void)self;
    (void)answer;
    if (problem->n_numbers > 0) return OPSM_OK;
    return verifier_misses(problem, "expression", "needs `numbers`, a list of whole numbers, and `target`", err);
}

/* Every number of the expression takes one of the problem's numbers. */
static bool uses_given(const struct expression *expression, const struct problem *problem) {
    bool taken[EXPRESSION_NUMBERS_MAX] = {false};
    for (int i = 0; i < expression->n_numbers; i++) {
        int j = 0;
        while (j < problem->n_numbers && (taken[j] || problem->numbers[j] != expression->numbers[i])) j++;
        if (j == problem->n_numbers) return false;
        taken[j] = true;
    }
    return true;
}

static double score_expression(const void *self, const struct problem *problem, const char *answer,
                               struct response response, struct span *found) {
    (void)answer;
    const struct settings *set = self;
    if (!response.finished && !set->unfinished_ok) return 0;
    struct expression expression;
    *found = span_trim(expression_locate((struct span){response.text, response.length}));
    if (problem->n_numbers > EXPRESSION_NUMBERS_MAX || !expression_evaluate(*found, &expression)) return 0;
    bool reached = expression.value.under == 1 && expression.value.over == problem->target;
    return reached && uses_given(&expression, problem);
}

const struct verifier_type verifier_expression = {
    .help = "Arithmetic (+ - * / and brackets) that uses the numbers of the problem, each\n"
            "at most once, and equals its target: in the last \\boxed{}, else the last\n"
            "<answer>, else the last line. \"= 24\" may follow, if it is right. Rows of a\n"
            "file need `numbers`, a list of whole numbers, and `target`. A response that\n"
            "was cut off scores 0 unless unfinished_ok.\n",
    .settings = settings,
    .n_settings = sizeof settings / sizeof *settings,
    .size = sizeof(struct settings),
    .check = check_expression,
    .score = score_expression,
};
