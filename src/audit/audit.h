/* SPDX-License-Identifier: Apache-2.0
 *
 * What an objective and its mask do to recorded rollouts of any trainer. Two passes over the file (three where the
 * denominators depend on drift); rows are evaluated as they stream by.
 */
#ifndef OPSM_AUDIT_AUDIT_H
#define OPSM_AUDIT_AUDIT_H
#include "audit/doctor.h"
#include "io/json_writer.h"
#include <stdio.h>

enum { AUDIT_DELTAS_MAX = 64, AUDIT_WORST = 10, AUDIT_BINS = 16 };

struct audit_options {
    opsm_objective config;
    const char *path; /* a regular file: it is read more than once */
    const char *name; /* what messages call it */
    double deltas[AUDIT_DELTAS_MAX];
    int n_deltas;
    bool json, gradient;
};

/* What one candidate delta would drop by rule opsm. */
struct audit_threshold {
    double delta;
    int64_t dropped, dropped_tokens;
    double dropped_mass; /* of sum |A| */
};

/* Drifts of one sign. Beyond its room every second one is forgotten, and from then on every second one comes in. */
struct audit_sample {
    double *drifts;
    int64_t n, stride, seen;
};

struct audit_noise {
    int64_t n;
    double sum, squares;
};

struct audit_worst {
    int64_t line;
    double drift, advantage;
    int64_t tokens;
};

struct audit_summary {
    opsm_metrics_sums sums;
    opsm_metrics metrics;
    opsm_totals totals;
    struct audit_threshold thresholds[AUDIT_DELTAS_MAX];
    int n_thresholds;
    struct audit_sample negatives, positives;
    int64_t bins[2][AUDIT_BINS];           /* [0] A < 0, [1] A > 0 */
    struct audit_noise first_step;         /* b - c of rows marked as the first optimiser step */
    struct audit_noise recomputed;         /* b - p */
    struct audit_worst worst[AUDIT_WORST]; /* dropped sequences by drift, largest first */
    int n_worst;
    int64_t groups, zero_groups, length_min, length_max;
    int64_t dropped_likelier; /* dropped negatives whose tokens have become likelier on average */
    struct finding *findings; /* [n_findings] */
    int n_findings;
    bool interleaved;                                         /* groups were not contiguous */
    double decline;                                           /* the warning of policy auto, over the whole file */
    double policy_length, policy_quantile, policy_controller; /* delta each would settle at; NaN: cannot tell */
    double policy_auto;                                       /* at full trust, for the mean length */
};

/* Upper edges of the histogram's bins; the last bin has none. */
extern const double audit_edges[AUDIT_BINS - 1];

/* Writes JSON or a report for people to `out`. */
opsm_status audit_run(const struct audit_options *options, FILE *out, opsm_error *err);

/* ---- summary.c ---- */
opsm_status audit_summary_start(struct audit_summary *summary, const struct audit_options *options, opsm_error *err);
void audit_summary_add(struct audit_summary *summary, const opsm_sequence *record, int64_t line);
void audit_noise_add(struct audit_noise *noise, double drift);
double audit_noise_floor(const struct audit_noise *noise); /* max(mean, 0) + 3 sd; NaN for fewer than two */
void audit_summary_finish(struct audit_summary *summary, const opsm_objective *config);
void audit_summary_free(struct audit_summary *summary);

/* ---- json.c ---- */
void audit_json_begin(struct json_writer *json);

/* group: its name as JSON text, NULL without one. dlogp [record->length], or NULL: not wanted. */
void audit_json_sequence(struct json_writer *json, const char *group, const struct audit_row *row,
                         const opsm_sequence *record, const float *dlogp);

/* Each closes the object: with all that is known, or, where the objective refused the rows, with what is amiss. */
void audit_json_summary(struct json_writer *json, const struct audit_options *options,
                        const struct audit_summary *summary);
void audit_json_failure(struct json_writer *json, const struct audit_summary *summary, const char *sentence);

/* ---- text.c ---- */
void audit_print_text(const struct audit_options *options, const struct audit_summary *summary, FILE *out);

/* The findings alone: all that there is to say of a file that the objective refuses. */
void audit_print_findings(const struct audit_summary *summary, FILE *out);

/* The advice that follows from the numbers: one or more sentences. */
void audit_advice(const struct audit_options *options, const struct audit_summary *summary, char *text, size_t size);

#endif
