/* SPDX-License-Identifier: Apache-2.0
 *
 * One response under a reward, for tests that judge many of them one by one.
 */
#ifndef OPSM_TESTS_JUDGE_H
#define OPSM_TESTS_JUDGE_H
#include "reward/verifier.h"
#include <string.h>

/* The reward, 0 where there is no verdict; `scores`, unless NULL, receives those of the verifiers. */
static inline double reward_score(const struct reward *reward, const struct problem *problem, const char *text,
                                  size_t length, bool finished, double *scores) {
    struct reward_item item = {problem, text, length, finished};
    struct verdict verdict = {0};
    reward_judge(reward, &item, 1, &verdict);
    if (scores) memcpy(scores, verdict.scores, (size_t)reward_count(reward) * sizeof *scores);
    return verdict.unjudged.code == OPSM_OK ? verdict.reward : 0;
}

#endif
