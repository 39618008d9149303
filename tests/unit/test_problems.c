/* SPDX-License-Identifier: Apache-2.0
 *
 * What a model is asked: system messages and earlier turns arrive whatever template is used, or are refused; characters
 * that its tokenizer lacks are counted, and a fresh model has them all.
 */
#include "base/log.h"
#include "base/mem.h"
#include "check.h"
#include "environment/problems.h"
#include "tiny.h"
#include "train/fresh.h"
#include <stdlib.h>
#include <unistd.h>

#define GEMMA2                                                                                                         \
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"        \
    "{% endif %}{% for message in messages %}{{ '<start_of_turn>' + message['role'] + '\n' + message['content'] | "    \
    "trim + "                                                                                                          \
    "'<end_of_turn>\n' }}{% endfor %}"
#define CHATML                                                                                                         \
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>'"       \
    " + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

static opsm_error err;
static char path[] = "/tmp/opsm-test-problems-XXXXXX";
static struct model *model;

static int setup(void **state) {
    (void)state;
    int fd = mkstemp(path);
    FILE *out = fdopen(fd, "w");
    fputs("{\"prompt\": [{\"role\": \"system\", \"content\": \"S\"}, {\"role\": \"user\", \"content\": \"Q\"}, "
          "{\"role\": \"assistant\", \"content\": \"A\"}, {\"role\": \"user\", \"content\": \"R\"}], \"answer\": 1}\n",
          out);
    fclose(out);
    struct model_config shape = tiny_config("llama");
    return tiny_model(&model, &shape, DTYPE_F32, false, 1, &err) != OPSM_OK;
}

static int teardown(void **state) {
    (void)state;
    model_free(model);
    return unlink(path);
}

static struct run_config configure(const char *const *words) {
    struct run_config config;
    config_defaults(&config);
    char file[64];
    snprintf(file, sizeof file, "data.file=%s", path);
    assert_ok(config_override(&config, file, &err));
    for (; *words; words++) assert_ok(config_override(&config, *words, &err));
    return config;
}

static void use_template(const char *source) {
    chat_template_free(&model->chat);
    if (source) assert_ok(chat_template_parse(&model->chat, source, strlen(source), &err));
}

