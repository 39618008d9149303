/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/model.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "base/threads.h"
#include "cli/cli.h"
#include "cli/model_path.h"
#include "cli/options.h"
#include "kernels/gemm_bench.h"
#include "model/decode.h"
#include "model/forward.h"
#include "rollout/sampler.h"
#include <math.h>
#include <string.h>

struct setup {
    const char *model_path, *precision;
    int64_t in_flight, prompt, tokens, groups, group; /* prompt, tokens 0: what is usual, as far as the model goes */
    double seconds;
    bool json;
    enum dtype type;
    struct gemm_bench_ceiling ceiling;
};

enum { PROMPT_DEFAULT = 48, TOKENS_DEFAULT = 64, LENGTH_MAX = 1 << 20 };

static const struct setup defaults = {.in_flight = 64, .groups = 4, .group = 8, .seconds = 5, .precision = "bf16"};

/* Lengths that nobody gave; those that were given must fit. */
static opsm_status settle_lengths(struct setup *s, const struct model *m, opsm_error *err) {
    int64_t context = m->config.context;
    bool given = s->prompt || s->tokens;
    if (!s->tokens) s->tokens = TOKENS_DEFAULT;
    if (!s->prompt) s->prompt = PROMPT_DEFAULT;
    if (s->prompt + s->tokens <= context) return OPSM_OK;
    if (given)
        return opsm_fail(err, OPSM_INVALID,
                         "--prompt %lld and --tokens %lld do not fit into the model's context of %lld tokens",
                         (long long)s->prompt, (long long)s->tokens, (long long)context);
    s->tokens = context / 2;
    s->prompt = context - s->tokens;
    return OPSM_OK;
}

/* Reads the options, loads the model and measures the ceiling. Returns 0 or an exit code. */
static int start(struct setup *s, int argc, char **argv, const struct option *table, struct model **model,
                 bool trainable, opsm_error *err) {
    static const char *const names[] = {"the model (a GGUF file or the directory of a run)"};
    int code = options_read(argc, argv, table, &s->model_path, 1, names);
    if (code) return code;
    if (strcmp(s->precision, "f32") != 0 && strcmp(s->precision, "bf16") != 0)
        return cli_usage("bench", "--precision: expected f32 or bf16, found '%.40s'", s->precision);
    s->type = !strcmp(s->precision, "f32") ? DTYPE_F32 : DTYPE_BF16;
    opsm_status status = cli_load_model(model, s->model_path, s->type, trainable, err);
    if (status == OPSM_OK) status = settle_lengths(s, *model, err);
    log_phase("measuring the ceiling", NAN, NAN);
    if (status == OPSM_OK) status = gemm_bench_ceiling(&s->ceiling, s->type, 0.5, err);
    if (status == OPSM_OK) return 0;
    model_free(*model);
    *model = NULL;
    return cli_fail(status, err);
}

/* Weights that a token is multiplied with, without the head: every matrix but the embedding. */
static double body_weights(const struct model *m) {
    double n = 0;
    for (int32_t i = 0; i < m->n_tensors; i++)
        if (m->tensors[i].decay && m->tensors[i].offset != m->embedding && m->tensors[i].offset != m->head)
            n += (double)m->tensors[i].rows * (double)m->tensors[i].cols;
    return n;
}

static double head_weights(const struct model *m) {
    return (double)m->config.n_vocab * m->config.dim;
}

/* `settings`: what is special to this benchmark, as JSON or as words. */
static void report(const struct setup *s, const char *what, const char *settings, double tokens, double seconds,
                   double flop) {
    double gflops = flop / seconds * 1e-9, share = gflops / s->ceiling.gflops;
    if (!s->json) {
        printf(
            "%s: %.0f tokens/s in %s on %d threads (%s); products %.0f GFLOP/s, %.0f%% of the %.0f GFLOP/s ceiling\n",
            what, tokens / seconds, s->precision, threads_count(), settings, gflops, 100 * share, s->ceiling.gflops);
        return;
    }
    struct text model = {0};
    text_json_string(&model, s->model_path, strlen(s->model_path));
    printf("{\"bench\":\"%s\",\"model\":%s,\"precision\":\"%s\",\"threads\":%d,%s,\"seconds\":%.2f,"
           "\"tokens_per_second\":%.1f,\"gflops\":%.1f,\"ceiling_gflops\":%.1f,\"share\":%.4f}\n",
           what, model.data ? model.data : "null", s->precision, threads_count(), settings, seconds, tokens / seconds,
           gflops, s->ceiling.gflops, share);
    text_free(&model);
}

