/* SPDX-License-Identifier: Apache-2.0 */
#include "model/convert.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/threads.h"
#include "io/hf_names.h"
#include "io/hf_write.h"
#include "io/quant_mixture.h"
#include "io/safetensors.h"
#include "model/layout.h"
#include "model/save.h"
#include <stdio.h>
#include <string.h>

/* ---- values ------------------------------------------------------------------------------------------------------ */

/* Rows [first, first + n) of the file, of `width` elements, to their place in `out`. */
struct rows {
    const struct tensor_source *source;
    const struct tensor_info *from;
    int64_t width, head_dim;
    enum { AS_THEY_LIE, TO_HALVES, TO_PAIRS } turn;
    float *out;
};

static opsm_status read_row(const struct rows *r, int64_t row, opsm_error *err) {
    int64_t turned = model_rotate_half_row(row, r->head_dim);
    int64_t from = r->turn == TO_PAIRS ? turned : row, to = r->turn == TO_HALVES ? turned : row;
    return tensor_source_read(r->source, r->from, from * r->width, r->width, r->out + to * r->width, err);
}

static opsm_status read_rows(const struct rows *r, int64_t n, opsm_error *err) {
    opsm_status status = OPSM_OK;
#pragma omp parallel for schedule(static) num_threads(threads_count())
    for (int64_t row = 0; row < n; row++) {
        opsm_error here = {0};
        opsm_status code = read_row(r, row, &here);
        if (code == OPSM_OK) continue;
#pragma omp critical(model_convert_read)
        status = opsm_fail(err, code, "%s", here.text);
    }
    return status;
}

/* All values of a parameter, rows of queries and keys in halves (`halves`) or as GGUF has them. */
static opsm_status read_values(const struct model *m, const struct parameter *t, bool halves, float *out,
                               opsm_error *err) {
    bool turn = model_is_interleaved(m, t) && m->source->rotate_half != halves;
    struct rows r = {.source = m->source,
                     .from = tensor_source_find(m->source, t->name),
                     .width = t->decay ? t->cols : 1,
                     .head_dim = m->config.head_dim,
                     .turn = !turn    ? AS_THEY_LIE
                             : halves ? TO_HALVES
                                      : TO_PAIRS,
                     .out = out};
    if (t->decay || turn) return read_rows(&r, t->decay ? t->rows : t->cols, err);
    return tensor_source_read(m->source, r.from, 0, t->cols, out, err);
}

static bool is_float(enum quant_type type) {
    return type == QUANT_F32 || type == QUANT_F16 || type == QUANT_BF16;
}

/* Of a matrix that stays as it is. */
static enum quant_type kept_type(const struct model *m, const char *name) {
    enum quant_type own = tensor_source_find(m->source, name)->type;
    return is_float(own) ? own : QUANT_BF16;
}

static enum quant_type main_type(const struct model *m, const struct conversion *c) {
    return c->keep ? kept_type(m, "token_embd.weight") : c->type;
}

static int64_t count(const struct parameter *t) {
    return t->rows * t->cols;
}

/* Room for the largest tensor. */
static opsm_status allocate(const struct model *m, float **values, opsm_error *err) {
    int64_t most = 0;
    for (int i = 0; i < m->params.n_tensors; i++)
        if (count(&m->params.tensors[i]) > most) most = count(&m->params.tensors[i]);
    *values = mem_alloc((size_t)most, sizeof **values);
    return *values ? OPSM_OK : mem_exhausted(err, "the largest tensor of the model", (size_t)most * sizeof **values);
}

/* ---- to GGUF ----------------------------------------------------------------------------------------------------- */

