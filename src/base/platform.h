/* SPDX-License-Identifier: Apache-2.0
 *
 * What Linux, macOS and other POSIX systems do differently, and nothing else. Everything outside of platform.c is ISO C
 * and POSIX.1-2008 (XSI): the build defines _XOPEN_SOURCE=700 and nothing wider, so that a compiler refuses the rest.
 * With OPSM_PLATFORM_POSIX it is built on Linux as on a system of which nothing is known; the tests run it.
 */
#ifndef OPSM_BASE_PLATFORM_H
#define OPSM_BASE_PLATFORM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- descriptors ------------------------------------------------------------------------------------------------- */

/* A pipe whose ends are closed in programs that are executed. 0, or -1 and errno. */
int platform_pipe(int ends[2]);

/* Takes the lock of an open file for its description, which forked children share, without waiting. 0, or -1 and errno
 * (EWOULDBLOCK: another has it). */
int platform_lock(int fd);

/* What was written is on the disk, not only in its cache. 0, or -1 and errno. */
int platform_sync(int fd);

/* The name under which an open file that has been unlinked can be opened once more, from its beginning. False: the
 * system has none. */
enum { PLATFORM_NAME_ROOM = 32 };
bool platform_open_name(char out[PLATFORM_NAME_ROOM], int fd);

/* ---- processes --------------------------------------------------------------------------------------------------- */

/* The path by which this program can be executed again, in static memory; argv0 as main got it. NULL: unknown. */
const char *platform_program(const char *argv0);

/* In a child, after fork: sends itself SIGTERM when `parent` ends, where the system can. False: it has ended. */
bool platform_end_with(pid_t parent);

/* ---- memory, in bytes -------------------------------------------------------------------------------------------- */

/* UINT64_MAX: the system does not say. */
uint64_t platform_memory_free(void);  /* of the machine, swap counts; all of it where no more is known */
uint64_t platform_memory_group(void); /* what the control group has left */

uint64_t platform_memory_resident(void); /* what this process fills now */
uint64_t platform_memory_peak(void);     /* and at most, so far */
uint64_t platform_address_space(void);   /* what it takes of RLIMIT_AS, at least */
uint64_t platform_data(void);            /* and of RLIMIT_DATA */

/* Whether so much address space can be had now. */
bool platform_room(size_t bytes);

/* The pages of a map of a file, given back; they come again when they are asked for. */
void platform_drop_pages(const void *data, size_t size);

/* Allocates for all threads in one place, where each of them would reserve some of a scarce address space. */
void platform_share_heap(void);

/* ---- the rest ---------------------------------------------------------------------------------------------------- */

/* At most 256 bytes that nobody can guess. False: there is no source of them. */
bool platform_random(void *bytes, size_t size);

/* Asks for the tile registers of an x86 processor that has them. */
bool platform_allow_tiles(void);

/* Whether a 64-bit ARM processor has the products of bf16, which only the system can tell. */
bool platform_arm_bf16(void);

#endif
