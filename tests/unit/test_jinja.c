/* SPDX-License-Identifier: Apache-2.0
 *
 * The template language against tests/golden/jinja.json, which holds what jinja2 renders (make_jinja.py); its bounds, its
 * sentences, and where the bytes of a result come from.
 */
#include "base/mem.h"
#include "check.h"
#include "text/jinja.h"
#include <jansson.h>
#include <stdbool.h>
#include <string.h>

static opsm_status render_with(const char *source, size_t length, const struct jinja_input *input,
                               struct jinja_rendered *rendered, opsm_error *err) {
    struct jinja_template *template;
    *rendered = (struct jinja_rendered){0};
    opsm_status status = jinja_parse(&template, source, length, err);
    if (status != OPSM_OK) return status;
    status = jinja_render(template, input, rendered, err);
    jinja_free(template);
    return status;
}

static bool check_case(const json_t *item, const struct jinja_input *input) {
    const json_t *template = json_object_get(item, "template"), *expected = json_object_get(item, "expected");
    opsm_error err = {0};
    struct jinja_rendered rendered;
    opsm_status status = render_with(json_string_value(template), json_string_length(template), input, &rendered, &err);
    bool right = (status == OPSM_OK) == json_is_string(expected);
    if (right && status == OPSM_OK)
        right = rendered.length == json_string_length(expected) &&
                memcmp(rendered.text, json_string_value(expected), rendered.length) == 0;
    if (right && status != OPSM_OK) right = strstr(err.text, "chat template, line ") != NULL;
    if (!right)
        print_error("%s\n  expected %s\n  found    %s%s\n", json_string_value(template),
                    json_is_string(expected) ? json_string_value(expected) : "(raises)",
                    rendered.text ? rendered.text : "", err.text);
    jinja_rendered_free(&rendered);
    return right;
}

static void snippets_render_as_in_jinja2(void **state) {
    (void)state;
    json_t *golden = json_load_file("tests/golden/jinja.json", 0, NULL);
    assert_non_null(golden);
    const struct jinja_input input = {.data = json_object_get(golden, "data"),
                                      .now = json_integer_value(json_object_get(golden, "now"))};
    size_t i, wrong = 0;
    json_t *item;
    json_array_foreach(json_object_get(golden, "cases"), i, item) wrong += !check_case(item, &input);
    assert_true(i > 850);
    assert_int_equal(wrong, 0);
    json_decref(golden);
}

static opsm_status render_text(const char *source, const struct jinja_input *input, struct jinja_rendered *rendered,
                               opsm_error *err) {
    return render_with(source, strlen(source), input, rendered, err);
}

/* Templates that do not end, or grow without end: each meets a bound, and says so. */
static void every_render_ends(void **state) {
    (void)state;
    static const struct {
        const char *template, *sentence;
    } cases[] = {
        {"{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "MiB"},
        {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "levels deep"},
        {"{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}", "levels deep"},
        {"{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", "MiB"},
        {"{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = ns.l + ns.l %}{% endfor %}", "MiB"},
        {"{% set ns = namespace(l=[1]) %}{% for i in range(40) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
         "steps"},
        {"{% set ns = namespace(l=[1]) %}{% for i in range(40) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}"
         "{{ ns.l == [ns.l[0] + [], ns.l[1]] }}",
         "steps"},
        {"{% set ns = namespace(l=[1]) %}{% for i in range(2000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
         "levels deep"},
        {"{% set ns = namespace(l=[1]) %}{% for i in range(2000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l|tojson "
         "}}",
         "levels deep"},
        {"{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns }}", "levels deep"},
        {"{{ 'x' * 999999999999 }}", "steps"},
        {"{{ [1, 2] * 999999999999 }}", "too long"},
        {"{{ 'x'.ljust(999999999999) }}", "steps"},
        {"{% for i in range(100000) %}{{ 'a long line that goes on and on and on' * 1000 }}{% endfor %}", "MiB"},
        {"{% for i in range(100000) %}{{ ('ab' * 100000).rfind('ba' * 50000 ~ 'c') }}{% endfor %}", "steps"},
        {"{% set s = 'x' * 1000000 %}{% for i in range(100000) %}{{ s[500000] is defined }}{% endfor %}", "steps"},
        {"{% set s = 'a' * 500000 %}{% for i in range(100000) %}{{ (s + 'b') in (s + s) }}{% endfor %}", "steps"},
        {"{% set s = 'a' * 500000 %}{{ (s + s).rfind(s + 'b') }}", "steps"},
        {"{% set s = ' ' * 1000000 %}{% for i in range(100000) %}{{ s.strip() }}{{ s.lstrip() }}{% endfor %}", "steps"},
        {"{% set s = ' ' * 1000000 %}{% for i in range(100000) %}{{ s.split()|length }}{% endfor %}", "steps"},
        {"{% set ns = namespace(t=(1,)) %}{% for i in range(60) %}{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ {ns.t: "
         "1} }}",
         "steps"},
        {"{% set ns = namespace(t=(1,)) %}{% for i in range(99999) %}{% set ns.t = (ns.t,) %}{% endfor %}{{ {ns.t: 1} "
         "}}",
         "levels deep"},
        {"{{ 9223372036854775807 + 1 }}", "64 bits"},
        {"{{ 9 ** 99 }}", "64 bits"},
        {"{{ '%9999999d' % 1 }}", "above 1000"},
    };
    const struct jinja_input input = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i += EMULATED ? 6 : 1) {
        opsm_error err = {0};
        struct jinja_rendered rendered;
        opsm_status status = render_text(cases[i].template, &input, &rendered, &err);
        if (status != OPSM_INVALID || !strstr(err.text, cases[i].sentence) || !strstr(err.text, "line 1, column"))
            print_error("%s: %d %s\n", cases[i].template, status, err.text);
        assert_int_equal(status, OPSM_INVALID);
        assert_non_null(strstr(err.text, cases[i].sentence));
        assert_null(rendered.text);
    }
}

