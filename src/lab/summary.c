/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/mem.h"
#include "lab/curve.h"
#include "lab/result.h"
#include "train/diagnosis.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

int32_t lab_final_rounds(const struct lab *lab) {
    return curve_share(lab->final_share, lab->rounds);
}

char *lab_directory(const struct lab *lab, const struct lab_arm *arm, const struct lab_seed *seed) {
    char name[LAB_NAME_MAX + 32];
    snprintf(name, sizeof name, "%s/seed-%" PRIu64, arm->name, seed->seed);
    return file_join(lab->base.output, name);
}

/* Adds what is a number; *n counts. */
static void add(double *sum, int32_t *n, double value) {
    if (!isfinite(value)) return;
    *sum += value;
    *n += 1;
}

static double mean(double sum, int32_t n) {
    return n > 0 ? sum / n : (double)NAN;
}

static void summarise(const struct lab *lab, struct lab_arm *arm) {
    double finals[LAB_SEEDS_MAX], sums[7] = {0};
    int32_t counts[7] = {0};
    arm->done = arm->collapsed = arm->failed = 0;
    for (int32_t i = 0; i < lab->n_seeds; i++) {
        const struct lab_seed *seed = &arm->seeds[i];
        arm->failed += seed->status == LAB_FAILED;
        arm->collapsed += seed->collapsed;
        if (seed->status != LAB_DONE) continue;
        finals[arm->done++] = seed->final;
        const double values[7] = {seed->best,
                                  seed->worst,
                                  seed->best > 0 ? seed->final / seed->best : NAN,
                                  seed->dropped,
                                  seed->dropped_negatives,
                                  seed->drift_negative,
                                  seed->drift_positive};
        for (int k = 0; k < 7; k++) add(&sums[k], &counts[k], values[k]);
    }
    double *const slots[7] = {
        &arm->best,           &arm->worst,         &arm->held, &arm->dropped, &arm->dropped_negatives,
        &arm->drift_negative, &arm->drift_positive};
    for (int k = 0; k < 7; k++) *slots[k] = mean(sums[k], counts[k]);
    arm->final = interval_mean(finals, arm->done);
}

void lab_summarise(struct lab *lab) {
    for (int32_t a = 0; a < lab->n_arms; a++) summarise(lab, &lab->arms[a]);
}

struct interval lab_difference(const struct lab *lab, int32_t arm, int32_t other, int32_t *pairs) {
    double differences[LAB_SEEDS_MAX];
    *pairs = 0;
    for (int32_t i = 0; i < lab->n_seeds; i++) {
        const struct lab_seed *a = &lab->arms[arm].seeds[i], *b = &lab->arms[other].seeds[i];
        if (a->status == LAB_DONE && b->status == LAB_DONE) differences[(*pairs)++] = a->final - b->final;
    }
    return interval_mean(differences, *pairs);
}

bool lab_expectations_met(const struct lab *lab, opsm_error *err) {
    for (int32_t a = 0; a < lab->n_arms; a++) {
        const struct lab_arm *arm = &lab->arms[a];
        const struct lab_expect *e = &arm->expect;
        const char *side = "";
        double bound = NAN;
        if (!isnan(e->held_below) && !(arm->done == lab->n_seeds && arm->held < e->held_below)) {
            side = "below";
            bound = e->held_below;
        }
        if (!isnan(e->held_above) && !(arm->done == lab->n_seeds && arm->held > e->held_above)) {
            side = "above";
            bound = e->held_above;
        }
        if (isnan(bound)) continue;
        opsm_fail(
            err, OPSM_INTERNAL,
            "arm %s was expected to end %s %g of its best round (mean over %d seeds): found %.3f over the %d that "
            "are done",
            arm->name, side, bound, lab->n_seeds, arm->held, arm->done);
        return false;
    }
    return true;
}
