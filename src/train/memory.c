/* SPDX-License-Identifier: Apache-2.0 */
#include "train/memory.h"
#include "base/cpu.h"
#include "base/limits.h"
#include "base/platform.h"
#include "base/threads.h"
#include "model/layout.h"
#include "optim/optim.h"
#include "train/minibatch.h"
#include <stdio.h>
#include <string.h>

/* Measured on the tiny model: the program with its libraries, and what they make at the first products. */
enum { PROGRAM_BYTES = 9 << 20, PRODUCTS_BYTES = 3 << 20, STACK_BYTES = 9 << 20 };

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

static int32_t smaller(int64_t a, int64_t b) {
    return (int32_t)(a < b ? a : b);
}

static int32_t larger(int64_t a, int64_t b) {
    return (int32_t)(a > b ? a : b);
}

int32_t memory_minibatch(const struct run_config *c) {
    bool whole_groups = c->rollout.prompts >= c->schedule.minibatches;
    int64_t units = whole_groups ? c->rollout.prompts : (int64_t)c->rollout.prompts * c->rollout.group;
    int64_t size = whole_groups ? c->rollout.group : 1;
    return smaller((units + c->schedule.minibatches - 1) / c->schedule.minibatches * size, INT32_MAX);
}

static int32_t longest_prompt(const struct memory_job *job) {
    const struct run_config *c = job->config;
    return larger(1, smaller(c->rollout.max_prompt, job->sizes->config.context - c->rollout.max_tokens));
}

/* Rows that a micro-batch may have: what is configured, but no more than a minibatch can bring. */
static int32_t rows_of(const struct memory_job *job) {
    const struct run_config *c = job->config;
    int64_t sequences = job->supervised ? c->sft.batch : memory_minibatch(c);
    int64_t prompts = job->supervised ? sequences : (sequences + c->rollout.group - 1) / c->rollout.group;
    if (!job->supervised && c->rollout.prompts < c->schedule.minibatches) prompts = sequences; /* groups are cut */
    int64_t possible = sequences * c->rollout.max_tokens + prompts * job->prompt;
    int64_t longest = (int64_t)longest_prompt(job) + c->rollout.max_tokens;
    int32_t rows = smaller(larger(c->train.micro_batch, longest), possible);
    return larger(rows, longest);
}

/* What the process has taken already: libraries, tokenizer, problems. */
static size_t resident(void) {
    size_t now = (size_t)platform_memory_resident();
    return now > PROGRAM_BYTES ? now : PROGRAM_BYTES;
}

size_t memory_generation(const struct model *m, const struct generator_limits *limits, int32_t prompt) {
    return resident() + PRODUCTS_BYTES + model_bytes(m, false) + generator_filled(m, limits, 1, prompt);
}

static struct generator_limits rollout_limits(const struct memory_job *job) {
    const struct run_config *c = job->config;
    bool truncating = c->rollout.top_p < 1 || c->rollout.top_k > 0 || c->rollout.min_p > 0;
    int32_t sequences = smaller((int64_t)c->rollout.prompts * c->rollout.group, INT32_MAX / 2);
    if (job->supervised) sequences = larger(c->eval.samples, c->rollout.in_flight);
    return (struct generator_limits){.in_flight = c->rollout.in_flight,
                                     .max_prompt = longest_prompt(job),
                                     .max_tokens = c->rollout.max_tokens,
                                     .sequences = sequences,
                                     .truncating = truncating && !job->supervised};
}

/* Responses that share a prompt in the cache, where fewest do: an evaluation asks more prompts at a time than a batch. */
static int32_t least_group(const struct memory_job *job) {
    const struct run_config *c = job->config;
    if (!job->supervised && c->train.eval_every == 0) return c->rollout.group;
    int64_t few = ((int64_t)c->rollout.in_flight + c->eval.problems - 1) / c->eval.problems;
    int32_t asked = larger(c->eval.samples, few);
    return job->supervised ? asked : smaller(asked, c->rollout.group);
}

/* A rollout batch with responses as long as they may be. */
static size_t batch_bytes_at_most(const struct memory_job *job) {
    enum { KEPT = 32 }; /* tokens of a kept set */
    const struct run_config *c = job->config;
    const opsm_objective *o = &c->objective;
    struct generator_limits l = rollout_limits(job);
    struct rollout_sizes sizes = {c->rollout.prompts, l.sequences, (int64_t)c->rollout.prompts * job->prompt,
                                  (int64_t)l.sequences * c->rollout.max_tokens, -1};
    if (l.truncating) sizes.kept = sizes.tokens * smaller(KEPT, job->sizes->config.n_vocab / 4);
    uint64_t optional = column_bit(COLUMN_reward) | column_bit(COLUMN_advantage);
    if (opsm_objective_needs_trainer(o)) optional |= column_bit(COLUMN_logp_trainer);
    if (opsm_objective_needs_reference(o)) optional |= column_bit(COLUMN_logp_reference);
    if (c->rollout.save) optional |= column_bit(COLUMN_logp_current);
    if (c->rollout.samples > 0) optional |= column_bit(COLUMN_verdict);
    return rollouts_bytes(&sizes, optional);
}

