/* SPDX-License-Identifier: Apache-2.0
 *
 * A rollout batch: the one struct in which the stages of the pipeline meet. Its columns are those of its rollouts
 * (rollout/columns.h, the data dictionary).
 */
#ifndef OPSM_TRAIN_BATCH_H
#define OPSM_TRAIN_BATCH_H
#include "io/record.h"
#include "reward/verifier.h"
#include "rollout/rollouts.h"
#include <opsm/objective.h>
#include <stdbool.h>

/* What its rollouts came to and what they took. Plain numbers, saved as bytes. */
struct batch_stats {
    double reward_mean, reward_std;
    double length_mean, finished; /* tokens; share that ended by itself */
    double scores[VERIFIERS_MAX]; /* mean of each verifier */
    int64_t zero_groups;          /* groups whose rewards are all equal */
    int64_t unjudged;             /* responses: in none of the above but length_mean and finished */
    int64_t tokens;               /* in responses */
    double seconds_rollout, seconds_reward;
};

/* Owned; zero-initialise, release with batch_free. */
struct batch {
    int64_t index;       /* counts batches from the start of the run; keys the random numbers */
    int64_t made;        /* the trainer's iteration then */
    bool mask_truncated; /* responses that were cut off are in their group's mean, but in no loss */
    struct batch_stats stats;
    struct rollouts rollouts;
};

void batch_free(struct batch *batch); /* leaves zeros */

/* Whether sequence i has a verdict. One that has none is set aside: no member of its group, and in no step. */
static inline bool batch_judged(const struct batch *batch, int32_t i) {
    return !batch->rollouts.unjudged || !batch->rollouts.unjudged[i];
}

/* Whether sequence i takes part in the loss. */
static inline bool batch_in_loss(const struct batch *batch, int32_t i) {
    return batch_judged(batch, i) && !(batch->mask_truncated && batch->rollouts.finish[i] == FINISH_LENGTH);
}

/* Whether token t of sequence i does. */
static inline bool batch_token_in_loss(const struct batch *batch, int32_t i, int64_t t) {
    return batch_in_loss(batch, i) && rollouts_own(&batch->rollouts, t);
}

/* What a group is called in dumps and samples: no other of the run has its name. */
static inline int64_t batch_group_name(const struct batch *batch, int32_t i) {
    return batch->index * batch->rollouts.n_prompts + batch->rollouts.group_of[i];
}

/* Allocates reward and advantage (zeros) for rollouts that are there, and logp_current where `keep_current`, filled
 * with the behaviour log-probs. */
opsm_status batch_add_columns(struct batch *batch, bool keep_current, opsm_error *err);

/* As part of a checkpoint: every column that is there. A file of a program with other columns is refused
 * (OPSM_UNSUPPORTED). After a failed read the batch is empty. */
void batch_write(const struct batch *batch, struct record_out *out);
opsm_status batch_read(struct batch *batch, struct record_in *in, opsm_error *err);

/* The format that `opsm audit` reads: one sequence a line, in it the columns that have a name there; what is set
 * aside is not there. The log-probs
 * under the current weights are logp_current, which must be there. */
opsm_status batch_dump(const struct batch *batch, const char *path, opsm_error *err);

#endif
