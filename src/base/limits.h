/* SPDX-License-Identifier: Apache-2.0
 *
 * What the machine, the container and the shell let this process take, before it asks for it.
 */
#ifndef OPSM_BASE_LIMITS_H
#define OPSM_BASE_LIMITS_H
#include <opsm/status.h>
#include <stdbool.h>
#include <stdint.h>

/* Bytes that may still be taken, and by whose word: "this machine has" only so much. */
struct limit {
    uint64_t bytes; /* UINT64_MAX: nobody says */
    const char *source;
    bool address_space;
};

/* OPSM_INVALID with a sentence where OPSM_MEMORY is set and is no size, OPSM_NOMEM where the stack is too small. */
opsm_status limits_check_environment(opsm_error *err);

/* Memory that can be filled: the least of what is free on the machine (swap counts) and what the control group has
 * left. OPSM_MEMORY, a size as in 3GB, speaks for both. */
struct limit limits_memory(void);

/* Address space that can be asked for, filled or not: RLIMIT_AS and RLIMIT_DATA (`ulimit -v`, `ulimit -d`). */
struct limit limits_address_space(void);

/* The limit that `more` bytes of memory, in an address space of `space` bytes, would go beyond; false: none. */
bool limits_beyond(uint64_t more, uint64_t space, struct limit *tight);

/* OPSM_NOMEM where they do: "`what` needs 2.1 GB of memory, but this machine has only 1.2 GB: `advice`". `whole`:
 * the need with what has been taken already, for the sentence; 0: nothing has. */
opsm_status limits_check(const char *what, uint64_t more, uint64_t space, uint64_t whole, const char *advice,
                         opsm_error *err);

/* "1.20 MB", "812 MB", "2.14 GB". Returns `out`. */
enum { LIMITS_SIZE_ROOM = 32 };
char *limits_size(char out[LIMITS_SIZE_ROOM], uint64_t bytes);

/* Disk space under `path`, or under the nearest directory above it that is there. */
struct limit limits_disk(const char *path);

#endif
