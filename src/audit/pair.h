/* SPDX-License-Identifier: Apache-2.0
 *
 * Two log-probs of the same tokens side by side, as sums over a file: the behaviour log-prob b and another one, c. What
 * is wrong with how they were recorded shows in how they differ.
 *
 * Two facts carry most of it. For any sampler b and any other distribution c over the same tokens, the mean of
 * exp(c - b) is 1: noise and stale weights obey that, a sampler that was cut to its likeliest tokens does not. And a
 * temperature stretches log-odds, while noise and stale weights scatter them.
 */
#ifndef OPSM_AUDIT_PAIR_H
#define OPSM_AUDIT_PAIR_H
#include <stdbool.h>
#include <stdint.h>

struct moments {
    double n, x, y, xx, yy, xy;
};

enum { PAIR_STRATA = 5, PAIR_RATIOS = 161 };

struct audit_pair {
    int64_t rows, equal_rows;     /* with a token to compare; of these, equal bit for bit */
    int64_t near_rows;            /* equal up to the rounding of a float at every token */
    int64_t tokens, above, below; /* b - c more than 0.001 above or below 0 */
    int64_t certain_b, certain_c; /* one of the two says 1 where the other does not */
    int64_t measured, unrelated;  /* rows long enough for a correlation; of these, with next to none */
    int64_t far_above, far_below; /* tokens with b - c above 1, below -1 */
    int64_t crossed;              /* of the unrelated, with tokens that b and c each find far likelier than the other */
    int64_t flat_rows, flat_above; /* rows of one b - c at every token, not 0; of these, with b > c */
    struct moments scaled;         /* b, c of tokens far enough from 0 for their ratio to tell */
    int64_t ratios[PAIR_RATIOS];   /* of these, by log(b / c), 0.02 to a bin, 0 in the middle */
    int64_t level_rows;            /* rows of one log-prob on one side where the other side varies */
    struct moments values;         /* b, c */
    struct moments odds;           /* log-odds of b and c at tokens new to their row */
    struct moments ahead, behind;  /* b against the next c, and the one before */
    double weights, weight_squares, inverse, inverse_squares; /* sums of exp(c - b), exp(b - c), capped */
    struct moments repeated[PAIR_STRATA], fresh[PAIR_STRATA]; /* x = b - c, by how likely the token was under c */
};

/* One row of n tokens; those with mask 0 or a value that is not finite do not count. `repeated` (NULL: unknown) marks
 * tokens that occurred earlier in the row. */
void audit_pair_add(struct audit_pair *pair, const float *b, const float *c, const uint8_t *mask,
                    const uint8_t *repeated, int64_t n);

/* b = k c at nearly every token, with k away from 1: *k, and at how many of how many tokens (pair->scaled.n). */
bool pair_is_proportional(const struct audit_pair *pair, double *k, int64_t *tokens);

double moments_mean(const struct moments *m);       /* of x */
double moments_variance(const struct moments *m);   /* of x */
double moments_difference(const struct moments *m); /* standard deviation of x - y */
double moments_correlation(const struct moments *m);
double moments_tilt(const struct moments *m);  /* correlation of x - y with y */
double moments_slope(const struct moments *m); /* sd of x over sd of y */
/* Of the variance of x - y, the share that is left when y is stretched to the spread of x. */
double moments_scatter(const struct moments *m);

#endif
