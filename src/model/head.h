/* SPDX-License-Identifier: Apache-2.0
 *
 * The final norm and the LM head, in chunks of rows.
 */
#ifndef OPSM_MODEL_HEAD_H
#define OPSM_MODEL_HEAD_H
#include "model/activations.h"

/* Rows of scratch for a vocabulary of this size. */
int32_t head_rows(int32_t n_vocab, int32_t max_tokens);

/* logits [n, n_vocab] of rows row[i] of the final residual stream x; n at most head.room. Leaves
 * the gathered rows and their norm in the head's buffers. */
opsm_status head_logits(const struct activations *acts, const struct model *model, const float *x, const int32_t *row,
                        int32_t n, float *logits, opsm_error *err);

/* dx [rows, d] += gradient of sum_i coef[i] * logp[i] with respect to the final residual stream x (row numbers through
 * live[]); those of head and final norm are added to the block of parameters. Entries with coef 0 are skipped. */
opsm_status head_backward(float *dx, const struct activations *acts, const struct model *model, const float *x,
                          const struct head_request *request, const float *coef, opsm_error *err);

#endif
