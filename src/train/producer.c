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

static opsm_status judge_batch(struct producer *p, const struct asked *asked, struct batch *batch, opsm_error *err) {
    struct rollouts *r = &batch->rollouts;
    size_t n = (size_t)r->n_sequences, n_scores = (size_t)reward_count(p->problems->reward);
    float *scores = mem_alloc(n * n_scores, sizeof *scores);
    if (!scores) return mem_exhausted(err, "scores", n * n_scores * sizeof *scores);
    opsm_status status = judge(asked, p->problems, r, r->reward, scores, err);
    for (size_t k = 0; status == OPSM_OK && k < n_scores; k++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += (double)scores[i * n_scores + k];
        batch->stats.scores[k] = sum / (double)n;
    }
    mem_free(scores);
    return status;
}

static opsm_status add_advantages(const opsm_objective *objective, struct batch *batch, opsm_error *err) {
    struct rollouts *r = &batch->rollouts;
    size_t workspace_size = opsm_objective_workspace(r->n_sequences);
    void *workspace = mem_alloc(workspace_size, 1);
    if (!workspace) return mem_exhausted(err, "advantages", workspace_size);
    opsm_batch view;
    opsm_batch_init(&view);
    view.n_sequences = r->n_sequences;
    view.groups = r->group_of;
    view.rewards = r->reward;
    opsm_group_stats groups = {0};
    opsm_status status = opsm_advantages(objective, &view, r->advantage, &groups, workspace, workspace_size, err);
    mem_free(workspace);
    batch->stats.reward_mean = groups.reward_mean;
    batch->stats.reward_std = groups.reward_std;
    batch->stats.zero_groups = groups.zero_groups;
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
