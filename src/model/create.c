/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of a model: made fresh, cloned, freed.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "base/threads.h"
#include "model/layout.h"
#include "model/load.h"

struct model *model_new(struct tensor_source *source, enum dtype precision, opsm_error *err) {
    struct model *m = mem_zalloc(1, sizeof *m);
    int32_t *sharers = mem_alloc(1, sizeof *sharers);
    if (!m || !sharers) {
        mem_exhausted(err, "a model", sizeof *m);
        mem_free(sharers);
        mem_free(m);
        return NULL;
    }
    *sharers = 1;
    m->sharers = sharers;
    m->source = source;
    m->precision = precision;
    return m;
}

opsm_status model_allocate(struct model *m, bool trainable, opsm_error *err) {
    bool adapted = m->lora.rank > 0;
    opsm_status status = parameters_allocate(&m->params, trainable && !adapted, err);
    if (status == OPSM_OK && adapted) status = parameters_allocate(&m->adapters, trainable, err);
    if (status != OPSM_OK) return status;
    if (trainable) m->trained = adapted ? &m->adapters : &m->params;
    for (int32_t i = 0; i < m->n_linears; i++) {
        status = linear_create(&m->linears[i], m->precision, trainable, err);
        if (status != OPSM_OK) return status;
    }
    m->inv_freq = mem_alloc((size_t)m->config.head_dim / 2, sizeof *m->inv_freq);
    if (!m->inv_freq) return mem_exhausted(err, "RoPE frequencies", (size_t)m->config.head_dim / 2 * sizeof(float));
    return OPSM_OK;
}

size_t model_bytes(const struct model *m, bool trainable) {
    return parameters_bytes(&m->params) + parameters_bytes(&m->adapters) +
           linear_bytes(m->n_multiplied - m->n_in_blocks + m->n_adapted, m->precision, trainable) + m->block_bytes;
}

opsm_status model_publish(struct model *m, opsm_error *err) {
    for (int32_t i = 0; i < m->n_linears; i++) {
        opsm_status status = linear_publish(&m->linears[i], err);
        if (status != OPSM_OK) return status;
        m->linears[i].fixed = m->lora.rank > 0;
    }
    m->version++;
    return OPSM_OK;
}

opsm_status model_read_text(struct model *m, opsm_error *err) {
    opsm_status status = tokenizer_load(&m->tokenizer, &m->source->metadata, err);
    if (status != OPSM_OK) return status;
    if (tokenizer_size(m->tokenizer) != m->config.n_vocab)
        return opsm_fail(err, OPSM_FORMAT, "%s: the tokenizer knows %d tokens, the model %d",
                         tensor_source_path(m->source), tokenizer_size(m->tokenizer), m->config.n_vocab);
    opsm_error why = {0};
    status = chat_template_load(&m->chat, &m->source->metadata, &why);
    if (status == OPSM_UNSUPPORTED) {
        m->chat_problem = mem_strdup(why.text);
        return m->chat_problem ? OPSM_OK : mem_exhausted(err, "a sentence", sizeof why.text);
    }
    return status == OPSM_OK ? OPSM_OK : opsm_fail(err, status, "%s", why.text);
}

opsm_status model_chat(const struct model *m, const struct chat_template **chat, opsm_error *err) {
    if (m->chat_problem) return opsm_fail(err, OPSM_UNSUPPORTED, "%s", m->chat_problem);
    *chat = &m->chat;
    return OPSM_OK;
}

/* Normal, std 0.02; what writes into the residual stream is scaled down by the number of such writes (GPT-2). Each
 * tensor draws from a stream of its own. */
