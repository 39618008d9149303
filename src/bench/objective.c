/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/objective.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "base/threads.h"
#include "cli/cli.h"
#include <opsm/objective.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_REPEATS = 1000, BYTES_PER_TOKEN = 5 * sizeof(float) + 1 + 32 /* what allocate() takes */ };

struct setup {
    opsm_objective config;
    int64_t sequences, length, repeats;
    bool json;
};

struct arrays {
    float *c, *b, *p, *f, *dlogp, *advantages;
    int64_t *offsets;
    uint8_t *mask;
    opsm_sequence *records;
    char *from, *to; /* for the copy */
    void *workspace;
    size_t workspace_size;
};

static bool parse(struct setup *setup, int argc, char **argv, opsm_error *err) {
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *equals = strchr(word, '=');
        int64_t *number = !strcmp(word, "--sequences") ? &setup->sequences
                          : !strcmp(word, "--length")  ? &setup->length
                          : !strcmp(word, "--repeats") ? &setup->repeats
                                                       : NULL;
        char key[80];
        if (!strcmp(word, "--json")) {
            setup->json = true;
        } else if (number) {
            int64_t most = number == &setup->repeats ? MAX_REPEATS : 1 << 24;
            if (i + 1 >= argc || !cli_parse_int(argv[++i], 1, most, number)) {
                opsm_fail(err, OPSM_INVALID, "%s needs a whole number from 1 to %lld", word, (long long)most);
                return false;
            }
        } else if (equals && (size_t)(equals - word) < sizeof key) {
            memcpy(key, word, (size_t)(equals - word));
            key[equals - word] = '\0';
            if (opsm_objective_set(&setup->config, key, equals + 1, err) != OPSM_OK) return false;
        } else {
            static const char *const names[] = {"--json", "--sequences", "--length", "--repeats"};
            const char *nearest = text_nearest(word, names, sizeof names / sizeof *names);
            opsm_fail(err, OPSM_INVALID, "unknown option '%.60s'%s%s%s", word, nearest ? "; did you mean '" : "",
                      nearest ? nearest : "", nearest ? "'?" : "");
            return false;
        }
    }
    return opsm_objective_check(&setup->config, err) == OPSM_OK;
}

/* Log-probs as a policy a few updates old has them; every other sequence negative. */
static void fill(const struct setup *setup, struct arrays *a) {
    struct rng r = rng_make(1, RNG_TEST, 0, 0, 0);
    int64_t n = setup->sequences * setup->length;
    for (int64_t t = 0; t < n; t++) {
        a->b[t] = (float)(-3 * rng_unit(&r));
        a->c[t] = a->b[t] + (float)(0.2 * rng_unit(&r) - 0.1);
        a->p[t] = a->b[t];
        a->f[t] = a->b[t] + (float)(0.1 * rng_unit(&r));
        a->mask[t] = 1;
    }
    for (int64_t i = 0; i <= setup->sequences; i++) a->offsets[i] = i * setup->length;
    for (int64_t i = 0; i < setup->sequences; i++) a->advantages[i] = i % 2 ? -1.0f : 1.0f;
}

static bool allocate(const struct setup *setup, struct arrays *a) {
    size_t rows = (size_t)setup->sequences, n = rows * (size_t)setup->length;
    a->c = mem_alloc(n, sizeof *a->c);
    a->b = mem_alloc(n, sizeof *a->b);
    a->p = mem_alloc(n, sizeof *a->p);
    a->f = mem_alloc(n, sizeof *a->f);
    a->dlogp = mem_alloc(n, sizeof *a->dlogp);
    a->mask = mem_alloc(n, 1);
    a->advantages = mem_alloc(rows, sizeof *a->advantages);
    a->offsets = mem_alloc(rows + 1, sizeof *a->offsets);
    a->records = mem_alloc(rows, sizeof *a->records);
    a->from = mem_zalloc(n, 16);
    a->to = mem_zalloc(n, 16);
    a->workspace_size = opsm_objective_workspace(setup->sequences);
    a->workspace = mem_alloc(a->workspace_size, 1);
    return a->c && a->b && a->p && a->f && a->dlogp && a->mask && a->advantages && a->offsets && a->records &&
           a->from && a->to && a->workspace;
}

