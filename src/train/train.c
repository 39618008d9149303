/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop: evaluate, generate, judge, train on the oldest batch of the queue, record, checkpoint.
 *
 * Batch number b is generated with random numbers keyed by b and the problems b * prompts .... The queue holds
 * `staleness` batches before an iteration and one more during it: the fresh one goes in at the back, iteration t trains
 * on batch t from the front. Before iteration 0 it is filled from the initial weights, so that iteration t trains on
 * rollouts of the weights after max(0, t - staleness) iterations.
 */
#include "train/train.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "environment/problem_rows.h"
#include "train/diagnosis.h"
#include "train/judge.h"
#include "train/run.h"
#include "train/samples.h"
#include "train/train_record.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { EARLY = 3 }; /* iterations after which groups without signal are warned of */

struct training {
    struct run run;
    struct model *reference;              /* the initial weights, NULL: nobody needs them */
    struct model *rounded;                /* what the sampler runs on, NULL: on the trainer's weights */
    int32_t *order, *begin, *cut_scratch; /* minibatches of the batch in training */
    struct diagnosis_row early[EARLY];    /* the first iterations of this process */
    int32_t n_early;
};

/* ---- what is allocated once -----------------------------------------------------------------------------------------
 */

static opsm_status check_sizes(const struct run_config *c, opsm_error *err) {
    int64_t sequences = (int64_t)c->rollout.prompts * c->rollout.group;
    if (sequences > INT32_MAX / 2)
        return opsm_fail(err, OPSM_INVALID, "rollout.prompts x rollout.group is %lld: too many sequences",
                         (long long)sequences);
    if (sequences < c->schedule.minibatches)
        return opsm_fail(err, OPSM_INVALID, "schedule.minibatches is %d, but a batch has %lld sequences only",
                         c->schedule.minibatches, (long long)sequences);
    if (c->objective.surrogate_name == OPSM_SURROGATE_DPO && c->rollout.prompts < c->schedule.minibatches)
        return opsm_fail(err, OPSM_INVALID,
                         "surrogate dpo pairs the responses of a group, but %d minibatches would cut %d groups apart",
                         c->schedule.minibatches, c->rollout.prompts);
    if (!c->model) return opsm_fail(err, OPSM_INVALID, "model: expected the path of a GGUF file, found nothing");
    if (c->rollout.temperature <= 0)
        return opsm_fail(err, OPSM_INVALID, "rollout.temperature is 0: a group would be one response, repeated");
    return OPSM_OK;
}

static opsm_status create_lists(struct training *t, opsm_error *err) {
    const struct run_config *c = t->run.config;
    size_t n = (size_t)t->run.room;
    t->run.queue_room = c->schedule.staleness + 1;
    t->run.queue = mem_zalloc((size_t)t->run.queue_room, sizeof *t->run.queue);
    t->order = mem_alloc(n, sizeof *t->order);
    t->cut_scratch = mem_alloc(n, sizeof *t->cut_scratch);
    t->begin = mem_alloc((size_t)c->schedule.minibatches + 1, sizeof *t->begin);
    if (t->run.queue && t->order && t->cut_scratch && t->begin) return OPSM_OK;
    return mem_exhausted(err, "the rollout queue", n * 8);
}

static opsm_status training_open(struct training *t, const struct run_config *config,
                                 const struct train_options *options, opsm_error *err) {
    opsm_status status = run_open(&t->run, config, options, PROBLEMS_TRAIN, false, err);
    /* The weights are still the initial ones here; a checkpoint comes later. */
    if (status == OPSM_OK && opsm_objective_needs_reference(&config->objective))
        status = model_clone(&t->reference, t->run.model, config->precision, false, err);
    if (status == OPSM_OK && config->rollout.weights != WEIGHTS_SAME)
        status = model_clone(&t->rounded, t->run.model, config->precision, false, err);
    if (status == OPSM_OK)
        status = run_equip(&t->run, memory_minibatch(config), config->rollout.prompts * config->rollout.group, err);
    if (status == OPSM_OK) status = create_lists(t, err);
    if (status == OPSM_OK) status = run_resume(&t->run, err);
    return status;
}

