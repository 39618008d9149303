/* SPDX-License-Identifier: Apache-2.0
 *
 * Counter-based random numbers (Philox4x32-10, Salmon et al., SC 2011). A draw is a pure function of (seed, stream,
 * counter), never of what was drawn before: the token sampled for (iteration, prompt, sample, position) is the same
 * whatever the batch composition, the number of threads, or a restart in between.
 */
#ifndef OPSM_BASE_RNG_H
#define OPSM_BASE_RNG_H
#include <stdint.h>

/* Who draws. Two streams never share numbers, even with equal counters. */
enum rng_stream { RNG_SAMPLE = 1, RNG_TASK, RNG_SHUFFLE, RNG_INIT, RNG_NOISE, RNG_MASK, RNG_TEST };

/* Four 32-bit words for one counter. */
void rng_block(uint64_t seed, enum rng_stream stream, const uint32_t counter[4], uint32_t out[4]);

/* One uniform number in [0, 1) with 53 bits, for the counter (a, b, c, d). */
double rng_unit_at(uint64_t seed, enum rng_stream stream, uint32_t a, uint32_t b, uint32_t c, uint32_t d);

/* A sequence over the last counter word, for code that wants "the next number". Copy it to fork it. */
struct rng {
    uint64_t seed;
    enum rng_stream stream;
    uint32_t counter[4];
    uint32_t words[4];
    int left; /* unread words of the current block */
};

struct rng rng_make(uint64_t seed, enum rng_stream stream, uint32_t a, uint32_t b, uint32_t c);
double rng_unit(struct rng *r);                /* [0, 1) */
uint32_t rng_below(struct rng *r, uint32_t n); /* uniform in 0..n-1, unbiased; n >= 1 */
double rng_normal(struct rng *r);              /* mean 0, variance 1 */
void rng_shuffle(struct rng *r, int32_t *items, int32_t n);

#endif
