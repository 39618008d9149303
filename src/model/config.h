/* SPDX-License-Identifier: Apache-2.0
 *
 * Model configuration from and to metadata.
 */
#ifndef OPSM_MODEL_CONFIG_H
#define OPSM_MODEL_CONFIG_H
#include "model/model.h"

enum { MODEL_KEY_MAX = 96 };

/* Reads and checks everything that shapes the computation. Refuses architectures, and settings of known ones, that
 * would need arithmetic we do not have. */
opsm_status model_config_read(struct model_config *config, const struct tensor_source *source, opsm_error *err);

/* The laws between the numbers (divisibility, ranges); `where` begins the sentence, e.g. the file's path. */
opsm_status model_config_check(const struct model_config *config, const char *where, opsm_error *err);

/* Sets the architecture's keys; those already set are replaced in place. Optional keys of the original stay. */
opsm_status model_config_write(struct metadata *metadata, const struct model_config *config,
                               const struct metadata *original, opsm_error *err);

/* True for a key that belongs to a known architecture other than the model's: stale in a file of the latter. */
bool model_config_is_foreign_key(const struct model_config *config, struct text_view key);

/* inv_freq [head_dim/2] from the base, the linear factor and the rope_freqs.weight factors of Llama 3.1. */
opsm_status model_rope_frequencies(float *inv_freq, const struct model_config *config,
                                   const struct tensor_source *source, opsm_error *err);

#endif
