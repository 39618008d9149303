/* SPDX-License-Identifier: Apache-2.0
 *
 * One run's metrics.jsonl, kept as numbers over optimiser steps.
 */
#include "base/file.h"
#include "base/mem.h"
#include "io/jsonl.h"
#include "report/html_report.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_LIMIT = 1 << 20 };
static const int64_t STEP_LIMIT = (int64_t)1 << 40;

static void curve_free(struct report_curve *curve) {
    mem_free(curve->step);
    mem_free(curve->value);
    *curve = (struct report_curve){0};
}

static opsm_status curve_add(struct report_curve *curve, int64_t step, const json_t *value, opsm_error *err) {
    double x = json_number_value(value);
    if (!json_is_number(value) || !isfinite(x)) return OPSM_OK;
    if (curve->n == curve->room) {
        size_t room = (size_t)curve->room, grown = room ? room * 2 : 256;
        int64_t *steps = mem_resize(curve->step, room, grown, sizeof *steps);
        if (steps) curve->step = steps;
        double *values = mem_resize(curve->value, room, grown, sizeof *values);
        if (values) curve->value = values;
        if (!steps || !values) return mem_exhausted(err, "the points of a chart", grown * sizeof *values);
        curve->room = (int64_t)grown;
    }
    curve->step[curve->n] = step;
    curve->value[curve->n++] = x;
    return OPSM_OK;
}

/* ---- drift over iterations --------------------------------------------------------------------------------------- */

static void slot_join(struct report_slot *to, const struct report_slot *from) {
    for (int i = 0; i < DRIFT_BINS; i++) {
        to->drift.negative[i] += from->drift.negative[i];
        to->drift.positive[i] += from->drift.positive[i];
    }
    if (from->delta_low < to->delta_low) to->delta_low = from->delta_low;
    if (from->delta_high > to->delta_high) to->delta_high = from->delta_high;
}

static const struct report_slot EMPTY_SLOT = {.delta_low = INFINITY, .delta_high = -INFINITY};

/* The slot of an iteration; where they run out, neighbours are joined. */
static struct report_slot *slot_of(struct report_run *run, int64_t iteration) {
    while (iteration / run->slot_width >= REPORT_SLOTS) {
        for (int i = 0; i < REPORT_SLOTS; i++) {
            struct report_slot joined = run->slots[i];
            run->slots[i] = EMPTY_SLOT;
            slot_join(&run->slots[i / 2], &joined);
        }
        run->slot_width *= 2;
        run->n_slots = (run->n_slots + 1) / 2;
    }
    int i = (int)(iteration / run->slot_width);
    if (i >= run->n_slots) run->n_slots = i + 1;
    return &run->slots[i];
}

/* Counts are whole numbers that cannot overflow a sum of them. */
static void add_counts(int64_t *sum, const json_t *counts) {
    if (json_array_size(counts) != DRIFT_BINS) return;
    for (int i = 0; i < DRIFT_BINS; i++) {
        json_int_t n = json_integer_value(json_array_get(counts, (size_t)i));
        if (n > 0 && n < STEP_LIMIT && sum[i] < STEP_LIMIT) sum[i] += n;
    }
}

