/* SPDX-License-Identifier: Apache-2.0 */
#include "environment/problem_rows.h"
#include "base/log.h"
#include "base/mem.h"
#include <string.h>

/* What a check of one row needs to know. */
struct checking {
    struct problems *p;
    const struct run_config *config;
    enum problems_use use;
    int32_t max_prompt;
};

static opsm_status check_prompt(struct checking *c, const struct problem *problem, enum row_fault *fault,
                                opsm_error *err) {
    struct token_list tokens = {0};
    *fault = ROW_UNREADABLE;
    opsm_status status = problems_prompt(c->p, problem, &tokens, err);
    int64_t n = tokens.count;
    token_list_free(&tokens);
    if (status != OPSM_OK) return status;
    *fault = n < 1 ? ROW_BLANK : ROW_LENGTH;
    if (n < 1) return opsm_fail(err, OPSM_FORMAT, "the prompt has no tokens");
    if (n > c->max_prompt)
        return opsm_fail(err, OPSM_INVALID,
                         "the prompt has %lld tokens; at most %d fit (rollout.max_prompt, and the model's context less "
                         "the %d of rollout.max_tokens)",
                         (long long)n, c->max_prompt, c->config->rollout.max_tokens);
#pragma omp critical(longest_prompt)
    if (n > c->p->longest_prompt) c->p->longest_prompt = (int32_t)n;
    return OPSM_OK;
}

static opsm_status check_solution(struct checking *c, const struct problem *problem, enum row_fault *fault,
                                  opsm_error *err) {
    struct token_list tokens = {0};
    *fault = ROW_ANSWER;
    opsm_status status = problems_solution(c->p, problem, &tokens, err);
    int64_t n = tokens.count;
    token_list_free(&tokens);
    if (status != OPSM_OK || n <= c->config->rollout.max_tokens) return status;
    *fault = ROW_LENGTH;
    return opsm_fail(err, OPSM_INVALID, "the response to imitate has %lld tokens; rollout.max_tokens is %d",
                     (long long)n, c->config->rollout.max_tokens);
}

static opsm_status check_row(void *user, enum data_split split, const struct problem *problem, enum row_fault *fault,
                             opsm_error *err) {
    struct checking *c = user;
    bool imitated = c->use == PROBLEMS_IMITATE && split == DATA_TRAIN;
    *fault = ROW_ANSWER;
    opsm_status status = c->p->reward && !imitated ? reward_check(c->p->reward, problem, err) : OPSM_OK;
    if (status == OPSM_OK && imitated) status = check_solution(c, problem, fault, err);
    return status == OPSM_OK ? check_prompt(c, problem, fault, err) : status;
}

static void report_skipped(const struct problems *p) {
    for (int i = 0; i < ROW_FAULT_COUNT; i++) {
        const char *first;
        int64_t n = data_skipped(p->source, (enum row_fault)i, &first);
        if (n)
            log_line(LOG_WARN, "left out %lld of the rows (%s); the first: %s", (long long)n,
                     row_fault_text((enum row_fault)i), first);
    }
}

enum { SMALL_FILE = 20 }; /* rows: one of them is held out on average */

/* Both sides of the cut have what they need, and whoever reads the log knows what is trained on. */
static opsm_status check_sides(const struct problems *p, const struct run_config *config, enum problems_use use,
                               opsm_error *err) {
    static const char instead[] = "name a file for evaluation in data.eval_file, or train on all rows without "
                                  "evaluation: train.eval_every=0";
    const char *file = config->data.file;
    long long train = data_count(p->source, DATA_TRAIN), eval = data_count(p->source, DATA_EVAL);
    if (use == PROBLEMS_WHOLE_FILE) return OPSM_OK;
    if (use == PROBLEMS_HELD_OUT && eval == 0)
        return opsm_fail(err, OPSM_INVALID,
                         "no row of '%s' is held out (train.eval_every is %d, and there is no data.eval_file): "
                         "`opsm eval MODEL --data FILE` evaluates on all rows of a file",
                         file, config->train.eval_every);
    if (use == PROBLEMS_HELD_OUT) return OPSM_OK;
    if (train == 0 && config->data.eval_file)
        return opsm_fail(err, OPSM_INVALID,
                         "all rows of '%s' are in the evaluation file '%s' too: nothing is left to train on", file,
                         config->data.eval_file);
    if (train == 0 || (eval == 0 && config->train.eval_every > 0))
        return opsm_fail(err, OPSM_INVALID,
                         "'%s' has too few rows (%lld): %s fall to the 5%% that are held out for evaluation; %s", file,
                         train + eval, train == 0 ? "all" : "none", instead);
    bool cut = eval > 0 && !config->data.eval_file;
    if (cut && train + eval <= SMALL_FILE)
        log_line(LOG_WARN, "'%s' has few rows (%lld): %lld held out for evaluation say little about accuracy; %s", file,
                 train + eval, eval, instead);
    if (config->data.eval_file)
        log_line(LOG_INFO, "data: %lld rows of '%s' to train on, %lld rows of '%s' for evaluation", train, file, eval,
                 config->data.eval_file);
    else
        log_line(LOG_INFO, "data: %lld rows of '%s' to train on, %lld held out for evaluation", train, file, eval);
    return OPSM_OK;
}

opsm_status problem_rows_check(struct problems *p, const struct run_config *config, enum problems_use use,
                               int32_t max_prompt, opsm_error *err) {
    if (data_task(p->source)) return OPSM_OK;
    struct checking checking = {p, config, use, max_prompt};
    opsm_status status = data_check(p->source, check_row, &checking, err);
    if (status != OPSM_OK) return status;
    report_skipped(p);
    return check_sides(p, config, use, err);
}

int64_t problem_rows_skipped(const struct problems *p) {
    int64_t sum = 0;
    for (int i = 0; i < ROW_FAULT_COUNT; i++) sum += data_skipped(p->source, (enum row_fault)i, NULL);
    return sum;
}
