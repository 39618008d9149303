/* SPDX-License-Identifier: Apache-2.0
 *
 * Is the log-prob of a token at sampling time (KV cache, some batch) the trainer's, bit for bit? Feeds random groups
 * through decode in several schedules and compares with the packed forward pass.
 */
#ifndef OPSM_TESTS_PARITY_H
#define OPSM_TESTS_PARITY_H
#include "base/mem.h"
#include "base/rng.h"
#include "check.h"
#include "model/decode.h"
#include "model/lm_head.h"

struct parity_group {
    int32_t n_prompt, *prompt, **responses, *lengths; /* [n_samples] */
};

struct parity_case {
    struct model *model;
    int32_t n_groups, n_samples, max_prompt, max_new; /* samples per group */
    struct parity_group *groups;
    float *trainer, *sampler; /* [n_groups * n_samples][max_new] */
};

static inline void *parity_alloc(size_t count, size_t size) {
    void *p = mem_zalloc(count, size);
    assert_non_null(p);
    return p;
}

static inline void parity_open(struct parity_case *c, struct model *model, int32_t n_groups, int32_t n_samples,
                               int32_t max_prompt, int32_t max_new) {
    *c = (struct parity_case){model, n_groups, n_samples, max_prompt, max_new, NULL, NULL, NULL};
    c->groups = parity_alloc((size_t)n_groups, sizeof *c->groups);
    size_t n = (size_t)n_groups * (size_t)n_samples * (size_t)max_new;
    c->trainer = parity_alloc(n, sizeof(float));
    c->sampler = parity_alloc(n, sizeof(float));
    struct rng r = rng_make(42, RNG_TEST, 0, 0, 0);
    for (int32_t g = 0; g < n_groups; g++) {
        struct parity_group *group = &c->groups[g];
        group->n_prompt = 1 + (int32_t)rng_below(&r, (uint32_t)max_prompt);
        group->prompt = parity_alloc((size_t)max_prompt, sizeof(int32_t));
        group->responses = parity_alloc((size_t)n_samples, sizeof(int32_t *));
        group->lengths = parity_alloc((size_t)n_samples, sizeof(int32_t));
        for (int32_t t = 0; t < group->n_prompt; t++)
            group->prompt[t] = (int32_t)rng_below(&r, (uint32_t)model->config.n_vocab);
        for (int32_t s = 0; s < n_samples; s++) {
            group->lengths[s] = 1 + (int32_t)rng_below(&r, (uint32_t)max_new);
            group->responses[s] = parity_alloc((size_t)max_new, sizeof(int32_t));
            for (int32_t t = 0; t < group->lengths[s]; t++)
                group->responses[s][t] = (int32_t)rng_below(&r, (uint32_t)model->config.n_vocab);
        }
    }
}

static inline void parity_close(struct parity_case *c) {
    for (int32_t g = 0; g < c->n_groups; g++) {
        for (int32_t s = 0; s < c->n_samples; s++) mem_free(c->groups[g].responses[s]);
        mem_free(c->groups[g].responses);
        mem_free(c->groups[g].lengths);
        mem_free(c->groups[g].prompt);
    }
    mem_free(c->groups);
    mem_free(c->trainer);
    mem_free(c->sampler);
}

/* The trainer's log-probs: everything in one packed batch. */
static inline void parity_train(struct parity_case *c, float inv_temperature, enum activations_keep keep) {
    opsm_error err = {0};
    struct pack pack = {0};
    int32_t n_sequences = c->n_groups * c->n_samples, room = n_sequences * c->max_new;
    int32_t *row = parity_alloc((size_t)room, sizeof *row), *target = parity_alloc((size_t)room, sizeof *target);
    float *logp = parity_alloc((size_t)room, sizeof *logp);
    struct lm_head_request request = {.row = row, .target = target, .inv_temperature = inv_temperature};
    for (int32_t g = 0; g < c->n_groups; g++) {
        const struct parity_group *group = &c->groups[g];
        int32_t prompt, index;
        assert_ok(pack_add(&pack, group->prompt, group->n_prompt, -1, &prompt, &err));
        for (int32_t s = 0; s < c->n_samples; s++) {
            assert_ok(pack_add(&pack, group->responses[s], group->lengths[s] - 1, prompt, &index, &err));
            for (int32_t t = 0; t < group->lengths[s]; t++) {
                const struct pack_segment *head = &pack.segments[prompt], *tail = &pack.segments[index];
                row[request.n] = t == 0 ? head->start + head->length - 1 : tail->start + t - 1;
                target[request.n++] = group->responses[s][t];
            }
        }
    }
    struct activations *acts;
    assert_ok(activations_create(&acts, c->model, pack.n_tokens, keep, &err));
    assert_ok(model_forward(acts, c->model, &pack, &err));
    assert_ok(lm_head_logprobs(logp, NULL, acts, c->model, &request, &err));
    int64_t at = 0;
    for (int32_t g = 0; g < c->n_groups; g++)
        for (int32_t s = 0; s < c->n_samples; s++)
            for (int32_t t = 0; t < c->groups[g].lengths[s]; t++)
                c->trainer[((int64_t)g * c->n_samples + s) * c->max_new + t] = logp[at++];
    activations_free(acts);
    pack_free(&pack);
    mem_free(row);
    mem_free(target);
    mem_free(logp);
}

