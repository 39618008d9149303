/* SPDX-License-Identifier: Apache-2.0
 *
 * The drift's sweep against the block loops: the same bits for every instruction set that the processor has, any number
 * of tokens, and values at the ends of what floats hold. Then the whole objective: equal token advantages are the
 * sequence's advantage, to the bit.
 */
#include "base/rng.h"
#include "objective/surrogate.h"
#include "objective_fixture.h"

enum { SEQUENCES = 40, TOKENS = SEQUENCES * 700 };

/* The sign and payload of a NaN are nobody's business. */
static void same_double(double a, double b) {
    if (isnan(a) && isnan(b)) return;
    assert_memory_equal(&a, &b, sizeof a);
}

struct values {
    float c[BLOCK], b[BLOCK], f[BLOCK];
    double r[BLOCK], d[BLOCK], x[BLOCK];
};

/* Log-probs of round k: ordinary, far apart, or with values that are not finite among them. */
static void draw(struct rng *r, int k, struct values *v) {
    float scale = k % 3 == 1 ? 400 : 1;
    for (int t = 0; t < BLOCK; t++) {
        v->b[t] = (float)(-3 * rng_unit(r));
        v->c[t] = v->b[t] + scale * (float)(2 * rng_unit(r) - 1);
        v->f[t] = v->b[t] + (float)(0.1 * rng_unit(r));
    }
    if (k % 3 == 2) {
        float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, -0.0f};
        v->c[rng_below(r, BLOCK)] = odd[rng_below(r, 6)];
        v->b[rng_below(r, BLOCK)] = odd[rng_below(r, 6)];
        v->f[rng_below(r, BLOCK)] = odd[rng_below(r, 6)];
    }
}

static bool positive(int n, const float *x) {
    bool any = false;
    for (int t = 0; t < n; t++) any |= x[t] > 0;
    return any;
}

static void check_measure(const struct sweeps *sweeps, int n, struct values *v) {
    double r[BLOCK], wide[BLOCK];
    struct measured found = sweeps->measure(n, v->c, v->b, r);
    for (int t = 0; t < n; t++) v->d[t] = (double)v->c[t] - (double)v->b[t];
    block_exp(n, v->d, v->r);
    for (int t = 0; t < n; t++) v->x[t] = v->r[t] - 1.0 - v->d[t];
    for (int t = 0; t < n; t++) same_double(r[t], v->r[t]);
    sweeps->exp(n, v->d, v->d);
    for (int t = 0; t < n; t++) same_double(r[t], v->d[t]);
    for (int t = 0; t < n; t++) v->d[t] = (double)v->c[t] - (double)v->b[t];
    same_double(found.d, block_sum(n, v->d));
    same_double(found.k3, block_sum(n, v->x));
    assert_int_equal(found.positive, positive(n, v->c) || positive(n, v->b));
    struct scanned scanned = sweeps->scan(n, v->f);
    for (int t = 0; t < n; t++) wide[t] = (double)v->f[t];
    same_double(scanned.sum, block_sum(n, wide));
    assert_int_equal(scanned.positive, positive(n, v->f));
}

static void every_instruction_set_equals_the_block_loops(void **state) {
    (void)state;
    struct rng r = rng_make(3, RNG_TEST, 0, 0, 0);
    int sets = 0;
    for (const struct sweeps *sweeps; (sweeps = sweeps_at(sets)) != NULL; sets++)
        for (int round = 0; round < 3 * BLOCK; round++) {
            struct values v;
            draw(&r, round, &v);
            int n = 1 + round / 3;
            check_measure(sweeps, n, &v);
        }
    assert_true(sets >= 1 && sweeps_best() == sweeps_at(sets - 1));
}

static float logps[3][TOKENS], token_advantages[TOKENS], gradients[2][TOKENS];
static uint8_t mask[TOKENS];
static opsm_sequence records[2][SEQUENCES];

