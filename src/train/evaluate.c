/* SPDX-License-Identifier: Apache-2.0 */
#include "train/evaluate.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "train/judge.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Evaluation draws from its own random numbers, the same at every evaluation: differences are the weights' doing. */
static const uint32_t EVAL_ITERATION = 0x80000000u;

void evaluation_free(struct evaluation *e) {
    mem_free(e->right);
    mem_free(e->judged);
    *e = (struct evaluation){0};
}

struct interval evaluation_pass_at_k(const struct evaluation *e, int64_t k) {
    return interval_pass_at_k(e->right, e->judged, e->problems, e->samples, k);
}

static bool same_response(const struct rollouts *r, int32_t a, int32_t b) {
    int64_t n = r->offset[a + 1] - r->offset[a];
    return n == r->offset[b + 1] - r->offset[b] &&
           !memcmp(r->tokens + r->offset[a], r->tokens + r->offset[b], (size_t)n * sizeof *r->tokens);
}

/* The scores of one chunk of problems; right is what one verifier judges 1, whatever else the reward adds or takes. */
struct judged {
    const struct rollouts *rollouts;
    const float *rewards, *scores; /* as judge() leaves them */
    int32_t n_scores, primary;
};

static bool is_judged(const struct judged *j, int32_t i) {
    return !isnan(j->rewards[i]);
}

static bool is_right(const struct judged *j, int32_t i) {
    return is_judged(j, i) && j->scores[i * j->n_scores + j->primary] >= 1;
}

/* Whether no sample of the group before i is right in the same words. */
static bool is_new(const struct judged *j, int32_t i) {
    for (int32_t k = rollouts_group_begin(j->rollouts, i); k < i; k++)
        if (is_right(j, k) && same_response(j->rollouts, i, k)) return false;
    return true;
}

static void tally(struct evaluation *e, int64_t first, const struct judged *j) {
    const struct rollouts *r = j->rollouts;
    for (int32_t i = 0; i < r->n_sequences; i++) {
        bool right = is_right(j, i);
        e->finished += r->finish[i] != FINISH_LENGTH;
        if (!is_judged(j, i)) continue;
        e->reward_mean += (double)j->rewards[i];
        for (int32_t k = 0; k < j->n_scores; k++) e->scores[k] += (double)j->scores[i * j->n_scores + k];
        e->judged[first + r->group_of[i]]++;
        e->right[first + r->group_of[i]] += right;
        e->distinct += right && is_new(j, i);
    }
    e->tokens += rollouts_tokens(r);
}

static opsm_status evaluate_chunk(struct generator *g, const struct problems *p, const struct evaluate_request *q,
                                  int64_t first, int32_t count, struct evaluation *e, struct unjudged *unjudged,
                                  opsm_error *err) {
    struct asked asked;
    opsm_status status = ask(&asked, p, q->split, first, count, q->max_prompt, err);
    if (status != OPSM_OK) return status;
    struct rollouts rollouts = {0};
    struct generate_request request = {.n_prompts = count,
                                       .group = q->samples,
                                       .prompt_offset = asked.offset,
                                       .prompt_tokens = asked.prompts.ids,
                                       .sampling = q->sampling,
                                       .max_tokens = q->max_tokens,
                                       .stop = q->stop,
                                       .n_stop = q->n_stop,
                                       .seed = q->seed,
                                       .iteration = EVAL_ITERATION,
                                       .first_prompt = (uint32_t)first,
                                       .interrupt = q->interrupt,
                                       .phase = "eval",
                                       .phase_from = (double)first / (double)e->problems,
                                       .phase_to = (double)(first + count) / (double)e->problems};
    status = generate(g, &request, &rollouts, NULL, err);
    size_t n = (size_t)count * (size_t)q->samples, n_scores = (size_t)reward_count(p->reward);
    float *rewards = mem_alloc(n, sizeof *rewards), *scores = mem_alloc(n * n_scores, sizeof *scores);
    if (status == OPSM_OK && (!rewards || !scores)) status = mem_exhausted(err, "rewards", n * sizeof *rewards);
    if (status == OPSM_OK) status = judge(&asked, p, &rollouts, rewards, scores, unjudged, err);
    if (status == OPSM_OK) tally(e, first, &(struct judged){&rollouts, rewards, scores, (int32_t)n_scores, p->primary});
    if (status == OPSM_OK && first == 0 && q->show)
        status = q->show(q->viewer, &asked, &rollouts, rewards, scores, (int32_t)n_scores, err);
    mem_free(rewards);
    mem_free(scores);
    rollouts_free(&rollouts);
    asked_free(&asked);
    return status;
}

opsm_status evaluate(struct generator *g, int32_t room, const struct problems *p, const struct evaluate_request *q,
                     struct evaluation *e, opsm_error *err) {
    double start = clock_seconds();
    int64_t there = data_count(p->source, q->split);
    *e = (struct evaluation){.problems = q->problems < there ? q->problems : there, .samples = q->samples};
    if (e->problems < 1)
        return opsm_fail(err, OPSM_INVALID, "there are no %s problems to evaluate on", data_split_name(q->split));
    if (q->samples < 1 || q->samples > room)
        return opsm_fail(err, OPSM_INVALID, "%d samples a problem: expected 1 to %d", q->samples, room);
    e->n_scores = reward_count(p->reward);
    for (int32_t k = 0; k < e->n_scores; k++)
        snprintf(e->names[k], sizeof e->names[k], "%s", reward_name(p->reward, k));
    e->right = mem_zalloc((size_t)e->problems, sizeof *e->right);
    e->judged = mem_zalloc((size_t)e->problems, sizeof *e->judged);
    opsm_status status = e->right && e->judged
                             ? OPSM_OK
                             : mem_exhausted(err, "an evaluation", (size_t)e->problems * 2 * sizeof *e->right);
    struct unjudged unjudged = {0};
    int32_t per_chunk = room / q->samples;
    for (int64_t first = 0; status == OPSM_OK && first < e->problems; first += per_chunk) {
        int64_t left = e->problems - first;
        status = evaluate_chunk(g, p, q, first, left < per_chunk ? (int32_t)left : per_chunk, e, &unjudged, err);
    }
    log_phase(NULL, 0, 0);
    if (status == OPSM_OK) status = unjudged_report(&unjudged, e->problems * e->samples, q->said_unjudged, err);
    if (status != OPSM_OK) {
        evaluation_free(e);
        return status;
    }
    double n = (double)e->problems * (double)e->samples, n_judged = n - (double)unjudged.n;
    e->unjudged = unjudged.n;
    e->reward_mean /= n_judged;
    for (int32_t k = 0; k < e->n_scores; k++) e->scores[k] /= n_judged;
    e->finished /= n;
    e->length_mean = (double)e->tokens / n;
    e->distinct /= (double)e->problems;
    e->accuracy = evaluation_pass_at_k(e, 1);
    e->pass_at_k = evaluation_pass_at_k(e, e->samples);
    e->seconds = clock_seconds() - start;
    return OPSM_OK;
}
