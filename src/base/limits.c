/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { PATH_ROOM = 4096 };

static struct limit least(struct limit a, struct limit b) {
    return b.bytes < a.bytes ? b : a;
}

/* ---- OPSM_MEMORY ------------------------------------------------------------------------------------------------- */

/* "3GB", "800 MB", "2.5G"; 0: no size. */
static uint64_t parse_size(const char *text) {
    char *end;
    double n = strtod(text, &end);
    while (*end == ' ') end++;
    const char *units = "kMGT", *unit = *end ? strchr(units, *end == 'K' ? 'k' : *end) : NULL;
    if (end == text || !unit || (end[1] && strcmp(end + 1, "B") != 0)) return 0;
    for (const char *u = units; u <= unit; u++) n *= 1000;
    return n >= 1 && n < 1e18 ? (uint64_t)n : 0;
}

/* The deepest calls (rows of nested JSON) take some 150 kB. */
enum { STACK_LEAST = 256 << 10 };

opsm_status limits_check_environment(opsm_error *err) {
    struct rlimit stack;
    if (getrlimit(RLIMIT_STACK, &stack) == 0 && stack.rlim_cur < STACK_LEAST)
        return opsm_fail(err, OPSM_NOMEM, "`ulimit -s` leaves a stack of %llu kB: at least %d kB are needed",
                         (unsigned long long)(stack.rlim_cur >> 10), STACK_LEAST >> 10);
    const char *given = getenv("OPSM_MEMORY");
    if (given && !parse_size(given))
        return opsm_fail(err, OPSM_INVALID, "OPSM_MEMORY is '%.40s': expected a size, as in 3GB or 800MB", given);
    return OPSM_OK;
}

/* ---- the machine and the control group --------------------------------------------------------------------------- */

/* The number behind `key` in a file of "key number" lines; of a file of one number, key "". UINT64_MAX: none ("max"). */
static uint64_t number_in(const char *path, const char *key) {
    FILE *in = fopen(path, "re");
    if (!in) return UINT64_MAX;
    char line[256];
    uint64_t value = UINT64_MAX;
    while (value == UINT64_MAX && fgets(line, sizeof line, in)) {
        if (strncmp(line, key, strlen(key)) != 0) continue;
        char *end, *digits = line + strlen(key);
        unsigned long long n = strtoull(digits, &end, 10);
        if (end != digits) value = n;
    }
    fclose(in);
    return value;
}

static struct limit machine(void) {
    uint64_t free_kb = number_in("/proc/meminfo", "MemAvailable:"), swap_kb = number_in("/proc/meminfo", "SwapFree:");
    struct limit limit = {.bytes = UINT64_MAX, .source = "this machine has"};
    if (free_kb != UINT64_MAX) limit.bytes = (free_kb + (swap_kb == UINT64_MAX ? 0 : swap_kb)) * 1024;
    return limit;
}

/* What one group has left. Its page cache makes way. */
static uint64_t left_in_group(const char *dir, const char *max, const char *current, const char *cache) {
    char path[PATH_ROOM + 64];
    snprintf(path, sizeof path, "%s/%s", dir, max);
    uint64_t most = number_in(path, "");
    if (most >= (uint64_t)1 << 60) return UINT64_MAX; /* version 1 says "no limit" so */
    snprintf(path, sizeof path, "%s/%s", dir, current);
    uint64_t used = number_in(path, "");
    snprintf(path, sizeof path, "%s/memory.stat", dir);
    uint64_t reclaimable = number_in(path, cache);
    if (used == UINT64_MAX) used = 0;
    if (reclaimable != UINT64_MAX) used -= reclaimable < used ? reclaimable : used;
    return used < most ? most - used : 0;
}

/* Every group above has a word in it. `root` is where the hierarchy is mounted; a container may see its own group there
 * whatever /proc/self/cgroup calls it. */
static uint64_t left_in_groups(const char *root, const char *group, const char *max, const char *current,
                               const char *cache) {
    char dir[PATH_ROOM];
    uint64_t left = left_in_group(root, max, current, cache);
    if ((size_t)snprintf(dir, sizeof dir, "%s%s", root, group) >= sizeof dir) return left;
    while (strlen(dir) > strlen(root) + 1) {
        uint64_t here = left_in_group(dir, max, current, cache);
        if (here < left) left = here;
        *strrchr(dir, '/') = '\0';
    }
    return left;
}

