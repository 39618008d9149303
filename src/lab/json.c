/* SPDX-License-Identifier: Apache-2.0
 *
 * LAB/lab.json. Numbers that are not finite become null.
 */
#include "base/file.h"
#include "base/mem.h"
#include "config/diff.h"
#include "io/json_writer.h"
#include "lab/result.h"
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { JSON_LIMIT = 64 << 20 };

/* A YAML value of our own writing: numbers, lists and quoted strings are JSON as they stand, words become strings. */
static void put_yaml(struct json_writer *json, const char *key, const char *value) {
    json_t *parsed = json_loads(value, JSON_DECODE_ANY, NULL);
    if (parsed)
        json_put_raw(json, key, value);
    else
        json_put_string(json, key, value);
    json_decref(parsed);
}

/* The keys in which an arm's configuration differs from the base's. */
static opsm_status put_keys(struct json_writer *json, const struct lab *lab, const struct lab_arm *arm,
                            opsm_error *err) {
    char *base = config_text(&lab->base), *own = config_text(&arm->config);
    opsm_status status = base && own ? OPSM_OK : mem_exhausted(err, "a configuration", 0);
    struct config_diff diff = {.a = base, .b = own};
    json_put_open(json, "keys", '{');
    while (status == OPSM_OK && config_diff_next(&diff)) put_yaml(json, diff.path, diff.value_b);
    json_put_close(json, '}');
    mem_free(base);
    mem_free(own);
    return status;
}

static const char *status_name(enum lab_status status) {
    static const char *const names[] = {"waiting", "running", "done", "failed"};
    return names[status];
}

static void put_seed(struct json_writer *json, const struct lab_arm *arm, const struct lab_seed *seed) {
    bool done = seed->status == LAB_DONE, read = seed->curve != NULL;
    char number[24], directory[LAB_NAME_MAX + 40];
    snprintf(number, sizeof number, "%" PRIu64, seed->seed);
    snprintf(directory, sizeof directory, "%s/seed-%" PRIu64, arm->name, seed->seed);
    json->breaks = true;
    json_put_open(json, NULL, '{');
    json_put_raw(json, "seed", number);
    json_put_string(json, "status", status_name(seed->status));
    json_put_string(json, "error", seed->error);
    json_put_string(json, "directory", directory);
    json_put_number(json, "final", done ? seed->final : NAN);
    json_put_number(json, "best", done ? seed->best : NAN);
    json_put_number(json, "worst", done ? seed->worst : NAN);
    json_put_bool(json, "collapsed", seed->collapsed);
    json_put_open(json, "curve", '[');
    for (int32_t i = 0; seed->curve && i < seed->n_curve; i++) json_put_number(json, NULL, seed->curve[i]);
    json_put_close(json, ']');
    json_put_number(json, "dropped", read ? seed->dropped : NAN);
    json_put_number(json, "dropped_negatives", read ? seed->dropped_negatives : NAN);
    json_put_number(json, "drift_negative", read ? seed->drift_negative : NAN);
    json_put_number(json, "drift_positive", read ? seed->drift_positive : NAN);
    json_put_number(json, "entropy", read ? seed->entropy : NAN);
    json_put_number(json, "accuracy", read ? seed->accuracy : NAN);
    json_put_number(json, "pass_at_k", read ? seed->pass_at_k : NAN);
    json_put_int(json, "steps", seed->steps);
    json_put_int(json, "skipped", seed->skipped);
    json_put_number(json, "seconds", seed->seconds);
    json_put_close(json, '}');
}

static opsm_status put_arm(struct json_writer *json, const struct lab *lab, const struct lab_arm *arm,
                           opsm_error *err) {
    json->breaks = true;
    json_put_open(json, arm->name, '{');
    opsm_status status = put_keys(json, lab, arm, err);
    if (status != OPSM_OK) return status;
    json_put_open(json, "expect", '{');
    json_put_number(json, "held_below", arm->expect.held_below);
    json_put_number(json, "held_above", arm->expect.held_above);
    json_put_close(json, '}');
    json_put_open(json, "seeds", '[');
    for (int32_t i = 0; i < lab->n_seeds; i++) put_seed(json, arm, &arm->seeds[i]);
    json_put_close(json, ']');
    json_put_number(json, "final_mean", arm->final.estimate);
    if (arm->done >= 2) {
        json_put_open(json, "final_ci95", '[');
        json_put_number(json, NULL, arm->final.low);
        json_put_number(json, NULL, arm->final.high);
        json_put_close(json, ']');
    } else {
        json_put_null(json, "final_ci95");
    }
    json_put_number(json, "best_mean", arm->best);
    json_put_number(json, "worst_mean", arm->worst);
    json_put_number(json, "held_mean", arm->held);
    json_put_number(json, "dropped_mean", arm->dropped);
    json_put_number(json, "dropped_negatives_mean", arm->dropped_negatives);
    json_put_number(json, "drift_negative_mean", arm->drift_negative);
    json_put_number(json, "drift_positive_mean", arm->drift_positive);
    json_put_int(json, "done", arm->done);
    json_put_int(json, "collapsed", arm->collapsed);
    json_put_int(json, "failed", arm->failed);
    json_put_close(json, '}');
    return OPSM_OK;
}

