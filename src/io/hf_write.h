/* SPDX-License-Identifier: Apache-2.0
 *
 * Metadata as the files of a Hugging Face directory: config.json, generation_config.json, tokenizer.json and
 * tokenizer_config.json with the chat template. What transformers cannot be told is refused by name.
 */
#ifndef OPSM_IO_HF_WRITE_H
#define OPSM_IO_HF_WRITE_H
#include "io/metadata.h"
#include "io/quant.h"

/* What the metadata does not say. */
struct hf_traits {
    bool tied, qkv_bias;
    int head_dim;
    enum quant_type type;      /* of most weights: F32, F16 or BF16 */
    const float *rope_factors; /* [head_dim / 2], NULL: there are none */
};

/* `dir` is there. */
opsm_status hf_config_write(const struct metadata *metadata, const struct hf_traits *traits, const char *dir,
                            opsm_error *err);
opsm_status hf_tokenizer_write(const struct metadata *metadata, const char *dir, opsm_error *err);

#endif
