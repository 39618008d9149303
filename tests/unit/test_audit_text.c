/* SPDX-License-Identifier: Apache-2.0
 *
 * The audit for people: its tables hold the numbers that its JSON holds, and the advice follows from them.
 */
#include "audit_fixture.h"

enum { ROWS = 400, WIDTH = 100 };

/* Drifts from -0.1 to 0.3 of either sign, and one far off; groups of four, in each a longer row; one without signal. */
static void write_rows(void) {
    FILE *out = fopen(audit_path, "w");
    assert_non_null(out);
    for (int i = 0; i < ROWS; i++) {
        double drift = i == 1 ? 2 : -0.1 + 0.4 * (i * 7 % ROWS) / ROWS;
        fprintf(out, "{\"group\":%d,\"advantage\":%g", i / 4, i / 4 == 9 ? 0 : i % 2 ? -1 - 0.01 * i : 1);
        fprintf(out, ",\"logp_behavior\":[-1,-2%s]", i % 4 ? "" : ",-1,-1");
        fprintf(out, ",\"logp_current\":[%g,%g", -1 - drift, -2 - drift);
        if (i % 4 == 0) fprintf(out, ",%g,%g", -1 - drift, -1 - drift);
        fputs("]}\n", out);
    }
    assert_int_equal(fclose(out), 0);
}

/* What follows `start`, which begins a line, up to the line's end: `start` itself must occur once. */
static const char *line_after(const char *text, const char *start) {
    const char *found = NULL;
    for (const char *at = text; at; at = strchr(at, '\n')) {
        if (*at == '\n') at++;
        if (strncmp(at, start, strlen(start)) != 0) continue;
        if (found) fail_msg("two lines begin with '%s'", start);
        found = at + strlen(start);
    }
    if (!found) fail_msg("no line begins with '%s':\n%s", start, text);
    return found;
}

/* The numbers of that line, "-" as NaN; what is no number is passed over. */
static int numbers_after(const char *text, const char *start, double *numbers, int room) {
    char line[WIDTH + 1];
    int n = 0;
    snprintf(line, sizeof line, "%.*s", (int)strcspn(line_after(text, start), "\n"), line_after(text, start));
    for (char *word = strtok(line, " ,()"); word && n < room; word = strtok(NULL, " ,()")) {
        char *end;
        double x = strtod(word, &end);
        if (end != word)
            numbers[n++] = x;
        else if (strcmp(word, "-") == 0)
            numbers[n++] = NAN;
    }
    return n;
}

/* As printed: four digits. */
#define assert_shown(shown, number)                                                                                    \
    do {                                                                                                               \
        double shown_wanted = (number), shown_found = (shown);                                                         \
        if (!(isnan(shown_wanted) && isnan(shown_found)))                                                              \
            assert_near(shown_found, shown_wanted, 5.1e-4 * fabs(shown_wanted) + 1e-12);                               \
    } while (0)

