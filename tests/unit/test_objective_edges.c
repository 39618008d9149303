/* SPDX-License-Identifier: Apache-2.0
 *
 * Corners of the objective, each worked out on paper; the arithmetic is in the comments.
 */
#include "objective_fixture.h"

static struct fixture *pair(double drift, double a0, double a1) {
    struct fixture *x = fixture_new();
    fixture_add(x, 2, a0, -1, -1 - drift);
    fixture_add(x, 2, a1, -1, -1 - drift);
    return x;
}

static void row(struct fixture *x, const float *to, int n, float *array) {
    memcpy(array, to, (size_t)n * sizeof *to);
    (void)x;
}

/* 1 */ static void delta_zero_drops_any_positive_drift(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_set(x, "mask.delta", "0");
    fixture_add(x, 2, -1, -1, -1);
    fixture_add(x, 2, -1, -1, -1.0000001);
    fixture_add(x, 2, -1, -1, -0.5);
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 1); /* 0 > 0 is false */
    assert_int_equal(x->records[1].keep, 0);
    assert_int_equal(x->records[2].keep, 1);
    free(x);
}

/* 2 */ static void delta_infinity_keeps_everything(void **state) {
    (void)state;
    struct fixture *x = pair(1000, -1, 1);
    fixture_set(x, "mask.delta", "inf");
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 1);
    assert_near(x->metrics.dropped, 0, 0);
    free(x);
}

/* 3 */ static void smallest_negative_advantage_is_negative(void **state) {
    (void)state;
    struct fixture *x = pair(1, -1e-45, 1e-45);
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 0);
    assert_int_equal(x->records[1].keep, 1);
    free(x);
}

/* 4 */ static void empty_sequence_has_no_drift_and_is_kept(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_set(x, "mask.delta", "0");
    fixture_add(x, 0, -1, 0, 0);
    fixture_add(x, 2, 1, -1, -1);
    fixture_ok(x);
    assert_near(x->records[0].drift, 0, 0);
    assert_int_equal(x->records[0].keep, 1);
    /* S of sequence 1 is -1 per token: -(1/2) with N = 2. */
    assert_near(x->result.loss, -0.5, 0);
    free(x);
}

/* 5 */ static void sequence_without_loss_tokens_counts_in_n(void **state) {
    (void)state;
    struct fixture *x = pair(0, 1, -1);
    memset(x->mask, 0, 2);
    fixture_ok(x);
    assert_int_equal(x->records[0].tokens, 0);
    assert_near(x->records[0].loss, 0, 0);
    assert_near(x->result.loss, 0.5, 0); /* -(1)(-1) = 1 per token, over N = 2 */
    free(x);
}

/* 6 */ static void empty_batch(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_ok(x);
    assert_near(x->result.loss, 0, 0);
    assert_near(x->metrics.sequences, 0, 0);
    assert_true(isnan(x->metrics.dropped));
    assert_true(isnan(x->metrics.drift_negative_p50));
    free(x);
}

/* 7 */ static void all_masked_step_has_no_gradient(void **state) {
    (void)state;
    struct fixture *x = pair(1, -1, -2);
    fixture_ok(x);
    assert_near(x->metrics.backward_sequences, 0, 0);
    assert_near(x->metrics.dropped, 1, 0);
    assert_near(x->metrics.dropped_mass, 1, 0);
    assert_near(x->result.loss, 0, 0);
    free(x);
}

/* 8 */ static void all_masked_step_with_kept_denominators_divides_by_one(void **state) {
    (void)state;
    struct fixture *x = pair(1, -1, -2);
    fixture_set(x, "denominator", "kept");
    fixture_set(x, "aggregation", "token_mean");
    fixture_ok(x);
    assert_near(x->result.loss, 0, 0);
    free(x);
}

/* 9: beta = 0.1, c = -2, f = -1: k3 = e - 1 - 1 = 0.718281828, dk3 = 1 - e */
static void masked_sequence_keeps_its_penalty_gradient(void **state) {
    (void)state;
    struct fixture *x = pair(1, -1, -2);
    for (int t = 0; t < 4; t++) x->f[t] = -1;
    x->batch.logp_reference = x->f;
    fixture_set(x, "penalty.beta", "0.1");
    fixture_set(x, "penalty.estimator", "k3");
    fixture_ok(x);
    assert_near(x->result.loss, 0.0718281828, 1e-9);
    assert_near(x->dlogp[0], 0.1 * (1 - exp(1)) / 4, 1e-8);
    assert_near(x->metrics.backward_sequences, 2, 0);
    free(x);
}

