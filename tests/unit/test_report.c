/* SPDX-License-Identifier: Apache-2.0
 *
 * The report's reading and arithmetic, looked at through the JSON in the page. How the page draws it is the business of
 * tests/e2e/test_report.sh.
 */
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "check.h"
#include "report/html.h"
#include "train/drift_histogram.h"
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static opsm_error err;
static char scratch[64];

static int make_scratch(void **state) {
    (void)state;
    strcpy(scratch, "/tmp/opsm-report-XXXXXX");
    return mkdtemp(scratch) ? 0 : -1;
}

static int remove_scratch(void **state) {
    (void)state;
    return file_remove_tree(scratch, NULL) == OPSM_OK ? 0 : -1;
}

/* scratch/name; two of them may be in use at once. */
static const char *in_scratch(const char *name) {
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", scratch, name);
    return path;
}

static void write_file(const char *dir, const char *name, const char *content, size_t length) {
    char path[512];
    assert_ok(file_make_dirs(in_scratch(dir), &err));
    snprintf(path, sizeof path, "%s/%s/%s", scratch, dir, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static void write_text(const char *dir, const char *name, const char *content) {
    write_file(dir, name, content, strlen(content));
}

/* `iterations` of `round` steps; the value of step s is base + s, the reward of iteration t is t. */
static void write_run(const char *dir, int iterations, int round, double base, const char *config) {
    struct text lines = {0};
    for (int t = 0; t < iterations; t++) {
        for (int s = t * round; s < (t + 1) * round; s++)
            text_printf(&lines,
                        "{\"kind\":\"step\",\"iteration\":%d,\"step\":%d,\"drift_negative_mean\":%g,\"ess\":null}\n", t,
                        s, base + s);
        text_printf(&lines, "{\"kind\":\"iteration\",\"iteration\":%d,\"step\":%d,\"reward_mean\":%d,\"delta\":%g", t,
                    (t + 1) * round, t, 0.01 * (t + 1));
        for (int sign = 0; sign < 2; sign++) {
            text_printf(&lines, ",\"drift_%s_histogram\":[", sign ? "positive" : "negative");
            for (int i = 0; i < DRIFT_BINS; i++) text_printf(&lines, "%s%d", i ? "," : "", i == 30 + sign ? t + 1 : 0);
            text_puts(&lines, "]");
        }
        text_puts(&lines, "}\n");
    }
    write_file(dir, "metrics.jsonl", lines.data ? lines.data : "", lines.length);
    text_free(&lines);
    if (config) write_text(dir, "config.yaml", config);
}

static opsm_status write_report(const char *const *names, int n) {
    const char *paths[8];
    static char kept[8][256];
    for (int i = 0; i < n; i++) {
        snprintf(kept[i], sizeof kept[i], "%s/%s", scratch, names[i]);
        paths[i] = kept[i];
    }
    return report_write(paths, n, in_scratch("page.html"), &err);
}

/* The JSON of the page, after checking that nothing in it can end the script element. */
static json_t *page_data(void) {
    static char *page; /* static: gcc 12 takes the pointer returned for one to this variable */
    size_t size;
    assert_ok(file_read(in_scratch("page.html"), 1 << 24, &page, &size, &err));
    char *begin = strstr(page, "id=\"data\">");
    assert_non_null(begin);
    begin += strlen("id=\"data\">");
    char *end = strstr(begin, "</script>");
    assert_non_null(end);
    for (const char *c = begin; c < end; c++) {
        assert_true(*c != '<' && *c != '>' && *c != '&');
        assert_true(memcmp(c, "\xe2\x80\xa8", 3) != 0 && memcmp(c, "\xe2\x80\xa9", 3) != 0);
    }
    json_error_t problem;
    json_t *data = json_loadb(begin, (size_t)(end - begin), 0, &problem);
    if (!data) print_error("%s at %d\n", problem.text, problem.position);
    assert_non_null(data);
    mem_free(page);
    return data;
}

static json_t *report_of(const char *const *names, int n) {
    assert_ok(write_report(names, n));
    return page_data();
}

static const json_t *arm(const json_t *data, size_t i) {
    return json_array_get(json_object_get(data, "arms"), i);
}

static const json_t *column(const json_t *data, size_t i, const char *curve, const char *name) {
    return json_object_get(json_object_get(json_object_get(arm(data, i), "curves"), curve), name);
}

static double at(const json_t *array, size_t i) {
    const json_t *value = json_array_get(array, i);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static int64_t whole(const json_t *data, const char *key) {
    return json_integer_value(json_object_get(data, key));
}

static bool noted(const json_t *data, const char *words) {
    const json_t *notes = json_object_get(data, "notes");
    for (size_t i = 0; i < json_array_size(notes); i++)
        if (strstr(json_string_value(json_array_get(notes, i)), words)) return true;
    return false;
}

/* ---- points and bands -------------------------------------------------------------------------------------------- */

static void seeds_become_a_band(void **state) {
    (void)state;
    write_run("a", 30, 4, 0, "seed: 1\noutput: \"a\"\nschedule: {minibatches: 4}\n");
    write_run("b", 30, 4, 10, "seed: 2\noutput: \"b\"\nschedule: {minibatches: 4}\n");
    write_run("c", 20, 4, 40, "seed: 3\noutput: \"c\"\nschedule: {minibatches: 4}\n");
    json_t *data = report_of((const char *[]){"a", "b", "c"}, 3);
    assert_int_equal(json_array_size(json_object_get(data, "arms")), 1);
    assert_string_equal(json_string_value(json_object_get(arm(data, 0), "name")), "a");
    assert_int_equal(whole(data, "bin"), 4);
    assert_int_equal(whole(data, "steps"), 120);
    assert_int_equal(whole(data, "points"), 31);
    const json_t *mean = column(data, 0, "drift_negative", "mean"), *low = column(data, 0, "drift_negative", "low");
    const json_t *high = column(data, 0, "drift_negative", "high"), *runs = column(data, 0, "drift_negative", "runs");
    /* Steps 4 .. 7: 5.5 on the average, 15.5 and 45.5 in the others. */
    assert_near(at(mean, 1), (5.5 + 15.5 + 45.5) / 3, 1e-3);
    assert_near(at(low, 1), 5.5, 1e-9);
    assert_near(at(high, 1), 45.5, 1e-9);
    assert_near(at(runs, 1), 3, 0);
    /* The third run ends at step 80. */
    assert_near(at(mean, 20), (81.5 + 91.5) / 2, 1e-9);
    assert_near(at(runs, 20), 2, 0);
    assert_true(json_is_null(json_array_get(mean, 30)));
    /* The reward of iteration t stands where its rollouts were sampled: before its first step. */
    assert_near(at(column(data, 0, "reward", "mean"), 0), 0, 0);
    assert_near(at(column(data, 0, "reward", "mean"), 7), 7, 0);
    assert_null(column(data, 0, "ess", "mean")); /* nothing but null */
    json_decref(data);
}

/* An on-policy arm takes one step an iteration; it shares the axis of the arm that takes sixteen. */
static void arms_share_points_whatever_their_iterations(void **state) {
    (void)state;
    write_run("fresh", 480, 1, 0, "seed: 1\nschedule: {minibatches: 1}\n");
    write_run("stale", 30, 16, 0, "seed: 1\nschedule: {minibatches: 16}\n");
    json_t *data = report_of((const char *[]){"fresh", "stale"}, 2);
    assert_int_equal(whole(data, "bin"), 16);
    for (size_t i = 0; i < 30; i++)
        assert_near(at(column(data, 0, "drift_negative", "mean"), i), at(column(data, 1, "drift_negative", "mean"), i),
                    0);
    assert_near(at(column(data, 0, "reward", "mean"), 2), 32 + 7.5, 0);
    assert_near(at(column(data, 1, "reward", "mean"), 2), 2, 0);
    json_decref(data);
}

static void points_are_capped(void **state) {
    (void)state;
    const int cases[][2] = {{1, 1}, {5000, 1}, {399, 7}, {3, 64}, {201, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_run("long", cases[i][0], cases[i][1], 0, NULL);
        json_t *data = report_of((const char *[]){"long"}, 1);
        int64_t points = whole(data, "points"), bin = whole(data, "bin"), steps = (int64_t)cases[i][0] * cases[i][1];
        assert_true(points <= 201 && points == steps / bin + 1);
        if (bin > cases[i][1]) assert_int_equal(bin % cases[i][1], 0);
        if (steps >= 48 && bin > 1 && bin % 2 == 0 && bin < cases[i][1]) assert_true(steps / (2 * bin) < 24);
        assert_int_equal(json_array_size(column(data, 0, "drift_negative", "mean")), points);
        assert_true(noted(data, "No configuration"));
        json_decref(data);
    }
}

/* ---- histogram --------------------------------------------------------------------------------------------------- */

static double part_sum(const json_t *data, size_t part, const char *sign) {
    const json_t *counts = json_object_get(json_array_get(json_object_get(arm(data, 0), "drift"), part), sign);
    double sum = 0;
    assert_int_equal(json_array_size(counts), DRIFT_BINS);
    for (size_t i = 0; i < DRIFT_BINS; i++) sum += at(counts, i);
    return sum;
}

static void quarters_add_up_to_the_whole(void **state) {
    (void)state;
    for (int iterations = 1; iterations < 400; iterations = iterations * 3 + 1) {
        write_run("drift", iterations, 1, 0, NULL);
        json_t *data = report_of((const char *[]){"drift"}, 1);
        double wanted = 0.5 * iterations * (iterations + 1);
        assert_near(part_sum(data, 0, "negative"), wanted, 0);
        assert_near(part_sum(data, 0, "positive"), wanted, 0);
        double quarters = 0;
        for (size_t part = 1; part <= 4; part++) quarters += part_sum(data, part, "negative");
        assert_near(quarters, wanted, 0);
        const json_t *delta = json_object_get(json_array_get(json_object_get(arm(data, 0), "drift"), 0), "delta");
        assert_near(at(delta, 0), 0.01, 1e-9);
        assert_near(at(delta, 1), 0.01 * iterations, 1e-4 * iterations);
        json_decref(data);
    }
}

/* ---- a single run ------------------------------------------------------------------------------------------------ */

#define EVAL(step, accuracy, low, high)                                                                                \
    "{\"kind\":\"eval\",\"iteration\":0,\"step\":" step ",\"accuracy\":" accuracy ",\"accuracy_low\":" low             \
    ",\"accuracy_high\":" high ",\"problems\":128,\"samples\":2,\"length_mean\":30,\"finished\":0.5,"                  \
    "\"seconds\":{\"eval\":3}}\n"
#define ITERATION(n, reward, length, a, b)                                                                             \
    "{\"kind\":\"iteration\",\"iteration\":" n ",\"step\":4,\"reward_mean\":" reward ",\"length_mean\":" length        \
    ",\"finished\":0.75,\"tokens\":1000,\"tokens_forward\":2000,\"rewards\":{\"numeric\":" a ",\"format\":" b "},"     \
    "\"seconds\":{\"rollout\":2,\"reward\":1,\"logprobs\":0,\"forward\":3,\"backward\":4,\"optim\":1}}\n"

static double in_summary(const json_t *data, const char *part, const char *key) {
    const json_t *summary = json_object_get(data, "summary");
    return json_number_value(json_object_get(part ? json_object_get(summary, part) : summary, key));
}

static void steps_that_were_not_taken_leave_no_point(void **state) {
    (void)state;
#define STEP(step, outcome, lr)                                                                                        \
    "{\"kind\":\"step\",\"iteration\":0,\"step\":" step ",\"outcome\":\"" outcome "\",\"dropped\":0.5,\"lr\":" lr "}"  \
    "\n"
    write_text("run", "metrics.jsonl",
               STEP("0", "applied", "1e-5") STEP("1", "nothing", "0") STEP("2", "applied", "3e-5"));
    json_t *data = report_of((const char *[]){"run"}, 1);
    assert_near(at(column(data, 0, "lr", "mean"), 0), 1e-5, 1e-12);
    assert_true(json_is_null(json_array_get(column(data, 0, "lr", "mean"), 1)));
    assert_true(json_is_null(json_array_get(column(data, 0, "dropped", "mean"), 1)));
    assert_near(at(column(data, 0, "lr", "mean"), 2), 3e-5, 1e-12);
    json_decref(data);
}

static void a_single_run_has_a_head(void **state) {
    (void)state;
    write_text("run", "metrics.jsonl",
               EVAL("0", "0.09", "0.05", "0.15") ITERATION("0", "0.1", "60", "0.1", "1")
                   ITERATION("1", "0.4", "40", "0.3", "0.5") EVAL("8", "0.3", "0.2", "0.4"));
    json_t *data = report_of((const char *[]){"run"}, 1);
    assert_near(in_summary(data, "first", "accuracy"), 0.09, 0);
    assert_near(in_summary(data, "last", "accuracy"), 0.3, 0);
    assert_near(in_summary(data, "last", "low"), 0.2, 0);
    assert_near(in_summary(data, "last", "high"), 0.4, 0);
    assert_near(in_summary(data, "last", "step"), 8, 0);
    assert_near(in_summary(data, NULL, "problems"), 128, 0);
    assert_near(in_summary(data, NULL, "seconds"), 2 * 11 + 2 * 3, 0);
    assert_near(in_summary(data, NULL, "tokens"), 2000, 0);
    assert_near(in_summary(data, NULL, "generated_per_second"), 500, 0);
    assert_near(in_summary(data, NULL, "trained_per_second"), 250, 0);
    assert_near(in_summary(data, NULL, "first_length"), 60, 0);
    assert_near(in_summary(data, NULL, "last_length"), 40, 0);
    assert_near(in_summary(data, NULL, "last_finished"), 0.75, 0);
    assert_near(in_summary(data, NULL, "last_reward"), 0.4, 0);
    const json_t *verifiers = json_object_get(arm(data, 0), "verifiers");
    assert_int_equal(json_object_size(verifiers), 2);
    assert_near(at(json_object_get(json_object_get(verifiers, "format"), "mean"), 0), 1, 0);
    json_decref(data);
    /* Of old records, and of several runs, nothing is made up. */
    write_run("old", 3, 2, 0, NULL);
    data = report_of((const char *[]){"old"}, 1);
    const json_t *summary = json_object_get(data, "summary");
    assert_null(json_object_get(summary, "first"));
    assert_true(json_is_null(json_object_get(summary, "first_length")));
    assert_true(json_is_null(json_object_get(summary, "trained_per_second")));
    json_decref(data);
    data = report_of((const char *[]){"old", "run"}, 2);
    assert_true(json_is_null(json_object_get(data, "summary")));
    json_decref(data);
}

/* The first and the last evaluation; what lies between, and problems without a step, are left out. */
static void held_out_problems_before_and_after(void **state) {
    (void)state;
    write_run("run", 3, 2, 0, NULL);
    struct text lines = {0};
    for (int step = 0; step <= 8; step += 4)
        for (int problem = 0; problem < 3; problem++)
            text_printf(&lines,
                        "{\"kind\":\"eval\",\"iteration\":0,\"step\":%d,\"problem\":%d,\"prompt\":\"p%d\","
                        "\"response\":\"at %d\",\"right\":%s}\n",
                        step, problem, problem, step, step + problem > 8 ? "true" : "false");
    text_puts(&lines, "{\"kind\":\"eval\",\"problem\":7}\n{\"iteration\":0,\"prompt\":\"p\",\"keep\":true}\n");
    write_file("run", "samples.jsonl", lines.data, lines.length);
    text_free(&lines);
    json_t *data = report_of((const char *[]){"run"}, 1);
    const json_t *samples = json_array_get(json_object_get(data, "samples"), 0);
    const json_t *before = json_object_get(samples, "before"), *after = json_object_get(samples, "after");
    assert_int_equal(json_array_size(json_object_get(samples, "rows")), 1);
    assert_int_equal(json_array_size(before), 3);
    assert_int_equal(json_array_size(after), 3);
    assert_string_equal(json_string_value(json_object_get(json_array_get(before, 2), "response")), "at 0");
    assert_string_equal(json_string_value(json_object_get(json_array_get(after, 2), "response")), "at 8");
    assert_true(json_is_true(json_object_get(json_array_get(after, 1), "right")));
    assert_true(json_is_false(json_object_get(json_array_get(after, 0), "right")));
    json_decref(data);
    /* One evaluation has nothing to be compared with. */
    write_text("run", "samples.jsonl", "{\"kind\":\"eval\",\"step\":0,\"problem\":0,\"right\":true}\n");
    data = report_of((const char *[]){"run"}, 1);
    assert_int_equal(json_array_size(json_object_get(json_array_get(json_object_get(data, "samples"), 0), "before")),
                     0);
    json_decref(data);
}

/* ---- hostile input ----------------------------------------------------------------------------------------------- */

#define EVIL "</script><!--<script>\\u2028\xe2\x80\xa8\xe2\x80\xa9&amp;]]>"

static void text_stays_text(void **state) {
    (void)state;
    const char *name = "x<b>&\"' \xff\xe2\x80\xa8";
    write_run(name, 3, 2, 0, "seed: 1\ntask: {name: \"</script><!-- &\"}\n");
    write_text(name, "samples.jsonl",
               "{\"iteration\":0,\"prompt\":\"" EVIL "\",\"response\":\"</SCRIPT >\",\"keep\":false,\"drift\":\"x\"}\n"
               "{\"prompt\":\"\xff\"}\n{\"prompt\":\"\\u0000\"}\nnot json\n{\"iteration\":1,\"prompt\":7}\n");
    write_run("other", 3, 2, 0, "seed: 1\ntask: {name: plain}\n");
    json_t *data = report_of((const char *[]){name, "other"}, 2);
    assert_string_equal(json_string_value(json_object_get(arm(data, 0), "name")), "x<b>&\"' \xef\xbf\xbd\xe2\x80\xa8");
    const json_t *rows = json_object_get(json_array_get(json_object_get(data, "samples"), 0), "rows");
    assert_int_equal(json_array_size(rows), 3);
    const json_t *row = json_array_get(rows, 0);
    assert_string_equal(json_string_value(json_object_get(row, "prompt")),
                        "</script><!--<script>\xe2\x80\xa8\xe2\x80\xa8\xe2\x80\xa9&amp;]]>");
    assert_string_equal(json_string_value(json_object_get(row, "response")), "</SCRIPT >");
    assert_true(json_is_false(json_object_get(row, "keep")));
    assert_true(json_is_null(json_object_get(row, "drift")));
    assert_true(json_is_null(json_object_get(json_array_get(rows, 1), "prompt")));
    assert_true(json_is_null(json_object_get(json_array_get(rows, 2), "prompt")));
    const json_t *config = json_object_get(data, "config");
    assert_int_equal(json_array_size(config), 1);
    assert_string_equal(json_string_value(json_array_get(json_object_get(json_array_get(config, 0), "values"), 0)),
                        "</script><!-- &");
    json_decref(data);
}

static void strange_lines_are_skipped(void **state) {
    (void)state;
    struct text lines = {0};
    text_puts(&lines,
              "{\"kind\":\"step\",\"step\":0,\"entropy\":1.5}\n"
              "{\"kind\":\"step\",\"step\":-1,\"entropy\":99}\n"
              "{\"kind\":\"step\",\"step\":9223372036854775807,\"entropy\":99}\n"
              "{\"kind\":\"step\",\"step\":\"1\",\"entropy\":99}\n"
              "{\"kind\":\"step\",\"step\":1,\"entropy\":\"high\",\"grad_norm\":[1]}\n"
              "{\"kind\":[],\"step\":1}\n{\"step\":1}\n[]\n\xff\n{\"kind\":\"step\",\"step\":1,\"entropy\":2.5}\n"
              "{\"kind\":\"iteration\",\"iteration\":549755813888,\"step\":2,\"reward_mean\":1,"
              "\"drift_negative_histogram\":[1,2],\"drift_positive_histogram\":{\"a\":1},\"delta\":\"x\"}\n"
              "{\"kind\":\"iteration\",\"iteration\":-5,\"step\":3,\"reward_mean\":99}\n"
              "{\"kind\":\"eval\",\"iteration\":1,\"step\":2,\"accuracy\":0.5}\n"
              "{\"kind\":\"step\",\"step\":2,\"entropy\":");
    write_file("strange", "metrics.jsonl", lines.data, lines.length);
    json_t *data = report_of((const char *[]){"strange"}, 1);
    const json_t *entropy = column(data, 0, "entropy", "mean");
    assert_int_equal(whole(data, "steps"), 2);
    assert_int_equal(whole(data, "bin"), 1);
    assert_near(at(entropy, 0), 1.5, 0);
    assert_near(at(entropy, 1), 2.5, 0);
    assert_near(at(column(data, 0, "reward", "mean"), 0), 1, 0);
    assert_near(at(column(data, 0, "accuracy", "mean"), 2), 0.5, 0);
    assert_null(column(data, 0, "grad_norm", "mean"));
    assert_near(part_sum(data, 0, "negative"), 0, 0);
    assert_true(noted(data, "3 lines were skipped"));
    json_decref(data);
    /* A line beyond the limit ends the reading; what came before is drawn. */
    lines.length = strlen("{\"kind\":\"step\",\"step\":0,\"entropy\":1.5}\n");
    for (int i = 0; i < 1 << 18; i++) text_puts(&lines, "xxxxxxxx");
    text_puts(&lines, "\n{\"kind\":\"step\",\"step\":7,\"entropy\":3}\n");
    write_file("strange", "metrics.jsonl", lines.data, lines.length);
    data = report_of((const char *[]){"strange"}, 1);
    assert_int_equal(whole(data, "steps"), 1);
    assert_true(noted(data, "longer than"));
    json_decref(data);
    text_free(&lines);
}

static void strange_configurations_are_noted(void **state) {
    (void)state;
    const char *bomb = "a: &a [x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\n"
                       "c: &c [*b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c]\n"
                       "e: &e [*d, *d, *d, *d, *d, *d, *d, *d]\nf: [*e, *e, *e, *e, *e, *e, *e, *e]\n";
    write_run("one", 3, 2, 0, bomb);
    json_t *data = report_of((const char *[]){"one"}, 1);
    assert_true(json_array_size(json_object_get(data, "config")) <= 512);
    json_decref(data);
    struct text deep = {0};
    for (int i = 0; i < 200; i++) text_puts(&deep, "{a: ");
    for (int i = 0; i < 200; i++) text_puts(&deep, "}");
    write_file("one", "config.yaml", deep.data, deep.length);
    json_decref(report_of((const char *[]){"one"}, 1));
    text_free(&deep);
    write_text("one", "config.yaml", "a: [1\n");
    data = report_of((const char *[]){"one"}, 1);
    assert_true(noted(data, "not valid YAML"));
    json_decref(data);
}

static void only_keys_that_differ_are_listed(void **state) {
    (void)state;
    write_run("p", 3, 2, 0,
              "seed: 1\noutput: p\nobjective: {mask: {rule: opsm, delta: 0.03}}\noptim: {betas: [0.9, 0.99]}\n"
              "reward: [{type: numeric, weight: 1}]\n");
    write_run("q", 3, 2, 0,
              "seed: 1\noutput: q\nobjective: {mask: {rule: none, delta: 0.03}}\noptim: {betas: [0.9, 0.95]}\n"
              "reward: [{type: exact, weight: 1}]\nextra: 7\n");
    json_t *data = report_of((const char *[]){"p", "q"}, 2);
    const json_t *config = json_object_get(data, "config");
    static const char *const wanted[][3] = {{"objective.mask.rule", "opsm", "none"},
                                            {"optim.betas", "[0.9, 0.99]", "[0.9, 0.95]"},
                                            {"reward[0].type", "numeric", "exact"},
                                            {"extra", NULL, "7"}};
    assert_int_equal(json_array_size(config), 4);
    for (size_t i = 0; i < 4; i++) {
        const json_t *row = json_array_get(config, i), *values = json_object_get(row, "values");
        assert_string_equal(json_string_value(json_object_get(row, "key")), wanted[i][0]);
        assert_string_equal(json_string_value(json_array_get(values, 1)), wanted[i][2]);
        if (wanted[i][1])
            assert_string_equal(json_string_value(json_array_get(values, 0)), wanted[i][1]);
        else
            assert_true(json_is_null(json_array_get(values, 0)));
    }
    assert_string_equal(json_string_value(json_object_get(arm(data, 1), "rule")), "none");
    json_decref(data);
}

/* ---- laboratories ------------------------------------------------------------------------------------------------ */

static void laboratories_are_read(void **state) {
    (void)state;
    write_run("lab/m/seed-1", 6, 8, 0, "seed: 1\n");
    write_run("lab/m/seed-2", 6, 8, 1, "seed: 2\n");
    write_run("outside", 6, 8, 1, "seed: 2\n");
    write_text(
        "lab", "lab.json",
        "{\"steps_per_round\":4,\"verdict\":\"m holds\",\"collapse\":{\"below\":0.5,\"window\":0.333},\n\"arms\":{"
        "\"m\":{\"seeds\":[{\"seed\":1,\"status\":\"done\",\"directory\":\"m/"
        "seed-1\"},{\"seed\":2,\"status\":\"done\"},"
        "{\"seed\":3,\"status\":\"failed\",\"error\":\"no memory\",\"directory\":\"m/seed-3\"},"
        "{\"seed\":4,\"status\":\"waiting\"},{\"seed\":5,\"directory\":\"../outside\"},"
        "{\"seed\":6,\"directory\":\"/etc\"},{\"seed\":7,\"directory\":\"m/..\"},7],"
        "\"final_mean\":0.75,\"final_ci95\":[0.7,0.8],\"collapsed\":1,\"done\":2},"
        "\"gone\":{\"seeds\":\"none\",\"final_ci95\":null}}}\n");
    json_t *data = report_of((const char *[]){"lab"}, 1);
    assert_int_equal(json_array_size(json_object_get(data, "arms")), 1);
    assert_int_equal(json_array_size(json_object_get(arm(data, 0), "runs")), 2);
    assert_int_equal(whole(arm(data, 0), "failed"), 1);
    assert_int_equal(whole(data, "bin"), 2); /* rounds of 4 would make 12 points */
    const json_t *lab = json_array_get(json_object_get(data, "labs"), 0), *rows = json_object_get(lab, "rows");
    assert_string_equal(json_string_value(json_object_get(lab, "verdict")), "m holds");
    assert_int_equal(json_array_size(rows), 2);
    assert_near(json_number_value(json_object_get(json_array_get(rows, 0), "low")), 0.7, 1e-9);
    assert_true(json_is_null(json_object_get(json_array_get(rows, 1), "low")));
    assert_true(noted(data, "m, seed 3 failed: no memory"));
    assert_true(noted(data, "the directory ../outside lies outside"));
    assert_true(noted(data, "the directory /etc lies outside"));
    assert_true(noted(data, "the directory m/.. lies outside"));
    json_decref(data);
    /* Beside a run, its arms carry its name. */
    data = report_of((const char *[]){"lab", "outside"}, 2);
    assert_string_equal(json_string_value(json_object_get(arm(data, 0), "name")), "lab/m");
    assert_string_equal(json_string_value(json_object_get(arm(data, 1), "name")), "outside");
    json_decref(data);
}

/* ---- refusals and failures --------------------------------------------------------------------------------------- */

static void assert_refused(const char *const *names, int n, opsm_status status, const char *words) {
    assert_int_equal(write_report(names, n), status);
    if (!strstr(err.text, words)) print_error("expected '%s', found '%s'\n", words, err.text);
    assert_non_null(strstr(err.text, words));
    assert_false(file_exists(in_scratch("page.html")));
}

static void bad_input_is_refused(void **state) {
    (void)state;
    write_run("good", 3, 2, 0, NULL);
    write_text("empty", "metrics.jsonl", "");
    write_text("rubbish", "metrics.jsonl", "\xff\xfe\n\n{}\n");
    write_text("bad-lab", "lab.json", "{\"arms\": {\n \"a\": }}");
    write_text("no-arms", "lab.json", "{\"arms\": []}");
    write_text("two", "lab.json", "{\"arms\": {\"a\":{}}, \"arms\": {}}");
    write_text("nothing", "other.txt", "");
    assert_refused((const char *[]){"missing"}, 1, OPSM_MISSING, "no directory");
    assert_refused((const char *[]){"nothing"}, 1, OPSM_MISSING, "neither a run");
    assert_refused((const char *[]){"empty"}, 1, OPSM_MISSING, "no optimiser step");
    assert_refused((const char *[]){"rubbish", "empty"}, 2, OPSM_MISSING, "and the others");
    assert_refused((const char *[]){"bad-lab"}, 1, OPSM_FORMAT, "lab.json', line 2");
    assert_refused((const char *[]){"no-arms"}, 1, OPSM_FORMAT, "1 to 256 arms");
    assert_refused((const char *[]){"two"}, 1, OPSM_FORMAT, "duplicate");
    /* Pipes would keep their reader waiting. */
    assert_int_equal(mkfifo(in_scratch("nothing/metrics.jsonl"), 0666), 0);
    assert_refused((const char *[]){"nothing"}, 1, OPSM_IO, "metrics.jsonl' is not a regular file");
    assert_int_equal(rename(in_scratch("nothing/metrics.jsonl"), in_scratch("nothing/lab.json")), 0);
    assert_refused((const char *[]){"nothing"}, 1, OPSM_IO, "lab.json' is not a regular file");
    assert_int_equal(rename(in_scratch("nothing/lab.json"), in_scratch("good/samples.jsonl")), 0);
    assert_refused((const char *[]){"good"}, 1, OPSM_IO, "samples.jsonl' is not a regular file");
    assert_refused((const char *[]){"good", "good/"}, 2, OPSM_INVALID, "the same directory");
    assert_refused((const char *[]){"good", "empty/../good"}, 2, OPSM_INVALID, "the same directory");
    assert_int_equal(rename(in_scratch("good/samples.jsonl"), in_scratch("good/config.yaml")), 0);
    assert_ok(write_report((const char *[]){"good"}, 1)); /* a note */
}

static void a_full_disk_leaves_the_old_page(void **state) {
    (void)state;
    write_run("run", 3, 2, 0, NULL);
    write_text("", "page.html", "<title>opsm report</title>old");
    int failures = 0;
    opsm_status status = OPSM_IO;
    for (int nth = 1; status != OPSM_OK; nth++) {
        file_fail_at(nth);
        status = write_report((const char *[]){"run"}, 1);
        file_fail_at(0);
        if (status == OPSM_OK) break;
        assert_int_equal(status, OPSM_IO);
        static char *page;
        size_t size;
        assert_ok(file_read(in_scratch("page.html"), 1 << 24, &page, &size, &err));
        assert_string_equal(page, "<title>opsm report</title>old");
        mem_free(page);
        failures++;
    }
    assert_true(failures >= 3);
}

static void running_out_of_memory_is_a_sentence(void **state) {
    (void)state;
    write_run("lab/m/seed-1", 3, 2, 0, "seed: 1\na: {b: [1, 2]}\n");
    write_text("lab/m/seed-1", "samples.jsonl", "{\"iteration\":0,\"prompt\":\"p\"}\n");
    write_text("lab", "lab.json", "{\"arms\":{\"m\":{\"seeds\":[{\"seed\":1},{\"seed\":2}]}}}");
    write_run("run", 3, 2, 0, "seed: 1\n");
    write_run("again", 3, 2, 0, "seed: 2\n");
    int failures = 0;
    opsm_status status = OPSM_NOMEM;
    for (int nth = 1; status != OPSM_OK; nth++) {
        assert_true(nth < 1000);
        mem_fail_at(nth);
        status = write_report((const char *[]){"lab", "run", "again"}, 3);
        mem_fail_at(0);
        if (status == OPSM_OK) break;
        if (status != OPSM_NOMEM) print_error("allocation %d: %s\n", nth, err.text);
        assert_int_equal(status, OPSM_NOMEM);
        failures++;
    }
    assert_true(failures > 30);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_scratch, remove_scratch)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(seeds_become_a_band),
        TEST(arms_share_points_whatever_their_iterations),
        TEST(points_are_capped),
        TEST(quarters_add_up_to_the_whole),
        TEST(steps_that_were_not_taken_leave_no_point),
        TEST(a_single_run_has_a_head),
        TEST(held_out_problems_before_and_after),
        TEST(text_stays_text),
        TEST(strange_lines_are_skipped),
        TEST(strange_configurations_are_noted),
        TEST(only_keys_that_differ_are_listed),
        TEST(laboratories_are_read),
        TEST(bad_input_is_refused),
        TEST(a_full_disk_leaves_the_old_page),
        TEST(running_out_of_memory_is_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
