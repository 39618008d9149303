/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"
#include "rollout/stop.h"
#include <string.h>

static opsm_error err;

/* Feeds `text` in pieces of `size` bytes; returns the bytes fed at the first match, 0 without one. */
static size_t feed_all(const struct stop_set *set, const char *text, size_t size, size_t *matched) {
    int32_t state[8] = {0};
    size_t length = strlen(text);
    for (size_t at = 0; at < length; at += size) {
        size_t n = length - at < size ? length - at : size, fed = stop_feed(set, state, text + at, n, matched);
        if (fed) return at + fed;
    }
    return 0;
}

static void matches_at_any_cut(void **state) {
    (void)state;
    struct stop_set *set;
    const char *strings[] = {"aab", "\n\n", "END"};
    assert_ok(stop_create(&set, strings, 3, &err));
    for (size_t size = 1; size < 12; size++) {
        size_t matched = 0;
        assert_int_equal(feed_all(set, "aaaab and more", size, &matched), 5);
        assert_int_equal(matched, 3);
        assert_int_equal(feed_all(set, "one\ntwo\n\nEND", size, &matched), 9);
        assert_int_equal(matched, 2);
        assert_int_equal(feed_all(set, "EEENDEND", size, &matched), 5);
        assert_int_equal(feed_all(set, "EN D\n aa ab", size, &matched), 0);
    }
    stop_free(set);
}

/* The text in front of the match holds none of the strings, whatever their order. */
static void of_several_that_end_together_the_longest_counts(void **state) {
    (void)state;
    const char *orders[2][3] = {{"b", "ab", "\xc3\xa9"}, {"\xc3\xa9", "ab", "b"}};
    for (int o = 0; o < 2; o++) {
        struct stop_set *set;
        assert_ok(stop_create(&set, orders[o], 3, &err));
        for (size_t size = 1; size < 6; size++) {
            size_t matched = 0;
            assert_int_equal(feed_all(set, "caba", size, &matched), 3);
            assert_int_equal(matched, 2);
            assert_int_equal(feed_all(set, "\xc3\xa8\xc3\xa9", size, &matched), 4);
            assert_int_equal(matched, 2);
        }
        stop_free(set);
    }
}

static void an_empty_set_never_matches(void **state) {
    (void)state;
    struct stop_set *set;
    size_t matched;
    assert_ok(stop_create(&set, NULL, 0, &err));
    assert_int_equal(stop_feed(set, NULL, "abc", 3, &matched), 0);
    stop_free(set);
}

static void an_empty_string_is_refused(void **state) {
    (void)state;
    struct stop_set *set;
    const char *strings[] = {"x", ""};
    assert_int_equal(stop_create(&set, strings, 2, &err), OPSM_INVALID);
    assert_null(set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_at_any_cut),
        cmocka_unit_test(of_several_that_end_together_the_longest_counts),
        cmocka_unit_test(an_empty_set_never_matches),
        cmocka_unit_test(an_empty_string_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
