/* SPDX-License-Identifier: Apache-2.0
 *
 * Loss and gradient of generated log-probs: tokens a second, and the share of a memory-copy bandwidth measured in the
 * same run.
 */
#ifndef OPSM_BENCH_OBJECTIVE_H
#define OPSM_BENCH_OBJECTIVE_H
#include <opsm/objective.h>

enum { BENCH_REPEATS_MAX = 1000 };

struct bench_objective {
    opsm_objective config;
    int64_t sequences, length, repeats;
    /* Results: seconds of one evaluation and of one copy of as many bytes; the loss, that it be looked at. */
    double median, best, copy, bytes, loss;
};

/* Runs it `repeats` times. */
opsm_status bench_objective_run(struct bench_objective *bench, opsm_error *err);

#endif
