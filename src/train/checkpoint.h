/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything that a run needs to go on as if it had never stopped: OUTPUT/checkpoint-N/, N being the optimiser steps
 * done, with
 *
 *   config.yaml   the configuration in force
 *   inputs.bin    hashes of the starting model, the data and config.yaml          (inputs.h)
 *   state.bin     counters, threshold, weights, moments            (record.h: checksummed)
 *   queue.bin     what the source of batches holds: those that are still to be trained on
 *
 * Random numbers are counter-based: the counters are all of their state. A checkpoint is written under a temporary
 * name, made durable, and renamed: it is whole or it is not there. One that was damaged later is recognised by its
 * checksums, and the one before it is used.
 */
#ifndef OPSM_TRAIN_CHECKPOINT_H
#define OPSM_TRAIN_CHECKPOINT_H
#include "base/sink.h"
#include "model/parameters.h"
#include "train/drift_histogram.h"
#include "train/inputs.h"
#include "train/source.h"
#include <opsm/objective.h>

enum { POSITION_TALLIES = 64 };

/* Where a run stands. Plain numbers, saved as bytes. */
struct run_position {
    int64_t iteration;                /* done, or in progress when iteration_steps > 0 */
    int64_t iteration_steps;          /* optimiser steps of the iteration in progress */
    int64_t steps;                    /* optimiser steps over the run, skipped ones included */
    int64_t skipped;                  /* of these, not applied */
    int64_t evaluated;                /* 1 + the iteration of the last evaluation, 0: none yet */
    uint64_t version;                 /* of the weights */
    struct sink_mark mark;            /* of the record: what lies beyond is cut off on resume */
    uint64_t samples_bytes;           /* of samples.jsonl, likewise */
    double seconds;                   /* of work before this process */
    double tallies[POSITION_TALLIES]; /* of the iteration in progress, for its metrics; the next one likewise */
    struct drift_histogram drift;
};

/* What is saved; everything borrowed. */
struct checkpoint {
    struct run_position *position;
    const char *config;          /* text of the configuration */
    const struct inputs *inputs; /* what the run learns from */
    struct parameters *params;   /* what is trained */
    opsm_threshold *threshold;
    struct source *source; /* NULL: supervised */
};

/* Writes RUN/checkpoint-<steps>, then removes all but the newest `keep`. Does nothing if it is there already. On
 * failure the earlier ones are intact. */
opsm_status checkpoint_save(const char *run, const struct checkpoint *checkpoint, int32_t keep, opsm_error *err);

/* Loads the newest whole checkpoint of RUN into position, params (not published), threshold and source; *found
 * tells whether there was one. A damaged one is passed over with a warning and moved out of the way; OPSM_FORMAT when
 * there are only damaged ones. OPSM_INVALID when it belongs to another configuration, another model or other data. */
opsm_status checkpoint_restore(const char *run, struct checkpoint *checkpoint, bool *found, opsm_error *err);

/* N of a directory's name "checkpoint-N"; -1: not the name of a complete checkpoint. */
int64_t checkpoint_number(const char *name);

/* Numbers of the complete checkpoints, newest first; release with mem_free. No directory: none. */
opsm_status checkpoint_list(const char *run, int64_t **numbers, size_t *count, opsm_error *err);

/* The weights alone, for who wants the model of a run under way: those of RUN/checkpoint-<wanted>, or (wanted -1) of the
 * newest whole one, into `params` (not published). *number: the one they came from, -1: there is none. Changes nothing
 * in RUN. */
opsm_status checkpoint_weights(const char *run, int64_t wanted, struct parameters *params, int64_t *number,
                               opsm_error *err);

/* Compares two configuration texts. OPSM_INVALID names the first key that differs. Free to differ is what changes no
 * number of the training: the table in checkpoint_match.c. With `goes_on` the run is to go on: then how its results are
 * measured may change too, and the names of its inputs, which are compared by content. `run` is for the sentence. */
opsm_status checkpoint_match(const char *run, const char *saved, const char *wanted, bool goes_on, opsm_error *err);

#endif
