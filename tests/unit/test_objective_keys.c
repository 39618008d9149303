/* SPDX-License-Identifier: Apache-2.0
 *
 * The key table: every key takes its own default and current value back, and refuses nonsense with a sentence.
 */
#include "objective_fixture.h"
#include <locale.h>
#include <stdbool.h>

static void defaults_round_trip(void **state) {
    (void)state;
    opsm_error err = {0};
    opsm_objective config, again;
    opsm_objective_defaults(&config);
    again = config;
    assert_ok(opsm_objective_check(&config, &err));
    assert_true(opsm_objective_key_count() >= 35);
    for (int i = 0; i < opsm_objective_key_count(); i++) {
        opsm_key key = opsm_objective_key(i);
        char text[64];
        assert_true(strlen(key.doc) > 5 && strlen(key.range) > 2);
        assert_ok(opsm_objective_get(&config, key.key, text, sizeof text, &err));
        assert_string_equal(text, key.default_value);
        assert_ok(opsm_objective_set(&again, key.key, text, &err));
        for (int j = 0; j < i; j++) assert_string_not_equal(key.key, opsm_objective_key(j).key);
        assert_int_equal(opsm_objective_set(&again, key.key, "nonsense", &err), OPSM_INVALID);
        assert_non_null(strstr(err.text, key.key));
        assert_int_equal(opsm_objective_set(&again, key.key, "", &err), OPSM_INVALID);
        assert_int_equal(opsm_objective_set(&again, key.key, NULL, &err), OPSM_INVALID);
        assert_int_equal(opsm_objective_set(&again, key.key, "nan", &err), OPSM_INVALID);
    }
    /* NaN fields (auto) are the same NaN; everything else is equal: the bytes are. */
    assert_memory_equal(&config, &again, sizeof config);
    assert_null(opsm_objective_key(-1).key);
    assert_null(opsm_objective_key(opsm_objective_key_count()).key);
}

static void documented_keys_exist(void **state) {
    (void)state;
    const char *keys[] = {"advantage",           "surrogate.name",      "surrogate.ratio", "surrogate.clip_low",
                          "surrogate.clip_high", "surrogate.dual_clip", "surrogate.cap",   "mask.rule",
                          "mask.delta",          "mask.policy",         "mask.estimator",  "mask.reduce",
                          "mask.behavior",       "mask.sign",           "mask.kl",         "mask.low",
                          "mask.high",           "mask.seed",           "mask.quantile",   "mask.floor",
                          "mask.ceiling",        "mask.target",         "mask.kappa",      "mask.z",
                          "penalty.beta",        "penalty.estimator",   "penalty.clamp",   "aggregation",
                          "max_length",          "denominator",         "guard",           "threshold.policy"};
    opsm_error err = {0};
    opsm_objective config;
    opsm_objective_defaults(&config);
    char text[64];
    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++)
        assert_ok(opsm_objective_get(&config, keys[k], text, sizeof text, &err));
}

static void values_round_trip(void **state) {
    (void)state;
    const struct {
        const char *key, *given, *back;
    } rows[] = {{"mask.delta", "0.3", "0.3"},       {"mask.delta", "1e-4", "0.0001"},
                {"mask.delta", "inf", "off"},       {"mask.delta", "0.1234567890123456789", "0.12345678901234568"},
                {"mask.delta", "+.5", "0.5"},       {"mask.low", "0.996", "0.996"},
                {"mask.low", "auto", "auto"},       {"mask.high", "off", "off"},
                {"mask.kl", "true", "true"},        {"mask.kl", "0", "false"},
                {"max_length", "4096", "4096"},     {"mask.seed", "9007199254740991", "9007199254740991"},
                {"surrogate.dual_clip", "3", "3"},  {"surrogate.dual_clip", "null", "off"},
                {"surrogate.name", "sapo", "sapo"}, {"threshold.policy", "length", "length"}};
    opsm_error err = {0};
    opsm_objective config;
    opsm_objective_defaults(&config);
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        char text[64];
        assert_ok(opsm_objective_set(&config, rows[k].key, rows[k].given, &err));
        assert_ok(opsm_objective_get(&config, rows[k].key, text, sizeof text, &err));
        assert_string_equal(text, rows[k].back);
    }
}

static void bad_values_leave_the_configuration_alone(void **state) {
    (void)state;
    const struct {
        const char *key, *value;
    } rows[] = {{"mask.delta", "-0.1"},
                {"mask.delta", "0.3x"},
                {"mask.delta", "0x1p3"},
                {"mask.delta", "-inf"},
                {"mask.delta", "1e999"},
                {"mask.delta", "auto"},
                {"mask.low", "1.01"},
                {"mask.low", "off"},
                {"mask.high", "0.99"},
                {"mask.quantile", "1.5"},
                {"mask.floor", "0"},
                {"surrogate.dual_clip", "1"},
                {"surrogate.clip_low", "-0.2"},
                {"surrogate.name", "PPO"},
                {"mask.rule", "opsm "},
                {"mask.kl", "maybe"},
                {"max_length", "-1"},
                {"max_length", "1.5"},
                {"max_length", "99999999999999999999"},
                {"max_length", "9007199254740993"},
                {"mask.seed", " 3"},
                {"penalty.beta", "inf"}};
    opsm_error err = {0};
    opsm_objective config, before;
    opsm_objective_defaults(&config);
    before = config;
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        assert_int_equal(opsm_objective_set(&config, rows[k].key, rows[k].value, &err), OPSM_INVALID);
        assert_non_null(strstr(err.text, rows[k].key));
        assert_non_null(strstr(err.text, "expected"));
    }
    assert_memory_equal(&config, &before, sizeof config);
}

