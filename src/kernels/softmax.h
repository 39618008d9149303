/* SPDX-License-Identifier: Apache-2.0
 *
 * Log-probabilities of sampled tokens from rows of logits, and their gradient. One summation order for the sampler and
 * the trainer: lanes of 16, then a fixed tree, blocks left to right, in double across blocks.
 */
#ifndef OPSM_KERNELS_SOFTMAX_H
#define OPSM_KERNELS_SOFTMAX_H
#include "kernels/dtype.h"
#include <opsm/status.h>

/* The tokens that truncated sampling kept for a row, sorted by id; ids == NULL: the whole vocabulary. */
struct softmax_kept {
    const int32_t *ids;
    int32_t n;
};

/* One row of logits [n_vocab] (one thread, any row alone): the log of the normaliser of softmax(logits *
 * inv_temperature) over the kept tokens, in nats; *entropy (NULL: not wanted) receives the distribution's entropy. */
double softmax_lse(const float *logits, int64_t n_vocab, float inv_temperature, struct softmax_kept kept,
                   double *entropy);

/* The log-probability of one token from its logit and its row's softmax_lse: what softmax_logprob computes, for a
 * sampler that has already drawn. */
static inline float softmax_token(float logit, float inv_temperature, double lse) {
    return (float)((double)(logit * inv_temperature) - lse);
}

/* logp [m] of target[i] under row i; entropy [m] or NULL; kept [m] or NULL. Parallel over rows. A target outside the
 * kept set gets -infinity. */
void softmax_logprob(float *logp, float *lse, float *entropy, const float *logits, int64_t ld, const int32_t *target,
                     const struct softmax_kept *kept, int64_t m, int64_t n_vocab, float inv_temperature);

/* dlogits [m, n_vocab] in `type`, contiguous: coef[i] * inv_temperature * (1[j == target[i]] - softmax(row i)[j]); zero
 * outside the kept set, and throughout a row whose coef is 0, whatever its logits. May not overlap logits. lse as
 * softmax_logprob left it. */
void softmax_backward(void *dlogits, enum dtype type, const float *logits, int64_t ld, const float *lse,
                      const int32_t *target, const float *coef, const struct softmax_kept *kept, int64_t m,
                      int64_t n_vocab, float inv_temperature);

/* exp() as used by every kernel of this project: within 2 ulp, NaN stays NaN, overflow to infinity, underflow to 0.
 * Scalar twin of the vector version, bit-identical to it. */
float exp_f32(float x);

#endif
