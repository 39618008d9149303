/* SPDX-License-Identifier: Apache-2.0 */
#include "model/lora.h"
#include "base/mem.h"
#include "kernels/layers.h"

opsm_status lora_create(struct lora *l, enum dtype type, bool trained, opsm_error *err) {
    opsm_status status = gemm_weight_create(&l->down, lora_width(l), l->n_in, type, trained, err);
    return status == OPSM_OK ? gemm_weight_create(&l->up, l->n_out, lora_width(l), type, trained, err) : status;
}

void lora_free(struct lora *l) {
    gemm_weight_free(l->down);
    gemm_weight_free(l->up);
    l->down = l->up = NULL;
}

/* up [n_out, width], zeros at first, = scale * B, each part's in its own rows and columns. */
static void place_up(const struct lora *l, float *up) {
    int64_t width = lora_width(l), rank = l->rank;
    for (int32_t p = 0; p < l->n_parts; p++) {
        const struct lora_part *part = &l->part[p];
        const float *b = l->params->values + part->b;
        float *to = up + part->row * width + p * rank;
        for (int64_t i = 0; i < part->rows; i++)
            for (int64_t j = 0; j < rank; j++) to[i * width + j] = l->scale * b[i * rank + j];
    }
}

opsm_status lora_publish(struct lora *l, opsm_error *err) {
    opsm_status status = gemm_weight_pack(l->down, l->params->values + l->a, err);
    if (status != OPSM_OK) return status;
    size_t n = (size_t)(l->n_out * lora_width(l));
    float *up = mem_zalloc(n, sizeof *up);
    if (!up) return mem_exhausted(err, "an adapter", n * sizeof *up);
    place_up(l, up);
    status = gemm_weight_pack(l->up, up, err);
    mem_free(up);
    return status;
}

opsm_status lora_forward(const struct lora *l, enum dtype type, int64_t m, const void *x, float *y,
                         const struct lora_scratch *s, opsm_error *err) {
    int64_t width = lora_width(l);
    opsm_status status = gemm_forward(l->down, m, x, l->n_in, s->u, width, false, err);
    if (status != OPSM_OK) return status;
    convert(s->u_gemm, type, s->u, m * width);
    return gemm_forward(l->up, m, s->u_gemm, width, y, l->n_out, true, err);
}

/* Columns from `column` on of a gemm matrix. */
static const void *columns(const void *matrix, enum dtype type, int64_t column) {
    return (const char *)matrix + (size_t)column * dtype_size(type);
}

/* dB += dy^T u, part by part; u_gemm = scale * x A^T. */
static opsm_status up_gradient(const struct lora *l, enum dtype type, int64_t m, const void *dy_gemm,
                               const void *u_gemm, opsm_error *err) {
    opsm_status status = OPSM_OK;
    for (int32_t p = 0; p < l->n_parts && status == OPSM_OK; p++) {
        const struct lora_part *part = &l->part[p];
        status = gemm_dw(type, m, part->rows, l->rank, columns(dy_gemm, type, part->row), l->n_out,
                         columns(u_gemm, type, (int64_t)p * l->rank), lora_width(l), l->params->grads + part->b, err);
    }
    return status;
}

opsm_status lora_backward(const struct lora *l, enum dtype type, int64_t m, const void *dy_gemm, const void *x,
                          float *dx, const struct lora_scratch *s, opsm_error *err) {
    int64_t width = lora_width(l);
    opsm_status status = gemm_forward(l->down, m, x, l->n_in, s->u, width, false, err);
    if (status != OPSM_OK) return status;
    for (int64_t i = 0; i < m * width; i++) s->u[i] *= l->scale;
    convert(s->u_gemm, type, s->u, m * width);
    status = up_gradient(l, type, m, dy_gemm, s->u_gemm, err);
    /* `up` holds the scale: this is the gradient of x A^T. */
    if (status == OPSM_OK) status = gemm_dx(l->up, m, dy_gemm, l->n_out, s->u, width, false, err);
    if (status != OPSM_OK) return status;
    convert(s->du_gemm, type, s->u, m * width);
    status = gemm_dw(type, m, width, l->n_in, s->du_gemm, width, x, l->n_in, l->params->grads + l->a, err);
    return status == OPSM_OK ? gemm_dx(l->down, m, s->du_gemm, width, dx, l->n_in, true, err) : status;
}
