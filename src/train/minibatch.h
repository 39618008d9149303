/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of a batch that one optimiser step sees: which sequences, and their columns gathered side by side as the
 * objective wants them.
 */
#ifndef OPSM_TRAIN_MINIBATCH_H
#define OPSM_TRAIN_MINIBATCH_H
#include "train/batch.h"
#include <opsm/objective.h>

/* Cuts a batch into `count` minibatches for one pass over it: groups are shuffled by (seed, batch index, epoch) and
 * dealt out whole, so that a prompt is shared by its samples; with fewer groups than minibatches, sequences are.
 * ids [n_sequences] receives the sequences in that order, members of a group adjacent and in order, without those
 * that are set aside; minibatch i is ids[begin[i]] .. ids[begin[i + 1] - 1], begin [count + 1]. scratch [n_sequences]. */
void minibatch_cut(const struct batch *batch, uint64_t seed, int32_t epoch, int32_t count, int32_t *ids, int32_t *begin,
                   int32_t *scratch);

/* The columns that a minibatch has beside those of its rollouts: X(name, type, elements, what). */
#define MINIBATCH_COLUMNS(X)                                                                                           \
    X(current, float, tokens, "log-probs under the current weights")                                                   \
    X(entropy, float, tokens, "of the distribution there; NaN: unknown")                                               \
    X(dlogp, float, tokens, "d loss / d current")                                                                      \
    X(mask, uint8_t, tokens, "in the loss; read where the batch masks anything")                                       \
    X(names, int64_t, sequences, "their number in the batch")                                                          \
    X(lag, int64_t, sequences, "versions of the weights behind")                                                       \
    X(records, opsm_sequence, sequences, "what the objective finds")                                                   \
    X(selected, int32_t, sequences, "the n_selected sequences of the batch that take part in a pass ...")              \
    X(selected_at, int64_t, sequences, "... and where their tokens begin in the columns here")                         \
    X(forwarded, uint8_t, sequences, "current was computed")

/* Owned; room for the largest is allocated once. */
struct minibatch {
    int32_t n;
    const int32_t *ids;       /* [n] borrowed: sequences of the batch */
    struct rollouts rollouts; /* copies of the batch's columns that are gathered, the others are absent */
#define MINIBATCH_MEMBER(name, type, ...) type *name;
    MINIBATCH_COLUMNS(MINIBATCH_MEMBER)
#undef MINIBATCH_MEMBER
    bool masked; /* some token is not in the loss for what it is, not for what the objective finds */
    int32_t n_selected;
    void *workspace; /* of the objective */
    size_t workspace_size;
    int32_t room_sequences;
    int64_t room_tokens;
};

opsm_status minibatch_reserve(struct minibatch *mb, int32_t sequences, int64_t tokens, opsm_error *err);
void minibatch_free(struct minibatch *mb);
size_t minibatch_bytes(int32_t sequences, int64_t tokens);

/* Gathers the columns of ids [n]. `current` starts as the behaviour log-probs, entropy as NaN (unknown). */
opsm_status minibatch_gather(struct minibatch *mb, const struct batch *batch, const int32_t *ids, int32_t n,
                             uint64_t version, opsm_error *err);

/* Fills selected with the sequences for which wanted [n] is not 0. */
void minibatch_select(struct minibatch *mb, const uint8_t *wanted);

/* The minibatch as libopsm sees it. */
opsm_batch minibatch_view(const struct minibatch *mb, int64_t step);

#endif
