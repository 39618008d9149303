/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/mem.h"
#include "check.h"
#include "io/jsonl.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Opens a copy of exactly the text, so that AddressSanitizer sees the first byte too many. */
static struct jsonl *open_text(const char *text, size_t size, size_t limit, char **copy) {
    struct jsonl *lines;
    opsm_error err = {0};
    *copy = malloc(size ? size : 1);
    if (size > 0) memcpy(*copy, text, size);
    assert_ok(jsonl_open_memory(&lines, *copy, size, "rows.jsonl", limit, &err));
    return lines;
}

/* The "n" of every row, as "1@1 2@3 " (value@line); or the sentence of the first error. */
static const char *summary(const char *text, size_t size, size_t limit) {
    static char out[1000];
    char *copy;
    struct jsonl *lines = open_text(text, size, limit, &copy);
    opsm_error err = {0};
    opsm_status status;
    size_t n = 0;
    out[0] = '\0';
    assert_int_equal(jsonl_line(lines), 0);
    for (json_t *row; (status = jsonl_next(lines, &row, &err)) == OPSM_OK && row; json_decref(row))
        n += (size_t)snprintf(out + n, sizeof out - n, "%d@%d ", (int)json_integer_value(json_object_get(row, "n")),
                              (int)jsonl_line(lines));
    if (status != OPSM_OK) snprintf(out, sizeof out, "%d %s", (int)status, err.text);
    jsonl_close(lines);
    free(copy);
    return out;
}

#define SUMMARY(text) summary(text, sizeof(text) - 1, 1000)

static void rows_and_line_numbers(void **state) {
    (void)state;
    assert_string_equal(SUMMARY(""), "");
    assert_string_equal(SUMMARY("\n\n"), "");
    assert_string_equal(SUMMARY("{\"n\":1}\n{\"n\":2}\n"), "1@1 2@2 ");
    assert_string_equal(SUMMARY("{\"n\":1}\n{\"n\":2}"), "1@1 2@2 ");
    assert_string_equal(SUMMARY("{\"n\":1}\r\n\r\n \t\n{\"n\":2}\r\n"), "1@1 2@4 ");
    assert_string_equal(SUMMARY("{\"n\":1}\r\n{\"n\":2}\r"), "1@1 2@2 ");
    assert_string_equal(SUMMARY("\xef\xbb\xbf{\"n\":7}\n"), "7@1 ");
    assert_string_equal(SUMMARY("  {\"n\" : 3}  \n"), "3@1 ");
}

