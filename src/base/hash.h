/* SPDX-License-Identifier: Apache-2.0
 *
 * SipHash-2-4 (Aumasson and Bernstein, 2012): 64 bits that tell whether data is what it was. The same on every machine.
 */
#ifndef OPSM_BASE_HASH_H
#define OPSM_BASE_HASH_H
#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(uint64_t key0, uint64_t key1, const void *data, size_t size);

/* *sum becomes the hash of what it stood for and this piece. Pieces do not run into each other: their lengths count. */
void hash_add(uint64_t *sum, const void *data, size_t size);
void hash_add_text(uint64_t *sum, const char *text);
void hash_add_i64(uint64_t *sum, int64_t value);

#endif