/* Token columns of the batches that wait, of the minibatch, of a micro-batch. */
static size_t batches_bytes(const struct memory_job *job, int32_t rows) {
    enum { PACKED = 60 }; /* bytes a token */
    const struct run_config *c = job->config;
    size_t packed = 2 * (size_t)rows * PACKED;
    if (job->supervised) return packed + (size_t)c->sft.batch * (size_t)(c->rollout.max_tokens * 16 + job->prompt * 8);
    int32_t n = memory_minibatch(c);
    return packed + ((size_t)c->schedule.staleness + 1) * batch_bytes_at_most(job) +
           minibatch_bytes(n, (int64_t)n * c->rollout.max_tokens);
}

/* A slice of a matrix that is kept as it came, decoded: for every thread. */
static size_t decoded_bytes(const struct model *m) {
    enum { SLICE = 256 };
    const struct model_config *c = &m->config;
    int64_t tallest = larger(2 * (int64_t)c->ffn_dim, c->tied ? model_qkv_dim(c) : c->n_vocab);
    size_t type = gemm_weight_estimate(1, 1, m->precision, false);
    return m->n_in_blocks ? (size_t)threads_count() * SLICE * (size_t)tallest * (sizeof(float) + type) : 0;
}

/* Working memory of the products: the inputs of the widest one laid out anew. */
static size_t kernels_bytes(const struct model *m, int32_t rows) {
    int64_t widest = larger(m->config.ffn_dim, larger(m->config.dim, model_q_dim(&m->config)));
    size_t type = gemm_weight_estimate(1, 1, m->precision, false);
    return (size_t)rows * (size_t)widest * type + (size_t)threads_count() * ((size_t)rows * 64 * type + (1 << 18));
}

void memory_need(struct memory_need *need, const struct memory_job *job, enum activations_keep keep) {
    const struct run_config *c = job->config;
    const struct model *m = job->sizes;
    *need = (struct memory_need){.keep = keep, .rows = rows_of(job)};
    need->weights = model_bytes(m, true);
    need->gradients = 3 * parameters_bytes(model_to_train(m));
    need->activations = activations_bytes(m, need->rows, keep);
    if (!job->supervised) {
        /* Adapters switched off are the reference. */
        bool reference = opsm_objective_needs_reference(&c->objective) && m->lora.rank == 0;
        size_t copies = (size_t)reference + (size_t)(c->rollout.weights != WEIGHTS_SAME);
        need->copies = copies * model_bytes(m, false);
    }
    struct generator_limits limits = rollout_limits(job);
    if (!job->supervised || c->train.eval_every > 0) {
        need->generation = generator_filled(m, &limits, least_group(job), job->prompt);
        need->reserved = generator_bytes(m, &limits) - need->generation;
    }
    need->batches = batches_bytes(job, need->rows);
    need->others =
        resident() + (cpu_isa() == CPU_REF ? 0 : PRODUCTS_BYTES) + kernels_bytes(m, need->rows) + decoded_bytes(m);
    need->reserved += (size_t)threads_count() * STACK_BYTES;
    need->total = need->weights + need->gradients + need->copies + need->activations + need->generation +
                  need->batches + need->others;
}

/* ---- against what is there --------------------------------------------------------------------------------------- */

static bool beyond(const struct memory_need *need) {
    struct limit tight;
    size_t more = need->total - resident();
    return limits_beyond(more, more + need->reserved, &tight);
}

/* ---- what would fit ---------------------------------------------------------------------------------------------- */

/* Changes a configuration so that it needs less, one step at a time; writes the key as on the command line. False: there
 * is nothing left of this kind. In the order in which a person would give things up: first what costs time only. */
typedef bool shrink(struct run_config *c, char *words, size_t room);

static bool halve(int32_t *value, int32_t least, const char *key, char *words, size_t room) {
    if (*value <= least) return false;
    *value = *value / 2 > least ? *value / 2 : least;
    snprintf(words, room, "%s=%d", key, *value);
    return true;
}

