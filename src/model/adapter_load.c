/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/mem.h"
#include "io/safetensors.h"
#include "model/adapter_names.h"
#include "model/layout.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CONFIG_LIMIT = 1 << 20 };

static const char ADVICE[] = "give train.lora the rank, alpha, rslora and targets that the adapter has";

static opsm_status check_scale(const struct model *m, const char *path, double scale, opsm_error *err) {
    double ours = lora_scale(&m->lora);
    if (fabs(scale - ours) <= 1e-6 * fabs(ours)) return OPSM_OK;
    return opsm_fail(err, OPSM_INVALID, "'%.150s' scales by %g, and train.lora by %g: %s", path, scale, ours, ADVICE);
}

static opsm_status missing(const char *path, const char *name, opsm_error *err) {
    return opsm_fail(err, OPSM_INVALID, "'%.150s' has no tensor %s: %s", path, name, ADVICE);
}

static opsm_status misshapen(const char *path, const struct parameter *t, int64_t rows, int64_t cols, opsm_error *err) {
    return opsm_fail(err, OPSM_INVALID, "'%.150s': %s is %lld x %lld, expected %lld x %lld: %s", path, t->name,
                     (long long)rows, (long long)cols, (long long)t->rows, (long long)t->cols, ADVICE);
}

/* There may be no more than what is asked for, all of which was found. */
static opsm_status check_count(const struct model *m, const char *path, int64_t n, opsm_error *err) {
    if (n == m->adapters.n_tensors) return OPSM_OK;
    return opsm_fail(err, OPSM_INVALID, "'%.150s' has %lld tensors, expected %d: %s", path, (long long)n,
                     m->adapters.n_tensors, ADVICE);
}

static opsm_status check_finite(const struct model *m, const char *path, opsm_error *err) {
    for (int64_t i = 0; i < m->adapters.size; i++)
        if (!isfinite(m->adapters.values[i]))
            return opsm_fail(err, OPSM_NONFINITE, "'%.150s' holds a value that is not finite", path);
    return OPSM_OK;
}

/* ---- GGUF -------------------------------------------------------------------------------------------------------- */

static opsm_status read_rows(struct model *m, const struct tensor_source *source, const struct parameter *t,
                             opsm_error *err) {
    const struct tensor_info *from = tensor_source_find(source, t->name);
    float *to = m->adapters.values + t->offset;
    if (!from) return missing(tensor_source_path(source), t->name, err);
    if (from->shape[0] != t->cols || from->shape[1] != t->rows || from->n_elements != t->rows * t->cols)
        return misshapen(tensor_source_path(source), t, from->shape[1], from->shape[0], err);
    if (!adapter_is_interleaved(m, t)) return tensor_source_read(source, from, 0, from->n_elements, to, err);
    float *rows = mem_alloc((size_t)from->n_elements, sizeof *rows);
    if (!rows) return mem_exhausted(err, t->name, (size_t)from->n_elements * sizeof *rows);
    opsm_status status = tensor_source_read(source, from, 0, from->n_elements, rows, err);
    for (int64_t row = 0; status == OPSM_OK && row < t->rows; row++)
        memcpy(to + model_rotate_half_row(row, m->config.head_dim) * t->cols, rows + row * t->cols,
               (size_t)t->cols * sizeof *to);
    mem_free(rows);
    return status;
}

static opsm_status load_gguf(struct model *m, const char *path, opsm_error *err) {
    struct tensor_source *source;
    float alpha;
    opsm_status status = tensor_source_open(&source, path, err);
    if (status != OPSM_OK) return status;
    status = metadata_get_f32(&source->metadata, "adapter.lora.alpha", &alpha, err);
    for (int32_t i = 0; i < m->adapters.n_tensors && status == OPSM_OK; i++)
        status = read_rows(m, source, &m->adapters.tensors[i], err);
    if (status == OPSM_OK) status = check_count(m, path, source->n_tensors, err);
    if (status == OPSM_OK) status = check_scale(m, path, (double)alpha / m->lora.rank, err);
    tensor_source_close(source);
    return status;
}

