/* SPDX-License-Identifier: Apache-2.0
 *
 * Row-wise layers. Loops are written as a body over `k` lanes, called with the constant 16 and once for the tail.
 */
#include "kernels/adamw.h"
#include "kernels/isa/isa.h"
#include "kernels/isa/sums.h"

#define FOR_LANES(n, ...)                                                                                              \
    do {                                                                                                               \
        int64_t i = 0;                                                                                                 \
        for (; i + LANES <= (n); i += LANES) {                                                                         \
            enum { k = LANES };                                                                                        \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
        if (i < (n)) {                                                                                                 \
            const int k = (int)((n)-i);                                                                                \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    } while (0)

double VEC(dot)(const float *a, const void *b, enum dtype b_type, int64_t n) {
    return b_type == DTYPE_F32 ? sum_products(a, b, DTYPE_F32, NULL, n) : sum_products(a, b, DTYPE_BF16, NULL, n);
}

void VEC(scale)(void *out, enum dtype type, const float *x, float scale, int64_t n) {
    FOR_LANES(n, { lanes_store_as(out, type, i, lanes_mul(lanes_load_n(x + i, k, 0.0f), lanes_set1(scale)), k); });
}

void VEC(add)(float *y, const float *x, int64_t n) {
    FOR_LANES(n, { lanes_store_n(y + i, lanes_add(lanes_load_n(y + i, k, 0.0f), lanes_load_n(x + i, k, 0.0f)), k); });
}

float VEC(rmsnorm_row)(void *y, enum dtype type, const float *x, const float *w, int64_t n, float eps) {
    double squares = sum_products(x, x, DTYPE_F32, NULL, n);
    float rstd = (float)(1.0 / sqrt(squares / (double)n + (double)eps));
    FOR_LANES(n, {
        lanes normed = lanes_mul(lanes_load_n(x + i, k, 0.0f), lanes_set1(rstd));
        lanes_store_as(y, type, i, lanes_mul(normed, lanes_load_n(w + i, k, 0.0f)), k);
    });
    return rstd;
}

/* With u = dy * w: dx = rstd * u - x * rstd^3 * mean(u * x). */
void VEC(rmsnorm_grad_row)(float *dx, bool add, float *dw, const float *dy, const float *x, const float *w, float rstd,
                           int64_t n) {
    double inner = sum_products(dy, x, DTYPE_F32, w, n);
    double r = (double)rstd;
    float back = (float)(-r * r * r * inner / (double)n);
    FOR_LANES(n, {
        lanes g = lanes_load_n(dy + i, k, 0.0f), in = lanes_load_n(x + i, k, 0.0f);
        lanes u = lanes_mul(g, lanes_load_n(w + i, k, 0.0f));
        lanes d = lanes_fma(in, lanes_set1(back), lanes_mul(u, lanes_set1(rstd)));
        if (add) d = lanes_add(lanes_load_n(dx + i, k, 0.0f), d);
        if (dw) {
            lanes sum = lanes_load_n(dw + i, k, 0.0f);
            lanes_store_n(dw + i, lanes_fma(lanes_mul(in, lanes_set1(rstd)), g, sum), k);
        }
        lanes_store_n(dx + i, d, k);
    });
}

void VEC(rotate)(float *x, float *y, const float *cosine, const float *sine, bool inverse, int64_t n) {
    const lanes sign = lanes_set1(inverse ? -1.0f : 1.0f);
    FOR_LANES(n, {
        lanes c = lanes_load_n(cosine + i, k, 0.0f), s = lanes_mul(sign, lanes_load_n(sine + i, k, 0.0f));
        lanes a = lanes_load_n(x + i, k, 0.0f), b = lanes_load_n(y + i, k, 0.0f);
        lanes_store_n(x + i, lanes_sub(lanes_mul(a, c), lanes_mul(b, s)), k);
        lanes_store_n(y + i, lanes_add(lanes_mul(b, c), lanes_mul(a, s)), k);
    });
}

ALWAYS_INLINE lanes sigmoid(lanes x) {
    const lanes one = lanes_set1(1.0f);
    return lanes_div(one, lanes_add(one, lanes_exp(lanes_sub(lanes_set1(0.0f), x))));
}

void VEC(swiglu_row)(void *y, enum dtype type, const float *gate, const float *up, int64_t n) {
    FOR_LANES(n, {
        lanes g = lanes_load_n(gate + i, k, 0.0f);
        lanes silu = lanes_mul(g, sigmoid(g));
        lanes_store_as(y, type, i, lanes_mul(silu, lanes_load_n(up + i, k, 0.0f)), k);
    });
}

/* With s = sigmoid(g): d silu / dg = s (1 + g (1 - s)). */
void VEC(swiglu_grad_row)(void *dgate, void *dup, enum dtype type, const float *dy, const float *gate, const float *up,
                          int64_t n) {
    const lanes one = lanes_set1(1.0f);
    FOR_LANES(n, {
        lanes g = lanes_load_n(gate + i, k, 0.0f), u = lanes_load_n(up + i, k, 0.0f), d = lanes_load_n(dy + i, k, 0.0f);
        lanes s = sigmoid(g);
        lanes slope = lanes_mul(s, lanes_fma(g, lanes_sub(one, s), one));
        lanes_store_as(dgate, type, i, lanes_mul(lanes_mul(d, u), slope), k);
        lanes_store_as(dup, type, i, lanes_mul(d, lanes_mul(g, s)), k);
    });
}

float VEC(max_of)(const float *x, int64_t n) {
    lanes top[4];
    for (int u = 0; u < 4; u++) top[u] = lanes_set1(-INFINITY);
    int64_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES)
        for (int u = 0; u < 4; u++) top[u] = lanes_max(top[u], lanes_load(x + i + u * LANES));
    for (; i < n; i += LANES)
        top[0] = lanes_max(top[0], lanes_load_n(x + i, n - i < LANES ? (int)(n - i) : LANES, -INFINITY));
    return lanes_max_across(lanes_max(lanes_max(top[0], top[1]), lanes_max(top[2], top[3])));
}

/* A score of -infinity has e = 0 and must add nothing to the weighted sum: x * scale - max is held above -200, where
 * exp has long been 0. */
ALWAYS_INLINE void exp_sums(const float *x, int n, float scale, float max, double *sum, double *weighted) {
    lanes total[2] = {lanes_set1(0.0f), lanes_set1(0.0f)}, moment[2] = {total[0], total[0]};
    for (int i = 0; i < n; i += 2 * LANES)
        for (int u = 0; u < 2 && i + u * LANES < n; u++) {
            int left = n - i - u * LANES;
            lanes z = lanes_load_n(x + i + u * LANES, left < LANES ? left : LANES, -INFINITY);
            z = lanes_sub(lanes_mul(z, lanes_set1(scale)), lanes_set1(max));
            if (weighted) z = lanes_max(lanes_set1(-200.0f), z);
            lanes e = lanes_exp(z);
            total[u] = lanes_add(total[u], e);
            if (weighted) moment[u] = lanes_fma(e, z, moment[u]);
        }
    *sum += (double)lanes_sum(lanes_add(total[0], total[1]));
    if (weighted) *weighted += (double)lanes_sum(lanes_add(moment[0], moment[1]));
}

void VEC(exp_sums)(const float *x, int n, float scale, float max, double *sum, double *weighted) {
    if (weighted)
        exp_sums(x, n, scale, max, sum, weighted);
    else
        exp_sums(x, n, scale, max, sum, NULL);
}

void VEC(exp_scaled)(void *out, enum dtype type, const float *x, float scale, float lse, float factor, int64_t n) {
    const lanes t = lanes_set1(scale), minus = lanes_set1(lse), f = lanes_set1(factor);
    FOR_LANES(n, {
        lanes e = lanes_exp(lanes_sub(lanes_mul(lanes_load_n(x + i, k, 0.0f), t), minus));
        lanes_store_as(out, type, i, lanes_mul(e, f), k);
    });
}

float VEC(exp1)(float x) {
    float e[LANES];
    lanes_store(e, lanes_exp(lanes_set1(x)));
    return e[0];
}

double VEC(sum_squares)(const float *x, int64_t n) {
    double acc[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int u = 0; u < LANES; u++) acc[u] += (double)x[i + u] * (double)x[i + u];
    for (int u = 0; i < n; i++, u++) acc[u] += (double)x[i] * (double)x[i];
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int u = 0; u < half; u++) acc[u] += acc[u + half];
    return acc[0];
}

