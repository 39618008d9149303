/* SPDX-License-Identifier: Apache-2.0
 *
 * How sure a measured rate is: intervals for accuracies, pass@k and means over seeds. All two-sided at 95%.
 */
#ifndef OPSM_TRAIN_INTERVAL_H
#define OPSM_TRAIN_INTERVAL_H
#include <stdint.h>

struct interval {
    double estimate, low, high;
};

/* `successes` of `trials` independent trials (Wilson, JASA 1927): stays inside [0, 1] and is not degenerate at 0 or
 * all. No trials: estimate NaN, interval [0, 1]. */
struct interval interval_rate(int64_t successes, int64_t trials);

/* The chance that at least one of k samples, drawn from the n that were taken without replacement, is among the c right
 * ones: 1 - C(n-c, k) / C(n, k), the unbiased estimator of pass@k (Chen et al., arXiv 2107.03374). 0 <= c <= n, k >= 1;
 * NaN where k > n. */
double pass_at_k(int64_t n, int64_t c, int64_t k);

/* pass@k over problems: problem i has right[i] of its taken[i] samples right (NULL: of `samples`); those of which fewer
 * than k were taken do not count. The estimate is the mean of pass_at_k over the n others; samples of one problem are not independent, so the interval is Wilson's at the effective number of trials
 * p(1-p) / (s^2/n), where s^2 is the variance between problems: the design-adjusted interval of survey statistics
 * (Dean and Pagano, J. Survey Stat. Method. 2015). It is at most all samples, and n where the rate is 0 or 1. With one
 * sample per problem it is interval_rate with n - 1 trials. */
struct interval interval_pass_at_k(const int64_t *right, const int64_t *taken, int64_t problems, int64_t samples,
                                   int64_t k);

/* The mean of n values with Student's t interval: for means over seeds. n = 1: the interval is infinite. n = 0: NaN. */
struct interval interval_mean(const double *values, int64_t n);

/* The 97.5% quantile of Student's t distribution; relative error below 2e-4. */
double student_t975(int64_t degrees);

#endif
