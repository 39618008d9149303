/* SPDX-License-Identifier: Apache-2.0
 *
 * The matrices of one weight version in the layouts that the products want.
 */
#ifndef OPSM_MODEL_PACKED_H
#define OPSM_MODEL_PACKED_H
#include "model/model.h"

struct packed_layer {
    struct gemm_weight *qkv, *out, *gate_up, *down;
};

struct model_packed {
    bool trainable; /* layouts for the backward products, too */
    int32_t n_layers;
    struct packed_layer *layers;
    struct gemm_weight *head;
};

opsm_status model_packed_create(struct model *model, bool trainable, opsm_error *err);
/* What it takes, known without the weights. */
size_t model_packed_bytes(const struct model *model, bool trainable);
void model_packed_free(struct model_packed *packed); /* NULL is allowed */

#endif
