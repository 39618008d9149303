/* SPDX-License-Identifier: Apache-2.0
 *
 * Chat templates against tests/golden/chat.json, which holds what transformers renders (make_chat.py).
 */
#include "base/file.h"
#include "base/mem.h"
#include "check.h"
#include "text/chat.h"
#include <jansson.h>
#include <string.h>

enum { MAX_MESSAGES = 8 };

#define CHATML "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n'}}"

static int read_messages(const json_t *conversation, struct chat_message *messages) {
    int n = (int)json_array_size(conversation);
    assert_in_range(n, 1, MAX_MESSAGES);
    for (int i = 0; i < n; i++) {
        const json_t *message = json_array_get(conversation, (size_t)i);
        messages[i].role = json_string_value(json_object_get(message, "role"));
        messages[i].content = json_string_value(json_object_get(message, "content"));
    }
    return n;
}

/* NULL where the template refuses the conversation. */
static char *render_json(const struct chat_template *chat, const json_t *conversation) {
    struct chat_message messages[MAX_MESSAGES];
    int n = read_messages(conversation, messages);
    opsm_error err = {0};
    char *text;
    opsm_status status = chat_render(chat, messages, n, NULL, &text, &err);
    if (status == OPSM_OK) return text;
    assert_int_equal(status, OPSM_INVALID);
    assert_true(strlen(err.text) > 20);
    return NULL;
}

static int check_template(const json_t *template, const json_t *conversations) {
    opsm_error err = {0};
    struct chat_template chat;
    const char *source = json_string_value(json_object_get(template, "template"));
    assert_ok(chat_template_parse(&chat, source, strlen(source), &err));
    const json_t *prompts = json_object_get(template, "prompts");
    int checked = 0;
    for (size_t i = 0; i < json_array_size(conversations); i++) {
        const char *expected = json_string_value(json_array_get(prompts, i));
        char *text = render_json(&chat, json_array_get(conversations, i));
        if (!expected)
            assert_null(text);
        else
            assert_string_equal(text, expected);
        mem_free(text);
        checked++;
    }
    chat_template_free(&chat);
    return checked;
}

static void known_templates_render_as_published(void **state) {
    (void)state;
    json_error_t error;
    json_t *golden = json_load_file("tests/golden/chat.json", 0, &error);
    assert_non_null(golden);
    const json_t *templates = json_object_get(golden, "templates");
    assert_true(json_array_size(templates) >= 9);
    int checked = 0;
    for (size_t i = 0; i < json_array_size(templates); i++)
        checked += check_template(json_array_get(templates, i), json_object_get(golden, "conversations"));
    assert_true(checked >= 9 * 17);
    json_decref(golden);
}

/* No programs, programs that read no conversation, and whatever else a file may hold. */
static void unusable_templates_say_how_to_go_on(void **state) {
    (void)state;
    static const char *const sources[] = {
        "",
        "{",
        "{{",
        "{{ '",
        "{{ \"\\",
        "{# never closed",
        "{% for m in messages %}[INST] {{ m.content }} [/INST]",
        "{{'<|im_start|>' + message['role'] + '<|im_sep|>' + message['content'] + '<|im_end|>'}}",
        ("{{ '<|im_start|>system\\n' }}" CHATML),
        "{% set system_message = 'x' %}{{'<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n'}}",
        ("{# " CHATML " #}"),
        "'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n'",
        "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] + '<|eot_id|>' }}",
        "{{ '<start_of_turn>' + role + message['content'] + '<end_of_turn>' }}",
    };
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        opsm_error err = {0};
        struct chat_template chat;
        assert_int_equal(chat_template_parse(&chat, sources[i], strlen(sources[i]), &err), OPSM_UNSUPPORTED);
        assert_non_null(strstr(err.text, "data.template_prefix"));
        assert_non_null(strstr(err.text, "data.template_suffix"));
        assert_null(chat.program);
    }
}

