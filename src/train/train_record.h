/* SPDX-License-Identifier: Apache-2.0
 *
 * What a training run writes down: the lines of metrics.jsonl (keys: docs of the objective, section 8, and of the
 * formats), and the tallies of its steps from which an iteration's line is made. Tallies are part of a checkpoint.
 */
#ifndef OPSM_TRAIN_TRAIN_RECORD_H
#define OPSM_TRAIN_TRAIN_RECORD_H
#include "base/sink.h"
#include "environment/problems.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/step.h"

/* X(id, field of struct step_report): means over the iteration's steps that have this number, not opsm_metrics_merge of
 * their sums: every step had weights of its own and counts alike, however many sequences it saw. */
#define TALLY_MEANS(X)                                                                                                 \
    X(DRIFT_NEGATIVE, metrics.drift_negative_mean)                                                                     \
    X(DRIFT_POSITIVE, metrics.drift_positive_mean)                                                                     \
    X(DROPPED_NEGATIVES, metrics.dropped_negatives)                                                                    \
    X(DELTA, metrics.delta)                                                                                            \
    X(ENTROPY, metrics.entropy)                                                                                        \
    X(ESS, metrics.ess)                                                                                                \
    X(GRAD_NORM, grad_norm)

/* Sums over the steps of the iteration in progress, unless said otherwise. */
enum tally {
    TALLY_STEPS, /* applied */
    TALLY_SKIPPED,
    TALLY_TOKENS_FORWARD,
    TALLY_TOKENS_BACKWARD,
    TALLY_DROPPED_SUM,
#define TALLY_MEAN(id, metric) TALLY_##id##_SUM, TALLY_##id##_STEPS,
    TALLY_MEANS(TALLY_MEAN)
#undef TALLY_MEAN
        TALLY_PARITY_MAX, /* largest; -1: not measured */
    TALLY_SECONDS_LOGPROBS,
    TALLY_SECONDS_FORWARD,
    TALLY_SECONDS_BACKWARD,
    TALLY_SECONDS_OPTIM,
    TALLY_COUNT
};
_Static_assert((int)TALLY_COUNT <= (int)POSITION_TALLIES, "tallies must fit into a checkpoint");

void tallies_clear(struct run_position *at);
/* records [n]: the sequences of the step. */
void record_step(struct run_position *at, const struct step_report *report, const opsm_sequence *records, int32_t n);

/* One line each; `at` is already past the step. */
opsm_status write_step(const struct sink *sink, const struct run_position *at, const struct batch *batch,
                       const int32_t *ids, int32_t n, const struct step_report *report, opsm_error *err);
/* fresh: what came in during the iteration; its steps were on an older batch where the schedule says so. */
opsm_status write_iteration(const struct sink *sink, const struct run_position *at, const struct batch_stats *fresh,
                            const struct problems *problems, opsm_error *err);

opsm_status write_evaluation(const struct sink *sink, const struct run_position *at,
                             const struct evaluation *evaluation, opsm_error *err);

/* OUTPUT/rollouts/INDEX.jsonl */
opsm_status dump_batch(const char *output, const struct batch *batch, opsm_error *err);

#endif