static opsm_status announce_gguf(struct gguf_writer *w, const struct model *m, const struct conversion *c,
                                 opsm_error *err) {
    const struct model_config *config = &m->config;
    struct quant_mixture mixture = {.base = c->type,
                                    .n_layers = config->n_layers,
                                    .tied = config->tied,
                                    .shared_heads = !config->qk_norm && config->n_kv_heads < config->n_heads};
    const struct tensor_info *factors = tensor_source_find(m->source, "rope_freqs.weight");
    opsm_status status = OPSM_OK;
    if (factors) status = gguf_writer_add_tensor(w, factors->name, 1, factors->shape, QUANT_F32, err);
    for (int i = 0; i < m->params.n_tensors && status == OPSM_OK; i++) {
        const struct parameter *t = &m->params.tensors[i];
        int64_t shape[2] = {t->cols, t->rows};
        int n_dims = t->decay ? 2 : 1;
        enum quant_type type = !t->decay ? QUANT_F32
                               : c->keep ? kept_type(m, t->name)
                                         : quant_mixture_type(&mixture, t->name, n_dims, shape, QUANT_F32);
        status = gguf_writer_add_tensor(w, t->name, n_dims, shape, type, err);
    }
    return status;
}

static opsm_status put_gguf(struct gguf_writer *w, const struct model *m, float *values, opsm_error *err) {
    const struct tensor_info *factors = tensor_source_find(m->source, "rope_freqs.weight");
    opsm_status status = factors ? model_put_factors(w, m->source, factors, err) : OPSM_OK;
    for (int i = 0; i < m->params.n_tensors && status == OPSM_OK; i++) {
        const struct parameter *t = &m->params.tensors[i];
        log_phase("converting", (double)i / m->params.n_tensors, 1);
        status = read_values(m, t, false, values, err);
        if (status == OPSM_OK) status = gguf_writer_put(w, values, count(t), err);
    }
    return status;
}

static opsm_status write_gguf(const struct model *m, const char *path, const struct metadata *metadata,
                              const struct conversion *c, float *values, opsm_error *err) {
    struct gguf_writer *w;
    opsm_status status = gguf_writer_create(&w, path, metadata, err);
    if (status != OPSM_OK) return status;
    status = announce_gguf(w, m, c, err);
    if (status == OPSM_OK) status = put_gguf(w, m, values, err);
    if (status == OPSM_OK) return gguf_writer_commit(w, err);
    gguf_writer_abort(w);
    return status;
}

opsm_status model_convert_to_gguf(const struct model *m, const char *path, const struct conversion *c,
                                  opsm_error *err) {
    uint32_t number = 0;
    float *values = NULL;
    struct metadata metadata = {0};
    opsm_status status = model_file_type(main_type(m, c), &number, err);
    if (status == OPSM_OK) status = metadata_init(&metadata, path, err);
    if (status == OPSM_OK) status = model_collect_metadata(&metadata, m, number, err);
    if (status == OPSM_OK) status = allocate(m, &values, err);
    if (status == OPSM_OK) status = write_gguf(m, path, &metadata, c, values, err);
    mem_free(values);
    metadata_free(&metadata);
    log_phase(NULL, 0, 0);
    return status;
}

/* ---- to Hugging Face --------------------------------------------------------------------------------------------- */

static opsm_status announce_hf(struct safetensors_writer *w, const struct model *m, const struct conversion *c,
                               opsm_error *err) {
    char name[HF_NAME_ROOM];
    opsm_status status = OPSM_OK;
    for (int i = 0; i < m->params.n_tensors && status == OPSM_OK; i++) {
        const struct parameter *t = &m->params.tensors[i];
        int64_t matrix[2] = {t->rows, t->cols};
        enum quant_type type = !t->decay ? QUANT_F32 : c->keep ? kept_type(m, t->name) : c->type;
        if (!hf_name_from_gguf(name, t->name, false))
            return opsm_fail(err, OPSM_UNSUPPORTED, "tensor %s has no name in Hugging Face directories", t->name);
        status = safetensors_writer_add(w, name, t->decay ? 2 : 1, t->decay ? matrix : matrix + 1, type, err);
    }
    return status;
}

