/* SPDX-License-Identifier: Apache-2.0 */
#include "train/train_record.h"
#include "base/mem.h"
#include "environment/problem_rows.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

void tallies_clear(struct run_position *at) {
    memset(at->tallies, 0, sizeof at->tallies);
    at->drift = (struct drift_histogram){0};
    at->tallies[TALLY_PARITY_MAX] = -1;
}

static void add_mean(double *sum, double *steps, double value) {
    if (!isfinite(value)) return;
    *sum += value;
    *steps += 1;
}

/* A step that stopped at a value which is not finite has neither metrics nor records. */
static void record_measured(struct run_position *at, const struct step_report *report, const opsm_sequence *records,
                            int32_t n) {
    double *tally = at->tallies;
    if (report->metrics.size == 0) return;
#define ADD_MEAN(id, metric) add_mean(&tally[TALLY_##id##_SUM], &tally[TALLY_##id##_STEPS], report->metric);
    TALLY_MEANS(ADD_MEAN)
#undef ADD_MEAN
    if (report->metrics.dropped > 0) tally[TALLY_DROPPED_SUM] += report->metrics.dropped;
    for (int32_t i = 0; i < n; i++) drift_count(&at->drift, records[i].advantage, records[i].drift);
}

void record_step(struct run_position *at, const struct step_report *report, const opsm_sequence *records, int32_t n) {
    double *tally = at->tallies;
    record_measured(at, report, records, n);
    tally[TALLY_STEPS] += report->outcome == STEP_APPLIED;
    tally[TALLY_SKIPPED] += report->outcome != STEP_APPLIED;
    tally[TALLY_TOKENS_FORWARD] += (double)report->tokens_forward;
    tally[TALLY_TOKENS_BACKWARD] += (double)report->tokens_backward;
    if (!(report->parity_max <= tally[TALLY_PARITY_MAX])) tally[TALLY_PARITY_MAX] = report->parity_max;
    tally[TALLY_SECONDS_FORWARD] += report->seconds_forward;
    tally[TALLY_SECONDS_BACKWARD] += report->seconds_backward;
    tally[TALLY_SECONDS_OPTIM] += report->seconds_optim;
}

static double mean_reward(const struct batch *batch, const int32_t *ids, int32_t n) {
    double sum = 0;
    for (int32_t i = 0; i < n; i++) sum += (double)batch->rollouts.reward[ids[i]];
    return sum / n;
}

opsm_status write_step(const struct sink *sink, const struct run_position *at, const struct batch *batch,
                       const int32_t *ids, int32_t n, const struct step_report *report, opsm_error *err) {
    struct metrics_line line, *m = &line;
    metrics_begin(m, METRICS_STEP, at->iteration, at->steps - 1);
    metrics_string(m, "outcome", step_outcome_name(report->outcome));
    for (int i = 0; i < opsm_metrics_count(); i++)
        metrics_number(m, opsm_metrics_name(i), opsm_metrics_value(&report->metrics, i));
    metrics_number(m, "reward_mean", mean_reward(batch, ids, n));
    metrics_number(m, "grad_norm", report->grad_norm);
    metrics_number(m, "lr", report->lr);
    metrics_number(m, "guard", report->guard);
    metrics_number(m, "trust", report->trust);
    metrics_number(m, "decline", report->decline);
    metrics_integer(m, "batch", batch->index);
    metrics_integer(m, "sequences_forward", report->sequences_forward);
    metrics_integer(m, "sequences_backward", report->sequences_backward);
    metrics_integer(m, "tokens_forward", report->tokens_forward);
    metrics_integer(m, "tokens_backward", report->tokens_backward);
    if (report->parity_max >= 0 || isnan(report->parity_max)) {
        metrics_number(m, "parity_gap_mean", report->parity_mean);
        metrics_number(m, "parity_gap_max", report->parity_max);
        metrics_number(m, "noise_floor", report->noise_floor);
    }
    metrics_group(m, "seconds");
    metrics_number(m, "forward", report->seconds_forward);
    metrics_number(m, "backward", report->seconds_backward);
    metrics_number(m, "optim", report->seconds_optim);
    metrics_group_end(m);
    return sink_write(sink, &line, err);
}

/* One of TALLY_MEANS, by its sum. */
static double step_mean(const double *tally, enum tally sum) {
    return tally[sum + 1] > 0 ? tally[sum] / tally[sum + 1] : NAN;
}

static double mean_dropped(const double *tally) {
    double steps = tally[TALLY_STEPS] + tally[TALLY_SKIPPED];
    return steps > 0 ? tally[TALLY_DROPPED_SUM] / steps : NAN;
}

