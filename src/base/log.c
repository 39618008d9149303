/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include <stdarg.h>
#include <stdio.h>

static log_sink installed;
static void *installed_user;

void log_install(log_sink sink, void *user) {
    installed = sink;
    installed_user = user;
}

static struct {
    phase_sink sink;
    void *user;
    const char *name;
    double from, to;           /* of the whole */
    double part_from, part_to; /* of from to to */
} phase;

void log_install_phase(phase_sink sink, void *user) {
    phase.sink = sink;
    phase.user = user;
    phase.name = NULL;
}

void log_phase(const char *name, double from, double to) {
    if (!phase.sink || (!name && !phase.name)) return;
    phase.name = name;
    phase.from = from;
    phase.to = to;
    log_part(0, 1);
    phase.sink(name, from, phase.user);
}

void log_part(double from, double to) {
    phase.part_from = from;
    phase.part_to = to;
}

void log_share(double share) {
    if (!phase.sink || !phase.name) return;
    double done = phase.part_from + share * (phase.part_to - phase.part_from);
    phase.sink(phase.name, phase.from + done * (phase.to - phase.from), phase.user);
}

void log_line(enum log_level level, const char *format, ...) {
    if (!installed) return;
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    installed(level, line, installed_user);
}