static void training_close(struct training *t) {
    model_free(t->reference);
    model_free(t->rounded);
    mem_free(t->order);
    mem_free(t->begin);
    mem_free(t->cut_scratch);
}

/* ---- rollout -> reward -> advantage ---------------------------------------------------------------------------------
 */

static opsm_status add_advantages(struct run *run, struct batch *batch, opsm_group_stats *stats, opsm_error *err) {
    const struct rollouts *r = &batch->rollouts;
    size_t workspace_size = opsm_objective_workspace(r->n_sequences);
    void *workspace = mem_alloc(workspace_size, 1);
    if (!workspace) return mem_exhausted(err, "advantages", workspace_size);
    opsm_batch view;
    opsm_batch_init(&view);
    view.n_sequences = r->n_sequences;
    view.groups = r->group_of;
    view.rewards = r->reward;
    opsm_status status =
        opsm_advantages(&run->config->objective, &view, r->advantage, stats, workspace, workspace_size, err);
    mem_free(workspace);
    return status;
}

/* Rollouts come from the rounded weights where the configuration says so; evaluations never do: they are about the
 * model that is being trained. */
static opsm_status generate_from(struct training *t, const struct generate_request *request, struct rollouts *rollouts,
                                 struct generate_stats *stats, opsm_error *err) {
    if (!t->rounded) return generate(t->run.generator, request, rollouts, stats, err);
    bool int8 = t->run.config->rollout.weights == WEIGHTS_INT8;
    opsm_status status = model_round(t->rounded, t->run.model, int8 ? QUANT_Q8_0 : QUANT_BF16, err);
    if (status != OPSM_OK) return status;
    generator_use(t->run.generator, t->rounded);
    status = generate(t->run.generator, request, rollouts, stats, err);
    generator_use(t->run.generator, t->run.model);
    return status;
}

/* Rewards, and into the record of the iteration what each verifier says. */
static opsm_status judge_batch(struct training *t, struct batch *batch, const struct asked *asked, opsm_error *err) {
    size_t n = (size_t)batch->rollouts.n_sequences, n_scores = (size_t)reward_count(t->run.problems.reward);
    float *scores = mem_alloc(n * n_scores, sizeof *scores);
    if (!scores) return mem_exhausted(err, "scores", n * n_scores * sizeof *scores);
    opsm_status status = judge(asked, &t->run.problems, &batch->rollouts, batch->rollouts.reward, scores, err);
    if (status == OPSM_OK) record_scores(&t->run.position, scores, (int32_t)n, (int32_t)n_scores);
    mem_free(scores);
    return status;
}

static opsm_status fill_batch(struct training *t, struct batch *batch, const struct asked *asked, opsm_error *err) {
    const struct run_config *c = t->run.config;
    struct generate_request request = {.n_prompts = c->rollout.prompts,
                                       .group = c->rollout.group,
                                       .prompt_offset = asked->offset,
                                       .prompt_tokens = asked->prompts.ids,
                                       .sampling = run_sampling(c),
                                       .max_tokens = c->rollout.max_tokens,
                                       .stop = (const char *const *)c->rollout.stop.items,
                                       .n_stop = c->rollout.stop.count,
                                       .seed = c->seed,
                                       .iteration = (uint32_t)batch->index,
                                       .interrupt = t->run.options->interrupt,
                                       .phase = "rollout",
                                       .phase_to = 1};
    struct generate_stats stats;
    opsm_status status = generate_from(t, &request, &batch->rollouts, &stats, err);
    double start = clock_seconds();
    if (status == OPSM_OK) status = batch_add_columns(batch, c->rollout.save, err);
    if (status == OPSM_OK) status = judge_batch(t, batch, asked, err);
    opsm_group_stats groups;
    if (status == OPSM_OK) status = add_advantages(&t->run, batch, &groups, err);
    if (status == OPSM_OK) record_rollout(&t->run.position, batch, &groups, &stats, clock_seconds() - start);
    return status;
}

/* The next batch of the run, from the weights in force, goes to the back of the queue. Interrupted, it leaves no trace:
 * the same batch will be generated again. */
