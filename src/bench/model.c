/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/model.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "model/decode.h"
#include "model/lm_head.h"
#include "rollout/sampler.h"
#include <math.h>
#include <string.h>

enum { PROMPT_DEFAULT = 48, TOKENS_DEFAULT = 64 };

opsm_status bench_settle(struct bench_work *work, const struct model *m, opsm_error *err) {
    int64_t context = m->config.context;
    bool given = work->prompt || work->tokens;
    if (!work->tokens) work->tokens = TOKENS_DEFAULT;
    if (!work->prompt) work->prompt = PROMPT_DEFAULT;
    if (work->prompt + work->tokens <= context) return OPSM_OK;
    if (given)
        return opsm_fail(err, OPSM_INVALID,
                         "--prompt %lld and --tokens %lld do not fit into the model's context of %lld tokens",
                         (long long)work->prompt, (long long)work->tokens, (long long)context);
    work->tokens = context / 2;
    work->prompt = context - work->tokens;
    return OPSM_OK;
}

/* Weights that a token is multiplied with, without the head. */
static double body_weights(const struct model *m) {
    return (double)(m->n_multiplied - m->head->n_out * m->head->n_in);
}

static double head_weights(const struct model *m) {
    return (double)m->config.n_vocab * m->config.dim;
}

/* ---- generate ---------------------------------------------------------------------------------------------------- */

struct bench_generation {
    struct kv_cache *cache;
    struct sampler *sampler;
    float *logits;
    int32_t *samples, *tokens, *prompt;
    struct sample_key *keys;
    struct sample_draw *draws;
};

/* Before anything of it is asked for. */
static opsm_status check_generation(const struct bench_work *work, const struct model *m, opsm_error *err) {
    int32_t n = (int32_t)work->in_flight;
    uint64_t bytes = (uint64_t)n * (uint64_t)m->config.n_vocab * sizeof(float) +
                     sampler_bytes(m->config.n_vocab, n, false) +
                     kv_cache_bytes(m, 1, (int32_t)work->prompt, n, (int32_t)work->tokens);
    return limits_check("generation", bytes, bytes, 0, "lower --in-flight, --tokens or --prompt", err);
}

static opsm_status allocate_generation(struct bench_generation *g, const struct bench_work *work, const struct model *m,
                                       opsm_error *err) {
    int32_t n = (int32_t)work->in_flight;
    size_t vocab = (size_t)m->config.n_vocab;
    opsm_status status = check_generation(work, m, err);
    if (status != OPSM_OK) return status;
    g->logits = mem_alloc((size_t)n * vocab, sizeof(float));
    g->samples = mem_alloc((size_t)n, sizeof(int32_t));
    g->tokens = mem_alloc((size_t)n, sizeof(int32_t));
    g->prompt = mem_alloc((size_t)work->prompt, sizeof(int32_t));
    g->keys = mem_zalloc((size_t)n, sizeof *g->keys);
    g->draws = mem_alloc((size_t)n, sizeof *g->draws);
    if (!g->logits || !g->samples || !g->tokens || !g->prompt || !g->keys || !g->draws)
        return mem_exhausted(err, "logits", (size_t)n * vocab * sizeof(float));
    status = sampler_create(&g->sampler, m->config.n_vocab, n, false, err);
    if (status != OPSM_OK) return status;
    return kv_cache_create(&g->cache, m, 1, (int32_t)work->prompt, n, (int32_t)work->tokens, err);
}

static void free_generation(struct bench_generation *g) {
    kv_cache_free(g->cache);
    sampler_free(g->sampler);
    mem_free(g->logits);
    mem_free(g->samples);
    mem_free(g->tokens);
    mem_free(g->prompt);
    mem_free(g->keys);
    mem_free(g->draws);
}