static void add_drift(struct report_run *run, const json_t *row, int64_t iteration) {
    struct report_slot one = EMPTY_SLOT;
    add_counts(one.drift.negative, json_object_get(row, "drift_negative_histogram"));
    add_counts(one.drift.positive, json_object_get(row, "drift_positive_histogram"));
    const json_t *delta = json_object_get(row, "delta");
    if (json_is_number(delta)) one.delta_low = one.delta_high = json_number_value(delta);
    slot_join(slot_of(run, iteration), &one);
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

static int64_t whole_number(const json_t *row, const char *key) {
    const json_t *value = json_object_get(row, key);
    json_int_t n = json_integer_value(value);
    return json_is_integer(value) && n >= 0 && n < STEP_LIMIT ? n : -1;
}

/* A step without signal was not taken: the 0 of its record is neither a learning rate nor a share. */
static bool says_nothing(const json_t *row, enum report_curve_id curve) {
    const char *outcome = json_string_value(json_object_get(row, "outcome"));
    return (curve == CURVE_LR || curve == CURVE_DROPPED) && outcome && strcmp(outcome, "nothing") == 0;
}

static opsm_status add_step(struct report_run *run, const json_t *row, int64_t step, opsm_error *err) {
    static const struct {
        enum report_curve_id curve;
        const char *key;
    } columns[] = {{CURVE_DRIFT_NEGATIVE, "drift_negative_mean"},
                   {CURVE_DRIFT_POSITIVE, "drift_positive_mean"},
                   {CURVE_DELTA, "delta"},
                   {CURVE_DROPPED, "dropped"},
                   {CURVE_ENTROPY, "entropy"},
                   {CURVE_GRAD_NORM, "grad_norm"},
                   {CURVE_ESS, "ess"},
                   {CURVE_LR, "lr"},
                   {CURVE_TRUST, "trust"}};
    opsm_status status = OPSM_OK;
    for (size_t i = 0; status == OPSM_OK && i < sizeof columns / sizeof *columns; i++) {
        if (says_nothing(row, columns[i].curve)) continue;
        status = curve_add(&run->curves[columns[i].curve], step, json_object_get(row, columns[i].key), err);
    }
    if (step + 1 > run->steps) run->steps = step + 1;
    return status;
}

/* "rewards": {"numeric": 0.5, ..}: a curve of its own for each name, as many as there is room for. */
static opsm_status add_verifiers(struct report_run *run, const json_t *row, int64_t step, opsm_error *err) {
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(row, "rewards"), name, value) {
        int k = 0;
        while (k < run->n_verifiers && strcmp(run->verifiers[k].name, name) != 0) k++;
        if (k == REPORT_VERIFIERS_MAX || !json_is_number(value)) continue;
        if (k == run->n_verifiers) {
            run->verifiers[k].name = mem_strdup(name);
            if (!run->verifiers[k].name) return mem_exhausted(err, "a verifier's name", strlen(name));
            run->n_verifiers++;
        }
        opsm_status status = curve_add(&run->verifiers[k].curve, step, value, err);
        if (status != OPSM_OK) return status;
    }
    return OPSM_OK;
}

/* `step` counts the optimiser steps done. An iteration begins with rollouts of the weights before its first one. */
static opsm_status add_iteration(struct report_run *run, const json_t *row, int64_t step, opsm_error *err) {
    int64_t iteration = whole_number(row, "iteration");
    int64_t begin = run->iterations ? run->steps_at_iteration : 0;
    if (iteration < 0) return OPSM_OK;
    if (step > begin && step - begin > run->round) run->round = step - begin;
    opsm_status status = curve_add(&run->curves[CURVE_REWARD], begin, json_object_get(row, "reward_mean"), err);
    if (status == OPSM_OK)
        status = curve_add(&run->curves[CURVE_LENGTH], begin, json_object_get(row, "length_mean"), err);
    if (status == OPSM_OK)
        status = curve_add(&run->curves[CURVE_FINISHED], begin, json_object_get(row, "finished"), err);
    if (status == OPSM_OK) status = add_verifiers(run, row, begin, err);
    report_facts_iteration(&run->facts, row);
    const json_t *loss = json_object_get(row, "loss"); /* supervised training, which has no lines of steps */
    if (status == OPSM_OK) status = curve_add(&run->curves[CURVE_LOSS], begin, loss, err);
    if (status == OPSM_OK && loss)
        status = curve_add(&run->curves[CURVE_GRAD_NORM], begin, json_object_get(row, "grad_norm"), err);
    add_drift(run, row, iteration);
    run->iterations++;
    run->steps_at_iteration = step;
    if (step > run->steps) run->steps = step;
    return status;
}

static opsm_status add_eval(struct report_run *run, const json_t *row, int64_t step, opsm_error *err) {
    report_facts_eval(&run->facts, row, step);
    static const struct {
        enum report_curve_id curve;
        const char *key;
    } columns[] = {{CURVE_ACCURACY, "accuracy"},
                   {CURVE_ACCURACY_LOW, "accuracy_low"},
                   {CURVE_ACCURACY_HIGH, "accuracy_high"},
                   {CURVE_PASS_AT_K, "pass_at_k"}};
    opsm_status status = OPSM_OK;
    for (size_t i = 0; status == OPSM_OK && i < sizeof columns / sizeof *columns; i++)
        status = curve_add(&run->curves[columns[i].curve], step, json_object_get(row, columns[i].key), err);
    return status;
}

