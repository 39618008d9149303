/* SPDX-License-Identifier: Apache-2.0 */
#include "train/checkpoint.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FORMAT_VERSION = 7, NAME_ROOM = 64, CONFIG_LIMIT = 1 << 20 };

static const char STATE_MAGIC[] = "opsmSTAT", QUEUE_MAGIC[] = "opsmQUEU", INPUTS_MAGIC[] = "opsmINPT";
static const char PREFIX[] = "checkpoint-";

/* ---- saving ------------------------------------------------------------------------------------------------------ */

static opsm_status write_state(const char *path, const struct checkpoint *c, opsm_error *err) {
    struct record_out out;
    opsm_status status = record_create(&out, path, STATE_MAGIC, FORMAT_VERSION, err);
    if (status != OPSM_OK) return status;
    record_write(&out, c->position, sizeof *c->position);
    record_write(&out, c->threshold, sizeof *c->threshold);
    parameters_write(c->params, &out);
    return record_commit(&out, err);
}

static opsm_status write_queue(const char *path, const struct checkpoint *c, opsm_error *err) {
    struct record_out out;
    opsm_status status = record_create(&out, path, QUEUE_MAGIC, FORMAT_VERSION, err);
    if (status != OPSM_OK) return status;
    record_write_i64(&out, c->position->steps);
    if (c->source) source_write(c->source, &out);
    return record_commit(&out, err);
}

static uint64_t hash_of(const char *text, size_t size) {
    return hash_bytes(0, 0, text, size);
}

static opsm_status write_inputs(const char *path, const struct checkpoint *c, opsm_error *err) {
    struct record_out out;
    opsm_status status = record_create(&out, path, INPUTS_MAGIC, FORMAT_VERSION, err);
    if (status != OPSM_OK) return status;
    record_write_i64(&out, (int64_t)hash_of(c->config, strlen(c->config)));
    inputs_write(c->inputs, &out);
    return record_commit(&out, err);
}

static opsm_status write_config(const char *path, const struct checkpoint *c, opsm_error *err) {
    struct file_out *out;
    opsm_status status = file_create(&out, path, err);
    if (status != OPSM_OK) return status;
    file_write(out, c->config, strlen(c->config));
    return file_commit(out, err);
}

/* Calls `work` on dir/name. */
static opsm_status in_directory(const char *dir, const char *name, const struct checkpoint *c,
                                opsm_status (*work)(const char *, const struct checkpoint *, opsm_error *),
                                opsm_error *err) {
    char *path = file_join(dir, name);
    if (!path) return mem_exhausted(err, "a file name", strlen(dir) + strlen(name));
    opsm_status status = work(path, c, err);
    mem_free(path);
    return status;
}

static opsm_status write_directory(const char *dir, const struct checkpoint *c, opsm_error *err) {
    opsm_status status = file_remove_tree(dir, err);
    if (status == OPSM_OK) status = file_make_dir(dir, err);
    if (status == OPSM_OK) status = in_directory(dir, "config.yaml", c, write_config, err);
    if (status == OPSM_OK) status = in_directory(dir, "inputs.bin", c, write_inputs, err);
    if (status == OPSM_OK) status = in_directory(dir, "queue.bin", c, write_queue, err);
    if (status == OPSM_OK) status = in_directory(dir, "state.bin", c, write_state, err);
    return status;
}

/* ---- the checkpoints of a run ------------------------------------------------------------------------------------ */

