/* SPDX-License-Identifier: Apache-2.0 */
#include "train/inputs.h"
#include "base/hash.h"
#include "base/mem.h"
#include <inttypes.h>
#include <string.h>

static const char ADVICE[] = "bring back what it was, or take another output";

static void add_key(uint64_t *sum, const struct metadata_value *value) {
    hash_add(sum, value->key.data, value->key.length);
    hash_add_i64(sum, (int64_t)value->type << 8 | (int64_t)value->element);
    hash_add(sum, value->data, value->size);
}

static void take_keys(struct inputs *inputs, const struct model *model) {
    static const char text[] = "tokenizer.";
    const struct metadata *metadata = &model->source->metadata;
    for (int64_t i = 0; i < metadata->n; i++) {
        const struct metadata_value *value = &metadata->values[i];
        bool of_text = value->key.length >= sizeof text - 1 && !memcmp(value->key.data, text, sizeof text - 1);
        add_key(of_text ? &inputs->tokenizer : &inputs->metadata, value);
    }
}

opsm_status inputs_take(struct inputs *inputs, const struct run_config *config, const struct model *model,
                        const struct data_source *source, opsm_error *err) {
    *inputs = (struct inputs){.model = config->model ? config->model : "(fresh)"};
    inputs->weights = record_sum(model->params.values, parameters_bytes(&model->params)) ^ model->frozen_sum;
    if (config->train.lora_init) /* its content counts, too */
        inputs->weights ^= record_sum(model->adapters.values, parameters_bytes(&model->adapters));
    take_keys(inputs, model);
    if (data_task(source)) return OPSM_OK;
    inputs->trained = data_count(source, DATA_TRAIN);
    inputs->files[0] = config->data.file;
    inputs->files[1] = config->data.eval_file;
    opsm_status status = OPSM_OK;
    for (int i = 0; status == OPSM_OK && i < 2; i++)
        if (inputs->files[i]) status = data_rows(source, i, &inputs->rows[i], &inputs->n_rows[i], err);
    if (status != OPSM_OK) inputs_free(inputs);
    return status;
}

opsm_status inputs_check_keys(const struct inputs *inputs, const struct model *model, opsm_error *err) {
    struct inputs now = {0};
    take_keys(&now, model);
    if (now.tokenizer == inputs->tokenizer && now.metadata == inputs->metadata) return OPSM_OK;
    return opsm_fail(err, OPSM_IO,
                     "'%s' was written over while the run went on, and its tokenizer or metadata are no longer those "
                     "that belong to the weights; bring back what it was, and repeat the command",
                     inputs->model);
}

void inputs_free(struct inputs *inputs) {
    mem_free(inputs->rows[0]);
    mem_free(inputs->rows[1]);
    *inputs = (struct inputs){0};
}

void inputs_write(const struct inputs *inputs, struct record_out *out) {
    record_write_i64(out, inputs->supervised);
    record_write_i64(out, (int64_t)inputs->weights);
    record_write_i64(out, (int64_t)inputs->tokenizer);
    record_write_i64(out, (int64_t)inputs->metadata);
    for (int i = 0; i < 2; i++) {
        record_write_i64(out, inputs->n_rows[i]);
        for (int64_t r = 0; r < inputs->n_rows[i]; r++) record_write_i64(out, (int64_t)inputs->rows[i][r].hash);
    }
    record_write_i64(out, inputs->trained);
}

static opsm_status match_model(const struct inputs *inputs, const char *run, struct record_in *in, opsm_error *err) {
    const struct {
        const char *what;
        uint64_t now;
    } parts[] = {{"weights", inputs->weights}, {"tokenizer", inputs->tokenizer}, {"metadata", inputs->metadata}};
    const char *differs = NULL;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        int64_t saved;
        opsm_status status = record_read_i64(in, INT64_MIN, INT64_MAX, &saved, err);
        if (status != OPSM_OK) return status;
        if (!differs && (uint64_t)saved != parts[i].now) differs = parts[i].what;
    }
    if (!differs) return OPSM_OK;
    return opsm_fail(err, OPSM_INVALID,
                     "the model '%s' is not the one that the run in '%s' began with: the %s differ%s; %s",
                     inputs->model, run, differs, !strcmp(differs, "tokenizer") ? "s" : "", ADVICE);
}

/* One of the data files. */
static opsm_status match_rows(const struct inputs *inputs, int file, const char *run, struct record_in *in,
                              opsm_error *err) {
    int64_t saved, n = inputs->n_rows[file];
    opsm_status status = record_read_i64(in, 0, INT64_MAX, &saved, err);
    if (status != OPSM_OK) return status;
    const char *name = inputs->files[file];
    for (int64_t r = 0; r < saved; r++) {
        int64_t hash;
        status = record_read_i64(in, INT64_MIN, INT64_MAX, &hash, err);
        if (status != OPSM_OK) return status;
        if (r < n && (uint64_t)hash != inputs->rows[file][r].hash)
            return opsm_fail(err, OPSM_INVALID,
                             "'%s', line %" PRId64 ": row %" PRId64
                             " differs from the one that the run in '%s' learns from; %s",
                             name, inputs->rows[file][r].line, r + 1, run, ADVICE);
    }
    if (saved == n) return OPSM_OK;
    return opsm_fail(err, OPSM_INVALID,
                     "'%s' has %" PRId64 " rows, the run in '%s' began with %" PRId64
                     ": the order of all of them would change; %s",
                     name ? name : "data.eval_file", n, run, saved, ADVICE);
}

/* The same rows, cut into training and evaluation in the same way. */
static opsm_status match_cut(const struct inputs *inputs, const char *run, struct record_in *in, opsm_error *err) {
    int64_t saved = 0;
    opsm_status status = record_read_i64(in, 0, INT64_MAX, &saved, err);
    if (status != OPSM_OK || saved == inputs->trained) return status;
    return opsm_fail(err, OPSM_INVALID,
                     "the run in '%s' trains on %" PRId64 " rows, and now it would be %" PRId64
                     ": without data.eval_file, train.eval_every=0 trains on the held-out rows, too; %s",
                     run, saved, inputs->trained, ADVICE);
}

opsm_status inputs_match(const struct inputs *inputs, const char *run, struct record_in *in, opsm_error *err) {
    int64_t supervised = 0;
    opsm_status status = record_read_i64(in, 0, 1, &supervised, err);
    if (status == OPSM_OK && inputs->supervised != (supervised == 1))
        return opsm_fail(err, OPSM_INVALID, "'%s' holds a run of `opsm %s`; take another output", run,
                         supervised ? "sft" : "train");
    if (status == OPSM_OK) status = match_model(inputs, run, in, err);
    for (int file = 0; status == OPSM_OK && file < 2; file++) status = match_rows(inputs, file, run, in, err);
    if (status == OPSM_OK) status = match_cut(inputs, run, in, err);
    return status;
}
