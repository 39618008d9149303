/* SPDX-License-Identifier: Apache-2.0
 *
 * The drift's statistics in one sweep over the arrays. Built for several instruction sets that give the same bits:
 * those of the block loops (block.h), which do everything else.
 */
#ifndef OPSM_OBJECTIVE_SWEEP_H
#define OPSM_OBJECTIVE_SWEEP_H
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Sums over tokens of c - b and of exp(c - b) - 1 - (c - b); whether some c or b is above 0. */
struct measured {
    double d, k3;
    bool positive;
};

/* The sum of the values; whether some value is above 0. */
struct scanned {
    double sum;
    bool positive;
};

/* One instruction set. */
struct sweeps {
    const char *name;
    struct measured (*measure)(int n, const float *c, const float *b, double *r); /* writes r = exp(c - b) */
    struct scanned (*scan)(int n, const float *values);
    void (*exp)(int n, const double *x, double *y);
};

/* The widest one that this processor has. */
const struct sweeps *sweeps_best(void);

/* Each one that this processor has, narrowest first; NULL from the first `index` on that it has not. */
const struct sweeps *sweeps_at(int index);

#endif
