/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "check.h"
#include "io/json_writer.h"
#include <jansson.h>
#include <math.h>
#include <string.h>

static void commas_come_by_themselves(void **state) {
    (void)state;
    struct text text = {0};
    struct json_writer w = {.text = &text};
    json_put_open(&w, NULL, '{');
    json_put_int(&w, "least", INT64_MIN);
    json_put_bool(&w, "yes", true);
    json_put_open(&w, "empty", '{');
    json_put_close(&w, '}');
    json_put_open(&w, "list", '[');
    json_put_open(&w, NULL, '[');
    json_put_close(&w, ']');
    w.breaks = true;
    json_put_string(&w, NULL, NULL);
    json_put_raw(&w, NULL, "[1]");
    json_put_close(&w, ']');
    json_put_null(&w, "a\"key");
    json_put_close(&w, '}');
    json_put_end(&w);
    json_put_string(&w, NULL, "next line");
    json_put_end(&w);
    assert_string_equal(text.data, "{\"least\":-9223372036854775808,\"yes\":true,\"empty\":{},\"list\":[[],\nnull,[1]],"
                                   "\"a\\\"key\":null}\n\"next line\"\n");
    text_free(&text);
}

static void blanks_where_they_are_wanted(void **state) {
    (void)state;
    struct text text = {0};
    struct json_writer w = {.text = &text, .spaced = true};
    json_put_open(&w, NULL, '{');
    json_put_open(&w, "a", '[');
    json_put_int(&w, NULL, 1);
    json_put_int(&w, NULL, 2);
    json_put_close(&w, ']');
    json_put_int(&w, "b", 3);
    json_put_close(&w, '}');
    assert_string_equal(text.data, "{\"a\": [1, 2], \"b\": 3}");
    text_free(&text);
}

static void numbers(void **state) {
    (void)state;
    const struct {
        double value;
        int digits;
        bool reals;
        const char *text;
    } rows[] = {{0.1, 0, false, "0.1"},
                {1.0 / 3, 0, false, "0.3333333333333333"},
                {1.0 / 3, 9, false, "0.333333333"},
                {-0.0, 9, false, "-0"},
                {1e300, 5, false, "1e+300"},
                {2, 0, true, "2.0"},
                {2, 9, true, "2.0"},
                {-1e20, 9, true, "-1e+20"},
                {0.5, 17, true, "0.5"},
                {NAN, 0, true, "null"},
                {INFINITY, 9, false, "null"},
                {-INFINITY, 0, false, "null"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct text text = {0};
        struct json_writer w = {.text = &text, .digits = rows[i].digits, .reals = rows[i].reals};
        json_put_number(&w, NULL, rows[i].value);
        assert_string_equal(text.data, rows[i].text);
        text_free(&text);
    }
    struct text text = {0};
    struct json_writer w = {.text = &text};
    json_put_fixed(&w, NULL, 2.0 / 3, 2);
    json_put_fixed(&w, NULL, NAN, 2);
    json_put_fixed(&w, NULL, -1e308, 1);
    assert_int_equal(text.length, strlen("0.67,null,-") + 309 + strlen(".0"));
    assert_memory_equal(text.data, "0.67,null,-1", 12);
    text_free(&text);
}

static void strings(void **state) {
    (void)state;
    struct text text = {0};
    struct json_writer w = {.text = &text};
    const char bytes[] = "a\"b\\c\n\x01\0é\xff\xe2\x82";
    json_put_bytes(&w, NULL, bytes, sizeof bytes - 1);
    assert_string_equal(text.data, "\"a\\\"b\\\\c\\u000a\\u0001\\u0000é\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    text_free(&text);
}

/* Every byte comes back as itself, or as U+FFFD where it is no character. */
static void every_byte_is_json(void **state) {
    (void)state;
    for (int c = 0; c < 256; c++) {
        struct text text = {0};
        struct json_writer w = {.text = &text};
        char byte = (char)c;
        json_put_bytes(&w, NULL, &byte, 1);
        json_t *json = json_loads(text.data, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_non_null(json);
        if (c < 128)
            assert_memory_equal(json_string_value(json), &byte, 1);
        else
            assert_string_equal(json_string_value(json), "\xef\xbf\xbd");
        json_decref(json);
        text_free(&text);
    }
}

static void being_out_of_memory_sticks(void **state) {
    (void)state;
    struct text text = {0};
    struct json_writer w = {.text = &text, .reals = true};
    mem_fail_at(1);
    json_put_open(&w, "a", '[');
    mem_fail_at(0);
    json_put_number(&w, NULL, 2);
    json_put_fixed(&w, NULL, 2, 1);
    json_put_string(&w, NULL, "text");
    json_put_close(&w, ']');
    assert_true(text.failed);
    assert_int_equal(text.length, 0);
    text_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commas_come_by_themselves),
        cmocka_unit_test(blanks_where_they_are_wanted),
        cmocka_unit_test(numbers),
        cmocka_unit_test(strings),
        cmocka_unit_test(every_byte_is_json),
        cmocka_unit_test(being_out_of_memory_sticks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
