/* SPDX-License-Identifier: Apache-2.0 */
#include "train/output.h"
#include "base/file.h"
#include "base/mem.h"
#include "train/checkpoint.h"
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONFIG_LIMIT = 1 << 20 };

/* What a run writes, besides checkpoint-N and a lock that stays empty. */
static const char *const names[] = {"model.gguf",  "config.yaml", "metrics.jsonl", "samples.jsonl",
                                    "tensorboard", "rollouts",    "adapter.gguf",  "adapter"};
enum { N_NAMES = sizeof names / sizeof *names };

/* directory/name; false when that is too long to be a file's. */
static bool join(char path[PATH_MAX], const char *directory, const char *name) {
    return snprintf(path, PATH_MAX, "%s/%s", directory, name) < PATH_MAX;
}

static bool has(const char *directory, const char *name) {
    struct stat st;
    char path[PATH_MAX];
    return join(path, directory, name) && lstat(path, &st) == 0;
}

/* ---- inputs ------------------------------------------------------------------------------------------------------ */

/* Whether the file is one that the run writes, by whatever name. */
static bool is_written(const char *output, const char *input) {
    struct stat in, out;
    char real_output[PATH_MAX], real_input[PATH_MAX], path[PATH_MAX];
    if (stat(input, &in) != 0 || !realpath(output, real_output) || !realpath(input, real_input)) return false;
    for (int i = 0; i < N_NAMES; i++) {
        bool there = join(path, output, names[i]) && stat(path, &out) == 0;
        if (there && in.st_dev == out.st_dev && in.st_ino == out.st_ino) return true;
    }
    size_t n = strlen(real_output);
    if (strncmp(real_input, real_output, n) != 0 || real_input[n] != '/') return false;
    const char *below = real_input + n + 1;
    for (int i = 0; i < N_NAMES; i++) {
        size_t length = strlen(names[i]);
        if (!strncmp(below, names[i], length) && (below[length] == '/' || !below[length])) return true;
    }
    return !strncmp(below, "checkpoint-", 11);
}

