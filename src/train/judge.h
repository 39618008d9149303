/* SPDX-License-Identifier: Apache-2.0
 *
 * From generated tokens to verdicts: the text of each response, judged by the reward of its problem.
 */
#ifndef OPSM_TRAIN_JUDGE_H
#define OPSM_TRAIN_JUDGE_H
#include "environment/asked.h"
#include "rollout/rollouts.h"

/* Judges rollouts for these problems: rewards [n_sequences], and scores [n_sequences x verifiers], the verifiers of a
 * sequence side by side. Parallel. */
opsm_status judge(const struct asked *asked, const struct problems *problems, const struct rollouts *rollouts,
                  float *rewards, float *scores, opsm_error *err);

#endif
