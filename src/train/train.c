/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop: evaluate, take the next batch from the source, step on its minibatches, record, checkpoint.
 */
#include "train/train.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "environment/problem_rows.h"
#include "train/diagnosis.h"
#include "train/run.h"
#include "train/samples.h"
#include "train/train_record.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { EARLY = 3 }; /* iterations after which groups without signal are warned of */

struct training {
    struct run run;
    struct producer producer;
    struct source source;
    struct model *reference;              /* a copy with the initial weights, NULL: none is needed */
    int32_t *order, *begin, *cut_scratch; /* minibatches of the batch in training */
    struct diagnosis_row early[EARLY];    /* the first iterations of this process */
    int32_t n_early;
};

/* ---- what is allocated once -------------------------------------------------------------------------------------- */

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
    if (!c->model)
        return opsm_fail(err, OPSM_INVALID,
                         "model: expected the path of a GGUF file or a Hugging Face directory, found nothing");
    if (c->rollout.temperature <= 0)
        return opsm_fail(err, OPSM_INVALID, "rollout.temperature is 0: a group would be one response, repeated");
    return OPSM_OK;
}

static opsm_status create_lists(struct training *t, opsm_error *err) {
    const struct run_config *c = t->run.config;
    size_t n = (size_t)t->run.room;
    t->order = mem_alloc(n, sizeof *t->order);
    t->cut_scratch = mem_alloc(n, sizeof *t->cut_scratch);
    t->begin = mem_alloc((size_t)c->schedule.minibatches + 1, sizeof *t->begin);
    if (t->order && t->cut_scratch && t->begin) return OPSM_OK;
    return mem_exhausted(err, "lists of minibatches", n * 8);
}

static opsm_status open_source(struct training *t, opsm_error *err) {
    struct run *run = &t->run;
    t->producer = (struct producer){.config = run->config,
                                    .problems = &run->problems,
                                    .model = run->model,
                                    .generator = run->generator,
                                    .sampling = run_sampling(run->config),
                                    .max_prompt = run_max_prompt(run->config, run->model),
                                    .interrupt = run->options->interrupt,
                                    .said_unjudged = &run->said_unjudged};
    opsm_status status = producer_open(&t->producer, err);
    run->source = &t->source;
    return status == OPSM_OK ? source_open(&t->source, &t->producer, run->config->schedule.staleness, err) : status;
}

static opsm_status training_open(struct training *t, const struct run_config *config,
                                 const struct train_options *options, opsm_error *err) {
    opsm_status status = run_open(&t->run, config, options, PROBLEMS_TRAIN, false, err);
    /* The weights are still the initial ones here; a checkpoint comes later. */
    if (status == OPSM_OK && opsm_objective_needs_reference(&config->objective) && config->train.lora.rank == 0)
        status = model_clone(&t->reference, t->run.model, config->precision, false, err);
    if (status == OPSM_OK)
        status = run_equip(&t->run, memory_minibatch(config), config->rollout.prompts * config->rollout.group, err);
    if (status == OPSM_OK) status = open_source(t, err);
    if (status == OPSM_OK) status = create_lists(t, err);
    if (status == OPSM_OK) status = run_resume(&t->run, err);
    return status;
}

static void training_close(struct training *t) {
    model_free(t->reference);
    producer_close(&t->producer);
    source_close(&t->source);
    mem_free(t->order);
    mem_free(t->begin);
    mem_free(t->cut_scratch);
}

/* ---- training on a batch ----------------------------------------------------------------------------------------- */

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

/* The initial model's: a copy, or ours without its adapters. */
static opsm_status add_reference(struct training *t, struct batch *batch, opsm_error *err) {
    if (t->reference) return add_logprobs(t, t->reference, batch, COLUMN_logp_reference, err);
    model_switch_adapters(t->run.model, false);
    opsm_status status = add_logprobs(t, t->run.model, batch, COLUMN_logp_reference, err);
    model_switch_adapters(t->run.model, true);
    return status;
}

static opsm_status prepare_batch(struct training *t, struct batch *batch, opsm_error *err) {
    const opsm_objective *o = &t->run.config->objective;
    double start = clock_seconds();
    log_phase("log-probs", NAN, NAN);
    opsm_status status = OPSM_OK;
    if (opsm_objective_needs_reference(o)) status = add_reference(t, batch, err);
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

/* The batch has been trained on. */
static opsm_status retire_batch(struct training *t, const struct batch *batch, opsm_error *err) {
    const struct run *run = &t->run;
    opsm_status status = run->config->rollout.save ? dump_batch(run->config->output, batch, err) : OPSM_OK;
    if (status == OPSM_OK) status = run_write_samples(&t->run, batch, err);
    source_done(&t->source);
    return status;
}

/* Said at the end again, but hours may lie between. */
static void warn_early(struct training *t, const struct batch_stats *fresh) {
    const struct run *run = &t->run;
    if (t->n_early == EARLY || run->position.iteration == run->config->train.iterations) return;
    const double *scores = fresh->scores;
    struct diagnosis_row *row = &t->early[t->n_early++];
    *row = (struct diagnosis_row){.lowest = scores[0],
                                  .highest = scores[0],
                                  .groups = run->config->rollout.prompts,
                                  .silent = fresh->zero_groups};
    for (int i = 1; i < reward_count(run->problems.reward); i++) {
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
    struct batch *batch;
    if (at->iteration_steps == 0) tallies_clear(at);
    opsm_status status = source_next(&t->source, at->iteration, run->config->schedule.staleness, &batch, err);
    if (status == OPSM_OK) status = train_batch(t, batch, err);
    if (status != OPSM_OK) return status;

    struct batch_stats fresh = source_fresh(&t->source, at->iteration);
    if (isnan(run->summary.reward_first)) run->summary.reward_first = fresh.reward_mean;
    run->summary.reward_last = fresh.reward_mean;
    status = write_iteration(run->options->sink, at, &fresh, &run->problems, err);
    if (status == OPSM_OK) status = retire_batch(t, batch, err);
    at->iteration++;
    at->iteration_steps = 0;
    if (status == OPSM_OK) warn_early(t, &fresh);
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
    status = run_end(&t.run, status, summary, err);
    training_close(&t);
    return status;
}
