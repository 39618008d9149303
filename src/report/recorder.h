/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a run's record goes: OUTPUT/metrics.jsonl, OUTPUT/tensorboard/, and the line that a person watches.
 */
#ifndef OPSM_REPORT_RECORDER_H
#define OPSM_REPORT_RECORDER_H
#include "report/metrics.h"
#include "report/progress.h"

struct recorder {
    struct metrics *metrics;   /* owned; there once a run has opened the sink */
    struct progress *progress; /* borrowed; NULL: nobody watches */
};

/* What a run is handed. The recorder, zeros and a progress at first, outlives it; then recorder_close. */
struct sink recorder_sink(struct recorder *recorder);
void recorder_close(struct recorder *recorder);

#endif
