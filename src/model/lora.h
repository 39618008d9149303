/* SPDX-License-Identifier: Apache-2.0
 *
 * What an adapter adds to a product with frozen weights W [n_out, n_in] (LoRA, Hu et al. 2021):
 *
 *   y = x W^T + scale * (x A^T) B^T        A [rank, n_in], B [rows, rank]
 *
 * Each tensor of the model file has its own A and B, and a fused product has several: their A stand one below the other
 * as one matrix [width, n_in], width = tensors * rank, and their B are the blocks on the diagonal of one
 * [n_out, width]. So an adapter costs two products, whatever it adapts. W is never changed: the arithmetic is the same
 * in sampler and trainer, and without the adapter the model is the one that was read.
 */
#ifndef OPSM_MODEL_LORA_H
#define OPSM_MODEL_LORA_H
#include "kernels/gemm.h"
#include "model/parameters.h"
#include <math.h>

/* What may be adapted: bit i is the i-th word, "blk.<layer>.<word>.weight" of a file. */
#define LORA_TARGETS "attn_q|attn_k|attn_v|attn_output|ffn_gate|ffn_up|ffn_down"
enum { LORA_N_TARGETS = 7, LORA_ALL = (1 << LORA_N_TARGETS) - 1, LORA_PARTS_MAX = 3 };

struct lora_config {
    int32_t rank; /* 0: no adapter */
    double alpha; /* scale = alpha / rank */
    bool rslora;  /* scale = alpha / sqrt(rank) */
    uint32_t targets;
    enum lora_base { LORA_BASE_PACKED, LORA_BASE_FILE } base; /* frozen matrices: as products want them, as they came */
};

/* The adapter of one product. */
struct lora {
    struct parameters *params; /* of A and B; borrowed; NULL: there is no adapter */
    bool off;                  /* the product is that of W alone */
    int32_t rank, n_parts;
    int64_t n_out, n_in;
    float scale;
    int64_t a; /* [width, n_in] in params */
    struct lora_part {
        int64_t row, rows; /* of the product's outputs */
        int64_t b;         /* [rows, rank] in params */
    } part[LORA_PARTS_MAX];
    struct gemm_weight *down, *up; /* [width, n_in] A; [n_out, width] scale * B */
};

/* Working memory of a pass, for m rows and the widest adapter: x A^T, and what comes back to it. */
struct lora_scratch {
    float *u;               /* [m, width] */
    void *u_gemm, *du_gemm; /* [m, width] */
};

static inline double lora_scale(const struct lora_config *c) {
    return c->alpha / (c->rslora ? sqrt(c->rank) : c->rank);
}

static inline int64_t lora_width(const struct lora *lora) {
    return (int64_t)lora->n_parts * lora->rank;
}

opsm_status lora_create(struct lora *lora, enum dtype type, bool trained, opsm_error *err);
void lora_free(struct lora *lora);

/* A and B have changed: from now on products see the new ones. */
opsm_status lora_publish(struct lora *lora, opsm_error *err);

/* y [m, n_out] f32 += what the adapter adds for x [m, n_in] gemm. */
opsm_status lora_forward(const struct lora *lora, enum dtype type, int64_t m, const void *x, float *y,
                         const struct lora_scratch *scratch, opsm_error *err);

/* dx [m, n_in] f32 += its share; dA, dB +=, in the gradients of params. dy_gemm [m, n_out], x [m, n_in] gemm. */
opsm_status lora_backward(const struct lora *lora, enum dtype type, int64_t m, const void *dy_gemm, const void *x,
                          float *dx, const struct lora_scratch *scratch, opsm_error *err);

#endif
