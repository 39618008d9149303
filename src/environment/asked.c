/* SPDX-License-Identifier: Apache-2.0 */
#include "environment/asked.h"
#include "base/mem.h"

void asked_free(struct asked *a) {
    for (int32_t i = 0; a->problems && i < a->count; i++) problem_free(&a->problems[i]);
    mem_free(a->problems);
    token_list_free(&a->prompts);
    mem_free(a->offset);
    *a = (struct asked){0};
}

static opsm_status ask_one(struct asked *a, const struct problems *p, enum data_split split, int64_t index,
                           int32_t max_prompt, opsm_error *err) {
    int32_t i = a->count;
    opsm_status status = data_get(p->source, split, index, &a->problems[i], err);
    if (status != OPSM_OK) return status;
    a->count++;
    if (p->reward) status = reward_check(p->reward, &a->problems[i], err);
    if (status == OPSM_OK) status = problems_prompt(p, &a->problems[i], &a->prompts, err);
    if (status != OPSM_OK) return status;
    a->offset[i + 1] = a->prompts.count;
    int64_t n = a->offset[i + 1] - a->offset[i];
    if (n >= 1 && n <= max_prompt) return OPSM_OK;
    return opsm_fail(err, OPSM_INVALID,
                     "the prompt '%.60s...' has %lld tokens, expected 1 to %d: raise "
                     "rollout.max_prompt or leave it out",
                     a->problems[i].prompt, (long long)n, max_prompt);
}

opsm_status ask(struct asked *a, const struct problems *p, enum data_split split, int64_t first, int32_t count,
                int32_t max_prompt, opsm_error *err) {
    *a = (struct asked){0};
    a->problems = mem_zalloc((size_t)count, sizeof *a->problems);
    a->offset = mem_zalloc((size_t)count + 1, sizeof *a->offset);
    opsm_status status =
        a->problems && a->offset ? OPSM_OK : mem_exhausted(err, "problems", (size_t)count * sizeof *a->problems);
    for (int32_t i = 0; status == OPSM_OK && i < count; i++) status = ask_one(a, p, split, first + i, max_prompt, err);
    if (status != OPSM_OK) asked_free(a);
    return status;
}
