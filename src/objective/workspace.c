/* SPDX-License-Identifier: Apache-2.0 */
#include "objective/parts.h"

enum { ALIGN = 64, PER_SEQUENCE = sizeof(struct member) + 3 * sizeof(double), FIXED = 8 * ALIGN };

size_t opsm_objective_workspace(int64_t n_sequences) {
    return n_sequences < 0 ? FIXED : FIXED + (size_t)n_sequences * PER_SEQUENCE;
}

opsm_status arena_open(struct arena *arena, void *workspace, size_t size, int64_t n_sequences, opsm_error *err) {
    size_t needed = opsm_objective_workspace(n_sequences);
    if (!workspace || size < needed)
        return opsm_fail(err, OPSM_INVALID,
                         "workspace of %zu bytes for %lld sequences: %zu needed "
                         "(opsm_objective_workspace)",
                         workspace ? size : 0, (long long)n_sequences, needed);
    *arena = (struct arena){.at = workspace, .end = (char *)workspace + size};
    return OPSM_OK;
}

void *arena_take(struct arena *arena, int64_t count, size_t size) {
    char *start = arena->at + (ALIGN - (uintptr_t)arena->at % ALIGN) % ALIGN;
    if (count < 0 || start > arena->end || (size_t)(arena->end - start) / size < (size_t)count) return NULL;
    arena->at = start + (size_t)count * size;
    return start;
}
