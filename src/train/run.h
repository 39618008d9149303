/* SPDX-License-Identifier: Apache-2.0
 *
 * What train.c and sft.c share: the directory of a run, its model, its place in time, its record.
 */
#ifndef OPSM_TRAIN_RUN_H
#define OPSM_TRAIN_RUN_H
#include "environment/problems.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/memory.h"
#include "train/step.h"
#include "train/train_options.h"

struct run {
    const struct run_config *config;
    const struct train_options *options;
    char *config_text; /* owned, as everything below */
    struct model *model;
    struct problems problems;
    struct inputs inputs;
    struct memory_need need;
    struct disk_need disk;
    struct trainer trainer;
    struct generator *generator; /* NULL: nothing is generated */
    int32_t room;                /* sequences that it takes at once */
    struct source *source;       /* of batches, borrowed; NULL: supervised */
    struct run_position position;
    int lock;           /* file descriptor that keeps a second process out of the directory */
    double started;     /* clock_seconds() */
    bool said_unjudged; /* that something could not be judged */
    struct train_summary summary;
};

/* Problems, memory, directory, lock, model (`fresh`: from sft.init); says what the run will take. */
opsm_status run_open(struct run *run, const struct run_config *config, const struct train_options *options,
                     enum problems_use use, bool fresh, opsm_error *err);

/* The trainer, for minibatches of this size (0: none are cut), and the generator for `room` sequences at once (0: none). */
opsm_status run_equip(struct run *run, int32_t minibatch, int32_t room, opsm_error *err);

/* Restores the newest checkpoint if there is one, opens the metrics, writes config.yaml. The trainer must be there. */
opsm_status run_resume(struct run *run, opsm_error *err);

opsm_status run_save(struct run *run, opsm_error *err);

/* Appends transcripts of the batch trained on in this iteration to RUN/samples.jsonl, where they are due. */
opsm_status run_write_samples(struct run *run, const struct batch *batch, opsm_error *err);

/* The end, whatever `status` it came to: an interrupted run is saved, one that is through leaves RUN/model.gguf. Fills
 * `summary` (NULL is allowed) and releases everything. */
opsm_status run_end(struct run *run, opsm_status status, struct train_summary *summary, opsm_error *err);

bool run_interrupted(const struct run *run);

/* How generation is configured. */
struct sampling run_sampling(const struct run_config *config);
/* Tokens of prompt that fit beside the response into the model's context. */
int32_t run_max_prompt(const struct run_config *config, const struct model *model);

/* Held-out accuracy (and with several samples pass@k) now, if it is due at this iteration and not done yet; writes an
 * "eval" line. */
opsm_status run_evaluate(struct run *run, int64_t last_iteration, opsm_error *err);

#endif