/* 10: mean of (-1, 2) is 0.5: the sequence counts as positive and is kept whole */
static void mixed_signs_by_sequence(void **state) {
    (void)state;
    struct fixture *x = pair(1, 0, 0);
    row(x, (float[]){-1, 2, 1, -2}, 4, x->a_token);
    x->batch.token_advantages = x->a_token;
    fixture_set(x, "surrogate.name", "reinforce");
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 1);
    assert_int_equal(x->records[1].keep, 0);
    /* -A c with c = -2: (-1 -> -2), (2 -> 4): (2)/(2*2) = 0.5 */
    assert_near(x->result.loss, 0.5, 0);
    assert_int_equal(x->records[1].dropped_tokens, 2);
    free(x);
}

/* 11: slime's reading: every negative token of a drifted sequence goes, the positive ones stay */
static void mixed_signs_by_token(void **state) {
    (void)state;
    struct fixture *x = pair(1, 0, 0);
    row(x, (float[]){-1, 2, 1, -2}, 4, x->a_token);
    x->batch.token_advantages = x->a_token;
    fixture_set(x, "surrogate.name", "reinforce");
    fixture_set(x, "mask.sign", "token");
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 1);
    assert_int_equal(x->records[1].keep, 1);
    assert_int_equal(x->records[0].dropped_tokens, 1);
    /* tokens 1 (A = 2) and 2 (A = 1): 4/4 + 2/4 */
    assert_near(x->result.loss, 1.5, 0);
    assert_near(x->dlogp[0], 0, 0);
    assert_near(x->dlogp[1], -0.5, 0);
    assert_near(x->metrics.dropped_tokens, 0.5, 0);
    free(x);
}

/* 12: only tokens in the loss decide the sign */
static void sign_ignores_masked_out_advantages(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 2, 0, -1, -2);
    row(x, (float[]){-1, 100}, 2, x->a_token);
    x->mask[1] = 0;
    x->batch.token_advantages = x->a_token;
    fixture_ok(x);
    assert_near(x->records[0].advantage, -1, 0);
    assert_int_equal(x->records[0].keep, 0);
    free(x);
}

/* 13: X of the reductions for b - c = 0.25, 0.5, -0.25: mean 1/6, sum 0.5, max 0.5 */
static void reductions(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 3, -1, -1, -1);
    row(x, (float[]){-1.25f, -1.5f, -0.75f}, 3, x->c);
    const char *names[] = {"mean", "sum", "max"};
    const double expected[] = {1.0 / 6, 0.5, 0.5};
    for (int k = 0; k < 3; k++) {
        fixture_set(x, "mask.reduce", names[k]);
        fixture_ok(x);
        assert_near(x->records[0].drift, expected[k], 1e-15);
    }
    fixture_set(x, "mask.estimator", "abs"); /* max |b - c| */
    fixture_ok(x);
    assert_near(x->records[0].drift, 0.5, 0);
    fixture_set(x, "mask.reduce", "sum");
    fixture_ok(x);
    assert_near(x->records[0].drift, 1.0, 0);
    free(x);
}

/* 14: exp(-X) = 0.78 and 1.28 lie outside [0.8, 1.25], whatever the sign of A; 1 lies inside */
static void geometric_is_two_sided(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 2, 1, -1, -1.25);
    fixture_add(x, 2, -1, -1.25, -1);
    fixture_add(x, 2, -1, -1, -1);
    fixture_set(x, "mask.rule", "geometric");
    fixture_set(x, "mask.low", "0.8");
    fixture_set(x, "mask.high", "1.25");
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 0);
    assert_int_equal(x->records[1].keep, 0);
    assert_int_equal(x->records[2].keep, 1);
    free(x);
}

/* 15: exp(c - b) = 0.37, 1, 7.4 against [0.5, 5]: the middle token stays; is: -r A / 3 with A = 1 */
static void icepop_drops_tokens(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 3, 1, -3, -3);
    row(x, (float[]){-4, -3, -1}, 3, x->c);
    fixture_set(x, "mask.rule", "icepop");
    fixture_set(x, "surrogate.name", "is");
    fixture_ok(x);
    assert_near(x->result.loss, -1.0 / 3, 1e-15);
    assert_int_equal(x->records[0].dropped_tokens, 2);
    assert_int_equal(x->records[0].keep, 1);
    fixture_set(x, "denominator", "kept");
    fixture_ok(x);
    assert_near(x->result.loss, -1, 1e-15); /* one token is left of three */
    free(x);
}

