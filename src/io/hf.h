/* SPDX-License-Identifier: Apache-2.0
 *
 * A Hugging Face directory: config.json, tokenizer.json and the files beside them in the vocabulary of GGUF, tensors from
 * safetensors. What a file asks for and nobody here computes is refused by name.
 */
#ifndef OPSM_IO_HF_H
#define OPSM_IO_HF_H
#include "io/tensor_source.h"

/* Whether `path` is a directory with a config.json in it. */
bool hf_is_directory(const char *path);

/* Fills a new source with the tensors and the metadata of the directory. On failure it is to be closed. */
opsm_status hf_read(struct tensor_source *source, const char *dir, opsm_error *err);

#endif
