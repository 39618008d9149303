/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "base/text.h"
#include "check.h"
#include "judge.h"
#include "reward/recorded.h"
#include <stdlib.h>
#include <string.h>

static opsm_error err;

/* What is written for `input`; *status is that of the call. */
static char *judged(const struct reward *reward, const struct dataset_spec *fields, const char *input,
                    struct recorded_totals *totals, opsm_status *status) {
    struct jsonl *lines;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_ok(jsonl_open_memory(&lines, input, strlen(input), "rows.jsonl", 1 << 20, &err));
    *status = recorded_judge(lines, fields, reward, out, totals, &err);
    jsonl_close(lines);
    assert_int_equal(fclose(out), 0);
    return text;
}

static struct reward *make(const struct verifier_words *specs, int n) {
    struct reward *reward;
    assert_ok(reward_of(&reward, specs, n, &err));
    return reward;
}

static void lines_in_lines_out(void **state) {
    (void)state;
    const struct {
        const char *in, *out;
    } rows[] = {
        {"{\"response\": \"12\", \"answer\": \"12\"}", "1.0, \"rewards\": {\"exact\": 1.0}, \"found\": \"12\""},
        {"{\"response\": \" 12 \", \"answer\": 12}", "1.0, \"rewards\": {\"exact\": 1.0}, \"found\": \"12\""},
        {"{\"answer\": [\"a\", 12, \"b\"], \"response\": \"12\"}",
         "1.0, \"rewards\": {\"exact\": 1.0}, \"found\": \"12\""},
        {"{\"response\": \"13\", \"answer\": \"12\"}", "0.0, \"rewards\": {\"exact\": 0.0}, \"found\": \"13\""},
        {"{\"response\": \"\", \"answer\": \"12\"}", "0.0, \"rewards\": {\"exact\": 0.0}, \"found\": null"},
        {"{\"response\": \"12\", \"answer\": \"12\", \"finished\": false}",
         "0.0, \"rewards\": {\"exact\": 0.0}, \"found\": null"},
        {"{\"response\": \"12\", \"answer\": \"12\", \"finished\": null, \"prompt\": [1], \"more\": {\"x\": [null]}}",
         "1.0, \"rewards\": {\"exact\": 1.0}, \"found\": \"12\""},
        {"{\"response\": \"a\\u0000b\", \"answer\": \"a\"}",
         "0.0, \"rewards\": {\"exact\": 0.0}, \"found\": \"a\\u0000b\""},
        {"{\"response\": \"\\ud83d\\ude00\\\\ud83d\\uD83D\\udc\", \"answer\": \"a\"}", NULL},
        {"{\"response\": \"\\ud83d\\ude00\\\\ud83d\\uD83D\\udcff\\ud83d\", \"answer\": \"a\"}",
         "0.0, \"rewards\": {\"exact\": 0.0}, \"found\": \"\xf0\x9f\x98\x80\\\\ud83d\xf0\x9f\x93\xbf\xef\xbf\xbd\""},
        {"{\"response\": \"\\udc00\\ud800x\\ud800\\u0041\", \"answer\": \"a\"}",
         "0.0, \"rewards\": {\"exact\": 0.0}, \"found\": \"\xef\xbf\xbd\xef\xbf\xbdx\xef\xbf\xbd"
         "A\""},
        {"{\"response\": \"\\u0000a\\u0000b\", \"answer\": \"a\", \"id\": 99999999999999999999}",
         "0.0, \"rewards\": {\"exact\": 0.0}, \"found\": \"\\u0000a\\u0000b\""},
        {"{\"response\": \"\\u0000\", \"answer\": \"a\"}",
         "0.0, \"rewards\": {\"exact\": 0.0}, \"found\": \"\\u0000\""},
        {"{\"response\": \"12\", \"answer\": [1e999, \"12\"], \"id\": 123456789012345678901234567890, \"id\": 1}",
         "1.0, \"rewards\": {\"exact\": 1.0}, \"found\": \"12\""},
        {"{\"response\": \"123456789012345678901234567890\", \"answer\": 123456789012345678901234567890}",
         "1.0, \"rewards\": {\"exact\": 1.0}, \"found\": \"123456789012345678901234567890\""},
        {"{\"response\": \"\\\"\\\\\", \"answer\": \"a\"}",
         "0.0, \"rewards\": {\"exact\": 0.0}, \"found\": \"\\\"\\\\\""},
    };
    struct reward *reward = make(&(struct verifier_words){.type = "exact", .weight = 1}, 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct recorded_totals totals;
        opsm_status status;
        char *text = judged(reward, &(struct dataset_spec){0}, rows[i].in, &totals, &status), expected[200] = "";
        if (rows[i].out) snprintf(expected, sizeof expected, "{\"reward\": %s, \"unjudged\": null}\n", rows[i].out);
        assert_int_equal(status, rows[i].out ? OPSM_OK : OPSM_FORMAT);
        assert_string_equal(text, expected);
        free(text);
    }
    reward_free(reward);
}

