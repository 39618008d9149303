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

static void put_number(struct json_writer *json, const char *key, const json_t *row) {
    const json_t *value = json_object_get(row, key);
    json_put_number(json, key, json_is_number(value) ? json_number_value(value) : NAN);
}

static void put_string(struct json_writer *json, const char *key, const json_t *row) {
    const json_t *value = json_object_get(row, key);
    json_put_string(json, key, json_is_unfit(value) ? NULL : json_string_value(value));
}

/* null where it is neither true nor false. */
static void put_bool(struct json_writer *json, const char *key, const json_t *row) {
    const json_t *value = json_object_get(row, key);
    if (json_is_boolean(value))
        json_put_bool(json, key, json_is_true(value));
    else
        json_put_null(json, key);
}

static void put_row(struct json_writer *json, const json_t *row) {
    static const char *const numbers[] = {"iteration", "group", "reward", "advantage", "drift", "delta"};
    static const char *const strings[] = {"prompt", "response", "reason"};
    json_put_open(json, NULL, '{');
    put_bool(json, "keep", row);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) put_number(json, numbers[i], row);
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) put_string(json, strings[i], row);
    json_put_close(json, '}');
}

/* Held-out problems of the first evaluation and, so far, the last: each the rows of one step, with commas between. */
struct evaluations {
    struct text first, last;
    double first_step, last_step;
    int n; /* rows in `last` */
};

static void put_problem(struct text *text, const json_t *row) {
    static const char *const numbers[] = {"iteration", "step", "problem", "reward"};
    static const char *const strings[] = {"prompt", "response", "finish"};
    struct json_writer json = report_writer(text);
    json_put_open(&json, NULL, '{');
    put_bool(&json, "right", row);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) put_number(&json, numbers[i], row);
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) put_string(&json, strings[i], row);
    json_put_close(&json, '}');
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
static opsm_status put_rows(struct jsonl *lines, size_t budget, struct evaluations *evals, struct json_writer *json,
                            opsm_error *err) {
    size_t begin = json->text->length;
    int64_t line = -1;
    for (int n = 0;;) {
        json_t *row;
        opsm_error problem = {0};
        opsm_status status = jsonl_next(lines, &row, &problem);
        if (status == OPSM_OK && !row) return OPSM_OK;
        if (status == OPSM_OK) {
            if (is_eval(row)) {
                add_problem(evals, row, budget / 4);
            } else if (n < ROWS_MAX && json->text->length - begin < budget / 2) {
                put_row(json, row);
                n++;
            }
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

static opsm_status put_run(const struct report_run *run, int arm, size_t budget, struct json_writer *json, bool *done,
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
    json_put_open(json, NULL, '{');
    json_put_int(json, "arm", arm);
    json_put_string(json, "path", run->path);
    json_put_open(json, "rows", '[');
    struct evaluations evals = {.first_step = NAN, .last_step = NAN};
    status = put_rows(lines, budget, &evals, json, err);
    bool two = evals.last_step > evals.first_step;
    json_put_close(json, ']');
    report_put_list(json, "before", two ? &evals.first : NULL);
    report_put_list(json, "after", two ? &evals.last : NULL);
    json_put_close(json, '}');
    text_free(&evals.first);
    text_free(&evals.last);
    jsonl_close(lines);
    *done = true;
    return status;
}

opsm_status report_put_samples(struct report *report, struct json_writer *json, opsm_error *err) {
    opsm_status status = OPSM_OK;
    json_put_open(json, "samples", '[');
    for (int a = 0; status == OPSM_OK && a < report->n_arms; a++) {
        const struct report_arm *arm = &report->arms[a];
        bool done = false;
        for (int r = 0; status == OPSM_OK && !done && !json->text->failed && r < arm->n_runs; r++)
            status = put_run(&arm->runs[r], a, BUDGET / (size_t)report->n_arms, json, &done, err);
    }
    json_put_close(json, ']');
    return status;
}
