/* SPDX-License-Identifier: Apache-2.0
 *
 * How often each drift occurred, separately for sequences with A < 0 and A > 0. The edges are fixed, so that counts of
 * steps, iterations and runs add up; they stand symmetric about 0, six to a decade, where thresholds usually stand too.
 */
#ifndef OPSM_TRAIN_DRIFT_HISTOGRAM_H
#define OPSM_TRAIN_DRIFT_HISTOGRAM_H
#include <stdint.h>

enum { DRIFT_EDGES = 47, DRIFT_BINS = DRIFT_EDGES + 1 };

/* Ascending, nats per token. Bin 0 ends at edge 0, bin i lies in (edge i - 1, edge i], the last one has no end. */
extern const double drift_edges[DRIFT_EDGES];

struct drift_histogram {
    int64_t negative[DRIFT_BINS], positive[DRIFT_BINS];
};

/* An edge itself belongs to the bin below it, as the mask drops only what is above delta: with delta on an edge, the
 * bins above it are what the mask drops. -1 for a drift that is not finite. */
int drift_bin(double drift);

/* Counts one sequence; none where the drift is not finite or the advantage is 0. */
void drift_count(struct drift_histogram *histogram, double advantage, double drift);

#endif
