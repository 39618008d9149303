/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/model_path.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "io/hf.h"
#include "train/checkpoint.h"
#include "train/fresh.h"
#include <inttypes.h>
#include <string.h>

/* *there: whether dir/name is a file. */
static opsm_status find(const char *dir, const char *name, char **path, bool *there, opsm_error *err) {
    *path = file_join(dir, name);
    if (!*path) return mem_exhausted(err, "a file name", 0);
    opsm_status status = file_find(*path, there, err);
    if (status == OPSM_OK && *there) return OPSM_OK;
    mem_free(*path);
    *path = NULL;
    return status;
}

opsm_status cli_run_config_path(const char *run, char **path, opsm_error *err) {
    bool there;
    opsm_status status = find(run, "config.yaml", path, &there, err);
    if (status != OPSM_OK || there) return status;
    char *lab;
    status = find(run, "lab.json", &lab, &there, err);
    mem_free(lab);
    if (status != OPSM_OK) return status;
    if (there)
        return opsm_fail(err, OPSM_INVALID,
                         "'%s' is the directory of a laboratory: name one of its runs, %s/ARM/seed-1", run, run);
    return opsm_fail(
        err, OPSM_INVALID,
        "'%s' is a directory, but neither that of a run (config.yaml, model.gguf) nor a Hugging Face model "
        "(config.json)",
        run);
}

/* The model of a file, with the adapters of the run. */
static opsm_status load_start(struct model **model, const struct run_config *config, enum dtype precision,
                              bool trainable, opsm_error *err) {
    opsm_status status = model_open(model, config->model, precision, err);
    if (status == OPSM_OK && config->train.lora.rank > 0)
        status = model_adapt(*model, &config->train.lora, config->seed, err);
    if (status == OPSM_OK) status = model_read(*model, trainable, err);
    log_phase(NULL, 0, 0);
    if (status == OPSM_OK) return OPSM_OK;
    model_free(*model);
    *model = NULL;
    return status;
}

/* The model that the run of this configuration began with; a fresh one leaves nothing behind in `directory`. */
static opsm_status starting_model(struct model **model, const char *config_path, char *directory, enum dtype precision,
                                  bool trainable, opsm_error *err) {
    struct run_config config;
    config_defaults(&config);
    opsm_status status = config_load(&config, config_path, err);
    if (status == OPSM_OK && config.sft.init.dim > 0) {
        char *own = config.output;
        config.output = directory;
        config.precision = precision;
        status = fresh_model(model, &config, err);
        config.output = own;
    } else if (status == OPSM_OK && !config.model) {
        status = opsm_fail(err, OPSM_INVALID, "%s names no model", config_path);
    } else if (status == OPSM_OK) {
        status = load_start(model, &config, precision, trainable, err);
    }
    config_free(&config);
    return status;
}

/* What a checkpoint of the run holds. */
static struct parameters *weights_of(struct model *model) {
    return model->lora.rank > 0 ? &model->adapters : &model->params;
}

/* Weights of checkpoint `wanted` of `run` (-1: the newest) in the model that the run began with. */
static opsm_status load_checkpoint(struct model **model, char *run, int64_t wanted, enum dtype precision,
                                   bool trainable, opsm_error *err) {
    char *config;
    int64_t number = -1;
    opsm_status status = cli_run_config_path(run, &config, err);
    if (status != OPSM_OK) return status;
    status = starting_model(model, config, run, precision, trainable, err);
    if (status == OPSM_OK && *model) status = checkpoint_weights(run, wanted, weights_of(*model), &number, err);
    if (status == OPSM_OK && number < 0)
        status = opsm_fail(err, OPSM_INVALID, "the run in '%s' has neither a model.gguf nor a checkpoint yet", run);
    if (status == OPSM_OK) status = model_publish(*model, err);
    if (status == OPSM_OK) {
        log_line(LOG_INFO, "model: %s/checkpoint-%" PRId64 "%s", run, number,
                 wanted < 0 ? " (the run has no model.gguf yet)" : "");
    } else {
        model_free(*model);
        *model = NULL;
    }
    mem_free(config);
    return status;
}

int64_t cli_cut_checkpoint(char *path) {
    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--) path[n - 1] = '\0';
    char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    int64_t number = checkpoint_number(name);
    if (number < 0) return -1;
    if (slash)
        *slash = '\0';
    else
        memcpy(path, ".", 2);
    return number;
}

static opsm_status load_directory(struct model **model, char *path, enum dtype precision, bool trainable,
                                  opsm_error *err) {
    char *file;
    bool there;
    opsm_status status = find(path, "model.gguf", &file, &there, err);
    if (status != OPSM_OK) return status;
    if (!there && hf_is_directory(path)) return model_load(model, path, precision, trainable, err);
    if (!there) return load_checkpoint(model, path, cli_cut_checkpoint(path), precision, trainable, err);
    log_line(LOG_INFO, "model: %s", file);
    status = model_load(model, file, precision, trainable, err);
    mem_free(file);
    return status;
}

opsm_status cli_load_model(struct model **model, const char *path, enum dtype precision, bool trainable,
                           opsm_error *err) {
    *model = NULL;
    if (!file_is_dir(path)) return model_load(model, path, precision, trainable, err);
    char *own = mem_strdup(path);
    if (!own) return mem_exhausted(err, "a file name", 0);
    opsm_status status = load_directory(model, own, precision, trainable, err);
    mem_free(own);
    return status;
}