static void default_system_message_is_the_templates(void **state) {
    (void)state;
    opsm_error err = {0};
    struct chat_template chat;
    const char *source =
        "{% if messages[0].role != 'system' %}{{ \"<|im_start|>system\\nSay \\\"it's\\\" in "
        "\\\\boxed{}.<|im_end|>\\n\" }}"
        "{% endif %}{% for message in messages %}{{ '<|im_start|>' + message.role + \"\\n\" + message.content + "
        "'<|im_end|>' + '\n' }}{% endfor %}";
    assert_ok(chat_template_parse(&chat, source, strlen(source), &err));
    assert_int_equal(chat.kind, CHAT_TEMPLATE);
    const struct chat_message messages[] = {{"system", "S"}, {"user", "Q"}};
    char *text;
    assert_ok(chat_render(&chat, messages + 1, 1, NULL, &text, &err));
    assert_string_equal(text,
                        "<|im_start|>system\nSay \"it's\" in \\boxed{}.<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n");
    mem_free(text);
    assert_ok(chat_render(&chat, messages, 2, NULL, &text, &err));
    assert_string_equal(text, "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n");
    mem_free(text);
    chat_template_free(&chat);
}

static void plain_and_custom(void **state) {
    (void)state;
    opsm_error err = {0};
    const struct chat_message messages[] = {{"system", "S"}, {"user", "Q"}, {"assistant", "A"}, {"user", "R"}};
    struct chat_template chat = {0};
    char *text;
    assert_ok(chat_render(&chat, messages, 4, NULL, &text, &err));
    assert_string_equal(text, "S\nQ\nA\nR");
    mem_free(text);
    const struct chat_message empty_system[] = {{"system", ""}, {"user", "Q"}};
    assert_ok(chat_render(&chat, empty_system, 2, NULL, &text, &err));
    assert_string_equal(text, "Q");
    mem_free(text);
    assert_ok(chat_template_custom(&chat, "[", "]>", &err));
    assert_ok(chat_render(&chat, messages, 4, NULL, &text, &err));
    assert_string_equal(text, "S[Q]>A[R]>");
    mem_free(text);
    chat_template_free(&chat);
    assert_ok(chat_template_custom(&chat, NULL, NULL, &err));
    assert_ok(chat_render(&chat, messages + 1, 1, NULL, &text, &err));
    assert_string_equal(text, "Q");
    mem_free(text);
    chat_template_free(&chat);
    for (int kind = CHAT_PLAIN; kind <= CHAT_CUSTOM; kind++) assert_true(strlen(chat_kind_name(kind)) > 3);
}

enum { BOS = 0, START = 1, TOKENS = 8 };

static struct tokenizer *make_tokenizer(bool add_bos, bool has_bos) {
    static const char *const names[TOKENS] = {"<|bos|>", "<|im_start|>", "<|im_end|>", "u", "s", "e", "r", "x"};
    struct text_view tokens[TOKENS];
    int32_t types[TOKENS];
    for (int i = 0; i < TOKENS; i++) {
        tokens[i] = (struct text_view){names[i], strlen(names[i])};
        types[i] = i < 3 ? 3 : 1;
    }
    const struct tokenizer_source source = {.pre = "llama-bpe",
                                            .tokens = tokens,
                                            .types = types,
                                            .n_tokens = TOKENS,
                                            .bos = has_bos ? BOS : -1,
                                            .eos = 2,
                                            .eot = -1,
                                            .add_bos = add_bos};
    opsm_error err = {0};
    struct tokenizer *tokenizer;
    assert_ok(tokenizer_create(&tokenizer, &source, &err));
    return tokenizer;
}

static int count_of(const struct token_list *list, int32_t id) {
    int n = 0;
    for (int64_t i = 0; i < list->count; i++) n += list->ids[i] == id;
    return n;
}

/* bos stands in front, once: where the template writes it, a prefix begins with it, or the tokenizer adds it. */
static void bos_stands_in_front_once(void **state) {
    (void)state;
    opsm_error err = {0};
#define LOOP(body) "{% for message in messages %}" body "{% endfor %}"
    static const char chatml[] = LOOP(CHATML), begun[] = "{{ bos_token }}" LOOP(CHATML),
                      joined[] = LOOP("{% if loop.first %}{{ bos_token + 'x' }}{% endif %}" CHATML);
    const struct {
        const char *template, *prefix;
        bool writes, takes_control;
    } cases[] = {{chatml, NULL, false, true}, {begun, NULL, true, true},     {joined, NULL, true, true},
                 {NULL, "", false, true},     {NULL, "<|bos|>", true, true}, {NULL, NULL, false, false}};
    const struct chat_message messages[] = {{"user", "xs"}, {"assistant", "x"}, {"user", "x<|im_start|>"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int add = 0; add < 4; add++) {
            struct chat_template chat = {0};
            if (cases[i].template)
                assert_ok(chat_template_parse(&chat, cases[i].template, strlen(cases[i].template), &err));
            else if (cases[i].prefix)
                assert_ok(chat_template_custom(&chat, cases[i].prefix, "", &err));
            bool add_bos = add & 1, has_bos = add & 2;
            struct tokenizer *tokenizer = make_tokenizer(add_bos, has_bos);
            struct token_list list = {0};
            int n = cases[i].prefix ? 1 : 3; /* a prefix stands before every message of the user's */
            assert_ok(chat_encode(&chat, tokenizer, messages + 3 - n, n, NULL, &list, &err));
            bool expected = cases[i].writes ? has_bos || cases[i].prefix : add_bos && has_bos;
            assert_int_equal(count_of(&list, BOS), expected);
            assert_int_equal(list.ids[0] == BOS, expected);
            assert_true((count_of(&list, START) > 0) == cases[i].takes_control);
            token_list_free(&list);
            tokenizer_free(tokenizer);
            chat_template_free(&chat);
        }
    }
}

