/* SPDX-License-Identifier: Apache-2.0
 *
 * What a person may name where a command wants a model: a GGUF file, a Hugging Face directory, the output directory of a
 * run, or one of a run's checkpoints. The model of a run is its model.gguf or, as long as there is none, the weights of its newest checkpoint.
 */
#ifndef OPSM_CLI_MODEL_PATH_H
#define OPSM_CLI_MODEL_PATH_H
#include "model/model.h"

/* Loads the model that `path` names; where `path` is a directory, says on the log which file it took. */
opsm_status cli_load_model(struct model **model, const char *path, enum dtype precision, bool trainable,
                           opsm_error *err);

/* RUN/config.yaml of the directory `run`, mem_alloc'ed. OPSM_INVALID with a sentence when no run lies there. */
opsm_status cli_run_config_path(const char *run, char **path, opsm_error *err);

/* Cuts "RUN/checkpoint-N" to "RUN" and returns N; -1: `path` is no checkpoint's. Slashes at the end go either way. */
int64_t cli_cut_checkpoint(char *path);

#endif