static int newest_first(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

int64_t checkpoint_number(const char *name) {
    if (strncmp(name, PREFIX, sizeof PREFIX - 1) != 0) return -1;
    const char *digits = name + sizeof PREFIX - 1;
    size_t n = strspn(digits, "0123456789");
    return n >= 1 && n <= 18 && !digits[n] ? strtoll(digits, NULL, 10) : -1;
}

opsm_status checkpoint_list(const char *run, int64_t **numbers, size_t *count, opsm_error *err) {
    *numbers = NULL;
    *count = 0;
    DIR *dir = opendir(run);
    if (!dir && errno == ENOENT) return OPSM_OK;
    if (!dir) return opsm_fail(err, OPSM_IO, "cannot open the directory '%s': %s", run, strerror(errno));
    size_t room = 0;
    opsm_status status = OPSM_OK;
    for (struct dirent *entry; status == OPSM_OK && (entry = readdir(dir));) {
        int64_t number = checkpoint_number(entry->d_name);
        if (number < 0) continue;
        if (*count == room) {
            int64_t *grown = mem_resize(*numbers, room, room + 64, sizeof *grown);
            if (!grown) status = mem_exhausted(err, "a list of checkpoints", (room + 64) * sizeof *grown);
            if (!grown) break;
            *numbers = grown;
            room += 64;
        }
        (*numbers)[(*count)++] = number;
    }
    closedir(dir);
    if (status == OPSM_OK && *count) qsort(*numbers, *count, sizeof **numbers, newest_first);
    return status;
}

static const char *const parts[] = {"state.bin", "inputs.bin", "queue.bin", "config.yaml"};

/* What cannot be read for want of a permission may be whole. */
static bool is_damaged(const char *dir, opsm_status status) {
    bool reached = true;
    for (size_t i = 0; dir && status == OPSM_IO && reached && i < sizeof parts / sizeof *parts; i++) {
        char *path = file_join(dir, parts[i]);
        reached = path && !file_out_of_reach(path);
        mem_free(path);
    }
    return reached && (status == OPSM_FORMAT || status == OPSM_IO || status == OPSM_MISSING);
}

static char *checkpoint_path(const char *run, int64_t number, const char *suffix) {
    char name[NAME_ROOM];
    snprintf(name, sizeof name, "%s%" PRId64 "%s", PREFIX, number, suffix);
    return file_join(run, name);
}

static opsm_status prune(const char *run, int32_t keep, opsm_error *err) {
    int64_t *numbers;
    size_t count;
    opsm_status status = checkpoint_list(run, &numbers, &count, err);
    for (size_t i = (size_t)keep; status == OPSM_OK && i < count; i++) {
        char *path = checkpoint_path(run, numbers[i], "");
        status = path ? file_remove_tree(path, err) : mem_exhausted(err, "a file name", strlen(run));
        mem_free(path);
    }
    mem_free(numbers);
    return status;
}

opsm_status checkpoint_save(const char *run, const struct checkpoint *c, int32_t keep, opsm_error *err) {
    char *final = checkpoint_path(run, c->position->steps, "");
    char *temporary = checkpoint_path(run, c->position->steps, ".tmp");
    opsm_status status = final && temporary ? OPSM_OK : mem_exhausted(err, "a file name", strlen(run));
    bool there = final && file_exists(final);
    if (status == OPSM_OK && !there) {
        status = write_directory(temporary, c, err);
        if (status == OPSM_OK) status = file_rename(temporary, final, err);
        if (status != OPSM_OK) file_remove_tree(temporary, NULL);
    }
    mem_free(final);
    mem_free(temporary);
    return status == OPSM_OK ? prune(run, keep, err) : status;
}

/* ---- restoring --------------------------------------------------------------------------------------------------- */

/* Whether a checkpoint, whole in itself, is one of this run: `config` is its configuration. */
static opsm_status match(const char *run, const char *config, size_t size, struct record_in *in,
                         const struct checkpoint *c, opsm_error *err) {
    int64_t sum;
    opsm_status status = record_read_i64(in, INT64_MIN, INT64_MAX, &sum, err);
    if (status == OPSM_OK && (uint64_t)sum != hash_of(config, size))
        status = opsm_fail(err, OPSM_FORMAT, "its config.yaml is damaged: it is not the text that was written");
    if (status == OPSM_OK) status = checkpoint_match(run, config, c->config, true, err);
    if (status == OPSM_OK) status = inputs_match(c->inputs, run, in, err);
    return status == OPSM_OK ? record_finish(in, err) : status;
}

static opsm_status read_inputs(const char *run, const char *dir, const struct checkpoint *c, opsm_error *err) {
    char *path = file_join(dir, "inputs.bin"), *config_path = file_join(dir, "config.yaml"), *config = NULL;
    size_t size;
    struct record_in in = {0};
    opsm_status status = path && config_path ? OPSM_OK : mem_exhausted(err, "a file name", strlen(dir));
    if (status == OPSM_OK) status = file_read(config_path, CONFIG_LIMIT, &config, &size, err);
    if (status == OPSM_OK) status = record_open(&in, path, INPUTS_MAGIC, FORMAT_VERSION, err);
    if (status == OPSM_OK) status = match(run, config, size, &in, c, err);
    record_close(&in);
    mem_free(config);
    mem_free(config_path);
    mem_free(path);
    return status;
}

static opsm_status read_state_body(struct record_in *in, const struct checkpoint *c, opsm_error *err) {
    struct run_position position;
    opsm_status status = record_read(in, &position, sizeof position, err);
    if (status == OPSM_OK) status = record_read(in, c->threshold, sizeof *c->threshold, err);
    if (status == OPSM_OK) status = opsm_threshold_check(c->threshold, err);
    if (status == OPSM_OK) status = parameters_read(c->params, in, err);
    if (status == OPSM_OK) status = record_finish(in, err);
    if (status == OPSM_OK) *c->position = position;
    return status;
}

static opsm_status read_state(const char *path, const struct checkpoint *c, opsm_error *err) {
    struct record_in in;
    opsm_status status = record_open(&in, path, STATE_MAGIC, FORMAT_VERSION, err);
    if (status != OPSM_OK) return status;
    status = read_state_body(&in, c, err);
    record_close(&in);
    return status;
}

/* Checks the whole file before anything of the run is touched: the state, once read, has no way back. */
static opsm_status read_position(const char *dir, struct run_position *position, opsm_error *err) {
    char *path = file_join(dir, "state.bin");
    if (!path) return mem_exhausted(err, "a file name", strlen(dir));
    struct record_in in;
    opsm_status status = record_open(&in, path, STATE_MAGIC, FORMAT_VERSION, err);
    if (status == OPSM_OK) {
        status = record_read(&in, position, sizeof *position, err);
        record_close(&in);
    }
    mem_free(path);
    return status;
}

static opsm_status read_queue(const char *dir, int64_t number, const struct checkpoint *c, opsm_error *err) {
    char *path = file_join(dir, "queue.bin");
    struct record_in in = {0};
    int64_t steps;
    opsm_status status = path ? OPSM_OK : mem_exhausted(err, "a file name", strlen(dir));
    if (status == OPSM_OK) status = record_open(&in, path, QUEUE_MAGIC, FORMAT_VERSION, err);
    if (status == OPSM_OK) status = record_read_i64(&in, 0, INT64_MAX, &steps, err);
    if (status == OPSM_OK && steps != number)
        status = opsm_fail(err, OPSM_FORMAT, "its queue.bin is that of checkpoint-%" PRId64, steps);
    if (status == OPSM_OK && c->source) status = source_read(c->source, &in, err);
    if (status == OPSM_OK) status = record_finish(&in, err);
    record_close(&in);
    mem_free(path);
    return status;
}

/* The state's version first: a checkpoint of another version is not a damaged one. */
static opsm_status restore_one(const char *run, const char *dir, int64_t number, struct checkpoint *c,
                               opsm_error *err) {
    struct run_position at;
    opsm_status status = read_position(dir, &at, err);
    if (status == OPSM_OK && at.steps != number)
        status = opsm_fail(err, OPSM_FORMAT, "its state.bin is that of checkpoint-%" PRId64, at.steps);
    if (status == OPSM_OK) status = read_inputs(run, dir, c, err);
    if (status == OPSM_OK) status = read_queue(dir, number, c, err);
    return status == OPSM_OK ? in_directory(dir, "state.bin", c, read_state, err) : status;
}

/* Out of the way: the run will come to the same number again. */
static opsm_status set_aside(const char *run, int64_t number, opsm_error *err) {
    char *from = checkpoint_path(run, number, ""), *to = checkpoint_path(run, number, ".damaged");
    opsm_status status = from && to ? file_remove_tree(to, err) : mem_exhausted(err, "a file name", strlen(run));
    if (status == OPSM_OK) status = file_rename(from, to, err);
    mem_free(from);
    mem_free(to);
    return status;
}

/* *at receives the index of the newest checkpoint that is whole, `count` when there is none; *why says what is wrong
 * with the first of the others. */
static opsm_status restore_newest(const char *run, const int64_t *numbers, size_t count, struct checkpoint *c,
                                  size_t *at, opsm_error *why, opsm_error *err) {
    opsm_status status = OPSM_OK;
    for (*at = 0; *at < count; ++*at) {
        char *dir = checkpoint_path(run, numbers[*at], "");
        opsm_error here = {0};
        status = dir ? restore_one(run, dir, numbers[*at], c, &here) : mem_exhausted(&here, "a file name", strlen(run));
        bool damaged = is_damaged(dir, status);
        mem_free(dir);
        if (!damaged && status != OPSM_OK && err) *err = here;
        if (!damaged) return status;
        if (*at == 0) *why = here;
        log_line(LOG_WARN, "checkpoint-%" PRId64 " is not usable, going back to the one before: %s", numbers[*at],
                 here.text);
    }
    return OPSM_OK;
}

opsm_status checkpoint_restore(const char *run, struct checkpoint *c, bool *found, opsm_error *err) {
    *found = false;
    int64_t *numbers;
    size_t count, at = 0;
    opsm_error why = {0};
    opsm_status status = checkpoint_list(run, &numbers, &count, err);
    if (status == OPSM_OK && count) status = restore_newest(run, numbers, count, c, &at, &why, err);
    *found = status == OPSM_OK && at < count;
    if (status == OPSM_OK && count && !*found)
        status = opsm_fail(err, OPSM_FORMAT,
                           "no checkpoint in '%s' is whole, and to begin anew would overwrite its record; take another "
                           "output, or remove that directory. The newest: %s",
                           run, why.text);
    for (size_t i = 0; status == OPSM_OK && i < at; i++) status = set_aside(run, numbers[i], err);
    mem_free(numbers);
    return status;
}

/* ---- the weights alone ------------------------------------------------------------------------------------------- */

/* The beginning of what read_state_body reads: no position is compared, no moments filled. */
static opsm_status read_weights_body(struct record_in *in, struct parameters *params, opsm_error *err) {
    struct run_position position;
    opsm_threshold threshold;
    opsm_status status = record_read(in, &position, sizeof position, err);
    if (status == OPSM_OK) status = record_read(in, &threshold, sizeof threshold, err);
    return status == OPSM_OK ? parameters_read(params, in, err) : status;
}

static opsm_status read_weights(const char *path, const struct checkpoint *c, opsm_error *err) {
    struct record_in in;
    opsm_status status = record_open(&in, path, STATE_MAGIC, FORMAT_VERSION, err);
    if (status != OPSM_OK) return status;
    status = read_weights_body(&in, c->params, err);
    record_close(&in);
    return status;
}

opsm_status checkpoint_weights(const char *run, int64_t wanted, struct parameters *params, int64_t *number,
                               opsm_error *err) {
    struct checkpoint checkpoint = {.params = params};
    int64_t *numbers;
    size_t count;
    *number = -1;
    opsm_status status = checkpoint_list(run, &numbers, &count, err);
    for (size_t i = 0; status == OPSM_OK && *number < 0 && i < count; i++) {
        if (wanted >= 0 && numbers[i] != wanted) continue;
        char *dir = checkpoint_path(run, numbers[i], "");
        opsm_error why = {0};
        status = dir ? in_directory(dir, "state.bin", &checkpoint, read_weights, &why)
                     : mem_exhausted(&why, "a file name", strlen(run));
        if (status == OPSM_OK) *number = numbers[i];
        bool damaged = is_damaged(dir, status);
        if (damaged && wanted < 0) {
            log_line(LOG_WARN, "checkpoint-%" PRId64 " is not usable, taking the one before: %s", numbers[i], why.text);
            status = OPSM_OK;
        } else if (status != OPSM_OK && err) {
            *err = why;
        }
        mem_free(dir);
    }
    mem_free(numbers);
    return status;
}