static opsm_status generate_batch(struct training *t, opsm_error *err) {
    struct run *run = &t->run;
    const struct run_config *c = run->config;
    struct batch *batch = &run->queue[run->n_queue];
    *batch = (struct batch){.index = run->position.generated, .mask_truncated = c->rollout.truncated == TRUNCATED_MASK};
    struct asked asked;
    log_phase("rollout", NAN, NAN);
    opsm_status status = ask(&asked, &run->problems, DATA_TRAIN, batch->index * c->rollout.prompts, c->rollout.prompts,
                             run_max_prompt(c, run->model), err);
    if (status != OPSM_OK) return status;
    status = fill_batch(t, batch, &asked, err);
    asked_free(&asked);
    if (status != OPSM_OK) {
        batch_free(batch);
        return status;
    }
    run->n_queue++;
    run->position.generated++;
    return OPSM_OK;
}

/* ---- training on the oldest batch -----------------------------------------------------------------------------------
 */

/* A column of log-probs, starting as the sampler's where nobody needs them. */
static opsm_status add_logprobs(struct training *t, const struct model *model, struct batch *batch, enum column_id id,
                                opsm_error *err) {
    struct rollouts *r = &batch->rollouts;
    opsm_status status = rollouts_add(r, id, err);
    if (status != OPSM_OK) return status;
    float *column = rollouts_column(r, id);
    memcpy(column, r->logp, (size_t)rollouts_tokens(r) * sizeof *column);
    return train_logprobs(&t->run.trainer, model, batch, false, column, err);
}

static opsm_status prepare_batch(struct training *t, struct batch *batch, opsm_error *err) {
    const opsm_objective *o = &t->run.config->objective;
    double start = clock_seconds();
    log_phase("log-probs", NAN, NAN);
    opsm_status status = OPSM_OK;
    if (opsm_objective_needs_reference(o)) status = add_logprobs(t, t->reference, batch, COLUMN_logp_reference, err);
    if (status == OPSM_OK && opsm_objective_needs_trainer(o))
        status = add_logprobs(t, t->run.model, batch, COLUMN_logp_trainer, err);
    if (status == OPSM_OK && samples_due(t->run.config, t->run.position.iteration))
        status = rollouts_add(&batch->rollouts, COLUMN_verdict, err);
    t->run.position.tallies[TALLY_SECONDS_LOGPROBS] += clock_seconds() - start;
    return status;
}

static opsm_status train_minibatch(struct training *t, struct batch *batch, opsm_error *err) {
    struct run *run = &t->run;
    const struct run_config *c = run->config;
    struct run_position *at = &run->position;
    int32_t m = (int32_t)(at->iteration_steps % c->schedule.minibatches);
    int32_t epoch = (int32_t)(at->iteration_steps / c->schedule.minibatches);
    minibatch_cut(batch, c->seed, epoch, c->schedule.minibatches, t->order, t->begin, t->cut_scratch);
    const int32_t *ids = t->order + t->begin[m];
    int32_t n = t->begin[m + 1] - t->begin[m];
    struct step_report report;
    /* The first step of a run looks at every sequence: its gap between sampler and trainer is that of this machine. */
    opsm_status status = train_step(&run->trainer, batch, ids, n, at->steps, at->steps == 0, &report, err);
    if (status != OPSM_OK) return status;
    at->steps++;
    at->iteration_steps++;
    at->skipped += report.outcome != STEP_APPLIED;
    if (report.outcome == STEP_NONFINITE)
        log_line(LOG_WARN, "step %" PRId64 ": the gradient is not finite; the step is skipped", at->steps - 1);
    record_step(at, &report, run->trainer.mb.records, n);
    if (report.metrics.size > 0) samples_note(batch, ids, n, run->trainer.mb.records);
    return write_step(run->options->sink, at, batch, ids, n, &report, err);
}

static opsm_status train_batch(struct training *t, struct batch *batch, opsm_error *err) {
    const struct run_config *c = t->run.config;
    int64_t total = (int64_t)c->schedule.minibatches * c->schedule.epochs;
    struct run_position *at = &t->run.position;
    opsm_status status = at->iteration_steps == 0 ? prepare_batch(t, batch, err) : OPSM_OK;
    while (status == OPSM_OK && at->iteration_steps < total) {
        if (run_interrupted(&t->run)) return opsm_fail(err, OPSM_INTERRUPTED, "interrupted");
        double share = (double)at->iteration_steps / (double)total;
        log_phase("train", share, share);
        status = train_minibatch(t, batch, err);
    }
    return status;
}

