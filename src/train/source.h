/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the trainer's batches come from. It asks for the next one and says how old its rollouts may be; whether they are
 * made while it waits, or by somebody else meanwhile, it cannot tell.
 *
 * Today: a queue of fixed depth that a producer in this process fills while the trainer waits. Batch b is made in
 * iteration max(0, b - depth) and trained on in iteration b, so that its rollouts are `depth` iterations old, or from
 * the initial weights.
 */
#ifndef OPSM_TRAIN_SOURCE_H
#define OPSM_TRAIN_SOURCE_H
#include "train/producer.h"

struct source {
    struct producer *producer; /* borrowed */
    int64_t depth;
    struct batch *queue; /* [depth + 1], the first n are there, oldest first */
    int64_t n;
    int64_t next;       /* number of the batch to be made next */
    int64_t iterations; /* that have begun, and at i % (depth + 1) the version of the weights with which i did: */
    uint64_t *versions; /* [depth + 1] */
};

opsm_status source_open(struct source *source, struct producer *producer, int64_t depth, opsm_error *err);
void source_close(struct source *source);

/* The batch to train on in `iteration`, which may be asked for again until source_done: the source's own, the trainer
 * adds columns to it. OPSM_INTERNAL where a token of it was sampled by weights older than those with which iteration
 * `iteration - bound` began. */
opsm_status source_next(struct source *source, int64_t iteration, int64_t bound, struct batch **batch, opsm_error *err);

/* The batch of the last source_next has been trained on. */
void source_done(struct source *source);

/* What came in during `iteration`: tokens, seconds and unjudged of all of it, the rest of its last batch. */
struct batch_stats source_fresh(const struct source *source, int64_t iteration);

/* As part of a checkpoint. Reading empties the source first, and leaves it empty on failure. */
void source_write(const struct source *source, struct record_out *out);
opsm_status source_read(struct source *source, struct record_in *in, opsm_error *err);

#endif
