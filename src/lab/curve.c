/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/curve.h"
#include "base/file.h"
#include "base/mem.h"
#include "io/jsonl.h"
#include "io/tensor_source.h"
#include "train/diagnosis.h"
#include <math.h>
#include <string.h>

struct lab_measures lab_curve_measure(const double *curve, int32_t rounds, int32_t final_rounds,
                                      const struct lab_collapse *collapse) {
    struct lab_measures m = {.best = -INFINITY, .worst = INFINITY};
    for (int32_t r = 0; r < rounds; r++) {
        if (curve[r] > m.best) m.best = curve[r];
        if (r >= rounds - final_rounds) m.final += curve[r] / final_rounds;
        if (r >= rounds / 3 && !(curve[r] >= m.worst)) m.worst = curve[r];
    }
    m.collapsed = curve_collapsed(curve, rounds, collapse->below, collapse->window);
    return m;
}

/* ---- metrics.jsonl ----------------------------------------------------------------------------------------------- */

/* A mean of what is finite. */
struct mean {
    double sum, n;
};

static void mean_add(struct mean *mean, const json_t *value) {
    if (!json_is_number(value)) return;
    mean->sum += json_number_value(value);
    mean->n += 1;
}

static double mean_of(const struct mean *mean) {
    return mean->n > 0 ? mean->sum / mean->n : NAN;
}

struct reading {
    struct lab_seed *seed;
    int32_t steps_per_iteration, steps_per_round, rounds;
    int64_t iterations;
    struct mean *curve; /* [rounds] */
    struct mean dropped, dropped_negatives, drift_negative, drift_positive, entropy;
};

static void read_step(struct reading *r, const json_t *row) {
    if (json_integer_value(json_object_get(row, "step")) / r->steps_per_round < r->rounds / 2) return;
    mean_add(&r->dropped, json_object_get(row, "dropped"));
    mean_add(&r->dropped_negatives, json_object_get(row, "dropped_negatives"));
    mean_add(&r->drift_negative, json_object_get(row, "drift_negative_mean"));
    mean_add(&r->drift_positive, json_object_get(row, "drift_positive_mean"));
    mean_add(&r->entropy, json_object_get(row, "entropy"));
}

static void read_iteration(struct reading *r, const json_t *row) {
    int64_t iteration = json_integer_value(json_object_get(row, "iteration"));
    int64_t expected = (int64_t)r->rounds * r->steps_per_round / r->steps_per_iteration;
    if (iteration >= 0 && iteration < expected)
        mean_add(&r->curve[iteration * r->steps_per_iteration / r->steps_per_round],
                 json_object_get(row, "reward_mean"));
    r->iterations++;
    r->seed->steps = json_integer_value(json_object_get(row, "step"));
    double skipped = json_number_value(json_object_get(row, "steps_skipped"));
    if (skipped >= 0 && skipped <= r->steps_per_iteration) r->seed->skipped += (int64_t)skipped;
    const char *phase;
    json_t *value;
    json_object_foreach(json_object_get(row, "seconds"), phase, value) r->seed->seconds += json_number_value(value);
}

