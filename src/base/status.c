/* SPDX-License-Identifier: Apache-2.0 */
#include <opsm/status.h>
#include <stdarg.h>
#include <stdio.h>

const char *opsm_status_text(opsm_status code) {
    switch (code) {
#define STATUS_TEXT(name, number, text)                                                                                \
    case OPSM_##name:                                                                                                  \
        return text;
        OPSM_STATUS_LIST(STATUS_TEXT)
#undef STATUS_TEXT
    }
    return "unknown status";
}

opsm_status opsm_fail(opsm_error *err, opsm_status code, const char *format, ...) {
    if (err) {
        err->code = code;
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        /* Names from hostile files end up in sentences: keep the terminal and the one-line promise safe. */
        for (char *c = err->text; *c; c++)
            if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
    }
    return code;
}