static bool recompute(struct run_config *c, char *words, size_t room) {
    if (c->train.recompute == RECOMPUTE_YES) return false;
    c->train.recompute = RECOMPUTE_YES;
    snprintf(words, room, "train.recompute=true");
    return true;
}

static bool micro_batch(struct run_config *c, char *words, size_t room) {
    return halve(&c->train.micro_batch, 128, "train.micro_batch", words, room);
}

static bool flight(struct run_config *c, char *words, size_t room) {
    return halve(&c->rollout.in_flight, 8, "rollout.in_flight", words, room);
}

static bool sampler(struct run_config *c, char *words, size_t room) {
    if (c->rollout.weights == WEIGHTS_SAME) return false;
    c->rollout.weights = WEIGHTS_SAME;
    snprintf(words, room, "rollout.weights=same");
    return true;
}

static bool precision(struct run_config *c, char *words, size_t room) {
    if (c->precision == DTYPE_BF16) return false;
    c->precision = DTYPE_BF16;
    snprintf(words, room, "precision=bf16");
    return true;
}

static bool prompt_room(struct run_config *c, char *words, size_t room) {
    return halve(&c->rollout.max_prompt, 64, "rollout.max_prompt", words, room);
}

static bool response_room(struct run_config *c, char *words, size_t room) {
    return halve(&c->rollout.max_tokens, 16, "rollout.max_tokens", words, room);
}

static bool staleness(struct run_config *c, char *words, size_t room) {
    return halve(&c->schedule.staleness, 0, "schedule.staleness", words, room);
}

static bool reference(struct run_config *c, char *words, size_t room) {
    if (!opsm_objective_needs_reference(&c->objective)) return false;
    c->objective.penalty_beta = 0;
    snprintf(words, room, "objective.penalty.beta=0");
    return !opsm_objective_needs_reference(&c->objective);
}

static shrink *const ways[] = {recompute, micro_batch, flight,      sampler,      precision,
                               reference, staleness,   prompt_room, response_room};
enum { WAYS = sizeof ways / sizeof *ways, WORDS_ROOM = 48 };

struct smaller_run {
    struct run_config config; /* a view: nothing of it is freed */
    struct model sizes;
    struct memory_need need;
    char words[WAYS][WORDS_ROOM];
    bool fits;
};

static void reckon(struct smaller_run *s, const struct memory_job *job) {
    struct memory_job smaller_job = *job;
    smaller_job.config = &s->config;
    s->sizes.precision = s->config.precision;
    smaller_job.sizes = &s->sizes;
    memory_need(&s->need, &smaller_job,
                s->config.train.recompute == RECOMPUTE_YES ? ACTIVATIONS_RECOMPUTE : ACTIVATIONS_ALL);
    s->fits = !beyond(&s->need);
}

/* One way after the other, as far as each one helps. */
static void find_smaller(struct smaller_run *s, const struct memory_job *job, enum activations_keep keep) {
    *s = (struct smaller_run){.config = *job->config, .sizes = *job->sizes};
    if (keep == ACTIVATIONS_RECOMPUTE) s->config.train.recompute = RECOMPUTE_YES; /* `auto` has done it */
    reckon(s, job);
    for (int way = 0; way < WAYS && !s->fits; way++) {
        for (;;) {
            struct run_config before = s->config;
            size_t needed = s->need.total + s->need.reserved;
            char words[WORDS_ROOM] = "";
            bool changed = !s->fits && ways[way](&s->config, words, sizeof words);
            if (changed) reckon(s, job);
            if (!changed || s->need.total + s->need.reserved >= needed) {
                if (changed) s->config = before;
                if (changed) reckon(s, job);
                break;
            }
            memcpy(s->words[way], words, sizeof words);
        }
    }
}

static opsm_status refuse(const struct memory_need *need, const struct memory_job *job, opsm_error *err) {
    struct smaller_run s;
    find_smaller(&s, job, need->keep);
    char advice[WAYS * WORDS_ROOM + 128], size[LIMITS_SIZE_ROOM], parts[7][LIMITS_SIZE_ROOM];
    size_t n = 0;
    for (int way = 0; way < WAYS; way++)
        if (*s.words[way]) n += (size_t)snprintf(advice + n, sizeof advice - n, "%s%s", n ? " " : "", s.words[way]);
    limits_size(size, s.need.total);
    if (s.fits)
        snprintf(advice + n, sizeof advice - n, " would do with %s", size);
    else if (n)
        snprintf(advice + n, sizeof advice - n, " would still need %s: take a smaller model", size);
    else
        snprintf(advice, sizeof advice, "take a smaller model");
    char what[400];
    snprintf(what, sizeof what,
             "training (weights %s, gradients and moments %s, copies %s, activations of %d tokens %s, generation %s, "
             "batches %s, others %s)",
             limits_size(parts[0], need->weights), limits_size(parts[1], need->gradients),
             limits_size(parts[2], need->copies), need->rows, limits_size(parts[3], need->activations),
             limits_size(parts[4], need->generation), limits_size(parts[5], need->batches),
             limits_size(parts[6], need->others));
    size_t more = need->total - resident();
    return limits_check(what, more, more + need->reserved, need->total, advice, err);
}

