/* SPDX-License-Identifier: Apache-2.0 */
#include "rollout/generate.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "model/decode.h"
#include "rollout/stop.h"
#include <string.h>

enum { STOP_MAX = 16 };

/* A response while it grows, at a fixed place per sequence; rollouts are gathered from here in order at the end. */
struct staged {
    int32_t length, text_length;
    uint8_t finish;
};

/* A place in the decode batch. */
struct place {
    int32_t sample_slot, sequence;
    int32_t stop_state[STOP_MAX];
    int64_t bytes; /* of text so far */
};

/* A group whose prompt is in the cache. */
struct prompt_place {
    int32_t unfinished; /* samples; 0: the slot is free */
};

struct generator {
    const struct model *model;
    struct generator_limits limits;
    struct kv_cache *cache;
    struct sampler *sampler;
    float *logits; /* [in_flight, n_vocab] */

    struct staged *staged; /* [sequences] */
    int32_t *tokens;       /* [sequences, max_tokens] */
    float *logp;           /* likewise */
    int64_t *kept_start;   /* likewise, truncating only: into kept */
    int32_t *kept_count;   /* likewise */
    int32_t *kept;         /* [kept_room] grows by doubling */
    int64_t kept_used, kept_room;

    struct place *places; /* [in_flight], the first n_active are decoding */
    int32_t n_active;
    int32_t *free_samples; /* [in_flight] stack of sample slots */
    int32_t n_free;
    struct prompt_place *prompts; /* [in_flight] by prompt slot */
    int32_t *slot_of_group;       /* [sequences] prompt slot of a group, valid while it is in the cache */

    /* Arguments of one step, [in_flight]. */
    int32_t *step_samples, *step_tokens;
    struct sample_key *keys;
    struct sample_draw *draws;
    struct decode_prompt *prefill;
};

/* What one call of generate() is about. */
struct generation {
    struct generator *g;
    const struct generate_request *request;
    struct stop_set *stop;
    int32_t stop_token[STOP_MAX]; /* stop strings that name a token which is no text, e.g. <|im_start|> */
    int n_stop_tokens;
    struct generate_stats stats;
    int32_t n_sequences;
    int32_t next_sequence; /* the next to be given a place */
    int32_t prefilled;     /* groups whose prompts have been computed */
};

static int32_t in_flight(const struct generator_limits *l) {
    return l->in_flight < l->sequences ? l->in_flight : l->sequences;
}

size_t generator_bytes(const struct model *model, const struct generator_limits *l) {
    size_t cells = (size_t)l->sequences * (size_t)l->max_tokens;
    int32_t flight = in_flight(l);
    return kv_cache_bytes(model, flight, l->max_prompt, flight, l->max_tokens) +
           sampler_bytes(model->config.n_vocab, flight, l->truncating) +
           (size_t)flight * (size_t)model->config.n_vocab * sizeof(float) + cells * (l->truncating ? 20 : 8);
}

size_t generator_filled(const struct model *model, const struct generator_limits *l, int32_t group, int32_t prompt) {
    const struct model_config *c = &model->config;
    int64_t flight = in_flight(l), slots = 2 * ((flight + group - 1) / group);
    if (slots > flight) slots = flight;
    if (prompt > l->max_prompt) prompt = l->max_prompt;
    int64_t empty = flight * l->max_prompt - slots * prompt;
    return generator_bytes(model, l) - kv_cache_row_bytes(c) * (size_t)empty;
}

/* How long prompts will be, and how many at a time, nobody knows here: what is filled whatever they are. */
static opsm_status check_memory(const struct model *model, const struct generator_limits *l, opsm_error *err) {
    return limits_check(
        "generation", generator_filled(model, l, in_flight(l), 1), generator_bytes(model, l), 0,
        "fewer sequences in flight (rollout.in_flight, --in-flight), shorter prompts or responses need less", err);
}