/* 16: (b - c)^2 / 2 = 0.5, 0, 2 against delta = 0.5: equality keeps */
/* A band whose ends are 1: a ratio of 1 lies on both. */
static void bands_keep_their_ends(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 2, 1, -1, -1);
    fixture_set(x, "mask.low", "1");
    fixture_set(x, "mask.high", "1");
    static const char *const rules[] = {"icepop", "outlier", "geometric"};
    for (int k = 0; k < 3; k++) {
        fixture_set(x, "mask.rule", rules[k]);
        x->c[1] = -1;
        fixture_ok(x);
        assert_true(x->records[0].keep && x->records[0].dropped_tokens == 0);
        x->c[1] = nextafterf(-1, 0);
        fixture_ok(x);
        assert_int_equal(x->records[0].dropped_tokens, k == 0 ? 1 : 2);
    }
    free(x);
}

static void token_k2_keeps_equality(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 3, 1, -3, -3);
    row(x, (float[]){-4, -3, -1}, 3, x->c);
    fixture_set(x, "mask.rule", "token_k2");
    fixture_set(x, "mask.delta", "0.5");
    fixture_ok(x);
    assert_int_equal(x->records[0].dropped_tokens, 1);
    free(x);
}

/* 17 */ static void controls(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 2, -1, -1, -1);
    fixture_add(x, 2, 1, -1, -2);
    fixture_add(x, 2, 0, -1, -2);
    fixture_set(x, "mask.rule", "negatives");
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 0);
    assert_int_equal(x->records[1].keep, 1);
    assert_int_equal(x->records[2].keep, 1);
    fixture_set(x, "mask.rule", "positives");
    fixture_ok(x);
    assert_int_equal(x->records[0].keep, 1);
    assert_int_equal(x->records[1].keep, 0);
    assert_int_equal(x->records[2].keep, 1);
    free(x);
}

/* 18: three of eight negatives have drifted: three negatives go, not necessarily those; another step, another draw */
static void random_drops_the_same_number(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    for (int i = 0; i < 12; i++) fixture_add(x, 2, i < 8 ? -1 : 1, -1, i < 3 || i > 8 ? -2 : -1);
    fixture_set(x, "mask.rule", "random");
    int different = 0, first[12];
    for (int step = 0; step < 20; step++) {
        x->batch.step = step;
        fixture_ok(x);
        int dropped = 0;
        for (int i = 0; i < 12; i++) {
            dropped += !x->records[i].keep;
            if (step == 0)
                first[i] = x->records[i].keep;
            else
                different += first[i] != x->records[i].keep;
            if (i >= 8) assert_int_equal(x->records[i].keep, 1);
        }
        assert_int_equal(dropped, 3);
    }
    assert_true(different > 20);
    free(x);
}

/* 18b: at every step as many as opsm, also with values that are not finite: those go with either rule */
static void random_drops_as_many_as_opsm(void **state) {
    (void)state;
    for (int step = 0; step < 300; step++) {
        struct fixture *x = fixture_new();
        for (int i = 0; i < 24; i++) {
            int draw = (int)((unsigned)(step * 7919 + i * 104729) * 2654435761u >> 24);
            double advantage = draw % 3 - 1, now = draw % 11 == 0 && advantage < 0 ? NAN : -1 - (draw % 7) * 0.1;
            fixture_add(x, 1 + draw % 5, advantage, -1, now);
        }
        x->batch.step = step;
        int dropped[2];
        for (int random = 0; random < 2; random++) {
            fixture_set(x, "mask.rule", random ? "random" : "opsm");
            fixture_set(x, "mask.delta", "0.25");
            fixture_ok(x);
            dropped[random] = 0;
            for (int i = 0; i < 24; i++) dropped[random] += !x->records[i].keep;
        }
        assert_int_equal(dropped[1], dropped[0]);
        free(x);
    }
}

/* 18c: positives drops of A exactly what opsm drops of -A */
static void positives_is_the_mirror_image(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    for (int i = 0; i < 21; i++) fixture_add(x, 1 + i % 4, i % 3 - 1, -1, -1 - (i % 7) * 0.1);
    fixture_set(x, "mask.delta", "0.25");
    fixture_ok(x);
    int keep[21], dropped = 0;
    for (int i = 0; i < 21; i++) dropped += !(keep[i] = x->records[i].keep);
    assert_true(dropped > 2);
    for (int i = 0; i < 21; i++) x->advantages[i] = -x->advantages[i];
    fixture_set(x, "mask.rule", "positives");
    fixture_ok(x);
    for (int i = 0; i < 21; i++) assert_int_equal(x->records[i].keep, keep[i]);
    free(x);
}