/* ---- generate -------------------------------------------------------------------------------------------------------
 */

struct generation {
    struct kv_cache *cache;
    struct sampler *sampler;
    float *logits;
    int32_t *samples, *tokens, *prompt;
    struct sample_key *keys;
    struct sample_draw *draws;
};

/* Before anything of it is asked for. */
static opsm_status check_generation(const struct setup *s, const struct model *m, opsm_error *err) {
    int32_t n = (int32_t)s->in_flight;
    uint64_t bytes = (uint64_t)n * (uint64_t)m->config.n_vocab * sizeof(float) +
                     sampler_bytes(m->config.n_vocab, n, false) +
                     kv_cache_bytes(m, 1, (int32_t)s->prompt, n, (int32_t)s->tokens);
    return limits_check("generation", bytes, bytes, 0, "lower --in-flight, --tokens or --prompt", err);
}

static opsm_status allocate_generation(struct generation *g, const struct setup *s, const struct model *m,
                                       opsm_error *err) {
    int32_t n = (int32_t)s->in_flight;
    size_t vocab = (size_t)m->config.n_vocab;
    opsm_status status = check_generation(s, m, err);
    if (status != OPSM_OK) return status;
    g->logits = mem_alloc((size_t)n * vocab, sizeof(float));
    g->samples = mem_alloc((size_t)n, sizeof(int32_t));
    g->tokens = mem_alloc((size_t)n, sizeof(int32_t));
    g->prompt = mem_alloc((size_t)s->prompt, sizeof(int32_t));
    g->keys = mem_zalloc((size_t)n, sizeof *g->keys);
    g->draws = mem_alloc((size_t)n, sizeof *g->draws);
    if (!g->logits || !g->samples || !g->tokens || !g->prompt || !g->keys || !g->draws)
        return mem_exhausted(err, "logits", (size_t)n * vocab * sizeof(float));
    status = sampler_create(&g->sampler, m->config.n_vocab, n, false, err);
    if (status != OPSM_OK) return status;
    return kv_cache_create(&g->cache, m, 1, (int32_t)s->prompt, n, (int32_t)s->tokens, err);
}

