/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/pair.h"
#include <math.h>
#include <string.h>

static const double STEP = 1e-3; /* drifts nearer to 0 have no sign */
static const double NEAR = 1e-5; /* the same log-prob, computed or written twice */
enum { RATIO_MIDDLE = PAIR_RATIOS / 2 };
static const double RATIO_WIDTH = 0.02;
static const double WEIGHT_CAP = 20; /* so that one token cannot make the mean */
enum { ROW_MIN = 24 };               /* tokens that a row's own correlation needs */

static void add(struct moments *m, double x, double y) {
    m->n++;
    m->x += x;
    m->y += y;
    m->xx += x * x;
    m->yy += y * y;
    m->xy += x * y;
}

static double covariance(double n, double x, double y, double xy) {
    return n > 1 ? (xy - x * y / n) / (n - 1) : 0;
}

double moments_mean(const struct moments *m) {
    return m->n > 0 ? m->x / m->n : 0;
}

double moments_variance(const struct moments *m) {
    return fmax(covariance(m->n, m->x, m->x, m->xx), 0);
}

double moments_difference(const struct moments *m) {
    double x = covariance(m->n, m->x, m->x, m->xx), y = covariance(m->n, m->y, m->y, m->yy);
    return sqrt(fmax(x + y - 2 * covariance(m->n, m->x, m->y, m->xy), 0));
}

double moments_correlation(const struct moments *m) {
    double x = covariance(m->n, m->x, m->x, m->xx), y = covariance(m->n, m->y, m->y, m->yy);
    return x > 0 && y > 0 ? covariance(m->n, m->x, m->y, m->xy) / sqrt(x * y) : 0;
}

double moments_tilt(const struct moments *m) {
    double y = covariance(m->n, m->y, m->y, m->yy), both = covariance(m->n, m->x, m->y, m->xy);
    double difference = moments_difference(m);
    return y > 0 && difference > 0 ? (both - y) / (difference * sqrt(y)) : 0;
}

double moments_slope(const struct moments *m) {
    double x = covariance(m->n, m->x, m->x, m->xx), y = covariance(m->n, m->y, m->y, m->yy);
    return x > 0 && y > 0 ? sqrt(x / y) : 1;
}

double moments_scatter(const struct moments *m) {
    double x = covariance(m->n, m->x, m->x, m->xx), y = covariance(m->n, m->y, m->y, m->yy);
    double both = covariance(m->n, m->x, m->y, m->xy), a = moments_slope(m);
    double difference = x + y - 2 * both, left = x + a * a * y - 2 * a * both;
    return difference > 0 ? fmax(left, 0) / difference : 1;
}

/* By probability under c: likely tokens repeat more often, so that only tokens alike are compared. */
static int stratum(double c) {
    return c > -0.1 ? 0 : c > -0.5 ? 1 : c > -1.5 ? 2 : c > -4 ? 3 : 4;
}

static double log_odds(double logp) {
    return logp - log1p(-exp(logp));
}

static void add_token(struct audit_pair *pair, double b, double c, bool known, bool repeated) {
    double d = b - c;
    pair->tokens++;
    pair->above += d > STEP;
    pair->below += d < -STEP;
    pair->far_above += d > 1;
    pair->far_below += d < -1;
    pair->certain_b += b > -1e-6 && c < -0.005 && c > -1;
    pair->certain_c += c > -1e-6 && b < -0.005 && b > -1;
    add(&pair->values, b, c);
    if (b < -0.5 && c < -0.5) {
        double bin = round(log(b / c) / RATIO_WIDTH) + RATIO_MIDDLE;
        add(&pair->scaled, b, c);
        if (bin >= 0 && bin < PAIR_RATIOS) pair->ratios[(int)bin]++;
    }
    double weight = fmin(exp(-d), WEIGHT_CAP), inverse = fmin(exp(d), WEIGHT_CAP);
    pair->weights += weight;
    pair->weight_squares += weight * weight;
    pair->inverse += inverse;
    pair->inverse_squares += inverse * inverse;
    if (known) add(repeated ? &pair->repeated[stratum(c)] : &pair->fresh[stratum(c)], d, 0);
    bool open = b < -1e-3 && c < -1e-3 && b > -30 && c > -30;
    if (open && !(known && repeated)) add(&pair->odds, log_odds(b), log_odds(c));
}

bool pair_is_proportional(const struct audit_pair *pair, double *k, int64_t *tokens) {
    *tokens = 0;
    int at = RATIO_MIDDLE;
    for (int i = 2; i + 2 < PAIR_RATIOS; i++) {
        int64_t near = 0;
        for (int j = i - 2; j <= i + 2; j++) near += pair->ratios[j];
        if (near <= *tokens) continue;
        *tokens = near;
        at = i;
    }
    *k = pair->scaled.yy > 0 ? pair->scaled.xy / pair->scaled.yy : 1;
    double away = fabs((at - RATIO_MIDDLE) * RATIO_WIDTH);
    if (fabs(moments_tilt(&pair->scaled)) < 0.5) return false; /* an offset */
    return pair->scaled.n >= 32 && (double)*tokens > 0.9 * pair->scaled.n && away > 0.05 && fabs(log(*k)) > 0.05;
}

/* Sums over one row. */
struct row_sums {
    struct moments values;
    double low, high; /* of b - c */
    int64_t far_above, far_below;
    bool equal;
};

static void add_row(struct audit_pair *pair, const struct row_sums *row) {
    const struct moments *m = &row->values;
    if (m->n == 0) return;
    pair->rows++;
    pair->equal_rows += row->equal;
    double largest = fmax(fabs(row->low), fabs(row->high));
    pair->near_rows += largest < NEAR;
    if (m->n >= 4 && largest > 1e-4 && row->high - row->low <= 1e-5 * fmax(largest, 1)) {
        pair->flat_rows++;
        pair->flat_above += row->low > 0;
    }
    double b = covariance(m->n, m->x, m->x, m->xx), c = covariance(m->n, m->y, m->y, m->yy);
    pair->level_rows += m->n >= 4 && fmin(b, c) < 1e-9 && fmax(b, c) > 0.01;
    if (m->n < ROW_MIN || !(b > 0.01 && c > 0.01)) return;
    pair->measured++;
    if (moments_correlation(m) >= 0.3) return;
    pair->unrelated++;
    pair->crossed += (double)row->far_above > 0.08 * m->n && (double)row->far_below > 0.08 * m->n;
}

void audit_pair_add(struct audit_pair *pair, const float *b, const float *c, const uint8_t *mask,
                    const uint8_t *repeated, int64_t n) {
    struct row_sums row = {.low = INFINITY, .high = -INFINITY, .equal = true};
    bool before = false;
    for (int64_t t = 0; t < n; t++) {
        bool use = mask[t] && isfinite(b[t]) && isfinite(c[t]);
        if (use) {
            double d = (double)b[t] - (double)c[t];
            add_token(pair, (double)b[t], (double)c[t], repeated != NULL, repeated && repeated[t]);
            add(&row.values, (double)b[t], (double)c[t]);
            row.equal = row.equal && b[t] == c[t];
            row.low = fmin(row.low, d);
            row.high = fmax(row.high, d);
            row.far_above += d > 1;
            row.far_below += d < -1;
            if (before) {
                add(&pair->ahead, (double)b[t - 1], (double)c[t]);
                add(&pair->behind, (double)b[t], (double)c[t - 1]);
            }
        }
        before = use;
    }
    add_row(pair, &row);
}
