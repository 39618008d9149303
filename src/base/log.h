/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages for the person in front of the program. The library never prints: it hands lines to the sink that the
 * program installed, and drops them where there is none.
 */
#ifndef OPSM_BASE_LOG_H
#define OPSM_BASE_LOG_H
#include <opsm/status.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN };

typedef void (*log_sink)(enum log_level level, const char *line, void *user);

/* Installs the sink (NULL: silence). Call before threads start. */
void log_install(log_sink sink, void *user);

void log_line(enum log_level level, const char *format, ...) OPSM_PRINTF(2, 3);

#endif
