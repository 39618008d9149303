/* SPDX-License-Identifier: Apache-2.0
 *
 * A rollout batch: the one struct in which the stages of the pipeline meet. This comment is its data dictionary.
 *
 * n_prompts groups of `group` sequences; sequence i belongs to group i / group. Sequence i owns tokens offset[i] ..
 * offset[i+1]-1 of every token column: its response, without the prompt. All log-probs are in nats, of the sampled
 * token in its context, at the sampling temperature and over the kept tokens. "-" in NULL: never NULL.
 *
 * column          shape               type     NULL when                 written by        read by
 * ------------------------------------------------------------------------------------------------------------------
 * prompt_offset   [n_prompts + 1]     int64    -                         rollout           step (packing), checkpoint
 * prompt_tokens   [sum of prompts]    int32    -                         rollout           step, rollout dump
 * offset          [n_sequences + 1]   int64    -                         rollout           everybody
 * tokens          [n_tokens]          int32    -                         rollout           reward (text), step
 * logp            [n_tokens]          float    -                         rollout           objective (behaviour b)
 * kept_offset     [n_tokens + 1]      int64    sampling not truncated    rollout           step (head)
 * kept            [kept_offset end]   int32    sampling not truncated    rollout           step (head); token ids,
 * sorted finish          [n_sequences]       uint8    -                         rollout           reward, metrics
 * text_length     [n_sequences]       int32    -                         rollout           reward; bytes before a stop
 * version         [n_sequences]       uint64   -                         rollout           metrics (lag), step (parity)
 * reward          [n_sequences]       float    -                         reward            advantage, metrics
 * advantage       [n_sequences]       float    -                         advantage         objective
 * logp_trainer    [n_tokens]          float    nobody asks for p         train, once       objective (p)
 * logp_reference  [n_tokens]          float    penalty.beta = 0          train, once       objective (f)
 * logp_current    [n_tokens]          float    rollout.save is off       step, last pass   rollout dump (c)
 * verdict         [n_sequences]       record   no samples are due        step, last one    samples; tokens -1: no step
 * yet
 */
#ifndef OPSM_TRAIN_BATCH_H
#define OPSM_TRAIN_BATCH_H
#include "io/record.h"
#include "rollout/rollouts.h"
#include <opsm/objective.h>
#include <stdbool.h>

/* Owned; zero-initialise, release with batch_free. */
struct batch {
    int64_t index;       /* counts batches from the start of the run; keys the random numbers */
    bool mask_truncated; /* responses that were cut off are in their group's mean, but in no loss */
    struct rollouts rollouts;
    float *reward, *advantage;
    float *logp_trainer, *logp_reference, *logp_current;
    opsm_sequence *verdict;
};

void batch_free(struct batch *batch); /* leaves zeros */

/* Whether sequence i takes part in the loss. */
static inline bool batch_in_loss(const struct batch *batch, int32_t i) {
    return !(batch->mask_truncated && batch->rollouts.finish[i] == FINISH_LENGTH);
}

/* Allocates reward and advantage (zeros) for rollouts that are there, and logp_current where `keep_current`, filled
 * with the behaviour log-probs. */
opsm_status batch_add_columns(struct batch *batch, bool keep_current, opsm_error *err);

/* Allocates verdict, without one yet, unless it is there. */
opsm_status batch_add_verdicts(struct batch *batch, opsm_error *err);

size_t batch_bytes(const struct batch *batch);

/* As part of a checkpoint. After a failed read the batch is empty. */
void batch_write(const struct batch *batch, struct record_out *out);
opsm_status batch_read(struct batch *batch, struct record_in *in, opsm_error *err);

/* The format that `opsm audit` reads: one sequence a line (docs: INTERFACES, rollouts). The log-probs under the current
 * weights are logp_current, which must be there. */
opsm_status batch_dump(const struct batch *batch, const char *path, opsm_error *err);

#endif
