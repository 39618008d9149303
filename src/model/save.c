/* SPDX-License-Identifier: Apache-2.0
 *
 * A model as a GGUF file that other readers load: the original's metadata and tokenizer, tensors back in the file's
 * row order.
 */
#include "model/save.h"
#include "base/mem.h"
#include "io/gguf.h"
#include "model/config.h"
#include "model/layout.h"
#include "model/load.h"

/* Numbers of general.file_type (llama_ftype). */
opsm_status model_file_type(enum quant_type type, uint32_t *number, opsm_error *err) {
    switch ((int)type) {
    case QUANT_F32:
        *number = 0;
        return OPSM_OK;
    case QUANT_F16:
        *number = 1;
        return OPSM_OK;
    case QUANT_Q8_0:
        *number = 7;
        return OPSM_OK;
    case QUANT_Q4_K:
        *number = 15; /* the mixture Q4_K_M */
        return OPSM_OK;
    case QUANT_BF16:
        *number = 32;
        return OPSM_OK;
    }
    return opsm_fail(err, OPSM_INVALID, "a model is saved as F32, F16, BF16 or Q8_0, not as %s",
                     quant_traits(type)->name);
}

opsm_status model_collect_metadata(struct metadata *metadata, const struct model *m, uint32_t type, opsm_error *err) {
    const struct metadata *original = &m->source->metadata;
    opsm_status status = OPSM_OK;
    for (int64_t i = 0; i < original->n && status == OPSM_OK; i++) {
        const struct metadata_value *value = &original->values[i];
        if (!model_config_is_foreign_key(&m->config, value->key)) status = metadata_carry(metadata, value, err);
    }
    if (status == OPSM_OK) status = model_config_write(metadata, &m->config, original, err);
    if (status == OPSM_OK) status = metadata_set_u32(metadata, "general.file_type", type, err);
    if (status == OPSM_OK) status = metadata_set_u32(metadata, "general.quantization_version", 2, err);
    return status;
}

static opsm_status announce(struct gguf_writer *w, const struct model *m, const struct tensor_info *factors,
                            enum quant_type type, opsm_error *err) {
    opsm_status status = OPSM_OK;
    if (factors) status = gguf_writer_add_tensor(w, factors->name, 1, factors->shape, QUANT_F32, err);
    for (int i = 0; i < m->params.n_tensors && status == OPSM_OK; i++) {
        const struct parameter *t = &m->params.tensors[i];
        int64_t shape[2] = {t->cols, t->rows};
        status = gguf_writer_add_tensor(w, t->name, t->decay ? 2 : 1, shape, model_tensor_type(t, type), err);
    }
    return status;
}

/* Our rows in the file's order, in `rows`. */
static void interleave(float *rows, const float *ours, const struct model *m, const struct parameter *t) {
    int64_t n = t->decay ? t->rows : t->cols, width = t->decay ? t->cols : 1;
    for (int64_t row = 0; row < n; row++)
        memcpy(rows + row * width, ours + model_rotate_half_row(row, m->config.head_dim) * width,
               (size_t)width * sizeof *rows);
}

static opsm_status put_values(struct gguf_writer *w, const struct model *m, const struct parameter *t,
                              const float *values, opsm_error *err) {
    int64_t n = t->rows * t->cols;
    if (!model_is_interleaved(m, t)) return gguf_writer_put(w, values, n, err);
    float *rows = mem_alloc((size_t)n, sizeof *rows);
    if (!rows) return mem_exhausted(err, t->name, (size_t)n * sizeof *rows);
    interleave(rows, values, m, t);
    opsm_status status = gguf_writer_put(w, rows, n, err);
    mem_free(rows);
    return status;
}

/* Frozen matrices, the only ones that are adapted, are read again. */
static opsm_status put(struct gguf_writer *w, const struct model *m, const struct parameter *t, opsm_error *err) {
    if (t->offset >= 0) return put_values(w, m, t, m->params.values + t->offset, err);
    int64_t n = t->rows * t->cols;
    float *merged = mem_alloc((size_t)n, sizeof *merged);
    if (!merged) return mem_exhausted(err, t->name, (size_t)n * sizeof *merged);
    opsm_status status = model_read_matrix(m, t, merged, err);
    tensor_source_drop_pages(m->source);
    if (status == OPSM_OK) model_merge(m, t, merged);
    if (status == OPSM_OK) status = put_values(w, m, t, merged, err);
    mem_free(merged);
    return status;
}

opsm_status model_put_factors(struct gguf_writer *w, const struct tensor_source *source,
                              const struct tensor_info *factors, opsm_error *err) {
    float *values = mem_alloc((size_t)factors->n_elements, sizeof *values);
    if (!values) return mem_exhausted(err, factors->name, (size_t)factors->n_elements * sizeof *values);
    opsm_status status = tensor_source_read(source, factors, 0, factors->n_elements, values, err);
    if (status == OPSM_OK) status = gguf_writer_put(w, values, factors->n_elements, err);
    mem_free(values);
    return status;
}

static opsm_status write_tensors(struct gguf_writer *w, const struct model *m, enum quant_type type, opsm_error *err) {
    const struct tensor_info *factors = tensor_source_find(m->source, "rope_freqs.weight");
    opsm_status status = announce(w, m, factors, type, err);
    if (status == OPSM_OK && factors) status = model_put_factors(w, m->source, factors, err);
    for (int i = 0; i < m->params.n_tensors && status == OPSM_OK; i++) status = put(w, m, &m->params.tensors[i], err);
    return status;
}

static opsm_status write_file(const struct model *m, const char *path, const struct metadata *metadata,
                              enum quant_type type, opsm_error *err) {
    struct gguf_writer *w;
    opsm_status status = gguf_writer_create(&w, path, metadata, err);
    if (status != OPSM_OK) return status;
    status = write_tensors(w, m, type, err);
    if (status == OPSM_OK) return gguf_writer_commit(w, err);
    gguf_writer_abort(w);
    return status;
}

opsm_status model_save(const struct model *m, const char *path, enum quant_type type, opsm_error *err) {
    uint32_t number = 0;
    struct metadata metadata = {0};
    opsm_status status = model_file_type(type, &number, err);
    if (status == OPSM_OK) status = metadata_init(&metadata, path, err);
    if (status == OPSM_OK) status = model_collect_metadata(&metadata, m, number, err);
    if (status == OPSM_OK) status = write_file(m, path, &metadata, type, err);
    metadata_free(&metadata);
    return status;
}