static void tables_hold_the_numbers_of_the_json(void **state) {
    (void)state;
    double x[16];
    write_rows();
    struct audit_options *options = audit_options_new();
    options->deltas[0] = 0.05, options->deltas[1] = 0.2;
    options->n_deltas = 2;
    audit_set(options, "mask.delta", "0.12");
    audit_set(options, "mask.quantile", "0.7");
    audit_set(options, "mask.ceiling", "0.5");
    char *text = audit_output(options, OPSM_OK);
    json_t *root = audit_json(options, OPSM_OK), *m = json_object_get(root, "metrics");
    for (const char *at = text; *at; at += strcspn(at, "\n") + 1)
        if (strcspn(at, "\n") > WIDTH) fail_msg("%.*s", (int)strcspn(at, "\n"), at);

    assert_int_equal(numbers_after(text, "r: ", x, 16), 5);
    assert_true(x[0] == ROWS && x[1] == ROWS / 4 && x[2] == 2.5 * ROWS && x[3] == 2 && x[4] == 4);
    assert_int_equal(numbers_after(text, "A < 0: ", x, 16), 4);
    assert_true(x[0] == audit_number(m, "negatives") && x[1] == 0 && x[2] == audit_number(m, "positives") && x[3] == 1);
    assert_int_equal(numbers_after(text, "Objective: ppo, rule opsm, delta ", x, 16), 1);
    assert_shown(x[0], 0.12);
    assert_int_equal(numbers_after(text, "  loss ", x, 16), 3);
    assert_shown(x[0], audit_number(m, "loss"));
    assert_shown(x[1], audit_number(m, "surrogate"));
    assert_shown(x[2], 0);
    assert_int_equal(numbers_after(text, "  dropped: ", x, 16), 4);
    static const char *const dropped[] = {"dropped", "dropped_negatives", "dropped_tokens", "dropped_mass"};
    for (int k = 0; k < 4; k++) assert_near(x[k], 100 * audit_number(m, dropped[k]), 0.006);
    assert_true(x[0] > 0);
    assert_int_equal(numbers_after(text, "  clipped: ", x, 16), 4);
    assert_near(x[0], 100 * audit_number(m, "clip_low"), 0.006);
    assert_near(x[1], 100 * audit_number(m, "clip_high"), 0.006);
    assert_shown(x[2], audit_number(m, "ratio_max"));
    assert_near(x[3], audit_number(m, "ess"), 0.0006);
    static const char *const quantiles[] = {"mean", "p10", "p50", "p90", "p99"};
    for (int sign = 0; sign < 2; sign++) {
        assert_int_equal(numbers_after(text, sign ? "  A > 0  " : "  A < 0  ", x, 16), 5);
        for (int k = 0; k < 5; k++) {
            char name[40];
            snprintf(name, sizeof name, "drift_%s_%s", sign ? "positive" : "negative", quantiles[k]);
            assert_shown(x[k], audit_number(m, name));
        }
    }
    for (size_t k = 0; k < 2; k++) {
        const json_t *threshold = json_array_get(json_object_get(root, "thresholds"), k);
        assert_int_equal(numbers_after(text, k ? "         0.2 " : "        0.05 ", x, 16), 4);
        for (int j = 0; j < 4; j++) assert_near(x[j], 100 * audit_number(threshold, dropped[j]), 0.006);
    }
    static const char *const policies[] = {"auto", "length", "quantile", "controller"};
    for (int k = 0; k < 4; k++) {
        char start[20], name[30];
        snprintf(start, sizeof start, "  %-10s ", policies[k]);
        snprintf(name, sizeof name, "policies.%s", policies[k]);
        assert_true(numbers_after(text, start, x, 16) >= 1);
        assert_shown(x[0], audit_number(root, name));
    }
    assert_int_equal(numbers_after(text, "  fixed      ", x, 16), 1);
    assert_shown(x[0], 0.12);
    json_decref(root);
    free(text);
    free(options);
}

/* Where the threshold differs between sequences the mean of the negatives' stands for it. */
static void a_threshold_of_each_sequence_is_shown_as_their_mean(void **state) {
    (void)state;
    static const char *const policies[] = {"fixed", "auto", "length", "quantile"};
    struct audit_options *options = audit_options_new();
    write_rows();
    for (int k = 0; k < 4; k++) {
        double shown;
        audit_set(options, "mask.policy", policies[k]);
        options->json = false;
        char *text = audit_output(options, OPSM_OK);
        json_t *root = audit_json(options, OPSM_OK);
        const char *line = line_after(text, "Objective: ppo, rule opsm, delta ");
        assert_int_equal(numbers_after(text, "Objective: ppo, rule opsm, delta ", &shown, 1), 1);
        assert_shown(shown, audit_number(root, "metrics.delta"));
        const char *average = strstr(line, "on average");
        assert_int_equal(average && average < strchr(line, '\n'), k == 1 || k == 2);
        json_decref(root);
        free(text);
    }
    free(options);
}

static void the_worst_are_listed_by_drift(void **state) {
    (void)state;
    double x[16], before = INFINITY;
    write_rows();
    struct audit_options *options = audit_options_new();
    audit_set(options, "mask.delta", "0.12");
    char *text = audit_output(options, OPSM_OK);
    json_t *root = audit_json(options, OPSM_OK), *sequences = json_object_get(root, "sequences");
    assert_int_equal(numbers_after(text, "Dropped under the objective above, by drift ", x, 16), 2);
    int shown = (int)x[0];
    size_t dropped = 0, line;
    json_t *row;
    json_array_foreach(sequences, line, row) dropped += !json_is_true(json_object_get(row, "keep"));
    assert_true(x[1] == (double)dropped && shown == (dropped < AUDIT_WORST ? (int)dropped : AUDIT_WORST));
    const char *at = line_after(text, "        line     drift  advantage   tokens");
    for (int k = 0; k < shown; k++) {
        if (k > 0) at = strchr(at + 1, '\n');
        assert_non_null(at);
        assert_int_equal(sscanf(at, "%lf %lf %lf %lf", &x[0], &x[1], &x[2], &x[3]), 4);
        row = json_array_get(sequences, (size_t)x[0] - 1);
        assert_false(json_is_true(json_object_get(row, "keep")));
        assert_shown(x[1], audit_number(row, "drift"));
        assert_shown(x[2], audit_number(row, "advantage"));
        assert_true(x[3] == audit_number(row, "tokens") && x[1] <= before);
        before = x[1];
    }
    json_decref(root);
    free(text);
    free(options);
}

