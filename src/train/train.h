/* SPDX-License-Identifier: Apache-2.0
 *
 * The main job: reinforcement learning of one model from a configuration, resumable at every optimiser step.
 */
#ifndef OPSM_TRAIN_TRAIN_H
#define OPSM_TRAIN_TRAIN_H
#include "train/train_options.h"

/* Trains from config->model into config->output: metrics.jsonl, config.yaml, checkpoint-N/, model.gguf. Goes on from
 * the newest checkpoint there if it belongs to the same configuration. `summary` may be NULL. */
opsm_status train_run(const struct run_config *config, const struct train_options *options,
                      struct train_summary *summary, opsm_error *err);

/* Exit code of `opsm train` when the weights that it has made give no finite numbers any more. A laboratory tells such
 * a run from others that fail. */
enum { TRAIN_EXIT_DIVERGED = 3 };

/* Supervised: cross-entropy on solutions (sft.c). The same files, options and guarantees. */
opsm_status sft_run(const struct run_config *config, const struct train_options *options, struct train_summary *summary,
                    opsm_error *err);

#endif
