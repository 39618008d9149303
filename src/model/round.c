/* SPDX-License-Identifier: Apache-2.0
 *
 * Weights as an engine with a smaller number format would hold them.
 */
#include "base/threads.h"
#include "model/layout.h"
#include <string.h>

enum quant_type model_tensor_type(const struct parameter *t, enum quant_type type) {
    if (!t->decay) return QUANT_F32;
    return t->cols % quant_traits(type)->block == 0 ? type : QUANT_F16;
}

/* A piece of a tensor: whole blocks of every format that is written, small enough for the stack. */
enum { PIECE = 1024, PIECE_BYTES = PIECE * sizeof(float) };

static void round_tensor(float *out, const float *in, int64_t n, const struct quant_traits *traits) {
    uint8_t blocks[PIECE_BYTES];
    for (int64_t at = 0; at < n; at += PIECE) {
        int64_t n_blocks = (n - at < PIECE ? n - at : PIECE) / traits->block;
        traits->encode(in + at, n_blocks, blocks);
        traits->decode(blocks, n_blocks, out + at);
    }
}

opsm_status model_round(struct model *copy, const struct model *model, enum quant_type type, opsm_error *err) {
    const struct parameters *from = &model->params, *to = &copy->params;
    if (to->size != from->size || to->n_tensors != from->n_tensors)
        return opsm_fail(err, OPSM_INTERNAL, "rounded weights: the copy has another architecture");
    if (!quant_traits(type)->encode)
        return opsm_fail(err, OPSM_UNSUPPORTED, "weights cannot be rounded to %s", quant_traits(type)->name);
    memcpy(to->values, from->values, parameters_bytes(from));
#pragma omp parallel for schedule(dynamic) num_threads(threads_count())
    for (int32_t i = 0; i < from->n_tensors; i++) {
        const struct parameter *t = &from->tensors[i];
        round_tensor(to->values + t->offset, from->values + t->offset, t->rows * t->cols,
                     quant_traits(model_tensor_type(t, type)));
    }
    opsm_status status = model_publish(copy, err);
    copy->version = model->version;
    return status;
}
