/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bench_objective.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cli/cli.h"
#include <opsm/objective.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_REPEATS = 1000 };

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
            opsm_fail(err, OPSM_INVALID, "unknown option '%.60s'", word);
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
    if (config->penalty_beta > 0 || config->surrogate_name == OPSM_SURROGATE_DPO) bytes += 4;
    if (config->surrogate_ratio == OPSM_SOURCE_TRAINER || config->surrogate_name == OPSM_SURROGATE_DECOUPLED)
        bytes += 4;
    return bytes;
}

/* One copy of as many bytes as the objective moves: half are read, half written. */
static double copy_seconds(const struct arrays *a, size_t bytes) {
    double start = clock_seconds();
    memcpy(a->to, a->from, bytes / 2);
    a->from[bytes / 4] = (char)(a->to[bytes / 2 - 1] + 1); /* so that no copy can be left out */
    return clock_seconds() - start;
}

static void report(const struct setup *setup, const double *times, const double *copies, double loss) {
    double n = (double)setup->sequences * (double)setup->length, bytes = n * bytes_per_token(&setup->config);
    double median = times[setup->repeats / 2], best = times[0], copy = copies[setup->repeats / 2];
    if (setup->json) {
        printf("{\"sequences\":%lld,\"length\":%lld,\"repeats\":%lld,\"tokens_per_second\":%.6g,"
               "\"nanoseconds_per_token\":%.6g,\"best_nanoseconds_per_token\":%.6g,\"bytes_per_second\":%.6g,"
               "\"memcpy_bytes_per_second\":%.6g,\"share_of_memcpy\":%.4g,\"loss\":%.9g}\n",
               (long long)setup->sequences, (long long)setup->length, (long long)setup->repeats, n / median,
               1e9 * median / n, 1e9 * best / n, bytes / median, bytes / copy, copy / median, loss);
        return;
    }
    printf("%s, rule %s%s: %lld sequences x %lld tokens, one thread, median of %lld\n",
           opsm_surrogate_name(setup->config.surrogate_name), opsm_rule_name(setup->config.mask_rule),
           setup->config.penalty_beta > 0 ? ", KL penalty" : "", (long long)setup->sequences, (long long)setup->length,
           (long long)setup->repeats);
    printf("  %.1f million tokens/s, %.2f ns per token (best %.2f)\n", n / median / 1e6, 1e9 * median / n,
           1e9 * best / n);
    printf("  %.2f GB/s of log-probs and gradients; memory copy in the same run %.2f GB/s: share %.2f\n",
           bytes / median / 1e9, bytes / copy / 1e9, copy / median);
}

static opsm_status measure(const struct setup *setup, const struct arrays *a, opsm_error *err) {
    opsm_batch batch;
    opsm_batch_init(&batch);
    batch.n_sequences = setup->sequences;
    batch.n_tokens = setup->sequences * setup->length;
    batch.offsets = a->offsets;
    batch.logp_current = a->c;
    batch.logp_behavior = a->b;
    batch.logp_trainer = a->p;
    batch.logp_reference = a->f;
    batch.mask = a->mask;
    batch.advantages = a->advantages;
    opsm_result result;
    opsm_result_init(&result);
    result.records = a->records;
    result.dlogp = a->dlogp;
    double times[MAX_REPEATS], copies[MAX_REPEATS];
    size_t bytes = (size_t)((double)batch.n_tokens * bytes_per_token(&setup->config));
    for (int64_t k = -2; k < setup->repeats; k++) { /* two rounds to warm up */
        double start = clock_seconds();
        opsm_status status =
            opsm_objective_evaluate(&setup->config, NULL, &batch, NULL, &result, a->workspace, a->workspace_size, err);
        if (status != OPSM_OK) return status;
        double seconds = clock_seconds() - start, copy = copy_seconds(a, bytes);
        if (k < 0) continue;
        times[k] = seconds;
        copies[k] = copy;
    }
    qsort(times, (size_t)setup->repeats, sizeof times[0], larger);
    qsort(copies, (size_t)setup->repeats, sizeof copies[0], larger);
    report(setup, times, copies, result.loss);
    return OPSM_OK;
}

int bench_objective(int argc, char **argv) {
    struct setup setup = {.sequences = 512, .length = 512, .repeats = 21};
    opsm_error err = {0};
    opsm_objective_defaults(&setup.config);
    if (!parse(&setup, argc, argv, &err)) return cli_usage("bench", "%s", err.text);
    struct arrays arrays = {0};
    opsm_status status = OPSM_OK;
    if (!allocate(&setup, &arrays)) status = mem_exhausted(&err, "the benchmark", (size_t)setup.sequences * 60);
    if (status == OPSM_OK) fill(&setup, &arrays);
    if (status == OPSM_OK) status = measure(&setup, &arrays, &err);
    release(&arrays);
    return status == OPSM_OK ? 0 : cli_fail(status, &err);
}
