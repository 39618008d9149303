/* SPDX-License-Identifier: Apache-2.0 */
#include "io/name_map.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/platform.h"
#include "io/cursor.h"
#include <string.h>

enum { FIRST_CAPACITY = 64 };

static inline uint64_t rotate(uint64_t x, int bits) {
    return x << bits | x >> (64 - bits);
}

static void sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static void sip_absorb(uint64_t v[4], uint64_t word) {
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

uint64_t name_hash(const uint64_t key[2], const void *data, size_t size) {
    const uint8_t *p = data;
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du, key[0] ^ 0x6c7967656e657261u,
                     key[1] ^ 0x7465646279746573u};
    size_t whole = size / 8;
    for (size_t i = 0; i < whole; i++) sip_absorb(v, load_u64(p + 8 * i));
    uint64_t last = (uint64_t)size << 56;
    for (size_t i = 0; i < size % 8; i++) last |= (uint64_t)p[8 * whole + i] << (8 * i);
    sip_absorb(v, last);
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++) sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

struct name_map name_map_make(void) {
    struct name_map map = {0};
    if (!platform_random(map.key, sizeof map.key)) {
        /* No random source (a very old kernel, a sandbox): the time is harder to guess than a constant. */
        double now[2] = {clock_wall(), clock_seconds()};
        memcpy(map.key, now, sizeof map.key);
    }
    return map;
}

void name_map_free(struct name_map *map) {
    mem_free(map->slots);
    *map = (struct name_map){0};
}

/* The slot that holds the name, or the free one where it belongs. There always is a free one. */
static struct name_slot *slot_of(const struct name_map *map, const char *name, size_t length) {
    size_t mask = map->capacity - 1;
    for (size_t i = (size_t)name_hash(map->key, name, length) & mask;; i = (i + 1) & mask) {
        struct name_slot *slot = &map->slots[i];
        if (!slot->name || (slot->length == length && memcmp(slot->name, name, length) == 0)) return slot;
    }
}

static opsm_status grow(struct name_map *map) {
    struct name_map bigger = *map;
    bigger.capacity = map->capacity ? map->capacity * 2 : FIRST_CAPACITY;
    bigger.slots = mem_zalloc(bigger.capacity, sizeof *bigger.slots);
    if (!bigger.slots) return OPSM_NOMEM;
    for (size_t i = 0; i < map->capacity; i++)
        if (map->slots[i].name) *slot_of(&bigger, map->slots[i].name, map->slots[i].length) = map->slots[i];
    mem_free(map->slots);
    *map = bigger;
    return OPSM_OK;
}

opsm_status name_map_add(struct name_map *map, const char *name, size_t length, uint32_t *index) {
    if (length > UINT32_MAX) return OPSM_INVALID;
    if (map->count >= map->capacity / 4 * 3 && grow(map) != OPSM_OK) return OPSM_NOMEM;
    struct name_slot *slot = slot_of(map, name, length);
    if (slot->name) {
        *index = slot->index;
        return OPSM_OK;
    }
    *slot = (struct name_slot){.name = name, .length = (uint32_t)length, .index = *index};
    map->count++;
    return OPSM_OK;
}

int64_t name_map_find(const struct name_map *map, const char *name, size_t length) {
    if (map->capacity == 0) return -1;
    const struct name_slot *slot = slot_of(map, name, length);
    return slot->name ? (int64_t)slot->index : -1;
}
