/* SPDX-License-Identifier: Apache-2.0 */
#include "model/decode.h"
#include "base/log.h"
#include "base/mem.h"
#include "kernels/layers.h"
#include "model/layer.h"
#include "model/layout.h"
#include "model/lm_head.h"

/* Rows that prompts are batched up to in one pass. */
enum { PREFILL_ROWS = 512 };

/* A slot is [n_layers][its maximum of tokens][keys | values]. */
struct kv_cache {
    int32_t n_prompts, max_prompt, n_samples, max_new;
    float *prompts, *samples;
    int64_t prompt_step, sample_step;       /* floats from one layer to the next */
    int32_t *prompt_length;                 /* [n_prompts]; 0: empty */
    int32_t *sample_length, *sample_prompt; /* [n_samples]; prompt -1: not begun */
    int32_t *tokens, *positions, *rows;     /* [acts room] of the pass in work */
    struct activations *acts;
};

static int64_t row_floats(const struct model_config *c) {
    return 2 * model_kv_dim(c);
}

static size_t slots_floats(const struct model_config *c, int32_t n, int32_t length) {
    return (size_t)n * (size_t)c->n_layers * (size_t)length * (size_t)row_floats(c);
}

static int32_t pass_rows(int32_t n_prompts, int32_t max_prompt, int32_t n_samples) {
    int64_t all = (int64_t)n_prompts * max_prompt;
    int32_t rows = all < PREFILL_ROWS ? (int32_t)all : PREFILL_ROWS;
    if (rows < max_prompt) rows = max_prompt;
    return rows > n_samples ? rows : n_samples;
}

size_t kv_cache_row_bytes(const struct model_config *c) {
    return (size_t)c->n_layers * (size_t)row_floats(c) * sizeof(float);
}

size_t kv_cache_bytes(const struct model *model, int32_t n_prompts, int32_t max_prompt, int32_t n_samples,
                      int32_t max_new) {
    const struct model_config *c = &model->config;
    size_t floats = slots_floats(c, n_prompts, max_prompt) + slots_floats(c, n_samples, max_new);
    return floats * sizeof(float) +
           activations_bytes(model, pass_rows(n_prompts, max_prompt, n_samples), ACTIVATIONS_NONE);
}

static opsm_status allocate(struct kv_cache *k, const struct model *model, opsm_error *err) {
    const struct model_config *c = &model->config;
    size_t prompts = slots_floats(c, k->n_prompts, k->max_prompt), samples = slots_floats(c, k->n_samples, k->max_new);
    size_t rows = (size_t)pass_rows(k->n_prompts, k->max_prompt, k->n_samples);
    k->prompt_step = k->max_prompt * row_floats(c);
    k->sample_step = k->max_new * row_floats(c);
    k->prompts = mem_alloc(prompts, sizeof(float));
    k->samples = mem_alloc(samples, sizeof(float));
    k->prompt_length = mem_zalloc((size_t)k->n_prompts, sizeof(int32_t));
    k->sample_length = mem_zalloc((size_t)k->n_samples, sizeof(int32_t));
    k->sample_prompt = mem_alloc((size_t)k->n_samples, sizeof(int32_t));
    k->tokens = mem_alloc(rows, sizeof(int32_t));
    k->positions = mem_alloc(rows, sizeof(int32_t));
    k->rows = mem_alloc(rows, sizeof(int32_t));
    if (!k->prompts || !k->samples || !k->prompt_length || !k->sample_length || !k->sample_prompt || !k->tokens ||
        !k->positions || !k->rows)
        return mem_exhausted(err, "the cache of keys and values", (prompts + samples) * sizeof(float));
    for (int32_t i = 0; i < k->n_samples; i++) k->sample_prompt[i] = -1;
    return activations_create_for(&k->acts, model, (int32_t)rows, ACTIVATIONS_NONE, false, err);
}

