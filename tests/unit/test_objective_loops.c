/* SPDX-License-Identifier: Apache-2.0
 *
 * The loops of the objective that are compiled once per instruction set, against a copy compiled for the baseline: the
 * same bits. And the exponential against the C library's.
 */
#define OPSM_NO_CLONES
#define block_exp          plain_block_exp
#define block_subtract     plain_block_subtract
#define block_sum          plain_block_sum
#define block_max          plain_block_max
#define block_floats       plain_block_floats
#define block_any_positive plain_block_any_positive
#define block_gather       plain_block_gather
#define block_scatter      plain_block_scatter
#define walk_sequence      plain_walk_sequence
#define walk_next          plain_walk_next
#define surrogate_block    plain_surrogate_block
#define surrogate_clipped  plain_surrogate_clipped
#define surrogate_is_ppo   plain_surrogate_is_ppo
#define penalty_block      plain_penalty_block
#include "../../src/objective/block.c"
#include "../../src/objective/penalty.c"
#include "../../src/objective/surrogate.c"
#undef block_exp
#undef block_sum
#undef block_max
#undef surrogate_block
#undef surrogate_clipped
#undef penalty_block
void block_exp(int n, const double *x, double *y);
double block_sum(int n, const double *x);
double block_max(int n, const double *x);
void surrogate_block(const struct plan *plan, const struct tokens *tokens, const double *a, double *s, double *g);
void surrogate_clipped(const struct plan *plan, const struct tokens *tokens, const double *a, int64_t *low,
                       int64_t *high);
void penalty_block(const struct plan *plan, const struct tokens *tokens, double *k, double *v, double *g);

#include "base/rng.h"
#include "objective_fixture.h"

static void exponential_is_accurate(void **state) {
    (void)state;
    struct rng r = rng_make(1, RNG_TEST, 0, 0, 0);
    double worst = 0;
    for (int k = 0; k < 400000; k++) {
        double x = k % 2 ? 40 * (rng_unit(&r) - 0.5) : 1416 * (rng_unit(&r) - 0.5);
        double found = exp_fixed(x), expected = exp(x);
        double ulps = fabs(found - expected) / (nextafter(expected, INFINITY) - expected);
        if (ulps > worst) worst = ulps;
    }
    assert_true(worst < 2.0);
    assert_true(exp_fixed(0) == 1 && exp_fixed(-0.0) == 1);
    assert_true(exp_fixed(INFINITY) == INFINITY && exp_fixed(710) == INFINITY && exp_fixed(1e300) == INFINITY);
    assert_true(exp_fixed(-INFINITY) == 0 && exp_fixed(-709) == 0 && exp_fixed(-1e300) == 0);
    assert_true(isnan(exp_fixed(NAN)));
    assert_near(exp_fixed(708.9) / exp(708.9), 1, 1e-15);
    assert_near(exp_fixed(-707.9) / exp(-707.9), 1, 1e-15);
}

static void same(const double *a, const double *b, int n) {
    assert_memory_equal(a, b, (size_t)n * sizeof *a);
}

static void every_instruction_set_gives_the_same_bits(void **state) {
    (void)state;
    struct rng r = rng_make(2, RNG_TEST, 0, 0, 0);
    float logps[4][BLOCK];
    int64_t offsets[] = {0, BLOCK};
    struct plan plan = {0};
    opsm_objective_defaults(&plan.config);
    plan.config.surrogate_dual_clip = 1.5;
    plan.config.penalty_clamp = 0.3;
    plan.batch = (opsm_batch){.offsets = offsets,
                              .n_sequences = 1,
                              .n_tokens = BLOCK,
                              .logp_behavior = logps[0],
                              .logp_trainer = logps[1],
                              .logp_current = logps[2],
                              .logp_reference = logps[3]};
    for (int round = 0; round < 60; round++) {
        plan.batch.token_advantages = round % 2 ? logps[0] : NULL; /* only whether there are any */
        struct tokens tokens = {.block = {.n = round < BLOCK ? BLOCK - round : 1, .contiguous = true}};
        int n = tokens.block.n;
        tokens.r = tokens.ratios;
        double a[BLOCK], s[2][BLOCK], g[2][BLOCK], k[2][BLOCK], v[2][BLOCK];
        for (int t = 0; t < BLOCK; t++) {
            for (int j = 0; j < 4; j++) logps[j][t] = (float)(-3 * rng_unit(&r));
            a[t] = rng_below(&r, 9) ? rng_normal(&r) : 0;
            tokens.c[t] = (double)logps[2][t];
            tokens.d[t] = round % 5 ? rng_normal(&r) : 300 * rng_normal(&r);
        }
        if (round % 7 == 0) tokens.d[0] = NAN;
        block_exp(n, tokens.d, tokens.r);
        for (int t = 0; t < n; t++) s[1][t] = exp_fixed(tokens.d[t]);
        for (int t = 0; t < n; t++) assert_true(tokens.r[t] == s[1][t] || (isnan(tokens.r[t]) && isnan(s[1][t])));
        assert_true(block_max(n, tokens.d) == plain_block_max(n, tokens.d));
        double sums[2] = {block_sum(n, tokens.r), plain_block_sum(n, tokens.r)};
        assert_memory_equal(&sums[0], &sums[1], sizeof(double));
        for (int name = 0; name < OPSM_SURROGATE_COUNT; name++) {
            plan.config.surrogate_name = (opsm_surrogate)name;
            surrogate_block(&plan, &tokens, a, s[0], g[0]);
            plain_surrogate_block(&plan, &tokens, a, s[1], g[1]);
            for (int t = 0; t < n; t++) {
                /* The sign bit of a NaN is nobody's business. */
                assert_true(s[0][t] == s[1][t] || (isnan(s[0][t]) && isnan(s[1][t])));
                assert_true(g[0][t] == g[1][t] || (isnan(g[0][t]) && isnan(g[1][t])));
            }
            int64_t low[2] = {0}, high[2] = {0};
            surrogate_clipped(&plan, &tokens, a, &low[0], &high[0]);
            plain_surrogate_clipped(&plan, &tokens, a, &low[1], &high[1]);
            assert_int_equal(low[0], low[1]);
            assert_int_equal(high[0], high[1]);
        }
        if (round % 7 == 0) tokens.r[0] = 1;
        for (int name = 0; name < OPSM_PENALTY_COUNT; name++) {
            plan.config.penalty_estimator = (opsm_penalty)name;
            penalty_block(&plan, &tokens, k[0], v[0], g[0]);
            plain_penalty_block(&plan, &tokens, k[1], v[1], g[1]);
            same(k[0], k[1], n);
            same(v[0], v[1], n);
            same(g[0], g[1], n);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exponential_is_accurate),
        cmocka_unit_test(every_instruction_set_gives_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
