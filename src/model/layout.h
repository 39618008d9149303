/* SPDX-License-Identifier: Apache-2.0
 *
 * The model's block of weights: which tensor lies where, which are multiplied with, and the order of Q and K rows.
 */
#ifndef OPSM_MODEL_LAYOUT_H
#define OPSM_MODEL_LAYOUT_H
#include "model/model.h"

/* From its config, what `model` consists of: the list of its parameters, its layers and products. The model stays where
 * it is from here on: products point to its parameters. */
opsm_status model_layout(struct model *model, opsm_error *err);
/* Releases that, and the memory that it got later. */
void model_layout_free(struct model *model);

/* True for a tensor whose rows GGUF keeps in interleaved order: Q and K, weight and bias, where the architecture says
 * so. */
bool model_is_interleaved(const struct model *model, const struct parameter *tensor);

/* Where GGUF row `row` of an interleaved tensor lies in ours: within a head, 2i + s -> s * head_dim/2 + i. */
static inline int64_t model_rotate_half_row(int64_t row, int64_t head_dim) {
    int64_t head = row / head_dim, r = row % head_dim;
    return head * head_dim + r % 2 * (head_dim / 2) + r / 2;
}

/* The format of a tensor in a model saved as, or rounded to, `type`: norms and biases stay F32; rows that are no whole
 * blocks become F16. */
enum quant_type model_tensor_type(const struct parameter *tensor, enum quant_type type);

static inline int64_t model_q_dim(const struct model_config *config) {
    return (int64_t)config->n_heads * config->head_dim;
}

static inline int64_t model_kv_dim(const struct model_config *config) {
    return (int64_t)config->n_kv_heads * config->head_dim;
}

static inline int64_t model_qkv_dim(const struct model_config *config) {
    return model_q_dim(config) + 2 * model_kv_dim(config);
}

#endif
