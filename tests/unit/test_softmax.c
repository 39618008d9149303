/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/scratch.h"
#include "kernels/softmax.h"
#include "kernels/vec.h"
#include "numeric.h"

static const struct softmax_kept whole = {NULL, 0};

/* Distance in units of the last place of the correctly rounded result, infinity for a NaN. */
static double ulps(float got, double exact) {
    float rounded = (float)exact;
    if (isinf(rounded) && isinf(got)) return 0;
    int exponent = rounded == 0.0f ? -126 : ilogbf(rounded);
    double unit = ldexp(1.0, (exponent < -126 ? -126 : exponent) - 23), distance = fabs((double)got - exact) / unit;
    return isnan(distance) ? INFINITY : distance;
}

/* All floats, a prime number of them apart; then every result that is a denormal. */
static void exp_within_two_ulp(void **state) {
    (void)state;
    double worst = 0;
    float at = 0;
    for (uint64_t bits = 0; bits <= 0xffffffffu; bits += 211) {
        uint32_t word = (uint32_t)bits;
        float x;
        memcpy(&x, &word, sizeof x);
        if (isnan(x)) {
            assert_true(isnan(exp_f32(x)));
            continue;
        }
        double off = ulps(exp_f32(x), exp((double)x));
        if (off > worst) worst = off, at = x;
    }
    for (float x = -104.0f; x < -87.0f; x += 0x1p-12f) {
        double off = ulps(exp_f32(x), exp((double)x));
        if (off > worst) worst = off, at = x;
    }
    for (float x = -1.0f; x < 1.0f; x += 0x1p-18f) {
        double off = ulps(exp_f32(x), exp((double)x));
        if (off > worst) worst = off, at = x;
    }
    if (worst > 2.0) print_error("exp_f32 is %.3f ulp off at %a\n", worst, (double)at);
    assert_true(worst <= 2.0);
}

static void exp_of_special_values(void **state) {
    (void)state;
    assert_true(exp_f32(0.0f) == 1.0f && exp_f32(-0.0f) == 1.0f);
    assert_true(exp_f32(INFINITY) == INFINITY && exp_f32(-INFINITY) == 0.0f);
    assert_true(exp_f32(88.7f) < INFINITY && exp_f32(88.73f) == INFINITY && exp_f32(3e38f) == INFINITY);
    assert_true(exp_f32(-103.97f) > 0.0f && exp_f32(-104.0f) == 0.0f && exp_f32(-3e38f) == 0.0f);
    assert_true(isnan(exp_f32(NAN)) && isnan(exp_f32(-NAN)));
    assert_true(exp_f32(1e-40f) == 1.0f);
}

/* Lane for lane the scalar function, in every routine that uses it. */
static void exp_is_the_same_in_vectors(void **state) {
    (void)state;
    enum { N = 1003 };
    float *x = random_floats(1, N, 40.0f), y[N];
    x[3] = NAN;
    x[9] = INFINITY;
    x[17] = -INFINITY;
    vec()->exp_scaled(y, DTYPE_F32, x, 1.0f, 0.0f, 1.0f, N);
    for (int i = 0; i < N; i++) {
        float expected = exp_f32(x[i]);
        assert_true(isnan(expected) ? isnan(y[i]) : y[i] == expected);
    }
    mem_free(x);
}

static uint64_t hash_more(uint64_t hash, const void *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) hash = (hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u; /* FNV-1a */
    return hash;
}

