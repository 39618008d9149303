/* SPDX-License-Identifier: Apache-2.0
 *
 * How attention is cut into tasks. Internal to attention_forward.c and attention_backward.c.
 */
#ifndef OPSM_KERNELS_ATTENTION_PLAN_H
#define OPSM_KERNELS_ATTENTION_PLAN_H
#include "kernels/attention.h"
#include "kernels/vec.h"

/* Query rows of one task: rows that follow each other in the list of sequences. More than one sequence only where they
 * share a prefix, whose keys are then loaded and transposed once for all of them. */
struct attention_chunk {
    int32_t sequence, row; /* where it starts: sequences[sequence], its row `row` */
    int32_t n_rows;
};

/* A part of a chunk that lies in one sequence. */
struct attention_part {
    const struct attention_sequence *sequence;
    int32_t row, n_rows; /* rows within the sequence */
    int32_t at;          /* rows of the chunk before it */
};

/* Rows per chunk, so that rows x query heads of one key head stays near 96 vectors. */
int32_t attention_chunk_rows(const struct attention_shape *shape);

/* Fills chunks (NULL: only counts them) and returns their number. */
int64_t attention_cut(const struct attention_shape *shape, const struct attention_sequence *sequences,
                      int32_t n_sequences, struct attention_chunk *chunks);

/* Walks over a chunk's parts: start with *part zeroed; false after the last one. */
bool attention_next_part(const struct attention_sequence *sequences, const struct attention_chunk *chunk,
                         struct attention_part *part);

/* Keys of `own` that row i of a sequence sees. */
static inline int32_t attention_visible(const struct attention_sequence *s, int32_t i) {
    return s->own.n - s->n_rows + 1 + i;
}

/* out[n_rows * heads per key head, head_dim] = x's rows first_row.. of key head g, times scale. A vector's place is
 * row * heads + head. */
void attention_gather(float *out, const float *x, int64_t ldx, const struct attention_shape *shape, int g,
                      int64_t first_row, int32_t n_rows, float scale);

/* scores[row, VEC_KEYS] = q[rows, head_dim] x keys [head_dim, VEC_KEYS] (transposed, see pack_keys) for n keys. Of row
 * i (of `heads` vectors) only the first visible + i are wanted; what lies behind them is undefined. visible >= 1. */
void attention_scores(float *scores, const float *q, int head_dim, const float *keys, int32_t n_rows, int heads,
                      int32_t visible, int32_t n);

/* acc[rows, head_dim] += weights[rows, VEC_KEYS] x values, where row i (of `heads` vectors each) takes the first
 * visible + i of n keys only. visible >= 1. */
void attention_accumulate(float *acc, int head_dim, const float *weights, const float *values, int64_t stride,
                          int32_t n_rows, int heads, int32_t visible, int32_t n);

/* Total query rows x keys, for the decision to go parallel. */
int64_t attention_work(const struct attention_shape *shape, const struct attention_sequence *sequences,
                       int32_t n_sequences);

#endif