/* Control tokens come from the template alone: those that messages, tools and their names spell stay text, also where a
 * template trims, joins or replaces, so that a spelling comes about only in the prompt. */
static void messages_write_no_control_tokens(void **state) {
    (void)state;
    static const struct {
        const char *template, *content;
        int starts, ends;
    } cases[] = {
        {LOOP(CHATML), "x<|im_end|>", 1, 1},
        {LOOP(CHATML), "<|im_start|><|im_end|><|bos|>", 1, 1},
        {LOOP("{{ message.content|trim }}<|im_end|>"), "<|im_start|> ", 0, 1},
        {LOOP("{{ message.content.split('x')|join }}"), "<|im_xstart|>", 0, 0},
        {LOOP("{{ message.content|replace('x', '') }}"), "<|im_stxart|>", 0, 0},
        {LOOP("{{ '<|im_' + message.content }}"), "start|>", 0, 0},
        {LOOP("{{ message.content + 'start|>' }}"), "<|im_", 0, 0},
        {LOOP("{{ message|tojson }}<|im_start|>"), "<|im_start|>", 1, 0},
        {LOOP("{% set c %}{{ message.content }}{% endset %}{{ [c]|first|upper|lower }}"), "<|im_start|>", 0, 0},
        {LOOP("<|im_{{ message.role|replace('user', 'start') }}|>"), "x", 1, 0}, /* a role is a word */
        {LOOP("{{ tools|tojson }}{% for k in tools[0] %}{{ k }}{% endfor %}"), "x", 0, 0},
        {LOOP("{{ extra }}{{ message.content }}"), "<|im_end|>", 1, 0}, /* the configuration's is trusted */
        {LOOP("{{ eos_token }}{{ message.content }}"), "<|im_end|>", 0, 1},
    };
    struct tokenizer *tokenizer = make_tokenizer(false, true);
    json_t *tools = json_pack("[{s:s, s:s}]", "name", "<|im_start|>", "<|im_end|>", "x");
    json_t *args = json_pack("{s:s}", "extra", "<|im_start|>");
    const struct chat_extra extra = {.tools = tools, .args = args};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        opsm_error err = {0};
        struct chat_template chat;
        struct token_list list = {0};
        const struct chat_message message = {"user", cases[i].content};
        assert_ok(chat_template_parse(&chat, cases[i].template, strlen(cases[i].template), &err));
        assert_ok(chat_encode(&chat, tokenizer, &message, 1, &extra, &list, &err));
        if (count_of(&list, START) != cases[i].starts || count_of(&list, 2) != cases[i].ends)
            print_error("%s with %s\n", cases[i].template, cases[i].content);
        assert_int_equal(count_of(&list, START), cases[i].starts);
        assert_int_equal(count_of(&list, 2), cases[i].ends);
        assert_int_equal(count_of(&list, BOS), 0);
        token_list_free(&list);
        chat_template_free(&chat);
    }
    json_decref(tools);
    json_decref(args);
    tokenizer_free(tokenizer);
}

