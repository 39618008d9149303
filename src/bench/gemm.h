/* SPDX-License-Identifier: Apache-2.0
 *
 * How close the products of a model's shapes come to the ceiling of this machine.
 */
#ifndef OPSM_BENCH_GEMM_H
#define OPSM_BENCH_GEMM_H
#include "kernels/gemm_bench.h"
#include "model/model.h"

enum { BENCH_PRODUCTS = 5 };

/* One product of a layer, or the head's. */
struct bench_product {
    const char *name;
    struct gemm_bench_shape shape;
    struct gemm_bench_result result;
};

/* The ceiling and, with a model (NULL: without), its products for `rows` rows, in about `seconds`. */
struct bench_gemm {
    enum dtype type;
    int64_t rows;
    double seconds;
    struct gemm_bench_ceiling ceiling;
    struct bench_product products[BENCH_PRODUCTS];
    int n_products; /* 0 without a model */
};

opsm_status bench_gemm_run(struct bench_gemm *bench, const struct model *model, opsm_error *err);

#endif
