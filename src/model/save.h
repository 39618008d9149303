/* SPDX-License-Identifier: Apache-2.0
 *
 * What saving and converting a model share.
 */
#ifndef OPSM_MODEL_SAVE_H
#define OPSM_MODEL_SAVE_H
#include "io/gguf.h"
#include "model/model.h"

/* The number of general.file_type for a file of this type; OPSM_INVALID for types that none is written in. */
opsm_status model_file_type(enum quant_type type, uint32_t *number, opsm_error *err);

/* The original's metadata, with what is true of this model now. Borrows. */
opsm_status model_collect_metadata(struct metadata *metadata, const struct model *model, uint32_t file_type,
                                   opsm_error *err);

/* The values of rope_freqs.weight as the next tensor. */
opsm_status model_put_factors(struct gguf_writer *writer, const struct tensor_source *source,
                              const struct tensor_info *factors, opsm_error *err);

#endif