static opsm_status allocate(struct generator *g, opsm_error *err) {
    const struct generator_limits *l = &g->limits;
    size_t flight = (size_t)l->in_flight, cells = (size_t)l->sequences * (size_t)l->max_tokens;
    g->logits = mem_alloc(flight, (size_t)g->model->config.n_vocab * sizeof(float));
    g->staged = mem_alloc((size_t)l->sequences, sizeof *g->staged);
    g->tokens = mem_alloc(cells, sizeof *g->tokens);
    g->logp = mem_alloc(cells, sizeof *g->logp);
    g->places = mem_alloc(flight, sizeof *g->places);
    g->free_samples = mem_alloc(flight, sizeof *g->free_samples);
    g->prompts = mem_alloc(flight, sizeof *g->prompts);
    g->slot_of_group = mem_alloc((size_t)l->sequences, sizeof *g->slot_of_group);
    g->step_samples = mem_alloc(flight, sizeof *g->step_samples);
    g->step_tokens = mem_alloc(flight, sizeof *g->step_tokens);
    g->keys = mem_alloc(flight, sizeof *g->keys);
    g->draws = mem_alloc(flight, sizeof *g->draws);
    g->prefill = mem_alloc(flight, sizeof *g->prefill);
    bool whole = g->logits && g->staged && g->tokens && g->logp && g->places && g->free_samples && g->prompts &&
                 g->slot_of_group && g->step_samples && g->step_tokens && g->keys && g->draws && g->prefill;
    if (l->truncating) {
        g->kept_start = mem_alloc(cells, sizeof *g->kept_start);
        g->kept_count = mem_alloc(cells, sizeof *g->kept_count);
        whole = whole && g->kept_start && g->kept_count;
    }
    return whole ? OPSM_OK : mem_exhausted(err, "the rollout buffers", generator_bytes(g->model, l));
}

opsm_status generator_create(struct generator **result, const struct model *model,
                             const struct generator_limits *limits, opsm_error *err) {
    *result = NULL;
    if (limits->in_flight < 1 || limits->max_prompt < 1 || limits->max_tokens < 1 || limits->sequences < 1)
        return opsm_fail(err, OPSM_INVALID,
                         "generation needs at least one sequence and one token (in flight %d, "
                         "prompt %d, response %d, sequences %d)",
                         limits->in_flight, limits->max_prompt, limits->max_tokens, limits->sequences);
    if (limits->max_prompt + limits->max_tokens > model->config.context)
        return opsm_fail(err, OPSM_INVALID,
                         "prompt and response may have %d + %d tokens, the model's context is %d: "
                         "lower rollout.max_tokens or rollout.max_prompt",
                         limits->max_prompt, limits->max_tokens, model->config.context);
    size_t longest = tokenizer_longest(model->tokenizer);
    if (longest > INT32_MAX / (size_t)limits->max_tokens)
        return opsm_fail(err, OPSM_INVALID,
                         "the tokenizer has a token of %zu bytes: a response of %d tokens could be longer than 2 GiB; "
                         "lower rollout.max_tokens",
                         longest, limits->max_tokens);
    opsm_status status = check_memory(model, limits, err);
    if (status != OPSM_OK) return status;
    struct generator *g = mem_zalloc(1, sizeof *g);
    if (!g) return mem_exhausted(err, "a generator", sizeof *g);
    g->model = model;
    g->limits = *limits;
    g->limits.in_flight = in_flight(limits);
    int32_t flight = g->limits.in_flight;
    status = allocate(g, err);
    if (status == OPSM_OK)
        status = kv_cache_create(&g->cache, model, flight, limits->max_prompt, flight, limits->max_tokens, err);
    if (status == OPSM_OK) status = sampler_create(&g->sampler, model->config.n_vocab, flight, limits->truncating, err);
    if (status != OPSM_OK) {
        generator_free(g);
        return status;
    }
    *result = g;
    return OPSM_OK;
}

void generator_use(struct generator *g, const struct model *model) {
    g->model = model;
}