static double number_or_nan(const json_t *value) {
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void read_row(struct reading *r, const json_t *row) {
    const char *kind = json_string_value(json_object_get(row, "kind"));
    if (!kind) return;
    if (!strcmp(kind, "step")) read_step(r, row);
    if (!strcmp(kind, "iteration")) read_iteration(r, row);
    if (strcmp(kind, "eval") != 0) return;
    r->seed->accuracy = number_or_nan(json_object_get(row, "accuracy"));
    r->seed->pass_at_k = number_or_nan(json_object_get(row, "pass_at_k"));
}

/* A line that is no object ends the reading: a process that was killed may leave a torn one. */
static opsm_status read_rows(struct reading *r, const char *path, opsm_error *err) {
    struct jsonl *lines;
    opsm_status status = jsonl_open(&lines, path, JSONL_LINE_DEFAULT, err);
    if (status != OPSM_OK) return status;
    json_t *row;
    while ((status = jsonl_next(lines, &row, err)) == OPSM_OK && row) {
        read_row(r, row);
        json_decref(row);
    }
    jsonl_close(lines);
    return status == OPSM_FORMAT ? OPSM_OK : status;
}

/* The curve ends at the first round without a value. */
static opsm_status keep_curve(const struct reading *r, opsm_error *err) {
    struct lab_seed *seed = r->seed;
    mem_free(seed->curve);
    seed->n_curve = 0;
    seed->curve = mem_alloc((size_t)r->rounds, sizeof *seed->curve);
    if (!seed->curve) return mem_exhausted(err, "a curve", (size_t)r->rounds * sizeof *seed->curve);
    while (seed->n_curve < r->rounds && r->curve[seed->n_curve].n > 0) {
        seed->curve[seed->n_curve] = mean_of(&r->curve[seed->n_curve]);
        seed->n_curve++;
    }
    seed->dropped = mean_of(&r->dropped);
    seed->dropped_negatives = mean_of(&r->dropped_negatives);
    seed->drift_negative = mean_of(&r->drift_negative);
    seed->drift_positive = mean_of(&r->drift_positive);
    seed->entropy = mean_of(&r->entropy);
    return OPSM_OK;
}

opsm_status lab_read_metrics(struct lab_seed *seed, const char *directory, int32_t steps_per_iteration,
                             int32_t steps_per_round, int32_t rounds, int64_t *iterations, opsm_error *err) {
    struct reading r = {
        .seed = seed, .steps_per_iteration = steps_per_iteration, .steps_per_round = steps_per_round, .rounds = rounds};
    seed->accuracy = seed->pass_at_k = NAN;
    seed->steps = seed->skipped = 0;
    seed->seconds = 0;
    *iterations = 0;
    char *path = file_join(directory, "metrics.jsonl");
    r.curve = mem_zalloc((size_t)rounds, sizeof *r.curve);
    opsm_status status = path && r.curve ? OPSM_OK : mem_exhausted(err, "a curve", (size_t)rounds * sizeof *r.curve);
    bool there = false;
    if (status == OPSM_OK) status = file_find(path, &there, err);
    if (status == OPSM_OK && there) status = read_rows(&r, path, err);
    if (status == OPSM_OK) status = keep_curve(&r, err);
    *iterations = r.iterations;
    mem_free(r.curve);
    mem_free(path);
    return status;
}

/* ---- weights ----------------------------------------------------------------------------------------------------- */

static opsm_status tensor_finite(const struct tensor_source *source, const struct tensor_info *tensor, bool *finite,
                                 opsm_error *err) {
    enum { CHUNK = 1 << 14 }; /* a multiple of every format's block */
    float *values = mem_alloc(CHUNK, sizeof *values);
    opsm_status status = values ? OPSM_OK : mem_exhausted(err, "weights", CHUNK * sizeof *values);
    for (int64_t i = 0; status == OPSM_OK && *finite && i < tensor->n_elements; i += CHUNK) {
        int64_t n = tensor->n_elements - i < CHUNK ? tensor->n_elements - i : CHUNK;
        status = tensor_source_read(source, tensor, i, n, values, err);
        for (int64_t k = 0; status == OPSM_OK && k < n; k++) *finite &= isfinite(values[k]) != 0;
    }
    mem_free(values);
    return status;
}

opsm_status lab_weights_finite(const char *path, bool *finite, opsm_error *err) {
    struct tensor_source *source;
    opsm_status status = tensor_source_open(&source, path, err);
    if (status != OPSM_OK) return status;
    *finite = true;
    for (int64_t i = 0; status == OPSM_OK && i < source->n_tensors; i++)
        status = tensor_finite(source, &source->tensors[i], finite, err);
    tensor_source_close(source);
    return status;
}