/* One batch of sequences from prompt to last token, as a rollout has it but for the end tokens. */
static opsm_status generate_once(struct bench_generation *g, const struct bench_work *work, const struct model *m,
                                 uint32_t round, opsm_error *err) {
    int32_t n = (int32_t)work->in_flight;
    const struct sampling sampling = {.temperature = 1.0f, .top_p = 1.0f};
    struct decode_prompt prompt = {.slot = 0, .tokens = g->prompt, .n_tokens = (int32_t)work->prompt};
    opsm_status status = decode_prompts(g->cache, m, 1, &prompt, g->logits, err);
    for (int32_t i = 0; i < n; i++) {
        g->samples[i] = i;
        decode_begin(g->cache, i, 0);
        if (i)
            memcpy(g->logits + (size_t)i * (size_t)m->config.n_vocab, g->logits,
                   (size_t)m->config.n_vocab * sizeof(float));
    }
    for (uint32_t t = 0; status == OPSM_OK && t < (uint32_t)work->tokens; t++) {
        for (int32_t i = 0; i < n; i++)
            g->keys[i] = (struct sample_key){.iteration = round, .sample = (uint32_t)i, .token = t};
        status = sampler_draw(g->sampler, &sampling, n, g->logits, m->config.n_vocab, g->keys, g->draws, err);
        for (int32_t i = 0; status == OPSM_OK && i < n; i++) g->tokens[i] = g->draws[i].token;
        if (status == OPSM_OK && t + 1 < (uint32_t)work->tokens)
            status = decode_step(g->cache, m, n, g->samples, g->tokens, g->logits, err);
    }
    return status;
}

static void random_tokens(int32_t *tokens, int64_t n, int32_t n_vocab) {
    struct rng r = rng_make(1, RNG_TEST, 0, 0, 0);
    for (int64_t i = 0; i < n; i++) tokens[i] = (int32_t)rng_below(&r, (uint32_t)n_vocab);
}

opsm_status bench_generate(struct bench_rate *rate, const struct bench_work *work, const struct model *model,
                           opsm_error *err) {
    struct bench_generation g = {0};
    opsm_status status = allocate_generation(&g, work, model, err);
    if (status == OPSM_OK) random_tokens(g.prompt, work->prompt, model->config.n_vocab);
    log_phase("warming up", 0, 1);
    if (status == OPSM_OK) status = generate_once(&g, work, model, 0, err);
    double begin = clock_seconds(), elapsed = 0;
    uint32_t rounds = 0;
    while (status == OPSM_OK && elapsed < work->seconds) {
        log_phase("measuring", elapsed / work->seconds, elapsed / work->seconds);
        status = generate_once(&g, work, model, ++rounds, err);
        elapsed = clock_seconds() - begin;
    }
    log_phase(NULL, 0, 0);
    double tokens = (double)rounds * (double)(work->in_flight * work->tokens);
    *rate = (struct bench_rate){tokens, elapsed, 2 * tokens * (body_weights(model) + head_weights(model))};
    free_generation(&g);
    return status;
}

/* ---- train ------------------------------------------------------------------------------------------------------- */

struct bench_training {
    struct activations *acts;
    struct pack pack;
    float *logp, *coef;
    int32_t *rows, *targets;
    int64_t n; /* response tokens */
};

/* Before anything of it is asked for: a batch is trained on in one piece here. */
static opsm_status check_training(const struct bench_work *work, const struct model *m, opsm_error *err) {
    static const char advice[] = "lower --groups, --group, --tokens or --prompt";
    int64_t rows = work->groups * (work->prompt + work->group * work->tokens);
    if (rows > INT32_MAX)
        return opsm_fail(err, OPSM_INVALID, "%lld tokens in one batch: expected at most %d; %s", (long long)rows,
                         INT32_MAX, advice);
    uint64_t bytes = activations_bytes(m, (int32_t)rows, ACTIVATIONS_ALL) + (uint64_t)rows * 16;
    return limits_check("training on one batch", bytes, bytes, 0, advice, err);
}

