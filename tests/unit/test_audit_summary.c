/* SPDX-License-Identifier: Apache-2.0
 *
 * Every field of the audit's summary against what plain loops over the same rows say.
 */
#include "audit_fixture.h"

enum { ROWS = 36 };

/* Rows of one drift throughout: b = -1 at each token and c = -1 - drift, drifts in 64ths and exact. */
struct rows {
    int n[ROWS], group[ROWS];
    double drift[ROWS], advantage[ROWS];
};

static struct rows make_rows(void) {
    struct rows x;
    srand(5);
    for (int i = 0; i < ROWS; i++) {
        x.n[i] = 1 + rand() % 7;
        x.group[i] = i / 3;
        x.drift[i] = (double)(rand() % 40 - 12) / 64;
        x.advantage[i] = i / 3 == 4 ? 0 : (double)(rand() % 9 - 4) / 4;
    }
    return x;
}

static void write_rows(const struct rows *x) {
    FILE *out = fopen(audit_path, "w");
    assert_non_null(out);
    for (int i = 0; i < ROWS; i++) {
        fprintf(out, "{\"group\":\"g%d\",\"advantage\":%g", x->group[i], x->advantage[i]);
        for (int side = 0; side < 2; side++) {
            fprintf(out, ",\"%s\":[", side ? "logp_current" : "logp_behavior");
            for (int t = 0; t < x->n[i]; t++) fprintf(out, "%s%.17g", t ? "," : "", side ? -1 - x->drift[i] : -1);
            fputs("]", out);
        }
        fputs("}\n", out);
    }
    assert_int_equal(fclose(out), 0);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The drifts of one sign, sorted; how many. */
static int drifts_of(const struct rows *x, int sign, double *drifts) {
    int n = 0;
    for (int i = 0; i < ROWS; i++)
        if (x->advantage[i] * sign > 0) drifts[n++] = x->drift[i];
    qsort(drifts, (size_t)n, sizeof *drifts, ascending);
    return n;
}

/* numpy's default. */
static double quantile(const double *sorted, int n, double q) {
    double at = q * (n - 1);
    int low = (int)floor(at), high = (int)ceil(at);
    return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
}

static double mean(const double *x, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += x[i];
    return sum / n;
}

/* Mean drift of the negatives that a threshold keeps. */
static double kept_mean(const double *drifts, int n, double delta) {
    int kept = 0;
    while (kept < n && drifts[kept] <= delta) kept++;
    return mean(drifts, kept);
}

/* ---- metrics ---- */

/* The rows as a threshold sees them, and what is added up over some of them. */
struct seen {
    bool all[ROWS], negative[ROWS], positive[ROWS], dropped[ROWS], kept[ROWS], low[ROWS], high[ROWS], above_zero[ROWS];
    double one[ROWS], tokens[ROWS], mass[ROWS], drift[ROWS], k3[ROWS], weight[ROWS], surrogate[ROWS];
};

static struct seen see(const struct rows *x, double delta) {
    struct seen s;
    for (int i = 0; i < ROWS; i++) {
        double a = x->advantage[i], d = x->drift[i], r = exp(-d);
        s.all[i] = true;
        s.negative[i] = a < 0;
        s.positive[i] = a > 0;
        s.dropped[i] = a < 0 && d > delta;
        s.kept[i] = a < 0 && !(d > delta);
        s.low[i] = a < 0 && r < 0.8;
        s.high[i] = a > 0 && r > 1.2;
        s.above_zero[i] = d < -1;
        s.one[i] = 1;
        s.tokens[i] = x->n[i];
        s.mass[i] = fabs(a);
        s.drift[i] = d;
        s.k3[i] = r - 1 + d;
        s.weight[i] = fmin(exp(-d * x->n[i]), 8);
        s.surrogate[i] = s.dropped[i] ? 0 : -fmin(r * a, fmin(fmax(r, 0.8), 1.2) * a) / ROWS;
    }
    return s;
}

static double over(const bool *which, const double *amount) {
    double sum = 0;
    for (int i = 0; i < ROWS; i++) sum += which[i] ? amount[i] : 0;
    return sum;
}

static void metrics_are_those_of_the_rows(void **state) {
    (void)state;
    struct rows x = make_rows();
    struct seen s = see(&x, 0.125);
    double drifts[2][ROWS];
    int n[2] = {drifts_of(&x, -1, drifts[0]), drifts_of(&x, 1, drifts[1])};
    write_rows(&x);
    struct audit_options *options = audit_options_new();
    audit_set(options, "mask.delta", "0.125");
    json_t *root = audit_json(options, OPSM_OK), *m = json_object_get(root, "metrics");
    double tokens = over(s.all, s.tokens), dropped = over(s.dropped, s.one);
    double weights = over(s.all, s.weight), squares = 0, largest = 0, idle = 0;
    for (int i = 0; i < ROWS; i++) {
        squares += s.weight[i] * s.weight[i];
        largest = fmax(largest, exp(-x.drift[i]));
        idle += s.high[i] || s.low[i] || x.advantage[i] == 0 || s.dropped[i]; /* clipped, nothing to say, or dropped */
    }
    assert_true(dropped > 2 && dropped < n[0]);
    assert_same(audit_number(m, "surrogate"), over(s.all, s.surrogate));
    assert_same(audit_number(m, "loss"), over(s.all, s.surrogate));
    assert_same(audit_number(root, "loss"), over(s.all, s.surrogate));
    assert_same(audit_number(root, "surrogate"), over(s.all, s.surrogate));
    assert_same(audit_number(m, "penalty"), 0);
    assert_same(audit_number(root, "penalty"), 0);
    assert_true(isnan(audit_number(m, "kl_ref")) && isnan(audit_number(m, "entropy")));
    assert_true(isnan(audit_number(m, "lag_mean")) && isnan(audit_number(m, "lag_max")));
    static const char *const signs[] = {"negative", "positive"};
    static const double levels[] = {0.1, 0.5, 0.9, 0.99};
    for (int k = 0; k < 2; k++) {
        char name[40];
        snprintf(name, sizeof name, "drift_%s_mean", signs[k]);
        assert_same(audit_number(m, name), mean(drifts[k], n[k]));
        for (int q = 0; q < 4; q++) {
            snprintf(name, sizeof name, "drift_%s_p%d", signs[k], (int)(100 * levels[q]));
            assert_same(audit_number(m, name), quantile(drifts[k], n[k], levels[q]));
        }
    }
    assert_same(audit_number(m, "drift_mean"), over(s.all, s.drift) / ROWS);
    assert_same(audit_number(m, "drift_k3"), over(s.all, s.k3) / ROWS);
    assert_same(audit_number(m, "drift_kept_negative"), over(s.kept, s.drift) / over(s.kept, s.one));
    assert_same(audit_number(m, "dropped"), dropped / ROWS);
    assert_same(audit_number(m, "dropped_negatives"), dropped / n[0]);
    assert_same(audit_number(m, "dropped_tokens"), over(s.dropped, s.tokens) / tokens);
    assert_same(audit_number(m, "dropped_mass"), over(s.dropped, s.mass) / over(s.all, s.mass));
    assert_same(audit_number(m, "delta"), 0.125);
    assert_same(audit_number(m, "clip_low"), over(s.low, s.tokens) / tokens);
    assert_same(audit_number(m, "clip_high"), over(s.high, s.tokens) / tokens);
    assert_same(audit_number(m, "ratio_max"), largest);
    assert_same(audit_number(m, "ess"), weights * weights / (ROWS * squares));
    assert_same(audit_number(m, "nonfinite"), 0);
    assert_same(audit_number(m, "positive_logp"), over(s.above_zero, s.one));
    assert_same(audit_number(m, "sequences"), ROWS);
    assert_same(audit_number(m, "negatives"), n[0]);
    assert_same(audit_number(m, "positives"), n[1]);
    assert_same(audit_number(m, "tokens"), tokens);
    assert_same(audit_number(m, "groups"), ROWS / 3);
    assert_same(audit_number(m, "skipped_groups"), 1);
    assert_same(audit_number(m, "backward_sequences"), ROWS - idle);
    assert_same(audit_number(m, "length_mean"), tokens / ROWS);
    assert_same(audit_number(root, "decline"), 1 - over(s.positive, s.weight) / n[1]);
    assert_true(isnan(audit_number(root, "noise_floor.first_step")));
    assert_true(isnan(audit_number(root, "noise_floor.recomputed")));
    json_decref(root);
    free(options);
}

static void thresholds_drop_what_lies_beyond_them(void **state) {
    (void)state;
    struct rows x = make_rows();
    write_rows(&x);
    struct audit_options *options = audit_options_new();
    static const double deltas[] = {-0.5, 0.125, 0.25, INFINITY};
    memcpy(options->deltas, deltas, sizeof deltas);
    options->n_deltas = 4;
    json_t *root = audit_json(options, OPSM_OK), *thresholds = json_object_get(root, "thresholds");
    assert_int_equal(json_array_size(thresholds), 4);
    for (size_t k = 0; k < 4; k++) {
        const json_t *threshold = json_array_get(thresholds, k);
        double delta = deltas[k];
        struct seen s = see(&x, delta);
        double dropped = over(s.dropped, s.one);
        if (isfinite(delta))
            assert_same(audit_number(threshold, "delta"), delta);
        else
            assert_true(isnan(audit_number(threshold, "delta")) && dropped == 0);
        assert_same(audit_number(threshold, "sequences"), dropped);
        assert_same(audit_number(threshold, "dropped"), dropped / ROWS);
        assert_same(audit_number(threshold, "dropped_negatives"), dropped / over(s.negative, s.one));
        assert_same(audit_number(threshold, "dropped_tokens"), over(s.dropped, s.tokens) / over(s.all, s.tokens));
        assert_same(audit_number(threshold, "dropped_mass"), over(s.dropped, s.mass) / over(s.all, s.mass));
        assert_int_equal(json_object_size(threshold), 6);
    }
    json_decref(root);
    free(options);
}

/* ---- policies ---- */

static json_t *policies_of(struct audit_options *options, const char *key, const char *value) {
    if (key) audit_set(options, key, value);
    json_t *root = audit_json(options, OPSM_OK), *policies = json_incref(json_object_get(root, "policies"));
    json_decref(root);
    assert_int_equal(json_object_size(policies), 4);
    return policies;
}

static void policies_settle_where_they_say(void **state) {
    (void)state;
    struct rows x = make_rows();
    double drifts[ROWS], total = 0;
    int n = drifts_of(&x, -1, drifts);
    x.n[0] += 20; /* the mean length rounds up */
    write_rows(&x);
    for (int i = 0; i < ROWS; i++) total += x.n[i];
    double length = total / ROWS;
    assert_true(length - floor(length) > 0.5);
    struct audit_options *options = audit_options_new();
    audit_set(options, "mask.floor", "0.002");
    audit_set(options, "mask.ceiling", "0.6");
    audit_set(options, "mask.budget", "1.5");
    audit_set(options, "mask.kappa", "0.02");
    audit_set(options, "mask.z", "1.5");

    static const char *const targets[] = {"0.01", "0.05", "0.12"};
    static const char *const shares[] = {"0.5", "0.8", "0.9"};
    for (int k = 0; k < 3; k++) {
        audit_set(options, "mask.quantile", shares[k]);
        json_t *policies = policies_of(options, "mask.target", targets[k]);
        assert_same(audit_number(policies, "auto"), 1.5 / round(length));
        assert_same(audit_number(policies, "length"), 0.02 + 1.5 * sqrt(2 * 0.02 / length));
        assert_same(audit_number(policies, "quantile"), quantile(drifts, n, atof(shares[k])));
        double delta = audit_number(policies, "controller"), target = atof(targets[k]);
        assert_true(delta > 0.002 && delta < 0.6);
        /* Just below it the kept negatives drift by the target at most, at it by more. */
        assert_true(kept_mean(drifts, n, delta - 1e-9) <= target);
        assert_true(kept_mean(drifts, n, delta) > target);
        json_decref(policies);
    }
    free(options);
}

static void policies_stay_between_floor_and_ceiling(void **state) {
    (void)state;
    struct rows x = make_rows();
    write_rows(&x);
    struct audit_options *options = audit_options_new();
    audit_set(options, "mask.floor", "0.3");
    audit_set(options, "mask.quantile", "0.1");
    json_t *policies = policies_of(options, "mask.target", "0.01");
    assert_same(audit_number(policies, "quantile"), 0.1); /* the ceiling wins */
    assert_same(audit_number(policies, "controller"), 0.1);
    json_decref(policies);
    policies = policies_of(options, "mask.ceiling", "0.35");
    assert_same(audit_number(policies, "quantile"), 0.3);
    assert_same(audit_number(policies, "controller"), 0.3);
    json_decref(policies);
    audit_set(options, "mask.quantile", "1");
    policies = policies_of(options, "mask.target", "5");
    assert_same(audit_number(policies, "quantile"), 0.35);
    assert_same(audit_number(policies, "controller"), 0.35);
    json_decref(policies);
    free(options);
}

/* A threshold below the noise of the engine would drop on noise alone. */
static void noise_lifts_the_floor(void **state) {
    (void)state;
    char text[2000] = "";
    for (int i = 0; i < 8; i++) {
        char row[200];
        snprintf(row, sizeof row,
                 "{\"group\":1,\"advantage\":-1,\"step\":0,\"logp_behavior\":[-1],\"logp_current\":[%g]}\n",
                 i < 5 ? -1.0625 : -0.9375);
        strcat(text, row);
    }
    audit_write(text);
    struct audit_options *options = audit_options_new();
    double noise = 0.015625 + 3 * 0.0625 * sqrt((8 - 0.5) / 7); /* mean and spread of 5 up, 3 down */
    audit_set(options, "mask.quantile", "0.1");
    json_t *policies = policies_of(options, "mask.ceiling", "0.5");
    assert_same(audit_number(policies, "quantile"), noise);
    assert_same(audit_number(policies, "controller"), noise);
    json_decref(policies);
    free(options);
}

static void without_negatives_nothing_is_said_of_them(void **state) {
    (void)state;
    audit_write("{\"group\":1,\"advantage\":1,\"logp_behavior\":[-1],\"logp_current\":[-1.5]}\n");
    struct audit_options *options = audit_options_new();
    json_t *root = audit_json(options, OPSM_OK);
    assert_true(isnan(audit_number(root, "policies.quantile")) && isnan(audit_number(root, "policies.controller")));
    assert_true(isnan(audit_number(root, "metrics.delta")) && isnan(audit_number(root, "metrics.drift_negative_p50")));
    assert_same(audit_number(root, "decline"), 1 - exp(-0.5));
    json_decref(root);
    audit_write("{\"group\":1,\"advantage\":-1,\"logp_behavior\":[-1],\"logp_current\":[-1.5]}\n");
    root = audit_json(options, OPSM_OK);
    assert_same(audit_number(root, "decline"), 0); /* nothing good that could have been lost */
    json_decref(root);
    free(options);
}

/* ---- what the text shows besides ---- */

static opsm_sequence record_of(double advantage, double drift, int64_t tokens, bool keep) {
    return (opsm_sequence){.advantage = advantage,
                           .drift = drift,
                           .drift_k1 = drift,
                           .tokens = tokens,
                           .length = tokens,
                           .keep = keep,
                           .lag = -1,
                           .entropy_sum = NAN};
}

static struct audit_summary *summary_new(const struct audit_options *options) {
    struct audit_summary *summary = malloc(sizeof *summary);
    assert_non_null(summary);
    assert_ok(audit_summary_start(summary, options, &err));
    return summary;
}

static void summary_free(struct audit_summary *summary) {
    audit_summary_free(summary);
    free(summary);
}

static void the_worst_are_the_furthest_of_the_dropped(void **state) {
    (void)state;
    struct audit_options *options = audit_options_new();
    struct audit_summary *summary = summary_new(options);
    double drifts[30];
    for (int i = 0; i < 30; i++) {
        drifts[i] = (double)(i * 17 % 30) / 10;
        opsm_sequence record = record_of(-1 - i, drifts[i], 5 + i * 7 % 30, i % 3 == 0);
        audit_summary_add(summary, &record, 100 + i);
        if (record.keep) drifts[i] = -1; /* not among them */
    }
    assert_int_equal(summary->n_worst, AUDIT_WORST);
    qsort(drifts, 30, sizeof *drifts, ascending);
    for (int k = 0; k < AUDIT_WORST; k++) {
        const struct audit_worst *worst = &summary->worst[k];
        int64_t i = worst->line - 100;
        assert_near(worst->drift, drifts[29 - k], 0);
        assert_near(worst->drift, (double)(i * 17 % 30) / 10, 0);
        assert_true(i % 3 != 0 && worst->advantage == (double)(-1 - i) && worst->tokens == 5 + i * 7 % 30);
    }
    assert_true(summary->length_min == 5 && summary->length_max == 34);
    summary_free(summary);
    free(options);
}

static void bins_hold_their_upper_edge(void **state) {
    (void)state;
    struct audit_options *options = audit_options_new();
    struct audit_summary *summary = summary_new(options);
    for (int k = 0; k < AUDIT_BINS - 1; k++) {
        opsm_sequence at = record_of(-1, audit_edges[k], 1, true);
        opsm_sequence above = record_of(1, nextafter(audit_edges[k], 9), 1, true);
        opsm_sequence idle = record_of(0, audit_edges[k], 1, true), unknown = record_of(1, NAN, 1, true);
        audit_summary_add(summary, &at, 1);
        audit_summary_add(summary, &above, 1);
        audit_summary_add(summary, &idle, 1);
        audit_summary_add(summary, &unknown, 1);
    }
    for (int k = 0; k < AUDIT_BINS; k++) {
        assert_int_equal(summary->bins[0][k], k < AUDIT_BINS - 1);
        assert_int_equal(summary->bins[1][k], k > 0);
    }
    summary_free(summary);
    free(options);
}

/* Dropped though likelier than when it was sampled: what the doctor tells of a statistic without a sign. */
static void dropped_and_likelier_is_counted(void **state) {
    (void)state;
    struct audit_options *options = audit_options_new();
    struct audit_summary *summary = summary_new(options);
    const opsm_sequence records[] = {record_of(-1, -1, 1, false), record_of(-1, 1, 1, false),
                                     record_of(-1, -1, 1, true), record_of(1, -1, 1, false),
                                     record_of(-1, -2, 1, false)};
    for (int k = 0; k < 5; k++) audit_summary_add(summary, &records[k], k);
    assert_int_equal(summary->dropped_likelier, 2);
    summary_free(summary);
    free(options);
}

/* More drifts of a sign than there is room for: every second one, then every fourth; quantiles stay near. */
static void samples_thin_out(void **state) {
    (void)state;
    enum { ROOM = 1 << 20, N = ROOM * 2 + 1000 };
    struct audit_options *options = audit_options_new();
    struct audit_summary *summary = summary_new(options);
    for (int64_t i = 0; i < N; i++) {
        opsm_sequence record = record_of(-1, (double)i / N, 1, true);
        audit_summary_add(summary, &record, i);
    }
    assert_int_equal(summary->negatives.seen, N);
    assert_int_equal(summary->negatives.stride, 4);
    assert_true(summary->negatives.n >= N / 4 && summary->negatives.n <= ROOM);
    for (int64_t i = 0; i < summary->negatives.n; i++)
        assert_near(summary->negatives.drifts[i], (double)(4 * i) / N, 0);
    assert_int_equal(summary->positives.n, 0);
    audit_summary_finish(summary, &options->config);
    assert_near(summary->metrics.drift_negative_p50, 0.5, 1e-5);
    assert_near(summary->metrics.drift_negative_p99, 0.99, 1e-5);
    summary_free(summary);
    free(options);
}

static void noise_of_less_than_two_is_unknown(void **state) {
    (void)state;
    struct audit_noise noise = {0};
    assert_true(isnan(audit_noise_floor(&noise)));
    audit_noise_add(&noise, -2);
    audit_noise_add(&noise, NAN);
    assert_true(isnan(audit_noise_floor(&noise)) && noise.n == 1);
    audit_noise_add(&noise, -4);
    assert_near(audit_noise_floor(&noise), 3 * sqrt(2), 1e-12); /* a mean below 0 lifts nothing */
    audit_noise_add(&noise, 12);
    assert_near(audit_noise_floor(&noise), 2 + 3 * sqrt(76), 1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_are_those_of_the_rows),
        cmocka_unit_test(thresholds_drop_what_lies_beyond_them),
        cmocka_unit_test(policies_settle_where_they_say),
        cmocka_unit_test(policies_stay_between_floor_and_ceiling),
        cmocka_unit_test(noise_lifts_the_floor),
        cmocka_unit_test(without_negatives_nothing_is_said_of_them),
        cmocka_unit_test(the_worst_are_the_furthest_of_the_dropped),
        cmocka_unit_test(bins_hold_their_upper_edge),
        cmocka_unit_test(dropped_and_likelier_is_counted),
        cmocka_unit_test(samples_thin_out),
        cmocka_unit_test(noise_of_less_than_two_is_unknown),
    };
    return cmocka_run_group_tests(tests, audit_setup, audit_teardown);
}
