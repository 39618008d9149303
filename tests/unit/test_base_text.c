/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "base/text.h"
#include "check.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void text_grows_and_formats(void **state) {
    (void)state;
    struct text text = {0};
    for (int i = 0; i < 1000; i++) text_printf(&text, "%03d,", i);
    assert_false(text.failed);
    assert_int_equal(text.length, 4000);
    assert_int_equal(strlen(text.data), 4000);
    assert_memory_equal(text.data + 4 * 517, "517,", 4);
    text_clear(&text);
    assert_string_equal(text.data, "");
    text_append(&text, "a\0b", 3);
    text_puts(&text, "c");
    assert_memory_equal(text.data, "a\0bc", 5);
    text_free(&text);
}

static void text_remembers_that_memory_ran_out(void **state) {
    (void)state;
    struct text text = {0};
    text_puts(&text, "kept");
    mem_fail_at(1);
    for (int i = 0; i < 100; i++) text_puts(&text, "0123456789");
    assert_true(text.failed);
    mem_fail_at(0);
    assert_memory_equal(text.data, "kept", 4);
    text_free(&text);
}

static void numbers_are_written_as_a_person_does(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *text;
    } rows[] = {{0, "0"},
                {1 << 20, "1048576"},
                {1e9, "1000000000"},
                {-1e6, "-1000000"},
                {0.9999999, "0.9999999"},
                {0.1, "0.1"},
                {0.05, "0.05"},
                {1e-4, "0.0001"},
                {1e-6, "1e-6"},
                {1.5e-8, "1.5e-8"},
                {1e-30, "1e-30"},
                {1e300, "1e300"},
                {1.0 / 3, "0.3333333333333333"},
                {INFINITY, "inf"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[TEXT_NUMBER_ROOM];
        assert_string_equal(text_readable(text, rows[i].value), rows[i].text);
    }
}

static void numbers_read_back_the_same(void **state) {
    (void)state;
    const struct {
        double value;
        const char *digits;
    } rows[] = {{0, "0"},
                {-0.0, "-0"},
                {0.1, "0.1"},
                {1.0 / 3, "0.3333333333333333"},
                {1e300, "1e+300"},
                {123456, "123456"},
                {0.30000000000000004, "0.30000000000000004"},
                {5e-324, "4.94065645841247e-324"},
                {1e15 + 0.5, "1000000000000000.5"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct text text = {0};
        text_number(&text, rows[i].value);
        assert_string_equal(text.data, rows[i].digits);
        assert_true(strtod(text.data, NULL) == rows[i].value);
        text_free(&text);
    }
}

static void distances(void **state) {
    (void)state;
    assert_int_equal(text_distance("", ""), 0);
    assert_int_equal(text_distance("", "abc"), 3);
    assert_int_equal(text_distance("kitten", "sitting"), 3);
    assert_int_equal(text_distance("flaw", "lawn"), 2);
    assert_int_equal(text_distance("modusm", "modsum"), 1); /* neighbours swapped */
    assert_int_equal(text_distance("Running_Sum", "running-sum"), 0);
    char a[300], b[300];
    memset(a, 'a', sizeof a);
    memset(b, 'b', sizeof b);
    a[299] = b[299] = '\0';
    assert_int_equal(text_distance(a, b), 64);
}

static void nearest_names(void **state) {
    (void)state;
    const char *names[] = {"temperature", "top_p", "top_k", "stop", "seed", "seeds"};
    const size_t n = sizeof names / sizeof *names;
    assert_string_equal(text_nearest("temprature", names, n), "temperature");
    assert_string_equal(text_nearest("top-k", names, n), "top_k");
    assert_string_equal(text_nearest("topp", names, n), "top_p");
    assert_string_equal(text_nearest("sead", names, n), "seed");
    assert_string_equal(text_nearest("seed", names, n), "seed");
    assert_string_equal(text_nearest("temp", names, n), "temperature"); /* a beginning */
    assert_null(text_nearest("learning_rate", names, n));
    assert_null(text_nearest("", names, n));
    assert_null(text_nearest("seed", names, 0));
}

static void bytes_are_found_in_bytes(void **state) {
    (void)state;
    const char *all = "aab\0abc";
    assert_ptr_equal(text_find(all, 7, "ab", 2), all + 1);
    assert_ptr_equal(text_find(all, 7, "abc", 3), all + 4); /* up to the last byte, beyond a NUL */
    assert_ptr_equal(text_find(all, 7, "b\0a", 3), all + 2);
    assert_null(text_find(all, 6, "abc", 3));
    assert_null(text_find(all, 2, "aab", 3));
    assert_ptr_equal(text_find(all, 0, "", 0), all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_found_in_bytes),
        cmocka_unit_test(text_grows_and_formats),
        cmocka_unit_test(text_remembers_that_memory_ran_out),
        cmocka_unit_test(numbers_read_back_the_same),
        cmocka_unit_test(numbers_are_written_as_a_person_does),
        cmocka_unit_test(distances),
        cmocka_unit_test(nearest_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
