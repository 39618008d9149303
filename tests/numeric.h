/* SPDX-License-Identifier: Apache-2.0
 *
 * Helpers of the kernel tests: reproducible random arrays, comparisons, and one run per thread count.
 */
#ifndef OPSM_TESTS_NUMERIC_H
#define OPSM_TESTS_NUMERIC_H
#include "base/mem.h"
#include "base/rng.h"
#include "base/threads.h"
#include "check.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* n normal numbers times `scale`; release with mem_free. */
static inline float *random_floats(uint32_t seed, int64_t n, float scale) {
    float *x = mem_alloc((size_t)n, sizeof *x);
    struct rng r = rng_make(seed, RNG_TEST, 0, 0, 0);
    for (int64_t i = 0; i < n; i++) x[i] = scale * (float)rng_normal(&r);
    return x;
}

static inline float *copy_floats(const float *x, int64_t n) {
    float *y = mem_alloc((size_t)n, sizeof *y);
    if (n > 0) memcpy(y, x, (size_t)n * sizeof *y);
    return y;
}

static inline float *zero_floats(int64_t n) {
    return mem_zalloc((size_t)n, sizeof(float));
}

/* |a - b| <= tolerance * (1 + |b|) for every element; NaN fails. */
static inline void assert_close(const float *a, const double *b, int64_t n, double tolerance) {
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)a[i] - b[i]) <= tolerance * (1.0 + fabs(b[i])))) {
            print_error("element %lld of %lld is %.9g, expected %.9g\n", (long long)i, (long long)n, (double)a[i],
                        b[i]);
            fail();
        }
}

static inline void assert_same_bits(const void *a, const void *b, size_t bytes) {
    const unsigned char *p = a, *q = b;
    for (size_t i = 0; i < bytes; i++)
        if (p[i] != q[i]) {
            print_error("byte %zu of %zu differs\n", i, bytes);
            fail();
        }
}

/* Slope of f at x[i] by central differences: `loss` in double over f32 kernels, so the step is large for a derivative
 * (the cube root of the f32 rounding error). */
static inline double slope(double (*loss)(void *), void *context, float *x, float step) {
    const float old = *x;
    volatile float up = old + step, down = old - step;
    *x = up;
    double high = loss(context);
    *x = down;
    double low = loss(context);
    *x = old;
    return (high - low) / ((double)up - (double)down);
}

/* relative error <= 1e-3 against the size of the whole gradient's entries */
static inline void assert_gradient(double analytic, double numeric, double size) {
    double bound = 1e-3 * (fabs(numeric) > size ? fabs(numeric) : size);
    if (!(fabs(analytic - numeric) <= bound)) {
        print_error("gradient %.9g, by differences %.9g (size %.3g)\n", analytic, numeric, size);
        fail();
    }
}

#endif
