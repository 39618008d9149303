/* SPDX-License-Identifier: Apache-2.0
 *
 * Names to entry numbers: a hash table with a random key per table, so that a hostile file with millions of chosen
 * names costs no more than any other.
 */
#ifndef OPSM_IO_NAME_MAP_H
#define OPSM_IO_NAME_MAP_H
#include <opsm/status.h>
#include <stddef.h>
#include <stdint.h>

struct name_slot {
    const char *name; /* NULL: free */
    uint32_t length;
    uint32_t index;
};

struct name_map {
    struct name_slot *slots;
    size_t capacity; /* 0 or a power of two */
    size_t count;
    uint64_t key[2];
};

struct name_map name_map_make(void);
void name_map_free(struct name_map *map);

/* Enters a name, which is borrowed and must outlive the map, unless it is there already; *index is the number it stands
 * for afterwards. OPSM_NOMEM: out of memory, map unchanged. */
opsm_status name_map_add(struct name_map *map, const char *name, size_t length, uint32_t *index);

/* The number of a name, -1 when absent. */
int64_t name_map_find(const struct name_map *map, const char *name, size_t length);

/* SipHash-2-4 (Aumasson, Bernstein, 2012) of `size` bytes. */
uint64_t name_hash(const uint64_t key[2], const void *data, size_t size);

#endif