opsm_status memory_plan(struct memory_need *need, const struct memory_job *job, opsm_error *err) {
    enum config_recompute wanted = job->config->train.recompute;
    memory_need(need, job, wanted == RECOMPUTE_YES ? ACTIVATIONS_RECOMPUTE : ACTIVATIONS_ALL);
    if (wanted == RECOMPUTE_AUTO && beyond(need)) memory_need(need, job, ACTIVATIONS_RECOMPUTE);
    return beyond(need) ? refuse(need, job, err) : OPSM_OK;
}

size_t memory_least(const struct run_config *config) {
    struct model *model;
    if (!config->model || model_open(&model, config->model, config->precision, NULL) != OPSM_OK) return 0;
    if (config->train.lora.rank > 0 && model_adapt(model, &config->train.lora, config->seed, NULL) != OPSM_OK) {
        model_free(model);
        return 0;
    }
    struct memory_job job = {.config = config, .sizes = model, .prompt = 1};
    struct memory_need need;
    memory_need(&need, &job, config->train.recompute == RECOMPUTE_NO ? ACTIVATIONS_ALL : ACTIVATIONS_RECOMPUTE);
    model_free(model);
    return need.total;
}

/* ---- disk -------------------------------------------------------------------------------------------------------- */

static uint64_t saved_bytes(const struct memory_job *job) {
    static const double per_weight[] = {[SAVE_F32] = 4, [SAVE_F16] = 2, [SAVE_BF16] = 2, [SAVE_Q8_0] = 34.0 / 32};
    enum { METADATA = 1 << 16, TOKEN = 40 };
    const struct model *m = job->sizes;
    enum config_saved what = job->config->train.save;
    uint64_t bytes = 0;
    if (m->lora.rank == 0 || what != SAVED_ADAPTER)
        bytes += (uint64_t)((double)m->params.n_weights * per_weight[job->config->train.save_type]) + METADATA +
                 (uint64_t)TOKEN * (uint64_t)m->config.n_vocab;
    if (what != SAVED_MERGED) bytes += 2 * (parameters_bytes(&m->adapters) + (m->lora.rank ? METADATA : 0));
    return bytes;
}

void memory_disk_need(struct disk_need *need, const struct memory_job *job) {
    enum { SFT_STEPS = 50 }; /* an iteration of `opsm sft` */
    const struct run_config *c = job->config;
    int64_t iterations = job->supervised ? (c->sft.steps + SFT_STEPS - 1) / SFT_STEPS : c->train.iterations;
    int64_t made = c->train.checkpoint_every > 0 ? iterations / c->train.checkpoint_every + 1 : 1;
    need->held = made < c->train.keep + 1 ? made : c->train.keep + 1;
    uint64_t queue = job->supervised ? 0 : (uint64_t)c->schedule.staleness * batch_bytes_at_most(job);
    need->checkpoints = (uint64_t)need->held * (3 * (uint64_t)parameters_bytes(model_to_train(job->sizes)) + queue);
    need->model = saved_bytes(job);
}

opsm_status memory_disk(const struct memory_job *job, uint64_t there, opsm_error *err) {
    struct disk_need need;
    memory_disk_need(&need, job);
    struct limit disk = limits_disk(job->config->output);
    uint64_t all = need.checkpoints + need.model;
    if (disk.bytes == UINT64_MAX || all <= there || all - there <= disk.bytes) return OPSM_OK;
    char parts[4][LIMITS_SIZE_ROOM];
    return opsm_fail(
        err, OPSM_IO,
        "'%s' will take %s of disk (%lld checkpoints, one of them while it is written, %s; model.gguf %s), "
        "but %s only %s: lower train.keep, raise train.checkpoint_every, set train.save_type=bf16, or take "
        "another output",
        job->config->output, limits_size(parts[0], all), (long long)need.held, limits_size(parts[1], need.checkpoints),
        limits_size(parts[2], need.model), disk.source, limits_size(parts[3], disk.bytes));
}