static void put_inputs(struct json_writer *json, const struct lab *lab) {
    json->breaks = true;
    json_put_open(json, "inputs", '{');
    for (int32_t i = 0; i < lab->n_inputs; i++) {
        char hash[17];
        snprintf(hash, sizeof hash, "%016" PRIx64, lab->inputs[i].hash);
        json_put_string(json, lab->inputs[i].path, hash);
    }
    json_put_close(json, '}');
}

static opsm_status put_lab(struct text *out, const struct lab *lab, opsm_error *err) {
    const struct run_config *base = &lab->base;
    struct json_writer json = {.text = out};
    json_put_open(&json, NULL, '{');
    json_put_int(&json, "version", 1);
    json_put_string(&json, "output", base->output);
    json_put_string(&json, "model", base->model);
    json_put_string(&json, "task", base->task.name ? base->task.name : base->data.file);
    json_put_int(&json, "difficulty", base->task.difficulty);
    json_put_int(&json, "steps_per_round", lab->steps_per_round);
    json_put_int(&json, "rounds", lab->rounds);
    json_put_int(&json, "final_rounds", lab_final_rounds(lab));
    json_put_open(&json, "collapse", '{');
    json_put_number(&json, "below", lab->collapse.below);
    json_put_number(&json, "window", lab->collapse.window);
    json_put_close(&json, '}');
    json_put_string(&json, "reference", lab->reference >= 0 ? lab->arms[lab->reference].name : NULL);
    put_inputs(&json, lab);
    json.breaks = true;
    json_put_open(&json, "arms", '{');
    for (int32_t a = 0; a < lab->n_arms; a++) {
        opsm_status status = put_arm(&json, lab, &lab->arms[a], err);
        if (status != OPSM_OK) return status;
    }
    json_put_close(&json, '}');
    struct text verdict = {0};
    lab_verdict(lab, &verdict);
    json_put_string(&json, "verdict", verdict.data ? verdict.data : "");
    json_put_close(&json, '}');
    json_put_end(&json);
    out->failed |= verdict.failed;
    text_free(&verdict);
    return out->failed ? mem_exhausted(err, "lab.json", out->room) : OPSM_OK;
}

opsm_status lab_write_json(const struct lab *lab, opsm_error *err) {
    struct text text = {0};
    char *path = file_join(lab->base.output, "lab.json");
    opsm_status status = path ? put_lab(&text, lab, err) : mem_exhausted(err, "a file name", 0);
    struct file_out *out;
    if (status == OPSM_OK) status = file_create(&out, path, err);
    if (status == OPSM_OK) {
        file_write(out, text.data, text.length);
        status = file_commit(out, err);
    }
    text_free(&text);
    mem_free(path);
    return status;
}

/* ---- what is there before ---------------------------------------------------------------------------------------- */

static bool has_arm(const struct lab *lab, const char *name) {
    for (int32_t a = 0; a < lab->n_arms; a++)
        if (!strcmp(lab->arms[a].name, name)) return true;
    return false;
}

/* Arms come and go, but with none in common it is another laboratory's. */
static opsm_status check_arms(const struct lab *lab, const char *path, json_t *there, opsm_error *err) {
    json_t *arms = json_object_get(there, "arms"), *arm;
    const char *name, *other = NULL;
    if (!json_is_object(arms))
        return opsm_fail(err, OPSM_INVALID,
                         "'%s' is there and is no laboratory's: it would be overwritten; take another output", path);
    json_object_foreach(arms, name, arm) {
        if (has_arm(lab, name)) return OPSM_OK;
        other = name;
    }
    if (!other) return OPSM_OK;
    return opsm_fail(err, OPSM_INVALID,
                     "'%s' is another laboratory's, with the arm %.60s: it would be overwritten; take another output",
                     path, other);
}

/* Runs that are done have read the same files. */
static opsm_status check_inputs(const struct lab *lab, json_t *there, opsm_error *err) {
    json_t *inputs = json_object_get(there, "inputs");
    for (int32_t i = 0; i < lab->n_inputs; i++) {
        char hash[17];
        snprintf(hash, sizeof hash, "%016" PRIx64, lab->inputs[i].hash);
        const char *before = json_string_value(json_object_get(inputs, lab->inputs[i].path));
        if (before && strcmp(before, hash) != 0)
            return opsm_fail(err, OPSM_INVALID,
                             "'%s' is not what the finished runs in '%s' have read; bring back what it was, or take "
                             "another output",
                             lab->inputs[i].path, lab->base.output);
    }
    return OPSM_OK;
}

opsm_status lab_check_json(const struct lab *lab, bool done, opsm_error *err) {
    char *path = file_join(lab->base.output, "lab.json"), *text = NULL;
    if (!path) return mem_exhausted(err, "a file name", 0);
    size_t size;
    bool there;
    opsm_status status = file_find(path, &there, err);
    if (status == OPSM_OK && there) status = file_read(path, JSON_LIMIT, &text, &size, err);
    if (status == OPSM_OK && there) {
        json_t *json = json_loadb(text, size, 0, NULL);
        status = done ? check_inputs(lab, json, err) : check_arms(lab, path, json, err);
        json_decref(json);
        mem_free(text);
    }
    mem_free(path);
    return status;
}
