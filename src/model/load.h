/* SPDX-License-Identifier: Apache-2.0
 *
 * Pieces of building a model that loading, creating and cloning share.
 */
#ifndef OPSM_MODEL_LOAD_H
#define OPSM_MODEL_LOAD_H
#include "model/config.h"

/* An empty model that owns `source`; NULL when out of memory (the source stays the caller's). */
struct model *model_new(struct tensor_source *source, enum dtype precision, opsm_error *err);

/* Memory for parameters, products and inv_freq, once the layout stands. */
opsm_status model_allocate(struct model *model, bool trainable, opsm_error *err);

/* A matrix of the model's file into out [rows, cols], in our order of rows. */
opsm_status model_read_matrix(const struct model *model, const struct parameter *tensor, float *out, opsm_error *err);

/* Initial values of the adapters. */
void model_adapters_start(struct model *model);

/* Tokenizer and chat template from the model's metadata. A chat template that cannot be run is kept as
 * chat_problem. */
opsm_status model_read_text(struct model *model, opsm_error *err);

/* model_open from an open source, which is taken over, also on failure. */
opsm_status model_open_source(struct model **model, struct tensor_source *source, enum dtype precision,
                              opsm_error *err);

/* model_load from an open source, which is taken over, also on failure. */
opsm_status model_load_source(struct model **model, struct tensor_source *source, enum dtype precision, bool trainable,
                              opsm_error *err);

#endif
