/* SPDX-License-Identifier: Apache-2.0
 *
 * Supervised warm start: cross-entropy on the solutions of a task (with noise, if wanted) or of a dataset, mean over
 * the response tokens of a step. Example i of the run is problem i of the training split; nothing else is random.
 *
 * An "iteration" here is STEPS_PER_ITERATION optimiser steps: the unit of metrics lines, evaluations and checkpoints.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "environment/problem_rows.h"
#include "train/run.h"
#include "train/train.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { STEPS_PER_ITERATION = 50 };

enum { SUM_LOSS, SUM_TOKENS, SUM_GRAD_NORM, SUM_FORWARD, SUM_BACKWARD, SUM_OPTIM }; /* tallies */

struct sft {
    struct run run;
    struct rollouts examples; /* one response a prompt: what the packer takes */
    int32_t *ids;             /* [batch] 0, 1, 2, ... */
    float *logp, *coef;       /* [tokens of the examples] */
    int64_t column_room;
};

static opsm_status sft_open(struct sft *s, const struct run_config *c, const struct train_options *options,
                            opsm_error *err) {
    opsm_status status = run_open(&s->run, c, options, PROBLEMS_IMITATE, c->sft.init.dim > 0, err);
    s->run.inputs.supervised = true;
    if (status != OPSM_OK) return status;
    int32_t room = c->eval.samples > c->rollout.in_flight ? c->eval.samples : c->rollout.in_flight;
    status = run_equip(&s->run, 0, c->train.eval_every > 0 ? room : 0, err);
    if (status == OPSM_OK && !(s->ids = mem_alloc((size_t)c->sft.batch, sizeof *s->ids)))
        status = mem_exhausted(err, "a list of examples", (size_t)c->sft.batch * sizeof *s->ids);
    for (int32_t i = 0; status == OPSM_OK && i < c->sft.batch; i++) s->ids[i] = i;
    return status == OPSM_OK ? run_resume(&s->run, err) : status;
}

static void sft_close(struct sft *s) {
    rollouts_free(&s->examples);
    mem_free(s->ids);
    mem_free(s->logp);
    mem_free(s->coef);
}

/* ---- examples as rollouts with one response a prompt ------------------------------------------------------------- */

struct example_lists {
    struct token_list prompts, responses;
    int64_t *prompt_offset, *offset; /* [batch + 1] */
};

static opsm_status add_example(struct sft *s, int64_t index, int32_t i, struct example_lists *lists, opsm_error *err) {
    const struct problems *p = &s->run.problems;
    const struct run_config *c = s->run.config;
    struct problem problem;
    opsm_status status = data_get(p->source, DATA_TRAIN, index, &problem, err);
    if (status != OPSM_OK) return status;
    status = problems_prompt(p, &problem, &lists->prompts, err);
    if (status == OPSM_OK) status = problems_solution(p, &problem, &lists->responses, err);
    lists->prompt_offset[i + 1] = lists->prompts.count;
    lists->offset[i + 1] = lists->responses.count;
    int64_t prompt = lists->prompt_offset[i + 1] - lists->prompt_offset[i];
    int64_t response = lists->offset[i + 1] - lists->offset[i];
    if (status == OPSM_OK &&
        (prompt < 1 || prompt > run_max_prompt(c, s->run.model) || response > c->rollout.max_tokens))
        status =
            opsm_fail(err, OPSM_INVALID,
                      "example %" PRId64 " ('%.60s...') has %" PRId64 " + %" PRId64 " tokens: expected at most %d in "
                      "the prompt (rollout.max_prompt, the model's context) and %d in the response "
                      "(rollout.max_tokens)",
                      index, problem.prompt, prompt, response, run_max_prompt(c, s->run.model), c->rollout.max_tokens);
    problem_free(&problem);
    return status;
}