static void release(struct arrays *a) {
    void *all[] = {a->c,          a->b,       a->p,       a->f,    a->dlogp, a->mask,
                   a->advantages, a->offsets, a->records, a->from, a->to,    a->workspace};
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) mem_free(all[k]);
}

static int larger(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Bytes the objective must move per token: c, b and mask in, gradient out, and the arrays that only some need. */
static double bytes_per_token(const opsm_objective *config) {
    double bytes = 4 + 4 + 1 + 4;
    if (opsm_objective_needs_reference(config)) bytes += 4;
    if (opsm_objective_needs_trainer(config)) bytes += 4;
    return bytes;
}

/* One copy of as many bytes as the objective moves: half are read, half written. */
static double copy_seconds(const struct arrays *a, size_t bytes) {
    int parts = threads_count();
    size_t half = bytes / 2, each = (half + (size_t)parts - 1) / (size_t)parts;
    double start = clock_seconds();
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int k = 0; k < parts; k++) {
        size_t first = (size_t)k * each;
        if (first < half) memcpy(a->to + first, a->from + first, half - first < each ? half - first : each);
    }
    double seconds = clock_seconds() - start;
    a->from[half / 2] = (char)(a->to[half - 1] + 1); /* so that no copy can be left out */
    return seconds;
}

static void report(const struct setup *setup, const double *times, const double *copies, double loss) {
    double n = (double)setup->sequences * (double)setup->length, bytes = n * bytes_per_token(&setup->config);
    double median = times[setup->repeats / 2], best = times[0], copy = copies[setup->repeats / 2];
    if (setup->json) {
        printf("{\"threads\":%d,\"sequences\":%lld,\"length\":%lld,\"repeats\":%lld,\"tokens_per_second\":%.6g,"
               "\"nanoseconds_per_token\":%.6g,\"best_nanoseconds_per_token\":%.6g,\"bytes_per_second\":%.6g,"
               "\"memcpy_bytes_per_second\":%.6g,\"share_of_memcpy\":%.4g,\"loss\":%.9g}\n",
               threads_count(), (long long)setup->sequences, (long long)setup->length, (long long)setup->repeats,
               n / median, 1e9 * median / n, 1e9 * best / n, bytes / median, bytes / copy, copy / median, loss);
        return;
    }
    printf("%s, rule %s%s: %lld sequences x %lld tokens, %d threads, median of %lld\n",
           opsm_surrogate_name(setup->config.surrogate_name), opsm_rule_name(setup->config.mask_rule),
           setup->config.penalty_beta > 0 ? ", KL penalty" : "", (long long)setup->sequences, (long long)setup->length,
           threads_count(), (long long)setup->repeats);
    printf("  %.1f million tokens/s, %.2f ns per token (best %.2f)\n", n / median / 1e6, 1e9 * median / n,
           1e9 * best / n);
    printf("  %.2f GB/s of log-probs and gradients; memory copy in the same run %.2f GB/s: share %.2f\n",
           bytes / median / 1e9, bytes / copy / 1e9, copy / median);
}

static void make_batch(const struct setup *setup, const struct arrays *a, int64_t first, int64_t n, opsm_batch *batch) {
    int64_t token = first * setup->length;
    opsm_batch_init(batch);
    batch->n_sequences = n;
    batch->n_tokens = n * setup->length;
    batch->offsets = a->offsets; /* all sequences have one length: any part starts like the whole */
    batch->logp_current = a->c + token;
    batch->logp_behavior = a->b + token;
    batch->logp_trainer = a->p + token;
    batch->logp_reference = a->f + token;
    batch->mask = a->mask + token;
    batch->advantages = a->advantages + first;
}

/* A part of the sequences with the totals of the whole step, which changes no bit of the gradient; NULL: the part is
 * the whole. */
