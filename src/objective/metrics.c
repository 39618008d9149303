/* SPDX-License-Identifier: Apache-2.0 */
#include "objective/metrics.h"
#include <math.h>
#include <string.h>

void metrics_add(struct metrics_sums *sums, const opsm_sequence *record) {
    bool negative = record->advantage<0, positive = record->advantage> 0;
    double size = fabs(record->advantage);
    sums->sequences++;
    sums->negatives += negative;
    sums->positives += positive;
    sums->tokens += record->tokens;
    sums->dropped += !record->keep;
    sums->dropped_negatives += negative && !record->keep;
    sums->dropped_tokens += record->dropped_tokens;
    sums->clipped_low += record->clipped_low;
    sums->clipped_high += record->clipped_high;
    sums->nonfinite += record->nonfinite;
    sums->positive_logp += record->positive_logp;
    sums->backward += record->needs_backward;
    sums->surrogate += record->surrogate;
    sums->penalty += record->penalty;
    sums->kl += record->kl_sum;
    if (isfinite(record->entropy_sum)) {
        sums->entropy += record->entropy_sum;
        sums->entropy_tokens += record->tokens;
    }
    sums->mass += size;
    if (record->tokens > 0)
        sums->dropped_mass += size * (double)record->dropped_tokens / (double)record->tokens;
    else if (!record->keep)
        sums->dropped_mass += size;
    if (negative) {
        sums->delta += record->delta;
        if (sums->negatives == 1 || record->delta < sums->delta_low) sums->delta_low = record->delta;
        if (sums->negatives == 1 || record->delta > sums->delta_high) sums->delta_high = record->delta;
    }
    if (record->ratio_max > sums->ratio_max) sums->ratio_max = record->ratio_max;
    if (record->lag >= 0) {
        sums->lagged++;
        sums->lag += (double)record->lag;
        if ((double)record->lag > sums->lag_max) sums->lag_max = (double)record->lag;
    }
    double weight = ess_weight(record, sums->ess_cap);
    if (weight >= 0) {
        sums->weights++;
        sums->weight_sum += weight;
        sums->weight_squares += weight * weight;
    }
    if (!isfinite(record->drift) || !isfinite(record->drift_k1)) return;
    sums->drifts++;
    sums->drift_k1 += record->drift_k1;
    sums->drift_k3 += record->drift_k3;
    if (positive) {
        sums->positive_drifts++;
        sums->drift_positive += record->drift;
    }
    if (!negative) return;
    sums->negative_drifts++;
    sums->drift_negative += record->drift;
    if (!record->keep) return;
    sums->kept_negatives++;
    sums->drift_kept_negative += record->drift;
}

static double ratio(double a, double b) {
    return b > 0 ? a / b : (double)NAN;
}

/* A mean lies between its extremes, also after rounding: that of equal numbers is the number. */
static double between(double x, double low, double high) {
    return x < low ? low : x > high ? high : x;
}

void metrics_finish(const struct metrics_sums *sums, opsm_metrics *metrics) {
    double sequences = (double)sums->sequences, tokens = (double)sums->tokens, negatives = (double)sums->negatives;
    double unknown = (double)NAN;
    *metrics = (opsm_metrics){.size = sizeof *metrics};
    metrics->surrogate = sums->surrogate;
    metrics->penalty = sums->penalty;
    metrics->loss = sums->surrogate + sums->penalty;
    metrics->kl_ref = sums->penalised ? ratio(sums->kl, tokens) : unknown;
    metrics->entropy = ratio(sums->entropy, (double)sums->entropy_tokens);
    metrics->drift_negative_mean = ratio(sums->drift_negative, (double)sums->negative_drifts);
    metrics->drift_positive_mean = ratio(sums->drift_positive, (double)sums->positive_drifts);
    metrics->drift_mean = ratio(sums->drift_k1, (double)sums->drifts);
    metrics->drift_k3 = ratio(sums->drift_k3, (double)sums->drifts);
    metrics->drift_kept_negative = ratio(sums->drift_kept_negative, (double)sums->kept_negatives);
    metrics->dropped = ratio((double)sums->dropped, sequences);
    metrics->dropped_negatives = ratio((double)sums->dropped_negatives, negatives);
    metrics->dropped_tokens = ratio((double)sums->dropped_tokens, tokens);
    metrics->dropped_mass = ratio(sums->dropped_mass, sums->mass);
    metrics->delta = between(ratio(sums->delta, negatives), sums->delta_low, sums->delta_high);
    metrics->clip_low = ratio((double)sums->clipped_low, tokens);
    metrics->clip_high = ratio((double)sums->clipped_high, tokens);
    metrics->ratio_max = sums->drifts ? sums->ratio_max : unknown;
    metrics->ess = ess_of(sums->weights, sums->weight_sum, sums->weight_squares);
    metrics->nonfinite = (double)sums->nonfinite;
    metrics->positive_logp = (double)sums->positive_logp;
    metrics->sequences = sequences;
    metrics->negatives = negatives;
    metrics->positives = (double)sums->positives;
    metrics->tokens = tokens;
    metrics->backward_sequences = (double)sums->backward;
    metrics->length_mean = ratio(tokens, sequences);
    metrics->lag_mean = ratio(sums->lag, (double)sums->lagged);
    metrics->lag_max = sums->lagged ? sums->lag_max : unknown;
    metrics->drift_negative_p10 = metrics->drift_negative_p50 = metrics->drift_negative_p90 = unknown;
    metrics->drift_negative_p99 = metrics->drift_positive_p10 = metrics->drift_positive_p50 = unknown;
    metrics->drift_positive_p90 = metrics->drift_positive_p99 = unknown;
}

