/* SPDX-License-Identifier: Apache-2.0
 *
 * A model from a file: every tensor checked against the configuration before a byte is allocated for it, then
 * de-quantised in parallel straight into the flat block, Q and K rows brought into rotate-half order on the way.
 */
#include "model/load.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/threads.h"
#include "model/layout.h"
#include <inttypes.h>
#include <stdio.h>

/* De-quantised by one task. */
enum { TASK_FLOATS = 1 << 16 };

static void shape_text(char *out, size_t room, int n_dims, const int64_t *shape) {
    size_t used = 0;
    *out = 0;
    for (int i = 0; i < n_dims && used < room; i++)
        used += (size_t)snprintf(out + used, room - used, i ? " x %" PRId64 : "%" PRId64, shape[i]);
}

static opsm_status check_tensor(const struct tensor_source *source, const struct parameter *t, opsm_error *err) {
    const struct tensor_info *found = tensor_source_find(source, t->name);
    int64_t shape[2] = {t->cols, t->rows};
    int n_dims = t->decay ? 2 : 1;
    char want[64], have[100];
    shape_text(want, sizeof want, n_dims, shape);
    if (!found)
        return opsm_fail(err, OPSM_MISSING, "%s: tensor %s (%s) is missing", tensor_source_path(source), t->name, want);
    /* Trailing dimensions of 1 say nothing. */
    bool same = found->shape[0] == shape[0] && found->shape[1] == (n_dims == 2 ? shape[1] : 1) &&
                found->shape[2] == 1 && found->shape[3] == 1;
    shape_text(have, sizeof have, found->n_dims, found->shape);
    if (!same)
        return opsm_fail(err, OPSM_FORMAT, "%s: tensor %s is %s, expected %s", tensor_source_path(source), t->name,
                         have, want);
    const struct quant_traits *traits = quant_traits(found->type);
    if (!traits->decode)
        return opsm_fail(err, OPSM_UNSUPPORTED, "%s: tensor %s has type %s, which opsm cannot read",
                         tensor_source_path(source), t->name, traits->name);
    return OPSM_OK;
}

/* A tensor that we would not use means a computation that we would get wrong. */
static opsm_status check_nothing_else(const struct model *m, const struct tensor_source *source, opsm_error *err) {
    for (int64_t i = 0; i < source->n_tensors; i++) {
        const char *name = source->tensors[i].name;
        if (strcmp(name, "rope_freqs.weight") == 0) continue;
        bool known = false;
        for (int j = 0; j < m->params.n_tensors && !known; j++) known = strcmp(name, m->params.tensors[j].name) == 0;
        if (!known)
            return opsm_fail(err, OPSM_UNSUPPORTED,
                             "%s: tensor %s is not part of a %s model as opsm knows it (%d "
                             "layers%s)",
                             tensor_source_path(source), name, m->config.architecture->name, m->config.n_layers,
                             m->config.tied ? ", tied head" : "");
    }
    return OPSM_OK;
}

static opsm_status check_tensors(const struct model *m, const struct tensor_source *source, opsm_error *err) {
    for (int i = 0; i < m->params.n_tensors; i++) {
        opsm_status status = check_tensor(source, &m->params.tensors[i], err);
        if (status != OPSM_OK) return status;
    }
    return check_nothing_else(m, source, err);
}

static opsm_status check_finite(const struct tensor_source *source, const char *name, int64_t first, const float *x,
                                int64_t n, opsm_error *err) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return opsm_fail(err, OPSM_NONFINITE,
                             "%s: tensor %s holds a value that is not finite (element %" PRId64
                             "); the file is damaged",
                             tensor_source_path(source), name, first + i);
    return OPSM_OK;
}

/* Whether its rows lie otherwise in the file than here. */
static bool is_turned(const struct model *m, const struct tensor_source *source, const struct parameter *t) {
    return !source->rotate_half && model_is_interleaved(m, t);
}

/* Rows [first, first + n) of a matrix to where they belong in `base`, its own. */
static opsm_status read_rows(const struct model *m, const struct tensor_source *source, const struct tensor_info *from,
                             const struct parameter *t, int64_t first, int64_t n, float *base, opsm_error *err) {
    if (!is_turned(m, source, t)) {
        float *out = base + first * t->cols;
        opsm_status status = tensor_source_read(source, from, first * t->cols, n * t->cols, out, err);
        return status == OPSM_OK ? check_finite(source, t->name, first * t->cols, out, n * t->cols, err) : status;
    }
    for (int64_t row = first; row < first + n; row++) {
        float *out = base + model_rotate_half_row(row, m->config.head_dim) * t->cols;
        opsm_status status = tensor_source_read(source, from, row * t->cols, t->cols, out, err);
        if (status == OPSM_OK) status = check_finite(source, t->name, row * t->cols, out, t->cols, err);
        if (status != OPSM_OK) return status;
    }
    return OPSM_OK;
}

