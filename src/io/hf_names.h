/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of tensors in Hugging Face directories and in GGUF files: "model.layers.3.self_attn.q_proj.weight" is
 * "blk.3.attn_q.weight".
 */
#ifndef OPSM_IO_HF_NAMES_H
#define OPSM_IO_HF_NAMES_H
#include <stdbool.h>

enum { HF_NAME_ROOM = 128, GGUF_NAME_ROOM = 64 };

/* Gemma 3 has norms before and after both halves of a layer, and calls the one after attention what Llama calls the one
 * before the MLP. Whether a model is of that kind is seen by this part of a name. */
#define HF_SANDWICH_MARK "pre_feedforward_layernorm"

/* False, and nothing written, for a name that has no counterpart. */
bool hf_name_to_gguf(char out[GGUF_NAME_ROOM], const char *name, bool sandwich);
bool hf_name_from_gguf(char out[HF_NAME_ROOM], const char *name, bool sandwich);

#endif
