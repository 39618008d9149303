/* SPDX-License-Identifier: Apache-2.0
 *
 * LAB/lab.json. Numbers that are not finite become null.
 */
#include "base/file.h"
#include "base/mem.h"
#include "config/diff.h"
#include "lab/result.h"
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { JSON_LIMIT = 64 << 20 };

static void put_name(struct text *out, const char *name) {
    text_json_string(out, name, strlen(name));
    text_puts(out, ":");
}

static void put_value(struct text *out, double value) {
    if (isfinite(value))
        text_number(out, value);
    else
        text_puts(out, "null");
}

static void put_number(struct text *out, const char *name, double value) {
    text_puts(out, ",");
    put_name(out, name);
    put_value(out, value);
}

static void put_string(struct text *out, const char *name, const char *value) {
    text_puts(out, ",");
    put_name(out, name);
    text_json_string(out, value, strlen(value));
}

/* `value` may be NULL. */
static void put_optional(struct text *out, const char *name, const char *value) {
    if (value)
        put_string(out, name, value);
    else
        text_printf(out, ",\"%s\":null", name);
}

/* A YAML value of our own writing: numbers, lists and quoted strings are JSON as they stand, words become strings. */
static void put_yaml(struct text *out, const char *value) {
    json_t *json = json_loads(value, JSON_DECODE_ANY, NULL);
    if (json)
        text_puts(out, value);
    else
        text_json_string(out, value, strlen(value));
    json_decref(json);
}

/* The keys in which an arm's configuration differs from the base's. */
static opsm_status put_keys(struct text *out, const struct lab *lab, const struct lab_arm *arm, opsm_error *err) {
    char *base = config_text(&lab->base), *own = config_text(&arm->config);
    opsm_status status = base && own ? OPSM_OK : mem_exhausted(err, "a configuration", 0);
    struct config_diff diff = {.a = base, .b = own};
    bool first = true;
    while (status == OPSM_OK && config_diff_next(&diff)) {
        if (!first) text_puts(out, ",");
        first = false;
        put_name(out, diff.path);
        put_yaml(out, diff.value_b);
    }
    mem_free(base);
    mem_free(own);
    return status;
}

static const char *status_name(enum lab_status status) {
    static const char *const names[] = {"waiting", "running", "done", "failed"};
    return names[status];
}

static void put_seed(struct text *out, const struct lab_arm *arm, const struct lab_seed *seed) {
    bool done = seed->status == LAB_DONE;
    text_printf(out, "{\"seed\":%" PRIu64, seed->seed);
    put_string(out, "status", status_name(seed->status));
    put_optional(out, "error", seed->error);
    text_printf(out, ",\"directory\":\"%s/seed-%" PRIu64 "\"", arm->name, seed->seed);
    put_number(out, "final", done ? seed->final : NAN);
    put_number(out, "best", done ? seed->best : NAN);
    put_number(out, "worst", done ? seed->worst : NAN);
    text_printf(out, ",\"collapsed\":%s", seed->collapsed ? "true" : "false");
    text_puts(out, ",\"curve\":[");
    for (int32_t i = 0; i < seed->n_curve; i++) {
        if (i) text_puts(out, ",");
        put_value(out, seed->curve[i]);
    }
    text_puts(out, "]");
    bool read = seed->curve != NULL;
    put_number(out, "dropped", read ? seed->dropped : NAN);
    put_number(out, "dropped_negatives", read ? seed->dropped_negatives : NAN);
    put_number(out, "drift_negative", read ? seed->drift_negative : NAN);
    put_number(out, "drift_positive", read ? seed->drift_positive : NAN);
    put_number(out, "entropy", read ? seed->entropy : NAN);
    put_number(out, "accuracy", read ? seed->accuracy : NAN);
    put_number(out, "pass_at_k", read ? seed->pass_at_k : NAN);
    text_printf(out, ",\"steps\":%" PRId64 ",\"skipped\":%" PRId64, seed->steps, seed->skipped);
    put_number(out, "seconds", seed->seconds);
    text_puts(out, "}");
}

static opsm_status put_arm(struct text *out, const struct lab *lab, const struct lab_arm *arm, opsm_error *err) {
    put_name(out, arm->name);
    text_puts(out, "{\"keys\":{");
    opsm_status status = put_keys(out, lab, arm, err);
    if (status != OPSM_OK) return status;
    text_puts(out, "},\"expect\":{\"held_below\":");
    put_value(out, arm->expect.held_below);
    put_number(out, "held_above", arm->expect.held_above);
    text_puts(out, "},\"seeds\":[\n");
    for (int32_t i = 0; i < lab->n_seeds; i++) {
        if (i) text_puts(out, ",\n");
        put_seed(out, arm, &arm->seeds[i]);
    }
    text_puts(out, "]");
    put_number(out, "final_mean", arm->final.estimate);
    text_puts(out, ",\"final_ci95\":");
    if (arm->done >= 2) {
        text_puts(out, "[");
        put_value(out, arm->final.low);
        text_puts(out, ",");
        put_value(out, arm->final.high);
        text_puts(out, "]");
    } else {
        text_puts(out, "null");
    }
    put_number(out, "best_mean", arm->best);
    put_number(out, "worst_mean", arm->worst);
    put_number(out, "held_mean", arm->held);
    put_number(out, "dropped_mean", arm->dropped);
    put_number(out, "dropped_negatives_mean", arm->dropped_negatives);
    put_number(out, "drift_negative_mean", arm->drift_negative);
    put_number(out, "drift_positive_mean", arm->drift_positive);
    text_printf(out, ",\"done\":%d,\"collapsed\":%d,\"failed\":%d}", arm->done, arm->collapsed, arm->failed);
    return OPSM_OK;
}

static void put_inputs(struct text *out, const struct lab *lab) {
    text_puts(out, ",\n\"inputs\":{");
    for (int32_t i = 0; i < lab->n_inputs; i++) {
        if (i) text_puts(out, ",");
        put_name(out, lab->inputs[i].path);
        text_printf(out, "\"%016" PRIx64 "\"", lab->inputs[i].hash);
    }
    text_puts(out, "}");
}

static opsm_status put_lab(struct text *out, const struct lab *lab, opsm_error *err) {
    const struct run_config *base = &lab->base;
    text_puts(out, "{\"version\":1");
    put_optional(out, "output", base->output);
    put_optional(out, "model", base->model);
    put_optional(out, "task", base->task.name ? base->task.name : base->data.file);
    put_number(out, "difficulty", base->task.difficulty);
    text_printf(out, ",\"steps_per_round\":%d,\"rounds\":%d,\"final_rounds\":%d", lab->steps_per_round, lab->rounds,
                lab_final_rounds(lab));
    text_puts(out, ",\"collapse\":{\"below\":");
    put_value(out, lab->collapse.below);
    put_number(out, "window", lab->collapse.window);
    text_puts(out, "}");
    if (lab->reference >= 0)
        put_string(out, "reference", lab->arms[lab->reference].name);
    else
        text_puts(out, ",\"reference\":null");
    put_inputs(out, lab);
    text_puts(out, ",\n\"arms\":{\n");
    for (int32_t a = 0; a < lab->n_arms; a++) {
        if (a) text_puts(out, ",\n");
        opsm_status status = put_arm(out, lab, &lab->arms[a], err);
        if (status != OPSM_OK) return status;
    }
    struct text verdict = {0};
    lab_verdict(lab, &verdict);
    out->failed |= verdict.failed;
    text_puts(out, "}");
    put_string(out, "verdict", verdict.data ? verdict.data : "");
    text_puts(out, "}\n");
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
