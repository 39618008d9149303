/* SPDX-License-Identifier: Apache-2.0
 *
 * Which instructions this machine has, and which of them we may use. OPSM_ISA caps the level, so that every code path
 * can be tested on one machine; oneDNN is capped with it.
 */
#ifndef OPSM_BASE_CPU_H
#define OPSM_BASE_CPU_H
#include <opsm/status.h>

/* Ordered: each level includes the ones before it. REF is plain C without any -m flag and without oneDNN. */
enum cpu_isa { CPU_REF, CPU_AVX2, CPU_AVX512, CPU_AVX512BF16, CPU_AMX };

/* The level in force: what the processor has, capped by OPSM_ISA (ref, avx2, avx512, avx512bf16, amx). Fixed at the
 * first call. */
enum cpu_isa cpu_isa(void);

const char *cpu_isa_name(enum cpu_isa isa);

/* Checks OPSM_ISA: OPSM_INVALID with a sentence for an unknown name. */
opsm_status cpu_check_environment(opsm_error *err);

#endif
