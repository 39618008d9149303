/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/result.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CELL = 80 };

enum heading { NAME, FINAL, RANGE, BEST, WORST, COLLAPSED, DROPPED, DRIFT_NEGATIVE, DRIFT_POSITIVE, COLUMNS };

typedef char table_row[COLUMNS][CELL];

static void put_level(char *cell, double value) {
    if (isfinite(value)) snprintf(cell, CELL, "%.3f", value);
}

static void put_share(char *cell, double value) {
    if (isfinite(value)) snprintf(cell, CELL, "%.0f%%", 100 * value);
}

/* Four significant digits at most: drifts span from 1e-4 to thousands. */
static void put_drift(char *cell, double value) {
    if (isfinite(value)) snprintf(cell, CELL, fabs(value) < 10 ? "%+.4f" : "%+.4g", value);
}

static void fill(const struct lab *lab, const struct lab_arm *arm, table_row row) {
    for (int c = 0; c < COLUMNS; c++) strcpy(row[c], "-");
    snprintf(row[NAME], CELL, "%s", arm->name);
    put_level(row[FINAL], arm->final.estimate);
    if (arm->done >= 2) snprintf(row[RANGE], CELL, "[%.3f, %.3f]", arm->final.low, arm->final.high);
    put_level(row[BEST], arm->best);
    put_level(row[WORST], arm->worst);
    if (arm->done > 0) snprintf(row[COLLAPSED], CELL, "%d of %d", arm->collapsed, arm->done);
    if (arm->failed > 0)
        snprintf(row[COLLAPSED], CELL, "%d of %d, %d failed", arm->collapsed, lab->n_seeds, arm->failed);
    put_share(row[DROPPED], arm->dropped_negatives);
    put_drift(row[DRIFT_NEGATIVE], arm->drift_negative);
    put_drift(row[DRIFT_POSITIVE], arm->drift_positive);
}

static void widen(size_t widths[COLUMNS], table_row row) {
    for (int c = 0; c < COLUMNS; c++)
        if (strlen(row[c]) > widths[c]) widths[c] = strlen(row[c]);
}

/* The name stands on the left, numbers on the right. */
static void print(struct text *out, const size_t widths[COLUMNS], table_row row) {
    text_printf(out, "%-*s", (int)widths[NAME], row[NAME]);
    for (int c = NAME + 1; c < COLUMNS; c++) text_printf(out, "  %*s", (int)widths[c], row[c]);
    text_puts(out, "\n");
}

void lab_table(const struct lab *lab, struct text *out) {
    table_row row = {"arm",       "final",        "95% interval", "best",      "worst",
                     "collapsed", "neg. dropped", "drift neg.",   "drift pos."};
    table_row cells;
    size_t widths[COLUMNS] = {0};
    widen(widths, row);
    for (int32_t a = 0; a < lab->n_arms; a++) {
        fill(lab, &lab->arms[a], cells);
        widen(widths, cells);
    }
    print(out, widths, row);
    for (int32_t a = 0; a < lab->n_arms; a++) {
        fill(lab, &lab->arms[a], cells);
        print(out, widths, cells);
    }
}
