/* SPDX-License-Identifier: Apache-2.0
 *
 * Collects runs and laboratories and writes the page: the template of src/report/html/ with the chart library, styles
 * and script inlined, and the data as JSON in a script element that the browser does not execute.
 */
#include "report/html.h"
#include "base/file.h"
#include "base/mem.h"
#include "report/html_assets.h"
#include "report/html_report.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { HEAD_BYTES = 4096 }; /* of a page, with its title */

/* ---- arms -------------------------------------------------------------------------------------------------------- */

static void arm_free(struct report_arm *arm) {
    for (int r = 0; r < arm->n_runs; r++) report_run_free(&arm->runs[r]);
    mem_free(arm->runs);
    mem_free(arm->name);
}

static void report_free(struct report *report) {
    for (int a = 0; a < report->n_arms; a++) arm_free(&report->arms[a]);
    mem_free(report->arms);
    text_free(&report->labs);
    text_free(&report->notes);
    *report = (struct report){0};
}

/* The last part of a path, without slashes at its end. */
static void base_name(const char *path, char *name, size_t room) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    snprintf(name, room, "%.*s", (int)(end - begin < room ? end - begin : room - 1), path + begin);
}

/* A run is a seed of the arm that has its configuration, else an arm of its own. */
static opsm_status add_single_run(struct report *report, const char *path, opsm_error *err) {
    char name[256];
    base_name(path, name, sizeof name);
    struct report_arm *arm;
    bool found;
    opsm_status status = report_add_arm(report, name, &arm, err);
    if (status == OPSM_OK) status = report_add_run(report, &arm->runs, &arm->n_runs, path, &found, err);
    if (status != OPSM_OK) return status;
    arm->open = true;
    for (int a = 0; found && a + 1 < report->n_arms; a++) {
        struct report_arm *home = &report->arms[a];
        if (!home->open || home->n_runs >= REPORT_SEEDS_MAX || !report_same_arm(&home->runs[0], &arm->runs[0]))
            continue;
        size_t n = (size_t)home->n_runs;
        struct report_run *grown = mem_resize(home->runs, n, n + 1, sizeof *grown);
        if (!grown) return mem_exhausted(err, "a run", sizeof *grown);
        home->runs = grown;
        home->runs[home->n_runs++] = arm->runs[0];
        arm->n_runs = 0;
        break;
    }
    if (arm->n_runs) return OPSM_OK;
    arm_free(arm); /* nothing to draw, or moved */
    report->n_arms--;
    return OPSM_OK;
}

static opsm_status has_file(const char *dir, const char *name, bool *there, opsm_error *err) {
    char *path = file_join(dir, name);
    if (!path) return mem_exhausted(err, "a file name", strlen(dir));
    opsm_status status = file_find(path, there, err);
    mem_free(path);
    return status;
}

static opsm_status add_path(struct report *report, const char *path, bool several, opsm_error *err) {
    if (!file_is_dir(path))
        return opsm_fail(err, OPSM_MISSING, "'%.200s' is no directory: name the output of a run or of a laboratory",
                         path);
    bool lab = false, run = false;
    opsm_status status = has_file(path, "lab.json", &lab, err);
    if (status == OPSM_OK) status = has_file(path, "metrics.jsonl", &run, err);
    if (status != OPSM_OK) return status;
    if (!lab && !run)
        return opsm_fail(err, OPSM_MISSING,
                         "'%.200s' is neither a run (it has no metrics.jsonl) nor a laboratory (no lab.json)", path);
    if (!lab) return add_single_run(report, path, err);
    char name[256], prefix[260] = "";
    base_name(path, name, sizeof name);
    if (several) snprintf(prefix, sizeof prefix, "%s/", name);
    return report_read_lab(report, path, prefix, err);
}

static opsm_status refuse_doubles(const char *const *paths, int n, opsm_error *err) {
    char first[PATH_MAX], second[PATH_MAX];
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            if (!strcmp(paths[i], paths[j]) ||
                (realpath(paths[i], first) && realpath(paths[j], second) && !strcmp(first, second)))
                return opsm_fail(err, OPSM_INVALID, "'%.200s' and '%.200s' are the same directory: name it once",
                                 paths[j], paths[i]);
    return OPSM_OK;
}

/* An arm whose seeds left nothing to draw stays in the laboratory's table only. */
static void remove_empty_arms(struct report *report) {
    int kept = 0;
    for (int a = 0; a < report->n_arms; a++) {
        if (report->arms[a].n_runs == 0)
            arm_free(&report->arms[a]);
        else
            report->arms[kept++] = report->arms[a];
    }
    report->n_arms = kept;
}

/* ---- the page ---------------------------------------------------------------------------------------------------- */

