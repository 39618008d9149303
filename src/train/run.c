/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/platform.h"
#include "environment/problem_rows.h"
#include "model/adapter_file.h"
#include "train/fresh.h"
#include "train/output.h"
#include "train/samples.h"
#include "train/train_record.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool run_interrupted(const struct run *run) {
    return run->options->interrupt && atomic_load(run->options->interrupt);
}

struct sampling run_sampling(const struct run_config *config) {
    return (struct sampling){.temperature = config->rollout.temperature,
                             .top_p = config->rollout.top_p,
                             .min_p = config->rollout.min_p,
                             .top_k = config->rollout.top_k};
}

int32_t run_max_prompt(const struct run_config *config, const struct model *model) {
    int32_t left = model->config.context - config->rollout.max_tokens;
    return config->rollout.max_prompt < left ? config->rollout.max_prompt : left;
}

static void log_memory(const struct run *run) {
    const struct model *m = run->model;
    const struct memory_need *n = &run->need;
    const double mb = 1e-6;
    log_line(LOG_INFO, "model %s: %lld weights, %s (%s)", run->config->model ? run->config->model : "(fresh)",
             (long long)m->params.n_weights, m->precision == DTYPE_BF16 ? "bf16" : "f32",
             gemm_implementation(m->precision));
    if (m->lora.rank > 0)
        log_line(LOG_INFO, "adapters: rank %d, %lld weights are trained; the model's are frozen", m->lora.rank,
                 (long long)m->adapters.n_weights);
    log_line(LOG_INFO,
             "memory: %.0f MB = weights and their layouts %.0f, gradients and moments %.0f, copies %.0f, activations "
             "%.0f (%d tokens%s), generation %.0f, batches %.0f, others %.0f",
             (double)n->total * mb, (double)n->weights * mb, (double)n->gradients * mb, (double)n->copies * mb,
             (double)n->activations * mb, n->rows, n->keep == ACTIVATIONS_RECOMPUTE ? ", layers run again" : "",
             (double)n->generation * mb, (double)n->batches * mb, (double)n->others * mb);
    log_line(LOG_INFO, "disk: at most %.0f MB = %" PRId64 " checkpoint%s %.0f, model.gguf %.0f",
             (double)(run->disk.checkpoints + run->disk.model) * mb, run->disk.held, run->disk.held == 1 ? "" : "s",
             (double)run->disk.checkpoints * mb, (double)run->disk.model * mb);
}

/* Tokens of a long prompt: the longest of the rows, or of the first problems of a task. */
static opsm_status long_prompt(const struct problems *p, int32_t *longest, opsm_error *err) {
    enum { LOOK_AT = 256 };
    int64_t n = data_count(p->source, DATA_TRAIN);
    opsm_status status = OPSM_OK;
    *longest = p->longest_prompt > 1 ? p->longest_prompt : 1;
    for (int64_t i = 0; !p->longest_prompt && status == OPSM_OK && i < n && i < LOOK_AT; i++) {
        struct problem problem;
        struct token_list tokens = {0};
        status = data_get(p->source, DATA_TRAIN, i, &problem, err);
        if (status != OPSM_OK) break;
        status = problems_prompt(p, &problem, &tokens, err);
        if (status == OPSM_OK && tokens.count > *longest) *longest = (int32_t)tokens.count;
        token_list_free(&tokens);
        problem_free(&problem);
    }
    return status;
}

static uint64_t size_at(const char *dir, int64_t number, const char *name) {
    char *path = NULL, file[64];
    struct stat st = {0};
    snprintf(file, sizeof file, "checkpoint-%" PRId64 "/%s", number, name);
    path = file_join(dir, file);
    uint64_t size = path && stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
    mem_free(path);
    return size;
}

/* What the checkpoints of an earlier part of the run take. */
static uint64_t checkpoint_bytes(const char *output) {
    int64_t *numbers;
    size_t count;
    uint64_t bytes = 0;
    if (checkpoint_list(output, &numbers, &count, NULL) != OPSM_OK) return 0;
    for (size_t i = 0; i < count; i++)
        bytes += size_at(output, numbers[i], "state.bin") + size_at(output, numbers[i], "queue.bin");
    mem_free(numbers);
    return bytes;
}

/* Before a weight is read or a file is made: does it fit? */
static opsm_status plan_memory(struct run *run, const struct model *sizes, bool supervised, int32_t prompt,
                               opsm_error *err) {
    struct memory_job job = {run->config, sizes, supervised, prompt};
    opsm_status status = memory_plan(&run->need, &job, err);
    memory_disk_need(&run->disk, &job);
    return status == OPSM_OK ? memory_disk(&job, checkpoint_bytes(run->config->output), err) : status;
}