/* Hash of what a level's kernels make of fixed inputs. */
static uint64_t level_hash(const struct vec_table *level) {
    enum { N = 777 };
    float *x = random_floats(1, N, 5.0f), *w = random_floats(2, N, 1.0f), y[N], c[7 * 111];
    double sums[3] = {0};
    uint64_t hash = 0xcbf29ce484222325u;
    float root = level->rmsnorm_row(y, DTYPE_F32, x, w, N, 1e-5f);
    hash = hash_more(hash_more(hash, &root, sizeof root), y, sizeof y);
    level->swiglu_row(y, DTYPE_F32, x, w, N);
    hash = hash_more(hash, y, sizeof y);
    level->swiglu_row(y, DTYPE_BF16, x, w, N);
    hash = hash_more(hash, y, N * sizeof(uint16_t));
    level->exp_sums(x, N, 0.7f, 9.0f, &sums[0], &sums[1]);
    sums[2] = level->sum_squares(x, N);
    hash = hash_more(hash, sums, sizeof sums);
    level->mat_mul(c, 111, x, 7, 1, w, 40, 7, 111, 15, false);
    level->pack_keys(y, x, 17, 40, 12);
    hash = hash_more(hash_more(hash, c, sizeof c), y, 12 * 48 * sizeof *y);
    mem_free(x);
    mem_free(w);
    return hash;
}

/* AVX2, AVX-512 and NEON do the same operations in the same order: one hash, whatever the machine. */
static void levels_agree(void **state) {
    (void)state;
    if (cpu_isa() == CPU_REF) skip();
    for (int isa = CPU_REF + 1; isa <= (int)cpu_isa(); isa++)
        assert_true(level_hash(vec_at((enum cpu_isa)isa)) == 0x80e746dfc27e4c60u);
}

static double reference_lse(const float *x, int64_t n, double t, const int32_t *ids, double *entropy) {
    double max = -INFINITY, sum = 0, moment = 0;
    for (int64_t i = 0; i < n; i++) max = fmax(max, (double)x[ids ? ids[i] : i] * t);
    for (int64_t i = 0; i < n; i++) {
        double z = (double)x[ids ? ids[i] : i] * t - max;
        sum += exp(z);
        moment += z > -700 ? exp(z) * z : 0;
    }
    *entropy = log(sum) - moment / sum;
    return max + log(sum);
}

static void lse_and_entropy(void **state) {
    (void)state;
    const int64_t sizes[] = {1, 2, 15, 16, 17, 33, 1000, 1024, 1025, 5000, 49152};
    const float temperatures[] = {1.0f, 0.5f, 1.7f};
    float *x = random_floats(1, 49152, 3.0f);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int t = 0; t < 3; t++) {
            double entropy, expected_entropy, again;
            double lse = softmax_lse(x, sizes[s], temperatures[t], whole, &entropy);
            double expected = reference_lse(x, sizes[s], (double)temperatures[t], NULL, &expected_entropy);
            assert_near(lse, expected, 2e-6);
            assert_near(entropy, expected_entropy, 5e-6);
            again = softmax_lse(x, sizes[s], temperatures[t], whole, NULL);
            assert_true(again == lse);
            if (sizes[s] == 1) assert_true(lse == (double)(x[0] * temperatures[t]) && entropy == 0.0);
        }
    mem_free(x);
}

static void kept_sets(void **state) {
    (void)state;
    const int64_t n_vocab = 20000;
    float *x = random_floats(1, n_vocab, 3.0f);
    int32_t *ids = mem_alloc((size_t)n_vocab, sizeof *ids);
    for (int32_t step = 1; step <= 6000; step *= 9) {
        struct softmax_kept kept = {ids, 0};
        for (int32_t i = 2 % step; i < n_vocab; i += step) ids[kept.n++] = i;
        double entropy, expected_entropy, lse = softmax_lse(x, n_vocab, 0.8f, kept, &entropy);
        assert_near(lse, reference_lse(x, kept.n, (double)0.8f, ids, &expected_entropy), 2e-6);
        assert_near(entropy, expected_entropy, 5e-6);
        if (step == 1) assert_true(lse == softmax_lse(x, n_vocab, 0.8f, whole, NULL)); /* everything kept */
    }
    mem_free(x);
    mem_free(ids);
}

