/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "check.h"
#include "data/shuffle.h"
#include "data/source.h"
#include <stdlib.h>
#include <string.h>

static opsm_error err;
static char scratch[64], path[96], eval_path[96], warning[500];

static int make_scratch(void **state) {
    (void)state;
    strcpy(scratch, "/tmp/opsm-data-XXXXXX");
    if (!mkdtemp(scratch)) return -1;
    snprintf(path, sizeof path, "%s/train.jsonl", scratch);
    snprintf(eval_path, sizeof eval_path, "%s/eval.jsonl", scratch);
    return 0;
}

static int remove_scratch(void **state) {
    (void)state;
    return file_remove_tree(scratch, NULL) == OPSM_OK ? 0 : -1;
}

static void write_file(const char *name, const char *content) {
    FILE *file = fopen(name, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, strlen(content), file), strlen(content));
    assert_int_equal(fclose(file), 0);
}

static struct data_source *open_rows(const struct dataset_spec *spec, const char *content) {
    write_file(path, content);
    struct dataset_spec full = *spec;
    full.file = path;
    struct data_source *source;
    assert_ok(data_open_file(&source, &full, 7, &err));
    return source;
}

static struct problem get(const struct data_source *source, enum data_split split, int64_t index) {
    struct problem problem;
    assert_ok(data_get(source, split, index, &problem, &err));
    return problem;
}

static void plain_rows(void **state) {
    (void)state;
    const struct dataset_spec spec = {.prompt = "question", .answer = "result", .eval_share = 1};
    struct data_source *source = open_rows(&spec, "\xef\xbb\xbf{\"question\": \"1+2?\", \"result\": 3, \"id\": 1}\r\n"
                                                  "\n"
                                                  "{\"question\": \"\\u00e9 \\\"x\\\"\", \"result\": \"0.50\"}\n"
                                                  "{\"question\": \"half\", \"result\": 0.1}\n"
                                                  "{\"question\": \"so?\", \"result\": true}");
    const char *expected[][2] = {{"1+2?", "3"}, {"é \"x\"", "0.50"}, {"half", "0.1"}, {"so?", "true"}};
    assert_int_equal(data_count(source, DATA_EVAL), 4);
    assert_int_equal(data_count(source, DATA_TRAIN), 0);
    for (int i = 0; i < 4; i++) {
        struct problem problem = get(source, DATA_EVAL, i);
        assert_string_equal(problem.prompt, expected[i][0]);
        assert_string_equal(problem.answer, expected[i][1]);
        assert_string_equal(problem.solution, expected[i][1]);
        assert_int_equal(problem.n_messages, 1);
        assert_string_equal(problem.messages[0].role, "user");
        assert_string_equal(problem.messages[0].content, expected[i][0]);
        problem_free(&problem);
    }
    struct problem problem;
    assert_int_equal(data_get(source, DATA_EVAL, 4, &problem, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "4 rows for eval, so there is no row 4"));
    assert_int_equal(data_get(source, DATA_TRAIN, 0, &problem, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "no rows for train"));
    assert_null(data_task(source));
    data_close(source);
}

static void conversations(void **state) {
    (void)state;
    const struct dataset_spec spec = {.eval_share = 1};
    struct data_source *source =
        open_rows(&spec, "{\"messages\": [{\"role\": \"system\", \"content\": \"Be brief.\"}, {\"role\": \"user\", "
                         "\"content\": \"1+2?\"}, {\"role\": \"assistant\", \"content\": \"It is 3.\"}]}\n"
                         "{\"messages\": [{\"role\": \"user\", \"content\": \"2+2?\"}], \"answer\": 4}\n"
                         "{\"prompt\": \"plain\", \"answer\": null}\n"
                         "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", "
                         "\"content\": \"b\"}, {\"role\": \"user\", \"content\": \"c\"}, {\"role\": \"assistant\", "
                         "\"content\": \"so d\"}], \"answer\": \"d\"}\n");
    struct problem problem = get(source, DATA_EVAL, 0);
    assert_int_equal(problem.n_messages, 2);
    assert_string_equal(problem.messages[0].role, "system");
    assert_string_equal(problem.messages[1].content, "1+2?");
    assert_string_equal(problem.prompt, "1+2?");
    assert_string_equal(problem.answer, "It is 3.");
    assert_string_equal(problem.solution, "It is 3.");
    problem = get(source, DATA_EVAL, 1);
    assert_int_equal(problem.n_messages, 1);
    assert_string_equal(problem.answer, "4");
    problem = get(source, DATA_EVAL, 2);
    assert_string_equal(problem.prompt, "plain");
    assert_string_equal(problem.answer, "");
    assert_string_equal(problem.solution, "");
    problem = get(source, DATA_EVAL, 3);
    assert_int_equal(problem.n_messages, 3);
    assert_string_equal(problem.prompt, "c");
    assert_string_equal(problem.answer, "d");
    assert_string_equal(problem.solution, "so d");
    data_close(source);
}