opsm_status model_read_matrix(const struct model *m, const struct parameter *t, float *out, opsm_error *err) {
    const struct tensor_source *source = m->source;
    const struct tensor_info *from = tensor_source_find(source, t->name);
    int64_t step = t->cols < TASK_FLOATS ? TASK_FLOATS / t->cols : 1;
    int64_t n_tasks = (t->rows + step - 1) / step, worst = n_tasks;
    opsm_status status = OPSM_OK;
#pragma omp parallel for schedule(dynamic) num_threads(threads_count())
    for (int64_t task = 0; task < n_tasks; task++) {
        int64_t first = task * step, n = t->rows - first < step ? t->rows - first : step;
        opsm_error here = {0};
        opsm_status code = read_rows(m, source, from, t, first, n, out, &here);
        if (code == OPSM_OK) continue;
#pragma omp critical(model_read_matrix)
        if (task < worst) { /* report the first bad place, whichever thread met it */
            worst = task;
            status = opsm_fail(err, code, "%s", here.text);
        }
    }
    return status;
}

static opsm_status read_vector(const struct model *m, const struct tensor_source *source,
                               const struct tensor_info *from, const struct parameter *t, opsm_error *err) {
    float *out = m->params.values + t->offset;
    opsm_status status = tensor_source_read(source, from, 0, t->cols, out, err);
    if (status == OPSM_OK) status = check_finite(source, t->name, 0, out, t->cols, err);
    if (status != OPSM_OK || !is_turned(m, source, t)) return status;
    float *ours = mem_alloc((size_t)t->cols, sizeof *ours);
    if (!ours) return mem_exhausted(err, t->name, (size_t)t->cols * sizeof *ours);
    for (int64_t i = 0; i < t->cols; i++) ours[model_rotate_half_row(i, m->config.head_dim)] = out[i];
    memcpy(out, ours, (size_t)t->cols * sizeof *ours);
    mem_free(ours);
    return OPSM_OK;
}

/* W [n_out, n_in] of a product, tensor after tensor. */
static opsm_status read_product(const struct model *m, const struct linear *l, float *w, opsm_error *err) {
    const struct parameter *t = &m->params.tensors[l->tensor];
    opsm_status status = OPSM_OK;
    for (int64_t row = 0; row < l->n_out && status == OPSM_OK; row += t++->rows)
        status = model_read_matrix(m, t, w + row * l->n_in, err);
    return status;
}

/* The blocks of a product that keeps them, row after row to where ours lie. */
static void copy_blocks(const struct model *m, const struct linear *l) {
    uint8_t *to = l->blocks;
    for (int i = 0; i < l->n_parts; i++) {
        const struct parameter *t = &m->params.tensors[l->tensor + i];
        const struct tensor_info *from = tensor_source_find(m->source, t->name);
        size_t bytes = linear_part_bytes(l, i), row_bytes = bytes / (size_t)t->rows;
        bool turned = is_turned(m, m->source, t);
        for (int64_t row = 0; row < t->rows; row++) {
            int64_t place = turned ? model_rotate_half_row(row, m->config.head_dim) : row;
            memcpy(to + (size_t)place * row_bytes, from->data + (size_t)row * row_bytes, row_bytes);
        }
        to += bytes;
    }
}

/* The frozen matrices, one product's at a time: their hash, and (`lay_out`) into their layouts. */
static opsm_status read_frozen(const struct model *m, bool lay_out, uint64_t *sum, opsm_error *err) {
    opsm_status status = OPSM_OK;
    *sum = 0;
    for (int32_t i = 0; i < m->n_linears && status == OPSM_OK; i++) {
        struct linear *l = &m->linears[i];
        if (l->weight >= 0) continue;
        size_t n = (size_t)(l->n_out * l->n_in);
        log_phase("loading", (double)i / m->n_linears, 1);
        float *w = mem_alloc(n, sizeof *w);
        if (!w) return mem_exhausted(err, "a matrix", n * sizeof *w);
        status = read_product(m, l, w, err);
        if (status == OPSM_OK) *sum = *sum * 31 + record_sum(w, n * sizeof *w);
        if (status == OPSM_OK && lay_out && l->n_parts == 0) status = gemm_weight_pack(l->packed, w, err);
        if (status == OPSM_OK && lay_out) copy_blocks(m, l);
        mem_free(w);
        tensor_source_drop_pages(m->source);
    }
    return status;
}