static void free_generation(struct generation *g) {
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
static opsm_status generate_once(struct generation *g, const struct setup *s, const struct model *m, uint32_t round,
                                 opsm_error *err) {
    int32_t n = (int32_t)s->in_flight;
    const struct sampling sampling = {.temperature = 1.0f, .top_p = 1.0f};
    struct decode_prompt prompt = {.slot = 0, .tokens = g->prompt, .n_tokens = (int32_t)s->prompt};
    opsm_status status = decode_prompts(g->cache, m, 1, &prompt, g->logits, err);
    for (int32_t i = 0; i < n; i++) {
        g->samples[i] = i;
        decode_begin(g->cache, i, 0);
        if (i)
            memcpy(g->logits + (size_t)i * (size_t)m->config.n_vocab, g->logits,
                   (size_t)m->config.n_vocab * sizeof(float));
    }
    for (uint32_t t = 0; status == OPSM_OK && t < (uint32_t)s->tokens; t++) {
        for (int32_t i = 0; i < n; i++)
            g->keys[i] = (struct sample_key){.iteration = round, .sample = (uint32_t)i, .token = t};
        status = sampler_draw(g->sampler, &sampling, n, g->logits, m->config.n_vocab, g->keys, g->draws, err);
        for (int32_t i = 0; status == OPSM_OK && i < n; i++) g->tokens[i] = g->draws[i].token;
        if (status == OPSM_OK && t + 1 < (uint32_t)s->tokens)
            status = decode_step(g->cache, m, n, g->samples, g->tokens, g->logits, err);
    }
    return status;
}

static void random_tokens(int32_t *tokens, int64_t n, int32_t n_vocab) {
    struct rng r = rng_make(1, RNG_TEST, 0, 0, 0);
    for (int64_t i = 0; i < n; i++) tokens[i] = (int32_t)rng_below(&r, (uint32_t)n_vocab);
}

static void report_generate(const struct setup *s, const struct model *m, uint32_t rounds, double seconds) {
    char settings[160];
    snprintf(settings, sizeof settings,
             s->json ? "\"prompt\":%lld,\"tokens\":%lld,\"in_flight\":%lld"
                     : "prompt %lld, %lld new tokens, %lld sequences in flight",
             (long long)s->prompt, (long long)s->tokens, (long long)s->in_flight);
    double tokens = (double)rounds * (double)(s->in_flight * s->tokens);
    report(s, "generate", settings, tokens, seconds, 2 * tokens * (body_weights(m) + head_weights(m)));
}

int bench_generate(int argc, char **argv) {
    opsm_error err = {0};
    struct setup s = defaults;
    struct model *model = NULL;
    const struct option table[] = {{"--prompt", OPTION_INT, &s.prompt, 1, LENGTH_MAX},
                                   {"--tokens", OPTION_INT, &s.tokens, 1, LENGTH_MAX},
                                   {"--in-flight", OPTION_INT, &s.in_flight, 1, 65536},
                                   {"--seconds", OPTION_REAL, &s.seconds, 0.1, 3600},
                                   {"--precision", OPTION_TEXT, &s.precision, 0, 0},
                                   {"--json", OPTION_FLAG, &s.json, 0, 0},
                                   {NULL, OPTION_FLAG, NULL, 0, 0}};
    int code = start(&s, argc, argv, table, &model, false, &err);
    if (code || !model) return code;
    struct generation g = {0};
    opsm_status status = allocate_generation(&g, &s, model, &err);
    if (status == OPSM_OK) random_tokens(g.prompt, s.prompt, model->config.n_vocab);
    log_phase("warming up", 0, 1);
    if (status == OPSM_OK) status = generate_once(&g, &s, model, 0, &err);
    double begin = clock_seconds(), elapsed = 0;
    uint32_t rounds = 0;
    while (status == OPSM_OK && elapsed < s.seconds) {
        log_phase("measuring", elapsed / s.seconds, elapsed / s.seconds);
        status = generate_once(&g, &s, model, ++rounds, &err);
        elapsed = clock_seconds() - begin;
    }
    log_phase(NULL, 0, 0);
    if (status == OPSM_OK) report_generate(&s, model, rounds, elapsed);
    free_generation(&g);
    model_free(model);
    return status == OPSM_OK ? 0 : cli_fail(status, &err);
}

/* ---- train ----------------------------------------------------------------------------------------------------------
 */

struct training {
    struct activations *acts;
    struct pack pack;
    float *grads, *logp, *coef;
    int32_t *rows, *targets;
    int64_t n; /* response tokens */
};

/* Before anything of it is asked for: a batch is trained on in one piece here. */
static opsm_status check_training(const struct setup *s, const struct model *m, opsm_error *err) {
    static const char advice[] = "lower --groups, --group, --tokens or --prompt";
    int64_t rows = s->groups * (s->prompt + s->group * s->tokens);
    if (rows > INT32_MAX)
        return opsm_fail(err, OPSM_INVALID, "%lld tokens in one batch: expected at most %d; %s", (long long)rows,
                         INT32_MAX, advice);
    uint64_t bytes = (uint64_t)m->n_params * sizeof(float) + activations_bytes(m, (int32_t)rows, ACTIVATIONS_ALL) +
                     (uint64_t)rows * 16;
    return limits_check("training on one batch", bytes, bytes, 0, advice, err);
}

/* `groups` groups of one prompt and `group` responses; the head predicts every response token. */
static opsm_status fill_training(struct training *t, const struct setup *s, const struct model *m, opsm_error *err) {
    opsm_status status = check_training(s, m, err);
    if (status != OPSM_OK) return status;
    int64_t longest = s->prompt > s->tokens ? s->prompt : s->tokens, n = s->groups * s->group * s->tokens;
    int32_t *tokens = mem_alloc((size_t)longest, sizeof *tokens);
    t->rows = mem_alloc((size_t)n, sizeof *t->rows);
    t->targets = mem_alloc((size_t)n, sizeof *t->targets);
    t->logp = mem_alloc((size_t)n, sizeof *t->logp);
    t->coef = mem_alloc((size_t)n, sizeof *t->coef);
    t->grads = mem_zalloc((size_t)m->n_params, sizeof *t->grads);
    status = tokens && t->rows && t->targets && t->logp && t->coef && t->grads
                 ? OPSM_OK
                 : mem_exhausted(err, "gradients", (size_t)m->n_params * sizeof(float));
    if (status == OPSM_OK) random_tokens(tokens, longest, m->config.n_vocab);
    for (int64_t g = 0; status == OPSM_OK && g < s->groups; g++) {
        int32_t prompt, own;
        status = pack_add(&t->pack, tokens, (int32_t)s->prompt, -1, &prompt, err);
        for (int64_t k = 0; status == OPSM_OK && k < s->group; k++) {
            status = pack_add(&t->pack, tokens, (int32_t)s->tokens, prompt, &own, err);
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

static opsm_status train_once(struct training *t, const struct model *m, opsm_error *err) {
    struct head_request request = {.n = t->n, .row = t->rows, .target = t->targets, .inv_temperature = 1};
    opsm_status status = model_forward(t->acts, m, &t->pack, err);
    if (status == OPSM_OK) status = head_logprobs(t->logp, NULL, t->acts, m, &request, err);
    if (status == OPSM_OK) status = model_backward(t->grads, t->acts, m, &t->pack, &request, t->coef, err);
    return status;
}

static void report_train(const struct setup *s, const struct model *m, const struct training *t, double rounds,
                         double seconds) {
    char settings[160];
    snprintf(settings, sizeof settings,
             s->json ? "\"prompt\":%lld,\"tokens\":%lld,\"groups\":%lld,\"group\":%lld"
                     : "prompt %lld, %lld tokens a response, %lld groups of %lld",
             (long long)s->prompt, (long long)s->tokens, (long long)s->groups, (long long)s->group);
    double tokens = t->pack.n_tokens, flop = 6 * (tokens * body_weights(m) + (double)t->n * head_weights(m));
    report(s, "train", settings, rounds * tokens, seconds, rounds * flop);
}

int bench_train(int argc, char **argv) {
    opsm_error err = {0};
    struct setup s = defaults;
    struct model *model = NULL;
    const struct option table[] = {{"--prompt", OPTION_INT, &s.prompt, 1, LENGTH_MAX},
                                   {"--tokens", OPTION_INT, &s.tokens, 1, LENGTH_MAX},
                                   {"--groups", OPTION_INT, &s.groups, 1, 1 << 16},
                                   {"--group", OPTION_INT, &s.group, 1, 4096},
                                   {"--seconds", OPTION_REAL, &s.seconds, 0.1, 3600},
                                   {"--precision", OPTION_TEXT, &s.precision, 0, 0},
                                   {"--json", OPTION_FLAG, &s.json, 0, 0},
                                   {NULL, OPTION_FLAG, NULL, 0, 0}};
    int code = start(&s, argc, argv, table, &model, true, &err);
    if (code || !model) return code;
    struct training t = {0};
    opsm_status status = fill_training(&t, &s, model, &err);
    if (status == OPSM_OK) status = activations_create(&t.acts, model, t.pack.n_tokens, ACTIVATIONS_ALL, &err);
    log_phase("warming up", 0, 1);
    if (status == OPSM_OK) status = train_once(&t, model, &err);
    double begin = clock_seconds(), elapsed = 0, rounds = 0;
    for (; status == OPSM_OK && elapsed < s.seconds; rounds++) {
        log_phase("measuring", elapsed / s.seconds, elapsed / s.seconds);
        status = train_once(&t, model, &err);
        elapsed = clock_seconds() - begin;
    }
    log_phase(NULL, 0, 0);
    if (status == OPSM_OK) report_train(&s, model, &t, rounds, elapsed);
    activations_free(t.acts);
    pack_free(&t.pack);
    mem_free(t.grads);
    mem_free(t.logp);
    mem_free(t.coef);
    mem_free(t.rows);
    mem_free(t.targets);
    model_free(model);
    return status == OPSM_OK ? 0 : cli_fail(status, &err);
}
