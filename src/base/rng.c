/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include <math.h>
#include <string.h>

static void philox_round(uint32_t c[4], uint32_t k0, uint32_t k1) {
    uint64_t p0 = (uint64_t)0xD2511F53u * c[0];
    uint64_t p1 = (uint64_t)0xCD9E8D57u * c[2];
    uint32_t next[4] = {(uint32_t)(p1 >> 32) ^ c[1] ^ k0, (uint32_t)p1, (uint32_t)(p0 >> 32) ^ c[3] ^ k1, (uint32_t)p0};
    memcpy(c, next, sizeof next);
}

void rng_block(uint64_t seed, enum rng_stream stream, const uint32_t counter[4], uint32_t out[4]) {
    uint32_t c[4];
    memcpy(c, counter, sizeof c);
    /* The stream is spread over the key by a golden-ratio multiply, so that small stream numbers do not collide with
     * small seeds. */
    uint64_t key = seed ^ (uint64_t)stream * 0x9E3779B97F4A7C15ull;
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        philox_round(c, k0, k1);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    memcpy(out, c, sizeof c);
}

static double unit_from(uint32_t hi, uint32_t lo) {
    uint64_t bits = ((uint64_t)hi << 32 | lo) >> 11;
    return (double)bits * 0x1p-53;
}

double rng_unit_at(uint64_t seed, enum rng_stream stream, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    uint32_t words[4];
    rng_block(seed, stream, (const uint32_t[4]){a, b, c, d}, words);
    return unit_from(words[0], words[1]);
}

struct rng rng_make(uint64_t seed, enum rng_stream stream, uint32_t a, uint32_t b, uint32_t c) {
    return (struct rng){.seed = seed, .stream = stream, .counter = {a, b, c, 0}};
}

static uint32_t next_word(struct rng *r) {
    if (r->left == 0) {
        rng_block(r->seed, r->stream, r->counter, r->words);
        r->counter[3]++;
        r->left = 4;
    }
    return r->words[--r->left];
}

double rng_unit(struct rng *r) {
    uint32_t hi = next_word(r);
    return unit_from(hi, next_word(r));
}

uint32_t rng_below(struct rng *r, uint32_t n) {
    /* Reject the short last interval: 2^32 mod n values at the bottom. */
    uint32_t reject = (uint32_t)(-n) % n;
    for (;;) {
        uint32_t x = next_word(r);
        if (x >= reject) return x % n;
    }
}

double rng_normal(struct rng *r) {
    const double two_pi = 6.283185307179586;
    double radius = sqrt(-2.0 * log(1.0 - rng_unit(r)));
    return radius * cos(two_pi * rng_unit(r));
}

void rng_shuffle(struct rng *r, int32_t *items, int32_t n) {
    for (int32_t i = n - 1; i > 0; i--) {
        int32_t j = (int32_t)rng_below(r, (uint32_t)i + 1);
        int32_t t = items[i];
        items[i] = items[j];
        items[j] = t;
    }
}