static opsm_status gather_examples(struct sft *s, const struct example_lists *lists, opsm_error *err) {
    int32_t n = s->run.config->sft.batch;
    rollouts_free(&s->examples);
    struct rollout_sizes sizes = {n, n, lists->prompts.count, lists->responses.count, -1};
    opsm_status status = rollouts_allocate(&s->examples, &sizes, err);
    if (status != OPSM_OK) return status;
    struct rollouts *r = &s->examples;
    r->inv_temperature = 1;
    for (int32_t i = 0; i < n; i++) r->group_of[i] = i;
    memcpy(r->prompt_offset, lists->prompt_offset, ((size_t)n + 1) * sizeof *r->prompt_offset);
    memcpy(r->offset, lists->offset, ((size_t)n + 1) * sizeof *r->offset);
    memcpy(r->prompt_tokens, lists->prompts.ids, (size_t)lists->prompts.count * sizeof *r->prompt_tokens);
    memcpy(r->tokens, lists->responses.ids, (size_t)lists->responses.count * sizeof *r->tokens);
    if (lists->responses.count <= s->column_room) return OPSM_OK;
    mem_free(s->logp);
    mem_free(s->coef);
    s->column_room = lists->responses.count;
    s->logp = mem_alloc((size_t)s->column_room, sizeof *s->logp);
    s->coef = mem_alloc((size_t)s->column_room, sizeof *s->coef);
    return s->logp && s->coef ? OPSM_OK : mem_exhausted(err, "example columns", (size_t)s->column_room * 8);
}

/* The examples of the next step. */
static opsm_status load_examples(struct sft *s, opsm_error *err) {
    int32_t n = s->run.config->sft.batch;
    struct example_lists lists = {.prompt_offset = mem_zalloc((size_t)n + 1, sizeof(int64_t)),
                                  .offset = mem_zalloc((size_t)n + 1, sizeof(int64_t))};
    opsm_status status = lists.prompt_offset && lists.offset ? OPSM_OK : mem_exhausted(err, "examples", (size_t)n * 16);
    for (int32_t i = 0; status == OPSM_OK && i < n; i++)
        status = add_example(s, s->run.position.steps * n + i, i, &lists, err);
    if (status == OPSM_OK) status = gather_examples(s, &lists, err);
    token_list_free(&lists.prompts);
    token_list_free(&lists.responses);
    mem_free(lists.prompt_offset);
    mem_free(lists.offset);
    return status;
}

/* ---- one step ---------------------------------------------------------------------------------------------------- */

static opsm_status accumulate(struct sft *s, double *loss, opsm_error *err) {
    struct trainer *t = &s->run.trainer;
    struct packer *p = &t->packer;
    const struct rollouts *r = &s->examples;
    double *tally = s->run.position.tallies;
    int64_t n = rollouts_tokens(r);
    for (int64_t i = 0; i < n; i++) s->coef[i] = -1.0f / (float)n;
    parameters_zero_grads(t->model->trained);
    opsm_status status = OPSM_OK;
    for (int32_t next = 0; status == OPSM_OK && next < r->n_sequences;) {
        double start = clock_seconds();
        status = packer_next(p, r, s->ids, r->offset, r->n_sequences, t->micro_batch, &next, err);
        struct lm_head_request request = packer_request(p, r);
        if (status == OPSM_OK) status = model_forward(t->acts, t->model, &p->pack, err);
        if (status == OPSM_OK) status = lm_head_logprobs(p->logp, NULL, t->acts, t->model, &request, err);
        for (int64_t i = 0; status == OPSM_OK && i < p->n; i++) *loss -= (double)p->logp[i] / (double)n;
        double middle = clock_seconds();
        packer_select(p, s->coef);
        request = packer_request(p, r);
        if (status == OPSM_OK) status = lm_head_backward(t->acts, t->model, &request, p->coef, err);
        if (status == OPSM_OK) status = model_backward(t->acts, t->model, &p->pack, err);
        tally[SUM_FORWARD] += middle - start;
        tally[SUM_BACKWARD] += clock_seconds() - middle;
    }
    tally[SUM_TOKENS] += (double)n;
    return status;
}