/* 19: mask.kl with a token rule: the dropped token loses its penalty, the others keep theirs (k1: c - f) */
static void mask_on_the_penalty_by_token(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 2, 0, -3, -3);
    x->c[0] = -1;
    row(x, (float[]){-2, -5}, 2, x->f);
    x->batch.logp_reference = x->f;
    fixture_set(x, "mask.rule", "icepop");
    fixture_set(x, "penalty.beta", "1");
    fixture_set(x, "penalty.estimator", "k1");
    fixture_ok(x);
    assert_near(x->result.loss, (1.0 + 2.0) / 2, 0);
    fixture_set(x, "mask.kl", "true");
    fixture_ok(x);
    assert_near(x->result.loss, 1.0, 0);
    assert_near(x->metrics.kl_ref, 1.5, 0); /* the metric still sees all tokens */
    free(x);
}

/* 20: r = 0.8 and 1.2 exactly at the clip still pass the gradient (ties belong to the unclipped branch) */
static void clip_boundary_passes_gradient(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 1, 1, -1, -1);
    fixture_set(x, "surrogate.clip_high", "0");
    fixture_set(x, "surrogate.clip_low", "0");
    fixture_ok(x);
    assert_near(x->dlogp[0], -1, 0);
    free(x);
}

/* 21: asymmetric clip: A = 1, r = 1.25 is inside 1 + 0.28, outside 1 + 0.2 */
static void clip_higher(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 1, 1, -1, -1 + log(1.25));
    fixture_ok(x);
    assert_near(x->result.loss, -1.2, 1e-15);
    assert_near(x->metrics.clip_high, 1, 0);
    fixture_set(x, "surrogate.clip_high", "0.28");
    fixture_ok(x);
    assert_near(x->result.loss, -1.25, 1e-7);
    assert_near(x->metrics.clip_high, 0, 0);
    free(x);
}

/* 22: min() for A < 0: r = 3 is not clipped, the loss is 3; the dual clip of 2 holds it at 2 without gradient */
static void negative_with_large_ratio(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 1, -1, -3, -3 + log(3));
    fixture_ok(x);
    assert_near(x->result.loss, 3, 1e-6);
    assert_near(x->dlogp[0], 3, 1e-6);
    fixture_set(x, "surrogate.dual_clip", "2");
    fixture_ok(x);
    assert_near(x->result.loss, 2, 0);
    assert_near(x->dlogp[0], 0, 0);
    free(x);
}

/* 23: tis with cap 2: r = 4 -> weight 2; S = -2 A c = 2 * 1.5 * ... A = 0.5, c = -1: S = 1 */
static void tis_caps_the_weight(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 1, 0.5, -1 - log(4), -1);
    fixture_set(x, "surrogate.name", "tis");
    fixture_ok(x);
    assert_near(x->result.loss, 1, 1e-15);
    assert_near(x->dlogp[0], -1, 0);
    assert_near(x->metrics.clip_high, 1, 0);
    free(x);
}

/* 24: cispo clips the weight from both sides and never stops the gradient: r = 0.5 -> 0.8 */
static void cispo_keeps_gradient(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 1, -1, -1 + log(2), -1);
    fixture_set(x, "surrogate.name", "cispo");
    fixture_set(x, "mask.rule", "none");
    fixture_ok(x);
    assert_near(x->dlogp[0], 0.8, 1e-7);
    assert_near(x->result.loss, -0.8, 1e-15);
    free(x);
}

/* 25: gspo: log s = mean(0.3, -0.1) = 0.1, s = 1.105171; S = -s A per token, dL/dc = -s A / (N n) */
static void gspo_uses_the_sequence_ratio(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 2, 1, -1, -1);
    row(x, (float[]){-0.75f, -1.125f}, 2, x->c); /* +0.25, -0.125: mean 0.0625 */
    fixture_set(x, "surrogate.name", "gspo");
    fixture_ok(x);
    double s = exp(0.0625);
    assert_near(x->result.loss, -s, 1e-15);
    assert_near(x->dlogp[0], -s / 2, 1e-7);
    assert_near(x->dlogp[1], -s / 2, 1e-7);
    fixture_set(x, "surrogate.clip_high", "0.01");
    fixture_ok(x);
    assert_near(x->result.loss, -1.01, 1e-15);
    assert_near(x->dlogp[0], 0, 0);
    assert_near(x->metrics.clip_high, 1, 0);
    free(x);
}

