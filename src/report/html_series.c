/* SPDX-License-Identifier: Apache-2.0
 *
 * Curves of an arm over optimiser steps. All arms share their points: point i stands for steps i * bin .. (i + 1) * bin
 * - 1, whatever a run calls an iteration. A run's numbers are averaged within a point, then over the arm's runs.
 */
#include "base/mem.h"
#include "report/html_report.h"
#include <math.h>
#include <string.h>

enum { POINTS_MAX = 200, POINTS_WANTED = 24, PARTS = 4 };

static const char *const curve_keys[CURVE_COUNT] = {
#define CURVE_KEY(id, key) key,
    REPORT_CURVES(CURVE_KEY)
#undef CURVE_KEY
};

/* Where the runs stand on the axis. */
struct axis {
    int64_t steps, bin;
    int points;
};

/* A point is one round (the longest iteration of all runs), several where there would be too many points, a part of one
 * where there would be few. */
static struct axis choose_axis(const struct report *report) {
    int64_t steps = 1, round = report->round;
    for (int a = 0; a < report->n_arms; a++)
        for (int r = 0; r < report->arms[a].n_runs; r++) {
            const struct report_run *run = &report->arms[a].runs[r];
            if (run->steps > steps) steps = run->steps;
            if (report->round == 0 && run->round > round) round = run->round;
        }
    if (round < 1) round = 1;
    if (round > steps) round = steps;
    int64_t bin = round * ((steps / round + POINTS_MAX - 1) / POINTS_MAX);
    while (steps / bin < POINTS_WANTED && bin > 1 && bin % 2 == 0) bin /= 2;
    /* One more: an evaluation after the last step has a place of its own. */
    return (struct axis){steps, bin, (int)(steps / bin) + 1};
}

/* sums and counts [points] of one run's curve. */
static void bin_curve(const struct report_curve *curve, const struct axis *axis, double *sums, double *counts) {
    for (int i = 0; i < axis->points; i++) sums[i] = counts[i] = 0;
    for (int64_t i = 0; i < curve->n; i++) {
        int64_t point = curve->step[i] / axis->bin;
        if (point >= axis->points) continue;
        sums[point] += curve->value[i];
        counts[point] += 1;
    }
}

/* Columns [POINTS_MAX + 2] each. */
struct bands {
    double sum[POINTS_MAX + 2], count[POINTS_MAX + 2], mean[POINTS_MAX + 2], runs[POINTS_MAX + 2];
    double low[POINTS_MAX + 2], high[POINTS_MAX + 2];
};

static void put_column(struct json_writer *json, const char *name, const double *column, int n) {
    json_put_open(json, name, '[');
    for (int i = 0; i < n; i++) json_put_number(json, NULL, column[i]);
    json_put_close(json, ']');
}

/* A curve of the list, or a verifier's by its name. */
struct wanted {
    enum report_curve_id id;
    const char *verifier;
};

/* NULL where the run has no such curve. */
static const struct report_curve *curve_of(const struct report_run *run, const struct wanted *wanted) {
    const struct report_curve *curve = &run->curves[wanted->id];
    if (!wanted->verifier) return curve->n ? curve : NULL;
    for (int k = 0; k < run->n_verifiers; k++)
        if (!strcmp(run->verifiers[k].name, wanted->verifier)) return &run->verifiers[k].curve;
    return NULL;
}

/* Mean, and smallest and largest over the runs where there are several; "runs" where not all have a point. */
static void put_bands(const struct report_arm *arm, const struct wanted *wanted, const struct axis *axis,
                      struct bands *b, struct json_writer *json) {
    for (int i = 0; i < axis->points; i++) {
        b->mean[i] = b->runs[i] = 0;
        b->low[i] = INFINITY;
        b->high[i] = -INFINITY;
    }
    for (int r = 0; r < arm->n_runs; r++) {
        const struct report_curve *curve = curve_of(&arm->runs[r], wanted);
        if (!curve) continue;
        bin_curve(curve, axis, b->sum, b->count);
        for (int i = 0; i < axis->points; i++) {
            if (!(b->count[i] > 0)) continue;
            double value = b->sum[i] / b->count[i];
            b->mean[i] += value;
            b->runs[i] += 1;
            if (value < b->low[i]) b->low[i] = value;
            if (value > b->high[i]) b->high[i] = value;
        }
    }
    bool uneven = false;
    for (int i = 0; i < axis->points; i++) {
        uneven |= b->runs[i] > 0 && b->runs[i] < arm->n_runs;
        b->mean[i] = b->runs[i] > 0 ? b->mean[i] / b->runs[i] : NAN;
    }
    put_column(json, "mean", b->mean, axis->points);
    if (arm->n_runs > 1) put_column(json, "low", b->low, axis->points);
    if (arm->n_runs > 1) put_column(json, "high", b->high, axis->points);
    if (uneven) put_column(json, "runs", b->runs, axis->points);
}

static bool arm_has(const struct report_arm *arm, const struct wanted *wanted) {
    for (int r = 0; r < arm->n_runs; r++)
        if (curve_of(&arm->runs[r], wanted)) return true;
    return false;
}