static void faults_name_line_and_column(void **state) {
    (void)state;
    const struct {
        const char *text, *part;
    } cases[] = {
        {"{\"n\":1}\n{\"n\":}\n", "'rows.jsonl', line 2: column 6: unexpected token near '}'"},
        {"\r\n{\"n\":1", "line 2: column 6: '}' expected near end of file"},
        {"{\"n\":1} x", "line 1: column 9"},
        {"[1]", "line 1: column 1: a JSON array; every line must be one JSON object"},
        {"17", "line 1: column 2: '[' or '{' expected near '17'"},
        {"{\"n\":\"\xff\"}", "unable to decode byte 0xff"},
        {"{\"n\":NaN}", "invalid token near 'NaN'"},
        {"{\"n\":1e999e5}", "line 1: real number overflow"},
        {"{\"n\":099999999999999999999}", "line 1: column"},
        {"{\"n\":1e999,}", "line 1: string or '}' expected near '}'; every line must be one JSON object"},
        {"{\"n\":1e999} 7", "line 1: end of file expected near '7'"},
        {"{\"n\":1e999, \"m\": 1e999e}", "line 1: "},
        {"{\"n\":1e999, \"m\": 1.e999}", "line 1: "},
        {"{\"n\":1e999, \"m\": 099999999999999999999}", "line 1: "},
        {"{\"n\":1e999, \"m\": \"\xff\"}", "line 1: unable to decode byte 0xff"},
        {"{\"n\":1e999, \"m\": \"\\u12\"}", "line 1: invalid escape"},
        {"{\"n\":1e999, \"m\": \"", "line 1: "},
        {"[1e999]", "a JSON array"},
        {"\n\xef\xbb\xbf{\"n\":1}", "line 2"},
        {"{\"n\":1}\n\x1b[2J\n", "line 2: column 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = summary(cases[i].text, strlen(cases[i].text), 1000);
        if (got[0] != '0' + OPSM_FORMAT || !strstr(got, cases[i].part)) fail_msg("case %zu: %s", i, got);
        assert_null(strchr(got, '\x1b'));
    }
    char nested[6000];
    memset(nested, '[', sizeof nested);
    memcpy(nested, "{\"n\":", 5);
    assert_non_null(strstr(summary(nested, sizeof nested, sizeof nested), "maximum parsing depth reached"));
    const char nul[] = "{\"n\":1}\0\n";
    assert_non_null(strstr(summary(nul, sizeof nul - 1, 1000), "line 1: column"));
}

/* What jansson has no room for comes as a text that begins with NUL, and can be told from any text of the file. */
static void values_that_do_not_fit(void **state) {
    (void)state;
    const char text[] =
        "{\"n\":-18446744073709551616,\"r\":1E400,\"a\":[1,{\"deep\":99999999999999999999}],\"t\":\"x\\u0000y\","
        "\"h\":\"\\uDC00\",\"q\":\"\\u00001\",\"two\":1,\"tw\\u006f\":2,\"in\":{\"b\":1,\"b\":2},\"ok\":\"\\\\u0000\","
        "\"pair\":\"\\ud83d\\ude00\",\"small\":9223372036854775807,\"k\\u0000\":3}";
    char *copy;
    struct jsonl *lines = open_text(text, sizeof text - 1, 1000, &copy);
    opsm_error err = {0};
    json_t *row;
    assert_ok(jsonl_next(lines, &row, &err));
    assert_string_equal(json_large_number(json_object_get(row, "n")), "-18446744073709551616");
    assert_string_equal(json_large_number(json_object_get(row, "r")), "1E400");
    assert_string_equal(json_large_number(json_object_get(json_array_get(json_object_get(row, "a"), 1), "deep")),
                        "99999999999999999999");
    const char *unfit[] = {"t", "h", "q", "two"};
    for (size_t i = 0; i < sizeof unfit / sizeof *unfit; i++) {
        assert_true(json_is_unfit(json_object_get(row, unfit[i])));
        assert_null(json_large_number(json_object_get(row, unfit[i])));
    }
    assert_int_equal(json_integer_value(json_object_get(json_object_get(row, "in"), "b")), 2);
    assert_string_equal(json_string_value(json_object_get(row, "ok")), "\\u0000");
    assert_string_equal(json_string_value(json_object_get(row, "pair")), "\xf0\x9f\x98\x80");
    assert_int_equal(json_integer_value(json_object_get(row, "small")), INT64_MAX);
    assert_int_equal(json_integer_value(json_object_get(row, "k\xef\xbf\xbd")), 3);
    json_decref(row);
    jsonl_close(lines);
    free(copy);
}

static void reading_goes_on_behind_a_faulty_line(void **state) {
    (void)state;
    const char text[] = "{\"n\":1}\n{broken\n{\"n\":3}\n";
    char *copy;
    struct jsonl *lines = open_text(text, sizeof text - 1, 1000, &copy);
    opsm_error err = {0};
    json_t *row;
    assert_ok(jsonl_next(lines, &row, &err));
    json_decref(row);
    assert_int_equal(jsonl_next(lines, &row, &err), OPSM_FORMAT);
    assert_null(row);
    assert_ok(jsonl_next(lines, &row, &err));
    assert_int_equal(json_integer_value(json_object_get(row, "n")), 3);
    json_decref(row);
    assert_int_equal(jsonl_fail(lines, &err, OPSM_MISSING, "field '%s' is missing", "reward"), OPSM_MISSING);
    assert_string_equal(err.text, "'rows.jsonl', line 3: field 'reward' is missing");
    for (int i = 0; i < 2; i++) {
        assert_ok(jsonl_next(lines, &row, &err));
        assert_null(row);
    }
    jsonl_close(lines);
    free(copy);
}

static void long_lines_are_refused(void **state) {
    (void)state;
    const char text[] = "{\"n\":1}\n{\"n\":22}\r\n";
    assert_string_equal(summary(text, sizeof text - 1, 8), "1@1 2"
                                                           "2@2 ");
    assert_non_null(strstr(summary(text, sizeof text - 1, 7), "line 2: the line is longer than 7 bytes"));
    assert_non_null(strstr(summary(text, sizeof text - 3, 7), "line 2: the line is longer than 7 bytes"));
    /* Refused once the limit is passed, not after the whole line was read into memory. */
    size_t size = 10 << 20;
    char *huge = malloc(size);
    memset(huge, ' ', size);
    char *copy;
    struct jsonl *lines = open_text(huge, size, 100000, &copy);
    opsm_error err = {0};
    json_t *row;
    mem_fail_at(3); /* 64 KiB grow to 128: one allocation */
    for (int i = 0; i < 2; i++) assert_int_equal(jsonl_next(lines, &row, &err), OPSM_FORMAT);
    mem_fail_at(0);
    jsonl_close(lines);
    free(copy);
    free(huge);
}

/* Rows of every length around the size of the buffer arrive whole. */
static void rows_of_any_length(void **state) {
    (void)state;
    size_t total = 0, rows = 0;
    char *text = malloc(64 << 20);
    for (size_t length = 0; length < 200000; length += length < 100 ? 1 : 9973) {
        total += (size_t)sprintf(text + total, "{\"n\":%zu,\"s\":\"", length);
        memset(text + total, 'x', length);
        total += length;
        total += (size_t)sprintf(text + total, rows % 3 ? "\"}\n" : "\"}\r\n");
        rows++;
    }
    char *copy;
    struct jsonl *lines = open_text(text, total, JSONL_LINE_DEFAULT, &copy);
    opsm_error err = {0};
    for (size_t i = 0; i < rows; i++) {
        json_t *row;
        assert_ok(jsonl_next(lines, &row, &err));
        assert_non_null(row);
        assert_int_equal(json_string_length(json_object_get(row, "s")), json_integer_value(json_object_get(row, "n")));
        json_decref(row);
    }
    jsonl_close(lines);
    free(copy);
    free(text);
}

static void files_and_pipes(void **state) {
    (void)state;
    opsm_error err = {0};
    struct jsonl *lines;
    json_t *row;
    assert_int_equal(jsonl_open(&lines, "/nonexistent/rows.jsonl", 100, &err), OPSM_IO);
    assert_null(lines);
    assert_int_equal(jsonl_open(&lines, OPSM_SOURCE_DIR, 100, &err), OPSM_IO);
    assert_non_null(strstr(err.text, "is a directory"));
    assert_int_equal(jsonl_open(&lines, "/dev/zero", 100, &err), OPSM_IO);
    assert_non_null(strstr(err.text, "is a device"));
    assert_null(lines);

    int ends[2];
    assert_int_equal(pipe(ends), 0);
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    assert_ok(jsonl_open(&lines, path, 100, &err));
    assert_int_equal(write(ends[1], "{\"n\":1}\n{\"n\":", 13), 13);
    assert_ok(jsonl_next(lines, &row, &err));
    json_decref(row);
    assert_int_equal(write(ends[1], "2}", 2), 2);
    close(ends[1]);
    assert_ok(jsonl_next(lines, &row, &err));
    assert_int_equal(json_integer_value(json_object_get(row, "n")), 2);
    json_decref(row);
    assert_ok(jsonl_next(lines, &row, &err));
    assert_null(row);
    jsonl_close(lines);
    close(ends[0]);
    jsonl_close(NULL);
}

static int jansson_allocations_left;

static void *scarce_malloc(size_t size) {
    return jansson_allocations_left-- > 0 ? malloc(size) : NULL;
}

static void out_of_memory_at_every_allocation(void **state) {
    (void)state;
    opsm_error err = {0};
    struct jsonl *lines;
    size_t size = 100000;
    char *text = malloc(size);
    memset(text, ' ', size);
    memcpy(text, "{\"n\":[1,2.5,\"text\",{}]}", 23);
    int failures = 0;
    for (;; failures++) {
        json_t *row = NULL;
        mem_fail_at(failures + 1);
        opsm_status status = jsonl_open_memory(&lines, text, size, "rows.jsonl", size, &err);
        if (status == OPSM_OK) {
            status = jsonl_next(lines, &row, &err);
            jsonl_close(lines);
        }
        mem_fail_at(0);
        json_decref(row);
        if (status == OPSM_OK) break;
        assert_int_equal(status, OPSM_NOMEM);
    }
    assert_int_equal(failures, 4); /* reader, name, buffer, larger buffer */

    /* jansson's own allocations: an error each time and no leak, though jansson blames the text for some. */
    int refused = 0, exhausted = 0;
    for (int allowed = 0;; allowed++) {
        json_t *row;
        assert_ok(jsonl_open_memory(&lines, text, size, "rows.jsonl", size, &err));
        jansson_allocations_left = allowed;
        json_set_alloc_funcs(scarce_malloc, free);
        opsm_status status = jsonl_next(lines, &row, &err);
        json_set_alloc_funcs(malloc, free);
        jsonl_close(lines);
        json_decref(row);
        if (status == OPSM_OK) break;
        assert_null(row);
        refused++;
        exhausted += status == OPSM_NOMEM;
    }
    assert_true(refused > 5 && exhausted > 3);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_and_line_numbers),  cmocka_unit_test(faults_name_line_and_column),
        cmocka_unit_test(values_that_do_not_fit), cmocka_unit_test(reading_goes_on_behind_a_faulty_line),
        cmocka_unit_test(long_lines_are_refused), cmocka_unit_test(rows_of_any_length),
        cmocka_unit_test(files_and_pipes),        cmocka_unit_test(out_of_memory_at_every_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
