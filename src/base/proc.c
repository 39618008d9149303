/* SPDX-License-Identifier: Apache-2.0 */
#include "base/proc.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_ROOM = 4096 };

uint64_t proc_number(const char *path, const char *key) {
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

/* What one group has left. Its page cache makes way. */
static uint64_t left_in_group(const char *dir, const char *max, const char *current, const char *cache) {
    char path[PATH_ROOM + 64];
    snprintf(path, sizeof path, "%s/%s", dir, max);
    uint64_t most = proc_number(path, "");
    if (most >= (uint64_t)1 << 60) return UINT64_MAX; /* version 1 says "no limit" so */
    snprintf(path, sizeof path, "%s/%s", dir, current);
    uint64_t used = proc_number(path, "");
    snprintf(path, sizeof path, "%s/memory.stat", dir);
    uint64_t reclaimable = proc_number(path, cache);
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

uint64_t proc_control_group(const char *membership, const char *root, const char *memory_root) {
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
