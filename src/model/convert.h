/* SPDX-License-Identifier: Apache-2.0
 *
 * A model in another format or type, tensor by tensor: at no time is more than one of them in memory.
 */
#ifndef OPSM_MODEL_CONVERT_H
#define OPSM_MODEL_CONVERT_H
#include "model/model.h"

struct conversion {
    bool keep;            /* each matrix as it is stored; to Hugging Face, what is in blocks becomes BF16 */
    enum quant_type type; /* unless kept: of the matrices. F32, F16, BF16; for GGUF also Q8_0, and Q4_K for Q4_K_M */
};

/* `model` is one that was opened without its weights (model_open). Norms and biases are F32. The file appears when it is
 * complete. */
opsm_status model_convert_to_gguf(const struct model *model, const char *path, const struct conversion *conversion,
                                  opsm_error *err);

/* A directory, in files of at most 5 GB; it must not be there, and appears when it is complete. */
opsm_status model_convert_to_hf(const struct model *model, const char *dir, const struct conversion *conversion,
                                opsm_error *err);

#endif
