/* SPDX-License-Identifier: Apache-2.0
 *
 * Recorded responses, judged as in training: JSON lines in, one line out for each, in order.
 *
 *   in   {"response": "so it is 12", "answer": "12", "prompt": "3 * 4?", "finished": true}
 *   out  {"reward": 1.0, "rewards": {"numeric": 1.0}, "found": "12", "unjudged": null}
 *
 * `answer` may be a list of accepted ones, and missing where nothing is compared with it; `finished` is true unless
 * told otherwise. Where no verdict could be had, `unjudged` is a sentence and the numbers it spoils are null.
 */
#ifndef OPSM_REWARD_RECORDED_H
#define OPSM_REWARD_RECORDED_H
#include "data/dataset.h"
#include "io/jsonl.h"
#include "reward/verifier.h"
#include <stdio.h>

struct recorded_totals {
    int64_t responses, unjudged;
    double reward, scores[VERIFIERS_MAX]; /* sums over what was judged */
    int64_t first_line;                   /* of the first unjudged one */
    char first_why[200];
};

/* Reads `lines` to their end, as fast as they come: nothing waits for more than has been read. `fields` says where the
 * answer and the prompt stand. A faulty line ends it with its sentence, after all lines before it have been written. A
 * failed write ends it too, with OPSM_OK: the caller looks at ferror(out). */
opsm_status recorded_judge(struct jsonl *lines, const struct dataset_spec *fields, const struct reward *reward,
                           FILE *out, struct recorded_totals *totals, opsm_error *err);

#endif
