/* SPDX-License-Identifier: Apache-2.0
 *
 * The language model's head: softmax over the vocabulary, streamed over row chunks. Logits of a whole batch are never
 * stored.
 */
#ifndef OPSM_MODEL_LM_HEAD_H
#define OPSM_MODEL_LM_HEAD_H
#include "kernels/softmax.h"
#include "model/forward.h"

/* For each i the log-prob of target[i] predicted from row row[i] of the packed batch (for a response's first token that
 * is the last row of its prompt, for its others the row before). All arrays [n]. */
struct lm_head_request {
    int64_t n;
    const int32_t *row, *target;
    const struct softmax_kept *kept; /* NULL: whole vocabulary everywhere */
    float inv_temperature;
};

/* logp [n], entropy [n] or NULL. */
opsm_status lm_head_logprobs(float *logp, float *entropy, const struct activations *acts, const struct model *model,
                             const struct lm_head_request *request, opsm_error *err);

/* Gradients of the loss sum_i coef[i] * logp[i], coef [n]: to the rows' gradient, on which model_backward goes on, and
 * to the model's trained block. Entries with coef 0 cost nothing. */
opsm_status lm_head_backward(const struct activations *acts, const struct model *model,
                             const struct lm_head_request *request, const float *coef, opsm_error *err);

/* logits [n, n_vocab] of rows row[n] of the final stream, n at most the room of the head's buffers. */
opsm_status lm_head_logits(const struct activations *acts, const struct model *model, const int32_t *row, int32_t n,
                           float *logits, opsm_error *err);

#endif
