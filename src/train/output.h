/* SPDX-License-Identifier: Apache-2.0
 *
 * Whose the files in an output directory are. A run writes into a directory that is its own: new, or without any of the
 * names that it writes, or begun by a run before. Everything else there is somebody's work.
 */
#ifndef OPSM_TRAIN_OUTPUT_H
#define OPSM_TRAIN_OUTPUT_H
#include "config/config.h"

/* OPSM_INVALID when a run of this configuration would overwrite what no run wrote, or what it reads itself. Looks only. */
opsm_status output_check(const struct run_config *config, opsm_error *err);

/* Removes what an interrupted run left under temporary names. */
opsm_status output_clean(const char *output, opsm_error *err);

#endif