/* `groups` groups of one prompt and `group` responses; the head predicts every response token. */
static opsm_status fill_training(struct bench_training *t, const struct bench_work *work, const struct model *m,
                                 opsm_error *err) {
    opsm_status status = check_training(work, m, err);
    if (status != OPSM_OK) return status;
    int64_t longest = work->prompt > work->tokens ? work->prompt : work->tokens,
            n = work->groups * work->group * work->tokens;
    int32_t *tokens = mem_alloc((size_t)longest, sizeof *tokens);
    t->rows = mem_alloc((size_t)n, sizeof *t->rows);
    t->targets = mem_alloc((size_t)n, sizeof *t->targets);
    t->logp = mem_alloc((size_t)n, sizeof *t->logp);
    t->coef = mem_alloc((size_t)n, sizeof *t->coef);
    status =
        tokens && t->rows && t->targets && t->logp && t->coef ? OPSM_OK : mem_exhausted(err, "a batch", (size_t)n * 16);
    if (status == OPSM_OK) random_tokens(tokens, longest, m->config.n_vocab);
    for (int64_t g = 0; status == OPSM_OK && g < work->groups; g++) {
        int32_t prompt, own;
        status = pack_add(&t->pack, tokens, (int32_t)work->prompt, -1, &prompt, err);
        for (int64_t k = 0; status == OPSM_OK && k < work->group; k++) {
            status = pack_add(&t->pack, tokens, (int32_t)work->tokens, prompt, &own, err);
            if (status != OPSM_OK) break;
            const struct pack_segment *p = &t->pack.segments[prompt], *r = &t->pack.segments[own];
            for (int32_t i = 0; i < r->length; i++, t->n++) {
                t->rows[t->n] = i == 0 ? p->start + p->length - 1 : r->start + i - 1;
                t->targets[t->n] = tokens[i];
                t->coef[t->n] = 1e-3f;
            }
        }
    }
    mem_free(tokens);
    return status;
}

static opsm_status train_once(struct bench_training *t, const struct model *m, opsm_error *err) {
    struct lm_head_request request = {.n = t->n, .row = t->rows, .target = t->targets, .inv_temperature = 1};
    opsm_status status = model_forward(t->acts, m, &t->pack, err);
    if (status == OPSM_OK) status = lm_head_logprobs(t->logp, NULL, t->acts, m, &request, err);
    if (status == OPSM_OK) status = lm_head_backward(t->acts, m, &request, t->coef, err);
    if (status == OPSM_OK) status = model_backward(t->acts, m, &t->pack, err);
    return status;
}

static void free_training(struct bench_training *t) {
    activations_free(t->acts);
    pack_free(&t->pack);
    mem_free(t->logp);
    mem_free(t->coef);
    mem_free(t->rows);
    mem_free(t->targets);
}

opsm_status bench_train(struct bench_rate *rate, const struct bench_work *work, const struct model *model,
                        opsm_error *err) {
    struct bench_training t = {0};
    opsm_status status = fill_training(&t, work, model, err);
    if (status == OPSM_OK) status = activations_create(&t.acts, model, t.pack.n_tokens, ACTIVATIONS_ALL, err);
    log_phase("warming up", 0, 1);
    if (status == OPSM_OK) status = train_once(&t, model, err);
    double begin = clock_seconds(), elapsed = 0, rounds = 0;
    for (; status == OPSM_OK && elapsed < work->seconds; rounds++) {
        log_phase("measuring", elapsed / work->seconds, elapsed / work->seconds);
        status = train_once(&t, model, err);
        elapsed = clock_seconds() - begin;
    }
    log_phase(NULL, 0, 0);
    double tokens = t.pack.n_tokens, flop = 6 * (tokens * body_weights(model) + (double)t.n * head_weights(model));
    *rate = (struct bench_rate){rounds * tokens, elapsed, rounds * flop};
    free_training(&t);
    return status;
}
