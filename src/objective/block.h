/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks of loss tokens as doubles, and the loops over them. Every loop is elementwise IEEE arithmetic without fused
 * multiply-add, and every sum runs in eight fixed lanes: the bits are the same for each instruction set that a loop is
 * compiled for.
 */
#ifndef OPSM_OBJECTIVE_BLOCK_H
#define OPSM_OBJECTIVE_BLOCK_H
#include "parts.h"
#include <math.h>
#include <string.h>

/* Loops compiled once per instruction set and chosen when the library is loaded, where compiler and libc can. */
#if defined(__x86_64__) && defined(__GNUC__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) &&                \
    !defined(__SANITIZE_THREAD__) && !defined(OPSM_NO_CLONES)
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define OPSM_NO_CLONES
#endif
#endif
#ifndef OPSM_NO_CLONES
#define BLOCK_LOOP __attribute__((target_clones("avx512f", "avx2", "default")))
#endif
#endif
#ifndef BLOCK_LOOP
#define BLOCK_LOOP
#endif

enum { BLOCK = 256, LANES = 8 };

/* Where the loss tokens of a block lie in the batch's arrays. */
struct block {
    int n;           /* 1..BLOCK */
    bool contiguous; /* tokens start .. start + n - 1; otherwise index[] */
    int64_t start;
    int64_t index[BLOCK];
};

/* Walks the loss tokens of one sequence in blocks of BLOCK and a rest. */
struct walk {
    const uint8_t *mask; /* may be NULL */
    int64_t at, end;
};
struct walk walk_sequence(const opsm_batch *batch, int64_t i);

/* The next block; false at the end, with `block` left as it was. */
bool walk_next(struct walk *walk, struct block *block);

static inline int64_t block_token(const struct block *block, int k) {
    return block->contiguous ? block->start + k : block->index[k];
}

void block_gather(const struct block *block, const float *from, double *to);
void block_scatter(const struct block *block, const float *from, float *to);

void block_exp(int n, const double *x, double *y);
void block_subtract(int n, const double *a, const double *b, double *out);

/* sum x, accumulated in eight lanes and combined pairwise. */
double block_sum(int n, const double *x);

/* The largest element, -infinity for n = 0; NaN elements are passed over. */
double block_max(int n, const double *x);

/* exp in double: at most 1 ulp or so off, exp(0) = 1; above 709 infinity, below -708 zero, NaN stays NaN. */
static inline double exp_fixed(double x) {
    /* x = k ln 2 + y with |y| <= ln 2 / 2; ln 2 in two parts (fdlibm), so that k * LN2_HIGH is exact. */
    const double LOG2E = 0x1.71547652b82fep0, LN2_HIGH = 0x1.62e42fee00000p-1, LN2_LOW = 0x1.a39ef35793c76p-33;
    const double ROUND = 0x1.8p52; /* adding it leaves the nearest integer in the low mantissa bits */
    double shifted = x * LOG2E + ROUND;
    double k = shifted - ROUND;
    double y = (x - k * LN2_HIGH) - k * LN2_LOW;
    double y2 = y * y;
    /* Taylor to degree 13 (the remainder is 4e-18), even and odd halves side by side. */
    double even = 1.0 / 479001600.0;
    even = even * y2 + 1.0 / 3628800.0;
    even = even * y2 + 1.0 / 40320.0;
    even = even * y2 + 1.0 / 720.0;
    even = even * y2 + 1.0 / 24.0;
    even = even * y2 + 0.5;
    double odd = 1.0 / 6227020800.0;
    odd = odd * y2 + 1.0 / 39916800.0;
    odd = odd * y2 + 1.0 / 362880.0;
    odd = odd * y2 + 1.0 / 5040.0;
    odd = odd * y2 + 1.0 / 120.0;
    odd = odd * y2 + 1.0 / 6.0;
    odd = odd * y2 + 1.0;
    double e = 1.0 + (y * odd + y2 * even);
    uint64_t bits;
    memcpy(&bits, &shifted, 8);
    bits = (bits + 1023) << 52;
    double scale;
    memcpy(&scale, &bits, 8);
    e = e * scale;
    e = x < -708.0 ? 0.0 : e;
    return x > 709.0 ? (double)INFINITY : e;
}

#endif