static void broken_and_excluded_logits(void **state) {
    (void)state;
    float x[100];
    double entropy;
    for (int i = 0; i < 100; i++) x[i] = i % 2 ? -INFINITY : 1.0f;
    assert_near(softmax_lse(x, 100, 1.0f, whole, &entropy), 1.0 + log(50.0), 1e-6);
    assert_near(entropy, log(50.0), 1e-6);
    for (int at = 0; at < 100; at += 33) {
        x[at] = NAN;
        assert_true(isnan(softmax_lse(x, 100, 1.0f, whole, &entropy)));
        assert_true(isnan(entropy));
        x[at] = INFINITY;
        assert_true(isnan(softmax_lse(x, 100, 1.0f, whole, NULL)));
        x[at] = at % 2 ? -INFINITY : 1.0f;
    }
    for (int i = 0; i < 100; i++) x[i] = -INFINITY;
    assert_true(isnan(softmax_lse(x, 100, 1.0f, whole, NULL)));
    for (int i = 0; i < 100; i++) x[i] = i % 2 ? 3e38f : -3e38f;
    assert_near(softmax_lse(x, 100, 1.0f, whole, &entropy), (double)3e38f, 1e30);
    assert_near(entropy, log(50.0), 1e-6);
}

enum { ROWS = 23, VOCAB = 3000, LD = 3007 };

static void make_rows(float **logits, int32_t *target, float *coef, struct softmax_kept *kept, int32_t *ids) {
    *logits = random_floats(3, (int64_t)ROWS * LD, 3.0f);
    for (int32_t i = 0; i < ROWS; i++) {
        target[i] = i * 130;
        coef[i] = i % 5 == 4 ? 0.0f : 0.1f * (float)(i - 10);
        kept[i] = whole;
    }
    for (int32_t i = 0; i < 1200; i++) ids[i] = i * 2 + 130;
    kept[1] = (struct softmax_kept){ids, 1200}; /* has its target, 130 */
    kept[3] = (struct softmax_kept){ids, 100};  /* 130..328: lacks 390 */
    kept[2] = (struct softmax_kept){ids, 1200}; /* 260 */
}

static void logprobs(void **state) {
    (void)state;
    float *logits, coef[ROWS], logp[ROWS], lse[ROWS], entropy[ROWS], first[ROWS];
    int32_t target[ROWS], ids[1200];
    struct softmax_kept kept[ROWS];
    make_rows(&logits, target, coef, kept, ids);
    for (int threads = 1; threads <= 3; threads++) {
        threads_set(threads);
        softmax_logprob(logp, lse, entropy, logits, LD, target, kept, ROWS, VOCAB, 0.9f);
        if (threads == 1) memcpy(first, logp, sizeof first);
        assert_same_bits(first, logp, sizeof first);
    }
    for (int i = 0; i < ROWS; i++) {
        double spread, expected = reference_lse(logits + i * LD, kept[i].ids ? kept[i].n : VOCAB, (double)0.9f,
                                                kept[i].ids, &spread);
        assert_near(lse[i], expected, 2e-6);
        assert_near(entropy[i], spread, 5e-6);
        if (i == 3)
            assert_true(logp[i] == -INFINITY);
        else
            assert_near(logp[i], (double)logits[i * LD + target[i]] * (double)0.9f - expected, 3e-6);
        /* the sampler, which works on one row */
        double alone = softmax_lse(logits + i * LD, VOCAB, 0.9f, kept[i], NULL);
        if (i != 3) assert_true(softmax_token(logits[i * LD + target[i]], 0.9f, alone) == logp[i]);
    }
    softmax_logprob(logp, NULL, NULL, logits, LD, target, NULL, ROWS, VOCAB, 0.9f);
    assert_true(logp[0] == first[0] && logp[1] != first[1]);
    mem_free(logits);
}

