/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"
#include <string.h>

struct state {
    uint64_t a, b, c, d;
};

static uint64_t rotate(uint64_t x, int bits) {
    return x << bits | x >> (64 - bits);
}

static void mix(struct state *s, int rounds) {
    for (; rounds > 0; rounds--) {
        s->a += s->b;
        s->b = rotate(s->b, 13) ^ s->a;
        s->a = rotate(s->a, 32);
        s->c += s->d;
        s->d = rotate(s->d, 16) ^ s->c;
        s->a += s->d;
        s->d = rotate(s->d, 21) ^ s->a;
        s->c += s->b;
        s->b = rotate(s->b, 17) ^ s->c;
        s->c = rotate(s->c, 32);
    }
}

/* Up to eight bytes, little endian. */
static uint64_t word_at(const uint8_t *bytes, size_t n) {
    uint64_t word = 0;
    for (size_t i = 0; i < n; i++) word |= (uint64_t)bytes[i] << 8 * i;
    return word;
}

static void absorb(struct state *s, uint64_t word) {
    s->d ^= word;
    mix(s, 2);
    s->a ^= word;
}

uint64_t hash_bytes(uint64_t key0, uint64_t key1, const void *data, size_t size) {
    struct state s = {key0 ^ 0x736f6d6570736575, key1 ^ 0x646f72616e646f6d, key0 ^ 0x6c7967656e657261,
                      key1 ^ 0x7465646279746573};
    const uint8_t *bytes = data;
    size_t whole = size / 8 * 8;
    for (size_t i = 0; i < whole; i += 8) absorb(&s, word_at(bytes + i, 8));
    absorb(&s, (uint64_t)size << 56 | word_at(bytes + whole, size - whole));
    s.c ^= 0xff;
    mix(&s, 4);
    return s.a ^ s.b ^ s.c ^ s.d;
}

void hash_add(uint64_t *sum, const void *data, size_t size) {
    *sum = hash_bytes(*sum, size, data, size);
}

void hash_add_text(uint64_t *sum, const char *text) {
    hash_add(sum, text, strlen(text));
}

void hash_add_i64(uint64_t *sum, int64_t value) {
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)value >> 8 * i);
    hash_add(sum, bytes, sizeof bytes);
}