/* The first prompt of the file, with the names of control tokens. */
static void assert_prompt(const char *const *words, const char *expected) {
    struct run_config config = configure(words);
    struct problems problems;
    assert_ok(problems_open(&problems, &config, model, PROBLEMS_WHOLE_FILE, 100, &err));
    bool held_out = data_count(problems.source, DATA_EVAL) > 0;
    struct problem problem;
    struct token_list tokens = {0};
    assert_ok(data_get(problems.source, held_out ? DATA_EVAL : DATA_TRAIN, 0, &problem, &err));
    assert_ok(problems_prompt(&problems, &problem, &tokens, &err));
    char *text = tokenizer_decode(model->tokenizer, tokens.ids, tokens.count, true, NULL);
    assert_string_equal(text, expected);
    mem_free(text);
    token_list_free(&tokens);
    problem_free(&problem);
    problems_close(&problems);
    config_free(&config);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NOTHING    ((const char *const[]){NULL})

static void without_a_template_the_turns_are_joined(void **state) {
    (void)state;
    use_template(NULL);
    assert_prompt(NOTHING, "S\nQ\nA\nR");
    assert_prompt(WORDS("data.template=plain"), "S\nQ\nA\nR");
    assert_prompt(WORDS("data.system=New"), "New\nQ\nA\nR");
    assert_prompt(WORDS("data.template_prefix=<|im_start|>", "data.template_suffix=E"),
                  "S<|im_start|>QEA<|im_start|>RE");
}

static void with_a_template_plain_is_still_all_of_it(void **state) {
    (void)state;
    use_template(CHATML);
    assert_prompt(WORDS("data.template=plain", "data.system=New"), "New\nQ\nA\nR");
    assert_prompt(WORDS("data.system=New"), "<|im_start|>system\nNew<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n"
                                            "<|im_start|>assistant\nA<|im_end|>\n<|im_start|>user\nR<|im_end|>\n"
                                            "<|im_start|>assistant\n");
}

static void a_system_message_that_cannot_take_effect_is_refused(void **state) {
    (void)state;
    use_template(GEMMA2);
    struct run_config config = configure(WORDS("data.system=New"));
    struct problems problems;
    assert_int_equal(problems_open(&problems, &config, model, PROBLEMS_WHOLE_FILE, 100, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "data.system"));
    config_free(&config);
}

#define TOOLS                                                                                                          \
    "{{ tools|tojson if tools else 'none' }}{{ enable_thinking is defined and not enable_thinking }}"                  \
    "{{ messages[-1].content }}"

static void tools_and_arguments_come_from_the_configuration(void **state) {
    (void)state;
    use_template(TOOLS);
    assert_prompt(NOTHING, "noneFalseR");
    assert_prompt(WORDS("data.template_args.enable_thinking=false", "data.tools=[{n: 1}]"), "[{\"n\": 1}]TrueR");
    assert_prompt(WORDS("data.system=New", "data.tools=[{n: 1}]"), "[{\"n\": 1}]FalseR");
    struct run_config config = configure(WORDS("data.template=plain", "data.template_args={a: 1}"));
    struct problems problems;
    assert_int_equal(problems_open(&problems, &config, model, PROBLEMS_WHOLE_FILE, 100, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "data.template_args is for a chat template"));
    config_free(&config);
}

/* Those of the row come first. */
static void tools_of_a_row_reach_the_template(void **state) {
    (void)state;
    static const char *const rows[][2] = {{"[{\"n\": 2}]", "[{\"n\": 2}]FalseQ"},
                                          {"\"[{\\\"n\\\": 3}]\"", "[{\"n\": 3}]FalseQ"},
                                          {"\"a hammer\"", "[{\"n\": 1}]FalseQ"},
                                          {"null", "[{\"n\": 1}]FalseQ"}};
    use_template(TOOLS);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        FILE *out = fopen(path, "w");
        fprintf(out, "{\"prompt\": \"Q\", \"answer\": \"1\", \"tools\": %s}\n", rows[i][0]);
        fclose(out);
        assert_prompt(WORDS("data.tools=[{n: 1}]"), rows[i][1]);
    }
}

/* Short sums for a model that completes text, sentences for one that follows instructions. */
static void the_style_of_a_task_follows_the_template(void **state) {
    (void)state;
    const char *templates[] = {NULL, CHATML};
    for (int i = 0; i < 2; i++) {
        use_template(templates[i]);
        struct run_config config;
        struct problems problems;
        config_defaults(&config);
        assert_ok(config_override(&config, "task.name=addition", &err));
        assert_ok(problems_open(&problems, &config, model, PROBLEMS_WHOLE_FILE, 100, &err));
        assert_int_equal(data_task(problems.source)->style, i ? TASK_WORDS : TASK_BARE);
        problems_close(&problems);
        config_free(&config);
    }
}

/* ---- characters -------------------------------------------------------------------------------------------------- */

static char warning[512];
static int n_warnings;

static void note_warning(enum log_level level, const char *line, void *user) {
    (void)user;
    if (level != LOG_WARN) return;
    snprintf(warning, sizeof warning, "%s", line);
    n_warnings++;
}

static void write_rows(const char *rows) {
    FILE *out = fopen(path, "w");
    fputs(rows, out);
    fclose(out);
}

#define FRENCH                                                                                                         \
    "{\"prompt\": \"\u00e9t\u00e9 1+1=\", \"answer\": \"2 \u20ac\"}\n"                                                 \
    "{\"prompt\": \"1+1\\t=\", \"answer\": \"2\"}\n{\"prompt\": \"2+3=\", \"answer\": \"5\"}\n"

