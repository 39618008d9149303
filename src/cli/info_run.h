/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OPSM_CLI_INFO_RUN_H
#define OPSM_CLI_INFO_RUN_H
#include <opsm/status.h>

/* The run in `directory`: what of its configuration is not the default, how far it got, its last numbers, its
 * checkpoints. *model: the file that holds its model or, as long as there is none, the one it began with; mem_alloc'ed,
 * NULL where neither is a file. */
opsm_status info_run(const char *directory, char **model, opsm_error *err);

#endif
