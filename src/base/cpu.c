/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cpu.h"
#include "base/platform.h"
#include <stdlib.h>
#include <string.h>
#if defined(CPU_X86)
#include <cpuid.h>
#endif

static const char *const names[] = {
#define CPU_ISA_ENTRY(NAME, name) #name,
    CPU_ISA_LIST(CPU_ISA_ENTRY)
#undef CPU_ISA_ENTRY
};
enum { N_LEVELS = sizeof names / sizeof *names };

const char *cpu_isa_name(enum cpu_isa isa) {
    return names[isa];
}

#if defined(CPU_X86)
static enum cpu_isa detect(void) {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return CPU_REF;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq"))
        return CPU_AVX2;
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & (1u << 5))) return CPU_AVX512;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & (1u << 22)) || !(d & (1u << 24))) return CPU_AVX512BF16;
    return platform_allow_tiles() ? CPU_AMX : CPU_AVX512BF16;
}

bool cpu_has_bf16(enum cpu_isa isa) {
    return isa >= CPU_AVX512BF16;
}
#elif defined(CPU_ARM)
/* NEON is part of the architecture; BFMMLA came with ARMv8.6. */
static enum cpu_isa detect(void) {
    return platform_arm_bf16() ? CPU_NEONBF16 : CPU_NEON;
}

bool cpu_has_bf16(enum cpu_isa isa) {
    return isa >= CPU_NEONBF16;
}
#else
static enum cpu_isa detect(void) {
    return CPU_REF;
}

bool cpu_has_bf16(enum cpu_isa isa) {
    (void)isa;
    return false;
}
#endif

#define CPU_ISA_WORD(NAME, name) " " #name

/* -1: unset, -2: set to something that is no level. */
static int wanted_level(void) {
    const char *wanted = getenv("OPSM_ISA");
    if (!wanted) return -1;
    for (int i = 0; i < N_LEVELS; i++)
        if (!strcmp(wanted, names[i])) return i;
    return -2;
}

enum cpu_isa cpu_isa(void) {
    static int in_force = -1;
    if (in_force < 0) {
        int level = (int)detect(), cap = wanted_level();
        in_force = cap >= 0 && cap < level ? cap : level;
    }
    return (enum cpu_isa)in_force;
}

opsm_status cpu_check_environment(opsm_error *err) {
    if (wanted_level() == -2)
        return opsm_fail(err, OPSM_INVALID, "OPSM_ISA is '%.40s': expected one of" CPU_ISA_LIST(CPU_ISA_WORD),
                         getenv("OPSM_ISA"));
    return OPSM_OK;
}
