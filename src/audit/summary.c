/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/audit.h"
#include "base/mem.h"
#include <math.h>
#include <string.h>

enum { SAMPLE_ROOM = 1 << 20 };

const double audit_edges[AUDIT_BINS - 1] = {-1,    -0.3,  -0.1, -0.03, -0.01, -0.003, -0.001, 0,
                                            0.001, 0.003, 0.01, 0.03,  0.1,   0.3,    1};

opsm_status audit_summary_start(struct audit_summary *summary, const struct audit_options *options, opsm_error *err) {
    *summary = (struct audit_summary){.sums.size = sizeof summary->sums,
                                      .metrics.size = sizeof summary->metrics,
                                      .n_thresholds = options->n_deltas,
                                      .length_min = INT64_MAX};
    opsm_status status = opsm_metrics_start(&options->config, &summary->sums, err);
    if (status != OPSM_OK) return status;
    for (int k = 0; k < options->n_deltas; k++) summary->thresholds[k].delta = options->deltas[k];
    summary->negatives = (struct audit_sample){mem_alloc(SAMPLE_ROOM, sizeof(double)), 0, 1, 0};
    summary->positives = (struct audit_sample){mem_alloc(SAMPLE_ROOM, sizeof(double)), 0, 1, 0};
    summary->findings = mem_zalloc(DOCTOR_CHECKS, sizeof *summary->findings);
    if (summary->negatives.drifts && summary->positives.drifts && summary->findings) return OPSM_OK;
    audit_summary_free(summary);
    return mem_exhausted(err, "the drift samples", 2 * SAMPLE_ROOM * sizeof(double));
}

void audit_summary_free(struct audit_summary *summary) {
    mem_free(summary->negatives.drifts);
    mem_free(summary->positives.drifts);
    mem_free(summary->findings);
    summary->findings = NULL;
    summary->negatives.drifts = summary->positives.drifts = NULL;
}

static void sample_add(struct audit_sample *sample, double drift) {
    if (sample->seen++ % sample->stride != 0) return;
    sample->drifts[sample->n++] = drift;
    if (sample->n < SAMPLE_ROOM) return;
    sample->n /= 2;
    for (int64_t i = 0; i < sample->n; i++) sample->drifts[i] = sample->drifts[2 * i];
    sample->stride *= 2;
}

void audit_noise_add(struct audit_noise *noise, double drift) {
    if (!isfinite(drift)) return;
    noise->n++;
    noise->sum += drift;
    noise->squares += drift * drift;
}

double audit_noise_floor(const struct audit_noise *noise) {
    if (noise->n < 2) return (double)NAN;
    double n = (double)noise->n, mean = noise->sum / n;
    double variance = (noise->squares - n * mean * mean) / (n - 1);
    return (mean > 0 ? mean : 0) + 3 * sqrt(variance > 0 ? variance : 0);
}

static void worst_add(struct audit_summary *summary, const opsm_sequence *record, int64_t line) {
    int at = summary->n_worst;
    while (at > 0 && record->drift > summary->worst[at - 1].drift) at--;
    if (at == AUDIT_WORST) return;
    int last = summary->n_worst < AUDIT_WORST ? summary->n_worst++ : AUDIT_WORST - 1;
    memmove(&summary->worst[at + 1], &summary->worst[at], (size_t)(last - at) * sizeof summary->worst[0]);
    summary->worst[at] = (struct audit_worst){line, record->drift, record->advantage, record->tokens};
}

static void count_threshold(struct audit_threshold *threshold, const opsm_sequence *record) {
    if (!(record->advantage < 0) || !(record->drift > threshold->delta || record->nonfinite)) return;
    threshold->dropped++;
    threshold->dropped_tokens += record->tokens;
    threshold->dropped_mass += fabs(record->advantage);
}

void audit_summary_add(struct audit_summary *summary, const opsm_sequence *record, int64_t line) {
    opsm_metrics_add(&summary->sums, record);
    for (int k = 0; k < summary->n_thresholds; k++) count_threshold(&summary->thresholds[k], record);
    if (record->tokens < summary->length_min) summary->length_min = record->tokens;
    if (record->tokens > summary->length_max) summary->length_max = record->tokens;
    if (!record->keep) worst_add(summary, record, line);
    summary->dropped_likelier += !record->keep && record->advantage < 0 && record->drift_k1 < 0;
    if (!isfinite(record->drift) || record->advantage == 0) return;
    bool positive = record->advantage > 0;
    sample_add(positive ? &summary->positives : &summary->negatives, record->drift);
    int bin = 0;
    while (bin < AUDIT_BINS - 1 && record->drift > audit_edges[bin]) bin++;
    summary->bins[positive][bin]++;
}

/* The largest threshold at which the negatives that are kept drift by `target` on average; negatives sorted. */
static double controller_delta(const struct audit_sample *negatives, double target) {
    double sum = 0;
    for (int64_t i = 0; i < negatives->n; i++) {
        sum += negatives->drifts[i];
        if (sum / (double)(i + 1) > target) return negatives->drifts[i];
    }
    return (double)INFINITY;
}

void audit_summary_finish(struct audit_summary *summary, const opsm_objective *config) {
    const opsm_metrics_sums *sums = &summary->sums;
    opsm_metrics_finish(sums, &summary->metrics, NULL); /* fails only where sizes are wrong */
    opsm_metrics_quantiles(summary->negatives.drifts, summary->negatives.n, summary->positives.drifts,
                           summary->positives.n, &summary->metrics);
    if (sums->positive_weights > 0) summary->decline = 1 - sums->positive_weight_sum / (double)sums->positive_weights;
    summary->metrics.groups = (double)summary->groups;
    summary->metrics.skipped_groups = (double)summary->zero_groups;
    double floor = config->mask_floor, noise = audit_noise_floor(&summary->first_step),
           n = summary->metrics.length_mean;
    opsm_objective automatic = *config;
    automatic.mask_policy = OPSM_POLICY_AUTO;
    if (noise > floor) floor = noise;
    if (floor > config->mask_ceiling) floor = config->mask_ceiling;
    summary->policy_length =
        n > 0 ? config->mask_kappa + config->mask_z * sqrt(2 * config->mask_kappa / n) : (double)NAN;
    summary->policy_auto = n > 0 ? opsm_threshold_delta(&automatic, NULL, (int64_t)lround(n)) : (double)NAN;
    summary->policy_quantile = summary->policy_controller = (double)NAN;
    if (summary->negatives.n == 0) return;
    double wanted = opsm_quantile(summary->negatives.drifts, summary->negatives.n, config->mask_quantile);
    summary->policy_quantile = fmin(fmax(wanted, floor), config->mask_ceiling);
    summary->policy_controller =
        fmin(fmax(controller_delta(&summary->negatives, config->mask_target), floor), config->mask_ceiling);
}
