/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "model/config.h"
#include <stdio.h>

/* The linear factor (positions are divided by it), 1 where there is none. */
static opsm_status read_linear_factor(float *factor, const struct model_config *config, const struct metadata *metadata,
                                      opsm_error *err) {
    char key[MODEL_KEY_MAX];
    opsm_status status;
    *factor = 1.0f;
    snprintf(key, sizeof key, "%s.rope.scaling.type", config->architecture->name);
    if (metadata_find(metadata, key)) {
        struct text_view type;
        if ((status = metadata_get_string(metadata, key, &type, err)) != OPSM_OK) return status;
        if (type.length == 4 && memcmp(type.data, "none", 4) == 0) return OPSM_OK;
        if (!(type.length == 6 && memcmp(type.data, "linear", 6) == 0))
            return opsm_fail(err, OPSM_UNSUPPORTED,
                             "%s: %s '%.*s' is not supported; opsm knows none, linear and the factors of Llama 3.1 "
                             "(rope_freqs.weight)",
                             metadata->where, key, (int)(type.length < 60 ? type.length : 60), type.data);
    }
    snprintf(key, sizeof key, "%s.rope.scaling.factor", config->architecture->name);
    if (!metadata_find(metadata, key)) snprintf(key, sizeof key, "%s.rope.scale_linear", config->architecture->name);
    if (!metadata_find(metadata, key)) return OPSM_OK;
    if ((status = metadata_get_f32(metadata, key, factor, err)) != OPSM_OK) return status;
    if (*factor == 0.0f) *factor = 1.0f; /* the format's "off" */
    if (*factor > 0.0f && *factor <= 1e6f) return OPSM_OK;
    return opsm_fail(err, OPSM_FORMAT, "%s: %s is %g, expected more than 0", metadata->where, key, (double)*factor);
}

/* Divides by the per-frequency factors of Llama 3.1 and later, where the file has them. */
static opsm_status apply_factors(float *inv_freq, int64_t n, const struct tensor_source *source, opsm_error *err) {
    const struct tensor_info *tensor = tensor_source_find(source, "rope_freqs.weight");
    if (!tensor) return OPSM_OK;
    if (tensor->n_elements != n || tensor->type != QUANT_F32)
        return opsm_fail(err, OPSM_FORMAT,
                         "%s: tensor rope_freqs.weight has %lld elements of type %s, expected %lld "
                         "of F32",
                         tensor_source_path(source), (long long)tensor->n_elements, quant_traits(tensor->type)->name,
                         (long long)n);
    float *factors = mem_alloc((size_t)n, sizeof *factors);
    if (!factors) return mem_exhausted(err, "RoPE factors", (size_t)n * sizeof *factors);
    opsm_status status = tensor_source_read(source, tensor, 0, n, factors, err);
    for (int64_t i = 0; i < n && status == OPSM_OK; i++) {
        if (!(factors[i] > 0.0f && factors[i] <= 1e6f))
            status = opsm_fail(err, OPSM_FORMAT,
                               "%s: tensor rope_freqs.weight: factor %lld is %g, expected more than "
                               "0",
                               tensor_source_path(source), (long long)i, (double)factors[i]);
        else
            inv_freq[i] /= factors[i];
    }
    mem_free(factors);
    return status;
}

opsm_status model_rope_frequencies(float *inv_freq, const struct model_config *config,
                                   const struct tensor_source *source, opsm_error *err) {
    float factor = 1.0f;
    int64_t n = config->head_dim / 2;
    opsm_status status = read_linear_factor(&factor, config, &source->metadata, err);
    if (status != OPSM_OK) return status;
    /* In float, as the frameworks that the models were trained in do it. */
    for (int64_t i = 0; i < n; i++)
        inv_freq[i] = 1.0f / powf(config->rope_base, (float)(2 * i) / (float)config->head_dim) / factor;
    return apply_factors(inv_freq, n, source, err);
}
