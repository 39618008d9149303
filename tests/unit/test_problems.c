/* SPDX-License-Identifier: Apache-2.0
 *
 * What a model is asked: system messages and earlier turns arrive whatever template is used, or are refused.
 */
#include "base/mem.h"
#include "check.h"
#include "tiny.h"
#include "train/problems.h"
#include <stdlib.h>
#include <unistd.h>

#define GEMMA2                                                                                                         \
    "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + "    \
    "'<end_of_turn>\n' }}{% endfor %}"
#define CHATML "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"

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
    assert_ok(problems_open(&problems, &config, model, true, &err));
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
    assert_int_equal(problems_open(&problems, &config, model, true, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "data.system"));
    config_free(&config);
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
        assert_ok(problems_open(&problems, &config, model, true, &err));
        assert_int_equal(data_task(problems.source)->style, i ? TASK_WORDS : TASK_BARE);
        problems_close(&problems);
        config_free(&config);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_template_the_turns_are_joined),
        cmocka_unit_test(with_a_template_plain_is_still_all_of_it),
        cmocka_unit_test(a_system_message_that_cannot_take_effect_is_refused),
        cmocka_unit_test(the_style_of_a_task_follows_the_template),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