/* A bar for every bin that holds something and all between; the largest of each sign is full. */
static void the_histogram_counts_every_drift(void **state) {
    (void)state;
    write_rows();
    struct audit_options *options = audit_options_new();
    char *text = audit_output(options, OPSM_OK);
    const char *at = strstr(text, "\n  X    ");
    assert_non_null(at);
    int total[2] = {0}, longest[2] = {0}, most[2] = {0}, of_most[2] = {0}, lines = 0;
    while ((at = strchr(at + 1, '\n')) && strstr(at, " .. ") == at + 9) {
        const char *next = at + 1 + strlen("  from.. .. to.... ");
        for (int sign = 0; sign < 2; sign++) {
            int count = (int)strtol(next, NULL, 10), bar = 0;
            for (int k = 9; k < 37; k++) bar += next[k] == '#';
            assert_true((bar > 0) == (count > 0));
            total[sign] += count;
            if (bar > longest[sign]) longest[sign] = bar;
            if (count > most[sign]) most[sign] = count, of_most[sign] = bar;
            next += 37;
        }
        lines++;
    }
    json_t *root = audit_json(options, OPSM_OK);
    assert_true(lines > 4);
    assert_int_equal(total[0], audit_number(root, "metrics.negatives"));
    assert_int_equal(total[1], audit_number(root, "metrics.positives"));
    assert_true(longest[0] == 28 && of_most[0] == 28 && longest[1] == 28 && of_most[1] == 28);
    json_decref(root);
    free(text);
    free(options);
}

/* ---- advice ---- */

/* A summary whose numbers are chosen, and what is said of them. */
struct state_of {
    double delta, noise, ess, k3, length, weight, drifts[4];
    bool idle, unknown, positive;
};

static void advise(const struct state_of *s, char *text, size_t size) {
    struct audit_options *options = audit_options_new();
    struct audit_summary *summary = malloc(sizeof *summary);
    assert_non_null(summary);
    options->config.mask_delta = s->delta;
    assert_ok(audit_summary_start(summary, options, &err));
    summary->sums.drifts = s->unknown ? 0 : 4;
    summary->sums.negatives = s->positive ? 0 : 4;
    for (int k = 0; k < 4; k++) summary->negatives.drifts[summary->negatives.n++] = s->drifts[k];
    summary->metrics.ratio_max = s->idle ? 1 : 2;
    summary->metrics.drift_k3 = s->k3;
    summary->metrics.length_mean = s->length;
    summary->metrics.ess = s->ess;
    summary->metrics.drift_negative_p99 = 0.77;
    if (s->noise > 0) {
        audit_noise_add(&summary->first_step, s->noise);
        audit_noise_add(&summary->first_step, s->noise);
    }
    if (s->weight > 0) summary->sums.positive_weights = 1, summary->decline = 1 - s->weight;
    audit_advice(options, summary, text, size);
    audit_summary_free(summary);
    free(summary);
    free(options);
}

