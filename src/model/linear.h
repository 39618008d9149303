/* SPDX-License-Identifier: Apache-2.0
 *
 * A linear map of a layer, y = x W^T + bias: everything that is multiplied by weights goes through here. Dense: f32
 * masters in a block of parameters, laid out anew for the products at every published version. Adapted: W and bias are
 * frozen, and low-rank matrices beside them are trained (lora.h).
 *
 * Inputs of products ("gemm") are in the linear's type; x, y and their gradients are dense, row by row.
 */
#ifndef OPSM_MODEL_LINEAR_H
#define OPSM_MODEL_LINEAR_H
#include "kernels/gemm.h"
#include "model/lora.h"

struct linear {
    int64_t n_out, n_in;
    struct parameters *params;  /* the block of weight and bias, and of their gradients; borrowed */
    int64_t weight;             /* [n_out, n_in] there; -1: frozen, kept in `packed` alone */
    int32_t tensor;             /* the first of the tensors whose rows it has, in the list of params */
    int64_t bias;               /* [n_out] there; -1: none */
    enum dtype type;            /* of the products' inputs */
    struct gemm_weight *packed; /* the published weights as the products want them; NULL before linear_create */
    struct gemm_blocks part[GEMM_BLOCKS_MAX]; /* what `packed` decodes where it does, tensor by tensor; n_parts 0: it */
    int n_parts;                              /* does not */
    uint8_t *blocks;                          /* the parts' data, owned */
    bool fixed;                               /* published, and frozen: not to be laid out again */
    struct lora lora;
};

/* Memory for the layout; `trained`: also for the one of the backward pass. */
opsm_status linear_create(struct linear *linear, enum dtype type, bool trained, opsm_error *err);
void linear_free(struct linear *linear);

/* Of one part, and of all of them: [rows, n_in] in its type. */
size_t linear_part_bytes(const struct linear *linear, int part);
size_t linear_block_bytes(const struct linear *linear);

/* What it takes, for n_weights = n_out * n_in. */
size_t linear_bytes(int64_t n_weights, enum dtype type, bool trained);

/* The weights have changed: from now on products see the new ones. */
opsm_status linear_publish(struct linear *linear, opsm_error *err);

/* y [m, n_out] f32 = x [m, n_in] gemm times W^T, plus bias; plus y where `add`. scratch: for m rows of an adapter. */
opsm_status linear_forward(const struct linear *linear, int64_t m, const void *x, bool add, float *y,
                           const struct lora_scratch *scratch, opsm_error *err);

/* dx [m, n_in] f32 = dy W; dW += dy^T x, dbias += column sums of dy, x [m, n_in] gemm. dy [m, n_out] f32 is brought
 * into dy_gemm [m, n_out]; NULL: that is filled already, which will not do with a bias. Frozen weights get no gradient,
 * their adapter does. */
opsm_status linear_backward(const struct linear *linear, int64_t m, const float *dy, void *dy_gemm, const void *x,
                            float *dx, const struct lora_scratch *scratch, opsm_error *err);

#endif
