/* SPDX-License-Identifier: Apache-2.0
 *
 * Forward and backward over a packed batch.
 *
 *   pack      the tokens of some groups, no padding: which rows are a prompt, which a response, what each sees
 *   forward   all layers; keeps what the backward pass needs (activations, one block sized for `max_tokens`)
 *   head      streams the LM head over the response tokens in row chunks: one log-prob each, then, with coefficients,
 *             their gradient; logits of a whole batch are never stored
 */
#ifndef OPSM_MODEL_FORWARD_H
#define OPSM_MODEL_FORWARD_H
#include "kernels/softmax.h"
#include "model/model.h"

/* A run of consecutive rows that is one sequence: a prompt (prefix == -1) or a response whose prompt is segment
 * `prefix`. Positions of a response continue those of its prompt. */
struct pack_segment {
    int32_t start, length;
    int32_t prefix; /* index of the prompt's segment, which comes earlier; -1: none */
};

/* Owned arrays grow as needed; zero-initialise, release with pack_free. */
struct pack {
    int32_t n_tokens, n_segments;
    int32_t *tokens;    /* [n_tokens] */
    int32_t *positions; /* [n_tokens] */
    struct pack_segment *segments;
    int32_t room_tokens, room_segments;
};

void pack_clear(struct pack *pack);
void pack_free(struct pack *pack);
/* Appends a segment; *index receives its number. */
opsm_status pack_add(struct pack *pack, const int32_t *tokens, int32_t length, int32_t prefix, int32_t *index,
                     opsm_error *err);

/* Activations of one packed batch: allocated once for at most max_tokens rows. `training` false keeps one layer only.
 */
struct activations;
opsm_status activations_create(struct activations **acts, const struct model *model, int32_t max_tokens, bool training,
                               opsm_error *err);
void activations_free(struct activations *acts);
size_t activations_bytes(const struct model *model, int32_t max_tokens, bool training);

/* Runs all layers and the final norm. */
opsm_status model_forward(struct activations *acts, const struct model *model, const struct pack *pack,
                          opsm_error *err);

/* What the head computes: for each i the log-prob of target[i] predicted from row row[i] of the packed batch (for a
 * response's first token that is the last row of its prompt, for its others the row before). All arrays [n]. */
struct head_request {
    int64_t n;
    const int32_t *row, *target;
    const struct softmax_kept *kept; /* NULL: whole vocabulary everywhere */
    float inv_temperature;
};

/* logp [n], entropy [n] or NULL. */
opsm_status head_logprobs(float *logp, float *entropy, struct activations *acts, const struct model *model,
                          const struct head_request *request, opsm_error *err);

/* grads [n_params] += d(sum_i coef[i] * logp[i]) / d params, through the head and all layers. Consumes the activations.
 */
opsm_status model_backward(float *grads, struct activations *acts, const struct model *model, const struct pack *pack,
                           const struct head_request *request, const float *coef, opsm_error *err);

#endif