static opsm_status evaluate_part(const struct setup *setup, const struct arrays *a, int64_t first, int64_t n,
                                 const opsm_totals *totals, double *loss, opsm_error *err) {
    opsm_batch batch;
    opsm_result result;
    make_batch(setup, a, first, n, &batch);
    opsm_result_init(&result);
    result.records = a->records + first;
    result.dlogp = a->dlogp + first * setup->length;
    void *workspace = totals ? NULL : a->workspace; /* with totals only pairs need one */
    opsm_status status = opsm_objective_evaluate(&setup->config, NULL, &batch, totals, &result, workspace,
                                                 workspace ? a->workspace_size : 0, err);
    *loss = result.loss;
    return status;
}

/* One step: on one thread one call, on several the totals of the whole and then a part for each. */
static opsm_status step(const struct setup *setup, const struct arrays *a, double *loss, opsm_error *err) {
    int parts = setup->config.surrogate_name == OPSM_SURROGATE_DPO ? 1 : threads_count();
    if (parts == 1) return evaluate_part(setup, a, 0, setup->sequences, NULL, loss, err);
    opsm_batch whole;
    opsm_totals totals;
    make_batch(setup, a, 0, setup->sequences, &whole);
    opsm_status status =
        opsm_objective_totals(&setup->config, NULL, &whole, a->records, &totals, a->workspace, a->workspace_size, err);
    if (status != OPSM_OK) return status;
    int64_t each = (setup->sequences + parts - 1) / parts;
    double sum = 0;
#pragma omp parallel for num_threads(parts) schedule(static, 1) reduction(+ : sum)
    for (int k = 0; k < parts; k++) {
        int64_t first = k * each, n = setup->sequences - first < each ? setup->sequences - first : each;
        if (n <= 0) continue;
        double mine = 0;
        opsm_error inner = {0};
        opsm_status part = evaluate_part(setup, a, first, n, &totals, &mine, &inner);
        sum += mine;
        if (part == OPSM_OK) continue;
#pragma omp critical(bench_objective_error)
        {
            status = part;
            *err = inner;
        }
    }
    *loss = sum;
    return status;
}

static opsm_status measure(const struct setup *setup, const struct arrays *a, opsm_error *err) {
    double times[MAX_REPEATS], copies[MAX_REPEATS], loss = 0;
    size_t bytes = (size_t)((double)setup->sequences * (double)setup->length * bytes_per_token(&setup->config));
    for (int64_t k = -2; k < setup->repeats; k++) { /* two rounds to warm up */
        log_phase("measuring", (2.0 + (double)k) / (2.0 + (double)setup->repeats), 1);
        double start = clock_seconds();
        opsm_status status = step(setup, a, &loss, err);
        if (status != OPSM_OK) return status;
        double seconds = clock_seconds() - start, copy = copy_seconds(a, bytes);
        if (k < 0) continue;
        times[k] = seconds;
        copies[k] = copy;
    }
    qsort(times, (size_t)setup->repeats, sizeof times[0], larger);
    qsort(copies, (size_t)setup->repeats, sizeof copies[0], larger);
    log_phase(NULL, 0, 0);
    report(setup, times, copies, loss);
    return OPSM_OK;
}

int bench_objective(int argc, char **argv) {
    struct setup setup = {.sequences = 512, .length = 512, .repeats = 21};
    opsm_error err = {0};
    opsm_objective_defaults(&setup.config);
    if (!parse(&setup, argc, argv, &err)) return cli_usage("bench", "%s", err.text);
    struct arrays arrays = {0};
    uint64_t bytes = (uint64_t)setup.sequences * (uint64_t)setup.length * BYTES_PER_TOKEN;
    opsm_status status = limits_check("the benchmark", bytes, bytes, 0, "lower --sequences or --length", &err);
    if (status == OPSM_OK && !allocate(&setup, &arrays))
        status = mem_exhausted(&err, "the benchmark", (size_t)setup.sequences * 60);
    if (status == OPSM_OK) fill(&setup, &arrays);
    if (status == OPSM_OK) status = measure(&setup, &arrays, &err);
    release(&arrays);
    return status == OPSM_OK ? 0 : cli_fail(status, &err);
}
