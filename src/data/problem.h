/* SPDX-License-Identifier: Apache-2.0
 *
 * One problem: what the model is asked, and what it takes to judge the response. Written by tasks and datasets, read by
 * rollout (the messages), reward (answer, numbers, target) and supervised training (the solution).
 */
#ifndef OPSM_DATA_PROBLEM_H
#define OPSM_DATA_PROBLEM_H
#include "text/chat.h"
#include <opsm/status.h>
#include <stddef.h>
#include <stdint.h>

/* Train and eval never share a problem: see task.h and dataset.h for how that is guaranteed. */
enum data_split { DATA_TRAIN, DATA_EVAL };

const char *data_split_name(enum data_split split);

/* All text is NUL-terminated, has no NUL inside and is never NULL. */
struct problem {
    const char *prompt;              /* what the user says; with several messages, the last of the user's */
    const char *answer;              /* the reference answer; "" when the data has none */
    const char *const *more_answers; /* others that are right as well */
    int n_more_answers;
    const char *solution;                /* a whole response worth imitating; "" when there is none */
    const char *tools;                   /* a JSON list, for the chat template; "" when the row has none */
    const struct chat_message *messages; /* the conversation up to the response, at least one; the last is the user's */
    int n_messages;
    const int64_t *numbers; /* what a response is made of, where many are right; NULL: the problem has none */
    int n_numbers;
    int64_t target; /* what such a response must reach */
    int64_t line;   /* of the file that it stands in; 0: it stands in none */
    void *memory;   /* owns all of the above; NULL: a view, valid as long as the source it came from */
};

/* Copies every part of `parts` into one block owned by `problem`. NULL texts become "", no messages become one user
 * message that holds the prompt. */
opsm_status problem_copy(struct problem *problem, const struct problem *parts, opsm_error *err);

/* The accepted answers: number 0 is `answer`, the others follow. */
static inline const char *problem_answer(const struct problem *problem, int index) {
    return index == 0 ? problem->answer : problem->more_answers[index - 1];
}

void problem_free(struct problem *problem); /* also for views; leaves zeros */

/* The side of the train/eval cut on which a problem with this content falls: a hash of the content alone, so no seed,
 * prompt style or difficulty can move it to the other side. `share` in [0, 1] is the part that falls to eval. */
enum data_split problem_split(const void *content, size_t size, double share);

#endif
