/* SPDX-License-Identifier: Apache-2.0 */
#include "train/interval.h"
#include <math.h>

static const double Z975 = 1.959963984540054; /* 97.5% quantile of the normal distribution */

/* Wilson's score interval for a rate p seen in n trials; n need not be whole. */
static struct interval wilson(double p, double n) {
    double z2 = Z975 * Z975;
    double centre = (p + z2 / (2 * n)) / (1 + z2 / n);
    double half = Z975 / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n));
    return (struct interval){p, fmax(centre - half, 0), fmin(centre + half, 1)};
}

struct interval interval_rate(int64_t successes, int64_t trials) {
    if (trials <= 0) return (struct interval){NAN, 0, 1};
    return wilson((double)successes / (double)trials, (double)trials);
}

double pass_at_k(int64_t n, int64_t c, int64_t k) {
    if (k < 1 || k > n || c < 0 || c > n) return NAN;
    if (n - c < k) return 1;
    double miss = 1; /* the product form needs no large binomials */
    for (int64_t i = n - c + 1; i <= n; i++) miss *= 1 - (double)k / (double)i;
    return 1 - miss;
}

struct interval interval_pass_at_k(const int64_t *right, const int64_t *taken, int64_t problems, int64_t samples,
                                   int64_t k) {
    double n = 0, sum = 0, squares = 0, all = 0;
    for (int64_t i = 0; i < problems; i++) {
        int64_t of = taken ? taken[i] : samples;
        if (of < k) continue;
        sum += pass_at_k(of, right[i], k);
        all += (double)of;
        n++;
    }
    double p = sum / n;
    for (int64_t i = 0; i < problems; i++) {
        int64_t of = taken ? taken[i] : samples;
        double d = of < k ? 0 : pass_at_k(of, right[i], k) - p;
        squares += d * d;
    }
    if (!isfinite(p)) return (struct interval){NAN, 0, 1};
    if (!(p > 0 && p < 1) || n == 1) return wilson(p, n);
    double variance = squares / (n - 1);
    return wilson(p, fmin(p * (1 - p) * n / variance, all));
}

/* Exact values up to 30, beyond them the Cornish-Fisher expansion in 1/degrees (Abramowitz and Stegun 26.7.5). */
double student_t975(int64_t degrees) {
    static const double exact[31] = {
        INFINITY,   12.70620474, 4.30265273, 3.18244631, 2.77644511, 2.57058184, 2.44691185, 2.36462425,
        2.30600414, 2.26215716,  2.22813885, 2.20098516, 2.17881283, 2.16036866, 2.14478669, 2.13144955,
        2.11990530, 2.10981558,  2.10092204, 2.09302405, 2.08596345, 2.07961384, 2.07387307, 2.06865761,
        2.06389856, 2.05953855,  2.05552944, 2.05183052, 2.04840714, 2.04522964, 2.04227246};
    if (degrees < 1) return INFINITY;
    if (degrees <= 30) return exact[degrees];
    double z = Z975, z3 = z * z * z, z5 = z3 * z * z, v = (double)degrees;
    return z + (z3 + z) / (4 * v) + (5 * z5 + 16 * z3 + 3 * z) / (96 * v * v);
}

struct interval interval_mean(const double *values, int64_t n) {
    if (n <= 0) return (struct interval){NAN, -INFINITY, INFINITY};
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) sum += values[i];
    double mean = sum / (double)n;
    if (n == 1) return (struct interval){mean, -INFINITY, INFINITY};
    for (int64_t i = 0; i < n; i++) squares += (values[i] - mean) * (values[i] - mean);
    double half = student_t975(n - 1) * sqrt(squares / (double)(n - 1) / (double)n);
    return (struct interval){mean, mean - half, mean + half};
}
