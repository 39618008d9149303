/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "base/platform.h"
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

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

struct limit limits_memory(void) {
    const char *given = getenv("OPSM_MEMORY");
    if (given && parse_size(given)) { /* of the whole process */
        uint64_t most = parse_size(given), now = platform_memory_resident();
        return (struct limit){.bytes = most > now ? most - now : 0, .source = "OPSM_MEMORY leaves"};
    }
    return least((struct limit){.bytes = platform_memory_free(), .source = "this machine has"},
                 (struct limit){.bytes = platform_memory_group(), .source = "the limit of the control group leaves"});
}

/* ---- the shell --------------------------------------------------------------------------------------------------- */

/* `used` counts against the limit. */
static struct limit resource(int which, uint64_t used, const char *source) {
    struct limit limit = {UINT64_MAX, source, true};
    struct rlimit set;
    if (getrlimit(which, &set) != 0 || set.rlim_cur == RLIM_INFINITY) return limit;
    limit.bytes = used < set.rlim_cur ? set.rlim_cur - used : 0;
    return limit;
}

struct limit limits_address_space(void) {
    return least(resource(RLIMIT_AS, platform_address_space(), "`ulimit -v` leaves"),
                 resource(RLIMIT_DATA, platform_data(), "`ulimit -d` leaves"));
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