void generator_fill(struct generator *g) {
    size_t cells = (size_t)g->limits.sequences * (size_t)g->limits.max_tokens;
    memset(g->tokens, 0, cells * sizeof *g->tokens);
    memset(g->logp, 0, cells * sizeof *g->logp);
    if (g->kept_start) memset(g->kept_start, 0, cells * sizeof *g->kept_start);
    if (g->kept_count) memset(g->kept_count, 0, cells * sizeof *g->kept_count);
    memset(g->logits, 0, (size_t)g->limits.in_flight * (size_t)g->model->config.n_vocab * sizeof *g->logits);
    kv_cache_fill(g->cache);
}

void generator_free(struct generator *g) {
    if (!g) return;
    kv_cache_free(g->cache);
    sampler_free(g->sampler);
    mem_free(g->logits);
    mem_free(g->staged);
    mem_free(g->tokens);
    mem_free(g->logp);
    mem_free(g->kept_start);
    mem_free(g->kept_count);
    mem_free(g->kept);
    mem_free(g->places);
    mem_free(g->free_samples);
    mem_free(g->prompts);
    mem_free(g->slot_of_group);
    mem_free(g->step_samples);
    mem_free(g->step_tokens);
    mem_free(g->keys);
    mem_free(g->draws);
    mem_free(g->prefill);
    mem_free(g);
}

/* ---- recording --------------------------------------------------------------------------------------------------- */

static opsm_status record_kept(struct generator *g, int64_t cell, struct softmax_kept kept, opsm_error *err) {
    g->kept_start[cell] = g->kept_used;
    g->kept_count[cell] = kept.ids ? kept.n : 0;
    if (!kept.ids) return OPSM_OK;
    if (g->kept_used + kept.n > g->kept_room) {
        int64_t room = g->kept_room * 2 > g->kept_used + kept.n ? g->kept_room * 2 : g->kept_used + kept.n + 4096;
        int32_t *grown = mem_resize(g->kept, (size_t)g->kept_room, (size_t)room, sizeof *grown);
        if (!grown) return mem_exhausted(err, "the kept sets of truncated sampling", (size_t)room * sizeof *grown);
        g->kept = grown;
        g->kept_room = room;
    }
    memcpy(g->kept + g->kept_used, kept.ids, (size_t)kept.n * sizeof *g->kept);
    g->kept_used += kept.n;
    return OPSM_OK;
}

static opsm_status record(struct generation *now, int32_t sequence, const struct sample_draw *draw, opsm_error *err) {
    struct generator *g = now->g;
    struct staged *s = &g->staged[sequence];
    int64_t cell = (int64_t)sequence * g->limits.max_tokens + s->length++;
    g->tokens[cell] = draw->token;
    g->logp[cell] = draw->logp;
    return sampling_truncates(&now->request->sampling) ? record_kept(g, cell, draw->kept, err) : OPSM_OK;
}

static struct sample_key key_of(const struct generation *now, int32_t sequence, int32_t token) {
    int32_t group = now->request->group;
    return (struct sample_key){now->request->seed, now->request->iteration,
                               now->request->first_prompt + (uint32_t)(sequence / group), (uint32_t)(sequence % group),
                               (uint32_t)token};
}

static bool is_stop_token(const struct generation *now, int32_t token) {
    for (int i = 0; i < now->n_stop_tokens; i++)
        if (now->stop_token[i] == token) return true;
    return false;
}

/* Looks at the last recorded token of the sequence at `place`; true when it ends there. */
static bool is_finished(struct generation *now, struct place *place) {
    struct generator *g = now->g;
    const struct tokenizer *tokenizer = g->model->tokenizer;
    struct staged *s = &g->staged[place->sequence];
    int32_t token = g->tokens[(int64_t)place->sequence * g->limits.max_tokens + s->length - 1];
    int32_t group = now->request->group;
    if (now->request->on_token)
        now->request->on_token(now->request->user, place->sequence / group, place->sequence % group, token);
    struct text_view text = tokenizer_text(tokenizer, token);
    size_t matched = 0, fed = stop_feed(now->stop, place->stop_state, text.data, text.length, &matched);
    place->bytes += fed ? (int64_t)fed - (int64_t)matched : (int64_t)text.length;
    s->text_length = (int32_t)place->bytes; /* generator_create has seen that it fits */
    s->finish = FINISH_LENGTH;
    if (fed || is_stop_token(now, token)) s->finish = FINISH_STOP;
    if (tokenizer_is_end(tokenizer, token)) s->finish = FINISH_END;
    return s->finish != FINISH_LENGTH || s->length >= now->request->max_tokens;
}