/* Line ends of all kinds; a faulty line ends it, after the verdicts of the lines before. */
static void faulty_lines_have_a_sentence(void **state) {
    (void)state;
    const struct {
        const char *line, *sentence;
    } rows[] = {
        {"{\"answer\": 1}", "'rows.jsonl', line 4: field 'response' is missing"},
        {"{\"response\": 12}", "line 4: field 'response' must be a text"},
        {"{\"response\": null}", "line 4: field 'response' must be a text"},
        {"{\"response\": \"a\", \"response\": \"b\"}", "line 4: field 'response' stands there twice"},
        {"{\"response\": \"a\", \"finished\": 1}", "line 4: field 'finished' must be true or false"},
        {"{\"response\": \"a\", \"answer\": {}}", "line 4: field 'answer' must be a text, a number or a list of these"},
        {"{\"response\": \"a\", \"answer\": [[1]]}", "line 4: field 'answer' must be a text, a number or a list"},
        {"{\"response\": \"a\", \"answer\": \"a\\u0000b\"}", "line 4: field 'answer' holds a NUL character"},
        {"{\"response\": \"a\", \"answer\": \"1\", \"answer\": \"2\"}",
         "line 4: field 'answer' must be a text, a number"},
        {"{\"response\": \"\xff\"}", "line 4: column 14: unable to decode"},
        {"[]", "line 4: column 1: a JSON array"},
        {"{\"response\": \"a\"", "line 4: column 16: '}' expected"},
    };
    struct reward *reward = make(&(struct verifier_words){.type = "format", .weight = 1}, 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct recorded_totals totals;
        opsm_status status;
        char input[400];
        snprintf(input, sizeof input,
                 "\xef\xbb\xbf{\"response\": \"a\"}\r\n \t\n{\"response\": \"\"}\n%s\n{\"response\": \"late\"}",
                 rows[i].line);
        char *text = judged(reward, &(struct dataset_spec){0}, input, &totals, &status);
        assert_int_equal(status, OPSM_FORMAT);
        if (!strstr(err.text, rows[i].sentence)) fail_msg("row %zu: %s", i, err.text);
        assert_string_equal(text,
                            "{\"reward\": 1.0, \"rewards\": {\"format\": 1.0}, \"found\": null, \"unjudged\": null}\n"
                            "{\"reward\": 0.0, \"rewards\": {\"format\": 0.0}, \"found\": null, \"unjudged\": null}\n");
        assert_int_equal(totals.responses, 2);
        free(text);
    }
    reward_free(reward);
}