static opsm_status add_row(struct report_run *run, const json_t *row, opsm_error *err) {
    const char *kind = json_string_value(json_object_get(row, "kind"));
    int64_t step = whole_number(row, "step");
    if (!kind || step < 0) return OPSM_OK;
    if (!strcmp(kind, "step")) return add_step(run, row, step, err);
    if (!strcmp(kind, "iteration")) return add_iteration(run, row, step, err);
    return strcmp(kind, "eval") == 0 ? add_eval(run, row, step, err) : OPSM_OK;
}

/* Lines that cannot be read are skipped; the page says how many, and why the first. */
static opsm_status read_lines(struct report *report, struct report_run *run, struct jsonl *lines, opsm_error *err) {
    opsm_error first = {0};
    int64_t faulty = 0, line = -1;
    opsm_status status = OPSM_OK;
    for (;;) {
        json_t *row;
        opsm_error problem = {0};
        status = jsonl_next(lines, &row, &problem);
        if (status == OPSM_OK && !row) break;
        if (status == OPSM_OK) {
            status = add_row(run, row, err);
            json_decref(row);
            if (status != OPSM_OK) return status;
            continue;
        }
        if (status != OPSM_FORMAT) {
            if (err) *err = problem;
            return status;
        }
        if (jsonl_line(lines) == line) break; /* it cannot go on */
        line = jsonl_line(lines);
        if (faulty++ == 0) first = problem;
    }
    if (faulty == 1) report_note(report, "One line was skipped: %s", first.text);
    if (faulty > 1) report_note(report, "%lld lines were skipped; the first: %s", (long long)faulty, first.text);
    return OPSM_OK;
}

static opsm_status read_metrics(struct report *report, struct report_run *run, opsm_error *err) {
    char *path = file_join(run->path, "metrics.jsonl");
    if (!path) return mem_exhausted(err, "a file name", strlen(run->path));
    bool there;
    opsm_status status = file_find(path, &there, err);
    if (status == OPSM_OK && there) {
        struct jsonl *lines;
        status = jsonl_open(&lines, path, LINE_LIMIT, err);
        if (status == OPSM_OK) status = read_lines(report, run, lines, err);
        if (status == OPSM_OK || lines) jsonl_close(lines);
    }
    mem_free(path);
    return status;
}

void report_run_free(struct report_run *run) {
    mem_free(run->path);
    for (int i = 0; i < CURVE_COUNT; i++) curve_free(&run->curves[i]);
    for (int i = 0; i < run->n_verifiers; i++) {
        mem_free(run->verifiers[i].name);
        curve_free(&run->verifiers[i].curve);
    }
    for (int i = 0; i < run->n_keys; i++) {
        mem_free(run->keys[i].path);
        mem_free(run->keys[i].value);
    }
    mem_free(run->keys);
    *run = (struct report_run){0};
}

static bool is_empty(const struct report_run *run) {
    for (int i = 0; i < CURVE_COUNT; i++)
        if (run->curves[i].n) return false;
    return true;
}

opsm_status report_add_run(struct report *report, struct report_run **runs, int *n, const char *path, bool *found,
                           opsm_error *err) {
    *found = false;
    struct report_run run = {.path = mem_strdup(path), .slot_width = 1};
    if (!run.path) return mem_exhausted(err, "a file name", strlen(path));
    for (int i = 0; i < REPORT_SLOTS; i++) run.slots[i] = EMPTY_SLOT;
    report_facts_start(&run.facts);
    opsm_status status = read_metrics(report, &run, err);
    if (status == OPSM_OK && is_empty(&run)) {
        report_note(report, "%s: no optimiser step and no iteration in metrics.jsonl, nothing to draw.", path);
        report_run_free(&run);
        return OPSM_OK;
    }
    if (status == OPSM_OK && run.iterations == 0) report_note(report, "%s: no iteration is complete yet.", path);
    if (status == OPSM_OK) status = report_read_keys(report, &run, err);
    struct report_run *grown = NULL;
    if (status == OPSM_OK) {
        grown = mem_resize(*runs, (size_t)*n, (size_t)*n + 1, sizeof **runs);
        if (!grown) status = mem_exhausted(err, "a run", sizeof run);
    }
    if (status != OPSM_OK) {
        report_run_free(&run);
        return status;
    }
    grown[(*n)++] = run;
    *runs = grown;
    *found = true;
    return OPSM_OK;
}