static void initialise(struct model *m, uint64_t seed) {
    const double residual = 1.0 / sqrt(2.0 * m->config.n_layers);
#pragma omp parallel for schedule(dynamic) num_threads(threads_count())
    for (int32_t i = 0; i < m->params.n_tensors; i++) {
        const struct parameter *t = &m->params.tensors[i];
        float *w = m->params.values + t->offset;
        int64_t n = t->rows * t->cols;
        if (!t->decay) { /* biases start at zero, norms at one */
            bool bias = strstr(t->name, ".bias") != NULL;
            for (int64_t j = 0; j < n; j++) w[j] = bias ? 0.0f : 1.0f;
            continue;
        }
        bool writes = strstr(t->name, ".attn_output.") || strstr(t->name, ".ffn_down.");
        struct rng r = rng_make(seed, RNG_INIT, (uint32_t)i, 0, 0);
        for (int64_t j = 0; j < n; j++) w[j] = (float)(rng_normal(&r) * 0.02 * (writes ? residual : 1.0));
    }
}

static opsm_status fill_fresh(struct model *m, const struct model_config *config, bool trainable, uint64_t seed,
                              opsm_error *err) {
    opsm_status status = model_config_check(config, tensor_source_path(m->source), err);
    if (status != OPSM_OK) return status;
    m->config = *config;
    status = model_layout(m, err);
    if (status == OPSM_OK) status = model_read_text(m, err);
    if (status == OPSM_OK) status = model_allocate(m, trainable, err);
    if (status == OPSM_OK) status = model_rope_frequencies(m->inv_freq, config, m->source, err);
    if (status != OPSM_OK) return status;
    initialise(m, seed);
    return model_publish(m, err);
}

opsm_status model_create(struct model **model, const struct model_config *config, struct tensor_source *source,
                         enum dtype precision, bool trainable, uint64_t seed, opsm_error *err) {
    *model = NULL;
    struct model *m = model_new(source, precision, err);
    if (!m) {
        tensor_source_close(source);
        return OPSM_NOMEM;
    }
    opsm_status status = fill_fresh(m, config, trainable, seed, err);
    if (status != OPSM_OK) {
        model_free(m);
        return status;
    }
    *model = m;
    return OPSM_OK;
}

opsm_status model_sizes(struct model *sizes, const struct model_config *config, enum dtype precision, opsm_error *err) {
    *sizes = (struct model){.config = *config, .precision = precision};
    opsm_status status = model_layout(sizes, err);
    struct model held = *sizes;
    model_layout_free(&held);
    sizes->params.tensors = NULL;
    sizes->layers = NULL;
    sizes->linears = sizes->head = NULL;
    return status;
}

static opsm_status fill_clone(struct model *m, const struct model *source, bool trainable, opsm_error *err) {
    m->config = source->config;
    opsm_status status = model_layout(m, err);
    if (status == OPSM_OK) status = model_allocate(m, trainable, err);
    if (status != OPSM_OK) return status;
    memcpy(m->params.values, source->params.values, parameters_bytes(&m->params));
    memcpy(m->inv_freq, source->inv_freq, (size_t)m->config.head_dim / 2 * sizeof *m->inv_freq);
    return model_publish(m, err);
}

opsm_status model_clone(struct model **copy, const struct model *model, enum dtype precision, bool trainable,
                        opsm_error *err) {
    *copy = NULL;
    struct model *m = mem_zalloc(1, sizeof *m);
    if (!m) return mem_exhausted(err, "a model", sizeof *m);
    m->precision = precision;
    m->source = model->source;
    m->tokenizer = model->tokenizer;
    m->chat = model->chat;
    m->chat_problem = model->chat_problem;
    m->sharers = model->sharers;
    ++*m->sharers;
    opsm_status status = fill_clone(m, model, trainable, err);
    if (status != OPSM_OK) {
        model_free(m);
        return status;
    }
    *copy = m;
    return OPSM_OK;
}

void model_free(struct model *m) {
    if (!m) return;
    if (--*m->sharers == 0) {
        chat_template_free(&m->chat);
        mem_free(m->chat_problem);
        tokenizer_free(m->tokenizer);
        tensor_source_close(m->source);
        mem_free(m->sharers);
    }
    model_layout_free(m);
    mem_free(m->inv_freq);
    mem_free(m);
}
