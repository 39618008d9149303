/* SPDX-License-Identifier: Apache-2.0 */
#include "environment/characters.h"
#include "base/log.h"
#include "text/unicode.h"
#include <string.h>

enum { OF_A_TASK = 64 };

void characters_mark(const char *text, bool seen[256]) {
    for (; text && *text; text++) seen[(uint8_t)*text] = true;
}

void characters_mark_problem(const struct problem *problem, bool seen[256]) {
    for (int i = 0; i < problem->n_messages; i++) characters_mark(problem->messages[i].content, seen);
    characters_mark(problem->solution, seen);
    characters_mark(problem->answer, seen);
}

struct unwritten {
    int64_t problems, with, bytes;
    uint32_t first; /* character */
};

/* The first character of a text of which a byte has no token, 0: there is none. */
static uint32_t find_missing(const struct tokenizer *tokenizer, const char *text) {
    const uint8_t *at = (const uint8_t *)text;
    for (size_t i = 0, left = text ? strlen(text) : 0, n; i < left; i += n ? n : 1) {
        uint32_t code = at[i];
        n = utf8_decode(at + i, left - i, &code);
        for (size_t j = i; j < i + (n ? n : 1); j++)
            if (!tokenizer_has_byte(tokenizer, at[j])) return code;
    }
    return 0;
}

static uint32_t find_missing_in(const struct problems *p, const struct problem *problem) {
    const char *everywhere[] = {p->system, p->chat->prefix, p->chat->suffix, problem->solution};
    uint32_t code = 0;
    for (size_t i = 0; !code && i < sizeof everywhere / sizeof *everywhere; i++)
        code = find_missing(p->tokenizer, everywhere[i]);
    for (int i = 0; !code && i < problem->n_messages; i++)
        code = find_missing(p->tokenizer, problem->messages[i].content);
    return code;
}

/* A byte without a token may still be part of a longer one: only encoding tells. What is wrong with a problem otherwise
 * is for others to say. */
static opsm_status check_problem(const struct problems *p, const struct problem *problem, struct unwritten *tally,
                                 opsm_error *err) {
    tally->problems++;
    uint32_t code = find_missing_in(p, problem);
    if (!code) return OPSM_OK;
    struct token_list list = {0};
    opsm_status status = problems_prompt(p, problem, &list, err);
    if (status == OPSM_OK)
        status = tokenizer_encode(p->tokenizer, problem->solution, strlen(problem->solution), 0, &list, err);
    if (list.dropped > 0 && tally->bytes == 0) tally->first = code;
    tally->with += list.dropped > 0;
    tally->bytes += list.dropped;
    token_list_free(&list);
    return status == OPSM_NOMEM ? status : OPSM_OK;
}

static opsm_status check_split(const struct problems *p, enum data_split split, struct unwritten *tally,
                               opsm_error *err) {
    int64_t n = data_count(p->source, split);
    if (n == DATA_UNLIMITED) n = OF_A_TASK;
    opsm_status status = OPSM_OK;
    for (int64_t i = 0; status == OPSM_OK && i < n; i++) {
        struct problem problem;
        status = data_get(p->source, split, i, &problem, err);
        if (status == OPSM_OK) status = check_problem(p, &problem, tally, err);
        problem_free(&problem);
    }
    return status;
}

opsm_status characters_check(const struct problems *p, opsm_error *err) {
    struct unwritten tally = {0};
    opsm_status status = check_split(p, DATA_TRAIN, &tally, err);
    if (status == OPSM_OK) status = check_split(p, DATA_EVAL, &tally, err);
    if (status != OPSM_OK || tally.bytes == 0) return status;
    log_line(
        LOG_WARN,
        "the model's tokenizer has no token for %lld bytes in %lld of %s%lld problems (the first: U+%04X): it reads "
        "and learns the texts without them",
        (long long)tally.bytes, (long long)tally.with, data_task(p->source) ? "the first " : "",
        (long long)tally.problems, tally.first);
    return OPSM_OK;
}