static inline void parity_record(struct parity_case *c, int32_t sequence, int32_t t, const float *logits,
                                 float inv_temperature) {
    const struct parity_group *g = &c->groups[sequence / c->n_samples];
    int32_t target = g->responses[sequence % c->n_samples][t];
    softmax_logprob(&c->sampler[(int64_t)sequence * c->max_new + t], NULL, NULL, logits, c->model->config.n_vocab,
                    &target, NULL, 1, c->model->config.n_vocab, inv_temperature);
}

/* The sampler's: prompts in passes of at most `prompts_at_once`, then steps of at most `batch` sequences in a shuffled
 * order, as continuous batching would have them. */
static inline void parity_sample(struct parity_case *c, float inv_temperature, int32_t prompts_at_once, int32_t batch) {
    opsm_error err = {0};
    struct kv_cache *cache;
    int32_t n = c->n_groups * c->n_samples, n_vocab = c->model->config.n_vocab;
    assert_ok(kv_cache_create(&cache, c->model, c->n_groups, c->max_prompt, n, c->max_new, &err));
    int32_t width = batch > prompts_at_once ? batch : prompts_at_once;
    float *logits = parity_alloc((size_t)width * (size_t)n_vocab, sizeof *logits);
    struct decode_prompt *prompts = parity_alloc((size_t)c->n_groups, sizeof *prompts);
    for (int32_t g = 0; g < c->n_groups; g++) /* slots in reverse: no order may matter */
        prompts[g] = (struct decode_prompt){c->n_groups - 1 - g, c->groups[g].prompt, c->groups[g].n_prompt};
    for (int32_t at = 0; at < c->n_groups; at += prompts_at_once) {
        int32_t k = c->n_groups - at < prompts_at_once ? c->n_groups - at : prompts_at_once;
        assert_ok(decode_prompts(cache, c->model, k, prompts + at, logits, &err));
        for (int32_t i = 0; i < k * c->n_samples; i++)
            parity_record(c, at * c->n_samples + i, 0, logits + (int64_t)(i / c->n_samples) * n_vocab, inv_temperature);
    }
    int32_t *fed = parity_alloc((size_t)n, sizeof *fed), *order = parity_alloc((size_t)n, sizeof *order);
    int32_t *tokens = parity_alloc((size_t)n, sizeof *tokens);
    struct rng r = rng_make(7, RNG_TEST, (uint32_t)batch, 0, 0);
    for (int32_t s = 0; s < n; s++) decode_begin(cache, s, c->n_groups - 1 - s / c->n_samples);
    for (;;) {
        int32_t k = 0;
        for (int32_t s = 0; s < n; s++)
            if (fed[s] + 1 < c->groups[s / c->n_samples].lengths[s % c->n_samples]) order[k++] = s;
        if (k == 0) break;
        rng_shuffle(&r, order, k);
        if (k > batch) k = batch;
        for (int32_t i = 0; i < k; i++)
            tokens[i] = c->groups[order[i] / c->n_samples].responses[order[i] % c->n_samples][fed[order[i]]];
        assert_ok(decode_step(cache, c->model, k, order, tokens, logits, &err));
        for (int32_t i = 0; i < k; i++)
            parity_record(c, order[i], ++fed[order[i]], logits + (int64_t)i * n_vocab, inv_temperature);
    }
    mem_free(fed);
    mem_free(order);
    mem_free(tokens);
    mem_free(prompts);
    mem_free(logits);
    kv_cache_free(cache);
}

/* Tokens whose two log-probs differ in any bit; *gap receives the largest difference. */
static inline int64_t parity_differences(const struct parity_case *c, int64_t *n_tokens, double *gap) {
    int64_t different = 0;
    *n_tokens = 0;
    *gap = 0;
    for (int32_t s = 0; s < c->n_groups * c->n_samples; s++) {
        const struct parity_group *g = &c->groups[s / c->n_samples];
        for (int32_t t = 0; t < g->lengths[s % c->n_samples]; t++, ++*n_tokens) {
            const float *a = &c->trainer[(int64_t)s * c->max_new + t], *b = &c->sampler[(int64_t)s * c->max_new + t];
            if (memcmp(a, b, sizeof *a) != 0) different++;
            double d = fabs((double)*a - *b);
            if (!(d <= *gap)) *gap = d;
        }
    }
    return different;
}

#endif