static opsm_status check_context(const struct run *run, opsm_error *err) {
    const struct run_config *c = run->config;
    if (run_max_prompt(c, run->model) >= 1) return OPSM_OK;
    return opsm_fail(err, OPSM_INVALID,
                     "rollout.max_tokens is %d, but the model's context is %d tokens: nothing is left for a prompt",
                     c->rollout.max_tokens, run->model->config.context);
}

static opsm_status prepare_directory(struct run *run, opsm_error *err) {
    const char *output = run->config->output;
    opsm_status status = file_make_dirs(output, err);
    if (status == OPSM_OK) status = file_lock(&run->lock, output, "training into", false, err);
    return status == OPSM_OK ? output_clean(output, err) : status;
}

/* A model that is there: what it takes and what it is asked are looked at before its weights are read. */
static opsm_status open_model(struct run *run, enum problems_use use, opsm_error *err) {
    const struct run_config *c = run->config;
    int32_t prompt = 1;
    opsm_status status = model_open(&run->model, c->model, c->precision, err);
    if (status == OPSM_OK) status = check_context(run, err);
    if (status == OPSM_OK && c->train.lora.rank > 0) status = model_adapt(run->model, &c->train.lora, c->seed, err);
    if (status == OPSM_OK)
        status = problems_open(&run->problems, c, run->model, use, run_max_prompt(c, run->model), err);
    if (status == OPSM_OK) status = long_prompt(&run->problems, &prompt, err);
    if (status == OPSM_OK) status = plan_memory(run, run->model, use == PROBLEMS_IMITATE, prompt, err);
    if (status == OPSM_OK) status = prepare_directory(run, err);
    if (status == OPSM_OK) status = model_read(run->model, true, err);
    if (status != OPSM_OK || !c->train.lora_init) return status;
    status = adapter_load(run->model, c->train.lora_init, err);
    return status == OPSM_OK ? model_publish(run->model, err) : status;
}

static opsm_status make_model(struct run *run, enum problems_use use, opsm_error *err) {
    const struct run_config *c = run->config;
    struct model sizes;
    opsm_status status = fresh_sizes(&sizes, c, err);
    if (status == OPSM_OK) status = plan_memory(run, &sizes, true, c->rollout.max_prompt, err);
    if (status == OPSM_OK) status = prepare_directory(run, err);
    if (status == OPSM_OK) status = fresh_model(&run->model, c, err);
    if (status == OPSM_OK) status = check_context(run, err);
    if (status != OPSM_OK) return status;
    return problems_open(&run->problems, c, run->model, use, run_max_prompt(c, run->model), err);
}

opsm_status run_open(struct run *run, const struct run_config *config, const struct train_options *options,
                     enum problems_use use, bool fresh, opsm_error *err) {
    *run = (struct run){.config = config,
                        .options = options,
                        .lock = -1,
                        .started = clock_seconds(),
                        .summary = {.reward_first = NAN, .reward_last = NAN, .accuracy = NAN}};
    if (!config->output) return opsm_fail(err, OPSM_INVALID, "output is not set: name a directory for the run");
    run->config_text = config_text(config);
    if (!run->config_text) return mem_exhausted(err, "the configuration", 0);
    opsm_status status = output_check(config, err);
    if (status == OPSM_OK) status = fresh ? make_model(run, use, err) : open_model(run, use, err);
    if (status != OPSM_OK) return status;
    log_memory(run);
    return inputs_take(&run->inputs, config, run->model, run->problems.source, err);
}

static opsm_status create_generator(struct run *run, int32_t room, opsm_error *err) {
    const struct run_config *c = run->config;
    struct sampling sampling = run_sampling(c);
    struct generator_limits limits = {.in_flight = c->rollout.in_flight,
                                      .max_prompt = run_max_prompt(c, run->model),
                                      .max_tokens = c->rollout.max_tokens,
                                      .sequences = room,
                                      .truncating = !run->inputs.supervised && sampling_truncates(&sampling)};
    run->room = room;
    opsm_status status = generator_create(&run->generator, run->model, &limits, err);
    if (status == OPSM_OK) generator_fill(run->generator);
    return status;
}