static void left_out_characters_are_counted_once(void **state) {
    (void)state;
    write_rows(FRENCH);
    struct tensor_source *file;
    assert_ok(tensor_source_open(&file, OPSM_SOURCE_DIR "/models/tiny.gguf", &err));
    struct model small = *model; /* with the tokenizer of the embedded model: digits and signs */
    assert_ok(tokenizer_load(&small.tokenizer, &file->metadata, &err));
    tensor_source_close(file);
    struct run_config config = configure(WORDS("data.template=plain", "data.system=x"));
    struct problems problems;
    log_install(note_warning, NULL);
    n_warnings = 0;
    assert_ok(problems_open(&problems, &config, &small, PROBLEMS_WHOLE_FILE, 100, &err));
    problems_close(&problems);
    assert_int_equal(n_warnings, 1); /* three times x, e t e of five bytes, euro of three, a tab */
    assert_non_null(strstr(warning, "12 bytes in 3 of 3 problems (the first: U+0078)"));
    config.data.system[0] = '1';
    assert_ok(problems_open(&problems, &config, &small, PROBLEMS_WHOLE_FILE, 100, &err));
    problems_close(&problems);
    assert_int_equal(n_warnings, 2);
    assert_non_null(strstr(warning, "9 bytes in 2 of 3 problems"));
    assert_ok(problems_open(&problems, &config, model, PROBLEMS_WHOLE_FILE, 100, &err)); /* with all bytes */
    problems_close(&problems);
    assert_int_equal(n_warnings, 2);
    log_install(NULL, NULL);
    config_free(&config);
    tokenizer_free(small.tokenizer);
}

/* Opens the problems of a fresh model for these words: nothing is left out. */
static int32_t fresh_vocabulary(const char *const *words) {
    struct run_config config;
    config_defaults(&config);
    assert_ok(config_override(&config, "output=/tmp", &err));
    assert_ok(config_override(&config, "sft.init.dim=8", &err));
    for (; *words; words++) assert_ok(config_override(&config, *words, &err));
    struct model *fresh;
    struct problems problems;
    log_install(note_warning, NULL);
    n_warnings = 0;
    assert_ok(fresh_model(&fresh, &config, &err));
    assert_ok(problems_open(&problems, &config, fresh, PROBLEMS_WHOLE_FILE, 100, &err));
    assert_int_equal(n_warnings, 0);
    log_install(NULL, NULL);
    int32_t size = tokenizer_size(fresh->tokenizer);
    problems_close(&problems);
    model_free(fresh);
    config_free(&config);
    return size;
}

static void a_fresh_model_has_the_characters_of_its_problems(void **state) {
    (void)state;
    write_rows(FRENCH);
    char file[64];
    snprintf(file, sizeof file, "data.file=%s", path);
    int32_t usual = fresh_vocabulary(WORDS("task.name=modsum"));
    assert_int_equal(usual, 22); /* the end, 19 characters, a line break, one merge */
    assert_int_equal(fresh_vocabulary(WORDS(file)), usual + 2 + 1 + 3 + 1); /* e with accent, t, euro, tab */
    assert_int_equal(fresh_vocabulary(WORDS(file, "data.system=xy")), usual + 7 + 2);
    for (int i = 0; i < task_count(); i++) {
        char name[64];
        snprintf(name, sizeof name, "task.name=%s", task_name(task_at(i)));
        assert_int_equal(fresh_vocabulary(WORDS(name)), usual);
        assert_int_equal(fresh_vocabulary(WORDS(name, "task.style=words")), 2 + 95 + 1);
        assert_true(fresh_vocabulary(WORDS(name, "data.template_prefix=Ask ", "data.template_suffix=.")) > usual);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_template_the_turns_are_joined),
        cmocka_unit_test(with_a_template_plain_is_still_all_of_it),
        cmocka_unit_test(a_system_message_that_cannot_take_effect_is_refused),
        cmocka_unit_test(the_style_of_a_task_follows_the_template),
        cmocka_unit_test(tools_and_arguments_come_from_the_configuration),
        cmocka_unit_test(tools_of_a_row_reach_the_template),
        cmocka_unit_test(left_out_characters_are_counted_once),
        cmocka_unit_test(a_fresh_model_has_the_characters_of_its_problems),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
