/* SPDX-License-Identifier: Apache-2.0
 *
 * How well a model does on problems: samples, scores, intervals.
 */
#ifndef OPSM_TRAIN_EVALUATE_H
#define OPSM_TRAIN_EVALUATE_H
#include "environment/asked.h"
#include "rollout/generate.h"
#include "train/interval.h"

struct evaluate_request {
    enum data_split split;
    int64_t problems; /* from the start of the split; fewer when it has fewer */
    int32_t samples;  /* responses per problem */
    struct sampling sampling;
    int32_t max_prompt, max_tokens;
    const char *const *stop;
    int32_t n_stop;
    uint64_t seed;
    const atomic_bool *interrupt;
    bool *said_unjudged; /* see unjudged_report */
    /* Called once, with the first problems as they were asked, answered and judged (reward NaN: not); NULL: nobody
     * looks. */
    opsm_status (*show)(void *viewer, const struct asked *asked, const struct rollouts *rollouts, const float *rewards,
                        const float *scores, int32_t n_scores, opsm_error *err);
    void *viewer;
};

struct evaluation {
    int64_t problems, samples, tokens;
    int64_t *right, *judged;      /* [problems] samples that problems->primary judges 1, that have a verdict; owned */
    int64_t unjudged;             /* samples that have none: neither right nor wrong */
    double reward_mean;           /* per sample that has one */
    double length_mean, finished; /* per sample; finished: share that ended by itself */
    double distinct;              /* different right responses (token by token) per problem */
    int32_t n_scores;             /* verifiers of the reward: */
    double scores[VERIFIERS_MAX]; /* the mean of each, and its name */
    char names[VERIFIERS_MAX][VERIFIER_NAME_MAX + 1];
    struct interval accuracy;  /* = pass@1 */
    struct interval pass_at_k; /* k = samples: the share of problems with a right response */
    double seconds;
};

/* pass@k over the problems of which k samples have a verdict. */
struct interval evaluation_pass_at_k(const struct evaluation *evaluation, int64_t k);

void evaluation_free(struct evaluation *evaluation);

/* `generator` has room for at least one problem's samples. */
opsm_status evaluate(struct generator *generator, int32_t room, const struct problems *problems,
                     const struct evaluate_request *request, struct evaluation *evaluation, opsm_error *err);

#endif
