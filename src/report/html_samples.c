/* SPDX-License-Identifier: Apache-2.0
 *
 * Transcripts for the page: RUN/samples.jsonl, within a budget of bytes that the arms share.
 */
#include "base/file.h"
#include "base/mem.h"
#include "io/jsonl.h"
#include "report/html_report.h"
#include <math.h>
#include <string.h>

enum { LINE_LIMIT = 1 << 20, BUDGET = 3 << 20, ROWS_MAX = 200, PROBLEMS_MAX = 64 };

static void put_number(struct text *json, const char *key, const json_t *row) {
    const json_t *value = json_object_get(row, key);
    text_printf(json, ",\"%s\":", key);
    report_put_number(json, json_is_number(value) ? json_number_value(value) : NAN);
}

static void put_string(struct text *json, const char *key, const json_t *row) {
    const json_t *value = json_object_get(row, key);
    text_printf(json, ",\"%s\":", key);
    report_put_string(json, json_is_unfit(value) ? NULL : json_string_value(value));
}

static void put_row(struct text *json, const json_t *row, bool more) {
    const json_t *keep = json_object_get(row, "keep");
    text_printf(json, "%s{\"keep\":%s", more ? "," : "",
                json_is_true(keep)    ? "true"
                : json_is_false(keep) ? "false"
                                      : "null");
    static const char *const numbers[] = {"iteration", "group", "reward", "advantage", "drift", "delta"};
    static const char *const strings[] = {"prompt", "response", "reason"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) put_number(json, numbers[i], row);
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) put_string(json, strings[i], row);
    text_puts(json, "}");
}

/* Held-out problems of the first evaluation and, so far, the last: each the rows of one step, with commas between. */
struct evaluations {
    struct text first, last;
    double first_step, last_step;
    int n; /* rows in `last` */
};

static void put_problem(struct text *json, const json_t *row) {
    text_printf(json, "%s{\"right\":%s", json->length ? "," : "",
                json_is_true(json_object_get(row, "right"))    ? "true"
                : json_is_false(json_object_get(row, "right")) ? "false"
                                                               : "null");
    static const char *const numbers[] = {"iteration", "step", "problem", "reward"};
    static const char *const strings[] = {"prompt", "response", "finish"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) put_number(json, numbers[i], row);
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) put_string(json, strings[i], row);
    text_puts(json, "}");
}

static void add_problem(struct evaluations *evals, const json_t *row, size_t budget) {
    const json_t *at = json_object_get(row, "step");
    if (!json_is_number(at)) return;
    double step = json_number_value(at);
    if (isnan(evals->first_step)) evals->first_step = step;
    if (step != evals->last_step) {
        text_clear(&evals->last);
        evals->n = 0;
    }
    evals->last_step = step;
    if (evals->n++ >= PROBLEMS_MAX || evals->last.length > budget) return;
    put_problem(&evals->last, row);
    if (step == evals->first_step) put_problem(&evals->first, row);
}

static bool is_eval(const json_t *row) {
    const char *kind = json_string_value(json_object_get(row, "kind"));
    return kind && !strcmp(kind, "eval");
}

/* Faulty lines are left out: transcripts are an illustration. */
static opsm_status put_rows(struct jsonl *lines, size_t budget, struct evaluations *evals, struct text *json,
                            opsm_error *err) {
    size_t begin = json->length;
    int64_t line = -1;
    for (int n = 0;;) {
        json_t *row;
        opsm_error problem = {0};
        opsm_status status = jsonl_next(lines, &row, &problem);
        if (status == OPSM_OK && !row) return OPSM_OK;
        if (status == OPSM_OK) {
            if (is_eval(row))
                add_problem(evals, row, budget / 4);
            else if (n < ROWS_MAX && json->length - begin < budget / 2)
                put_row(json, row, n++ > 0);
            json_decref(row);
        } else if (status != OPSM_FORMAT) {
            if (err) *err = problem;
            return status;
        } else if (jsonl_line(lines) == line) {
            return OPSM_OK;
        }
        line = jsonl_line(lines);
    }
}

static opsm_status put_run(const struct report_run *run, int arm, size_t budget, struct text *json, bool *done,
                           opsm_error *err) {
    *done = false;
    char *path = file_join(run->path, "samples.jsonl");
    if (!path) return mem_exhausted(err, "a file name", strlen(run->path));
    bool there;
    opsm_status status = file_find(path, &there, err);
    struct jsonl *lines = NULL;
    if (status == OPSM_OK && there) status = jsonl_open(&lines, path, LINE_LIMIT, err);
    mem_free(path);
    if (!lines) return status;
    text_printf(json, "%s{\"arm\":%d,\"path\":", json->data[json->length - 1] == '[' ? "" : ",", arm);
    report_put_string(json, run->path);
    text_puts(json, ",\"rows\":[");
    struct evaluations evals = {.first_step = NAN, .last_step = NAN};
    status = put_rows(lines, budget, &evals, json, err);
    bool two = evals.last_step > evals.first_step;
    text_printf(json, "],\"before\":[%s],\"after\":[%s]}", two ? evals.first.data : "", two ? evals.last.data : "");
    json->failed |= evals.first.failed || evals.last.failed;
    text_free(&evals.first);
    text_free(&evals.last);
    jsonl_close(lines);
    *done = true;
    return status;
}

opsm_status report_put_samples(struct report *report, struct text *json, opsm_error *err) {
    opsm_status status = OPSM_OK;
    text_puts(json, "\"samples\":[");
    if (json->failed) return OPSM_OK; /* the caller looks */
    for (int a = 0; status == OPSM_OK && a < report->n_arms; a++) {
        const struct report_arm *arm = &report->arms[a];
        bool done = false;
        for (int r = 0; status == OPSM_OK && !done && !json->failed && r < arm->n_runs; r++)
            status = put_run(&arm->runs[r], a, BUDGET / (size_t)report->n_arms, json, &done, err);
    }
    text_puts(json, "]");
    return status;
}
