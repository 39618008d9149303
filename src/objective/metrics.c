/* SPDX-License-Identifier: Apache-2.0 */
#include "objective/trust.h"
#include <math.h>
#include <string.h>

opsm_status opsm_metrics_start(const opsm_objective *config, opsm_metrics_sums *sums, opsm_error *err) {
    opsm_objective full;
    opsm_status status = objective_load_config(config, &full, err);
    if (status != OPSM_OK) return status;
    if (sums->size != sizeof *sums)
        return opsm_fail(err, OPSM_INVALID, "metrics sums not initialised: set sums.size = sizeof sums");
    *sums = (opsm_metrics_sums){.size = sizeof *sums,
                                .delta_low = (double)INFINITY,
                                .delta_high = -(double)INFINITY,
                                .ess_cap = full.guard_cap,
                                .penalised = full.penalty_beta > 0};
    return OPSM_OK;
}

static double smaller(double a, double b) {
    return b < a ? b : a;
}

void opsm_metrics_add(opsm_metrics_sums *sums, const opsm_sequence *record) {
    bool negative = record->advantage < 0;
    bool positive = record->advantage > 0;
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
    sums->backward_sequences += record->needs_backward;
    sums->surrogate_sum += record->surrogate;
    sums->penalty_sum += record->penalty;
    sums->kl_sum += record->kl_sum;
    if (isfinite(record->entropy_sum)) {
        sums->entropy_sum += record->entropy_sum;
        sums->entropy_tokens += record->tokens;
    }
    sums->mass += size;
    if (record->tokens > 0)
        sums->dropped_mass += size * (double)record->dropped_tokens / (double)record->tokens;
    else if (!record->keep)
        sums->dropped_mass += size;
    if (negative) {
        sums->delta_sum += record->delta;
        sums->delta_low = smaller(sums->delta_low, record->delta);
        sums->delta_high = larger(sums->delta_high, record->delta);
    }
    sums->ratio_max = larger(sums->ratio_max, record->ratio_max);
    if (record->lag >= 0) {
        sums->lagged++;
        sums->lag_sum += (double)record->lag;
        sums->lag_max = larger(sums->lag_max, (double)record->lag);
    }
    double weight = ess_weight(record, sums->ess_cap);
    if (weight >= 0) {
        sums->weights++;
        sums->weight_sum += weight;
        sums->weight_square_sum += weight * weight;
    }
    weight = trust_weight(record, 0);
    if (weight >= 0) {
        sums->positive_weights++;
        sums->positive_weight_sum += weight;
    }
    if (!isfinite(record->drift) || !isfinite(record->drift_k1)) return;
    sums->drifts++;
    sums->drift_k1_sum += record->drift_k1;
    sums->drift_k3_sum += record->drift_k3;
    if (positive) {
        sums->positive_drifts++;
        sums->drift_positive_sum += record->drift;
    }
    if (!negative) return;
    sums->negative_drifts++;
    sums->drift_negative_sum += record->drift;
    if (!record->keep) return;
    sums->kept_negatives++;
    sums->drift_kept_negative_sum += record->drift;
}

static double ratio(double a, double b) {
    return b > 0 ? a / b : (double)NAN;
}

void opsm_metrics_merge(opsm_metrics_sums *sums, const opsm_metrics_sums *part) {
#define ADD(field, doc) sums->field += part->field;
    OPSM_METRICS_COUNT_LIST(ADD)
    OPSM_METRICS_SUM_LIST(ADD)
#undef ADD
    sums->delta_low = smaller(sums->delta_low, part->delta_low);
    sums->delta_high = larger(sums->delta_high, part->delta_high);
    sums->ratio_max = larger(sums->ratio_max, part->ratio_max);
    sums->lag_max = larger(sums->lag_max, part->lag_max);
}

