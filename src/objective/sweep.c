/* SPDX-License-Identifier: Apache-2.0 */
#include "objective/sweep.h"
#include "objective/block.h"

#ifdef __GNUC__
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define NOT_INLINE    static __attribute__((noinline))
#else
#define ALWAYS_INLINE static inline
#define NOT_INLINE    static
#endif

/* gcc takes loops apart before it looks for vectors in them, and then may miss those. */
#if defined(__GNUC__) && !defined(__clang__)
#define ROLLED _Pragma("GCC unroll 1")
#else
#define ROLLED
#endif

/* Tokens at a time: a whole vector of floats, two of doubles, for the widest set. Loops of this fixed length over local
 * arrays are what compilers turn into registers. */
enum { GROUP = 2 * LANES };

ALWAYS_INLINE void add_lanes(double *lane, const double *x) {
    ROLLED
    for (int j = 0; j < LANES; j++) lane[j] += x[j];
    ROLLED
    for (int j = 0; j < LANES; j++) lane[j] += x[LANES + j];
}

/* As block_sum combines its lanes. Not inlined: the pairing would spoil the loops that fill them. */
NOT_INLINE double fold(const double *lane) {
    double four[4], two[2];
    for (int j = 0; j < 4; j++) four[j] = lane[j] + lane[4 + j];
    for (int j = 0; j < 2; j++) two[j] = four[j] + four[2 + j];
    return two[0] + two[1];
}

ALWAYS_INLINE bool some_positive(const float *top) {
    int any = 0;
    for (int j = 0; j < GROUP; j++) any |= top[j] > 0;
    return any != 0;
}

/* ---- Drift ---- */

struct measure_lanes {
    double d[LANES], k3[LANES];
    float top[GROUP];
};

ALWAYS_INLINE void measure_group(const float *c, const float *b, double *r, struct measure_lanes *lanes) {
    double d[GROUP], k3[GROUP];
    for (int j = 0; j < GROUP; j++) {
        double now = (double)c[j], then = (double)b[j];
        d[j] = now - then;
        r[j] = exp_fixed(d[j]);
        k3[j] = r[j] - 1.0 - d[j];
    }
    ROLLED
    for (int j = 0; j < GROUP; j++) {
        lanes->top[j] = c[j] > lanes->top[j] ? c[j] : lanes->top[j];
        lanes->top[j] = b[j] > lanes->top[j] ? b[j] : lanes->top[j];
    }
    add_lanes(lanes->d, d);
    add_lanes(lanes->k3, k3);
}

/* The rest of a sweep is a group with c = b = 0 after its end, which adds zeros to every sum. */
ALWAYS_INLINE struct measured measure(int n, const float *restrict c, const float *restrict b, double *restrict r) {
    struct measure_lanes lanes = {0};
    int k = 0;
    for (; k + GROUP <= n; k += GROUP) measure_group(c + k, b + k, r + k, &lanes);
    if (k < n) {
        float rest_c[GROUP] = {0}, rest_b[GROUP] = {0};
        double rest_r[GROUP];
        memcpy(rest_c, c + k, (size_t)(n - k) * sizeof *c);
        memcpy(rest_b, b + k, (size_t)(n - k) * sizeof *b);
        measure_group(rest_c, rest_b, rest_r, &lanes);
        memcpy(r + k, rest_r, (size_t)(n - k) * sizeof *r);
    }
    return (struct measured){.d = fold(lanes.d), .k3 = fold(lanes.k3), .positive = some_positive(lanes.top)};
}

ALWAYS_INLINE void scan_group(const float *values, double *sum, float *top) {
    double x[GROUP];
    ROLLED
    for (int j = 0; j < GROUP; j++) {
        x[j] = (double)values[j];
        top[j] = values[j] > top[j] ? values[j] : top[j];
    }
    add_lanes(sum, x);
}

ALWAYS_INLINE struct scanned scan(int n, const float *values) {
    double sum[LANES] = {0};
    float top[GROUP] = {0};
    int k = 0;
    for (; k + GROUP <= n; k += GROUP) scan_group(values + k, sum, top);
    if (k < n) {
        float rest[GROUP] = {0};
        memcpy(rest, values + k, (size_t)(n - k) * sizeof *values);
        scan_group(rest, sum, top);
    }
    return (struct scanned){.sum = fold(sum), .positive = some_positive(top)};
}

ALWAYS_INLINE void exponential(int n, const double *restrict x, double *restrict y) {
    for (int k = 0; k < n; k++) y[k] = exp_fixed(x[k]);
}

/* ---- Instruction sets ---- */

#define SWEEPS(isa, target)                                                                                            \
    target static struct measured measure_##isa(int n, const float *c, const float *b, double *r) {                    \
        return measure(n, c, b, r);                                                                                    \
    }                                                                                                                  \
    target static struct scanned scan_##isa(int n, const float *values) {                                              \
        return scan(n, values);                                                                                        \
    }                                                                                                                  \
    target static void exp_##isa(int n, const double *x, double *y) {                                                  \
        if (x == y) { /* in place: a copy keeps the loop free of aliases */                                            \
            double copy[BLOCK];                                                                                        \
            memcpy(copy, x, (size_t)n * sizeof *x);                                                                    \
            exponential(n, copy, y);                                                                                   \
        } else {                                                                                                       \
            exponential(n, x, y);                                                                                      \
        }                                                                                                              \
    }                                                                                                                  \
    static const struct sweeps sweeps_##isa = {#isa, measure_##isa, scan_##isa, exp_##isa};

SWEEPS(plain, )

#if defined(__x86_64__) && defined(__GNUC__)
SWEEPS(avx2, __attribute__((target("avx2,fma"))))
SWEEPS(avx512, __attribute__((target("avx512f"))))

const struct sweeps *sweeps_at(int index) {
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (index == 1) return avx2 ? &sweeps_avx2 : NULL;
    if (index == 2) return avx2 && __builtin_cpu_supports("avx512f") ? &sweeps_avx512 : NULL;
    return index == 0 ? &sweeps_plain : NULL;
}
#else
const struct sweeps *sweeps_at(int index) {
    return index == 0 ? &sweeps_plain : NULL;
}
#endif

const struct sweeps *sweeps_best(void) {
    const struct sweeps *best = sweeps_at(0);
    for (int k = 1; sweeps_at(k); k++) best = sweeps_at(k);
    return best;
}
