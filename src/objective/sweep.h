/* SPDX-License-Identifier: Apache-2.0
 *
 * The two passes over a sequence that every configuration in common use takes, each one sweep over the arrays: the
 * drift's statistics, and loss with gradient for one advantage per sequence. Built for several instruction sets that
 * give the same bits: those of the block loops (block.h), which do everything else.
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

/* With r clamped to bottom..top: clipped is -t a and -[t = r] t a (ppo; is without bounds), weighted -t a c and -t a
 * (tis, cispo), reinforce -a c and -a. */
enum sweep_kind { SWEEP_NOTHING, SWEEP_CLIPPED, SWEEP_WEIGHTED, SWEEP_REINFORCE, SWEEP_KINDS };
enum sweep_penalty { SWEEP_FREE, SWEEP_K3, SWEEP_UNBIASED, SWEEP_PENALTIES };

/* The bits of a float's absolute value order as the values do; a NaN counts as larger than infinity. Integers let every
 * compiler vectorise their maximum. */
enum { FLOAT_INFINITE = 0x7f800000 };
static inline int32_t float_magnitude(float x) {
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits & INT32_MAX;
}

/* What the tokens share. */
struct sweep {
    double a, bottom, top;
    double weight, beta_weight; /* of the slopes of surrogate and penalty in the gradient */
};

/* Sums over tokens: surrogate, KL; the largest |gradient as stored|, by its bits; tokens beyond the bounds. */
struct swept {
    double s, k;
    int32_t largest; /* 0: none; at least FLOAT_INFINITE: not finite */
    int64_t low, high;
};

/* n tokens of c, f (read with a penalty) and r (not read by reinforce alone or with k3) to the gradient in `out`. */
typedef struct swept sweep_loss(int n, const float *c, const float *f, const double *r, const struct sweep *shared,
                                float *out);

/* One instruction set. */
struct sweeps {
    const char *name;
    struct measured (*measure)(int n, const float *c, const float *b, double *r); /* writes r = exp(c - b) */
    struct scanned (*scan)(int n, const float *values);
    void (*exp)(int n, const double *x, double *y);
    sweep_loss *loss[SWEEP_KINDS][SWEEP_PENALTIES]; /* NULL where there is nothing to do */
};

/* The widest one that this processor has. */
const struct sweeps *sweeps_best(void);

/* Each one that this processor has, narrowest first; NULL from the first `index` on that it has not. */
const struct sweeps *sweeps_at(int index);

#endif
