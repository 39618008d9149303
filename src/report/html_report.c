/* SPDX-License-Identifier: Apache-2.0 */
#include "report/html_report.h"
#include "base/mem.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void report_put_list(struct json_writer *json, const char *key, const struct text *items) {
    json_put_open(json, key, '[');
    if (items && items->length) json_put_raw(json, NULL, items->data);
    json_put_close(json, ']');
    if (items) json->text->failed |= items->failed;
}

void report_note(struct report *report, const char *format, ...) {
    char sentence[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    struct json_writer json = report_writer(&report->notes);
    json_put_string(&json, NULL, sentence);
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
