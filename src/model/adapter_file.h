/* SPDX-License-Identifier: Apache-2.0
 *
 * A model's adapters as files of their own: for llama.cpp (GGUF), for PEFT (a directory). Both hold F32.
 */
#ifndef OPSM_MODEL_ADAPTER_FILE_H
#define OPSM_MODEL_ADAPTER_FILE_H
#include "model/model.h"

/* Beside the model's own architecture: TENSOR.lora_a, TENSOR.lora_b, and adapter.lora.alpha such that llama.cpp's
 * alpha / rank is the scale. Rows of B lie as those of the tensor do in a GGUF file. */
opsm_status adapter_save_gguf(const struct model *model, const char *path, opsm_error *err);

/* DIR/adapter_config.json and DIR/adapter_model.safetensors; `base`: what the model was read from. DIR is made. */
opsm_status adapter_save_peft(const struct model *model, const char *dir, const char *base, opsm_error *err);

/* Either of them into the adapters of a model that was read. Rank, scale and tensors must be the model's: the sentence
 * says which differ. Not published. */
opsm_status adapter_load(struct model *model, const char *path, opsm_error *err);

#endif