/* A verdict that cannot be had is no 0: neither in the line nor in the sums. The others keep theirs. */
static void what_cannot_be_judged_is_null(void **state) {
    (void)state;
    const struct verifier_words specs[] = {{.type = "exact", .weight = 1},
                                           {.type = "format", .weight = 0.25, .name = "shape"},
                                           {.type = "format", .weight = -1, .settings = {"max_length=1"}}};
    struct reward *reward = make(specs, 3);
    const struct dataset_spec fields = {.answer = "truth.text", .prompt = "question"};
    struct recorded_totals totals;
    opsm_status status;
    char *text = judged(reward, &fields,
                        "{\"response\": \"no\", \"truth\": {\"text\": \"no\"}}\n\n"
                        "{\"response\": \"no\", \"answer\": \"no\", \"question\": \"so?\"}\n"
                        "{\"response\": \"no\", \"truth\": {\"text\": []}}\n",
                        &totals, &status);
    assert_int_equal(status, OPSM_OK);
    assert_string_equal(
        text, "{\"reward\": 1.25, \"rewards\": {\"exact\": 1.0, \"shape\": 1.0, \"format\": 0.0}, \"found\": \"no\", "
              "\"unjudged\": null}\n"
              "{\"reward\": null, \"rewards\": {\"exact\": null, \"shape\": 1.0, \"format\": 0.0}, \"found\": null, "
              "\"unjudged\": \"verifier 'exact' compares with the answer, but the problem 'so?' has none\"}\n"
              "{\"reward\": null, \"rewards\": {\"exact\": null, \"shape\": 1.0, \"format\": 0.0}, \"found\": null, "
              "\"unjudged\": \"verifier 'exact' compares with the answer, but there is none\"}\n");
    free(text);
    assert_int_equal(totals.responses, 3);
    assert_int_equal(totals.unjudged, 2);
    assert_int_equal(totals.first_line, 3);
    assert_near(totals.reward, 1.25, 0);
    assert_near(totals.scores[1], 1, 0);
    reward_free(reward);
}

/* More lines than are judged at once, of many lengths, come back one for one and in order. */
static void order_is_kept(void **state) {
    (void)state;
    enum { LINES = 5000 };
    struct text input = {0};
    for (int i = 0; i < LINES; i++)
        text_printf(&input, "{\"response\": \"%d%*s\", \"answer\": %d}\n", i, i % 97 * (i % 1000 == 7 ? 900 : 1), "",
                    i % 3 ? i : -1);
    struct reward *reward = make(&(struct verifier_words){.type = "exact", .weight = 1}, 1);
    struct recorded_totals totals;
    opsm_status status;
    char *text = judged(reward, &(struct dataset_spec){0}, input.data, &totals, &status), *at = text;
    assert_int_equal(status, OPSM_OK);
    for (int i = 0; i < LINES; i++) {
        char expected[120];
        int n = snprintf(expected, sizeof expected,
                         "{\"reward\": %d.0, \"rewards\": {\"exact\": %d.0}, \"found\": \"%d\", \"unjudged\": null}\n",
                         i % 3 != 0, i % 3 != 0, i);
        assert_memory_equal(at, expected, n);
        at += n;
    }
    assert_true(*at == '\0');
    free(text);
    text_free(&input);
    reward_free(reward);
}

static void out_of_memory_is_reported(void **state) {
    (void)state;
    struct reward *reward = make(&(struct verifier_words){.type = "exact", .weight = 1}, 1);
    const char *input = "{\"response\": \"1\", \"answer\": [1, 2], \"numbers\": [1], \"target\": 1}\n";
    int failures = 0;
    for (int nth = 1;; nth++) {
        struct jsonl *lines;
        struct recorded_totals totals;
        assert_ok(jsonl_open_memory(&lines, input, strlen(input), "rows.jsonl", 1 << 20, &err));
        FILE *out = fopen("/dev/null", "w");
        mem_fail_at(nth);
        opsm_status status = recorded_judge(lines, &(struct dataset_spec){0}, reward, out, &totals, &err);
        mem_fail_at(0);
        fclose(out);
        jsonl_close(lines);
        if (status == OPSM_OK) break;
        assert_int_equal(status, OPSM_NOMEM);
        failures++;
    }
    assert_true(failures >= 4);
    reward_free(reward);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_in_lines_out),
        cmocka_unit_test(faulty_lines_have_a_sentence),
        cmocka_unit_test(what_cannot_be_judged_is_null),
        cmocka_unit_test(order_is_kept),
        cmocka_unit_test(out_of_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
