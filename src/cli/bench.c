/* SPDX-License-Identifier: Apache-2.0
 *
 * opsm bench: throughput, and the share of this machine's ceiling measured in the same run.
 */
#include "cli/bench.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/threads.h"
#include "bench/gemm.h"
#include "bench/model.h"
#include "cli/cli.h"
#include "cli/model_path.h"
#include "cli/options.h"
#include "io/json_writer.h"
#include <math.h>
#include <string.h>

enum { LENGTH_MAX = 1 << 20, ROWS_DEFAULT = 2048 };

/* What the benchmarks of a model have in common. */
struct setup {
    const char *model_path, *precision;
    bool json;
    enum dtype type;
};

static const char *const model_words[] = {"the model (a GGUF file or the directory of a run)"};

/* Reads the options; the model may be left out where word_names [1] holds NULL. Returns 0 or an exit code. */
static int read_setup(struct setup *s, int argc, char **argv, const struct option *table,
                      const char *const *word_names) {
    int code = options_read(argc, argv, table, &s->model_path, 1, word_names);
    if (code) return code;
    s->type = !strcmp(s->precision, "f32") ? DTYPE_F32 : DTYPE_BF16;
    if (s->type == DTYPE_F32 || !strcmp(s->precision, "bf16")) return 0;
    return cli_usage("bench", "--precision: expected f32 or bf16, found '%.40s'", s->precision);
}

/* ---- gemm ---- */

static opsm_status print_products_json(const struct setup *s, const struct bench_gemm *b, opsm_error *err) {
    struct text line = {0};
    struct json_writer json = {.text = &line};
    json_put_open(&json, NULL, '{');
    json_put_string(&json, "bench", "gemm");
    json_put_string(&json, "precision", s->precision);
    json_put_int(&json, "threads", threads_count());
    json_put_fixed(&json, "ceiling_gflops", b->ceiling.gflops, 1);
    json_put_fixed(&json, "tiled_gflops", b->ceiling.tiled_gflops, 1);
    if (b->n_products) {
        json_put_string(&json, "model", s->model_path);
        json_put_int(&json, "rows", b->rows);
        json_put_open(&json, "products", '[');
    }
    for (int i = 0; i < b->n_products; i++) {
        const struct bench_product *p = &b->products[i];
        json_put_open(&json, NULL, '{');
        json_put_string(&json, "name", p->name);
        json_put_int(&json, "n_out", p->shape.n_out);
        json_put_int(&json, "n_in", p->shape.n_in);
        json_put_fixed(&json, "forward_gflops", p->result.forward, 1);
        json_put_fixed(&json, "dx_gflops", p->result.dx, 1);
        json_put_fixed(&json, "dw_gflops", p->result.dw, 1);
        json_put_close(&json, '}');
    }
    if (b->n_products) json_put_close(&json, ']');
    json_put_close(&json, '}');
    json_put_end(&json);
    return cli_print_text(&line, err);
}

static void print_share(double gflops, double ceiling) {
    printf(" %5.0f %2.0f%%", gflops, 100 * gflops / ceiling);
}

static void print_products(const struct setup *s, const struct bench_gemm *b) {
    const struct gemm_bench_ceiling *c = &b->ceiling;
    printf("gemm: ceiling %.0f GFLOP/s in %s on %d threads (%lld x %lld x %lld), our tiles %.0f\n%s\n", c->gflops,
           s->precision, threads_count(), (long long)c->shape.m, (long long)c->shape.n_out, (long long)c->shape.n_in,
           c->tiled_gflops, gemm_implementation(s->type));
    if (b->n_products)
        printf("\n%lld rows, GFLOP/s       outputs x inputs   forward        dx        dW\n", (long long)b->rows);
    for (int i = 0; i < b->n_products; i++) {
        const struct bench_product *p = &b->products[i];
        printf("%-20s %9lld x %-8lld", p->name, (long long)p->shape.n_out, (long long)p->shape.n_in);
        print_share(p->result.forward, c->gflops);
        print_share(p->result.dx, c->gflops);
        print_share(p->result.dw, c->gflops);
        putchar('\n');
    }
}