/* Advantages are powers of two, so that the mean over equal token advantages is exact. */
static void ragged_batch(struct rng *r, bool holes, opsm_batch *batch, int64_t *offsets, float *advantages) {
    int64_t at = 0;
    for (int i = 0; i < SEQUENCES; i++) {
        offsets[i] = at;
        int64_t length = i == 0 ? 0 : i == 1 ? 1 : (int64_t)rng_below(r, 700);
        advantages[i] = i % 5 == 4 ? 0.0f : i % 2 ? -0.5f : 2.0f;
        float shift = 0.05f * (float)(i % 4);
        for (int64_t t = at; t < at + length; t++) {
            logps[0][t] = (float)(-3 * rng_unit(r));
            logps[1][t] = logps[0][t] + (float)(rng_unit(r) - 0.5) - shift;
            logps[2][t] = logps[0][t] + (float)(0.1 * rng_unit(r));
            mask[t] = !holes || rng_below(r, 7) > 0;
            token_advantages[t] = advantages[i];
        }
        at += length;
    }
    offsets[SEQUENCES] = at;
    opsm_batch_init(batch);
    batch->n_sequences = SEQUENCES;
    batch->n_tokens = at;
    batch->offsets = offsets;
    batch->logp_behavior = logps[0];
    batch->logp_current = logps[1];
    batch->logp_reference = logps[2];
    batch->mask = mask;
    batch->advantages = advantages;
}

static void evaluate(const opsm_objective *config, const opsm_batch *batch, int which, opsm_result *result) {
    opsm_error err = {0};
    opsm_result_init(result);
    result->records = records[which];
    result->dlogp = gradients[which];
    assert_int_equal(opsm_objective_evaluate(config, NULL, batch, NULL, result, NULL, 0, &err), OPSM_OK);
}

static void equal_token_advantages_are_the_sequences(void **state) {
    (void)state;
    struct rng r = rng_make(4, RNG_TEST, 0, 0, 0);
    const opsm_surrogate names[] = {OPSM_SURROGATE_PPO, OPSM_SURROGATE_IS, OPSM_SURROGATE_TIS, OPSM_SURROGATE_CISPO,
                                    OPSM_SURROGATE_REINFORCE};
    for (int round = 0; round < 60; round++) {
        opsm_objective config;
        opsm_batch batch;
        opsm_result results[2];
        int64_t offsets[SEQUENCES + 1];
        float advantages[SEQUENCES];
        opsm_objective_defaults(&config);
        config.surrogate_name = names[round % 5];
        config.penalty_beta = round % 3 ? 0.1 : 0.0;
        config.penalty_estimator = round % 3 == 1 ? OPSM_PENALTY_K3 : OPSM_PENALTY_UNBIASED;
        config.mask_delta = round % 4 ? 0.05 : (double)INFINITY;
        config.mask_kl = round % 8 == 1;
        ragged_batch(&r, round % 2, &batch, offsets, advantages);
        evaluate(&config, &batch, 0, &results[0]);
        batch.token_advantages = token_advantages;
        evaluate(&config, &batch, 1, &results[1]);
        assert_memory_equal(gradients[0], gradients[1], (size_t)batch.n_tokens * sizeof(float));
        same_double(results[0].loss, results[1].loss);
        for (int i = 1; i < SEQUENCES; i++) { /* an empty sequence has no token to carry its advantage */
            opsm_sequence a = records[0][i], b = records[1][i];
            if (a.tokens == 0) continue;
            same_double(a.surrogate, b.surrogate);
            same_double(a.penalty, b.penalty);
            same_double(a.kl_sum, b.kl_sum);
            assert_int_equal(a.clipped_low, b.clipped_low);
            assert_int_equal(a.clipped_high, b.clipped_high);
            assert_int_equal(a.needs_backward, b.needs_backward);
            assert_int_equal(a.keep, b.keep);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_instruction_set_equals_the_block_loops),
        cmocka_unit_test(equal_token_advantages_are_the_sequences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