/* ---- scheduling -------------------------------------------------------------------------------------------------- */

/* Computes the prompts of the next groups, as many as the free places can use, and draws the first token of all their
 * samples: the prompt's logits need not be kept until the last of them finds a place. */
static opsm_status prefill(struct generation *now, opsm_error *err) {
    struct generator *g = now->g;
    const struct generate_request *q = now->request;
    int32_t wanted = (g->n_free + q->group - 1) / q->group, n = 0;
    if (wanted > q->n_prompts - now->prefilled) wanted = q->n_prompts - now->prefilled;
    /* Every group in the cache has a sample in flight, so there are at least n_free free slots. */
    for (int32_t slot = 0; n < wanted && slot < g->limits.in_flight; slot++) {
        if (g->prompts[slot].unfinished) continue;
        int32_t group = now->prefilled + n;
        int64_t first = q->prompt_offset[group];
        g->prefill[n++] =
            (struct decode_prompt){slot, q->prompt_tokens + first, (int32_t)(q->prompt_offset[group + 1] - first)};
        g->prompts[slot].unfinished = q->group;
        g->slot_of_group[group] = slot;
        now->stats.prompt_tokens += g->prefill[n - 1].n_tokens;
    }
    if (now->prefilled == 0 && q->phase_from == 0) log_phase("prompts", 0, 1); /* the later ones are part of it */
    opsm_status status = decode_prompts(g->cache, g->model, n, g->prefill, g->logits, err);
    for (int32_t i = 0; status == OPSM_OK && i < n; i++) {
        int32_t first = (now->prefilled + i) * q->group;
        const float *row = g->logits + (int64_t)i * g->model->config.n_vocab;
        for (int32_t done = 0; status == OPSM_OK && done < q->group; done += g->limits.in_flight) {
            int32_t part = q->group - done < g->limits.in_flight ? q->group - done : g->limits.in_flight;
            for (int32_t j = 0; j < part; j++) g->keys[j] = key_of(now, first + done + j, 0);
            status = sampler_draw(g->sampler, &q->sampling, part, row, 0, g->keys, g->draws, err);
            for (int32_t j = 0; status == OPSM_OK && j < part; j++)
                status = record(now, first + done + j, &g->draws[j], err);
        }
    }
    now->prefilled += n;
    return status;
}

static void leave(struct generation *now, const struct place *place) {
    struct generator *g = now->g;
    g->free_samples[g->n_free++] = place->sample_slot;
    g->prompts[g->slot_of_group[place->sequence / now->request->group]].unfinished--;
}

/* Gives free places to the next sequences. */
static opsm_status refill(struct generation *now, opsm_error *err) {
    struct generator *g = now->g;
    while (g->n_free > 0 && now->next_sequence < now->n_sequences) {
        int32_t sequence = now->next_sequence, group = sequence / now->request->group;
        if (group >= now->prefilled) {
            opsm_status status = prefill(now, err);
            if (status != OPSM_OK) return status;
        }
        struct place *place = &g->places[g->n_active];
        *place = (struct place){.sample_slot = g->free_samples[--g->n_free], .sequence = sequence};
        decode_begin(g->cache, place->sample_slot, g->slot_of_group[group]);
        now->next_sequence++;
        if (is_finished(now, place))
            leave(now, place);
        else
            g->n_active++;
    }
    return OPSM_OK;
}

