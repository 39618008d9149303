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

static int at_most_group(int n) {
    return n < GROUP ? n : GROUP;
}

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

ALWAYS_INLINE int64_t count(const int64_t *lane) {
    int64_t sum = 0;
    for (int j = 0; j < GROUP; j++) sum += lane[j];
    return sum;
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

/* ---- Loss and gradient ---- */

struct loss_lanes {
    double *s, *k;       /* LANES each */
    int32_t *largest;    /* GROUP */
    int64_t *low, *high; /* GROUP each */
};

/* The expressions of surrogate.c and penalty.c, for `m` tokens; those after them add nothing. */
ALWAYS_INLINE void loss_group(enum sweep_kind kind, enum sweep_penalty penalty, int m, const float *c, const float *f,
                              const double *r, const struct sweep *shared, float *out, struct loss_lanes lanes) {
    bool bounded = kind != SWEEP_REINFORCE, current = kind >= SWEEP_WEIGHTED || penalty != SWEEP_FREE;
    double s[GROUP], k[GROUP];
    ROLLED
    for (int j = 0; j < GROUP; j++) {
        double ratio = bounded || penalty == SWEEP_UNBIASED ? r[j] : 0.0, now = current ? (double)c[j] : 0.0;
        double t = ratio < shared->bottom ? shared->bottom : ratio, slope = 0.0;
        t = t > shared->top ? shared->top : t;
        s[j] = k[j] = 0.0;
        if (kind == SWEEP_CLIPPED) {
            double open = t == ratio ? t : 0.0;
            s[j] = -(t * shared->a);
            slope = -(open * shared->a);
        } else if (kind == SWEEP_WEIGHTED) {
            slope = -(t * shared->a);
            s[j] = slope * now;
        } else if (kind == SWEEP_REINFORCE) {
            slope = -shared->a;
            s[j] = slope * now;
        }
        slope = shared->weight * slope;
        if (penalty != SWEEP_FREE) {
            double x = (double)f[j] - now, e = exp_fixed(x), k3 = e - x - 1.0;
            k[j] = penalty == SWEEP_K3 ? k3 : ratio * k3;
            slope = slope + shared->beta_weight * (penalty == SWEEP_K3 ? 1.0 - e : -(ratio * x));
        }
        out[j] = (float)(slope + 0.0); /* never -0 */
        if (bounded) {
            lanes.low[j] += ratio < shared->bottom;
            lanes.high[j] += ratio > shared->top;
        }
    }
    for (int j = m; j < GROUP; j++) s[j] = k[j] = 0.0;
    ROLLED
    for (int j = 0; j < m; j++) {
        int32_t size = float_magnitude(out[j]);
        lanes.largest[j] = size > lanes.largest[j] ? size : lanes.largest[j];
    }
    if (kind != SWEEP_NOTHING) add_lanes(lanes.s, s);
    if (penalty != SWEEP_FREE) add_lanes(lanes.k, k);
}

ALWAYS_INLINE struct swept loss(enum sweep_kind kind, enum sweep_penalty penalty, int n, const float *restrict c,
                                const float *restrict f, const double *restrict r, const struct sweep *restrict shared,
                                float *restrict out) {
    bool ratio = kind != SWEEP_REINFORCE || penalty == SWEEP_UNBIASED;
    struct sweep own = *shared;
    double s_sum[LANES] = {0}, k_sum[LANES] = {0};
    int32_t largest[GROUP] = {0};
    int64_t low[GROUP] = {0}, high[GROUP] = {0};
    struct loss_lanes lanes = {s_sum, k_sum, largest, low, high};
    int k = 0;
    for (; k + GROUP <= n; k += GROUP)
        loss_group(kind, penalty, GROUP, c + k, penalty ? f + k : NULL, ratio ? r + k : NULL, &own, out + k, lanes);
    if (k < n) {
        size_t m = (size_t)at_most_group(n - k);
        float rest_c[GROUP] = {0}, rest_f[GROUP] = {0}, rest_out[GROUP];
        double rest_r[GROUP];
        for (int j = 0; j < GROUP; j++) rest_r[j] = own.bottom; /* counts as beyond neither bound */
        memcpy(rest_c, c + k, m * sizeof *c);
        if (penalty) memcpy(rest_f, f + k, m * sizeof *f);
        if (ratio) memcpy(rest_r, r + k, m * sizeof *r);
        loss_group(kind, penalty, (int)m, rest_c, rest_f, rest_r, &own, rest_out, lanes);
        memcpy(out + k, rest_out, m * sizeof *out);
    }
    struct swept sum = {.largest = largest[0]};
    for (int j = 1; j < GROUP; j++) sum.largest = largest[j] > sum.largest ? largest[j] : sum.largest;
    if (kind != SWEEP_NOTHING) sum.s = fold(s_sum);
    if (penalty != SWEEP_FREE) sum.k = fold(k_sum);
    if (kind != SWEEP_REINFORCE) {
        sum.low = count(low);
        sum.high = count(high);
    }
    return sum;
}

/* ---- Instruction sets ---- */

#define LOSS(isa, target, name, kind, penalty)                                                                         \
    target static struct swept loss_##name##_##isa(int n, const float *c, const float *f, const double *r,             \
                                                   const struct sweep *shared, float *out) {                           \
        return loss(kind, penalty, n, c, f, r, shared, out);                                                           \
    }

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
    LOSS(isa, target, nothing_k3, SWEEP_NOTHING, SWEEP_K3)                                                             \
    LOSS(isa, target, nothing_unbiased, SWEEP_NOTHING, SWEEP_UNBIASED)                                                 \
    LOSS(isa, target, clipped_free, SWEEP_CLIPPED, SWEEP_FREE)                                                         \
    LOSS(isa, target, clipped_k3, SWEEP_CLIPPED, SWEEP_K3)                                                             \
    LOSS(isa, target, clipped_unbiased, SWEEP_CLIPPED, SWEEP_UNBIASED)                                                 \
    LOSS(isa, target, weighted_free, SWEEP_WEIGHTED, SWEEP_FREE)                                                       \
    LOSS(isa, target, weighted_k3, SWEEP_WEIGHTED, SWEEP_K3)                                                           \
    LOSS(isa, target, weighted_unbiased, SWEEP_WEIGHTED, SWEEP_UNBIASED)                                               \
    LOSS(isa, target, reinforce_free, SWEEP_REINFORCE, SWEEP_FREE)                                                     \
    LOSS(isa, target, reinforce_k3, SWEEP_REINFORCE, SWEEP_K3)                                                         \
    LOSS(isa, target, reinforce_unbiased, SWEEP_REINFORCE, SWEEP_UNBIASED)                                             \
    static const struct sweeps sweeps_##isa = {                                                                        \
        #isa,                                                                                                          \
        measure_##isa,                                                                                                 \
        scan_##isa,                                                                                                    \
        exp_##isa,                                                                                                     \
        {{NULL, loss_nothing_k3_##isa, loss_nothing_unbiased_##isa},                                                   \
         {loss_clipped_free_##isa, loss_clipped_k3_##isa, loss_clipped_unbiased_##isa},                                \
         {loss_weighted_free_##isa, loss_weighted_k3_##isa, loss_weighted_unbiased_##isa},                             \
         {loss_reinforce_free_##isa, loss_reinforce_k3_##isa, loss_reinforce_unbiased_##isa}}};

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
