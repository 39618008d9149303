/* SPDX-License-Identifier: Apache-2.0
 *
 * Four floats as one value, for the encoders: compilers make it one register on every machine with vectors. Each lane
 * rounds as a scalar would.
 */
#ifndef OPSM_IO_QUANT_LANES_H
#define OPSM_IO_QUANT_LANES_H
#include <stdint.h>

enum { LANES = 4 };
typedef float floats __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t ints __attribute__((vector_size(LANES * sizeof(int32_t)))); /* also masks: -1 or 0 per lane */

static inline floats choose(ints mask, floats yes, floats no) {
    return (floats)((mask & (ints)yes) | (~mask & (ints)no));
}

static inline floats magnitude(floats x) {
    return (floats)((ints)x & INT32_MAX);
}

#endif
