/* SPDX-License-Identifier: Apache-2.0 */
#include "io/tensor_source.h"
#include "base/mem.h"
#include "io/gguf.h"
#include "io/hf.h"
#include "io/quote.h"
#include "io/safetensors.h"
#include <string.h>

/* ---- opening ----------------------------------------------------------------------------------------------------- */

opsm_status tensor_source_create(struct tensor_source **result, const char *name, opsm_error *err) {
    *result = NULL;
    struct tensor_source *source = mem_zalloc(1, sizeof *source);
    if (!source) return mem_exhausted(err, "a model file", sizeof *source);
    source->names = name_map_make();
    opsm_status status = metadata_init(&source->metadata, name, err);
    if (status == OPSM_OK)
        *result = source;
    else
        mem_free(source);
    return status;
}

/* Hands over what was opened, or nothing. */
static opsm_status finish(struct tensor_source **result, opsm_status status) {
    if (status == OPSM_OK) return OPSM_OK;
    tensor_source_close(*result);
    *result = NULL;
    return status;
}

opsm_status tensor_source_open(struct tensor_source **result, const char *path, opsm_error *err) {
    opsm_status status = tensor_source_create(result, path, err);
    if (status != OPSM_OK) return status;
    if (hf_is_directory(path)) return finish(result, hf_read(*result, path, err));
    if (safetensors_is_path(path)) return finish(result, safetensors_fill(*result, path, false, err));
    struct file_map *map = &(*result)->map;
    status = file_map_open(map, path, err);
    if (status == OPSM_OK) status = gguf_read(*result, map->data, map->size, err);
    return finish(result, status);
}

opsm_status tensor_source_open_memory(struct tensor_source **result, const void *data, size_t size, const char *name,
                                      opsm_error *err) {
    opsm_status status = tensor_source_create(result, name, err);
    return status == OPSM_OK ? finish(result, gguf_read(*result, data, size, err)) : status;
}

void tensor_source_close(struct tensor_source *source) {
    if (!source) return;
    metadata_free(&source->metadata);
    name_map_free(&source->names);
    mem_free(source->tensors);
    mem_free(source->rope_factors);
    file_map_close(&source->map);
    safetensors_close(source->safetensors);
    mem_free(source);
}

void tensor_source_drop_pages(const struct tensor_source *source) {
    file_map_drop(&source->map);
    if (source->safetensors) safetensors_drop_pages(source->safetensors);
}

/* ---- looking up, reading ----------------------------------------------------------------------------------------- */

const char *tensor_source_path(const struct tensor_source *source) {
    return source->metadata.where;
}

const struct tensor_info *tensor_source_find(const struct tensor_source *source, const char *name) {
    int64_t i = name_map_find(&source->names, name, strlen(name));
    return i < 0 ? NULL : &source->tensors[i];
}

opsm_status tensor_source_read(const struct tensor_source *source, const struct tensor_info *tensor, int64_t first,
                               int64_t count, float *out, opsm_error *err) {
    const struct quant_traits *traits = quant_traits((uint32_t)tensor->type);
    char shown[QUOTE_ROOM];
    quote(shown, tensor->name, strlen(tensor->name));
    if (!traits->decode)
        return opsm_fail(err, OPSM_UNSUPPORTED,
                         "'%.150s': tensor %s is stored as %s, which cannot be read; convert the model to F16, BF16 or "
                         "Q8_0",
                         tensor_source_path(source), shown, traits->name);
    if (first < 0 || count < 0 || first > tensor->n_elements || count > tensor->n_elements - first ||
        first % traits->block != 0 || count % traits->block != 0)
        return opsm_fail(err, OPSM_INVALID,
                         "'%.150s': elements %lld + %lld asked of tensor %s, which has %lld in blocks of %d",
                         tensor_source_path(source), (long long)first, (long long)count, shown,
                         (long long)tensor->n_elements, traits->block);
    const uint8_t *blocks = tensor->data + first / traits->block * traits->bytes;
    if (count > 0) traits->decode(blocks, count / traits->block, out);
    return OPSM_OK;
}