opsm_status opsm_metrics_finish(const opsm_metrics_sums *sums, opsm_metrics *metrics, opsm_error *err) {
    if (metrics->size != sizeof *metrics)
        return opsm_fail(err, OPSM_INVALID, "metrics not initialised: set metrics.size = sizeof metrics");
#define UNKNOWN(field, doc) metrics->field = (double)NAN;
    OPSM_METRICS_LIST(UNKNOWN)
#undef UNKNOWN
    double sequences = (double)sums->sequences, tokens = (double)sums->tokens, negatives = (double)sums->negatives;
    metrics->surrogate = sums->surrogate_sum;
    metrics->penalty = sums->penalty_sum;
    metrics->loss = sums->surrogate_sum + sums->penalty_sum;
    if (sums->penalised) metrics->kl_ref = ratio(sums->kl_sum, tokens);
    metrics->entropy = ratio(sums->entropy_sum, (double)sums->entropy_tokens);
    metrics->drift_negative_mean = ratio(sums->drift_negative_sum, (double)sums->negative_drifts);
    metrics->drift_positive_mean = ratio(sums->drift_positive_sum, (double)sums->positive_drifts);
    metrics->drift_mean = ratio(sums->drift_k1_sum, (double)sums->drifts);
    metrics->drift_k3 = ratio(sums->drift_k3_sum, (double)sums->drifts);
    metrics->drift_kept_negative = ratio(sums->drift_kept_negative_sum, (double)sums->kept_negatives);
    metrics->dropped = ratio((double)sums->dropped, sequences);
    metrics->dropped_negatives = ratio((double)sums->dropped_negatives, negatives);
    metrics->dropped_tokens = ratio((double)sums->dropped_tokens, tokens);
    metrics->dropped_mass = ratio(sums->dropped_mass, sums->mass);
    /* A mean lies between its extremes, also after rounding: that of equal numbers is the number. */
    metrics->delta = clamp_to(ratio(sums->delta_sum, negatives), sums->delta_low, sums->delta_high);
    metrics->clip_low = ratio((double)sums->clipped_low, tokens);
    metrics->clip_high = ratio((double)sums->clipped_high, tokens);
    if (sums->drifts) metrics->ratio_max = sums->ratio_max;
    metrics->ess = ess_of((double)sums->weights, sums->weight_sum, sums->weight_square_sum);
    metrics->nonfinite = (double)sums->nonfinite;
    metrics->positive_logp = (double)sums->positive_logp;
    metrics->sequences = sequences;
    metrics->negatives = negatives;
    metrics->positives = (double)sums->positives;
    metrics->tokens = tokens;
    metrics->backward_sequences = (double)sums->backward_sequences;
    metrics->length_mean = ratio(tokens, sequences);
    metrics->lag_mean = ratio(sums->lag_sum, (double)sums->lagged);
    if (sums->lagged) metrics->lag_max = sums->lag_max;
    return OPSM_OK;
}

void opsm_metrics_quantiles(double *negatives, int64_t n_negatives, double *positives, int64_t n_positives,
                            opsm_metrics *metrics) {
    sort_doubles(negatives, n_negatives);
    sort_doubles(positives, n_positives);
    if (n_negatives > 0) {
        metrics->drift_negative_p10 = opsm_quantile(negatives, n_negatives, 0.10);
        metrics->drift_negative_p50 = opsm_quantile(negatives, n_negatives, 0.50);
        metrics->drift_negative_p90 = opsm_quantile(negatives, n_negatives, 0.90);
        metrics->drift_negative_p99 = opsm_quantile(negatives, n_negatives, 0.99);
    }
    if (n_positives > 0) {
        metrics->drift_positive_p10 = opsm_quantile(positives, n_positives, 0.10);
        metrics->drift_positive_p50 = opsm_quantile(positives, n_positives, 0.50);
        metrics->drift_positive_p90 = opsm_quantile(positives, n_positives, 0.90);
        metrics->drift_positive_p99 = opsm_quantile(positives, n_positives, 0.99);
    }
}

/* Groups, and those of them whose advantages are all zero. */
static void count_groups(const opsm_sequence *records, int64_t n, struct member *members, opsm_metrics *metrics) {
    metrics->groups = metrics->skipped_groups = 0;
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
    opsm_metrics_sums sums = {.size = sizeof sums};
    struct arena arena;
    opsm_status status = opsm_metrics_start(config, &sums, err);
    if (status == OPSM_OK) status = arena_open(&arena, workspace, workspace_size, n, err);
    if (status != OPSM_OK) return status;
    double *drifts = arena_take(&arena, n, sizeof *drifts);
    int64_t low = 0, high = n; /* negatives from the left, positives from the right */
    for (int64_t i = 0; i < n; i++) {
        opsm_metrics_add(&sums, &records[i]);
        if (!isfinite(records[i].drift)) continue;
        if (records[i].advantage < 0) drifts[low++] = records[i].drift;
        if (records[i].advantage > 0) drifts[--high] = records[i].drift;
    }
    status = opsm_metrics_finish(&sums, metrics, err);
    if (status != OPSM_OK) return status;
    opsm_metrics_quantiles(drifts, low, drifts + high, n - high, metrics);
    count_groups(records, n, arena_take(&arena, n, sizeof(struct member)), metrics);
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
