/* SPDX-License-Identifier: Apache-2.0
 *
 * Batched generation from our own model. A fixed number of sequences decode side by side; a finished one gives its
 * place to the next sample, or to the next group, whose prompt is computed once for all its samples.
 *
 * Which sequences share a decode step depends on their lengths and on `in_flight`; what they say does not: every kernel
 * is row-invariant, every draw is keyed by (seed, iteration, prompt, sample, token).
 */
#ifndef OPSM_ROLLOUT_GENERATE_H
#define OPSM_ROLLOUT_GENERATE_H
#include "model/model.h"
#include "rollout/rollouts.h"
#include "rollout/sampler.h"
#include <stdatomic.h>

/* Room that is allocated once. */
struct generator_limits {
    int32_t in_flight;  /* sequences side by side */
    int32_t max_prompt; /* tokens */
    int32_t max_tokens; /* per response */
    int32_t sequences;  /* per call of generate */
    bool truncating;    /* some call uses top_k, top_p or min_p */
};

struct generator;
/* `model` is borrowed and may get new weights between calls. */
opsm_status generator_create(struct generator **generator, const struct model *model,
                             const struct generator_limits *limits, opsm_error *err);
/* Samples from `model` from now on (borrowed): a clone of the one before. */
void generator_use(struct generator *generator, const struct model *model);
/* Takes the memory for the longest responses now: a run that starts has it when its responses have grown. */
void generator_fill(struct generator *generator);
void generator_free(struct generator *generator); /* NULL is allowed */
size_t generator_bytes(const struct model *model, const struct generator_limits *limits);

/* What of it is filled where prompts have `prompt` tokens, `group` responses each. The cache has a slot for a prompt of
 * the largest size per sequence in flight; in use are as many as there are groups in flight, and some whose last
 * responses are long. */
size_t generator_filled(const struct model *model, const struct generator_limits *limits, int32_t group,
                        int32_t prompt);

struct generate_request {
    int32_t n_prompts, group;
    const int64_t *prompt_offset; /* [n_prompts + 1] */
    const int32_t *prompt_tokens;
    struct sampling sampling;
    int32_t max_tokens;
    const char *const *stop; /* [n_stop] */
    int32_t n_stop;
    uint64_t seed;
    uint32_t iteration;
    uint32_t first_prompt; /* what prompt 0 is called in the keys of random numbers */
    /* Looked at between decode steps; true: OPSM_INTERRUPTED. NULL: never. */
    const atomic_bool *interrupt;
    /* Called for every token as it is drawn, sequences interleaved. NULL: not. */
    void (*on_token)(void *user, int32_t prompt, int32_t sample, int32_t token);
    void *user;
    /* What is said to go on (log_phase) after the first prompts, and from which share of it to which; NULL: nothing. The
     * caller ends it. */
    const char *phase;
    double phase_from, phase_to;
};

struct generate_stats {
    int64_t prompt_tokens, tokens, decode_steps;
    double seconds;
};

/* Fills `rollouts` (freed first). `stats` may be NULL. */
opsm_status generate(struct generator *generator, const struct generate_request *request, struct rollouts *rollouts,
                     struct generate_stats *stats, opsm_error *err);

#endif
