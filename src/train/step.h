/* SPDX-License-Identifier: Apache-2.0
 *
 * One optimiser step on one minibatch. Read train_step in step.c: it is the algorithm.
 *
 * Backward work is done for what has a gradient and for nothing else: a sequence that the mask dropped costs its
 * forward pass only, a group without advantage costs neither (unless a penalty needs it).
 */
#ifndef OPSM_TRAIN_STEP_H
#define OPSM_TRAIN_STEP_H
#include "model/forward.h"
#include "optim/optim.h"
#include "train/minibatch.h"
#include "train/packer.h"

/* Sizes that are known before the first step; everything is allocated for them once. */
struct trainer_limits {
    int32_t micro_batch;         /* rows that are packed together; a longer sequence goes alone */
    int32_t rows;                /* whose activations are held at once; the longest sequence fits */
    int32_t minibatch_sequences; /* the largest minibatch */
    int64_t minibatch_tokens;
    enum activations_keep keep; /* ACTIVATIONS_ALL, ACTIVATIONS_RECOMPUTE */
};

/* What turns a minibatch into new weights. */
struct trainer {
    struct model *model;             /* borrowed; its trained block is updated */
    const opsm_objective *objective; /* borrowed */
    struct optim_config optim_config;
    opsm_threshold threshold;
    struct activations *acts;
    int32_t micro_batch;
    struct packer packer;
    struct minibatch mb;
};

opsm_status trainer_create(struct trainer *trainer, struct model *model, const opsm_objective *objective,
                           const struct optim_config *optim_config, const struct trainer_limits *limits,
                           opsm_error *err);
void trainer_free(struct trainer *trainer);

enum step_outcome {
    STEP_APPLIED,
    STEP_NOTHING,  /* no sequence has a gradient: all masked, or no signal */
    STEP_NONFINITE /* the gradient, or a log-prob that would reach the loss, is not finite */
};

const char *step_outcome_name(enum step_outcome outcome);

struct step_report {
    enum step_outcome outcome;
    opsm_metrics metrics;
    double grad_norm, lr, guard; /* NaN, 0, 1 where there was no backward pass */
    int64_t sequences_forward, sequences_backward;
    int64_t tokens_forward, tokens_backward; /* rows through the layers: prompts count, second forward passes too */
    bool reused;                             /* the backward pass ran on the first pass's activations */
    /* |b - c| where the weights that sampled are the weights in force; -1: they are not. */
    double parity_mean, parity_max;
    double noise_floor;    /* of drift, measured there (opsm_threshold_calibrate) */
    double trust, decline; /* of the threshold's state when the step began */
    double seconds_forward, seconds_backward, seconds_optim;
};

/* One step on sequences ids [n] of `batch`. `number` counts steps over the run. `all`: forward passes for every
 * sequence, also where the objective does not need them. Fails only where going on makes no sense; see step_outcome. */
opsm_status train_step(struct trainer *trainer, struct batch *batch, const int32_t *ids, int32_t n, int64_t number,
                       bool all, struct step_report *report, opsm_error *err);

/* Log-probs of the batch's tokens under `model` into logp [n_tokens]; sequences that the objective does not need keep
 * what is there. For the reference and for the trainer's own view before the first step. */
opsm_status train_logprobs(struct trainer *trainer, const struct model *model, const struct batch *batch, bool all,
                           float *logp, opsm_error *err);

#endif