opsm_status run_equip(struct run *run, int32_t minibatch, int32_t room, opsm_error *err) {
    const struct run_config *c = run->config;
    struct optim_config optim = {c->optim.lr,           c->optim.beta1,     c->optim.beta2, c->optim.eps,
                                 c->optim.weight_decay, c->optim.clip_norm, c->optim.warmup};
    struct trainer_limits limits = {.micro_batch = c->train.micro_batch,
                                    .rows = run->need.rows,
                                    .minibatch_sequences = minibatch,
                                    .minibatch_tokens = (int64_t)minibatch * c->rollout.max_tokens,
                                    .keep = run->need.keep};
    opsm_status status = room > 0 ? create_generator(run, room, err) : OPSM_OK;
    if (status != OPSM_OK) return status;
    return trainer_create(&run->trainer, run->model, &c->objective, &optim, &limits, err);
}

static struct checkpoint as_checkpoint(struct run *run) {
    return (struct checkpoint){.position = &run->position,
                               .config = run->config_text,
                               .inputs = &run->inputs,
                               .params = run->model->trained,
                               .threshold = &run->trainer.threshold,
                               .source = run->source};
}

static opsm_status write_config(const struct run *run, opsm_error *err) {
    char *path = file_join(run->config->output, "config.yaml");
    if (!path) return mem_exhausted(err, "a file name", 0);
    struct file_out *out;
    opsm_status status = file_create(&out, path, err);
    if (status == OPSM_OK) {
        file_write(out, run->config_text, strlen(run->config_text));
        status = file_commit(out, err);
    }
    mem_free(path);
    return status;
}

/* *bytes: the size of RUN/name, 0 where it is not there. */
static opsm_status size_of(const struct run *run, const char *name, uint64_t *bytes, opsm_error *err) {
    char *path = file_join(run->config->output, name);
    if (!path) return mem_exhausted(err, "a file name", 0);
    struct stat st;
    *bytes = stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
    mem_free(path);
    return OPSM_OK;
}

/* A run that starts anew leaves nothing of an earlier one. */
static opsm_status cut_samples(struct run *run, bool resumed, opsm_error *err) {
    char *path = file_join(run->config->output, "samples.jsonl");
    if (!path) return mem_exhausted(err, "a file name", 0);
    opsm_status status = file_cut_back(path, resumed ? run->position.samples_bytes : 0, err);
    if (status == OPSM_OK) status = size_of(run, "samples.jsonl", &run->position.samples_bytes, err);
    mem_free(path);
    return status;
}

opsm_status run_resume(struct run *run, opsm_error *err) {
    struct checkpoint checkpoint = as_checkpoint(run);
    bool found;
    opsm_status status = checkpoint_restore(run->config->output, &checkpoint, &found, err);
    if (status != OPSM_OK) return status;
    if (found) {
        log_line(LOG_INFO, "going on from %s/checkpoint-%" PRId64 " (iteration %" PRId64 ")", run->config->output,
                 run->position.steps, run->position.iteration);
        status = model_publish(run->model, err);
        run->model->version = run->position.version;
    }
    /* The configuration first: it makes the directory ours, whenever we are killed. */
    if (status == OPSM_OK) status = write_config(run, err);
    if (status == OPSM_OK)
        status = sink_open(run->options->sink, run->config->output, found ? run->position.iteration : -1,
                           &run->position.mark, err);
    if (status == OPSM_OK) status = cut_samples(run, found, err);
    return status;
}

/* A run whose files are taken away ends: nobody would find what it goes on to learn. */
static opsm_status check_files(const struct run *run, opsm_error *err) {
    char *lock = file_join(run->config->output, "lock"), *config = file_join(run->config->output, "config.yaml");
    char *samples = file_join(run->config->output, "samples.jsonl");
    opsm_status status =
        lock && config && samples ? file_still_there(run->lock, lock, err) : mem_exhausted(err, "a file name", 0);
    struct stat st;
    if (status == OPSM_OK && stat(config, &st) != 0)
        status = opsm_fail(err, OPSM_IO, "'%s' has been removed while the run was going on", config);
    uint64_t bytes = status == OPSM_OK && stat(samples, &st) == 0 ? (uint64_t)st.st_size : 0;
    if (status == OPSM_OK && bytes < run->position.samples_bytes)
        status = opsm_fail(err, OPSM_IO, "'%s' has lost what the run had written to it", samples);
    mem_free(lock);
    mem_free(config);
    mem_free(samples);
    return status;
}