/* 26: sapo at r = 1: gate 1/2: S = -(4/tau) A / 2: A = 1 -> -2, A = -1 -> +2/1.05; slope -4/4 r A = -+1 */
static void sapo_at_one(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 1, 1, -1, -1);
    fixture_add(x, 1, -1, -1, -1);
    fixture_set(x, "surrogate.name", "sapo");
    fixture_ok(x);
    assert_near(x->records[0].surrogate * 2, -2, 1e-15);
    assert_near(x->records[1].surrogate * 2, 2 / 1.05, 1e-15);
    assert_near(x->dlogp[0] * 2, -1, 0);
    assert_near(x->dlogp[1] * 2, 1, 0);
    free(x);
}

/* 27: decoupled: exp(c - p) = 1, exp(p - b) = e -> capped at 2: S = -2 A */
static void decoupled_caps_the_behavior_weight(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 1, 1, -2, -1);
    x->p[0] = -1;
    x->batch.logp_trainer = x->p;
    fixture_set(x, "surrogate.name", "decoupled");
    fixture_ok(x);
    assert_near(x->result.loss, -2, 0);
    assert_near(x->dlogp[0], -2, 0);
    free(x);
}

/* 28: dpo, beta 0.1: z = 0.1 ((−1+2) − (−3+1)) = 0.3; loss log(1 + exp(-0.3)) = 0.554355 */
static void dpo_pair(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 1, 1, -1, -1);
    fixture_add(x, 1, -1, -3, -3);
    fixture_add(x, 1, 0, -1, -1);
    row(x, (float[]){-2, -1, -7}, 3, x->f);
    x->batch.logp_reference = x->f;
    fixture_set(x, "surrogate.name", "dpo");
    fixture_ok(x);
    assert_near(x->result.loss, 0.554355244, 1e-9);
    double g = -0.1 / (1 + exp(0.3));
    assert_near(x->dlogp[0], g, 1e-8);
    assert_near(x->dlogp[1], -g, 1e-8);
    assert_near(x->dlogp[2], 0, 0);
    x->c[1] = -4; /* the loser has drifted: the pair goes, with it the winner's gradient */
    fixture_ok(x);
    assert_near(x->result.loss, 0, 0);
    assert_near(x->metrics.backward_sequences, 0, 0);
    free(x);
}

/* 29: equal advantages make no pair; the mean runs over the pairs that exist */
static void dpo_group_of_equals(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    for (int i = 0; i < 4; i++) {
        fixture_add(x, 1, i < 2 ? 1 : i - 2.5, -1, -1);
        x->groups[i] = i / 2;
        x->f[i] = -1;
    }
    x->batch.logp_reference = x->f;
    fixture_set(x, "surrogate.name", "dpo");
    fixture_ok(x);
    assert_near(x->result.loss, log(2), 1e-15);
    assert_near(x->dlogp[0], 0, 0);
    free(x);
}

/* 30: unbiased at c = -1, b = -1 - log 2, f = -3: r = 2, k3 = exp(-2) + 2 - 1 = 1.135335; K = 2.270671, dK = 2 (c-f) =
 * 4 */
static void unbiased_penalty(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 1, 0, -1 - log(2), -1);
    x->f[0] = -3;
    x->batch.logp_reference = x->f;
    fixture_set(x, "penalty.beta", "1");
    fixture_ok(x);
    assert_near(x->result.loss, 2.270670566, 1e-6);
    assert_near(x->dlogp[0], 4, 1e-6);
    free(x);
}

/* 31: the clamp is one-sided: f - c = 15 is held at 10 without gradient, f - c = -15 is not touched */
static void clamp_is_one_sided(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 2, 0, -16, -16);
    row(x, (float[]){-1, -31}, 2, x->f);
    x->batch.logp_reference = x->f;
    fixture_set(x, "penalty.beta", "1");
    fixture_set(x, "penalty.estimator", "k3");
    fixture_set(x, "penalty.clamp", "10");
    fixture_ok(x);
    /* k3(-15) = 14 + 3e-7 stays: (10 + 14.0000003) / 2 */
    assert_near(x->result.loss, 12.00000015, 1e-8);
    assert_near(x->dlogp[0], 0, 0);
    assert_near(x->dlogp[1], 0.5, 1e-6);
    assert_near(x->metrics.kl_ref, (exp(15) - 16 + 14) / 2, 1e-3);
    free(x);
}

/* 32: lengths 1 and 3, S = -1 per token: sequence_mean -1, token_mean -1, constant -4 / (2 * 3) and / (2 * 8) */
static void aggregations(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 1, 1, -1, -1);
    fixture_add(x, 3, 2, -1, -1);
    const char *names[] = {"sequence_mean", "token_mean", "constant"};
    const double expected[] = {-1.5, -7.0 / 4, -7.0 / 6};
    for (int k = 0; k < 3; k++) {
        fixture_set(x, "aggregation", names[k]);
        fixture_ok(x);
        assert_near(x->result.loss, expected[k], 1e-15);
    }
    fixture_set(x, "max_length", "8");
    fixture_ok(x);
    assert_near(x->result.loss, -7.0 / 16, 1e-15);
    free(x);
}