static void the_solution_may_have_a_field_of_its_own(void **state) {
    (void)state;
    const struct dataset_spec spec = {.solution = "steps", .eval_share = 1};
    struct data_source *source =
        open_rows(&spec, "{\"prompt\": \"1+2+3?\", \"steps\": \"1+2=3, 3+3=6\", \"answer\": 6}\n");
    struct problem problem = get(source, DATA_EVAL, 0);
    assert_string_equal(problem.answer, "6");
    assert_string_equal(problem.solution, "1+2=3, 3+3=6");
    data_close(source);
}

/* Several accepted answers, fields inside of others, a name with a dot in it. */
static void answers_may_be_lists_and_paths(void **state) {
    (void)state;
    const struct dataset_spec spec = {.prompt = "in.text", .answer = "reward_model.ground_truth", .eval_share = 1};
    struct data_source *source =
        open_rows(&spec, "{\"in\": {\"text\": \"a\"}, \"reward_model\": {\"ground_truth\": \"7\"}}\n"
                         "{\"in.text\": \"b\", \"reward_model.ground_truth\": [\"x\", 2.5, true, 9007199254740993]}\n"
                         "{\"in\": 1, \"in.text\": \"c\", \"reward_model\": {\"ground_truth\": []}}\n"
                         "{\"in.text\": \"d\", \"in\": {\"text\": 3}, \"reward_model\": {\"ground_truth\": "
                         "{\"target\": 98.0, \"numbers\": [44, 19, 35]}}}\n");
    const char *prompts = "abcd";
    for (int i = 0; i < 4; i++) {
        struct problem problem = get(source, DATA_EVAL, i);
        assert_int_equal(problem.prompt[0], prompts[i]);
    }
    struct problem problem = get(source, DATA_EVAL, 0);
    assert_string_equal(problem.answer, "7");
    assert_int_equal(problem.n_more_answers, 0);
    problem = get(source, DATA_EVAL, 1);
    const char *answers[] = {"x", "2.5", "true", "9007199254740993"};
    assert_int_equal(problem.n_more_answers, 3);
    for (int i = 0; i < 4; i++) assert_string_equal(problem_answer(&problem, i), answers[i]);
    problem = get(source, DATA_EVAL, 2);
    assert_string_equal(problem.answer, "");
    problem = get(source, DATA_EVAL, 3);
    assert_string_equal(problem.answer, "");
    assert_int_equal(problem.n_numbers, 3);
    assert_int_equal(problem.numbers[2], 35);
    assert_int_equal(problem.target, 98);
    data_close(source);
}

/* Rows for `expression` and its like; other uses of these names are no business of ours. */
static void rows_may_carry_numbers_and_a_target(void **state) {
    (void)state;
    const struct dataset_spec spec = {.eval_share = 1};
    struct data_source *source = open_rows(&spec, "{\"prompt\": \"a\", \"numbers\": [3, 4.0, -5], \"target\": 12}\n"
                                                  "{\"prompt\": \"b\", \"numbers\": [3, \"4\"], \"target\": 12}\n"
                                                  "{\"prompt\": \"c\", \"numbers\": [3, 4.5], \"target\": 12}\n"
                                                  "{\"prompt\": \"d\", \"numbers\": [3, 4], \"target\": \"x\"}\n"
                                                  "{\"prompt\": \"e\", \"numbers\": 3, \"target\": 3}\n"
                                                  "{\"prompt\": \"f\", \"numbers\": [3]}\n");
    struct problem problem = get(source, DATA_EVAL, 0);
    assert_int_equal(problem.n_numbers, 3);
    assert_int_equal(problem.numbers[1], 4);
    assert_int_equal(problem.numbers[2], -5);
    assert_int_equal(problem.target, 12);
    for (int i = 1; i < 6; i++) assert_int_equal(get(source, DATA_EVAL, i).n_numbers, 0);
    data_close(source);
}