static void backward_matches_the_definition(void **state) {
    (void)state;
    float *logits, coef[ROWS], logp[ROWS], lse[ROWS];
    int32_t target[ROWS], ids[1200];
    struct softmax_kept kept[ROWS];
    make_rows(&logits, target, coef, kept, ids);
    softmax_logprob(logp, lse, NULL, logits, LD, target, kept, ROWS, VOCAB, 0.9f);
    float *grad = zero_floats(ROWS * VOCAB), *other = zero_floats(ROWS * VOCAB);
    uint16_t *half = mem_alloc(ROWS * VOCAB, sizeof *half);
    memset(grad, 0xff, ROWS * VOCAB * sizeof *grad);
    softmax_backward(grad, DTYPE_F32, logits, LD, lse, target, coef, kept, ROWS, VOCAB, 0.9f);
    for (int i = 0; i < ROWS; i++) {
        double *expected = mem_zalloc(VOCAB, sizeof *expected), spread, c = (double)coef[i] * (double)0.9f;
        int32_t n = kept[i].ids ? kept[i].n : VOCAB;
        double exact = reference_lse(logits + i * LD, n, (double)0.9f, kept[i].ids, &spread);
        for (int32_t j = 0; j < n; j++) {
            int32_t id = kept[i].ids ? kept[i].ids[j] : j;
            expected[id] =
                c * ((id == target[i] ? 1.0 : 0.0) - exp((double)logits[i * LD + id] * (double)0.9f - exact));
        }
        assert_close(grad + i * VOCAB, expected, VOCAB, 1e-6);
        for (int32_t j = 0; j < VOCAB; j++)
            if (expected[j] == 0.0) assert_true(grad[i * VOCAB + j] == 0.0f);
        mem_free(expected);
    }
    for (int threads = 1; threads <= 3; threads++) {
        threads_set(threads);
        softmax_backward(other, DTYPE_F32, logits, LD, lse, target, coef, kept, ROWS, VOCAB, 0.9f);
        assert_same_bits(grad, other, ROWS * VOCAB * sizeof *grad);
    }
    softmax_backward(half, DTYPE_BF16, logits, LD, lse, target, coef, kept, ROWS, VOCAB, 0.9f);
    for (int i = 0; i < ROWS * VOCAB; i++) assert_int_equal(half[i], bf16_from_f32(grad[i]));
    mem_free(half);
    mem_free(grad);
    mem_free(other);
    mem_free(logits);
}

struct differences {
    float *logits;
    const struct softmax_kept *kept;
};

static double summed_logprob(void *context) {
    struct differences *c = context;
    static const int32_t target[2] = {3, 5};
    float logp[2];
    softmax_logprob(logp, NULL, NULL, c->logits, 20, target, c->kept, 2, 20, 1.3f);
    return 0.7 * (double)logp[0] - 2.0 * (double)logp[1];
}

static void backward_by_differences(void **state) {
    (void)state;
    static const int32_t ids[] = {1, 5, 6, 19}, target[2] = {3, 5};
    const struct softmax_kept kept[2] = {{NULL, 0}, {ids, 4}};
    struct differences c = {random_floats(1, 40, 1.0f), kept};
    float logp[2], lse[2], grad[40];
    const float coef[2] = {0.7f, -2.0f};
    softmax_logprob(logp, lse, NULL, c.logits, 20, target, kept, 2, 20, 1.3f);
    softmax_backward(grad, DTYPE_F32, c.logits, 20, lse, target, coef, kept, 2, 20, 1.3f);
    for (int i = 0; i < 40; i++)
        assert_gradient((double)grad[i], slope(summed_logprob, &c, &c.logits[i], 0x1p-6f), 0.5);
    mem_free(c.logits);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_within_two_ulp),
        cmocka_unit_test(exp_of_special_values),
        cmocka_unit_test(exp_is_the_same_in_vectors),
        cmocka_unit_test(levels_agree),
        cmocka_unit_test(lse_and_entropy),
        cmocka_unit_test(kept_sets),
        cmocka_unit_test(broken_and_excluded_logits),
        cmocka_unit_test(logprobs),
        cmocka_unit_test(backward_matches_the_definition),
        cmocka_unit_test(backward_by_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