/* The front of the queue has been trained on. */
static opsm_status retire_batch(struct training *t, opsm_error *err) {
    struct run *run = &t->run;
    struct batch *batch = &run->queue[0];
    opsm_status status = run->config->rollout.save ? dump_batch(run->config->output, batch, err) : OPSM_OK;
    if (status == OPSM_OK) status = run_write_samples(run, batch, err);
    batch_free(batch);
    run->n_queue--;
    memmove(run->queue, run->queue + 1, (size_t)run->n_queue * sizeof *run->queue);
    run->queue[run->n_queue] = (struct batch){0};
    return status;
}

/* Said at the end again, but hours may lie between. */
static void warn_early(struct training *t) {
    const struct run_position *at = &t->run.position;
    if (t->n_early == EARLY || at->iteration == t->run.config->train.iterations) return;
    const double *scores = &at->tallies[TALLY_SCORES];
    struct diagnosis_row *row = &t->early[t->n_early++];
    *row = (struct diagnosis_row){.lowest = scores[0],
                                  .highest = scores[0],
                                  .groups = t->run.config->rollout.prompts,
                                  .silent = (int64_t)at->tallies[TALLY_ZERO_GROUPS]};
    for (int i = 1; i < reward_count(t->run.problems.reward); i++) {
        row->lowest = fmin(row->lowest, scores[i]);
        row->highest = fmax(row->highest, scores[i]);
    }
    struct text sentence = {0};
    if (t->n_early == EARLY && diagnose_signal(t->early, EARLY, &sentence) && !sentence.failed)
        log_line(LOG_WARN, "%s", sentence.data);
    text_free(&sentence);
}

static opsm_status iteration(struct training *t, opsm_error *err) {
    struct run *run = &t->run;
    struct run_position *at = &run->position;
    opsm_status status = OPSM_OK;
    /* An iteration begins with its first rollout; the first one also fills the queue. */
    if (at->generated == (at->iteration == 0 ? 0 : at->iteration + run->config->schedule.staleness)) tallies_clear(at);
    while (status == OPSM_OK && at->generated <= at->iteration + run->config->schedule.staleness)
        status = generate_batch(t, err);
    if (status == OPSM_OK) status = train_batch(t, &run->queue[0], err);
    if (status != OPSM_OK) return status;

    double reward = at->tallies[TALLY_REWARD_MEAN];
    if (isnan(run->summary.reward_first)) run->summary.reward_first = reward;
    run->summary.reward_last = reward;
    status = write_iteration(run->options->sink, at, &run->problems, err);
    if (status == OPSM_OK) status = retire_batch(t, err);
    at->iteration++;
    at->iteration_steps = 0;
    if (status == OPSM_OK) warn_early(t);
    return status;
}

static bool checkpoint_is_due(const struct run *run) {
    int64_t every = run->config->train.checkpoint_every, at = run->position.iteration;
    return at == run->config->train.iterations || (every > 0 && at > 0 && at % every == 0);
}

static opsm_status train_loop(struct training *t, opsm_error *err) {
    struct run *run = &t->run;
    int64_t last = run->config->train.iterations;
    for (;;) {
        opsm_status status = run_evaluate(run, last, err);
        if (status == OPSM_OK && run->position.iteration_steps == 0 && checkpoint_is_due(run))
            status = run_save(run, err);
        if (status != OPSM_OK || run->position.iteration >= last) return status;
        status = iteration(t, err);
        if (status != OPSM_OK) return status;
    }
}

opsm_status train_run(const struct run_config *config, const struct train_options *options,
                      struct train_summary *summary, opsm_error *err) {
    opsm_status status = check_sizes(config, err);
    if (status != OPSM_OK) return status;
    struct training t = {0};
    status = training_open(&t, config, options, err);
    if (status == OPSM_OK) status = train_loop(&t, err);
    training_close(&t);
    return run_end(&t.run, status, summary, err);
}