void metrics_quantiles(double *negatives, int64_t n_negatives, double *positives, int64_t n_positives,
                       opsm_metrics *metrics) {
    sort_doubles(negatives, n_negatives);
    sort_doubles(positives, n_positives);
    if (n_negatives > 0) {
        metrics->drift_negative_p10 = sorted_quantile(negatives, n_negatives, 0.10);
        metrics->drift_negative_p50 = sorted_quantile(negatives, n_negatives, 0.50);
        metrics->drift_negative_p90 = sorted_quantile(negatives, n_negatives, 0.90);
        metrics->drift_negative_p99 = sorted_quantile(negatives, n_negatives, 0.99);
    }
    if (n_positives > 0) {
        metrics->drift_positive_p10 = sorted_quantile(positives, n_positives, 0.10);
        metrics->drift_positive_p50 = sorted_quantile(positives, n_positives, 0.50);
        metrics->drift_positive_p90 = sorted_quantile(positives, n_positives, 0.90);
        metrics->drift_positive_p99 = sorted_quantile(positives, n_positives, 0.99);
    }
}

/* Groups, and those of them whose advantages are all zero. */
static void count_groups(const opsm_sequence *records, int64_t n, struct member *members, opsm_metrics *metrics) {
    for (int64_t i = 0; i < n; i++) members[i] = (struct member){records[i].group, fabs(records[i].advantage), i};
    sort_members(members, n);
    for (int64_t i = 0; i < n; i++) {
        if (i + 1 < n && members[i + 1].group == members[i].group) continue;
        metrics->groups++;
        metrics->skipped_groups += members[i].value == 0; /* the largest |A| of the group */
    }
}

opsm_status opsm_metrics_compute(const opsm_objective *config, const opsm_sequence *records, int64_t n,
                                 opsm_metrics *metrics, void *workspace, size_t workspace_size, opsm_error *err) {
    opsm_objective full;
    struct arena arena;
    opsm_status status = objective_load_config(config, &full, err);
    if (status == OPSM_OK) status = arena_open(&arena, workspace, workspace_size, n, err);
    if (status != OPSM_OK) return status;
    struct metrics_sums sums = {.penalised = full.penalty_beta > 0, .ess_cap = full.guard_cap};
    double *drifts = arena_take(&arena, n, sizeof *drifts);
    int64_t low = 0, high = n; /* negatives from the left, positives from the right */
    for (int64_t i = 0; i < n; i++) {
        metrics_add(&sums, &records[i]);
        if (!isfinite(records[i].drift)) continue;
        if (records[i].advantage < 0) drifts[low++] = records[i].drift;
        if (records[i].advantage > 0) drifts[--high] = records[i].drift;
    }
    opsm_metrics computed;
    metrics_finish(&sums, &computed);
    metrics_quantiles(drifts, low, drifts + high, n - high, &computed);
    count_groups(records, n, arena_take(&arena, n, sizeof(struct member)), &computed);
    if (metrics->size != sizeof *metrics)
        return opsm_fail(err, OPSM_INVALID, "metrics not initialised: set metrics.size = sizeof metrics");
    *metrics = computed;
    return OPSM_OK;
}

static const struct {
    const char *name;
    size_t offset;
} fields[] = {
#define FIELD(field, doc) {#field, offsetof(opsm_metrics, field)},
    OPSM_METRICS_LIST(FIELD)
#undef FIELD
};

int opsm_metrics_count(void) {
    return (int)(sizeof fields / sizeof fields[0]);
}

const char *opsm_metrics_name(int index) {
    return index >= 0 && index < opsm_metrics_count() ? fields[index].name : NULL;
}

double opsm_metrics_value(const opsm_metrics *metrics, int index) {
    double value;
    if (index < 0 || index >= opsm_metrics_count()) return (double)NAN;
    memcpy(&value, (const char *)metrics + fields[index].offset, sizeof value);
    return value;
}
