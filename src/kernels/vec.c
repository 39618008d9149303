/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/vec.h"

extern const struct vec_table vec_table_ref;
#if defined(CPU_X86)
extern const struct vec_table vec_table_avx2, vec_table_avx512;
#elif defined(CPU_ARM)
extern const struct vec_table vec_table_neon;
#endif

const struct vec_table *vec_at(enum cpu_isa isa) {
#if defined(CPU_X86)
    if (isa >= CPU_AVX512) return &vec_table_avx512;
    if (isa >= CPU_AVX2) return &vec_table_avx2;
#elif defined(CPU_ARM)
    if (isa >= CPU_NEON) return &vec_table_neon;
#endif
    (void)isa;
    return &vec_table_ref;
}

const struct vec_table *vec(void) {
    static const struct vec_table *table; /* first called outside parallel regions; every writer writes the same */
    if (!table) table = vec_at(cpu_isa());
    return table;
}
