/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/gemm.h"
#include "base/text.h"
#include "base/threads.h"
#include "cli/cli.h"
#include "cli/model_path.h"
#include "cli/options.h"
#include "kernels/gemm_bench.h"
#include <string.h>

enum { N_MATRICES = 5, ROWS_DEFAULT = 2048, PRODUCTS = 3 };

struct setup {
    const char *model_path, *precision; /* no model: the ceiling alone */
    int64_t rows;
    double seconds;
    bool json;
    enum dtype type;
};

/* One product of a layer, or the head's. */
struct matrix {
    const char *name;
    struct gemm_bench_shape shape;
    struct gemm_bench_result result;
};

static void matrices_of(const struct model_config *c, int64_t rows, struct matrix matrices[N_MATRICES]) {
    int64_t heads = (int64_t)c->n_heads * c->head_dim, keys = (int64_t)c->n_kv_heads * c->head_dim;
    matrices[0] = (struct matrix){"qkv", {rows, heads + 2 * keys, c->dim}, {0, 0, 0}};
    matrices[1] = (struct matrix){"attention output", {rows, c->dim, heads}, {0, 0, 0}};
    matrices[2] = (struct matrix){"gate and up", {rows, 2 * (int64_t)c->ffn_dim, c->dim}, {0, 0, 0}};
    matrices[3] = (struct matrix){"down", {rows, c->dim, c->ffn_dim}, {0, 0, 0}};
    matrices[4] = (struct matrix){"head", {rows, c->n_vocab, c->dim}, {0, 0, 0}};
}

static void print_json(const struct setup *s, const struct gemm_bench_ceiling *c, const struct matrix *matrices,
                       int n) {
    printf("{\"bench\":\"gemm\",\"precision\":\"%s\",\"threads\":%d,\"ceiling_gflops\":%.1f,\"tiled_gflops\":%.1f",
           s->precision, threads_count(), c->gflops, c->tiled_gflops);
    if (n) {
        struct text model = {0};
        text_json_string(&model, s->model_path, strlen(s->model_path));
        printf(",\"model\":%s,\"rows\":%lld,\"products\":[", model.data ? model.data : "null", (long long)s->rows);
        text_free(&model);
    }
    for (int i = 0; i < n; i++) {
        const struct matrix *m = &matrices[i];
        printf("%s{\"name\":\"%s\",\"n_out\":%lld,\"n_in\":%lld,\"forward_gflops\":%.1f,\"dx_gflops\":%.1f,"
               "\"dw_gflops\":%.1f}",
               i ? "," : "", m->name, (long long)m->shape.n_out, (long long)m->shape.n_in, m->result.forward,
               m->result.dx, m->result.dw);
    }
    puts(n ? "]}" : "}");
}

static void print_text(const struct setup *s, const struct gemm_bench_ceiling *c, const struct matrix *matrices,
                       int n) {
    printf("gemm: ceiling %.0f GFLOP/s in %s on %d threads (%lld x %lld x %lld), our tiles %.0f\n%s\n", c->gflops,
           s->precision, threads_count(), (long long)c->shape.m, (long long)c->shape.n_out, (long long)c->shape.n_in,
           c->tiled_gflops, gemm_implementation(s->type));
    if (n) printf("\n%lld rows, GFLOP/s       outputs x inputs   forward        dx        dW\n", (long long)s->rows);
    for (int i = 0; i < n; i++) {
        const struct matrix *m = &matrices[i];
        const double shares[PRODUCTS] = {m->result.forward, m->result.dx, m->result.dw};
        printf("%-20s %9lld x %-8lld", m->name, (long long)m->shape.n_out, (long long)m->shape.n_in);
        for (int k = 0; k < PRODUCTS; k++) printf(" %5.0f %2.0f%%", shares[k], 100 * shares[k] / c->gflops);
        putchar('\n');
    }
}

static opsm_status measure(const struct setup *s, opsm_error *err) {
    struct gemm_bench_ceiling ceiling;
    struct matrix matrices[N_MATRICES];
    struct model *model = NULL;
    int n = 0;
    opsm_status status = s->model_path ? cli_load_model(&model, s->model_path, s->type, false, err) : OPSM_OK;
    log_phase("measuring", 0, 0);
    if (status == OPSM_OK) status = gemm_bench_ceiling(&ceiling, s->type, s->seconds / 4, err);
    if (model) matrices_of(&model->config, s->rows, matrices);
    for (; status == OPSM_OK && model && n < N_MATRICES; n++) {
        log_phase("measuring", (1.0 + n) / (1.0 + N_MATRICES), 1);
        status = gemm_bench_run(&matrices[n].result, s->type, matrices[n].shape,
                                s->seconds / (N_MATRICES * (PRODUCTS + 1)), err);
    }
    log_phase(NULL, 0, 0);
    model_free(model);
    if (status == OPSM_OK) (s->json ? print_json : print_text)(s, &ceiling, matrices, n);
    return status;
}

int bench_gemm(int argc, char **argv) {
    opsm_error err = {0};
    struct setup s = {.precision = "bf16", .rows = ROWS_DEFAULT, .seconds = 5};
    const struct option table[] = {{"--rows", OPTION_INT, &s.rows, 1, 1 << 20},
                                   {"--seconds", OPTION_REAL, &s.seconds, 0.1, 3600},
                                   {"--precision", OPTION_TEXT, &s.precision, 0, 0},
                                   {"--json", OPTION_FLAG, &s.json, 0, 0},
                                   {NULL, OPTION_FLAG, NULL, 0, 0}};
    const char *const names[] = {NULL}; /* may be left out */
    int code = options_read(argc, argv, table, &s.model_path, 1, names);
    if (code) return code;
    s.type = !strcmp(s.precision, "f32") ? DTYPE_F32 : DTYPE_BF16;
    if (s.type == DTYPE_BF16 && strcmp(s.precision, "bf16") != 0)
        return cli_usage("bench", "--precision: expected f32 or bf16, found '%.40s'", s.precision);
    opsm_status status = measure(&s, &err);
    return status == OPSM_OK ? 0 : cli_fail(status, &err);
}
