/* SPDX-License-Identifier: Apache-2.0
 *
 * The small tools under the file readers: cursor, quoting of names, name index.
 */
#include "base/mem.h"
#include "check.h"
#include "io/cursor.h"
#include "io/name_map.h"
#include "io/quote.h"
#include <string.h>

static void cursor_reads_little_endian(void **state) {
    (void)state;
    const uint8_t bytes[] = {0xff, 1, 2, 3, 4, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88};
    struct cursor c = cursor_make(bytes, sizeof bytes, "file", NULL);
    assert_ptr_equal(cursor_take(&c, 1, "a byte"), bytes);
    assert_true(cursor_u32(&c, "a number") == 0x04030201u);
    assert_true(cursor_u64(&c, "a number") == 0x8877665544332211u);
    assert_true(cursor_ok(&c));
    assert_int_equal(cursor_left(&c), 0);
    assert_non_null(cursor_take(&c, 0, "nothing"));
}

static void cursor_keeps_its_first_error(void **state) {
    (void)state;
    const uint8_t bytes[6] = {1, 2, 3, 4, 5, 6};
    opsm_error err = {0};
    struct cursor c = cursor_make(bytes, sizeof bytes, "file", &err);
    cursor_u32(&c, "a number");
    assert_int_equal(cursor_u32(&c, "the second number"), 0);
    assert_int_equal(c.status, OPSM_FORMAT);
    const char *sentence = "'file', byte 4: the second number needs 4 bytes, but the file ends after 2 more; it is "
                           "truncated or damaged";
    assert_string_equal(err.text, sentence);
    assert_null(cursor_take(&c, 1, "what is there"));
    assert_int_equal(cursor_fail(&c, OPSM_UNSUPPORTED, 0, "later"), OPSM_FORMAT);
    assert_string_equal(err.text, sentence);
    const uint64_t sizes[] = {7, UINT64_MAX, UINT64_MAX - 3, 1ull << 63};
    for (int i = 0; i < 4; i++) {
        c = cursor_make(bytes, sizeof bytes, "file", &err);
        cursor_take(&c, 4, "a start");
        assert_null(cursor_take(&c, sizes[i], "too much"));
        assert_int_equal(c.at, 4);
    }
    c = cursor_make(NULL, 0, "empty", NULL);
    assert_null(cursor_take(&c, 1, "a byte"));
}

static void names_are_quoted(void **state) {
    (void)state;
    char out[QUOTE_ROOM];
    assert_string_equal(quote(out, "plain", 5), "'plain'");
    assert_string_equal(quote(out, "", 0), "''");
    assert_string_equal(quote(out, "\0\x1f \x7e\x7f\xc3", 6), "'\\x00\\x1f ~\\x7f\\xc3'");
    char text[1000];
    for (size_t length = 0; length <= sizeof text; length++) {
        memset(text, length % 2 ? 'x' : '\x01', sizeof text);
        size_t n = strlen(quote(out, text, length));
        assert_true(n < QUOTE_ROOM && out[0] == '\'' && out[n - 1] == '\'');
        if (length > 77) assert_memory_equal(out + n - 4, "...'", 4);
    }
}

/* The first and the sixteenth of the reference implementation's test vectors. */
static void siphash_known_answers(void **state) {
    (void)state;
    const uint64_t key[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
    uint8_t input[15];
    for (int i = 0; i < 15; i++) input[i] = (uint8_t)i;
    assert_true(name_hash(key, input, 0) == 0x726fdb47dd0e0e31u);
    assert_true(name_hash(key, input, 15) == 0xa129ca6149be45e5u);
}

static void name_map_finds_what_it_holds(void **state) {
    (void)state;
    enum { N = 20000 };
    struct name_map map = name_map_make();
    assert_int_equal(name_map_find(&map, "x", 1), -1);
    char(*names)[8] = mem_alloc(N, sizeof *names);
    for (uint32_t i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "n%u", i);
        uint32_t index = i;
        assert_int_equal(name_map_add(&map, names[i], strlen(names[i]), &index), OPSM_OK);
        assert_int_equal(index, i);
    }
    assert_int_equal(map.count, N);
    uint32_t again = 7;
    assert_int_equal(name_map_add(&map, "n123", 4, &again), OPSM_OK);
    assert_int_equal(again, 123);
    assert_int_equal(map.count, N);
    for (int i = 0; i < N; i++) assert_int_equal(name_map_find(&map, names[i], strlen(names[i])), i);
    assert_int_equal(name_map_find(&map, "n20000", 6), -1);
    assert_int_equal(name_map_find(&map, "n", 1), -1);
    assert_int_equal(name_map_find(&map, "n1\0", 3), -1);
    name_map_free(&map);
    mem_free(names);
}

static void name_map_survives_out_of_memory(void **state) {
    (void)state;
    struct name_map map = name_map_make();
    char names[100][4];
    uint32_t n = 0;
    for (; n < 100; n++) {
        snprintf(names[n], sizeof names[n], "%u", n);
        uint32_t index = n;
        if (n > 0) mem_fail_at(1); /* only growing allocates */
        opsm_status status = name_map_add(&map, names[n], strlen(names[n]), &index);
        mem_fail_at(0);
        if (status == OPSM_OK) continue;
        assert_int_equal(status, OPSM_NOMEM);
        break;
    }
    assert_true(n > 0 && n < 100);
    for (uint32_t i = 0; i < n; i++) assert_int_equal(name_map_find(&map, names[i], strlen(names[i])), i);
    assert_int_equal(name_map_find(&map, names[n], strlen(names[n])), -1);
    name_map_free(&map);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cursor_reads_little_endian),
        cmocka_unit_test(cursor_keeps_its_first_error),
        cmocka_unit_test(names_are_quoted),
        cmocka_unit_test(siphash_known_answers),
        cmocka_unit_test(name_map_finds_what_it_holds),
        cmocka_unit_test(name_map_survives_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