/* 33: constant's L_max is the longest array, prompt included; the mask does not shorten it */
static void longest_array_counts_masked_tokens(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 4, 1, -1, -1);
    x->mask[0] = x->mask[1] = 0;
    fixture_set(x, "aggregation", "constant");
    fixture_ok(x);
    assert_near(x->result.loss, -0.5, 0);
    free(x);
}

/* 34: kappa 0.02, z 2, n = 4: 0.02 + 2 sqrt(0.04 / 4) = 0.22; n = 100: 0.02 + 2 sqrt(0.0004) = 0.06 */
static void length_policy(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 4, -1, -1, -1.125);
    fixture_add(x, 100, -1, -1, -1.125);
    fixture_set(x, "mask.policy", "length");
    fixture_set(x, "mask.kappa", "0.02");
    fixture_ok(x);
    assert_near(x->records[0].delta, 0.22, 1e-15);
    assert_near(x->records[1].delta, 0.06, 1e-15);
    assert_int_equal(x->records[0].keep, 1);
    assert_int_equal(x->records[1].keep, 0);
    free(x);
}

/* 35: ESS of weights 1 and e^-1 (one token each): (1 + 0.367879)^2 / (2 (1 + 0.135335)) = 0.824027 */
static void effective_sample_size(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 1, 1, -1, -1);
    fixture_add(x, 1, -1, -1, -2);
    fixture_ok(x);
    assert_near(x->metrics.ess, 0.824027137, 1e-9);
    assert_near(opsm_guard_scale(&x->config, 0.25), 1, 0);
    fixture_set(x, "guard", "ess");
    assert_near(opsm_guard_scale(&x->config, 0.25), 0.5, 0);
    assert_near(opsm_guard_scale(&x->config, NAN), 1, 0);
    fixture_set(x, "guard_base", "0.5");
    assert_near(opsm_guard_scale(&x->config, 0.125), 0.5, 0);
    assert_near(opsm_guard_scale(&x->config, 0.9), 1, 0);
    assert_near(opsm_guard_factor(&x->config, NULL, x->records, 2), 1, 0);
    fixture_set(x, "guard_base", "1");
    assert_near(opsm_guard_factor(&x->config, NULL, x->records, 2), sqrt(0.824027137), 1e-9);
    free(x);
}

/* 35b: of six sequences one negative has drifted and one is not finite; two have no advantage: 2 of 4 are kept. Loss
 * and gradient are those without guard. */
static void the_guard_brakes_by_what_opsm_would_keep(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 2, -1, -1, -1.5);
    fixture_add(x, 2, -1, -1, -1.2);
    fixture_add(x, 2, 1, -1, -1.5);
    fixture_add(x, 2, 0, -1, -1.5);
    fixture_add(x, 2, 0, -1, -1);
    fixture_add(x, 2, -1, -1, NAN);
    fixture_set(x, "mask.rule", "none");
    fixture_set(x, "mask.delta", "0.3");
    fixture_ok(x);
    double loss = x->result.loss;
    assert_near(opsm_guard_factor(&x->config, NULL, x->records, 6), 1, 0);
    fixture_set(x, "guard", "kept");
    fixture_ok(x);
    assert_near(x->result.loss, loss, 0);
    for (int i = 0; i < 5; i++) assert_int_equal(x->records[i].keep, 1);
    assert_near(opsm_guard_factor(&x->config, NULL, x->records, 6), 0.5, 0);
    assert_near(opsm_kept_share(x->records, 6), 0.5, 0);
    assert_near(opsm_guard_factor(&x->config, NULL, x->records + 3, 2), 1, 0); /* nothing to measure */
    assert_near(opsm_guard_factor(&x->config, NULL, x->records, 1), 0, 0);
    fixture_set(x, "mask.delta", "off");
    fixture_ok(x);
    assert_near(opsm_guard_factor(&x->config, NULL, x->records, 5), 1, 0);
    fixture_set(x, "mask.rule", "opsm"); /* what opsm keeps, it keeps */
    fixture_set(x, "mask.delta", "0.3");
    fixture_ok(x);
    int kept = 0;
    for (int i = 0; i < 6; i++) kept += x->records[i].keep && x->advantages[i] != 0;
    assert_near(opsm_kept_share(x->records, 6), kept / 4.0, 0);
    x->batch.logp_behavior = NULL;
    fixture_set(x, "mask.rule", "none");
    assert_int_equal(fixture_run(x), OPSM_MISSING);
    assert_non_null(strstr(x->err.text, "guard = kept"));
    free(x);
}

