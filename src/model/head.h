/* SPDX-License-Identifier: Apache-2.0
 *
 * What every head shares. Between model_forward and model_backward heads read rows of the final residual stream and
 * add to those rows' gradient; the layers below know nothing else of them. A head works on acts->head.room rows at a
 * time: gather, its own arithmetic from head.h [n, d] gemm to numbers and from their gradients to head.dh [n, d],
 * scatter. lm_head.c is one.
 */
#ifndef OPSM_MODEL_HEAD_H
#define OPSM_MODEL_HEAD_H
#include "model/activations.h"

/* Rows row[n] of the final stream to head.x [n, d], and through the final norm to head.h [n, d] gemm and head.rstd
 * [n]. */
void head_gather(const struct activations *acts, const struct model *model, const int32_t *row, int32_t n);

/* Gradient of the stream's rows row[n] += that of what head_gather left in head.h, which is in head.dh [n, d]; a row
 * may stand there many times. The final norm's gradient [d] +=. */
opsm_status head_scatter(const struct activations *acts, const struct model *model, const int32_t *row, int32_t n,
                         opsm_error *err);

#endif