static void takes(const char *key, const char *value, bool expected) {
    opsm_error err = {0};
    opsm_objective config;
    opsm_objective_defaults(&config);
    opsm_status status = opsm_objective_set(&config, key, value, &err);
    if (status != (expected ? OPSM_OK : OPSM_INVALID)) fail_msg("%s = %s: %s", key, value, opsm_status_text(status));
}

static void takes_number(const char *key, double value, bool expected) {
    char text[40];
    snprintf(text, sizeof text, "%.17g", value);
    takes(key, text, expected);
}

/* "0..1, not 0", "> 0, off", ">= 1, off, auto": the range of a number is what it says, at both ends. */
static void ranges_are_what_they_say(void **state) {
    (void)state;
    int ranges = 0;
    for (int i = 0; i < opsm_objective_key_count(); i++) {
        opsm_key key = opsm_objective_key(i);
        if (strchr(key.range, '|')) continue;
        bool open = key.range[0] == '>' && key.range[1] != '=';
        const char *dots = strstr(key.range, "..");
        double low = strtod(key.range + strspn(key.range, ">= "), NULL);
        takes_number(key.key, low, !open && !strstr(key.range, ", not 0"));
        takes_number(key.key, low - 1, false);
        if (dots) {
            double high = strcmp(dots, "..2^53") == 0 ? 9007199254740992.0 : strtod(dots + 2, NULL);
            takes_number(key.key, high, true);
            takes_number(key.key, high + (high > 1 ? 1024 : 1), false);
            if (high == 1) takes_number(key.key, 0.5, true);
        } else {
            takes_number(key.key, low + 1, true);
            takes_number(key.key, 1e9, true);
        }
        takes(key.key, "off", strstr(key.range, ", off"));
        takes(key.key, "auto", strstr(key.range, ", auto"));
        ranges++;
    }
    assert_true(ranges > 25);
}

static void unknown_keys_name_the_nearest(void **state) {
    (void)state;
    const struct {
        const char *key, *nearest;
    } rows[] = {{"mask.detla", "mask.delta"},
                {"surrogate.clip-low", "surrogate.clip_low"},
                {"agregation", "aggregation"},
                {"penalty.kl", "penalty."},
                {"", "guard"},
                {"mask.a_key_that_is_much_longer_than_any_key_of_the_table_could_ever_be", ""}};
    opsm_error err = {0};
    opsm_objective config;
    opsm_objective_defaults(&config);
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        assert_int_equal(opsm_objective_set(&config, rows[k].key, "1", &err), OPSM_INVALID);
        assert_non_null(strstr(err.text, "did you mean"));
        assert_non_null(strstr(err.text, rows[k].nearest));
    }
    assert_int_equal(opsm_objective_set(&config, NULL, "1", &err), OPSM_INVALID);
    assert_int_equal(opsm_objective_get(&config, "mask", (char[8]){0}, 8, &err), OPSM_INVALID);
}

static void names_round_trip(void **state) {
    (void)state;
    opsm_error err = {0};
#define CHECK(Type, TYPE)                                                                                              \
    for (int i = 0; i < (int)OPSM_##TYPE##_COUNT; i++) {                                                               \
        opsm_##Type value;                                                                                             \
        assert_ok(opsm_##Type##_parse(opsm_##Type##_name((opsm_##Type)i), &value, &err));                              \
        assert_int_equal(value, i);                                                                                    \
    }                                                                                                                  \
    assert_string_equal(opsm_##Type##_name((opsm_##Type)OPSM_##TYPE##_COUNT), "?");                                    \
    assert_int_equal(opsm_##Type##_parse("no such name", &(opsm_##Type){0}, &err), OPSM_INVALID);                      \
    assert_non_null(strstr(err.text, #Type));
    CHECK(advantage, ADVANTAGE)
    CHECK(surrogate, SURROGATE)
    CHECK(rule, RULE)
    CHECK(policy, POLICY)
    CHECK(estimator, ESTIMATOR)
    CHECK(reduce, REDUCE)
    CHECK(source, SOURCE)
    CHECK(sign, SIGN)
    CHECK(penalty, PENALTY)
    CHECK(aggregation, AGGREGATION)
    CHECK(denominator, DENOMINATOR)
    CHECK(guard, GUARD)
}

/* A program that switched to a locale with a decimal comma still reads and writes points. */
static void decimal_comma(void **state) {
    (void)state;
    const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"};
    const char *found = NULL;
    for (int k = 0; k < 4 && !found; k++) found = setlocale(LC_NUMERIC, names[k]);
    if (!found) skip();
    opsm_error err = {0};
    opsm_objective config;
    opsm_objective_defaults(&config);
    char text[64];
    assert_ok(opsm_objective_set(&config, "mask.delta", "0.25", &err));
    assert_near(config.mask_delta, 0.25, 0);
    assert_ok(opsm_objective_get(&config, "mask.delta", text, sizeof text, &err));
    assert_string_equal(text, "0.25");
    setlocale(LC_NUMERIC, "C");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_round_trip),      cmocka_unit_test(documented_keys_exist),
        cmocka_unit_test(values_round_trip),        cmocka_unit_test(bad_values_leave_the_configuration_alone),
        cmocka_unit_test(ranges_are_what_they_say), cmocka_unit_test(unknown_keys_name_the_nearest),
        cmocka_unit_test(names_round_trip),         cmocka_unit_test(decimal_comma),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