/* What a template is given besides the messages. */
static void tools_and_arguments_reach_the_template(void **state) {
    (void)state;
    static const char source[] =
        "{{ tools is defined }}{{ tools|length if tools else 0 }}{{ add_generation_prompt }}"
        "{{ enable_thinking is defined and enable_thinking is false }}{{ messages[0].content }}"
        "{{ strftime_now('%Y-%m-%d') }}";
    const struct chat_message message = {"user", "\xff"};
    json_t *tools = json_pack("[{}, {}]"), *args = json_pack("{s:b}", "enable_thinking", 0),
           *bad = json_pack("{s:[]}", "tools");
    const struct chat_extra extra = {.tools = tools, .args = args}, wrong = {.args = bad};
    opsm_error err = {0};
    struct chat_template chat;
    char *text;
    assert_ok(chat_template_parse(&chat, source, strlen(source), &err));
    assert_ok(chat_render(&chat, &message, 1, &extra, &text, &err));
    assert_string_equal(text, "True2TrueTrue\xef\xbf\xbd"
                              "2024-07-26");
    mem_free(text);
    assert_ok(chat_render(&chat, &message, 1, NULL, &text, &err));
    assert_string_equal(text, "True0TrueFalse\xef\xbf\xbd"
                              "2024-07-26");
    mem_free(text);
    assert_int_equal(chat_render(&chat, &message, 1, &wrong, &text, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "named 'tools'"));
    chat_template_free(&chat);
    json_decref(tools);
    json_decref(args);
    json_decref(bad);
}

static void published_templates_that_write_bos(void **state) {
    (void)state;
    const struct {
        const char *name;
        bool writes;
    } cases[] = {{"llama3", true},   {"llama3.2", true}, {"gemma2", true}, {"gemma3", true}, {"qwen3", false},
                 {"smollm2", false}, {"qwen2.5", false}, {"qwq", false},   {"chatml", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[64];
        snprintf(path, sizeof path, "tests/golden/chat/%s.jinja", cases[i].name);
        static char source[1 << 16];
        FILE *in = fopen(path, "r");
        assert_non_null(in);
        size_t n = fread(source, 1, sizeof source, in);
        fclose(in);
        opsm_error err = {0};
        struct chat_template chat;
        assert_ok(chat_template_parse(&chat, source, n, &err));
        assert_int_equal(chat.writes_bos, cases[i].writes);
        chat_template_free(&chat);
    }
}

static void bad_conversations_get_a_sentence(void **state) {
    (void)state;
    const struct chat_message bad[] = {{"tool", "x"}, {"user", NULL}, {NULL, "x"}, {"", "x"}};
    const struct chat_template chat = {0};
    char *text;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        opsm_error err = {0};
        assert_int_equal(chat_render(&chat, &bad[i], 1, NULL, &text, &err), OPSM_INVALID);
        assert_null(text);
        assert_non_null(strstr(err.text, "message 0"));
    }
    opsm_error err = {0};
    assert_int_equal(chat_render(&chat, bad, 0, NULL, &text, &err), OPSM_INVALID);
}

/* Every allocation fails once: OPSM_NOMEM, nothing leaks (the sanitizers look), nothing half-made is handed out. */
static void out_of_memory_is_an_error(void **state) {
    (void)state;
    const char *source = "{{ '<|im_start|>system\\nHi<|im_end|>\\n' }}{% for message in messages %}{{ '<|im_start|>' + "
                         "message.role + '\\n'"
                         " + message.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ "
                         "'<|im_start|>assistant\\n' }}{% endif %}";
    const struct chat_message messages[] = {{"user", "a long enough message to make the buffer grow more than once"}};
    int failures = 0;
    for (int nth = 1;; nth++) {
        opsm_error err = {0};
        struct chat_template chat;
        char *text = NULL;
        mem_fail_at(nth);
        opsm_status status = chat_template_parse(&chat, source, strlen(source), &err);
        if (status == OPSM_OK) {
            status = chat_render(&chat, messages, 1, NULL, &text, &err);
            chat_template_free(&chat);
        }
        mem_fail_at(0);
        mem_free(text);
        if (status == OPSM_OK) break;
        assert_int_equal(status, OPSM_NOMEM);
        assert_null(text);
        failures++;
    }
    assert_true(failures >= 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_templates_render_as_published),
        cmocka_unit_test(unusable_templates_say_how_to_go_on),
        cmocka_unit_test(default_system_message_is_the_templates),
        cmocka_unit_test(plain_and_custom),
        cmocka_unit_test(bos_stands_in_front_once),
        cmocka_unit_test(messages_write_no_control_tokens),
        cmocka_unit_test(tools_and_arguments_reach_the_template),
        cmocka_unit_test(published_templates_that_write_bos),
        cmocka_unit_test(bad_conversations_get_a_sentence),
        cmocka_unit_test(out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
