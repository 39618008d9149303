/* SPDX-License-Identifier: Apache-2.0 */
#include "data/shuffle.h"
#include "base/rng.h"

enum { ROUNDS = 8 };

static uint64_t feistel(uint64_t seed, uint32_t epoch, int half_bits, uint64_t x) {
    uint32_t mask = half_bits == 32 ? ~0u : (1u << half_bits) - 1;
    uint32_t left = (uint32_t)(x >> half_bits), right = (uint32_t)x & mask;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t words[4];
        rng_block(seed, RNG_SHUFFLE, (const uint32_t[4]){epoch, round, right, (uint32_t)half_bits}, words);
        uint32_t next = left ^ (words[0] & mask);
        left = right;
        right = next;
    }
    return (uint64_t)left << half_bits | right;
}

uint64_t shuffle_at(uint64_t seed, uint32_t epoch, uint64_t n, uint64_t i) {
    int half_bits = 1;
    while (half_bits < 32 && (uint64_t)1 << 2 * half_bits < n) half_bits++;
    /* At most three of four values are out of range, so the walk is short. */
    do i = feistel(seed, epoch, half_bits, i);
    while (i >= n);
    return i;
}
