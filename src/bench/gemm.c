/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/gemm.h"
#include "base/log.h"

enum { KINDS = 3 }; /* forward, dx, dw */

static void products_of(const struct model_config *c, int64_t rows, struct bench_product products[BENCH_PRODUCTS]) {
    int64_t heads = (int64_t)c->n_heads * c->head_dim, keys = (int64_t)c->n_kv_heads * c->head_dim;
    products[0] = (struct bench_product){"qkv", {rows, heads + 2 * keys, c->dim}, {0, 0, 0}};
    products[1] = (struct bench_product){"attention output", {rows, c->dim, heads}, {0, 0, 0}};
    products[2] = (struct bench_product){"gate and up", {rows, 2 * (int64_t)c->ffn_dim, c->dim}, {0, 0, 0}};
    products[3] = (struct bench_product){"down", {rows, c->dim, c->ffn_dim}, {0, 0, 0}};
    products[4] = (struct bench_product){"head", {rows, c->n_vocab, c->dim}, {0, 0, 0}};
}

opsm_status bench_gemm_run(struct bench_gemm *bench, const struct model *model, opsm_error *err) {
    int n = 0;
    log_phase("measuring", 0, 0);
    opsm_status status = gemm_bench_ceiling(&bench->ceiling, bench->type, bench->seconds / 4, err);
    if (model) products_of(&model->config, bench->rows, bench->products);
    for (; status == OPSM_OK && model && n < BENCH_PRODUCTS; n++) {
        log_phase("measuring", (1.0 + n) / (1.0 + BENCH_PRODUCTS), 1);
        status = gemm_bench_run(&bench->products[n].result, bench->type, bench->products[n].shape,
                                bench->seconds / (BENCH_PRODUCTS * (KINDS + 1)), err);
    }
    log_phase(NULL, 0, 0);
    bench->n_products = n;
    return status;
}
