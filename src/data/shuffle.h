/* SPDX-License-Identifier: Apache-2.0
 *
 * The order in which an epoch visits n rows, without storing it: a keyed permutation (a Feistel network over the next
 * power of four, walked until it lands below n; Black and Rogaway, CT-RSA 2002), so that any position of any epoch is
 * known at once and resuming needs no state.
 */
#ifndef OPSM_DATA_SHUFFLE_H
#define OPSM_DATA_SHUFFLE_H
#include <stdint.h>

/* The row at position `i` of the epoch, 0 <= i < n, 1 <= n <= 2^32. A bijection in i for every (seed, epoch). */
uint64_t shuffle_at(uint64_t seed, uint32_t epoch, uint64_t n, uint64_t i);

#endif