static opsm_status put_hf(struct safetensors_writer *w, const struct model *m, float *values, opsm_error *err) {
    opsm_status status = OPSM_OK;
    int64_t next, done = 0;
    while (status == OPSM_OK && (next = safetensors_writer_next(w)) >= 0) {
        const struct parameter *t = &m->params.tensors[next];
        log_phase("converting", (double)done++ / m->params.n_tensors, 1);
        status = read_values(m, t, true, values, err);
        if (status == OPSM_OK) status = safetensors_writer_put(w, values, count(t), err);
    }
    return status;
}

static opsm_status write_weights(const struct model *m, const char *dir, const struct conversion *c, float *values,
                                 opsm_error *err) {
    const uint64_t shard_bytes = 5000000000u;
    struct safetensors_writer *w;
    char *path = file_join(dir, "model.safetensors");
    if (!path) return mem_exhausted(err, "a file name", 0);
    opsm_status status = safetensors_writer_create(&w, path, shard_bytes, err);
    mem_free(path);
    if (status != OPSM_OK) return status;
    status = announce_hf(w, m, c, err);
    if (status == OPSM_OK) status = put_hf(w, m, values, err);
    if (status == OPSM_OK) return safetensors_writer_commit(w, err);
    safetensors_writer_abort(w);
    return status;
}

/* The small files first: they may refuse what would have been written in vain. */
static opsm_status write_small_files(const struct model *m, const char *dir, const struct conversion *c,
                                     const struct metadata *metadata, float *values, opsm_error *err) {
    const struct tensor_info *factors = tensor_source_find(m->source, "rope_freqs.weight");
    struct hf_traits traits = {.tied = m->config.tied,
                               .qkv_bias = m->config.qkv_bias,
                               .head_dim = m->config.head_dim,
                               .type = main_type(m, c)};
    opsm_status status = OPSM_OK;
    if (factors) { /* model_open has not looked at it; the largest tensor has more elements than a head's half */
        if (factors->n_elements != m->config.head_dim / 2)
            return opsm_fail(err, OPSM_FORMAT, "%s: tensor rope_freqs.weight has %lld elements, expected %d",
                             tensor_source_path(m->source), (long long)factors->n_elements, m->config.head_dim / 2);
        status = tensor_source_read(m->source, factors, 0, factors->n_elements, values, err);
        traits.rope_factors = values;
    }
    if (status == OPSM_OK) status = hf_config_write(metadata, &traits, dir, err);
    return status == OPSM_OK ? hf_tokenizer_write(metadata, dir, err) : status;
}

static opsm_status fill_directory(const struct model *m, const char *dir, const struct conversion *c, opsm_error *err) {
    float *values = NULL;
    struct metadata metadata = {0};
    opsm_status status = metadata_init(&metadata, tensor_source_path(m->source), err);
    if (status == OPSM_OK) status = model_collect_metadata(&metadata, m, 0, err);
    if (status == OPSM_OK) status = allocate(m, &values, err);
    if (status == OPSM_OK) status = write_small_files(m, dir, c, &metadata, values, err);
    if (status == OPSM_OK) status = write_weights(m, dir, c, values, err);
    mem_free(values);
    metadata_free(&metadata);
    return status;
}

opsm_status model_convert_to_hf(const struct model *m, const char *dir, const struct conversion *c, opsm_error *err) {
    struct text partial = {0};
    if (!is_float(main_type(m, c)))
        return opsm_fail(err, OPSM_INVALID, "a Hugging Face directory is written as F32, F16 or BF16, not as %s",
                         quant_traits((uint32_t)c->type)->name);
    if (file_exists(dir)) return opsm_fail(err, OPSM_IO, "'%s' is there already; name one that is not", dir);
    text_printf(&partial, "%s.partial", dir);
    if (partial.failed) return mem_exhausted(err, "a file name", 0);
    opsm_status status = file_remove_tree(partial.data, err);
    if (status == OPSM_OK) status = file_make_dir(partial.data, err);
    if (status == OPSM_OK) status = fill_directory(m, partial.data, c, err);
    if (status == OPSM_OK) status = file_rename(partial.data, dir, err);
    if (status != OPSM_OK) file_remove_tree(partial.data, NULL);
    text_free(&partial);
    log_phase(NULL, 0, 0);
    return status;
}
