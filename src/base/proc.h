/* SPDX-License-Identifier: Apache-2.0
 *
 * The files in which Linux says numbers: /proc and the control groups.
 */
#ifndef OPSM_BASE_PROC_H
#define OPSM_BASE_PROC_H
#include <stdint.h>

/* The number behind `key` in a file of "key number" lines; of a file of one number, key "". UINT64_MAX: none ("max"). */
uint64_t proc_number(const char *path, const char *key);

/* What the control groups named in a file like /proc/self/cgroup have left, the page cache that makes way counted as
 * free: of version 2 under `root`, of version 1 under `memory_root`. UINT64_MAX: nothing is limited. */
uint64_t proc_control_group(const char *membership, const char *root, const char *memory_root);

#endif
