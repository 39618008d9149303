/* SPDX-License-Identifier: Apache-2.0
 *
 * KV-cached generation. The cache holds prompt slots (filled once per group, shared by its samples) and sample slots
 * (one per sequence in flight). A decode step takes any set of samples and gives a row of logits for each.
 */
#ifndef OPSM_MODEL_DECODE_H
#define OPSM_MODEL_DECODE_H
#include "model/model.h"

struct kv_cache;

/* Room for n_prompts prompts of at most max_prompt tokens and n_samples samples of at most max_new tokens. */
opsm_status kv_cache_create(struct kv_cache **cache, const struct model *model, int32_t n_prompts, int32_t max_prompt,
                            int32_t n_samples, int32_t max_new, opsm_error *err);
/* Takes the memory for the longest responses now, not when they come. */
void kv_cache_fill(struct kv_cache *cache);
void kv_cache_free(struct kv_cache *cache);
/* One token of a sequence. */
size_t kv_cache_row_bytes(const struct model_config *config);
size_t kv_cache_bytes(const struct model *model, int32_t n_prompts, int32_t max_prompt, int32_t n_samples,
                      int32_t max_new);

/* A prompt to put into a slot. */
struct decode_prompt {
    int32_t slot;
    const int32_t *tokens;
    int32_t n_tokens;
};

/* Computes and stores the keys and values of n prompts; logits [n, n_vocab] of each one's last token. */
opsm_status decode_prompts(struct kv_cache *cache, const struct model *model, int32_t n,
                           const struct decode_prompt *prompts, float *logits, opsm_error *err);

/* The sample starts anew, empty, behind prompt slot `prompt`. */
void decode_begin(struct kv_cache *cache, int32_t sample, int32_t prompt);

/* Feeds tokens[i] to sample samples[i] and computes logits [n, n_vocab] for what follows it. */
opsm_status decode_step(struct kv_cache *cache, const struct model *model, int32_t n, const int32_t *samples,
                        const int32_t *tokens, float *logits, opsm_error *err);

#endif
