/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run is told beside its configuration, and what it tells at the end.
 */
#ifndef OPSM_TRAIN_TRAIN_OPTIONS_H
#define OPSM_TRAIN_TRAIN_OPTIONS_H
#include "base/sink.h"
#include "config/config.h"
#include <stdatomic.h>

struct train_options {
    /* Set from a signal handler: the step in hand is finished, everything is saved, OPSM_INTERRUPTED comes back. */
    const atomic_bool *interrupt;
    const struct sink *sink; /* where the record goes; NULL: nowhere */
};

struct train_summary {
    int64_t iterations, steps, skipped;
    double reward_first, reward_last; /* of the first and last rollouts of this process; NaN: there were none */
    double accuracy;                  /* of the last evaluation; NaN: none */
    double seconds;                   /* over the whole run */
    int64_t rows_skipped;             /* of the dataset: data.on_bad_row */
};

#endif
