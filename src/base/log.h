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

/* ---- what is going on, for somebody who waits: handed to a sink of its own, which decides how often it is shown -- */

/* `share` is how much of it is done, 0 to 1, NaN: not known. NULL: nothing is going on. */
typedef void (*phase_sink)(const char *phase, double share, void *user);

void log_install_phase(phase_sink sink, void *user);

/* From now on `phase` (borrowed) goes on, this part of it from one share of the whole to another. NULL: it is over. By
 * one thread at a time, as log_share. */
void log_phase(const char *phase, double from, double to);

/* For what is done far inside, which knows neither the name nor the whole: the part of the phase that comes next, and
 * how much of that part is done. Cheap. */
void log_part(double from, double to);
void log_share(double share);

#endif
