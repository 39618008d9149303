/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer target of the verifiers. The first byte chooses settings, the text up to the first NUL is the answer (or
 * the pattern), the rest the response. Whatever the bytes: scores are 0 or 1, the same response scores the same twice,
 * a response that is the answer itself is right, what was found lies in the response, a digit glued to a number that
 * was right makes it wrong, and an expression that is right uses given numbers only.
 */
#include "base/mem.h"
#include "judge.h"
#include "reward/expression.h"
#include "reward/number.h"
#include "reward/verifier.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "broken promise: %s\n", what);
    abort();
}

static double score_one(const struct verifier_words *spec, const struct problem *problem, const char *text,
                        size_t length, bool finished) {
    opsm_error err = {0};
    struct reward *reward;
    opsm_status status = reward_of(&reward, spec, 1, &err);
    if (status != OPSM_OK) {
        require(status == OPSM_INVALID && err.text[0], "a refused setting has a sentence");
        return 0;
    }
    double score = reward_score(reward, problem, text, length, finished, NULL);
    require(score == 0 || score == 1, "a score is 0 or 1");
    require(score == reward_score(reward, problem, text, length, finished, NULL), "the same twice");
    bool judged = reward_check(reward, problem, &err) == OPSM_OK;
    require(judged || score == 0, "what cannot be judged scores 0");
    bool own = judged && problem->answer[0];
    if (own && (!strcmp(spec->type, "exact") || (!strcmp(spec->type, "contains") && !spec->settings[1])))
        require(reward_score(reward, problem, problem->answer, strlen(problem->answer), true, NULL) == 1,
                "the answer itself is right");
    reward_free(reward);
    return score;
}

static struct verdict verdict_of(const struct reward *reward, const struct problem *problem, const char *text,
                                 size_t length) {
    struct verdict verdict;
    reward_judge(reward, &(struct reward_item){problem, text, length, true}, 1, &verdict);
    struct span found = verdict.found;
    require(!found.at || (found.at >= text && found.at + found.length <= text + length), "found lies in the response");
    return verdict;
}

/* The answer is right as a response, and a right number with a digit glued to it is another one. */
static void check_numeric(const struct problem *problem, const char *text, size_t length) {
    opsm_error err = {0};
    struct reward *reward;
    require(reward_of(&reward, &(struct verifier_words){.type = "numeric", .weight = 1}, 1, &err) == OPSM_OK,
            "numeric");
    struct number number;
    bool valued = number_of_reference(span_of(problem->answer), &number);
    require(valued == (reward_check(reward, problem, &err) == OPSM_OK), "a check reads what judging reads");
    if (valued && number_whole(span_of(problem->answer), &number, NULL))
        require(verdict_of(reward, problem, problem->answer, strlen(problem->answer)).reward == 1,
                "a number equals itself");
    struct verdict verdict = verdict_of(reward, problem, text, length);
    bool plain = verdict.reward == 1 && number.n_digits > 0 && number.under == 1 && number.exponent >= 0;
    size_t behind = plain ? (size_t)(verdict.found.at - text) + verdict.found.length : 0;
    if (behind > 0 && text[behind - 1] >= '0' && text[behind - 1] <= '9' &&
        !memchr(verdict.found.at, '^', verdict.found.length)) {
        char *glued = mem_alloc(length + 1, 1);
        require(glued != NULL, "memory");
        memcpy(glued, text, behind);
        glued[behind] = '7';
        memcpy(glued + behind + 1, text + behind, length - behind);
        struct verdict other = verdict_of(reward, problem, glued, length + 1);
        bool there =
            other.found.at && other.found.at <= glued + behind && other.found.at + other.found.length > glued + behind;
        require(other.reward == 0 || !there, "a digit more is another number");
        mem_free(glued);
    }
    reward_free(reward);
}

static void check_expression(const struct problem *problem, const char *text, size_t length) {
    struct expression found;
    if (!expression_evaluate(expression_locate((struct span){text, length}), &found)) return;
    require(found.n_numbers >= 1 && found.n_numbers <= EXPRESSION_NUMBERS_MAX, "numbers are counted");
    require(found.value.under > 0 && llabs(found.value.over) <= INT32_MAX, "values stay in range");
    double score = score_one(&(struct verifier_words){.type = "expression", .weight = 1}, problem, text, length, true);
    require(score == 0 || found.n_numbers <= problem->n_numbers, "no more numbers than given");
    require(score == 0 || found.value.over == problem->target * found.value.under, "the target is reached");
}

/* A setting whose value is fuzzed. */
static char *setting(const char *format, const char *value) {
    size_t room = strlen(format) + strlen(value);
    char *text = mem_alloc(room, 1);
    require(text != NULL, "memory");
    snprintf(text, room, format, value);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    unsigned flags = data[0];
    const char *rest = (const char *)data + 1;
    size_t first = strnlen(rest, size - 1);
    char *answer = mem_strndup(rest, first);
    require(answer != NULL, "memory");
    const char *text = first < size - 1 ? rest + first + 1 : rest;
    size_t length = first < size - 1 ? size - 2 - first : 0;
    const int64_t numbers[] = {2, 3, 5, 7};
    struct problem problem = {.prompt = "p",
                              .answer = answer,
                              .solution = "",
                              .numbers = numbers,
                              .n_numbers = 4,
                              .target = (flags & 15) + 1};
    bool finished = flags & 16;
    const char *cased = flags & 32 ? "ignore_case=true" : "ignore_case=false";
    const char *cut = flags & 64 ? "unfinished_ok=true" : "unfinished_ok=false";
    char *pattern = setting("pattern=%s", answer), *prefix = setting("prefix=%s", answer);
    char *tags = setting("tags=[<a>, '%s']", answer);
    const struct verifier_words specs[] = {
        {.type = "exact", .weight = 1, .settings = {cased, cut}},
        {.type = "numeric", .weight = 1, .settings = {flags & 128 ? "tolerance=0.01" : "tolerance=0", cut}},
        {.type = "choice", .weight = 1, .settings = {cut}},
        {.type = "contains", .weight = 1, .settings = {cased}},
        {.type = "contains", .weight = 1, .settings = {pattern, cased}},
        {.type = "regex", .weight = 1, .settings = {pattern, cased}},
        {.type = "regex", .weight = 1, .settings = {"pattern=(?<answer>.+)", "last_match=true", "as_number=true"}},
        {.type = "format", .weight = 1, .settings = {prefix, tags, cut}},
        {.type = "expression", .weight = 1, .settings = {cut}},
        {.type = "subset", .weight = 1, .settings = {cut}},
        {.type = "path", .weight = 1, .settings = {cut}},
    };
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) score_one(&specs[i], &problem, text, length, finished);
    check_expression(&problem, text, length);
    check_numeric(&problem, text, length);
    mem_free(pattern);
    mem_free(prefix);
    mem_free(tags);
    mem_free(answer);
    return 0;
}