/* Whether `file` lies in `directory` itself. */
static bool lies_in(const char *file, const char *directory) {
    struct stat a, b;
    char parent[PATH_MAX];
    if (!realpath(file, parent)) return false;
    char *slash = strrchr(parent, '/');
    if (slash) slash[slash == parent] = '\0';
    return stat(parent, &a) == 0 && stat(directory, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static opsm_status check_inputs(const struct run_config *config, opsm_error *err) {
    const char *model = config->sft.init.dim > 0 ? NULL : config->model, *output = config->output;
    if (model && lies_in(model, output))
        return opsm_fail(err, OPSM_INVALID,
                         "output is '%s', where the model to start from lies ('%s'): take a directory of its own for "
                         "the run",
                         output, model);
    const char *const inputs[] = {model, config->data.file, config->data.eval_file, config->train.lora_init};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++)
        if (inputs[i] && is_written(output, inputs[i]))
            return opsm_fail(err, OPSM_INVALID,
                             "'%s' is read by this run, which would write over it: take another output", inputs[i]);
    return OPSM_OK;
}

/* ---- what is there ----------------------------------------------------------------------------------------------- */

/* *again: the text that the program makes of a configuration file; NULL where it can make none. */
static opsm_status write_again(const char *path, char **again, opsm_error *err) {
    struct run_config config;
    config_defaults(&config);
    opsm_error why = {0};
    opsm_status status = config_load(&config, path, &why);
    *again = status == OPSM_OK ? config_text(&config) : NULL;
    bool exhausted = status == OPSM_NOMEM || (status == OPSM_OK && !*again);
    config_free(&config);
    return exhausted ? mem_exhausted(err, "a configuration", 0) : OPSM_OK;
}

/* *own: there is a config.yaml that the program writes again as it stands, so that nothing of anybody's is lost. */
static opsm_status find_own_config(const char *output, bool *own, opsm_error *err) {
    char path[PATH_MAX], *text, *again;
    size_t size;
    *own = false;
    if (!join(path, output, "config.yaml")) return OPSM_OK;
    opsm_error why = {0};
    opsm_status status = file_read(path, CONFIG_LIMIT, &text, &size, &why);
    if (status == OPSM_NOMEM) return mem_exhausted(err, path, CONFIG_LIMIT);
    if (status != OPSM_OK) return OPSM_OK;
    status = write_again(path, &again, err);
    *own = again && !strcmp(text, again);
    mem_free(again);
    mem_free(text);
    return status;
}

static bool all_digits(const char *text) {
    return *text && !text[strspn(text, "0123456789")];
}

/* NAME.tmp.PID, as base/file.h makes it. */
static bool is_temporary(const char *file, const char *name) {
    size_t n = strlen(name);
    return !strncmp(file, name, n) && !strncmp(file + n, ".tmp.", 5) && all_digits(file + n + 5);
}

/* checkpoint-N followed by the suffix. */
static bool is_checkpoint_with(const char *file, const char *suffix) {
    static const char prefix[] = "checkpoint-";
    if (strncmp(file, prefix, sizeof prefix - 1) != 0) return false;
    const char *digits = file + sizeof prefix - 1;
    size_t n = strspn(digits, "0123456789");
    return n > 0 && !strcmp(digits + n, suffix);
}

static bool is_part(const char *file) {
    static const char *const parts[] = {"state.bin", "inputs.bin", "queue.bin", "config.yaml"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strcmp(file, parts[i]) || is_temporary(file, parts[i])) return true;
    return false;
}

/* Other programs call their checkpoints so, too. */
static bool is_own_checkpoint(const char *output, const char *name) {
    char path[PATH_MAX];
    DIR *dir = join(path, output, name) ? opendir(path) : NULL;
    bool own = false;
    for (struct dirent *entry; dir && !own && (entry = readdir(dir));) own = is_part(entry->d_name);
    if (dir) closedir(dir);
    return own;
}

static opsm_status not_own(const char *output, const char *name, const char *why, opsm_error *err) {
    char path[PATH_MAX];
    if (join(path, output, name) && file_out_of_reach(path))
        return opsm_fail(err, OPSM_IO, "'%s/%s' is there, and no permission to look into it", output, name);
    return opsm_fail(err, OPSM_INVALID, "'%s/%s' is there, and %s: it would be overwritten; take another output",
                     output, name, why);
}

/* Killed while it removed an old checkpoint, a run leaves an empty directory. */
static bool is_empty(const char *output, const char *name) {
    char path[PATH_MAX];
    DIR *dir = join(path, output, name) ? opendir(path) : NULL;
    bool empty = dir != NULL;
    for (struct dirent *entry; empty && (entry = readdir(dir));)
        empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
    if (dir) closedir(dir);
    return empty;
}

/* *own: the directory has a checkpoint of a run. */
static opsm_status check_checkpoints(const char *output, bool *own, opsm_error *err) {
    *own = false;
    DIR *dir = opendir(output);
    opsm_status status = OPSM_OK;
    for (struct dirent *entry; dir && status == OPSM_OK && (entry = readdir(dir));) {
        bool whole = checkpoint_number(entry->d_name) >= 0;
        /* These two are removed when they are in the way. */
        if (!whole && !is_checkpoint_with(entry->d_name, ".tmp") && !is_checkpoint_with(entry->d_name, ".damaged"))
            continue;
        if (is_own_checkpoint(output, entry->d_name))
            *own |= whole;
        else if (!is_empty(output, entry->d_name))
            status = not_own(output, entry->d_name, "it is no checkpoint of ours", err);
    }
    if (dir) closedir(dir);
    return status;
}

opsm_status output_check(const struct run_config *config, opsm_error *err) {
    const char *output = config->output;
    if (!file_exists(output)) return OPSM_OK;
    bool own;
    if (has(output, "state.bin") && has(output, "inputs.bin"))
        return opsm_fail(err, OPSM_INVALID, "output is '%s', a checkpoint of another run: take another output", output);
    opsm_status status = check_inputs(config, err);
    if (status == OPSM_OK) status = check_checkpoints(output, &own, err);
    if (status != OPSM_OK || own) return status;
    if (has(output, "model.gguf"))
        return not_own(output, "model.gguf", "no checkpoint to go on from is beside it", err);
    status = find_own_config(output, &own, err);
    if (status != OPSM_OK || own) return status; /* own: a run that did not get to a checkpoint */
    for (int i = 0; i < N_NAMES; i++)
        if (has(output, names[i])) return not_own(output, names[i], "no run has written it", err);
    return OPSM_OK;
}

/* ---- leftovers --------------------------------------------------------------------------------------------------- */

/* In OUTPUT: checkpoint-N.tmp, and the temporary files. */
static bool is_leftover(const char *file) {
    if (is_checkpoint_with(file, ".tmp")) return true;
    for (int i = 0; i < N_NAMES; i++)
        if (is_temporary(file, names[i])) return true;
    return false;
}

/* In OUTPUT/rollouts. */
static bool is_leftover_batch(const char *file) {
    size_t digits = strspn(file, "0123456789");
    return digits > 0 && is_temporary(file + digits, ".jsonl");
}

/* In OUTPUT/adapter. */
static bool is_leftover_adapter(const char *file) {
    return is_temporary(file, "adapter_config.json") || is_temporary(file, "adapter_model.safetensors");
}

static opsm_status clean(const char *directory, bool (*leftover)(const char *), opsm_error *err) {
    DIR *dir = opendir(directory);
    if (!dir) return OPSM_OK;
    opsm_status status = OPSM_OK;
    for (struct dirent *entry; status == OPSM_OK && (entry = readdir(dir));) {
        char path[PATH_MAX];
        if (leftover(entry->d_name) && join(path, directory, entry->d_name)) status = file_remove_tree(path, err);
    }
    closedir(dir);
    return status;
}

opsm_status output_clean(const char *output, opsm_error *err) {
    char below[PATH_MAX];
    opsm_status status = clean(output, is_leftover, err);
    if (status == OPSM_OK && join(below, output, "rollouts")) status = clean(below, is_leftover_batch, err);
    return status == OPSM_OK && join(below, output, "adapter") ? clean(below, is_leftover_adapter, err) : status;
}