/* opsm bench gemm [MODEL] */
static int run_gemm(int argc, char **argv) {
    opsm_error err = {0};
    struct setup s = {.precision = "bf16"};
    struct bench_gemm b = {.rows = ROWS_DEFAULT, .seconds = 5};
    const struct option table[] = {{"--rows", OPTION_INT, &b.rows, 1, 1 << 20},
                                   {"--seconds", OPTION_REAL, &b.seconds, 0.1, 3600},
                                   {"--precision", OPTION_TEXT, &s.precision, 0, 0},
                                   {"--json", OPTION_FLAG, &s.json, 0, 0},
                                   {NULL, OPTION_FLAG, NULL, 0, 0}};
    int code = read_setup(&s, argc, argv, table, (const char *const[]){NULL});
    if (code) return code;
    struct model *model = NULL;
    b.type = s.type;
    opsm_status status = s.model_path ? cli_load_model(&model, s.model_path, s.type, false, &err) : OPSM_OK;
    if (status == OPSM_OK) status = bench_gemm_run(&b, model, &err);
    model_free(model);
    if (status == OPSM_OK && s.json)
        status = print_products_json(&s, &b, &err);
    else if (status == OPSM_OK)
        print_products(&s, &b);
    return status == OPSM_OK ? 0 : cli_fail(status, &err);
}

/* ---- generate, train ---- */

/* `lengths`: what was measured, in words. */
static opsm_status print_rate(const struct setup *s, const char *what, const struct bench_work *work,
                              const char *lengths, const struct bench_rate *rate, double ceiling, opsm_error *err) {
    double tokens = rate->tokens / rate->seconds, gflops = rate->flop / rate->seconds * 1e-9, share = gflops / ceiling;
    if (!s->json) {
        printf(
            "%s: %.0f tokens/s in %s on %d threads (%s); products %.0f GFLOP/s, %.0f%% of the %.0f GFLOP/s ceiling\n",
            what, tokens, s->precision, threads_count(), lengths, gflops, 100 * share, ceiling);
        return OPSM_OK;
    }
    struct text line = {0};
    struct json_writer json = {.text = &line};
    json_put_open(&json, NULL, '{');
    json_put_string(&json, "bench", what);
    json_put_string(&json, "model", s->model_path);
    json_put_string(&json, "precision", s->precision);
    json_put_int(&json, "threads", threads_count());
    json_put_int(&json, "prompt", work->prompt);
    json_put_int(&json, "tokens", work->tokens);
    if (work->in_flight) {
        json_put_int(&json, "in_flight", work->in_flight);
    } else {
        json_put_int(&json, "groups", work->groups);
        json_put_int(&json, "group", work->group);
    }
    json_put_fixed(&json, "seconds", rate->seconds, 2);
    json_put_fixed(&json, "tokens_per_second", tokens, 1);
    json_put_fixed(&json, "gflops", gflops, 1);
    json_put_fixed(&json, "ceiling_gflops", ceiling, 1);
    json_put_fixed(&json, "share", share, 4);
    json_put_close(&json, '}');
    json_put_end(&json);
    return cli_print_text(&line, err);
}

typedef opsm_status (*measure)(struct bench_rate *rate, const struct bench_work *work, const struct model *model,
                               opsm_error *err);

/* Loads the model, settles the lengths, measures the ceiling, then the work. */
static opsm_status measure_model(const struct setup *s, struct bench_work *work, measure run, bool trainable,
                                 struct bench_rate *rate, struct gemm_bench_ceiling *ceiling, opsm_error *err) {
    struct model *model = NULL;
    opsm_status status = cli_load_model(&model, s->model_path, s->type, trainable, err);
    if (status == OPSM_OK) status = bench_settle(work, model, err);
    log_phase("measuring the ceiling", NAN, NAN);
    if (status == OPSM_OK) status = gemm_bench_ceiling(ceiling, s->type, 0.5, err);
    if (status == OPSM_OK) status = run(rate, work, model, err);
    model_free(model);
    return status;
}