static void advice_follows_from_the_numbers(void **state) {
    (void)state;
    static const struct {
        struct state_of s;
        const char *says, *silent;
    } cases[] = {
        {{.unknown = true}, "No behaviour log-probs", "delta ="},
        {{.positive = true}, "nothing to act on", "delta ="},
        {{.idle = true}, "silent no-op", "delta ="},
        {{.delta = 0.5, .drifts = {0.1, 0.2, 0.3, 0.4}, .ess = 1},
         "drops nothing: 99% of the negatives drift less than 0.77",
         "noise floor"},
        {{.delta = 0.25, .drifts = {0.1, 0.2, 0.3, 0.4}, .ess = 1}, "drops 50.0% of the negatives.", "scatter"},
        {{.delta = 0.05, .drifts = {0.1, 0.2, 0.3, 0.4}, .ess = 1},
         "drops 100% of the negatives: that is close to",
         "noise floor"},
        {{.delta = 0.05, .noise = 0.1, .drifts = {0.1, 0.2, 0.3, 0.4}, .ess = 1},
         "lies below the noise floor of 0.1:",
         "sample size"},
        {{.delta = 0.25, .noise = 0.1, .drifts = {0.1, 0.2, 0.3, 0.4}, .ess = 1}, "drops 50.0%", "noise floor"},
        {{.delta = 0.25, .k3 = 0.2, .length = 10, .drifts = {0.1, 0.2, 0.3, 0.4}, .ess = 1},
         "scatters by 0.2, so that part of",
         "most of"},
        {{.delta = 0.15, .k3 = 0.2, .length = 10, .drifts = {0.1, 0.2, 0.3, 0.4}, .ess = 1},
         "scatters by 0.2, so that most of",
         "part of"},
        {{.delta = 0.25, .k3 = 0.02, .length = 40, .drifts = {0.1, 0.2, 0.3, 0.4}, .ess = 1}, "drops 50", "scatters"},
        {{.delta = 0.5, .k3 = 0.5, .length = 10, .ess = 1}, "drops nothing", "scatters"},
        {{.delta = 0.5, .ess = 1, .weight = 0.9}, "10% of the old accuracy is lost", "more likely than"},
        {{.delta = 0.5, .ess = 1, .weight = 0.99}, "-1% more likely than when they were sampled", "is lost"},
        {{.delta = 0.5, .ess = 1, .weight = 1.5}, "50% more likely than when they were sampled", "is lost"},
        {{.delta = 0.5, .ess = 1}, "drops nothing", "likely"},
        {{.delta = 0.5, .ess = 0.25}, "effective sample size is 0.25", "noise"},
        {{.delta = 0.5, .ess = 0.35}, "drops nothing", "sample size"},
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        char text[2000];
        advise(&cases[k].s, text, sizeof text);
        if (!strstr(text, cases[k].says) || strstr(text, cases[k].silent) || text[0] == ' ')
            fail_msg("case %zu: %s", k, text);
        char small[40]; /* cut off, and never written beyond */
        memset(small, 'x', sizeof small);
        advise(&cases[k].s, small, sizeof small - 1);
        assert_true(strlen(small) < sizeof small - 1 && small[sizeof small - 1] == 'x');
        assert_int_equal(strncmp(small, text, strlen(small)), 0);
    }
}

static void the_noise_floor_says_where_it_is_from(void **state) {
    (void)state;
    static const char *const more[] = {"", ",\"logp_trainer\":[-1.5]", ",\"step\":0,\"logp_trainer\":[-1.5]"};
    struct audit_options *options = audit_options_new();
    for (int k = 0; k < 3; k++) {
        char rows[500];
        double x[4];
        snprintf(rows, sizeof rows,
                 "{\"group\":1,\"advantage\":1,\"logp_behavior\":[-1],\"logp_current\":[-1.25]%s}\n"
                 "{\"group\":1,\"advantage\":-1,\"logp_behavior\":[-1],\"logp_current\":[-1.25]%s}\n",
                 more[k], more[k]);
        audit_write(rows);
        char *text = audit_output(options, OPSM_OK);
        line_after(text, "Noise floor ");
        if (k == 0) line_after(text, "  unknown; mark first-step rows");
        if (k == 1) {
            assert_int_equal(numbers_after(text, "  at most ", x, 4), 3); /* b - p holds a "-" */
            assert_true(x[0] == 0.5 && x[2] == 2);
        }
        if (k == 2) {
            assert_int_equal(numbers_after(text, "  0.25, from ", x, 4), 2);
            assert_true(x[0] == 2 && x[1] == 0);
        }
        free(text);
    }
    free(options);
}

static void findings_are_told_with_what_to_do(void **state) {
    (void)state;
    audit_write("{\"group\":1,\"advantage\":-1,\"logp_current\":[-1,-1]}\n");
    struct audit_options *options = audit_options_new();
    char *text = audit_output(options, OPSM_MISSING);
    line_after(text, "Doctor");
    assert_non_null(strstr(line_after(text, "  no_behavior: "), "1 of 1 rows"));
    assert_null(strstr(text, "Objective:")); /* the objective refused the rows */
    free(text);
    write_rows();
    text = audit_output(options, OPSM_OK);
    assert_int_equal(strncmp(line_after(text, "Doctor"), ": nothing found", 15), 0);
    free(text);
    free(options);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_hold_the_numbers_of_the_json),
        cmocka_unit_test(a_threshold_of_each_sequence_is_shown_as_their_mean),
        cmocka_unit_test(the_worst_are_listed_by_drift),
        cmocka_unit_test(the_histogram_counts_every_drift),
        cmocka_unit_test(advice_follows_from_the_numbers),
        cmocka_unit_test(the_noise_floor_says_where_it_is_from),
        cmocka_unit_test(findings_are_told_with_what_to_do),
    };
    return cmocka_run_group_tests(tests, audit_setup, audit_teardown);
}
