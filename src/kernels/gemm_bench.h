/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast the matrix products run here, and how fast they could: for `opsm bench gemm` and for the share of the
 * ceiling that a training run reaches.
 */
#ifndef OPSM_KERNELS_GEMM_BENCH_H
#define OPSM_KERNELS_GEMM_BENCH_H
#include "kernels/gemm.h"

/* m rows through a weight of n_out x n_in. */
struct gemm_bench_shape {
    int64_t m, n_out, n_in;
};

/* GFLOP/s (2 m n_out n_in operations) of the fastest of the repeated calls, with threads_count() threads. */
struct gemm_bench_result {
    double forward, dx, dw;
};

/* Times each of the three products for about `seconds`, but at least twice. */
opsm_status gemm_bench_run(struct gemm_bench_result *result, enum dtype type, struct gemm_bench_shape shape,
                           double seconds, opsm_error *err);

/* The fastest product of large square and oblong matrices that we found: our tiles, or oneDNN's own way of sharing one
 * large product among the threads. */
struct gemm_bench_ceiling {
    double gflops;
    struct gemm_bench_shape shape;
    bool whole;          /* reached by oneDNN's own */
    double tiled_gflops; /* our best */
};

opsm_status gemm_bench_ceiling(struct gemm_bench_ceiling *ceiling, enum dtype type, double seconds, opsm_error *err);

#endif