/* Nesting is refused before it can use up the stack. */
static void deep_sources_are_refused(void **state) {
    (void)state;
    static const char *const parts[] = {"(", "[", "{0:", "-", "not ", "a[", "a(", "1 if ", "x|d("};
    static char source[100000];
    const struct jinja_input input = {0};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t n = strlen(parts[i]), used = 2;
        memcpy(source, "{{", 2);
        while (used + n < sizeof source - 1) {
            memcpy(source + used, parts[i], n);
            used += n;
        }
        opsm_error err = {0};
        struct jinja_rendered rendered;
        assert_int_equal(render_with(source, used, &input, &rendered, &err), OPSM_UNSUPPORTED);
        assert_non_null(strstr(err.text, "chat template, line 1, column"));
    }
    static const char block[] = "{% if a %}";
    for (size_t used = 0; used + sizeof block < sizeof source; used += sizeof block - 1)
        memcpy(source + used, block, 11);
    opsm_error err = {0};
    struct jinja_rendered rendered;
    assert_int_equal(render_text(source, &input, &rendered, &err), OPSM_UNSUPPORTED);
    assert_non_null(strstr(err.text, "levels"));
}

static void sentences_name_the_place(void **state) {
    (void)state;
    static const struct {
        const char *template, *sentence;
    } cases[] = {
        {"a\n{{ x.y }}", "line 2, column 4: 'x' is undefined"},
        {"é {{ 1 + 'a' }}", "line 1, column 6: int + str"},
        {"{% set a %}\n\n  {{ b|nosuch }}", "line 3, column 8: the filter 'nosuch' is not known here"},
        {"{{ a is nosuch }}", "the test 'nosuch' is not known here"},
        {"{% if a %}", "{% endif %} is missing"},
        {"\n\n{{ raise_exception('no\nsystem') }}", "line 3, column 4: no system"},
        {"{% include 'a' %}", "the block 'include' is not known"},
        {"{{ 'abc }}", "a string without its closing quote"},
        {"{{ f(*a) }}", "not supported"},
        {"{% for a in b recursive %}", "recursive loops are not supported"},
        {"{{ [].append(1) }}", "'append' is undefined"},
        {"{{ a", "is not closed with }}"},
    };
    const struct jinja_input input = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i += EMULATED ? 6 : 1) {
        opsm_error err = {0};
        struct jinja_rendered rendered;
        assert_int_not_equal(render_text(cases[i].template, &input, &rendered, &err), OPSM_OK);
        if (!strstr(err.text, cases[i].sentence)) print_error("%s: %s\n", cases[i].template, err.text);
        assert_non_null(strstr(err.text, cases[i].sentence));
    }
    opsm_error err = {0};
    struct jinja_rendered rendered;
    assert_int_equal(render_with("a\0b", 3, &input, &rendered, &err), OPSM_UNSUPPORTED);
    assert_int_equal(render_with("\xff", 1, &input, &rendered, &err), OPSM_UNSUPPORTED);
}

