/* SPDX-License-Identifier: Apache-2.0
 *
 * Heapsort: in place, no allocation (the C library's qsort may allocate), n log n for every input.
 */
#include "objective/parts.h"

static void sift_double(double *x, int64_t at, int64_t n) {
    double value = x[at];
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && x[child + 1] > x[child]) child++;
        if (!(x[child] > value)) break;
        x[at] = x[child];
    }
    x[at] = value;
}

void sort_doubles(double *x, int64_t n) {
    for (int64_t at = n / 2; at-- > 0;) sift_double(x, at, n);
    for (int64_t last = n - 1; last > 0; last--) {
        double top = x[0];
        x[0] = x[last];
        x[last] = top;
        sift_double(x, 0, last);
    }
}

static bool member_after(const struct member *a, const struct member *b) {
    if (a->group != b->group) return a->group > b->group;
    if (a->value != b->value) return a->value > b->value;
    return a->index > b->index;
}

static void sift_member(struct member *x, int64_t at, int64_t n) {
    struct member value = x[at];
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && member_after(&x[child + 1], &x[child])) child++;
        if (!member_after(&x[child], &value)) break;
        x[at] = x[child];
    }
    x[at] = value;
}

void sort_members(struct member *x, int64_t n) {
    for (int64_t at = n / 2; at-- > 0;) sift_member(x, at, n);
    for (int64_t last = n - 1; last > 0; last--) {
        struct member top = x[0];
        x[0] = x[last];
        x[last] = top;
        sift_member(x, 0, last);
    }
}

double opsm_quantile(const double *x, int64_t n, double q) {
    double at = q * (double)(n - 1);
    int64_t low = (int64_t)at;
    if (low >= n - 1) return x[n - 1];
    double share = at - (double)low;
    return x[low] + share * (x[low + 1] - x[low]);
}
