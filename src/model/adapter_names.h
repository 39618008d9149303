/* SPDX-License-Identifier: Apache-2.0
 *
 * What readers and writers of adapters share, inside model/ only.
 */
#ifndef OPSM_MODEL_ADAPTER_NAMES_H
#define OPSM_MODEL_ADAPTER_NAMES_H
#include "io/hf_names.h"
#include "model/adapter_file.h"

enum { ADAPTER_NAME_ROOM = HF_NAME_ROOM + 32 };

/* "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" for "blk.0.attn_q.weight.lora_a". */
bool adapter_name_of_peft(char out[ADAPTER_NAME_ROOM], const char *name);

/* B of a tensor whose rows GGUF keeps interleaved; PEFT has them as we do. */
bool adapter_is_interleaved(const struct model *model, const struct parameter *tensor);

#endif
