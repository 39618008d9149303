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

void log_line(enum log_level level, const char *format, ...) {
    if (!installed) return;
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    installed(level, line, installed_user);
}
