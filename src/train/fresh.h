/* SPDX-License-Identifier: Apache-2.0
 *
 * A small model from nothing: random weights around a tokenizer of single characters. What the embedded model and quick
 * experiments start from.
 */
#ifndef OPSM_TRAIN_FRESH_H
#define OPSM_TRAIN_FRESH_H
#include "config/config.h"
#include "model/model.h"

/* A Llama of the sizes under sft.init. Its tokenizer is byte-level BPE over the characters that built-in tasks use
 * (TASK_BARE_ALPHABET and newline), those of the configuration's own problems and an end token: a valid GGUF tokenizer
 * with a head of two dozen to 258 rows instead of tens of thousands. */
opsm_status fresh_model(struct model **model, const struct run_config *config, opsm_error *err);

/* Its sizes alone, with the largest vocabulary that it may get. */
opsm_status fresh_sizes(struct model *sizes, const struct run_config *config, opsm_error *err);

#endif
