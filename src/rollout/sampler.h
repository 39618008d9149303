/* SPDX-License-Identifier: Apache-2.0
 *
 * From a row of logits to a token: temperature, then top-k, top-p and min-p, then one draw.
 *
 * The draw is a pure function of the row and of (seed, iteration, prompt, sample, token): neither the batch around the
 * row nor the number of threads can change it. The log-prob that is recorded comes from the very function the trainer
 * uses (kernels/softmax.h), over the kept tokens where sampling was truncated, so that with equal weights the trainer
 * finds the same bits.
 */
#ifndef OPSM_ROLLOUT_SAMPLER_H
#define OPSM_ROLLOUT_SAMPLER_H
#include "kernels/softmax.h"
#include <opsm/status.h>
#include <stdbool.h>
#include <stdint.h>

/* The distribution that is sampled: softmax(logits / temperature), cut to the top_k most likely tokens, of these the
 * fewest whose mass reaches top_p, of these the ones at least min_p times as likely as the first; renormalised. Equal
 * probabilities rank by id. Temperature 0 takes the most likely token and records its log-prob at temperature 1. */
struct sampling {
    double temperature; /* >= 0 */
    double top_p;       /* (0, 1]; 1: off */
    double min_p;       /* [0, 1]; 0: off */
    int32_t top_k;      /* 0: off */
};

opsm_status sampling_check(const struct sampling *sampling, opsm_error *err);

/* True when the draw may leave out tokens, so that the kept ones must be recorded and replayed. */
bool sampling_truncates(const struct sampling *sampling);

/* What logits are multiplied by, in sampler and trainer alike. */
float sampling_inv_temperature(const struct sampling *sampling);

/* Which random number a row draws. */
struct sample_key {
    uint64_t seed;
    uint32_t iteration, prompt, sample, token;
};

/* Scratch for rows of n_vocab logits, at most max_rows of them at a time; `truncating` adds room for the kept sets. */
struct sampler;
opsm_status sampler_create(struct sampler **sampler, int64_t n_vocab, int32_t max_rows, bool truncating,
                           opsm_error *err);
void sampler_free(struct sampler *sampler); /* NULL is allowed */
size_t sampler_bytes(int64_t n_vocab, int32_t max_rows, bool truncating);

struct sample_draw {
    int32_t token;
    float logp;               /* nats */
    struct softmax_kept kept; /* view, valid until the sampler's next call; ids == NULL: nothing was left out */
};

/* Draws one token for each of n rows, `ld` floats apart (0: n draws from the same row). Parallel over rows. A row
 * without a finite distribution: OPSM_NONFINITE naming prompt, sample and token. */
opsm_status sampler_draw(struct sampler *sampler, const struct sampling *sampling, int32_t n, const float *logits,
                         int64_t ld, const struct sample_key *keys, struct sample_draw *draws, opsm_error *err);

#endif