static void faulty_files_get_a_sentence(void **state) {
    (void)state;
    const struct {
        const char *content;
        struct dataset_spec spec;
        const char *sentence;
    } rows[] = {
        {"", {0}, "has no rows"},
        {"\n \n\t\r\n", {0}, "has no rows"},
        {"{\"prompt\": \"a\"}\n{\"prompt\" \"b\"}\n", {0}, "line 2: column"},
        {"{\"prompt\": \"a\"}\n\n[1]\n", {0}, "line 3: column"},
        {"{\"prompt\": \"a\", \"prompt\": \"b\"}\n",
         {0},
         "line 1: field 'prompt' must be a text or a list of messages, "
         "found a NUL or half of a surrogate pair in it, or the field twice"},
        {"{\"prompt\": \"a\\u0000b\"}\n", {0}, "found a NUL or half"},
        {"{\"prompt\": \"a\\udc00\"}\n", {0}, "found a NUL or half"},
        {"{\"prompt\": 99999999999999999999}\n", {0}, "found a number"},
        {"{\"prompt\": \"a\", \"answer\": \"\\ud800\"}\n",
         {0},
         "field 'answer' must be a text, a number or a list of these, found a NUL"},
        {"{\"prompt\": \"a\", \"answer\": 1, \"answer\": 2}\n", {0}, "or the field twice"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": 1e999}]}\n", {0}, "message 1 needs a text 'content'"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"\\u0000\"}]}\n", {0}, "message 1 needs a text 'content'"},
        {"{\"prompt\": \"\xff\"}\n", {0}, "line 1"},
        {"{\"question\": \"a\", \"reply\": 1}\n",
         {0},
         "line 1: no field 'prompt', only: question, reply; name the "
         "right one with data.prompt"},
        {"{\"prompt\": \"a\", \"reply\": 1}\n",
         {.answer = "answer"},
         "no field 'answer', only: prompt, reply; name "
         "the right one with data.answer"},
        {"{\"prompt\": \"a\", \"answer\": null}\n", {.answer = "answer"}, "no field 'answer'"},
        {"{\"prompt\": \"a\"}\n", {.solution = "cot"}, "with data.solution"},
        {"{\"prompt\": 3}\n", {0}, "must be a text or a list of messages, found a number"},
        {"{\"prompt\": \"\"}\n", {0}, "field 'prompt' is empty or blank"},
        {"{\"prompt\": \" \\n\\t\\u00a0\\u3000\"}\n", {0}, "field 'prompt' is empty or blank"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \" \"}]}\n",
         {0},
         "message 1, the user's last, is empty or blank"},
        {"{\"prompt\": \"a\", \"answer\": [1, [2]]}\n",
         {0},
         "field 'answer' must be a text, a number or a list of these, found a list"},
        {"{\"prompt\": \"a\", \"answer\": {}}\n", {0}, "found an object"},
        {"{\"messages\": []}\n", {0}, "must have a message of the user"},
        {"{\"messages\": [3]}\n", {0}, "message 1 must be an object with role and content, found a number"},
        {"{\"messages\": [{\"role\": \"user\"}]}\n", {0}, "message 1 needs a text 'content'"},
        {"{\"messages\": [{\"content\": \"a\"}]}\n", {0}, "message 1 needs a text 'role'"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": [\"a\"]}]}\n", {0}, "needs a text 'content'"},
        {"{\"messages\": [{\"role\": \"tool\", \"content\": \"a\"}]}\n", {0}, "has the role 'tool'; known are system"},
        {"{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}\n", {0}, "must have a message of the user"},
        {"{\"messages\": [{\"role\": \"system\", \"content\": \"a\"}]}\n", {0}, "must have a message of the user"},
        {"{\"prompt\": \"a\"}\n", {.eval_share = 1.5}, "share must be from 0 to 1"},
        {"{\"prompt\": \"a\"}\n", {.eval_share = 0.5, .eval_file = "x"}, "exclude each other"},
        {"{\"prompt\": \"a\"}\n", {.eval_file = "/nonexistent/eval"}, "/nonexistent/eval"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        write_file(path, rows[i].content);
        struct dataset_spec spec = rows[i].spec;
        spec.file = path;
        struct data_source *source;
        assert_int_not_equal(data_open_file(&source, &spec, 1, &err), OPSM_OK);
        assert_null(source);
        if (!strstr(err.text, rows[i].sentence)) fail_msg("case %zu: %s", i, err.text);
    }
    struct data_source *source;
    assert_int_equal(data_open_file(&source, &(struct dataset_spec){0}, 1, &err), OPSM_INVALID);
    assert_int_equal(data_open_file(&source, &(struct dataset_spec){.file = scratch}, 1, &err), OPSM_IO);
    assert_int_equal(data_open_file(&source, &(struct dataset_spec){.file = "/nonexistent/x"}, 1, &err), OPSM_IO);
}

/* Fields that nobody reads may hold anything that is JSON; a number too large for a computer's is an answer as it
 * stands. */
static void fields_that_are_not_read_may_hold_anything(void **state) {
    (void)state;
    struct data_source *source = open_rows(
        &(struct dataset_spec){.eval_share = 1},
        "{\"prompt\": \"a\", \"answer\": 7, \"id\": 18446744073709551616, \"x\": [-1e999, {\"y\": 1E+4000}], \"nul\": "
        "\"\\u0000\", \"half\": \"\\uD83D\", \"k\\u0000\": 1, \"k\\ude00\": 2, \"twice\": 1, \"twice\": {\"z\": 1, "
        "\"z\": 2}}\n"
        "{\"prompt\": \"b \\ud83d\\ude00\", \"answer\": 123456789012345678901234567890, \"id\": "
        "-9223372036854775809}\n");
    assert_int_equal(data_count(source, DATA_EVAL), 2);
    assert_string_equal(get(source, DATA_EVAL, 0).answer, "7");
    assert_string_equal(get(source, DATA_EVAL, 1).prompt, "b \xf0\x9f\x98\x80");
    assert_string_equal(get(source, DATA_EVAL, 1).answer, "123456789012345678901234567890");
    data_close(source);
}

static opsm_status no_odd_answers(void *user, enum data_split split, const struct problem *problem,
                                  enum row_fault *fault, opsm_error *e) {
    (void)split;
    if (user && atoi(problem->answer) == 4) return OPSM_NOMEM;
    if (atoi(problem->answer) % 2 == 0) return OPSM_OK;
    *fault = atoi(problem->answer) == 3 ? ROW_LENGTH : ROW_ANSWER;
    return opsm_fail(e, OPSM_MISSING, "%s is odd", problem->answer);
}

#define ROW(n) "{\"prompt\": \"question " #n "\", \"answer\": " #n "}\n"

/* Left out and counted, or the first one is the error: with file and line, in the order of the file. */
static void rows_that_cannot_be_used(void **state) {
    (void)state;
    const char content[] = ROW(0) "{\"prompt\": \"\"}\n" ROW(1) "no row\n" ROW(2) ROW(3) ROW(4) ROW(5);
    struct data_source *source;
    write_file(path, content);
    struct dataset_spec spec = {.file = path, .eval_share = 0.5};
    assert_int_equal(data_open_file(&source, &spec, 7, &err), OPSM_MISSING);
    assert_non_null(strstr(err.text, "train.jsonl', line 2: field 'prompt' is empty or blank; data.on_bad_row=skip"));
    spec.skip_bad = true;
    source = open_rows(&spec, content);
    assert_int_equal(data_check(source, no_odd_answers, &spec, &err), OPSM_NOMEM);
    assert_ok(data_check(source, no_odd_answers, NULL, &err));
    assert_int_equal(data_count(source, DATA_TRAIN) + data_count(source, DATA_EVAL), 3);
    const char *first;
    assert_int_equal(data_skipped(source, ROW_UNREADABLE, &first), 1);
    assert_non_null(strstr(first, "line 4: column"));
    assert_int_equal(data_skipped(source, ROW_BLANK, &first), 1);
    assert_int_equal(data_skipped(source, ROW_LENGTH, &first), 1);
    assert_non_null(strstr(first, "train.jsonl', line 6: 3 is odd"));
    assert_int_equal(data_skipped(source, ROW_ANSWER, NULL), 2);
    for (int split = DATA_TRAIN; split <= DATA_EVAL; split++)
        for (int64_t i = 0; i < data_count(source, (enum data_split)split); i++)
            assert_int_equal(atoi(get(source, (enum data_split)split, i).answer) % 2, 0);
    data_close(source);

    spec.skip_bad = false;
    spec.eval_share = 0;
    source = open_rows(&spec, ROW(2) ROW(5) ROW(3));
    assert_int_equal(data_check(source, no_odd_answers, NULL, &err), OPSM_MISSING);
    assert_non_null(strstr(err.text, "train.jsonl', line 2: 5 is odd; data.on_bad_row=skip leaves such rows out"));
    data_close(source);
    spec.skip_bad = true;
    source = open_rows(&spec, ROW(5) ROW(3));
    assert_int_equal(data_check(source, no_odd_answers, NULL, &err), OPSM_MISSING);
    assert_non_null(strstr(err.text, "no row of"));
    assert_non_null(strstr(err.text, "the first: "));
    data_close(source);
}

/* `n` rows, each twice. */
static char *doubled_rows(int n) {
    char *text = mem_alloc((size_t)n * 120, 1), *end = text;
    for (int i = 0; i < 2 * n; i++)
        end += sprintf(end, "{\"prompt\": \"question %d\", \"answer\": %d}\n", i % n, i % n);
    return text;
}

static void held_out_rows_are_never_trained_on(void **state) {
    (void)state;
    enum { N = 2000 };
    char *rows = doubled_rows(N);
    struct data_source *source = open_rows(&(struct dataset_spec){.eval_share = 0.1}, rows);
    int64_t n_train = data_count(source, DATA_TRAIN), n_eval = data_count(source, DATA_EVAL);
    assert_int_equal(n_train + n_eval, 2 * N);
    assert_in_range(n_eval, 2 * (200 - 54), 2 * (200 + 54)); /* four standard deviations */
    bool held_out[N] = {false};
    int last = -1;
    for (int64_t i = 0; i < n_eval; i++) {
        struct problem problem = get(source, DATA_EVAL, i);
        int id = atoi(problem.answer);
        held_out[id] = true;
        assert_true(i == n_eval / 2 || id > last); /* file order */
        last = id;
    }
    for (int64_t i = 0; i < n_train; i++) {
        struct problem problem = get(source, DATA_TRAIN, i);
        assert_false(held_out[atoi(problem.answer)]);
    }
    data_close(source);
    mem_free(rows);
}

static void keep_warning(enum log_level level, const char *line, void *user) {
    (void)user;
    if (level == LOG_WARN) snprintf(warning, sizeof warning, "%s", line);
}

static void rows_of_the_eval_file_are_left_out_of_train(void **state) {
    (void)state;
    write_file(eval_path, "{\"prompt\": \"question 3\", \"answer\": 3}\n{\"prompt\": \"other\", \"answer\": 0}\n"
                          "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", "
                          "\"content\": \"question 4\"}]}\n");
    char *rows = doubled_rows(10);
    log_install(keep_warning, NULL);
    struct data_source *source = open_rows(&(struct dataset_spec){.eval_file = eval_path}, rows);
    log_install(NULL, NULL);
    assert_int_equal(data_count(source, DATA_EVAL), 3);
    assert_int_equal(data_count(source, DATA_TRAIN), 18); /* question 4 with a system message is another problem */
    for (int i = 0; i < 18; i++) {
        struct problem problem = get(source, DATA_TRAIN, i);
        assert_string_not_equal(problem.prompt, "question 3");
    }
    assert_non_null(strstr(warning, "left out 2 rows"));
    data_close(source);
    mem_free(rows);
}

static void epochs_are_permutations_that_follow_from_the_seed(void **state) {
    (void)state;
    for (uint64_t n = 1; n <= 300; n += n < 40 ? 1 : 37) {
        int same_place = 0, same_order = 0;
        for (uint32_t epoch = 0; epoch < 4; epoch++) {
            bool seen[301] = {false};
            for (uint64_t i = 0; i < n; i++) {
                uint64_t row = shuffle_at(9, epoch, n, i);
                assert_true(row < n && !seen[row]);
                seen[row] = true;
                same_place += row == i;
                same_order += row == shuffle_at(9, epoch + 1, n, i);
                assert_true(row == shuffle_at(9, epoch, n, i));
            }
        }
        /* A random permutation has one fixed point on average, whatever n. */
        if (n > 20) assert_in_range(same_place, 0, 16);
        if (n > 20) assert_in_range(same_order, 0, 16);
    }
    /* All six orders of three rows, equally often: chi-squared with 5 degrees of freedom, 20.5 is the 0.1% point. */
    int orders[27] = {0};
    for (uint32_t epoch = 0; epoch < 6000; epoch++)
        orders[shuffle_at(1, epoch, 3, 0) * 9 + shuffle_at(1, epoch, 3, 1) * 3 + shuffle_at(1, epoch, 3, 2)]++;
    double chi2 = 0;
    int kinds = 0;
    for (int i = 0; i < 27; i++) {
        if (orders[i] == 0) continue;
        chi2 += (orders[i] - 1000.0) * (orders[i] - 1000.0) / 1000.0;
        kinds++;
    }
    assert_int_equal(kinds, 6);
    assert_true(chi2 < 20.5);
    const uint64_t large = (uint64_t)1 << 32;
    assert_true(shuffle_at(1, 0, large, large - 1) < large);
}

static void training_goes_on_in_epochs(void **state) {
    (void)state;
    enum { N = 50 };
    char *rows = doubled_rows(N / 2);
    struct data_source *source = open_rows(&(struct dataset_spec){0}, rows);
    int moved = 0;
    for (int epoch = 0; epoch < 3; epoch++) {
        int count[N / 2] = {0};
        for (int i = 0; i < N; i++) {
            struct problem a = get(source, DATA_TRAIN, epoch * N + i), b = get(source, DATA_TRAIN, i);
            count[atoi(a.answer)]++;
            moved += strcmp(a.answer, b.answer) != 0;
        }
        for (int i = 0; i < N / 2; i++) assert_int_equal(count[i], 2);
    }
    assert_true(moved > 80);
    data_close(source);
    mem_free(rows);
}

static void tasks_are_sources_too(void **state) {
    (void)state;
    struct task_spec spec;
    assert_ok(task_find(&spec, "addition:3", &err));
    struct data_source *source;
    assert_ok(data_open_task(&source, &spec, &err));
    assert_true(data_count(source, DATA_EVAL) == DATA_UNLIMITED);
    assert_int_equal(data_task(source)->difficulty, 3);
    struct problem a = get(source, DATA_EVAL, 5), b;
    assert_ok(task_problem(&spec, DATA_EVAL, 5, &b, &err));
    assert_string_equal(a.prompt, b.prompt);
    problem_free(&a);
    problem_free(&b);
    data_close(source);
    assert_ok(task_find(&spec, "modsum:1", &err));
    assert_int_equal(data_open_task(&source, &spec, &err), OPSM_INVALID);
    assert_null(source);
}

static void out_of_memory_is_reported(void **state) {
    (void)state;
    char *rows = doubled_rows(40);
    write_file(path, rows);
    write_file(eval_path, rows);
    const struct dataset_spec spec = {.file = path, .eval_file = eval_path};
    int failures = 0;
    for (int nth = 1;; nth++) {
        struct data_source *source;
        mem_fail_at(nth);
        opsm_status status = data_open_file(&source, &spec, 1, &err);
        mem_fail_at(0);
        data_close(source);
        if (status == OPSM_OK) break;
        assert_int_equal(status, OPSM_NOMEM);
        failures++;
    }
    assert_true(failures > 160);
    mem_free(rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_rows),
        cmocka_unit_test(conversations),
        cmocka_unit_test(the_solution_may_have_a_field_of_its_own),
        cmocka_unit_test(answers_may_be_lists_and_paths),
        cmocka_unit_test(rows_may_carry_numbers_and_a_target),
        cmocka_unit_test(faulty_files_get_a_sentence),
        cmocka_unit_test(fields_that_are_not_read_may_hold_anything),
        cmocka_unit_test(rows_that_cannot_be_used),
        cmocka_unit_test(held_out_rows_are_never_trained_on),
        cmocka_unit_test(rows_of_the_eval_file_are_left_out_of_train),
        cmocka_unit_test(epochs_are_permutations_that_follow_from_the_seed),
        cmocka_unit_test(training_goes_on_in_epochs),
        cmocka_unit_test(tasks_are_sources_too),
        cmocka_unit_test(out_of_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