/* ---- PEFT -------------------------------------------------------------------------------------------------------- */

static bool is_set(const json_t *config, const char *key) {
    const json_t *value = json_object_get(config, key);
    return json_is_true(value) || (json_is_object(value) && json_object_size(value) > 0) || json_is_array(value);
}

static opsm_status check_peft(const struct model *m, const json_t *config, const char *path, opsm_error *err) {
    static const char *const foreign[] = {"use_dora", "rank_pattern", "alpha_pattern", "modules_to_save",
                                          "fan_in_fan_out"};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (is_set(config, foreign[i]))
            return opsm_fail(err, OPSM_UNSUPPORTED, "'%.150s': %s is not supported", path, foreign[i]);
    const json_t *rank = json_object_get(config, "r"), *alpha = json_object_get(config, "lora_alpha");
    if (!json_is_integer(rank) || !json_is_number(alpha))
        return opsm_fail(err, OPSM_FORMAT, "'%.150s': expected numbers r and lora_alpha", path);
    if (json_integer_value(rank) != m->lora.rank)
        return opsm_fail(err, OPSM_INVALID, "'%.150s' has rank %lld, and train.lora %d: %s", path,
                         (long long)json_integer_value(rank), m->lora.rank, ADVICE);
    struct lora_config lora = {.rank = m->lora.rank,
                               .alpha = json_number_value(alpha),
                               .rslora = json_is_true(json_object_get(config, "use_rslora"))};
    return check_scale(m, path, lora_scale(&lora), err);
}

static opsm_status check_config(const struct model *m, const char *path, opsm_error *err) {
    char *text;
    size_t size;
    json_error_t where;
    opsm_status status = file_read(path, CONFIG_LIMIT, &text, &size, err);
    if (status != OPSM_OK) return status;
    json_t *config = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(config))
        status =
            opsm_fail(err, OPSM_FORMAT, "'%.150s', line %d: expected a JSON object", path, config ? 1 : where.line);
    else
        status = check_peft(m, config, path, err);
    json_decref(config);
    mem_free(text);
    return status;
}

static opsm_status read_peft(struct model *m, const struct safetensors *file, const struct parameter *t,
                             opsm_error *err) {
    char name[ADAPTER_NAME_ROOM];
    if (!adapter_name_of_peft(name, t->name)) return opsm_fail(err, OPSM_INTERNAL, "%s has no name in PEFT", t->name);
    const struct safetensors_tensor *from = safetensors_find(file, name);
    if (!from) return missing(file->path, name, err);
    if (from->n_dims != 2) return misshapen(file->path, t, from->n_elements, 1, err);
    if (from->shape[0] != t->rows || from->shape[1] != t->cols)
        return misshapen(file->path, t, from->shape[0], from->shape[1], err);
    return safetensors_read(file, from, 0, from->n_elements, m->adapters.values + t->offset, err);
}

static opsm_status load_weights(struct model *m, const char *path, opsm_error *err) {
    struct safetensors *file;
    opsm_status status = safetensors_open(&file, path, err);
    if (status != OPSM_OK) return status;
    for (int32_t i = 0; i < m->adapters.n_tensors && status == OPSM_OK; i++)
        status = read_peft(m, file, &m->adapters.tensors[i], err);
    if (status == OPSM_OK) status = check_count(m, path, file->n_tensors, err);
    safetensors_close(file);
    return status;
}

static opsm_status load_peft(struct model *m, const char *dir, opsm_error *err) {
    char *config = file_join(dir, "adapter_config.json"), *weights = file_join(dir, "adapter_model.safetensors");
    opsm_status status = config && weights ? check_config(m, config, err) : mem_exhausted(err, "a file name", 0);
    if (status == OPSM_OK) status = load_weights(m, weights, err);
    mem_free(config);
    mem_free(weights);
    return status;
}

opsm_status adapter_load(struct model *m, const char *path, opsm_error *err) {
    opsm_status status = file_is_dir(path) ? load_peft(m, path, err) : load_gguf(m, path, err);
    return status == OPSM_OK ? check_finite(m, path, err) : status;
}
