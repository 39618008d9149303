/* SPDX-License-Identifier: Apache-2.0
 *
 * From sequences of a batch to packed micro-batches: groups side by side, each prompt once, no padding. A group that
 * does not fit into what is left of a micro-batch goes on in the next one, with its prompt again.
 */
#ifndef OPSM_TRAIN_PACKER_H
#define OPSM_TRAIN_PACKER_H
#include "model/lm_head.h"
#include "rollout/rollouts.h"

/* One micro-batch and what the head is asked about it. Owned; zero-initialise, release with packer_free. */
struct packer {
    struct pack pack;
    int64_t n;                 /* response tokens in this micro-batch that the model wrote */
    int32_t *row;              /* [n] row of the pack that predicts the token */
    int32_t *target;           /* [n] the token */
    int64_t *source;           /* [n] its place in the caller's columns */
    float *coef;               /* [n] for the backward pass */
    float *logp, *entropy;     /* [n] results of the head */
    struct softmax_kept *kept; /* [n] */
    int64_t room;
    int32_t n_sequences;
};

void packer_free(struct packer *packer);

/* Room for micro-batches with up to `tokens` response tokens. */
opsm_status packer_reserve(struct packer *packer, int64_t tokens, opsm_error *err);

/* Packs the sequences ids[*next], ids[*next + 1], ... while they fit into `limit` rows (at least one), and moves *next.
 * Neighbours of the same group share their prompt. at[k]: where the tokens of ids[k] begin in the caller's columns. */
opsm_status packer_next(struct packer *packer, const struct rollouts *rollouts, const int32_t *ids, const int64_t *at,
                        int32_t n_ids, int32_t limit, int32_t *next, opsm_error *err);

/* The question for the head: every packed token, or after packer_select only those with a coefficient. */
struct lm_head_request packer_request(const struct packer *packer, const struct rollouts *rollouts);

/* Takes coef from column[source], and leaves out the tokens where it is 0: they have nothing to propagate. */
void packer_select(struct packer *packer, const float *column);

#endif