/* One token for every active sequence; the finished ones leave, the others close ranks. */
static opsm_status advance(struct generation *now, opsm_error *err) {
    struct generator *g = now->g;
    int32_t n = g->n_active;
    for (int32_t i = 0; i < n; i++) {
        int32_t sequence = g->places[i].sequence, length = g->staged[sequence].length;
        g->step_samples[i] = g->places[i].sample_slot;
        g->step_tokens[i] = g->tokens[(int64_t)sequence * g->limits.max_tokens + length - 1];
        g->keys[i] = key_of(now, sequence, length);
    }
    opsm_status status = decode_step(g->cache, g->model, n, g->step_samples, g->step_tokens, g->logits, err);
    if (status == OPSM_OK)
        status = sampler_draw(g->sampler, &now->request->sampling, n, g->logits, g->model->config.n_vocab, g->keys,
                              g->draws, err);
    for (int32_t i = 0; status == OPSM_OK && i < n; i++) status = record(now, g->places[i].sequence, &g->draws[i], err);
    if (status != OPSM_OK) return status;
    now->stats.decode_steps++;
    int32_t kept = 0;
    for (int32_t i = 0; i < n; i++) {
        if (is_finished(now, &g->places[i]))
            leave(now, &g->places[i]);
        else
            g->places[kept++] = g->places[i];
    }
    g->n_active = kept;
    return OPSM_OK;
}

/* ---- the result -------------------------------------------------------------------------------------------------- */

static opsm_status gather(struct generation *now, struct rollouts *out, opsm_error *err) {
    struct generator *g = now->g;
    const struct generate_request *q = now->request;
    bool truncated = sampling_truncates(&q->sampling);
    int64_t n_tokens = 0, n_prompt = q->prompt_offset[q->n_prompts] - q->prompt_offset[0];
    for (int32_t i = 0; i < now->n_sequences; i++) n_tokens += g->staged[i].length;
    struct rollout_sizes sizes = {q->n_prompts, now->n_sequences, n_prompt, n_tokens, truncated ? g->kept_used : -1};
    opsm_status status = rollouts_allocate(out, &sizes, err);
    if (status != OPSM_OK) return status;
    out->inv_temperature = sampling_inv_temperature(&q->sampling);
    for (int32_t i = 0; i <= q->n_prompts; i++) out->prompt_offset[i] = q->prompt_offset[i] - q->prompt_offset[0];
    memcpy(out->prompt_tokens, q->prompt_tokens + q->prompt_offset[0], (size_t)n_prompt * sizeof *out->prompt_tokens);
    int64_t t = 0, kept = 0;
    for (int32_t i = 0; i < now->n_sequences; i++) {
        const struct staged *s = &g->staged[i];
        int64_t cell = (int64_t)i * g->limits.max_tokens;
        out->offset[i] = t;
        out->group_of[i] = i / q->group;
        out->finish[i] = s->finish;
        out->text_length[i] = s->text_length;
        out->version[i] = g->model->version;
        memcpy(out->tokens + t, g->tokens + cell, (size_t)s->length * sizeof *out->tokens);
        memcpy(out->logp + t, g->logp + cell, (size_t)s->length * sizeof *out->logp);
        for (int32_t j = 0; truncated && j < s->length; j++) {
            int32_t n = g->kept_count[cell + j];
            out->kept_offset[t + j] = kept;
            if (n) memcpy(out->kept + kept, g->kept + g->kept_start[cell + j], (size_t)n * sizeof *out->kept);
            kept += n;
        }
        t += s->length;
    }
    out->offset[now->n_sequences] = t;
    if (truncated) out->kept_offset[t] = kept;
    now->stats.tokens = t;
    return OPSM_OK;
}

/* Tells whoever waits how far it is: sequences that have ended, and the others by their length. */
static void tell(const struct generation *now) {
    const struct generate_request *q = now->request;
    double done = now->next_sequence - now->g->n_active;
    for (int32_t i = 0; i < now->g->n_active; i++)
        done += (double)now->g->staged[now->g->places[i].sequence].length / q->max_tokens;
    double share = q->phase_from + (q->phase_to - q->phase_from) * done / now->n_sequences;
    log_phase(q->phase, share, share);
}

