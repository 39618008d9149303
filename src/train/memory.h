/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run will take, known before a weight is read. The program allocates what is counted here: the sentence at the
 * start, `opsm info`, the refusal and the peak of the process are one number.
 */
#ifndef OPSM_TRAIN_MEMORY_H
#define OPSM_TRAIN_MEMORY_H
#include "config/config.h"
#include "model/forward.h"
#include "rollout/generate.h"

/* Bytes. */
struct memory_need {
    size_t weights;   /* masters and GEMM layouts */
    size_t gradients; /* and the optimiser's moments */
    size_t copies;    /* reference model, rounded sampler */
    size_t activations;
    size_t generation; /* keys and values, logits */
    size_t batches;    /* queue, minibatch, micro-batch columns */
    size_t others;     /* program, libraries, tokenizer, problems, kernels' working memory */
    size_t total;
    size_t reserved; /* address space beyond that which stays empty: slots for the longest prompts, stacks */
    enum activations_keep keep;
    int32_t rows; /* tokens of a micro-batch */
};

/* Supervised: `opsm sft`. prompt: tokens of a long prompt of these problems. Of `sizes` only what model_open fills is
 * read. */
struct memory_job {
    const struct run_config *config;
    const struct model *sizes;
    bool supervised;
    int32_t prompt;
};

/* Sequences of the largest minibatch. */
int32_t memory_minibatch(const struct run_config *config);

void memory_need(struct memory_need *need, const struct memory_job *job, enum activations_keep keep);

/* The need of the run, activations recomputed where the configuration leaves it open and they would not fit otherwise.
 * OPSM_NOMEM, with what would fit, where the run would not. */
opsm_status memory_plan(struct memory_need *need, const struct memory_job *job, opsm_error *err);

/* The need to generate (and score) alone. */
size_t memory_generation(const struct model *sizes, const struct generator_limits *limits, int32_t prompt);

/* The least that `opsm train` of this configuration needs, by its model's header; 0 where that cannot be read: the run
 * itself will say why. */
size_t memory_least(const struct run_config *config);

/* What a run keeps on disk at most at one time, in bytes: checkpoints, one more while it is written, and the model. What
 * grows with a run (metrics, rollouts) is not counted. */
struct disk_need {
    int64_t held; /* checkpoints */
    uint64_t checkpoints, model;
};
void memory_disk_need(struct disk_need *need, const struct memory_job *job);

/* The same against what is free; OPSM_IO with the keys that shrink it. `there`: bytes of checkpoints that an earlier part
 * of the run has left and this one will replace. */
opsm_status memory_disk(const struct memory_job *job, uint64_t there, opsm_error *err);

#endif
