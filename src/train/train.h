/* SPDX-License-Identifier: Apache-2.0
 *
 * The main job: reinforcement learning of one model from a configuration, resumable at every optimiser step.
 */
#ifndef OPSM_TRAIN_TRAIN_H
#define OPSM_TRAIN_TRAIN_H
#include "config/config.h"
#include "report/progress.h"
#include <stdatomic.h>

struct train_options {
    /* Set from a signal handler: the step in hand is finished, everything is saved, OPSM_INTERRUPTED comes back. */
    const atomic_bool *interrupt;
    struct progress *progress; /* NULL: silence */
};

struct train_summary {
    int64_t iterations, steps, skipped;
    double reward_first, reward_last; /* of the first and last rollouts of this process; NaN: there were none */
    double accuracy;                  /* of the last evaluation; NaN: none */
    double seconds;                   /* over the whole run */
    int64_t rows_skipped;             /* of the dataset: data.on_bad_row */
};

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
