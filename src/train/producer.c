/* SPDX-License-Identifier: Apache-2.0 */
#include "train/producer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "train/judge.h"
#include <math.h>

opsm_status producer_open(struct producer *p, opsm_error *err) {
    if (p->config->rollout.weights == WEIGHTS_SAME) return OPSM_OK;
    return model_clone(&p->rounded, p->model, p->config->precision, false, err);
}

void producer_close(struct producer *p) {
    model_free(p->rounded);
    p->rounded = NULL;
}

/* The generator goes back to the model itself: evaluations are about what is being trained. */
static opsm_status generate_rounded(struct producer *p, const struct generate_request *request, struct batch *batch,
                                    struct generate_stats *stats, opsm_error *err) {
    bool int8 = p->config->rollout.weights == WEIGHTS_INT8;
    opsm_status status = model_round(p->rounded, p->model, int8 ? QUANT_Q8_0 : QUANT_BF16, err);
    if (status != OPSM_OK) return status;
    generator_use(p->generator, p->rounded);
    status = generate(p->generator, request, &batch->rollouts, stats, err);
    generator_use(p->generator, p->model);
    return status;
}

static opsm_status generate_batch(struct producer *p, const struct asked *asked, struct batch *batch, opsm_error *err) {
    const struct run_config *c = p->config;
    struct generate_request request = {.n_prompts = c->rollout.prompts,
                                       .group = c->rollout.group,
                                       .prompt_offset = asked->offset,
                                       .prompt_tokens = asked->prompts.ids,
                                       .sampling = p->sampling,
                                       .max_tokens = c->rollout.max_tokens,
                                       .stop = (const char *const *)c->rollout.stop.items,
                                       .n_stop = c->rollout.stop.count,
                                       .seed = c->seed,
                                       .iteration = (uint32_t)batch->index,
                                       .interrupt = p->interrupt,
                                       .phase = "rollout",
                                       .phase_to = 1};
    struct generate_stats stats;
    opsm_status status = p->rounded ? generate_rounded(p, &request, batch, &stats, err)
                                    : generate(p->generator, &request, &batch->rollouts, &stats, err);
    if (status != OPSM_OK) return status;
    const struct rollouts *r = &batch->rollouts;
    double finished = 0;
    for (int32_t i = 0; i < r->n_sequences; i++) finished += r->finish[i] != FINISH_LENGTH;
    batch->stats.finished = finished / r->n_sequences;
    batch->stats.length_mean = (double)stats.tokens / r->n_sequences;
    batch->stats.tokens = stats.tokens;
    batch->stats.seconds_rollout = stats.seconds;
    return OPSM_OK;
}

/* Means of what each verifier says of the responses that have a verdict. */
static void average_scores(const struct rollouts *r, const float *scores, int32_t n_scores, int64_t judged,
                           double *means) {
    for (int32_t k = 0; k < n_scores; k++) {
        double sum = 0;
        for (int32_t i = 0; i < r->n_sequences; i++)
            if (!isnan(r->reward[i])) sum += (double)scores[i * n_scores + k];
        means[k] = sum / (double)judged;
    }
}

static opsm_status judge_batch(struct producer *p, const struct asked *asked, struct batch *batch, opsm_error *err) {
    struct rollouts *r = &batch->rollouts;
    int32_t n = r->n_sequences, n_scores = reward_count(p->problems->reward);
    size_t size = (size_t)n * (size_t)n_scores;
    struct unjudged unjudged = {0};
    float *scores = mem_alloc(size, sizeof *scores);
    if (!scores) return mem_exhausted(err, "scores", size * sizeof *scores);
    opsm_status status = judge(asked, p->problems, r, r->reward, scores, &unjudged, err);
    if (status == OPSM_OK) status = unjudged_report(&unjudged, n, p->said_unjudged, err);
    if (status == OPSM_OK) average_scores(r, scores, n_scores, n - unjudged.n, batch->stats.scores);
    mem_free(scores);
    batch->stats.unjudged = unjudged.n;
    if (status != OPSM_OK || unjudged.n == 0) return status;
    status = rollouts_add(r, COLUMN_unjudged, err);
    for (int32_t i = 0; status == OPSM_OK && i < n; i++) r->unjudged[i] = isnan(r->reward[i]);
    return status;
}

/* Over the sequences that have a verdict, side by side; the others have no advantage. */
static opsm_status add_advantages(const opsm_objective *objective, struct batch *batch, opsm_error *err) {
    struct rollouts *r = &batch->rollouts;
    size_t room = (size_t)r->n_sequences, workspace_size = opsm_objective_workspace(r->n_sequences);
    int64_t *groups = mem_alloc(room, sizeof *groups);
    float *rewards = mem_alloc(room, sizeof *rewards), *advantages = mem_alloc(room, sizeof *advantages);
    void *workspace = mem_alloc(workspace_size, 1);
    bool whole = groups && rewards && advantages && workspace;
    opsm_status status = whole ? OPSM_OK : mem_exhausted(err, "advantages", workspace_size + room * 16);
    opsm_group_stats stats = {0};
    opsm_batch view;
    opsm_batch_init(&view);
    view.groups = groups;
    view.rewards = rewards;
    for (int32_t i = 0; status == OPSM_OK && i < r->n_sequences; i++) {
        if (!batch_judged(batch, i)) continue;
        groups[view.n_sequences] = r->group_of[i];
        rewards[view.n_sequences++] = r->reward[i];
    }
    if (status == OPSM_OK)
        status = opsm_advantages(objective, &view, advantages, &stats, workspace, workspace_size, err);
    for (int32_t i = 0, at = 0; status == OPSM_OK && i < r->n_sequences; i++)
        r->advantage[i] = batch_judged(batch, i) ? advantages[at++] : 0;
    batch->stats.reward_mean = stats.reward_mean;
    batch->stats.reward_std = stats.reward_std;
    batch->stats.zero_groups = stats.zero_groups;
    mem_free(groups);
    mem_free(rewards);
    mem_free(advantages);
    mem_free(workspace);
    return status;
}

static opsm_status fill(struct producer *p, const struct asked *asked, struct batch *batch, opsm_error *err) {
    opsm_status status = generate_batch(p, asked, batch, err);
    if (status != OPSM_OK) return status;
    double start = clock_seconds();
    status = batch_add_columns(batch, p->config->rollout.save, err);
    if (status == OPSM_OK) status = judge_batch(p, asked, batch, err);
    if (status == OPSM_OK) status = add_advantages(&p->config->objective, batch, err);
    batch->stats.seconds_reward = clock_seconds() - start;
    return status;
}

opsm_status producer_make(struct producer *p, int64_t index, struct batch *batch, opsm_error *err) {
    const struct run_config *c = p->config;
    *batch = (struct batch){.index = index, .mask_truncated = c->rollout.truncated == TRUNCATED_MASK};
    struct asked asked;
    log_phase("rollout", NAN, NAN);
    opsm_status status =
        ask(&asked, p->problems, DATA_TRAIN, index * c->rollout.prompts, c->rollout.prompts, p->max_prompt, err);
    if (status != OPSM_OK) return status;
    status = fill(p, &asked, batch, err);
    asked_free(&asked);
    if (status != OPSM_OK) batch_free(batch);
    return status;
}