/* A benchmark of a model, behind its options. `lengths` says the work in words, once its lengths are settled. */
static int run_model(struct setup *s, const char *name, struct bench_work *work, measure run, bool trainable, int argc,
                     char **argv, const struct option *table,
                     void (*lengths)(const struct bench_work *, char *, size_t)) {
    opsm_error err = {0};
    int code = read_setup(s, argc, argv, table, model_words);
    if (code) return code;
    struct bench_rate rate;
    struct gemm_bench_ceiling ceiling;
    opsm_status status = measure_model(s, work, run, trainable, &rate, &ceiling, &err);
    if (status != OPSM_OK) return cli_fail(status, &err);
    char words[160];
    lengths(work, words, sizeof words);
    status = print_rate(s, name, work, words, &rate, ceiling.gflops, &err);
    return status == OPSM_OK ? 0 : cli_fail(status, &err);
}

static void generate_lengths(const struct bench_work *work, char *words, size_t room) {
    snprintf(words, room, "prompt %lld, %lld new tokens, %lld sequences in flight", (long long)work->prompt,
             (long long)work->tokens, (long long)work->in_flight);
}

static void train_lengths(const struct bench_work *work, char *words, size_t room) {
    snprintf(words, room, "prompt %lld, %lld tokens a response, %lld groups of %lld", (long long)work->prompt,
             (long long)work->tokens, (long long)work->groups, (long long)work->group);
}

/* opsm bench generate MODEL */
static int run_generate(int argc, char **argv) {
    struct setup s = {.precision = "bf16"};
    struct bench_work work = {.in_flight = 64, .seconds = 5};
    const struct option table[] = {{"--prompt", OPTION_INT, &work.prompt, 1, LENGTH_MAX},
                                   {"--tokens", OPTION_INT, &work.tokens, 1, LENGTH_MAX},
                                   {"--in-flight", OPTION_INT, &work.in_flight, 1, 65536},
                                   {"--seconds", OPTION_REAL, &work.seconds, 0.1, 3600},
                                   {"--precision", OPTION_TEXT, &s.precision, 0, 0},
                                   {"--json", OPTION_FLAG, &s.json, 0, 0},
                                   {NULL, OPTION_FLAG, NULL, 0, 0}};
    return run_model(&s, "generate", &work, bench_generate, false, argc, argv, table, generate_lengths);
}

/* opsm bench train MODEL */
static int run_train(int argc, char **argv) {
    struct setup s = {.precision = "bf16"};
    struct bench_work work = {.groups = 4, .group = 8, .seconds = 5};
    const struct option table[] = {{"--prompt", OPTION_INT, &work.prompt, 1, LENGTH_MAX},
                                   {"--tokens", OPTION_INT, &work.tokens, 1, LENGTH_MAX},
                                   {"--groups", OPTION_INT, &work.groups, 1, 1 << 16},
                                   {"--group", OPTION_INT, &work.group, 1, 4096},
                                   {"--seconds", OPTION_REAL, &work.seconds, 0.1, 3600},
                                   {"--precision", OPTION_TEXT, &s.precision, 0, 0},
                                   {"--json", OPTION_FLAG, &s.json, 0, 0},
                                   {NULL, OPTION_FLAG, NULL, 0, 0}};
    return run_model(&s, "train", &work, bench_train, true, argc, argv, table, train_lengths);
}

int cmd_bench(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } benchmarks[] = {
        {"gemm", run_gemm}, {"generate", run_generate}, {"train", run_train}, {"objective", cli_bench_objective}};
    if (argc < 2) return cli_usage("bench", "expected gemm, generate, train or objective");
    for (size_t i = 0; i < sizeof benchmarks / sizeof *benchmarks; i++) {
        if (strcmp(argv[1], benchmarks[i].name) != 0) continue;
        argv[1] = argv[0]; /* usage sentences are those of `opsm bench` */
        return benchmarks[i].run(argc - 1, argv + 1);
    }
    return cli_usage("bench", "unknown benchmark '%.60s': expected gemm, generate, train or objective", argv[1]);
}
