/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/info_run.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/model_path.h"
#include "config/config.h"
#include "config/diff.h"
#include "io/jsonl.h"
#include "train/checkpoint.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What a person named: a run (checkpoint -1) or a checkpoint of it. */
struct run_place {
    char *run;
    int64_t checkpoint;
};

/* The last lines of metrics.jsonl; of a checkpoint, those written before it. */
struct last_rows {
    json_t *step, *iteration, *eval;
};

static void keep(json_t **slot, json_t *row) {
    json_decref(*slot);
    *slot = json_incref(row);
}

static int64_t integer(const json_t *row, const char *key) {
    return json_integer_value(json_object_get(row, key));
}

/* A line that is no object ends the reading: a process that was killed may leave a torn one. */
static opsm_status read_rows(struct last_rows *last, const struct run_place *place, opsm_error *err) {
    char *path = file_join(place->run, "metrics.jsonl");
    struct jsonl *lines = NULL;
    bool there = false;
    opsm_status status = path ? file_find(path, &there, err) : mem_exhausted(err, "a file name", 0);
    if (status == OPSM_OK && there) status = jsonl_open(&lines, path, JSONL_LINE_DEFAULT, err);
    json_t *row;
    while (lines && (status = jsonl_next(lines, &row, err)) == OPSM_OK && row) {
        const char *kind = json_string_value(json_object_get(row, "kind"));
        int64_t steps = integer(row, "step");
        bool within = place->checkpoint < 0 || steps <= place->checkpoint;
        if (kind && within && !strcmp(kind, "step")) keep(&last->step, row);
        if (kind && within && !strcmp(kind, "iteration")) keep(&last->iteration, row);
        if (kind && within && !strcmp(kind, "eval")) keep(&last->eval, row);
        json_decref(row);
    }
    jsonl_close(lines);
    mem_free(path);
    return status == OPSM_FORMAT ? OPSM_OK : status;
}

/* "  reward_mean 0.094, ..." for the keys that are there. */
static void print_numbers(const char *label, const json_t *row, const char *const *keys, size_t n) {
    const char *separator = "";
    printf("%-16s", label);
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_object_get(row, keys[i]);
        if (!json_is_number(value)) continue;
        printf("%s%s %.4g", separator, keys[i], json_number_value(value));
        separator = ", ";
    }
    putchar('\n');
}

static void print_record(const struct last_rows *last, const struct run_config *config, int64_t checkpoint) {
    static const char *const numbers[] = {"reward_mean", "length_mean", "finished", "drift_negative_mean",
                                          "dropped",     "entropy",     "loss",     "grad_norm"};
    static const char *const held_out[] = {"iteration", "accuracy", "pass_at_k", "reward_mean", "length_mean"};
    if (!last->iteration && !last->step) {
        if (checkpoint < 0)
            printf("%-16snothing yet\n", "done");
        else
            printf("%-16s%" PRId64 " optimiser steps\n", "done", checkpoint);
        return;
    }
    if (json_object_get(last->iteration, "reward_mean"))
        printf("%-16s%" PRId64 " of %d iterations, %" PRId64 " optimiser steps\n", "done",
               integer(last->iteration, "iteration") + 1, config->train.iterations, integer(last->iteration, "step"));
    else if (last->iteration)
        printf("%-16s%" PRId64 " of %d optimiser steps (sft)\n", "done", integer(last->iteration, "step"),
               config->sft.steps);
    else
        printf("%-16sthe first iteration, %" PRId64 " optimiser steps of it\n", "doing",
               integer(last->step, "step") + 1);
    if (last->iteration) print_numbers("last iteration", last->iteration, numbers, sizeof numbers / sizeof *numbers);
    if (last->eval) print_numbers("held out", last->eval, held_out, sizeof held_out / sizeof *held_out);
}

/* What differs from the defaults, key by key. */
static opsm_status print_config(const struct run_config *config, opsm_error *err) {
    struct run_config defaults;
    config_defaults(&defaults);
    char *usual = config_text(&defaults), *own = config_text(config);
    config_free(&defaults);
    opsm_status status = usual && own ? OPSM_OK : mem_exhausted(err, "the configuration", 0);
    struct config_diff diff = {.a = usual, .b = own};
    const char *label = "configuration";
    while (status == OPSM_OK && config_diff_next(&diff)) {
        if (!strcmp(diff.path, "output")) continue;
        printf("%-16s%s: %s\n", label, diff.path, diff.value_b);
        label = "";
    }
    mem_free(usual);
    mem_free(own);
    return status;
}

static opsm_status print_checkpoints(const char *directory, bool finished, opsm_error *err) {
    int64_t *numbers;
    size_t count;
    opsm_status status = checkpoint_list(directory, &numbers, &count, err);
    if (status != OPSM_OK) return status;
    printf("%-16s", "checkpoints");
    for (size_t i = 0; i < count; i++) printf("%scheckpoint-%" PRId64, i ? ", " : "", numbers[i]);
    puts(count ? "" : "none");
    if (!finished)
        printf("%-16s%s\n", "no model.gguf", count ? "the newest checkpoint is its model, so far" : "no model yet");
    mem_free(numbers);
    return OPSM_OK;
}

/* RUN/model.gguf, or what the run began with. */
static opsm_status find_model(const char *directory, const struct run_config *config, char **model, bool *finished,
                              opsm_error *err) {
    *model = file_join(directory, "model.gguf");
    if (!*model) return mem_exhausted(err, "a file name", 0);
    opsm_status status = file_find(*model, finished, err);
    if (status == OPSM_OK && *finished) return OPSM_OK;
    mem_free(*model);
    *model = NULL;
    if (status != OPSM_OK || !config->model || config->sft.init.dim > 0 || !file_exists(config->model)) return status;
    *model = mem_strdup(config->model);
    return *model ? OPSM_OK : mem_exhausted(err, "a file name", 0);
}

static opsm_status print_run(const struct run_place *place, const struct last_rows *last,
                             const struct run_config *config, bool finished, opsm_error *err) {
    opsm_status status = OPSM_OK;
    printf("%-16s%s\n", "run", place->run);
    if (place->checkpoint >= 0)
        printf("%-16scheckpoint-%" PRId64 ", whose weights generate, score and eval take\n", "checkpoint",
               place->checkpoint);
    print_record(last, config, place->checkpoint);
    if (place->checkpoint < 0) status = print_checkpoints(place->run, finished, err);
    return status == OPSM_OK ? print_config(config, err) : status;
}

opsm_status info_run(const char *directory, char **model, opsm_error *err) {
    struct run_config config;
    struct last_rows last = {0};
    char *path;
    bool finished = false;
    *model = NULL;
    opsm_status status = cli_run_config_path(directory, &path, err);
    if (status != OPSM_OK) return status;
    struct run_place place = {.run = mem_strdup(directory), .checkpoint = -1};
    if (place.run)
        place.checkpoint = cli_cut_checkpoint(place.run);
    else
        status = mem_exhausted(err, "a file name", 0);
    config_defaults(&config);
    if (status == OPSM_OK) status = config_load(&config, path, err);
    if (status == OPSM_OK) status = read_rows(&last, &place, err);
    if (status == OPSM_OK) status = find_model(directory, &config, model, &finished, err);
    if (status == OPSM_OK) status = print_run(&place, &last, &config, finished, err);
    json_decref(last.step);
    json_decref(last.iteration);
    json_decref(last.eval);
    config_free(&config);
    mem_free(place.run);
    mem_free(path);
    return status;
}
