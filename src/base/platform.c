/* SPDX-License-Identifier: Apache-2.0 */
#if defined(__linux__) && !defined(OPSM_PLATFORM_POSIX)
#define ON_LINUX
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#elif defined(__APPLE__) && !defined(OPSM_PLATFORM_POSIX)
#define ON_MACOS
#define _DARWIN_C_SOURCE
#endif
#include "base/platform.h"
#include "base/proc.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#if defined(ON_LINUX)
#include <malloc.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#elif defined(ON_MACOS)
#include <mach-o/dyld.h>
#include <sys/random.h>
#endif

/* ---- descriptors ------------------------------------------------------------------------------------------------- */

#if defined(ON_LINUX)
int platform_pipe(int ends[2]) {
    return pipe2(ends, O_CLOEXEC);
}
#else
int platform_pipe(int ends[2]) {
    if (pipe(ends) != 0) return -1;
    if (fcntl(ends[0], F_SETFD, FD_CLOEXEC) == 0 && fcntl(ends[1], F_SETFD, FD_CLOEXEC) == 0) return 0;
    int reason = errno;
    close(ends[0]);
    close(ends[1]);
    errno = reason;
    return -1;
}
#endif

/* Not of POSIX, but every system that we know has it from BSD. POSIX's own locks are lost with any descriptor of the
 * file. */
int platform_lock(int fd) {
    return flock(fd, LOCK_EX | LOCK_NB);
}

int platform_sync(int fd) {
#if defined(ON_MACOS)
    if (fcntl(fd, F_FULLFSYNC) == 0) return 0; /* fsync stops at the disk's cache; some file systems know no better */
#endif
    return fsync(fd);
}

#if defined(ON_LINUX)
bool platform_open_name(char out[PLATFORM_NAME_ROOM], int fd) {
    snprintf(out, PLATFORM_NAME_ROOM, "/proc/self/fd/%d", fd);
    return true;
}
#else
/* /dev/fd/N is no such name: what it opens shares the position. */
bool platform_open_name(char out[PLATFORM_NAME_ROOM], int fd) {
    (void)out, (void)fd;
    return false;
}
#endif

/* ---- processes --------------------------------------------------------------------------------------------------- */

enum { PATH_ROOM = 4096 };

#if defined(ON_LINUX)
const char *platform_program(const char *argv0) {
    (void)argv0;
    return "/proc/self/exe";
}
#elif defined(ON_MACOS)
const char *platform_program(const char *argv0) {
    static char path[PATH_ROOM];
    uint32_t room = sizeof path;
    (void)argv0;
    return _NSGetExecutablePath(path, &room) == 0 ? path : NULL;
}
#else
/* As the shell has found it. */
const char *platform_program(const char *argv0) {
    static char path[PATH_ROOM];
    if (!argv0 || strchr(argv0, '/')) return argv0;
    for (const char *at = getenv("PATH"); at && *at; at += strspn(at, ":")) {
        int length = (int)strcspn(at, ":");
        int n = snprintf(path, sizeof path, "%.*s/%s", length, at, argv0);
        if (n < (int)sizeof path && access(path, X_OK) == 0) return path;
        at += length;
    }
    return NULL;
}
#endif

bool platform_end_with(pid_t parent) {
#if defined(ON_LINUX)
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0) return false;
#endif
    return getppid() == parent; /* it may have ended before: then nobody will send the signal */
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

uint64_t platform_memory_peak(void) {
#if defined(ON_MACOS)
    enum { UNIT = 1 };
#else
    enum { UNIT = 1024 };
#endif
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * UNIT : 0;
}

#if defined(ON_LINUX)
static uint64_t own(const char *key) {
    uint64_t kb = proc_number("/proc/self/status", key);
    return kb == UINT64_MAX ? 0 : kb * 1024;
}

uint64_t platform_memory_free(void) {
    uint64_t free_kb = proc_number("/proc/meminfo", "MemAvailable:"),
             swap_kb = proc_number("/proc/meminfo", "SwapFree:");
    return free_kb == UINT64_MAX ? UINT64_MAX : (free_kb + (swap_kb == UINT64_MAX ? 0 : swap_kb)) * 1024;
}

uint64_t platform_memory_group(void) {
    return proc_control_group("/proc/self/cgroup", "/sys/fs/cgroup", "/sys/fs/cgroup/memory");
}

uint64_t platform_memory_resident(void) {
    return own("VmRSS:");
}

uint64_t platform_address_space(void) {
    return own("VmSize:");
}

uint64_t platform_data(void) {
    return own("VmData:");
}
#else
/* All that is built in: more than that can be filled by nobody. */
uint64_t platform_memory_free(void) {
#if defined(_SC_PHYS_PAGES)
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    if (pages > 0 && size > 0) return (uint64_t)pages * (uint64_t)size;
#endif
    return UINT64_MAX;
}

uint64_t platform_memory_group(void) {
    return UINT64_MAX;
}

/* Only the most so far is known, which of address space is the least. */
uint64_t platform_memory_resident(void) {
    return platform_memory_peak();
}

uint64_t platform_address_space(void) {
    return platform_memory_peak();
}

uint64_t platform_data(void) {
    return platform_memory_peak();
}
#endif

bool platform_room(size_t bytes) {
#if defined(MAP_ANONYMOUS)
    void *room = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
#else
    int zero = open("/dev/zero", O_RDWR | O_CLOEXEC);
    void *room = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
    if (zero >= 0) close(zero);
#endif
    if (room == MAP_FAILED) return false;
    munmap(room, bytes);
    return true;
}

void platform_drop_pages(const void *data, size_t size) {
#if defined(ON_LINUX)
    madvise((void *)(uintptr_t)data, size, MADV_DONTNEED); /* posix_madvise does nothing in glibc */
#else
    posix_madvise((void *)(uintptr_t)data, size, POSIX_MADV_DONTNEED);
#endif
}

void platform_share_heap(void) {
#if defined(ON_LINUX) && defined(M_ARENA_MAX)
    mallopt(M_ARENA_MAX, 1); /* an arena of glibc reserves 64 MB for every thread */
#endif
}

/* ---- the rest ---------------------------------------------------------------------------------------------------- */

bool platform_random(void *bytes, size_t size) {
#if defined(ON_LINUX) || defined(ON_MACOS)
    return getentropy(bytes, size) == 0;
#else
    int source = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    bool filled = source >= 0 && read(source, bytes, size) == (ssize_t)size;
    if (source >= 0) close(source);
    return filled;
#endif
}

bool platform_allow_tiles(void) {
#if defined(ON_LINUX) && defined(__x86_64__)
    /* The kernel hands out AMX's tile state only to processes that ask for it. */
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}

bool platform_arm_bf16(void) {
#if defined(ON_LINUX) && defined(__aarch64__)
    enum { BF16 = 1 << 14 }; /* HWCAP2_BF16 */
    return getauxval(AT_HWCAP2) & BF16;
#else
    return false;
#endif
}