/* 36: quantiles of drift 0.125, 0.25, 0.5 of the negatives: p50 0.25, p90 = 0.25 + 0.8 * 0.25 = 0.45 */
static void drift_quantiles(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 1, -1, -1, -1.5);
    fixture_add(x, 1, -1, -1, -1.125);
    fixture_add(x, 1, -1, -1, -1.25);
    fixture_add(x, 1, 1, -1, -0.5);
    fixture_ok(x);
    assert_near(x->metrics.drift_negative_p50, 0.25, 0);
    assert_near(x->metrics.drift_negative_p90, 0.45, 1e-15);
    assert_near(x->metrics.drift_negative_mean, 0.875 / 3, 1e-15);
    assert_near(x->metrics.drift_positive_p99, -0.5, 0);
    free(x);
}

/* 37: GAE by hand, gamma 0.5, lambda 0.5, V = 1, 2, 4, final reward 8, the middle token outside the loss:
 *     last: 8 - 4 = 4; first: 0.5 * 4 - 1 + 0.25 * 4 = 2 */
static void gae_steps_over_masked_tokens(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    opsm_error err = {0};
    fixture_add(x, 3, 0, -1, -1);
    x->mask[1] = 0;
    const float values[] = {1, 2, 4}, final[] = {8};
    float a[3], returns[3];
    assert_ok(opsm_gae(&x->batch, values, NULL, final, 0.5, 0.5, a, returns, &err));
    assert_near(a[0], 2, 0);
    assert_near(a[1], 0, 0);
    assert_near(a[2], 4, 0);
    assert_near(returns[0], 3, 0);
    assert_near(returns[2], 8, 0);
    assert_int_equal(opsm_gae(&x->batch, values, NULL, final, 1.5, 0.5, a, NULL, &err), OPSM_INVALID);
    assert_int_equal(opsm_gae(&x->batch, values, NULL, final, 0.5, -0.1, a, NULL, &err), OPSM_INVALID);
    assert_ok(opsm_gae(&x->batch, values, NULL, final, 0, 0, a, NULL, &err));
    assert_ok(opsm_gae(&x->batch, values, NULL, final, 1, 1, a, NULL, &err));
    free(x);
}

/* 38: group of equal rewards (0.1 is not exact) is exactly zero; mean, batch; a group of one */
static void advantages_of_equal_rewards(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    opsm_error err = {0};
    opsm_group_stats stats;
    row(x, (float[]){0.1f, 0.1f, 0.1f, 5, 1, 2}, 6, x->rewards);
    memcpy(x->groups, (int64_t[]){3, 3, 3, 9, 4, 4}, 6 * sizeof(int64_t));
    x->batch.rewards = x->rewards;
    x->batch.n_sequences = 6;
    float a[6];
    const char *rules[] = {"mean", "grpo", "rloo", "batch"};
    for (int k = 0; k < 4; k++) {
        fixture_set(x, "advantage", rules[k]);
        assert_ok(opsm_advantages(&x->config, &x->batch, a, &stats, x->workspace, sizeof x->workspace, &err));
        for (int i = 0; i < 4; i++) assert_true(a[i] == 0);
        assert_int_equal(stats.groups, 3);
        assert_int_equal(stats.zero_groups, 2);
    }
    /* batch: +-0.5 / (std of all rewards + 1e-4); mean 8.3 / 6, squares 18.548333, over 5, root 1.9260495 */
    assert_near(a[5], 0.5 / (1.9260495 + 1e-4), 1e-6);
    free(x);
}

/* 39: the last bit of a ratio does not depend on how much padding lies between the loss tokens */
static void padding_does_not_change_bits(void **state) {
    (void)state;
    struct fixture *x = fixture_new(), *y = fixture_new();
    fixture_add(x, 700, -1, -1, -1);
    fixture_add(y, 2100, -1, -1, -1);
    memset(y->mask, 0, 2100);
    for (int t = 0, at = 0; t < 700; t++, at += 1 + t % 4) {
        x->c[t] = y->c[at] = (float)(-1 - 0.001 * (t % 37));
        y->mask[at] = 1;
        for (int gap = 1; gap <= t % 4; gap++) y->c[at + gap] = NAN;
    }
    fixture_set(x, "mask.rule", "none");
    fixture_set(y, "mask.rule", "none");
    fixture_ok(x);
    fixture_ok(y);
    assert_int_equal(y->records[0].tokens, 700);
    assert_true(x->result.loss == y->result.loss);
    assert_true(x->records[0].drift == y->records[0].drift);
    for (int t = 0, at = 0; t < 700; t++, at += 1 + t % 4) assert_true(x->dlogp[t] == y->dlogp[at]);
    free(x);
    free(y);
}

