/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks of loss tokens as doubles, and the loops over them. Every loop is elementwise IEEE arithmetic whose
 * only fused multiply-adds are those that the exponential asks for by fma(), and every sum runs in eight fixed lanes:
 * the bits are the same for each instruction set that a loop is compiled for.
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

/* The block's floats: in place where they are contiguous, else collected in `spare` (BLOCK of them). */
const float *block_floats(const struct block *block, const float *from, float *spare);
void block_scatter(const struct block *block, const float *from, float *to);

void block_exp(int n, const double *x, double *y);
void block_subtract(int n, const double *a, const double *b, double *out);

/* sum x, accumulated in eight lanes and combined pairwise. */
double block_sum(int n, const double *x);

/* The largest element, -infinity for n = 0; NaN elements are passed over. */
double block_max(int n, const double *x);

/* exp in double: at most 1 ulp or so off, exp(0) = 1; above 709 infinity, below -708 zero, NaN stays NaN. fma() is one
 * instruction on every processor of the last ten years; where it is not, the C library computes the same bits
 * slowly. */
static inline double exp_fixed(double x) {
    /* x = k ln 2 + y with |y| <= ln 2 / 2; ln 2 in two parts (fdlibm). */
    const double LOG2E = 0x1.71547652b82fep0, LN2_HIGH = 0x1.62e42fee00000p-1, LN2_LOW = 0x1.a39ef35793c76p-33;
    const double ROUND = 0x1.8p52; /* adding it leaves the nearest integer in the low mantissa bits */
    double shifted = fma(x, LOG2E, ROUND);
    double k = shifted - ROUND;
    double y = fma(-k, LN2_LOW, fma(-k, LN2_HIGH, x));
    double y2 = y * y;
    /* exp(y) = 1 + y + y^2 P(y), P of degree 9 interpolating at Chebyshev points: relative error 1.7e-17 (worked out in
     * 50 digits). Even and odd halves run side by side. */
    double even = 0x1.2891a8c1d838dp-22;
    even = fma(even, y2, 0x1.a019b8ef67c6cp-16);
    even = fma(even, y2, 0x1.6c16c17893833p-10);
    even = fma(even, y2, 0x1.5555555553d4fp-5);
    even = fma(even, y2, 0x1.0000000000001p-1);
    double odd = 0x1.af38d53857513p-26;
    odd = fma(odd, y2, 0x1.71de0d9c145d0p-19);
    odd = fma(odd, y2, 0x1.a01a01a7c8d47p-13);
    odd = fma(odd, y2, 0x1.11111111109adp-7);
    odd = fma(odd, y2, 0x1.5555555555556p-3);
    double e = 1.0 + fma(y2, fma(y, odd, even), y);
    uint64_t bits, scale_bits, small = (uint64_t)(x < -708.0) - 1, large = (uint64_t)(x > 709.0) - 1;
    memcpy(&scale_bits, &shifted, 8);
    scale_bits = (scale_bits + 1023) << 52;
    double scale;
    memcpy(&scale, &scale_bits, 8);
    e = e * scale;
    /* The ends by bit masks: a conditional around the arithmetic would keep compilers from plain vector code. */
    const uint64_t INFINITE = 0x7ff0000000000000u;
    memcpy(&bits, &e, 8);
    bits = ((bits & small) & large) | (INFINITE & ~large);
    memcpy(&e, &bits, 8);
    return e;
}

#endif
