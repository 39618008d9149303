/* SPDX-License-Identifier: Apache-2.0
 *
 * Forward and backward over a packed batch.
 *
 *   pack       the tokens of some groups, no padding: which rows are a prompt, which a response, what each sees
 *   forward    all layers; keeps what the backward pass needs (activations, one block sized for `max_tokens`)
 *   heads      compute numbers from rows of the final residual stream, and from the gradients of these numbers that of
 *              the rows (lm_head.h: log-probs of tokens)
 *   backward   all layers, from there to the weights
 */
#ifndef OPSM_MODEL_FORWARD_H
#define OPSM_MODEL_FORWARD_H
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
/* Appends a segment; *index receives its number (NULL: not wanted). A response may be empty: nothing ever reads the row
 * of a response's last token, so that a one-token response needs no row at all. */
opsm_status pack_add(struct pack *pack, const int32_t *tokens, int32_t length, int32_t prefix, int32_t *index,
                     opsm_error *err);

/* What a forward pass leaves behind for the backward pass. The gradient is the same, bit for bit, either way. */
enum activations_keep {
    ACTIVATIONS_NONE,     /* one layer only: no backward pass */
    ACTIVATIONS_ALL,      /* everything but what is cheap to make again (norms, SwiGLU) */
    ACTIVATIONS_RECOMPUTE /* the residual stream; each layer runs again before its backward pass (+1/4 time, about a
                             tenth of the memory) */
};

/* Activations of one packed batch: allocated once for at most max_tokens rows. */
struct activations;
opsm_status activations_create(struct activations **acts, const struct model *model, int32_t max_tokens,
                               enum activations_keep keep, opsm_error *err);
void activations_free(struct activations *acts); /* NULL is allowed */
size_t activations_bytes(const struct model *model, int32_t max_tokens, enum activations_keep keep);

/* Runs all layers. OPSM_INVALID for a token outside the vocabulary, a position beyond the context, a pack larger than
 * the activations. */
opsm_status model_forward(struct activations *acts, const struct model *model, const struct pack *pack,
                          opsm_error *err);

/* From the gradient of the final residual stream's rows, which heads have added to since model_forward ran this pack
 * (lm_head.h), through all layers: gradients of the model's trained block +=. Consumes the activations: one call per
 * forward pass. Rows that no gradient comes to, and prompts without a response left, cost no work. */
opsm_status model_backward(struct activations *acts, const struct model *model, const struct pack *pack,
                           opsm_error *err);

/* Rows that the last model_backward went through: all of the pack but those it could leave out. */
int32_t activations_backward_rows(const struct activations *acts);

#endif
