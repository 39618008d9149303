/* SPDX-License-Identifier: Apache-2.0
 *
 * One decoder layer, forward and backward. Training, scoring, prefill and decode all run layer_forward.
 */
#ifndef OPSM_MODEL_LAYER_H
#define OPSM_MODEL_LAYER_H
#include "model/activations.h"

/* Rows of the residual stream x [m, d] through layer l, to x_out (may be x; x_mid may be x too: then nothing is kept).
 * x_out NULL: stop before the last product (recomputation). */
opsm_status layer_forward(const struct activations *acts, const struct model *model, int32_t l, int32_t m,
                          const int32_t *positions, const struct layer_view *view, float *x, float *x_out,
                          opsm_error *err);

/* acts->back.dx [m, d]: from the gradient of the layer's output to that of its input x [m, d]. Gradients of the weights
 * are added to the block of parameters. */
opsm_status layer_backward(const struct activations *acts, const struct model *model, int32_t l, int32_t m,
                           const int32_t *positions, const struct layer_view *view, const float *x, opsm_error *err);

#endif
