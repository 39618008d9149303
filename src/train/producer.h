/* SPDX-License-Identifier: Apache-2.0
 *
 * From problems to judged groups: prompts -> generation -> verdicts -> advantages -> a batch with its own statistics.
 */
#ifndef OPSM_TRAIN_PRODUCER_H
#define OPSM_TRAIN_PRODUCER_H
#include "environment/problems.h"
#include "rollout/generate.h"
#include "train/batch.h"

/* The caller fills in what is borrowed. */
struct producer {
    const struct run_config *config;
    const struct problems *problems;
    const struct model *model;   /* in training: its weights sample, rounded where the configuration says so */
    struct generator *generator; /* of that model; room for rollout.prompts x rollout.group sequences */
    struct sampling sampling;
    int32_t max_prompt;           /* tokens */
    const atomic_bool *interrupt; /* NULL: never */
    bool *said_unjudged;          /* see unjudged_report */
    struct model *rounded;        /* owned */
};

opsm_status producer_open(struct producer *producer, opsm_error *err);
void producer_close(struct producer *producer);

/* Batch number `index` of the run, from the weights in force: rollout.prompts groups for the problems from
 * index * prompts on, with random numbers keyed by it. Interrupted, it leaves no trace: the same call makes the same
 * batch. `batch` is filled; empty after a failure. */
opsm_status producer_make(struct producer *producer, int64_t index, struct batch *batch, opsm_error *err);

#endif