uint64_t limits_control_group(const char *membership, const char *root, const char *memory_root) {
    uint64_t least_left = UINT64_MAX;
    FILE *in = fopen(membership, "re");
    if (!in) return least_left;
    char line[PATH_ROOM];
    while (fgets(line, sizeof line, in)) { /* number:controllers:path */
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) continue;
        *group++ = '\0';
        uint64_t left = UINT64_MAX;
        if (!controllers[1])
            left = left_in_groups(root, group, "memory.max", "memory.current", "inactive_file ");
        else if (strstr(controllers, "memory"))
            left = left_in_groups(memory_root, group, "memory.limit_in_bytes", "memory.usage_in_bytes",
                                  "total_inactive_file ");
        if (left < least_left) least_left = left;
    }
    fclose(in);
    return least_left;
}

static struct limit control_group(void) {
    return (struct limit){.bytes = limits_control_group("/proc/self/cgroup", "/sys/fs/cgroup", "/sys/fs/cgroup/memory"),
                          .source = "the limit of the control group leaves"};
}

uint64_t limits_resident(void) {
    uint64_t kb = number_in("/proc/self/status", "VmRSS:");
    return kb == UINT64_MAX ? 0 : kb * 1024;
}

struct limit limits_memory(void) {
    const char *given = getenv("OPSM_MEMORY");
    if (given && parse_size(given)) { /* of the whole process */
        uint64_t most = parse_size(given), now = limits_resident();
        return (struct limit){.bytes = most > now ? most - now : 0, .source = "OPSM_MEMORY leaves"};
    }
    return least(machine(), control_group());
}

/* ---- the shell --------------------------------------------------------------------------------------------------- */

/* `used_kb`: the line of /proc/self/status that counts against the limit. */
static struct limit resource(int which, const char *used_kb, const char *source) {
    struct limit limit = {UINT64_MAX, source, true};
    struct rlimit set;
    if (getrlimit(which, &set) != 0 || set.rlim_cur == RLIM_INFINITY) return limit;
    uint64_t used = number_in("/proc/self/status", used_kb);
    used = used == UINT64_MAX ? 0 : used * 1024;
    limit.bytes = used < set.rlim_cur ? set.rlim_cur - used : 0;
    return limit;
}

struct limit limits_address_space(void) {
    return least(resource(RLIMIT_AS, "VmSize:", "`ulimit -v` leaves"),
                 resource(RLIMIT_DATA, "VmData:", "`ulimit -d` leaves"));
}

/* ---- against a need ---------------------------------------------------------------------------------------------- */

/* What libraries ask for on their own account. */
enum { LIBRARIES = 16 << 20 };

bool limits_beyond(uint64_t more, uint64_t space, struct limit *tight) {
    *tight = limits_memory();
    if (tight->bytes != UINT64_MAX && more > tight->bytes) return true;
    *tight = limits_address_space();
    return tight->bytes != UINT64_MAX && space > 0 && space + LIBRARIES > tight->bytes;
}

bool limits_room(uint64_t bytes) {
    void *room = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) return false;
    munmap(room, bytes);
    return true;
}

char *limits_size(char out[LIMITS_SIZE_ROOM], uint64_t bytes) {
    if (bytes < 10000000)
        snprintf(out, LIMITS_SIZE_ROOM, "%.2f MB", (double)bytes / 1e6);
    else if (bytes < 1000000000)
        snprintf(out, LIMITS_SIZE_ROOM, "%.0f MB", (double)bytes / 1e6);
    else
        snprintf(out, LIMITS_SIZE_ROOM, "%.2f GB", (double)bytes / 1e9);
    return out;
}

opsm_status limits_check(const char *what, uint64_t more, uint64_t space, uint64_t whole, const char *advice,
                         opsm_error *err) {
    struct limit tight;
    if (!limits_beyond(more, space, &tight)) return OPSM_OK;
    uint64_t taken = whole > more ? whole - more : 0;
    uint64_t need = tight.address_space ? space + LIBRARIES : more + taken;
    uint64_t left = tight.address_space ? tight.bytes : tight.bytes + taken;
    char needed[LIMITS_SIZE_ROOM], there[LIMITS_SIZE_ROOM];
    return opsm_fail(err, OPSM_NOMEM, "%s needs %s of %s, but %s only %s: %s", what, limits_size(needed, need),
                     tight.address_space ? "address space" : "memory", tight.source, limits_size(there, left), advice);
}

/* ---- disk -------------------------------------------------------------------------------------------------------- */

struct limit limits_disk(const char *path) {
    char at[PATH_ROOM];
    struct statvfs fs;
    struct limit limit = {.bytes = UINT64_MAX, .source = "the disk has"};
    if ((size_t)snprintf(at, sizeof at, "%s", path) >= sizeof at) return limit;
    while (statvfs(*at ? at : ".", &fs) != 0) {
        char *slash = strrchr(at, '/');
        if (!*at || !strcmp(at, "/")) return limit;
        if (slash == at)
            at[1] = '\0';
        else if (slash)
            *slash = '\0';
        else
            *at = '\0';
    }
    limit.bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    return limit;
}
