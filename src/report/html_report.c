/* SPDX-License-Identifier: Apache-2.0 */
#include "report/html_report.h"
#include "base/mem.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void report_put_number(struct text *json, double value) {
    if (isfinite(value))
        text_printf(json, "%.5g", value);
    else
        text_puts(json, "null");
}

void report_put_string(struct text *json, const char *string) {
    if (string)
        text_json_string(json, string, strlen(string));
    else
        text_puts(json, "null");
}

void report_note(struct report *report, const char *format, ...) {
    char sentence[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    if (report->notes.length) text_puts(&report->notes, ",");
    report_put_string(&report->notes, sentence);
}

opsm_status report_add_arm(struct report *report, const char *name, struct report_arm **arm, opsm_error *err) {
    size_t n = (size_t)report->n_arms;
    if (n == REPORT_ARMS_MAX) {
        opsm_fail(err, OPSM_INVALID, "more than %d arms do not fit into one report", (int)REPORT_ARMS_MAX);
        return OPSM_INVALID;
    }
    char *copy = mem_strdup(name);
    struct report_arm *grown = copy ? mem_resize(report->arms, n, n + 1, sizeof *grown) : NULL;
    if (!grown) {
        mem_free(copy);
        return mem_exhausted(err, "an arm", sizeof *grown);
    }
    report->arms = grown;
    report->arms[n] = (struct report_arm){.name = copy};
    report->n_arms++;
    *arm = &report->arms[n];
    return OPSM_OK;
}
