/* SPDX-License-Identifier: Apache-2.0
 *
 * A small batch in fixed arrays for the tests of the objective: rows are appended, then evaluated.
 */
#ifndef OPSM_TESTS_OBJECTIVE_FIXTURE_H
#define OPSM_TESTS_OBJECTIVE_FIXTURE_H
#include "check.h"
#include <math.h>
#include <opsm/objective.h>
#include <stdlib.h>
#include <string.h>

enum { FIX_ROWS = 64, FIX_TOKENS = 8192 };

struct fixture {
    opsm_objective config;
    opsm_batch batch;
    opsm_threshold *state;
    int64_t offsets[FIX_ROWS + 1], groups[FIX_ROWS], ids[FIX_ROWS];
    float c[FIX_TOKENS], b[FIX_TOKENS], p[FIX_TOKENS], f[FIX_TOKENS], a_token[FIX_TOKENS];
    uint8_t mask[FIX_TOKENS];
    float advantages[FIX_ROWS], rewards[FIX_ROWS];
    opsm_sequence records[FIX_ROWS];
    float dlogp[FIX_TOKENS];
    opsm_result result;
    opsm_metrics metrics;
    opsm_totals totals;
    opsm_error err;
    char workspace[1 << 14];
};

/* Defaults, beta 0, arrays c, b and advantages given, p and f absent. */
static inline struct fixture *fixture_new(void) {
    struct fixture *x = calloc(1, sizeof *x);
    assert_non_null(x);
    opsm_objective_defaults(&x->config);
    opsm_batch_init(&x->batch);
    opsm_result_init(&x->result);
    x->metrics.size = sizeof x->metrics;
    x->batch.offsets = x->offsets;
    x->batch.logp_current = x->c;
    x->batch.logp_behavior = x->b;
    x->batch.mask = x->mask;
    x->batch.advantages = x->advantages;
    x->batch.groups = x->groups;
    x->result.records = x->records;
    x->result.dlogp = x->dlogp;
    return x;
}

static inline void fixture_set(struct fixture *x, const char *key, const char *value) {
    opsm_error err = {0};
    assert_ok(opsm_objective_set(&x->config, key, value, &err));
}

/* Appends a sequence of n tokens with constant log-probs; returns its index. Edit the arrays from x->offsets[i] on. */
static inline int64_t fixture_add(struct fixture *x, int n, double advantage, double b, double c) {
    int64_t i = x->batch.n_sequences++, first = x->batch.n_tokens;
    assert_true(i < FIX_ROWS && first + n <= FIX_TOKENS);
    for (int t = 0; t < n; t++) {
        x->c[first + t] = (float)c;
        x->b[first + t] = (float)b;
        x->mask[first + t] = 1;
        x->a_token[first + t] = (float)advantage;
    }
    x->advantages[i] = (float)advantage;
    x->ids[i] = i;
    x->batch.n_tokens += n;
    x->offsets[i + 1] = x->batch.n_tokens;
    return i;
}

static inline opsm_status fixture_run(struct fixture *x) {
    for (int64_t t = 0; t < x->batch.n_tokens && t < FIX_TOKENS; t++) x->dlogp[t] = NAN; /* every element is written */
    opsm_status status = opsm_objective_evaluate(&x->config, x->state, &x->batch, NULL, &x->result, x->workspace,
                                                 sizeof x->workspace, &x->err);
    if (status != OPSM_OK) return status;
    return opsm_metrics_compute(&x->config, x->records, x->batch.n_sequences, &x->metrics, x->workspace,
                                sizeof x->workspace, &x->err);
}

static inline void fixture_ok(struct fixture *x) {
    opsm_error err = {0};
    opsm_status status = fixture_run(x);
    err = x->err;
    assert_ok(status);
}

#endif
