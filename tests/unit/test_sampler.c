/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "base/threads.h"
#include "check.h"
#include "rollout/sampler.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { VOCAB = 1000, ROWS = 8 };

static opsm_error err;

static void random_logits(float *logits, int n, uint32_t seed, double spread) {
    struct rng r = rng_make(seed, RNG_TEST, 1, 2, 3);
    for (int i = 0; i < n; i++) logits[i] = (float)(spread * rng_normal(&r));
}

static struct sampler *make_sampler(int64_t vocab) {
    struct sampler *s;
    assert_ok(sampler_create(&s, vocab, ROWS, true, &err));
    return s;
}

static struct sample_draw draw_one(struct sampler *s, struct sampling sampling, const float *logits, uint32_t token) {
    struct sample_draw draw;
    struct sample_key key = {9, 1, 2, 3, token};
    assert_ok(sampler_draw(s, &sampling, 1, logits, 0, &key, &draw, &err));
    return draw;
}

/* ---- the kept set against a full sort ---- */

static const float *sort_logits;

static int by_rank(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    if (sort_logits[x] != sort_logits[y]) return sort_logits[x] > sort_logits[y] ? -1 : 1;
    return x - y;
}

/* The number of tokens that stay, and which, by the definition: rank, then cut three times. */
static int naive_kept(const float *logits, const struct sampling *s, int32_t *order) {
    double weight[VOCAB], sum = 0, running = 0;
    for (int i = 0; i < VOCAB; i++) order[i] = i;
    sort_logits = logits;
    qsort(order, VOCAB, sizeof *order, by_rank);
    int n = s->top_k > 0 && s->top_k < VOCAB ? s->top_k : VOCAB;
    for (int i = 0; i < n; i++) sum += weight[i] = exp(((double)logits[order[i]] - logits[order[0]]) / s->temperature);
    int by_mass = 0;
    while (by_mass < n && (by_mass == 0 || running < s->top_p * sum)) running += weight[by_mass++];
    if (s->top_p < 1) n = by_mass;
    while (n > 1 && weight[n - 1] < s->min_p) n--;
    return n;
}

static void kept_set_matches_a_full_sort(void **state) {
    (void)state;
    struct sampler *s = make_sampler(VOCAB);
    float logits[VOCAB];
    int32_t order[VOCAB];
    const struct sampling cases[] = {
        {1.0, 1.0, 0.0, 1},    {1.0, 1.0, 0.0, 40}, {1.0, 1.0, 0.0, 999},  {0.7, 0.9, 0.0, 0},  {1.0, 0.5, 0.0, 0},
        {1.3, 0.999, 0.0, 0},  {1.0, 1.0, 0.05, 0}, {1.0, 1.0, 1.0, 0},    {2.0, 0.8, 0.1, 50}, {1.0, 0.95, 0.02, 20},
        {0.1, 0.9999, 0.0, 0}, {1.0, 1e-9, 0.0, 0}, {1.0, 1.0, 1e-4, 300},
    };
    int cut_short = 0;
    for (uint32_t seed = 0; seed < 20; seed++) {
        random_logits(logits, VOCAB, seed, seed % 2 ? 3.0 : 0.3);
        for (int i = 0; seed % 3 == 0 && i < VOCAB; i++) logits[i] = roundf(logits[i]); /* many ties */
        for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
            struct sample_draw draw = draw_one(s, cases[c], logits, seed);
            int n = naive_kept(logits, &cases[c], order);
            int found = draw.kept.ids ? draw.kept.n : VOCAB;
            assert_int_equal(found, n);
            cut_short += n < VOCAB;
            bool expected[VOCAB] = {false};
            for (int i = 0; i < n; i++) expected[order[i]] = true;
            for (int i = 0; draw.kept.ids && i < n; i++) {
                assert_true(expected[draw.kept.ids[i]]);
                if (i) assert_true(draw.kept.ids[i] > draw.kept.ids[i - 1]);
            }
            assert_true(expected[draw.token]);
            double mass = 0;
            for (int i = 0; i < n; i++)
                mass += exp(((double)logits[order[i]] - logits[order[0]]) / cases[c].temperature);
            double wanted = ((double)logits[draw.token] - logits[order[0]]) / cases[c].temperature - log(mass);
            assert_near(draw.logp, wanted, 1e-4);
        }
    }
    assert_true(cut_short > 200);
    sampler_free(s);
}

/* ---- the draw ---- */

static void frequencies_follow_the_distribution(void **state) {
    (void)state;
    enum { N = 10, DRAWS = 40000 };
    struct sampler *s = make_sampler(N);
    float logits[N];
    random_logits(logits, N, 5, 1.0);
    const struct sampling cases[] = {{1.0, 1, 0, 0}, {0.5, 1, 0, 0}, {1.0, 0.8, 0, 0}};
    for (size_t c = 0; c < 3; c++) {
        int counts[N] = {0};
        double p[N] = {0}, sum = 0, chi = 0;
        struct sample_draw draw = {0};
        for (uint32_t i = 0; i < DRAWS; i++) {
            draw = draw_one(s, cases[c], logits, i);
            counts[draw.token]++;
        }
        int kept = draw.kept.ids ? draw.kept.n : N;
        for (int i = 0; i < kept; i++) {
            int id = draw.kept.ids ? draw.kept.ids[i] : i;
            sum += p[id] = exp((double)logits[id] / cases[c].temperature);
        }
        for (int i = 0; i < N; i++) {
            double expected = DRAWS * p[i] / sum;
            if (p[i] == 0) assert_int_equal(counts[i], 0);
            if (p[i] > 0) chi += (counts[i] - expected) * (counts[i] - expected) / expected;
        }
        assert_true(chi < 27.9); /* 99.9% of chi-square with 9 degrees of freedom */
    }
    sampler_free(s);
}