opsm_status kv_cache_create(struct kv_cache **cache, const struct model *model, int32_t n_prompts, int32_t max_prompt,
                            int32_t n_samples, int32_t max_new, opsm_error *err) {
    *cache = NULL;
    if (n_prompts < 1 || max_prompt < 1 || n_samples < 1 || max_new < 1)
        return opsm_fail(err, OPSM_INVALID,
                         "a cache for %d prompts of %d tokens and %d samples of %d tokens: expected "
                         "at least 1 of each",
                         n_prompts, max_prompt, n_samples, max_new);
    if ((int64_t)max_prompt + max_new > model->config.context)
        return opsm_fail(err, OPSM_INVALID,
                         "prompts of %d and responses of %d tokens do not fit the model's context of %d", max_prompt,
                         max_new, model->config.context);
    struct kv_cache *k = mem_zalloc(1, sizeof *k);
    if (!k) return mem_exhausted(err, "the cache of keys and values", sizeof *k);
    k->n_prompts = n_prompts;
    k->max_prompt = max_prompt;
    k->n_samples = n_samples;
    k->max_new = max_new;
    opsm_status status = allocate(k, model, err);
    if (status != OPSM_OK) {
        kv_cache_free(k);
        return status;
    }
    *cache = k;
    return OPSM_OK;
}

void kv_cache_fill(struct kv_cache *k) {
    memset(k->samples, 0, slots_floats(&k->acts->config, k->n_samples, k->max_new) * sizeof *k->samples);
}

void kv_cache_free(struct kv_cache *k) {
    if (!k) return;
    activations_free(k->acts);
    mem_free(k->prompts);
    mem_free(k->samples);
    mem_free(k->prompt_length);
    mem_free(k->sample_length);
    mem_free(k->sample_prompt);
    mem_free(k->tokens);
    mem_free(k->positions);
    mem_free(k->rows);
    mem_free(k);
}

static float *prompt_slot(const struct kv_cache *k, int32_t slot, int32_t n_layers) {
    return k->prompts + slot * k->prompt_step * n_layers;
}

static float *sample_slot(const struct kv_cache *k, int32_t slot, int32_t n_layers) {
    return k->samples + slot * k->sample_step * n_layers;
}

/* `n` rows through all layers, then the head for the rows in k->rows. */
static opsm_status run(struct kv_cache *k, const struct model *m, int32_t n, int32_t n_logits, float *logits,
                       opsm_error *err) {
    struct activations *a = k->acts;
    float *x = a->stream;
    opsm_status status = OPSM_OK;
    a->view.kv_stride = row_floats(&m->config);
    a->view.cached = true;
    embedding_forward(x, m->params.values + m->embedding, k->tokens, n, m->config.dim);
    for (int32_t l = 0; l < m->config.n_layers && status == OPSM_OK; log_share((double)++l / m->config.n_layers))
        status = layer_forward(a, m, l, n, k->positions, &a->view, x, x, err);
    for (int32_t at = 0; at < n_logits && status == OPSM_OK; at += a->head.room) {
        int32_t step = n_logits - at < a->head.room ? n_logits - at : a->head.room;
        status = lm_head_logits(a, m, k->rows + at, step, logits + (int64_t)at * m->config.n_vocab, err);
    }
    return status;
}

static opsm_status check_token(const struct model *m, int32_t token, opsm_error *err) {
    if (token >= 0 && token < m->config.n_vocab) return OPSM_OK;
    return opsm_fail(err, OPSM_INVALID, "token %d is outside the vocabulary of %d", token, m->config.n_vocab);
}

static opsm_status check_prompt(const struct kv_cache *k, const struct model *m, const struct decode_prompt *p,
                                opsm_error *err) {
    if (p->slot < 0 || p->slot >= k->n_prompts)
        return opsm_fail(err, OPSM_INVALID, "prompt slot %d of %d", p->slot, k->n_prompts);
    if (p->n_tokens < 1 || p->n_tokens > k->max_prompt)
        return opsm_fail(err, OPSM_INVALID, "a prompt of %d tokens, expected 1 to %d", p->n_tokens, k->max_prompt);
    for (int32_t i = 0; i < p->n_tokens; i++) {
        opsm_status status = check_token(m, p->tokens[i], err);
        if (status != OPSM_OK) return status;
    }
    return OPSM_OK;
}