static void put_verifiers(const struct report_arm *arm, const struct axis *axis, struct bands *bands,
                          struct json_writer *json) {
    json_put_open(json, "verifiers", '{');
    /* Those of the first run: an arm's runs differ in their seed alone. */
    for (int k = 0; arm->n_runs && k < arm->runs[0].n_verifiers; k++) {
        struct wanted wanted = {.verifier = arm->runs[0].verifiers[k].name};
        json_put_open(json, wanted.verifier, '{');
        put_bands(arm, &wanted, axis, bands, json);
        json_put_close(json, '}');
    }
    json_put_close(json, '}');
}

static void put_curves(const struct report_arm *arm, const struct axis *axis, struct bands *bands,
                       struct json_writer *json) {
    json_put_open(json, "curves", '{');
    for (int id = 0; id < CURVE_COUNT; id++) {
        struct wanted wanted = {.id = (enum report_curve_id)id};
        if (!arm_has(arm, &wanted)) continue;
        json_put_open(json, curve_keys[id], '{');
        put_bands(arm, &wanted, axis, bands, json);
        json_put_close(json, '}');
    }
    json_put_close(json, '}');
    put_verifiers(arm, axis, bands, json);
}

/* ---- drift ------------------------------------------------------------------------------------------------------- */

static void put_counts(struct json_writer *json, const char *name, const int64_t *counts) {
    json_put_open(json, name, '[');
    for (int i = 0; i < DRIFT_BINS; i++) json_put_int(json, NULL, counts[i]);
    json_put_close(json, ']');
}

/* Slots [n * part / parts, n * (part + 1) / parts) of every run. */
static void put_part(const struct report_arm *arm, int part, int parts, struct json_writer *json) {
    struct report_slot sum = {.delta_low = INFINITY, .delta_high = -INFINITY};
    for (int r = 0; r < arm->n_runs; r++) {
        const struct report_run *run = &arm->runs[r];
        for (int s = run->n_slots * part / parts; s < run->n_slots * (part + 1) / parts; s++) {
            const struct report_slot *slot = &run->slots[s];
            for (int i = 0; i < DRIFT_BINS; i++) {
                sum.drift.negative[i] += slot->drift.negative[i];
                sum.drift.positive[i] += slot->drift.positive[i];
            }
            sum.delta_low = fmin(sum.delta_low, slot->delta_low);
            sum.delta_high = fmax(sum.delta_high, slot->delta_high);
        }
    }
    json_put_open(json, NULL, '{');
    put_column(json, "delta", (const double[]){sum.delta_low, sum.delta_high}, 2);
    put_counts(json, "negative", sum.drift.negative);
    put_counts(json, "positive", sum.drift.positive);
    json_put_close(json, '}');
}

/* The whole first, then its quarters. */
static void put_drift(const struct report_arm *arm, struct json_writer *json) {
    json_put_open(json, "drift", '[');
    put_part(arm, 0, 1, json);
    for (int part = 0; part < PARTS; part++) put_part(arm, part, PARTS, json);
    json_put_close(json, ']');
}

/* ---- arms -------------------------------------------------------------------------------------------------------- */

static void put_arm(const struct report_arm *arm, const struct axis *axis, struct bands *bands,
                    struct json_writer *json) {
    static const char *const keys[][2] = {
        {"rule", "objective.mask.rule"}, {"policy", "objective.mask.policy"}, {"guard", "objective.guard"}};
    json_put_open(json, NULL, '{');
    json_put_string(json, "name", arm->name);
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        json_put_string(json, keys[k][0], arm->n_runs ? report_value(&arm->runs[0], keys[k][1]) : NULL);
    json_put_int(json, "failed", arm->failed);
    json_put_open(json, "runs", '[');
    for (int r = 0; r < arm->n_runs; r++) {
        const struct report_run *run = &arm->runs[r];
        json_put_open(json, NULL, '{');
        json_put_string(json, "path", run->path);
        json_put_string(json, "seed", report_value(run, "seed"));
        json_put_int(json, "steps", run->steps);
        json_put_int(json, "iterations", run->iterations);
        json_put_close(json, '}');
    }
    json_put_close(json, ']');
    put_curves(arm, axis, bands, json);
    put_drift(arm, json);
    json_put_close(json, '}');
}

opsm_status report_put_arms(struct report *report, struct json_writer *json, opsm_error *err) {
    struct axis axis = choose_axis(report);
    struct bands *bands = mem_alloc(1, sizeof *bands);
    if (!bands) return mem_exhausted(err, "the points of a chart", sizeof *bands);
    json_put_int(json, "bin", axis.bin);
    json_put_int(json, "steps", axis.steps);
    json_put_int(json, "points", axis.points);
    put_column(json, "edges", drift_edges, DRIFT_EDGES);
    json_put_open(json, "arms", '[');
    for (int a = 0; a < report->n_arms; a++) put_arm(&report->arms[a], &axis, bands, json);
    json_put_close(json, ']');
    mem_free(bands);
    return OPSM_OK;
}