/* The result's bytes out of `data` become '#', those of the template and the settings stay. */
static void a_byte_knows_where_it_comes_from(void **state) {
    (void)state;
    static const struct {
        const char *template, *expected;
    } cases[] = {
        {"<{{ m.text }}>", "<######>"},
        {"<{{ m.text|trim }}>", "<####>"},
        {"<{{ m.text.strip() + '!' }}>", "<####!>"},
        {"<{{ m.text[1:-1][::-1] }}>", "<####>"},
        {"<{{ m.text|upper }}{{ bos }}>", "<######[B]>"},
        {"{{ m.text.split('|')[0] ~ '|' }}", "##|"},
        {"{{ m.text|replace('|', '<s>') }}", "##<s>###"},
        {"{{ 'abc'|replace('b', m.text) }}", "a######c"},
        {"{{ [m.text, 'x']|join('-') }}", "######-x"},
        {"{{ m|tojson }}", "{\"####\": \"######\", \"####\": \"user\", \"###\": \"########\"}"},
        {"{{ [m.text] }}", "['######']"},
        {"{{ '%s!' % m.text }}{{ '{}?'.format(m.text) }}", "######!######?"},
        {"{% set x %}a{{ m.text }}{% endset %}{{ x }}", "a######"},
        {"{% macro f(t) %}[{{ t }}]{% endmacro %}{{ f(m.text)|trim }}", "[######]"},
        {"{{ m.text|indent(2, first=true) }}", "  ######"},
        {"{% for c in m.text %}{{ c }},{% endfor %}", "#,#,#,#,#,#,"},
        {"{% for k in m %}{{ k }};{% endfor %}", "####;####;###;"},
        {"<|{{ m.role }}|>", "<|user|>"}, /* one word: the template's */
        {"<|{{ m.bad }}|>", "<|########|>"},
        {"{{ m.text|length }}", "6"},
        {"{{ 'user' if m.role == 'user' else m.text }}", "user"},
        {"{{ 'a' + m.text|string + 'b' }}", "a######b"},
        {"{{ m.text|title }}{{ m.text|capitalize }}", "############"},
        {"{{ m.text|e }}", "######"},
    };
    json_t *data = json_pack("{s:{s:s, s:s, s:s}}", "m", "text", " a|bc ", "role", "user", "bad", "a|><|b c");
    json_t *settings = json_pack("{s:s}", "bos", "[B]");
    const struct jinja_input input = {.data = data, .settings = settings, .word = "role"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        opsm_error err = {0};
        struct jinja_rendered rendered;
        assert_ok(render_text(cases[i].template, &input, &rendered, &err));
        for (size_t k = 0; k < rendered.length; k++)
            if (rendered.stranger[k]) rendered.text[k] = '#';
        assert_string_equal(rendered.text, cases[i].expected);
        jinja_rendered_free(&rendered);
    }
    json_decref(data);
    json_decref(settings);
}

static void threads_share_a_template(void **state) {
    (void)state;
    static const char source[] = "{% for i in range(200) %}{{ name ~ i }}{% endfor %}{{ {'a': [name]}|tojson }}";
    opsm_error err = {0};
    struct jinja_template *template;
    assert_ok(jinja_parse(&template, source, strlen(source), &err));
    json_t *data = json_pack("{s:s}", "name", "x");
    const struct jinja_input input = {.data = data};
    int failures = 0;
#pragma omp parallel for num_threads(4) reduction(+ : failures)
    for (int i = 0; i < 64; i++) {
        opsm_error why = {0};
        struct jinja_rendered rendered;
        failures += jinja_render(template, &input, &rendered, &why) != OPSM_OK || rendered.length != 690 + 12;
        jinja_rendered_free(&rendered);
    }
    assert_int_equal(failures, 0);
    json_decref(data);
    jinja_free(template);
}

/* Every allocation fails once: OPSM_NOMEM, and nothing leaks (the sanitizers look). */
static void out_of_memory_is_an_error(void **state) {
    (void)state;
    static const char source[] =
        "{% macro m(a) %}{{ a }}{% endmacro %}{% set x = {'a': [1, 'b' 'c']} %}{{ m(x) ~ data }}"
        "{% for k, v in x|dictsort %}{{ k|upper }}{% endfor %}{{ data.split('a')|join('b') }}";
    char long_text[5000];
    memset(long_text, 'a', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    json_t *data = json_pack("{s:s}", "data", long_text);
    const struct jinja_input input = {.data = data};
    int failures = 0;
    for (int nth = 1;; nth++, failures++) {
        opsm_error err = {0};
        struct jinja_rendered rendered;
        mem_fail_at(nth);
        opsm_status status = render_text(source, &input, &rendered, &err);
        mem_fail_at(0);
        jinja_rendered_free(&rendered);
        if (status == OPSM_OK) break;
        assert_int_equal(status, OPSM_NOMEM);
    }
    assert_true(failures >= 10);
    json_decref(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(snippets_render_as_in_jinja2),     cmocka_unit_test(every_render_ends),
        cmocka_unit_test(deep_sources_are_refused),         cmocka_unit_test(sentences_name_the_place),
        cmocka_unit_test(a_byte_knows_where_it_comes_from), cmocka_unit_test(threads_share_a_template),
        cmocka_unit_test(out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
