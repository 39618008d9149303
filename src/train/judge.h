/* SPDX-License-Identifier: Apache-2.0
 *
 * From generated tokens to verdicts: the text of each response, judged by the reward of its problem.
 */
#ifndef OPSM_TRAIN_JUDGE_H
#define OPSM_TRAIN_JUDGE_H
#include "environment/asked.h"
#include "rollout/rollouts.h"

/* Responses without a verdict, and the sentence of the first. */
struct unjudged {
    int64_t n;
    opsm_error why;
};

/* Judges rollouts for these problems: rewards [n_sequences], NaN where one could not be judged (added to `unjudged`), and
 * scores [n_sequences x verifiers], the verifiers of a sequence side by side. Parallel. */
opsm_status judge(const struct asked *asked, const struct problems *problems, const struct rollouts *rollouts,
                  float *rewards, float *scores, struct unjudged *unjudged, opsm_error *err);

/* Of `n` responses these could not be judged: all of them is a failure, some are a warning, but only
 * one for everybody who looks at *said. */
opsm_status unjudged_report(const struct unjudged *unjudged, int64_t n, bool *said, opsm_error *err);

#endif