opsm_status write_iteration(const struct sink *sink, const struct run_position *at, const struct batch_stats *fresh,
                            const struct problems *problems, opsm_error *err) {
    const struct reward *reward = problems->reward;
    const double *tally = at->tallies;
    double train = tally[TALLY_SECONDS_FORWARD] + tally[TALLY_SECONDS_BACKWARD] + tally[TALLY_SECONDS_OPTIM];
    struct metrics_line line, *m = &line;
    metrics_begin(m, METRICS_ITERATION, at->iteration, at->steps);
    metrics_number(m, "reward_mean", fresh->reward_mean);
    metrics_number(m, "reward_std", fresh->reward_std);
    metrics_number(m, "length_mean", fresh->length_mean);
    metrics_number(m, "finished", fresh->finished);
    metrics_number(m, "truncated", 1 - fresh->finished);
    metrics_number(m, "skipped_groups", (double)fresh->zero_groups);
    metrics_integer(m, "unjudged", fresh->unjudged);
    metrics_number(m, "tokens", (double)fresh->tokens);
    metrics_number(m, "drift_negative_mean", step_mean(tally, TALLY_DRIFT_NEGATIVE_SUM));
    metrics_number(m, "drift_positive_mean", step_mean(tally, TALLY_DRIFT_POSITIVE_SUM));
    metrics_number(m, "dropped", mean_dropped(tally));
    metrics_number(m, "dropped_negatives", step_mean(tally, TALLY_DROPPED_NEGATIVES_SUM));
    metrics_number(m, "delta", step_mean(tally, TALLY_DELTA_SUM));
    metrics_number(m, "entropy", step_mean(tally, TALLY_ENTROPY_SUM));
    metrics_number(m, "ess", step_mean(tally, TALLY_ESS_SUM));
    metrics_number(m, "grad_norm", step_mean(tally, TALLY_GRAD_NORM_SUM));
    metrics_number(m, "steps_applied", tally[TALLY_STEPS]);
    metrics_number(m, "steps_skipped", tally[TALLY_SKIPPED]);
    metrics_number(m, "tokens_forward", tally[TALLY_TOKENS_FORWARD]);
    metrics_number(m, "tokens_backward", tally[TALLY_TOKENS_BACKWARD]);
    if (!(tally[TALLY_PARITY_MAX] < 0)) metrics_number(m, "parity_gap_max", tally[TALLY_PARITY_MAX]);
    metrics_number(m, "generated_per_second", (double)fresh->tokens / fresh->seconds_rollout);
    metrics_number(m, "trained_per_second", train > 0 ? tally[TALLY_TOKENS_FORWARD] / train : NAN);
    metrics_group(m, "seconds");
    metrics_number(m, "rollout", fresh->seconds_rollout);
    metrics_number(m, "reward", fresh->seconds_reward);
    metrics_number(m, "logprobs", tally[TALLY_SECONDS_LOGPROBS]);
    metrics_number(m, "forward", tally[TALLY_SECONDS_FORWARD]);
    metrics_number(m, "backward", tally[TALLY_SECONDS_BACKWARD]);
    metrics_number(m, "optim", tally[TALLY_SECONDS_OPTIM]);
    metrics_group_end(m);
    metrics_group(m, "rewards");
    for (int i = 0; i < reward_count(reward); i++) metrics_number(m, reward_name(reward, i), fresh->scores[i]);
    metrics_group_end(m);
    if (!data_task(problems->source)) metrics_integer(m, "rows_skipped", problem_rows_skipped(problems));
    metrics_integers(m, "drift_negative_histogram", at->drift.negative, DRIFT_BINS);
    metrics_integers(m, "drift_positive_histogram", at->drift.positive, DRIFT_BINS);
    return sink_write(sink, &line, err);
}

opsm_status write_evaluation(const struct sink *sink, const struct run_position *at, const struct evaluation *e,
                             opsm_error *err) {
    struct metrics_line line, *m = &line;
    metrics_begin(m, METRICS_EVAL, at->iteration, at->steps);
    metrics_number(m, "accuracy", e->accuracy.estimate);
    metrics_number(m, "accuracy_low", e->accuracy.low);
    metrics_number(m, "accuracy_high", e->accuracy.high);
    if (e->samples > 1) {
        metrics_number(m, "pass_at_k", e->pass_at_k.estimate);
        metrics_number(m, "pass_at_k_low", e->pass_at_k.low);
        metrics_number(m, "pass_at_k_high", e->pass_at_k.high);
        metrics_number(m, "distinct", e->distinct);
    }
    metrics_number(m, "reward_mean", e->reward_mean);
    metrics_integer(m, "problems", e->problems);
    metrics_integer(m, "samples", e->samples);
    metrics_integer(m, "unjudged", e->unjudged);
    metrics_integer(m, "tokens", e->tokens);
    metrics_number(m, "length_mean", e->length_mean);
    metrics_number(m, "finished", e->finished);
    metrics_group(m, "rewards");
    for (int32_t k = 0; k < e->n_scores; k++) metrics_number(m, e->names[k], e->scores[k]);
    metrics_group_end(m);
    metrics_group(m, "seconds");
    metrics_number(m, "eval", e->seconds);
    metrics_group_end(m);
    return sink_write(sink, &line, err);
}

opsm_status dump_batch(const char *output, const struct batch *batch, opsm_error *err) {
    char name[64];
    snprintf(name, sizeof name, "%06" PRId64 ".jsonl", batch->index);
    char *dir = file_join(output, "rollouts"), *path = dir ? file_join(dir, name) : NULL;
    opsm_status status = path ? file_make_dir(dir, err) : mem_exhausted(err, "a file name", sizeof name);
    if (status == OPSM_OK) status = batch_dump(batch, path, err);
    mem_free(dir);
    mem_free(path);
    return status;
}
