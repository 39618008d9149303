/* SPDX-License-Identifier: Apache-2.0
 *
 * A laboratory's lab.json: its arms, whose seeds are runs in directories of their own, its table and its verdict.
 */
#include "base/file.h"
#include "base/mem.h"
#include "report/html_report.h"
#include <jansson.h>
#include <math.h>
#include <string.h>

enum { FILE_LIMIT = 64 << 20, NAME_ROOM = 256, PATH_ROOM = 1024 };

static double as_number(const json_t *value) {
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static double number_of(const json_t *object, const char *key) {
    return as_number(json_object_get(object, key));
}

static opsm_status parse(const char *path, json_t **lab, opsm_error *err) {
    char *text;
    size_t size;
    opsm_status status = file_read(path, FILE_LIMIT, &text, &size, err);
    if (status != OPSM_OK) return status;
    json_error_t problem;
    *lab = json_loadb(text, size, JSON_REJECT_DUPLICATES, &problem);
    mem_free(text);
    if (!*lab && json_error_code(&problem) == json_error_out_of_memory) return mem_exhausted(err, "lab.json", size);
    if (!*lab)
        return opsm_fail(err, OPSM_FORMAT, "'%.200s', line %d: %.100s; run the laboratory again to write it anew", path,
                         problem.line, problem.text);
    const json_t *arms = json_object_get(*lab, "arms");
    if (json_is_object(arms) && json_object_size(arms) > 0 && json_object_size(arms) <= REPORT_ARMS_MAX) return OPSM_OK;
    json_decref(*lab);
    return opsm_fail(err, OPSM_FORMAT, "'%.200s': expected \"arms\" with 1 to %d arms; run the laboratory again", path,
                     (int)REPORT_ARMS_MAX);
}

/* ---- runs of an arm ---------------------------------------------------------------------------------------------- */

/* A directory named by the file stays below the laboratory. */
static bool is_below(const char *directory) {
    if (directory[0] == '/' || !directory[0]) return false;
    for (const char *part = directory; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (!strncmp(part, "..", 2) && (part[2] == '/' || !part[2])) return false;
    }
    return true;
}

static opsm_status add_seed(struct report *report, struct report_arm *arm, const char *lab, const char *name,
                            const json_t *seed, opsm_error *err) {
    char directory[PATH_ROOM], path[2 * PATH_ROOM];
    long long number = (long long)json_integer_value(json_object_get(seed, "seed"));
    const char *given = json_string_value(json_object_get(seed, "directory"));
    const char *state = json_string_value(json_object_get(seed, "status"));
    if (state && !strcmp(state, "waiting")) return OPSM_OK;
    if (state && !strcmp(state, "failed")) {
        const char *sentence = json_string_value(json_object_get(seed, "error"));
        arm->failed++;
        report_note(report, "%s, seed %lld failed: %s", name, number, sentence ? sentence : "no reason given");
    }
    if (given)
        snprintf(directory, sizeof directory, "%s", given);
    else
        snprintf(directory, sizeof directory, "%s/seed-%lld", name, number);
    if (!is_below(directory)) {
        report_note(report, "%s, seed %lld: the directory %s lies outside the laboratory, left out", name, number,
                    directory);
        return OPSM_OK;
    }
    snprintf(path, sizeof path, "%s/%s", lab, directory);
    bool found;
    return report_add_run(report, &arm->runs, &arm->n_runs, path, &found, err);
}

static opsm_status add_arm(struct report *report, const char *lab, const char *prefix, const char *name,
                           const json_t *entry, opsm_error *err) {
    char full[2 * NAME_ROOM];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    struct report_arm *arm;
    opsm_status status = report_add_arm(report, full, &arm, err);
    const json_t *seeds = json_object_get(entry, "seeds");
    size_t n = json_array_size(seeds);
    if (n > REPORT_SEEDS_MAX) {
        report_note(report, "%s: only the first %d of %zu seeds are drawn", full, (int)REPORT_SEEDS_MAX, n);
        n = REPORT_SEEDS_MAX;
    }
    for (size_t i = 0; status == OPSM_OK && i < n; i++)
        status = add_seed(report, arm, lab, name, json_array_get(seeds, i), err);
    return status;
}

/* ---- table and verdict ------------------------------------------------------------------------------------------- */

static void put_arm_row(struct json_writer *json, const char *prefix, const char *name, const json_t *arm) {
    char full[2 * NAME_ROOM];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const json_t *interval = json_object_get(arm, "final_ci95");
    json_put_open(json, NULL, '{');
    json_put_string(json, "arm", full);
    json_put_number(json, "done", number_of(arm, "done"));
    json_put_number(json, "final", number_of(arm, "final_mean"));
    json_put_number(json, "low", as_number(json_array_get(interval, 0)));
    json_put_number(json, "high", as_number(json_array_get(interval, 1)));
    json_put_number(json, "best", number_of(arm, "best_mean"));
    json_put_number(json, "worst", number_of(arm, "worst_mean"));
    json_put_number(json, "collapsed", number_of(arm, "collapsed"));
    json_put_number(json, "failed", number_of(arm, "failed"));
    json_put_number(json, "dropped", number_of(arm, "dropped_negatives_mean"));
    json_put_number(json, "drift_negative", number_of(arm, "drift_negative_mean"));
    json_put_number(json, "drift_positive", number_of(arm, "drift_positive_mean"));
    json_put_close(json, '}');
}

static void put_lab(struct report *report, const char *path, const char *prefix, const json_t *lab) {
    struct json_writer json = report_writer(&report->labs);
    const json_t *collapse = json_object_get(lab, "collapse");
    json_put_open(&json, NULL, '{');
    json_put_string(&json, "path", path);
    json_put_string(&json, "verdict", json_string_value(json_object_get(lab, "verdict")));
    json_put_number(&json, "below", number_of(collapse, "below"));
    json_put_number(&json, "window", number_of(collapse, "window"));
    json_put_number(&json, "rounds", number_of(lab, "rounds"));
    json_put_number(&json, "final_rounds", number_of(lab, "final_rounds"));
    json_put_open(&json, "rows", '[');
    const char *name;
    json_t *arm;
    json_object_foreach(json_object_get(lab, "arms"), name, arm) put_arm_row(&json, prefix, name, arm);
    json_put_close(&json, ']');
    json_put_close(&json, '}');
}

opsm_status report_read_lab(struct report *report, const char *path, const char *prefix, opsm_error *err) {
    char *file = file_join(path, "lab.json");
    if (!file) return mem_exhausted(err, "a file name", strlen(path));
    json_t *lab;
    opsm_status status = parse(file, &lab, err);
    mem_free(file);
    if (status != OPSM_OK) return status;
    json_int_t round = json_integer_value(json_object_get(lab, "steps_per_round"));
    if (round > report->round) report->round = (int64_t)round;
    put_lab(report, path, prefix, lab);
    const char *name;
    json_t *arm;
    json_object_foreach(json_object_get(lab, "arms"), name, arm) {
        if (status == OPSM_OK) status = add_arm(report, path, prefix, name, arm, err);
    }
    json_decref(lab);
    return status;
}
