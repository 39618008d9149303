/* SPDX-License-Identifier: Apache-2.0
 *
 * Which instructions this machine has, and which of them we may use. OPSM_ISA caps the level, so that every code path
 * can be tested on one machine; oneDNN is capped with it.
 */
#ifndef OPSM_BASE_CPU_H
#define OPSM_BASE_CPU_H
#include <opsm/status.h>
#include <stdbool.h>

/* X(NAME, name), ordered: each level includes the ones before it. REF is plain C without any -m flag and without oneDNN. */
#if defined(__x86_64__)
#define CPU_X86
#define CPU_ISA_LIST(X) X(REF, ref) X(AVX2, avx2) X(AVX512, avx512) X(AVX512BF16, avx512bf16) X(AMX, amx)
#elif defined(__aarch64__)
#define CPU_ARM
#define CPU_ISA_LIST(X) X(REF, ref) X(NEON, neon) X(NEONBF16, neonbf16)
#else
#define CPU_ISA_LIST(X) X(REF, ref)
#endif

enum cpu_isa {
#define CPU_ISA_ENTRY(NAME, name) CPU_##NAME,
    CPU_ISA_LIST(CPU_ISA_ENTRY)
#undef CPU_ISA_ENTRY
};

/* The level in force: what the processor has, capped by OPSM_ISA (a name of the list). Fixed at the first call. */
enum cpu_isa cpu_isa(void);

const char *cpu_isa_name(enum cpu_isa isa);

/* Whether the level has bf16 products. */
bool cpu_has_bf16(enum cpu_isa isa);

/* Checks OPSM_ISA: OPSM_INVALID with a sentence for an unknown name. */
opsm_status cpu_check_environment(opsm_error *err);

#endif
