/* SPDX-License-Identifier: Apache-2.0 */
#include "train/drift_histogram.h"
#include <math.h>

const double drift_edges[DRIFT_EDGES] = {
    -5,    -3,    -2,    -1.5,  -1,    -0.7,    -0.5,  -0.3, -0.2, -0.15,  -0.1, -0.07, -0.05, -0.03, -0.02, -0.015,
    -0.01, -7e-3, -5e-3, -3e-3, -2e-3, -1.5e-3, -1e-3, 0,    1e-3, 1.5e-3, 2e-3, 3e-3,  5e-3,  7e-3,  0.01,  0.015,
    0.02,  0.03,  0.05,  0.07,  0.1,   0.15,    0.2,   0.3,  0.5,  0.7,    1,    1.5,   2,     3,     5};

int drift_bin(double drift) {
    if (!isfinite(drift)) return -1;
    int low = 0, high = DRIFT_EDGES; /* the first edge that is not below the drift */
    while (low < high) {
        int middle = (low + high) / 2;
        if (drift_edges[middle] < drift)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void drift_count(struct drift_histogram *histogram, double advantage, double drift) {
    int bin = drift_bin(drift);
    if (bin < 0) return;
    if (advantage < 0) histogram->negative[bin]++;
    if (advantage > 0) histogram->positive[bin]++;
}