opsm_status model_check_frozen(const struct model *m, opsm_error *err) {
    uint64_t sum;
    opsm_status status = read_frozen(m, false, &sum, err);
    if (status != OPSM_OK || sum == m->frozen_sum) return status;
    return opsm_fail(
        err, OPSM_IO,
        "'%s' was written over while the run went on, and its weights are no longer those that the adapters "
        "belong to; bring back what it was, and repeat the command",
        tensor_source_path(m->source));
}

static opsm_status read_tensors(struct model *m, const struct tensor_source *source, opsm_error *err) {
    for (int i = 0; i < m->params.n_tensors; i++) {
        const struct parameter *t = &m->params.tensors[i];
        if (t->offset < 0) continue;
        log_phase("loading", (double)i / m->params.n_tensors, 1);
        opsm_status status = t->decay ? model_read_matrix(m, t, m->params.values + t->offset, err)
                                      : read_vector(m, source, tensor_source_find(source, t->name), t, err);
        if (status != OPSM_OK) return status;
    }
    return read_frozen(m, true, &m->frozen_sum, err);
}

opsm_status model_inspect(const struct tensor_source *source, struct model_config *config, int64_t *n_weights,
                          opsm_error *err) {
    struct model m = {0};
    opsm_status status = model_config_read(&m.config, source, err);
    if (status == OPSM_OK) status = model_layout(&m, err);
    if (status == OPSM_OK) status = check_tensors(&m, source, err);
    *config = m.config;
    *n_weights = m.params.n_weights;
    model_layout_free(&m);
    return status;
}

/* Everything but the weights. */
static opsm_status read_header(struct model *m, opsm_error *err) {
    opsm_status status = model_config_read(&m->config, m->source, err);
    if (status == OPSM_OK) status = model_layout(m, err);
    if (status == OPSM_OK) status = check_tensors(m, m->source, err);
    return status == OPSM_OK ? model_read_text(m, err) : status;
}

opsm_status model_open_source(struct model **model, struct tensor_source *source, enum dtype precision,
                              opsm_error *err) {
    *model = NULL;
    struct model *m = model_new(source, precision, err);
    if (!m) {
        tensor_source_close(source);
        return OPSM_NOMEM;
    }
    opsm_status status = read_header(m, err);
    if (status != OPSM_OK) {
        model_free(m);
        return status;
    }
    *model = m;
    return OPSM_OK;
}

opsm_status model_open(struct model **model, const char *path, enum dtype precision, opsm_error *err) {
    *model = NULL;
    struct tensor_source *source;
    opsm_status status = tensor_source_open(&source, path, err);
    return status == OPSM_OK ? model_open_source(model, source, precision, err) : status;
}

opsm_status model_read(struct model *m, bool trainable, opsm_error *err) {
    size_t bytes = model_bytes(m, trainable) + (trainable ? parameters_bytes(model_to_train(m)) : 0);
    opsm_status status =
        limits_check(tensor_source_path(m->source), bytes, bytes, 0, "take a smaller model or another precision", err);
    if (status == OPSM_OK) status = model_allocate(m, trainable, err);
    if (status == OPSM_OK) status = model_rope_frequencies(m->inv_freq, &m->config, m->source, err);
    if (status == OPSM_OK) status = read_tensors(m, m->source, err);
    if (status == OPSM_OK) model_adapters_start(m);
    tensor_source_drop_pages(m->source); /* the weights are ours now: the map would count as memory of this process */
    return status == OPSM_OK ? model_publish(m, err) : status;
}

opsm_status model_load_source(struct model **model, struct tensor_source *source, enum dtype precision, bool trainable,
                              opsm_error *err) {
    opsm_status status = model_open_source(model, source, precision, err);
    if (status == OPSM_OK) status = model_read(*model, trainable, err);
    if (status == OPSM_OK) return OPSM_OK;
    model_free(*model);
    *model = NULL;
    return status;
}

opsm_status model_load(struct model **model, const char *path, enum dtype precision, bool trainable, opsm_error *err) {
    *model = NULL;
    struct tensor_source *source;
    opsm_status status = tensor_source_open(&source, path, err);
    if (status == OPSM_OK) status = model_load_source(model, source, precision, trainable, err);
    log_phase(NULL, 0, 0);
    return status;
}