static void rows_threads_and_neighbours_change_nothing(void **state) {
    (void)state;
    static float logits[ROWS * VOCAB];
    random_logits(logits, ROWS * VOCAB, 3, 2.0);
    const struct sampling cases[] = {{1.0, 1, 0, 0}, {0.8, 0.9, 0, 0}};
    struct sample_key keys[ROWS];
    for (uint32_t i = 0; i < ROWS; i++) keys[i] = (struct sample_key){1, 7, i / 2, i % 2, 5};
    int before = threads_count();
    for (size_t c = 0; c < 2; c++) {
        struct sample_draw together[ROWS], alone;
        threads_set(2);
        struct sampler *s = make_sampler(VOCAB);
        assert_ok(sampler_draw(s, &cases[c], ROWS, logits, VOCAB, keys, together, &err));
        threads_set(1);
        struct sampler *one = make_sampler(VOCAB);
        for (int i = 0; i < ROWS; i++) {
            assert_ok(sampler_draw(one, &cases[c], 1, logits + i * VOCAB, VOCAB, &keys[i], &alone, &err));
            assert_int_equal(alone.token, together[i].token);
            assert_memory_equal(&alone.logp, &together[i].logp, sizeof(float));
            assert_int_equal(alone.kept.n, together[i].kept.n);
        }
        sampler_free(s);
        sampler_free(one);
    }
    threads_set(before);
}

static void one_row_serves_a_group_and_every_key_draws_anew(void **state) {
    (void)state;
    struct sampler *s = make_sampler(VOCAB);
    float logits[VOCAB];
    random_logits(logits, VOCAB, 11, 0.1);
    struct sampling sampling = {1.0, 1, 0, 0};
    struct sample_key keys[5] = {{1, 1, 1, 1, 1}, {2, 1, 1, 1, 1}, {1, 2, 1, 1, 1}, {1, 1, 2, 1, 1}, {1, 1, 1, 2, 1}};
    struct sample_draw draws[5];
    assert_ok(sampler_draw(s, &sampling, 5, logits, 0, keys, draws, &err));
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < i; j++) assert_int_not_equal(draws[i].token, draws[j].token);
    sampler_free(s);
}

static void greedy_takes_the_first_of_the_largest(void **state) {
    (void)state;
    struct sampler *s = make_sampler(4);
    struct sample_draw draw = draw_one(s, (struct sampling){0, 1, 0, 0}, (float[]){1, 3, 3, -INFINITY}, 0);
    assert_int_equal(draw.token, 1);
    assert_near(draw.logp, -log(2 + exp(-2)), 1e-6);
    assert_null(draw.kept.ids);
    sampler_free(s);
}

static void impossible_tokens_are_never_drawn(void **state) {
    (void)state;
    struct sampler *s = make_sampler(4);
    const float logits[] = {-INFINITY, 0, -INFINITY, 0};
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(draw_one(s, (struct sampling){1, 1, 0, 0}, logits, i).token % 2, 1);
        assert_int_equal(draw_one(s, (struct sampling){1, 0.999, 0, 0}, logits, i).token % 2, 1);
    }
    sampler_free(s);
}

static void broken_logits_are_an_error(void **state) {
    (void)state;
    struct sampler *s = make_sampler(4);
    const float rows[][4] = {{0, NAN, 1, 2}, {0, 1, INFINITY, 2}, {-INFINITY, -INFINITY, -INFINITY, -INFINITY}};
    const struct sampling cases[] = {{1, 1, 0, 0}, {0, 1, 0, 0}, {1, 0.9, 0, 0}, {1, 1, 0, 2}, {1, 1, 0.1, 0}};
    struct sample_key key = {1, 2, 33, 4, 5};
    struct sample_draw draw;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (size_t i = 0; i < 3; i++) {
            err = (opsm_error){0};
            assert_int_equal(sampler_draw(s, &cases[c], 1, rows[i], 4, &key, &draw, &err), OPSM_NONFINITE);
            assert_non_null(strstr(err.text, "prompt 33, sample 4, token 5"));
        }
    sampler_free(s);
}

static void settings_out_of_range_are_refused(void **state) {
    (void)state;
    const struct sampling bad[] = {{-1, 1, 0, 0},  {NAN, 1, 0, 0}, {1, 0, 0, 0}, {1, 1.1, 0, 0},
                                   {1, NAN, 0, 0}, {1, 1, -1, 0},  {1, 1, 2, 0}, {1, 1, 0, -1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(sampling_check(&bad[i], &err), OPSM_INVALID);
    assert_ok(sampling_check(&(struct sampling){0.7, 0.9, 0.1, 40}, &err));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_set_matches_a_full_sort),
        cmocka_unit_test(frequencies_follow_the_distribution),
        cmocka_unit_test(rows_threads_and_neighbours_change_nothing),
        cmocka_unit_test(one_row_serves_a_group_and_every_key_draws_anew),
        cmocka_unit_test(greedy_takes_the_first_of_the_largest),
        cmocka_unit_test(impossible_tokens_are_never_drawn),
        cmocka_unit_test(broken_logits_are_an_error),
        cmocka_unit_test(settings_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