opsm_status run_write_samples(struct run *run, const struct batch *batch, opsm_error *err) {
    if (!batch->rollouts.verdict) return OPSM_OK;
    char *path = file_join(run->config->output, "samples.jsonl");
    if (!path) return mem_exhausted(err, "a file name", 0);
    opsm_status status = check_files(run, err);
    if (status == OPSM_OK)
        status = samples_write(path, run->config, run->model->tokenizer, run->position.iteration, batch, err);
    if (status == OPSM_OK) status = size_of(run, "samples.jsonl", &run->position.samples_bytes, err);
    mem_free(path);
    return status;
}

opsm_status run_save(struct run *run, opsm_error *err) {
    opsm_status status = check_files(run, err);
    if (status == OPSM_OK) status = size_of(run, "samples.jsonl", &run->position.samples_bytes, err);
    if (status != OPSM_OK) return status;
    sink_mark(run->options->sink, &run->position.mark);
    run->position.version = run->model->version;
    double now = clock_seconds();
    run->position.seconds += now - run->started;
    run->started = now;
    log_phase("checkpoint", NAN, NAN);
    struct checkpoint checkpoint = as_checkpoint(run);
    return checkpoint_save(run->config->output, &checkpoint, run->config->train.keep, err);
}

static opsm_status save_interrupted(struct run *run, opsm_error *err) {
    opsm_status saved = run_save(run, err);
    if (saved != OPSM_OK) return saved;
    return opsm_fail(err, OPSM_INTERRUPTED, "interrupted; the same command goes on from %s/checkpoint-%" PRId64,
                     run->config->output, run->position.steps);
}

/* The type of most of the file's bytes. */
static const char *main_type(const struct tensor_source *source, size_t *bytes) {
    enum { TYPES_MAX = 64 }; /* what has a larger number could not be read */
    size_t of_type[TYPES_MAX] = {0};
    unsigned most = 0;
    *bytes = 0;
    for (int64_t i = 0; i < source->n_tensors; i++) {
        const struct tensor_info *t = &source->tensors[i];
        *bytes += t->size;
        if ((unsigned)t->type >= TYPES_MAX) continue;
        of_type[t->type] += t->size;
        if (of_type[t->type] > of_type[most]) most = t->type;
    }
    return quant_traits((enum quant_type)most)->name;
}

static void log_written(const struct run *run, const char *path, enum quant_type type) {
    struct stat st;
    size_t before;
    const char *type_before = main_type(run->model->source, &before);
    double megabytes = stat(path, &st) == 0 ? (double)st.st_size / 1e6 : 0;
    if (before == 0)
        log_line(LOG_INFO, "wrote %s: %s, %.1f MB", path, quant_traits(type)->name, megabytes);
    else
        log_line(LOG_INFO, "wrote %s: %s, %.1f MB (the model read was %s, %.1f MB); train.save_type chooses", path,
                 quant_traits(type)->name, megabytes, type_before, (double)before / 1e6);
}

static void log_peak(const struct run *run) {
    uint64_t peak = platform_memory_peak();
    if (peak == 0) return;
    log_line(LOG_INFO, "memory: at most %.0f MB were in use; %.0f MB were reckoned with", (double)peak * 1e-6,
             (double)run->need.total * 1e-6);
}

/* RUN/model.gguf. */
static opsm_status write_model(struct run *run, opsm_error *err) {
    static const enum quant_type types[] = {
        [SAVE_F32] = QUANT_F32, [SAVE_F16] = QUANT_F16, [SAVE_BF16] = QUANT_BF16, [SAVE_Q8_0] = QUANT_Q8_0};
    enum quant_type type = types[run->config->train.save_type];
    char *path = file_join(run->config->output, "model.gguf");
    if (!path) return mem_exhausted(err, "a file name", 0);
    opsm_status status = inputs_check_keys(&run->inputs, run->model, err);
    if (status == OPSM_OK && run->model->lora.rank > 0) status = model_check_frozen(run->model, err);
    if (status == OPSM_OK) status = model_save(run->model, path, type, err);
    if (status == OPSM_OK) log_written(run, path, type);
    mem_free(path);
    return status;
}

/* RUN/adapter.gguf and RUN/adapter/. */
static opsm_status write_adapter(struct run *run, opsm_error *err) {
    char *path = file_join(run->config->output, "adapter.gguf"), *dir = file_join(run->config->output, "adapter");
    opsm_status status = path && dir ? OPSM_OK : mem_exhausted(err, "a file name", 0);
    if (status == OPSM_OK) status = adapter_save_gguf(run->model, path, err);
    if (status == OPSM_OK) status = adapter_save_peft(run->model, dir, run->config->model, err);
    if (status == OPSM_OK) log_line(LOG_INFO, "wrote %s (llama.cpp) and %s (PEFT)", path, dir);
    mem_free(path);
    mem_free(dir);
    return status;
}

