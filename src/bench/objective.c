/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/objective.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/threads.h"
#include <stdlib.h>
#include <string.h>

enum { BYTES_PER_TOKEN = 5 * sizeof(float) + 1 + 32 /* what allocate() takes */ };

struct arrays {
    float *c, *b, *p, *f, *dlogp, *advantages;
    int64_t *offsets;
    uint8_t *mask;
    opsm_sequence *records;
    char *from, *to; /* for the copy */
    void *workspace;
    size_t workspace_size;
};

/* Log-probs as a policy a few updates old has them; every other sequence negative. */
static void fill(const struct bench_objective *bench, struct arrays *a) {
    struct rng r = rng_make(1, RNG_TEST, 0, 0, 0);
    int64_t n = bench->sequences * bench->length;
    for (int64_t t = 0; t < n; t++) {
        a->b[t] = (float)(-3 * rng_unit(&r));
        a->c[t] = a->b[t] + (float)(0.2 * rng_unit(&r) - 0.1);
        a->p[t] = a->b[t];
        a->f[t] = a->b[t] + (float)(0.1 * rng_unit(&r));
        a->mask[t] = 1;
    }
    for (int64_t i = 0; i <= bench->sequences; i++) a->offsets[i] = i * bench->length;
    for (int64_t i = 0; i < bench->sequences; i++) a->advantages[i] = i % 2 ? -1.0f : 1.0f;
}

static bool allocate(const struct bench_objective *bench, struct arrays *a) {
    size_t rows = (size_t)bench->sequences, n = rows * (size_t)bench->length;
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
    a->workspace_size = opsm_objective_workspace(bench->sequences);
    a->workspace = mem_alloc(a->workspace_size, 1);
    return a->c && a->b && a->p && a->f && a->dlogp && a->mask && a->advantages && a->offsets && a->records &&
           a->from && a->to && a->workspace;
}

static void release(struct arrays *a) {
    void *all[] = {a->c,          a->b,       a->p,       a->f,    a->dlogp, a->mask,
                   a->advantages, a->offsets, a->records, a->from, a->to,    a->workspace};
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) mem_free(all[k]);
}

static int by_value(const void *a, const void *b) {
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

static void make_batch(const struct bench_objective *bench, const struct arrays *a, int64_t first, int64_t n,
                       opsm_batch *batch) {
    int64_t token = first * bench->length;
    opsm_batch_init(batch);
    batch->n_sequences = n;
    batch->n_tokens = n * bench->length;
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
static opsm_status evaluate_part(const struct bench_objective *bench, const struct arrays *a, int64_t first, int64_t n,
                                 const opsm_totals *totals, double *loss, opsm_error *err) {
    opsm_batch batch;
    opsm_result result;
    make_batch(bench, a, first, n, &batch);
    opsm_result_init(&result);
    result.records = a->records + first;
    result.dlogp = a->dlogp + first * bench->length;
    void *workspace = totals ? NULL : a->workspace; /* with totals only pairs need one */
    opsm_status status = opsm_objective_evaluate(&bench->config, NULL, &batch, totals, &result, workspace,
                                                 workspace ? a->workspace_size : 0, err);
    *loss = result.loss;
    return status;
}

/* One step: on one thread one call, on several the totals of the whole and then a part for each. */
static opsm_status step(const struct bench_objective *bench, const struct arrays *a, double *loss, opsm_error *err) {
    int parts = bench->config.surrogate_name == OPSM_SURROGATE_DPO ? 1 : threads_count();
    if (parts == 1) return evaluate_part(bench, a, 0, bench->sequences, NULL, loss, err);
    opsm_batch whole;
    opsm_totals totals;
    make_batch(bench, a, 0, bench->sequences, &whole);
    opsm_status status =
        opsm_objective_totals(&bench->config, NULL, &whole, a->records, &totals, a->workspace, a->workspace_size, err);
    if (status != OPSM_OK) return status;
    int64_t each = (bench->sequences + parts - 1) / parts;
    double sum = 0;
#pragma omp parallel for num_threads(parts) schedule(static, 1) reduction(+ : sum)
    for (int k = 0; k < parts; k++) {
        int64_t first = k * each, n = bench->sequences - first < each ? bench->sequences - first : each;
        if (n <= 0) continue;
        double mine = 0;
        opsm_error inner = {0};
        opsm_status part = evaluate_part(bench, a, first, n, &totals, &mine, &inner);
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

static opsm_status measure(struct bench_objective *bench, const struct arrays *a, opsm_error *err) {
    double times[BENCH_REPEATS_MAX], copies[BENCH_REPEATS_MAX];
    bench->bytes = (double)bench->sequences * (double)bench->length * bytes_per_token(&bench->config);
    for (int64_t k = -2; k < bench->repeats; k++) { /* two rounds to warm up */
        log_phase("measuring", (2.0 + (double)k) / (2.0 + (double)bench->repeats), 1);
        double start = clock_seconds();
        opsm_status status = step(bench, a, &bench->loss, err);
        if (status != OPSM_OK) return status;
        double seconds = clock_seconds() - start, copy = copy_seconds(a, (size_t)bench->bytes);
        if (k < 0) continue;
        times[k] = seconds;
        copies[k] = copy;
    }
    qsort(times, (size_t)bench->repeats, sizeof times[0], by_value);
    qsort(copies, (size_t)bench->repeats, sizeof copies[0], by_value);
    log_phase(NULL, 0, 0);
    bench->median = times[bench->repeats / 2];
    bench->best = times[0];
    bench->copy = copies[bench->repeats / 2];
    return OPSM_OK;
}

opsm_status bench_objective_run(struct bench_objective *bench, opsm_error *err) {
    struct arrays arrays = {0};
    uint64_t bytes = (uint64_t)bench->sequences * (uint64_t)bench->length * BYTES_PER_TOKEN;
    opsm_status status = limits_check("the benchmark", bytes, bytes, 0, "lower --sequences or --length", err);
    if (status == OPSM_OK && !allocate(bench, &arrays))
        status = mem_exhausted(err, "the benchmark", (size_t)bench->sequences * 60);
    if (status == OPSM_OK) fill(bench, &arrays);
    if (status == OPSM_OK) status = measure(bench, &arrays, err);
    release(&arrays);
    return status;
}