static opsm_status sft_step(struct sft *s, opsm_error *err) {
    struct trainer *t = &s->run.trainer;
    struct run_position *at = &s->run.position;
    double loss = 0;
    opsm_status status = load_examples(s, err);
    if (status == OPSM_OK) status = accumulate(s, &loss, err);
    if (status != OPSM_OK) return status;
    double start = clock_seconds();
    struct optim_report report = optim_step(t->model->trained, &t->optim_config, 1);
    if (report.skipped)
        log_line(LOG_WARN, "step %" PRId64 ": the gradient is not finite; the step is skipped", at->steps);
    else
        status = model_publish(t->model, err);
    at->tallies[SUM_OPTIM] += clock_seconds() - start;
    at->tallies[SUM_LOSS] += loss;
    at->tallies[SUM_GRAD_NORM] += report.grad_norm;
    at->skipped += report.skipped;
    at->steps++;
    at->iteration_steps++;
    return status;
}

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

static opsm_status write_line(struct run *run, opsm_error *err) {
    const struct run_position *at = &run->position;
    const double *tally = at->tallies;
    double n = (double)at->iteration_steps, busy = tally[SUM_FORWARD] + tally[SUM_BACKWARD] + tally[SUM_OPTIM];
    struct metrics_line line, *m = &line;
    metrics_begin(m, METRICS_ITERATION, at->iteration, at->steps);
    metrics_number(m, "loss", tally[SUM_LOSS] / n);
    metrics_number(m, "grad_norm", tally[SUM_GRAD_NORM] / n);
    metrics_number(m, "lr", optim_lr(run->model->trained, &run->trainer.optim_config));
    metrics_number(m, "tokens", tally[SUM_TOKENS]);
    metrics_number(m, "trained_per_second", tally[SUM_TOKENS] / busy);
    metrics_integer(m, "nonfinite_steps", run->model->trained->nonfinite);
    if (!data_task(run->problems.source)) metrics_integer(m, "rows_skipped", problem_rows_skipped(&run->problems));
    metrics_group(m, "seconds");
    metrics_number(m, "forward", tally[SUM_FORWARD]);
    metrics_number(m, "backward", tally[SUM_BACKWARD]);
    metrics_number(m, "optim", tally[SUM_OPTIM]);
    metrics_group_end(m);
    log_line(LOG_INFO, "step %" PRId64 "/%d: loss %.4f, %.0f tokens/s", at->steps, run->config->sft.steps,
             tally[SUM_LOSS] / n, tally[SUM_TOKENS] / busy);
    return sink_write(run->options->sink, &line, err);
}

static opsm_status sft_iteration(struct sft *s, opsm_error *err) {
    struct run *run = &s->run;
    struct run_position *at = &run->position;
    if (at->iteration_steps == 0) memset(at->tallies, 0, sizeof at->tallies);
    while (at->iteration_steps < STEPS_PER_ITERATION && at->steps < run->config->sft.steps) {
        if (run_interrupted(run)) return opsm_fail(err, OPSM_INTERRUPTED, "interrupted");
        double share = (double)at->steps / run->config->sft.steps;
        log_phase("sft", share, share);
        opsm_status status = sft_step(s, err);
        if (status != OPSM_OK) return status;
    }
    opsm_status status = write_line(run, err);
    at->iteration++;
    at->iteration_steps = 0;
    return status;
}

static opsm_status sft_loop(struct sft *s, opsm_error *err) {
    struct run *run = &s->run;
    int64_t every = run->config->train.checkpoint_every;
    for (;;) {
        bool done = run->position.steps >= run->config->sft.steps;
        int64_t at = run->position.iteration;
        opsm_status status = run_evaluate(run, done ? at : -1, err);
        bool due = run->position.iteration_steps == 0 && at > 0 && every > 0 && at % every == 0;
        if (status == OPSM_OK && (due || done)) status = run_save(run, err);
        if (status != OPSM_OK || done) return status;
        status = sft_iteration(s, err);
        if (status != OPSM_OK) return status;
    }
}

opsm_status sft_run(const struct run_config *config, const struct train_options *options, struct train_summary *summary,
                    opsm_error *err) {
    struct sft s = {0};
    opsm_status status = sft_open(&s, config, options, err);
    if (status == OPSM_OK) status = sft_loop(&s, err);
    sft_close(&s);
    return run_end(&s.run, status, summary, err);
}