static opsm_status write_results(struct run *run, opsm_error *err) {
    bool adapted = run->model->lora.rank > 0;
    enum config_saved what = run->config->train.save;
    opsm_status status = OPSM_OK;
    if (!adapted || what != SAVED_ADAPTER) status = write_model(run, err);
    if (status == OPSM_OK && adapted && what != SAVED_MERGED) status = write_adapter(run, err);
    if (status == OPSM_OK) log_peak(run);
    return status;
}

static void run_close(struct run *run) {
    generator_free(run->generator);
    trainer_free(&run->trainer);
    problems_close(&run->problems);
    inputs_free(&run->inputs);
    model_free(run->model);
    mem_free(run->config_text);
    if (run->lock >= 0) close(run->lock);
    *run = (struct run){.lock = -1};
}

opsm_status run_end(struct run *run, opsm_status status, struct train_summary *summary, opsm_error *err) {
    if (status == OPSM_OK)
        status = write_results(run, err);
    else if (status == OPSM_INTERRUPTED)
        status = save_interrupted(run, err);
    run->summary.iterations = run->position.iteration;
    run->summary.steps = run->position.steps;
    run->summary.skipped = run->position.skipped;
    run->summary.seconds = run->position.seconds + clock_seconds() - run->started;
    if (run->problems.source) run->summary.rows_skipped = problem_rows_skipped(&run->problems);
    if (summary) *summary = run->summary;
    run_close(run);
    return status;
}

static bool evaluation_is_due(const struct run *run, int64_t last_iteration) {
    int64_t at = run->position.iteration, every = run->config->train.eval_every;
    if (every == 0 || !run->generator || run->position.iteration_steps > 0 || run->position.evaluated > at)
        return false;
    return at % every == 0 || at == last_iteration;
}

static opsm_status write_eval_samples(void *viewer, const struct asked *asked, const struct rollouts *rollouts,
                                      const float *rewards, const float *scores, int32_t n_scores, opsm_error *err) {
    struct run *run = viewer;
    char *path = file_join(run->config->output, "samples.jsonl");
    if (!path) return mem_exhausted(err, "a file name", 0);
    opsm_status status = check_files(run, err);
    if (status == OPSM_OK)
        status = samples_write_eval(path, run->model->tokenizer, run->position.iteration, run->position.steps, asked,
                                    rollouts, rewards, scores + run->problems.primary, n_scores, err);
    if (status == OPSM_OK) status = size_of(run, "samples.jsonl", &run->position.samples_bytes, err);
    mem_free(path);
    return status;
}

opsm_status run_evaluate(struct run *run, int64_t last_iteration, opsm_error *err) {
    if (!evaluation_is_due(run, last_iteration)) return OPSM_OK;
    const struct run_config *c = run->config;
    log_phase("eval", NAN, NAN);
    struct evaluate_request request = {.split = DATA_EVAL,
                                       .problems = c->eval.problems,
                                       .samples = c->eval.samples < run->room ? c->eval.samples : run->room,
                                       .sampling = {c->eval.temperature, 1, 0, 0},
                                       .max_prompt = run_max_prompt(c, run->model),
                                       .max_tokens = c->rollout.max_tokens,
                                       .stop = (const char *const *)c->rollout.stop.items,
                                       .n_stop = c->rollout.stop.count,
                                       .seed = c->seed,
                                       .interrupt = run->options->interrupt,
                                       .said_unjudged = &run->said_unjudged,
                                       .show = c->rollout.samples > 0 ? write_eval_samples : NULL,
                                       .viewer = run};
    struct evaluation e;
    opsm_status status = evaluate(run->generator, run->room, &run->problems, &request, &e, err);
    if (status != OPSM_OK) return status;
    run->summary.accuracy = e.accuracy.estimate;
    run->position.evaluated = run->position.iteration + 1;
    log_line(LOG_INFO, "iteration %" PRId64 ": accuracy %.3f [%.3f, %.3f] on %" PRId64 " held-out problems",
             run->position.iteration, e.accuracy.estimate, e.accuracy.low, e.accuracy.high, e.problems);
    status = write_evaluation(run->options->sink, &run->position, &e, err);
    evaluation_free(&e);
    return status;
}
