/* SPDX-License-Identifier: Apache-2.0 */
#include "train/judge.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/threads.h"
#include <inttypes.h>
#include <math.h>

static void items_free(struct reward_item *items, int32_t n) {
    for (int32_t i = 0; items && i < n; i++) mem_free((void *)(uintptr_t)items[i].text);
    mem_free(items);
}

/* What is to be judged; the texts are owned by the items. */
static opsm_status make_items(const struct asked *a, const struct problems *p, const struct rollouts *r,
                              struct reward_item **items, opsm_error *err) {
    *items = mem_zalloc((size_t)r->n_sequences, sizeof **items);
    if (!*items) return mem_exhausted(err, "responses to judge", (size_t)r->n_sequences * sizeof **items);
    bool exhausted = false;
#pragma omp parallel for num_threads(threads_count()) schedule(dynamic, 4)
    for (int32_t i = 0; i < r->n_sequences; i++) {
        struct reward_item *item = &(*items)[i];
        *item =
            (struct reward_item){.problem = &a->problems[r->group_of[i]], .finished = r->finish[i] != FINISH_LENGTH};
        item->text = rollouts_text(r, p->tokenizer, i, &item->length);
        if (!item->text) {
#pragma omp atomic write
            exhausted = true;
        }
    }
    return exhausted ? mem_exhausted(err, "a response's text", 0) : OPSM_OK;
}

opsm_status judge(const struct asked *a, const struct problems *p, const struct rollouts *r, float *rewards,
                  float *scores, struct unjudged *unjudged, opsm_error *err) {
    int32_t n = r->n_sequences, n_scores = reward_count(p->reward);
    struct verdict *verdicts = mem_alloc((size_t)n, sizeof *verdicts);
    if (!verdicts) return mem_exhausted(err, "verdicts", (size_t)n * sizeof *verdicts);
    struct reward_item *items;
    opsm_status status = make_items(a, p, r, &items, err);
    if (status == OPSM_OK) reward_judge(p->reward, items, n, verdicts);
    for (int32_t i = 0; status == OPSM_OK && i < n; i++) {
        const struct verdict *v = &verdicts[i];
        bool judged = v->unjudged.code == OPSM_OK;
        if (!judged && unjudged->n++ == 0) unjudged->why = v->unjudged;
        rewards[i] = judged ? (float)v->reward : NAN;
        for (int32_t k = 0; k < n_scores; k++) scores[i * n_scores + k] = (float)v->scores[k];
    }
    items_free(items, n);
    mem_free(verdicts);
    return status;
}

opsm_status unjudged_report(const struct unjudged *unjudged, int64_t n, bool *said, opsm_error *err) {
    if (unjudged->n == 0) return OPSM_OK;
    if (unjudged->n == n)
        return opsm_fail(err, unjudged->why.code, "none of %" PRId64 " responses could be judged: %s", n,
                         unjudged->why.text);
    if (!*said)
        log_line(LOG_WARN, "%" PRId64 " of %" PRId64 " responses could not be judged and are set aside; the first: %s",
                 unjudged->n, n, unjudged->why.text);
    *said = true;
    return OPSM_OK;
}
