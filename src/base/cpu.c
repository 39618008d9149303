/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cpu.h"
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

static const char *const names[] = {"ref", "avx2", "avx512", "avx512bf16", "amx"};
enum { N_LEVELS = sizeof names / sizeof *names };

const char *cpu_isa_name(enum cpu_isa isa) {
    return names[isa];
}

#if defined(__x86_64__)
/* The kernel hands out the AMX tile state only to processes that ask for it. */
static int amx_permitted(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

static enum cpu_isa detect(void) {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return CPU_REF;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq"))
        return CPU_AVX2;
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & (1u << 5))) return CPU_AVX512;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & (1u << 22)) || !(d & (1u << 24))) return CPU_AVX512BF16;
    return amx_permitted() ? CPU_AMX : CPU_AVX512BF16;
}
#else
static enum cpu_isa detect(void) {
    return CPU_REF;
}
#endif

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
        return opsm_fail(err, OPSM_INVALID, "OPSM_ISA is '%s': expected ref, avx2, avx512, avx512bf16 or amx",
                         getenv("OPSM_ISA"));
    return OPSM_OK;
}