static opsm_status put_data(struct report *report, struct text *text, opsm_error *err) {
    struct json_writer json = report_writer(text);
    json_put_open(&json, NULL, '{');
    json_put_string(&json, "version", OPSM_VERSION);
    opsm_status status = report_put_arms(report, &json, err);
    report_put_config(report, &json);
    report_put_summary(report, &json);
    report_put_list(&json, "labs", &report->labs);
    if (status == OPSM_OK) status = report_put_samples(report, &json, err);
    report_put_list(&json, "notes", &report->notes);
    json_put_close(&json, '}');
    if (status == OPSM_OK && text->failed) status = mem_exhausted(err, "the report", text->room);
    return status;
}

/* JSON inside a script element. In JSON the three characters occur in strings only, where their escapes mean the same:
 * with '<' gone nothing can end the element or begin a comment. U+2028 and U+2029 end lines in older JavaScript. */
static void write_json(struct file_out *out, const struct text *json) {
    size_t begin = 0;
    for (size_t i = 0; i < json->length; i++) {
        const char *c = json->data + i, *escape = NULL;
        size_t length = 1;
        if (*c == '<') escape = "\\u003c";
        if (*c == '>') escape = "\\u003e";
        if (*c == '&') escape = "\\u0026";
        if (i + 2 < json->length && !memcmp(c, "\xe2\x80", 2) && (c[2] == '\xa8' || c[2] == '\xa9')) {
            escape = c[2] == '\xa8' ? "\\u2028" : "\\u2029";
            length = 3;
        }
        if (!escape) continue;
        file_write(out, json->data + begin, i - begin);
        file_write(out, escape, strlen(escape));
        i += length - 1;
        begin = i + 1;
    }
    file_write(out, json->data + begin, json->length - begin);
}

static void write_asset(struct file_out *out, const struct html_asset *asset) {
    file_write(out, asset->data, asset->size);
}

/* The template, its marks replaced. */
static void write_page(struct file_out *out, const struct text *json) {
    static const struct {
        const char *mark;
        const struct html_asset *asset; /* NULL: the data */
    } parts[] = {{"@STYLE@", &html_style},
                 {"@LICENSE@", &html_license},
                 {"@DATA@", NULL},
                 {"@CHART@", &html_chart},
                 {"@SCRIPT@", &html_script}};
    const char *at = (const char *)html_page.data, *end = at + html_page.size;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *mark = text_find(at, (size_t)(end - at), parts[i].mark, strlen(parts[i].mark));
        if (!mark) continue;
        file_write(out, at, (size_t)(mark - at));
        if (parts[i].asset)
            write_asset(out, parts[i].asset);
        else
            write_json(out, json);
        at = mark + strlen(parts[i].mark);
    }
    file_write(out, at, (size_t)(end - at));
}

/* The page replaces a file whole: only an older page may be in its place. */
opsm_status report_check_target(const char *out, opsm_error *err) {
    static const char title[] = "<title>opsm report";
    struct stat st;
    if (stat(out, &st) != 0) return OPSM_OK;
    if (!S_ISREG(st.st_mode))
        return opsm_fail(err, OPSM_INVALID, "'%.200s' is no regular file: the page would take its place", out);
    struct file_map map;
    opsm_status status = file_map_open(&map, out, err);
    if (status != OPSM_OK) return status;
    bool ours = map.size && text_find((const char *)map.data, map.size < HEAD_BYTES ? map.size : HEAD_BYTES, title,
                                      sizeof title - 1);
    file_map_close(&map);
    if (ours) return OPSM_OK;
    return opsm_fail(err, OPSM_INVALID,
                     "'%.200s' is there and is no report: it would be overwritten; take another name", out);
}

opsm_status report_write(const char *const *paths, int n, const char *out, opsm_error *err) {
    struct report report = {0};
    struct text json = {0};
    opsm_status status = refuse_doubles(paths, n, err);
    if (status == OPSM_OK) status = report_check_target(out, err);
    for (int i = 0; status == OPSM_OK && i < n; i++) status = add_path(&report, paths[i], n > 1, err);
    remove_empty_arms(&report);
    if (status == OPSM_OK && report.n_arms == 0)
        status = opsm_fail(err, OPSM_MISSING, "nothing to draw in '%.200s'%s: no optimiser step has been recorded yet",
                           n ? paths[0] : "", n > 1 ? " and the others" : "");
    if (status == OPSM_OK) status = put_data(&report, &json, err);
    struct file_out *file = NULL;
    if (status == OPSM_OK) status = file_create(&file, out, err);
    if (status == OPSM_OK) {
        write_page(file, &json);
        status = file_commit(file, err);
    }
    text_free(&json);
    report_free(&report);
    return status;
}