/* Prompts [0, n) fit one pass. */
static opsm_status prefill(struct kv_cache *k, const struct model *m, int32_t n, const struct decode_prompt *prompts,
                           float *logits, opsm_error *err) {
    struct layer_view *v = &k->acts->view;
    int32_t rows = 0;
    v->n_sequences = n;
    for (int32_t i = 0; i < n; i++) {
        const struct decode_prompt *p = &prompts[i];
        v->sequences[i] = (struct attention_sequence){.first_row = rows, .n_rows = p->n_tokens, .own.n = p->n_tokens};
        v->places[i] =
            (struct sequence_place){.own_kv = prompt_slot(k, p->slot, m->config.n_layers), .own_step = k->prompt_step};
        for (int32_t t = 0; t < p->n_tokens; t++, rows++) {
            k->tokens[rows] = p->tokens[t];
            k->positions[rows] = t;
        }
        k->rows[i] = rows - 1;
        k->prompt_length[p->slot] = p->n_tokens;
    }
    return run(k, m, rows, n, logits, err);
}

opsm_status decode_prompts(struct kv_cache *k, const struct model *m, int32_t n, const struct decode_prompt *prompts,
                           float *logits, opsm_error *err) {
    opsm_status status = activations_check(k->acts, m, err);
    for (int32_t i = 0; i < n && status == OPSM_OK; i++) status = check_prompt(k, m, &prompts[i], err);
    for (int32_t at = 0; at < n && status == OPSM_OK;) {
        int32_t rows = 0, end = at;
        while (end < n && rows + prompts[end].n_tokens <= k->acts->room) rows += prompts[end++].n_tokens;
        log_part((double)at / n, (double)end / n);
        status = prefill(k, m, end - at, prompts + at, logits + (int64_t)at * m->config.n_vocab, err);
        at = end;
    }
    return status;
}

void decode_begin(struct kv_cache *k, int32_t sample, int32_t prompt) {
    if (sample < 0 || sample >= k->n_samples) return;
    k->sample_prompt[sample] = prompt >= 0 && prompt < k->n_prompts && k->prompt_length[prompt] > 0 ? prompt : -1;
    k->sample_length[sample] = 0;
}

static opsm_status check_sample(const struct kv_cache *k, int32_t sample, opsm_error *err) {
    if (sample < 0 || sample >= k->n_samples || k->sample_prompt[sample] < 0)
        return opsm_fail(err, OPSM_INVALID, "sample %d of %d was not begun behind a prompt", sample, k->n_samples);
    if (k->sample_length[sample] >= k->max_new)
        return opsm_fail(err, OPSM_INVALID, "sample %d is full: %d tokens", sample, k->max_new);
    return OPSM_OK;
}

opsm_status decode_step(struct kv_cache *k, const struct model *m, int32_t n, const int32_t *samples,
                        const int32_t *tokens, float *logits, opsm_error *err) {
    struct layer_view *v = &k->acts->view;
    opsm_status status = activations_check(k->acts, m, err);
    if (status == OPSM_OK && (n < 0 || n > k->n_samples))
        status = opsm_fail(err, OPSM_INVALID, "a step of %d samples, expected at most %d", n, k->n_samples);
    for (int32_t i = 0; i < n && status == OPSM_OK; i++) {
        status = check_sample(k, samples[i], err);
        if (status == OPSM_OK) status = check_token(m, tokens[i], err);
    }
    if (status != OPSM_OK || n == 0) return status;
    int32_t n_layers = m->config.n_layers;
    v->n_sequences = n;
    for (int32_t i = 0; i < n; i++) {
        int32_t s = samples[i], prompt = k->sample_prompt[s];
        k->tokens[i] = tokens[i];
        k->rows[i] = i;
        k->positions[i] = k->prompt_length[prompt] + k->sample_length[s]++;
        v->sequences[i] = (struct attention_sequence){
            .first_row = i, .n_rows = 1, .prefix.n = k->prompt_length[prompt], .own.n = k->sample_length[s]};
        v->places[i] = (struct sequence_place){.prefix_kv = prompt_slot(k, prompt, n_layers),
                                               .prefix_step = k->prompt_step,
                                               .own_kv = sample_slot(k, s, n_layers),
                                               .own_step = k->sample_step};
    }
    return run(k, m, n, n, logits, err);
}