/* 43 */ static void mean_of_equal_thresholds_is_exact(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_set(x, "mask.delta", "0.03"); /* 64 times 0.03, rounded 64 times, over 64 is not 0.03 */
    for (int i = 0; i < FIX_ROWS; i++) fixture_add(x, 1, -1, -1, -1);
    fixture_ok(x);
    assert_true(x->metrics.delta == 0.03);
    free(x);
}

/* 40: metrics of lag, length, entropy */
static void other_metrics(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_add(x, 1, 1, -1, -1);
    fixture_add(x, 3, -1, -1, -1);
    const int64_t lag[] = {2, 5};
    const float entropy[] = {1, 2, 3, 4};
    x->batch.lag = lag;
    x->batch.entropy = entropy;
    x->groups[1] = 1;
    x->mask[3] = 0;
    fixture_ok(x);
    assert_near(x->metrics.lag_mean, 3.5, 0);
    assert_near(x->metrics.lag_max, 5, 0);
    assert_near(x->metrics.length_mean, 1.5, 0);
    assert_near(x->metrics.entropy, 2, 0);
    const float known_in_part[] = {1, NAN, 3, 4}; /* unknown for the second sequence, which then does not count */
    x->batch.entropy = known_in_part;
    fixture_ok(x);
    assert_near(x->metrics.entropy, 1, 0);
    assert_near(x->metrics.groups, 2, 0);
    assert_near(x->metrics.skipped_groups, 0, 0);
    assert_string_equal(opsm_metrics_name(0), "loss");
    assert_null(opsm_metrics_name(opsm_metrics_count()));
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delta_zero_drops_any_positive_drift),
        cmocka_unit_test(delta_infinity_keeps_everything),
        cmocka_unit_test(smallest_negative_advantage_is_negative),
        cmocka_unit_test(empty_sequence_has_no_drift_and_is_kept),
        cmocka_unit_test(sequence_without_loss_tokens_counts_in_n),
        cmocka_unit_test(empty_batch),
        cmocka_unit_test(all_masked_step_has_no_gradient),
        cmocka_unit_test(all_masked_step_with_kept_denominators_divides_by_one),
        cmocka_unit_test(masked_sequence_keeps_its_penalty_gradient),
        cmocka_unit_test(mixed_signs_by_sequence),
        cmocka_unit_test(mixed_signs_by_token),
        cmocka_unit_test(sign_ignores_masked_out_advantages),
        cmocka_unit_test(reductions),
        cmocka_unit_test(geometric_is_two_sided),
        cmocka_unit_test(icepop_drops_tokens),
        cmocka_unit_test(bands_keep_their_ends),
        cmocka_unit_test(token_k2_keeps_equality),
        cmocka_unit_test(controls),
        cmocka_unit_test(random_drops_the_same_number),
        cmocka_unit_test(random_drops_as_many_as_opsm),
        cmocka_unit_test(positives_is_the_mirror_image),
        cmocka_unit_test(mask_on_the_penalty_by_token),
        cmocka_unit_test(clip_boundary_passes_gradient),
        cmocka_unit_test(clip_higher),
        cmocka_unit_test(negative_with_large_ratio),
        cmocka_unit_test(tis_caps_the_weight),
        cmocka_unit_test(cispo_keeps_gradient),
        cmocka_unit_test(gspo_uses_the_sequence_ratio),
        cmocka_unit_test(sapo_at_one),
        cmocka_unit_test(decoupled_caps_the_behavior_weight),
        cmocka_unit_test(dpo_pair),
        cmocka_unit_test(dpo_group_of_equals),
        cmocka_unit_test(unbiased_penalty),
        cmocka_unit_test(clamp_is_one_sided),
        cmocka_unit_test(aggregations),
        cmocka_unit_test(longest_array_counts_masked_tokens),
        cmocka_unit_test(length_policy),
        cmocka_unit_test(effective_sample_size),
        cmocka_unit_test(the_guard_brakes_by_what_opsm_would_keep),
        cmocka_unit_test(drift_quantiles),
        cmocka_unit_test(gae_steps_over_masked_tokens),
        cmocka_unit_test(advantages_of_equal_rewards),
        cmocka_unit_test(padding_does_not_change_bits),
        cmocka_unit_test(mean_of_equal_thresholds_is_exact),
        cmocka_unit_test(other_metrics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
