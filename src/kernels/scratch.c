/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/scratch.h"
#include "base/mem.h"
#include "kernels/rope.h"

static _Thread_local struct {
    float *data;
    size_t room;
} blocks[SCRATCH_USES];

float *scratch_floats(enum scratch_use use, size_t count) {
    if (blocks[use].data && blocks[use].room >= count) return blocks[use].data;
    mem_free(blocks[use].data);
    blocks[use].room = 0;
    blocks[use].data = mem_alloc(count, sizeof(float));
    if (blocks[use].data) blocks[use].room = count;
    return blocks[use].data;
}

void kernels_release(void) {
    for (int i = 0; i < SCRATCH_USES; i++) {
        mem_free(blocks[i].data);
        blocks[i].data = NULL;
        blocks[i].room = 0;
    }
    rope_release();
}
