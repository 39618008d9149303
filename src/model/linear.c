/* SPDX-License-Identifier: Apache-2.0 */
#include "model/linear.h"
#include "base/mem.h"
#include "kernels/layers.h"

size_t linear_part_bytes(const struct linear *l, int part) {
    const struct gemm_blocks *p = &l->part[part];
    return (size_t)(p->rows * (l->n_in / p->block) * p->bytes);
}

size_t linear_block_bytes(const struct linear *l) {
    size_t bytes = 0;
    for (int i = 0; i < l->n_parts; i++) bytes += linear_part_bytes(l, i);
    return bytes;
}

static opsm_status create_blocks(struct linear *l, opsm_error *err) {
    size_t bytes = linear_block_bytes(l), at = 0;
    if (l->n_parts == 0) return OPSM_OK;
    l->blocks = mem_alloc(bytes, 1);
    if (!l->blocks) return mem_exhausted(err, "frozen weights", bytes);
    for (int i = 0; i < l->n_parts; at += linear_part_bytes(l, i++)) l->part[i].data = l->blocks + at;
    return OPSM_OK;
}

opsm_status linear_create(struct linear *l, enum dtype type, bool trained, opsm_error *err) {
    l->type = type;
    opsm_status status = create_blocks(l, err);
    if (status == OPSM_OK)
        status = gemm_weight_borrow(&l->packed, l->n_out, l->n_in, type, trained, l->part, l->n_parts, err);
    return status == OPSM_OK && l->lora.params ? lora_create(&l->lora, type, trained, err) : status;
}

void linear_free(struct linear *l) {
    gemm_weight_free(l->packed);
    mem_free(l->blocks);
    l->packed = NULL;
    l->blocks = NULL;
    lora_free(&l->lora);
}

size_t linear_bytes(int64_t n_weights, enum dtype type, bool trained) {
    return gemm_weight_estimate(n_weights, 1, type, trained);
}

opsm_status linear_publish(struct linear *l, opsm_error *err) {
    opsm_status status = OPSM_OK;
    if (!l->fixed && l->weight >= 0) status = gemm_weight_pack(l->packed, l->params->values + l->weight, err);
    return status == OPSM_OK && l->lora.params ? lora_publish(&l->lora, err) : status;
}

static bool adapted(const struct linear *l) {
    return l->lora.params && !l->lora.off;
}

opsm_status linear_forward(const struct linear *l, int64_t m, const void *x, bool add, float *y,
                           const struct lora_scratch *scratch, opsm_error *err) {
    opsm_status status = gemm_forward(l->packed, m, x, l->n_in, y, l->n_out, add, err);
    if (status == OPSM_OK && adapted(l)) status = lora_forward(&l->lora, l->type, m, x, y, scratch, err);
    if (status == OPSM_OK && l->bias >= 0) bias_forward(y, l->n_out, l->params->values + l->bias, m, l->n_out);
    return status;
}

opsm_status linear_backward(const struct linear *l, int64_t m, const float *dy, void *dy_gemm, const void *x, float *dx,
                            const struct lora_scratch *scratch, opsm_error *err) {
    float *grads = l->params->grads;
    opsm_status status = OPSM_OK;
    if (grads && l->bias >= 0) bias_backward(grads + l->bias, dy, l->n_out, m, l->n_out);
    if (dy) convert(dy_gemm, l->type, dy, m * l->n_out);
    if (grads) status = gemm_dw(l->type, m, l->n_out, l->n_in, dy_gemm, l->n_out, x, l->n_in, grads + l->weight, err);
    if (status == OPSM_OK) status = gemm_dx(l->packed, m, dy_gemm, l->n_out, dx, l->n_in, false, err);
    return status == OPSM_OK && adapted(l) ? lora_backward(&l->lora, l->type, m, dy_gemm, x, dx, scratch, err) : status;
}
