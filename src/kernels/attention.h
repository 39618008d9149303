/* SPDX-License-Identifier: Apache-2.0
 *
 * Causal grouped-query attention over a shared prefix: a response's token sees its group's prompt first, then its own
 * sequence up to itself. One descriptor serves training (many query rows of a packed batch), prompt prefill (a sequence
 * without prefix) and KV-cached decode (one query row each), and all three run the same arithmetic per row, key after
 * key in that order: bit-identical results.
 */
#ifndef OPSM_KERNELS_ATTENTION_H
#define OPSM_KERNELS_ATTENTION_H
#include "kernels/dtype.h"
#include <opsm/status.h>

struct attention_shape {
    int n_heads, n_kv_heads, head_dim; /* head h reads key head h / (n_heads / n_kv_heads) */
    float scale;                       /* 1 / sqrt(head_dim) */
};

/* Keys and values [n, n_kv_heads * head_dim], rows `stride` floats apart, borrowed. */
struct attention_span {
    const float *k, *v;
    int64_t stride;
    int32_t n;
};

/* Query rows first_row .. first_row + n_rows - 1 of one sequence. Row i sees the whole prefix and the first
 * own.n - n_rows + 1 + i keys of `own`. */
struct attention_sequence {
    int64_t first_row;
    int32_t n_rows;
    struct attention_span prefix, own; /* prefix.n may be 0 */
};

/* q [rows, n_heads * head_dim] rows ldq apart -> out [rows, n_heads * head_dim] in `type` (contiguous), and
 * lse [rows, n_heads], the log of the softmax denominator, which the backward pass needs (NULL: not wanted). Parallel
 * over (sequence, row block, head) tasks; heavy sequences are cut so that two threads stay busy. */
opsm_status attention_forward(const struct attention_shape *shape, const struct attention_sequence *sequences,
                              int32_t n_sequences, const float *q, int64_t ldq, enum dtype type, void *out, float *lse,
                              opsm_error *err);

/* Where the gradients of a sequence's keys and values go, rows `stride` floats apart. */
struct attention_gradient {
    float *dk, *dv;
    int64_t stride;
};

/* The backward pass of a packed batch. For sequence s: own_grad[s] receives (+=) the gradients of its own keys and
 * values, prefix_grad[s] those of its prefix (several sequences may share one prefix: their contributions are added in
 * sequence order, so that the result does not depend on the number of threads; entries with prefix.n == 0 are ignored).
 * A prompt that is in the batch too comes before its responses, and its own_grad is their prefix_grad: the same dk.
 * dq [rows, n_heads * head_dim], rows lddq apart, is overwritten. `out` is the forward result as f32 or bf16 (`type`).
 */
opsm_status attention_backward(const struct attention_shape *shape, const struct attention_sequence *sequences,
                               int32_t n_sequences, const float *q, int64_t ldq, enum dtype type, const void *out,
                               const float *lse, const float *dout, float *dq, int64_t lddq,
                               const struct attention_gradient *own_grad, const struct attention_gradient *prefix_grad,
                               opsm_error *err);

#endif