void VEC(adamw)(float *w, float *m, float *v, const float *g, int64_t n, const struct adamw_step *step, bool decay) {
    const lanes scale = lanes_set1(step->grad_scale), b1 = lanes_set1(step->beta1), b2 = lanes_set1(step->beta2);
    const lanes c1 = lanes_set1(1.0f - step->beta1), c2 = lanes_set1(1.0f - step->beta2);
    const lanes bias1 = lanes_set1(1.0f / step->bias1), bias2 = lanes_set1(1.0f / step->bias2);
    const lanes eps = lanes_set1(step->eps), minus_lr = lanes_set1(-step->lr);
    const lanes keep = lanes_set1(decay ? step->weight_decay : 0.0f);
    FOR_LANES(n, {
        lanes grad = lanes_mul(lanes_load_n(g + i, k, 0.0f), scale);
        lanes mean = lanes_fma(b1, lanes_load_n(m + i, k, 0.0f), lanes_mul(c1, grad));
        lanes square = lanes_fma(b2, lanes_load_n(v + i, k, 0.0f), lanes_mul(c2, lanes_mul(grad, grad)));
        lanes root = lanes_add(lanes_sqrt(lanes_mul(square, bias2)), eps);
        lanes old = lanes_load_n(w + i, k, 0.0f);
        lanes change = lanes_fma(keep, old, lanes_div(lanes_mul(mean, bias1), root));
        lanes_store_n(m + i, mean, k);
        lanes_store_n(v + i, square, k);
        lanes_store_n(w + i, lanes_fma(minus_lr, change, old), k);
    });
}
