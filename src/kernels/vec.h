/* SPDX-License-Identifier: Apache-2.0
 *
 * The vector routines under the kernels, built once per instruction set (isa/). Each works on one row or one small
 * block, is called by one thread, and allocates nothing. The kernels above take them from vec(), the table for the
 * level in force, and do the cutting into tasks.
 *
 * Sums: 16 lanes, then a fixed tree; blocks of VEC_BLOCK elements left to right in double.
 */
#ifndef OPSM_KERNELS_VEC_H
#define OPSM_KERNELS_VEC_H
#include "base/cpu.h"
#include "kernels/dtype.h"
#include <stdbool.h>

struct adamw_step; /* adamw.h */

enum {
    VEC_BLOCK = 1024,
    VEC_KEYS = 64, /* keys per block of attention, counted from the start of a span */
};

/* X(return type, name, parameters)
 *
 * mat_mul               c[m, n] = a[m, k] b[k, n] (+ c where `add`). Element (i, l) of a is a[i * a_row + l * a_col].
 *                       Each c is one chain over l = 0 .. k - 1 that starts from c or 0: cutting m, n or k into several
 *                       calls changes no bit.
 * pack_keys             out[cols, VEC_KEYS] = x[rows, cols] transposed, rows <= VEC_KEYS; zeros up to the next multiple
 *                       of 16.
 * softmax_rows          One key block of an online softmax for `rows` rows of scores s[rows, VEC_KEYS], of which row r
 *                       uses the first n = min(visible + r / heads, keys) >= 1: s becomes exp(s - new maximum); max[r]
 *                       and sum[r] are updated; factor[r] is what earlier sums are to be multiplied by.
 * scale_rows            x[rows, n]: row r times factor[r].
 * attention_grad_rows   For the same rows: scores s become p = exp(s - lse[r]), dp becomes p * (dp - d[r]), both zero
 *                       from n to `keys` rounded up to 16.
 * dot                   sum of a[n] * b[n], in double.
 * scale                 out[n] = x[n] * scale.
 * add                   y[n] += x[n].
 * rmsnorm_row           y[n] = x[n] * w[n] * rstd with rstd = 1 / sqrt(mean(x^2) + eps), returned.
 * rmsnorm_grad_row      dx[n] (+)= gradient, may be dy itself when not adding; dw[n] += dy * x * rstd unless NULL.
 * rotate                (x, y)[n] becomes (x cos - y sin, y cos + x sin), sin negated where `inverse`.
 * swiglu_row            y[n] = silu(gate[n]) * up[n].
 * swiglu_grad_row       dgate[n], dup[n] from dy[n].
 * max_of                The maximum of x[n].
 * exp_sums              With e = exp(x * scale - max): *sum += sum of e; *weighted (may be NULL) += sum of
 *                       e * (x * scale - max); n <= VEC_BLOCK.
 * exp_scaled            out[n] = factor * exp(x[n] * scale - lse).
 * sum_squares           sum of x[n]^2, in double.
 * adamw                 One update of w, m, v[n] from g[n] (adamw.h).
 * exp1                  exp(x), the scalar twin of the vector one.
 */
#define VEC_LIST(X)                                                                                                    \
    X(void, mat_mul,                                                                                                   \
      (float *c, int64_t ldc, const float *a, int64_t a_row, int64_t a_col, const float *b, int64_t ldb, int m, int n, \
       int k, bool add))                                                                                               \
    X(void, pack_keys, (float *out, const float *x, int64_t ldx, int rows, int cols))                                  \
    X(void, softmax_rows,                                                                                              \
      (float *s, int rows, int heads, int visible, int keys, float *max, double *sum, float *factor))                  \
    X(void, scale_rows, (float *x, int rows, int n, const float *factor))                                              \
    X(void, attention_grad_rows,                                                                                       \
      (float *s, float *dp, int rows, int heads, int visible, int keys, const float *lse, const float *d))             \
    X(double, dot, (const float *a, const void *b, enum dtype b_type, int64_t n))                                      \
    X(void, scale, (void *out, enum dtype type, const float *x, float scale, int64_t n))                               \
    X(void, add, (float *y, const float *x, int64_t n))                                                                \
    X(float, rmsnorm_row, (void *y, enum dtype type, const float *x, const float *w, int64_t n, float eps))            \
    X(void, rmsnorm_grad_row,                                                                                          \
      (float *dx, bool add, float *dw, const float *dy, const float *x, const float *w, float rstd, int64_t n))        \
    X(void, rotate, (float *x, float *y, const float *cosine, const float *sine, bool inverse, int64_t n))             \
    X(void, swiglu_row, (void *y, enum dtype type, const float *gate, const float *up, int64_t n))                     \
    X(void, swiglu_grad_row,                                                                                           \
      (void *dgate, void *dup, enum dtype type, const float *dy, const float *gate, const float *up, int64_t n))       \
    X(float, max_of, (const float *x, int64_t n))                                                                      \
    X(void, exp_sums, (const float *x, int n, float scale, float max, double *sum, double *weighted))                  \
    X(void, exp_scaled, (void *out, enum dtype type, const float *x, float scale, float lse, float factor, int64_t n)) \
    X(double, sum_squares, (const float *x, int64_t n))                                                                \
    X(void, adamw,                                                                                                     \
      (float *w, float *m, float *v, const float *g, int64_t n, const struct adamw_step *step, bool decay))            \
    X(float, exp1, (float x))

struct vec_table {
#define VEC_MEMBER(type, name, parameters) type(*name) parameters;
    VEC_LIST(VEC_MEMBER)
#undef VEC_MEMBER
};

/* The table for cpu_isa(). */
const struct vec_table *vec(void);

/* The table of the highest built level that is <= isa, which the machine must have. For tests. */
const struct vec_table *vec_at(enum cpu_isa isa);

#endif