static opsm_status check_request(const struct generator *g, const struct generate_request *q, opsm_error *err) {
    opsm_status status = sampling_check(&q->sampling, err);
    if (status != OPSM_OK) return status;
    const struct generator_limits *l = &g->limits;
    if (q->n_prompts < 0 || q->group < 1 || (int64_t)q->n_prompts * q->group > l->sequences)
        return opsm_fail(err, OPSM_INVALID, "%d prompts x %d samples: there is room for %d sequences", q->n_prompts,
                         q->group, l->sequences);
    if (q->max_tokens < 1 || q->max_tokens > l->max_tokens)
        return opsm_fail(err, OPSM_INVALID, "responses of %d tokens: there is room for 1 to %d", q->max_tokens,
                         l->max_tokens);
    if (q->n_stop < 0 || q->n_stop > STOP_MAX)
        return opsm_fail(err, OPSM_INVALID, "%d stop strings: at most %d are possible", q->n_stop, STOP_MAX);
    if (sampling_truncates(&q->sampling) && !l->truncating)
        return opsm_fail(err, OPSM_INTERNAL, "this generator was created without room for truncated sampling");
    for (int32_t i = 0; i < q->n_prompts; i++) {
        int64_t n = q->prompt_offset[i + 1] - q->prompt_offset[i];
        if (n < 1 || n > l->max_prompt)
            return opsm_fail(err, OPSM_INVALID, "prompt %d has %lld tokens: expected 1 to %d (rollout.max_prompt)", i,
                             (long long)n, l->max_prompt);
    }
    return OPSM_OK;
}

static void find_stop_tokens(struct generation *now) {
    const struct tokenizer *tokenizer = now->g->model->tokenizer;
    for (int32_t i = 0; i < now->request->n_stop; i++) {
        int32_t id = tokenizer_find(tokenizer, now->request->stop[i]);
        bool is_text = tokenizer_text(tokenizer, id).length > 0;
        if (!is_text && tokenizer_piece(tokenizer, id).length > 0) now->stop_token[now->n_stop_tokens++] = id;
    }
}

static void reset(struct generation *now) {
    struct generator *g = now->g;
    g->n_active = 0;
    g->n_free = 0;
    g->kept_used = 0;
    for (int32_t i = g->limits.in_flight - 1; i >= 0; i--) g->free_samples[g->n_free++] = i;
    memset(g->prompts, 0, (size_t)g->limits.in_flight * sizeof *g->prompts);
    memset(g->staged, 0, (size_t)now->n_sequences * sizeof *g->staged);
}

opsm_status generate(struct generator *g, const struct generate_request *request, struct rollouts *rollouts,
                     struct generate_stats *stats, opsm_error *err) {
    double start = clock_seconds();
    rollouts_free(rollouts);
    opsm_status status = check_request(g, request, err);
    if (status != OPSM_OK) return status;
    struct generation now = {.g = g, .request = request, .n_sequences = request->n_prompts * request->group};
    status = stop_create(&now.stop, request->stop, request->n_stop, err);
    if (status != OPSM_OK) return status;
    find_stop_tokens(&now);
    reset(&now);
    do {
        if (request->interrupt && atomic_load(request->interrupt))
            status = opsm_fail(err, OPSM_INTERRUPTED, "generation was interrupted");
        if (status == OPSM_OK) status = refill(&now, err);
        tell(&now);
        if (status == OPSM_OK && g->n_active) status = advance(&now, err);
    } while (status == OPSM_OK && (g->n_active || now.next_sequence < now.n_sequences));
    if (status == OPSM_OK) status = gather(&now, rollouts, err);
    stop_free(now.stop);
    now.stats.seconds = clock_seconds() - start;
    if (stats) *stats = now.stats;
    return status;
}
