/* SPDX-License-Identifier: Apache-2.0
 *
 * Every surrogate x penalty x aggregation against tests/golden/objective.jsonl, which PyTorch's automatic
 * differentiation wrote (tests/golden/objective_reference.py).
 */
#include "objective_fixture.h"
#include <jansson.h>

static double number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void load_row(struct fixture *x, const json_t *row) {
    const json_t *c = json_object_get(row, "c"), *a = json_object_get(row, "a");
    int n = (int)json_array_size(c);
    int64_t i = fixture_add(x, n, number(row, "advantage"), 0, 0), first = x->offsets[i];
    x->groups[i] = (int64_t)number(row, "group");
    if (json_is_array(a)) x->batch.token_advantages = x->a_token;
    for (int t = 0; t < n; t++) {
        const size_t k = (size_t)t;
        x->c[first + t] = (float)json_number_value(json_array_get(c, k));
        x->b[first + t] = (float)json_number_value(json_array_get(json_object_get(row, "b"), k));
        x->p[first + t] = (float)json_number_value(json_array_get(json_object_get(row, "p"), k));
        x->f[first + t] = (float)json_number_value(json_array_get(json_object_get(row, "f"), k));
        x->mask[first + t] = (uint8_t)json_integer_value(json_array_get(json_object_get(row, "m"), k));
        if (json_is_array(a)) x->a_token[first + t] = (float)json_number_value(json_array_get(a, k));
    }
}

static int mismatch(int line, int64_t i, const char *what, double found, double expected, double tolerance) {
    double difference = found - expected;
    double scale = fabs(expected) > 1 ? fabs(expected) : 1;
    if (fabs(difference) <= tolerance * scale) return 0;
    print_error("line %d, sequence %lld: %s %.12g, expected %.12g\n", line, (long long)i, what, found, expected);
    return 1;
}

static int check_row(const struct fixture *x, int line, int64_t i, const json_t *row) {
    const opsm_sequence *record = &x->records[i];
    int wrong = mismatch(line, i, "drift", record->drift, number(row, "drift"), 1e-12);
    wrong += mismatch(line, i, "keep", record->keep, json_is_true(json_object_get(row, "keep")), 0);
    wrong += mismatch(line, i, "advantage", record->advantage, number(row, "advantage"), 1e-12);
    wrong += mismatch(line, i, "penalty", record->penalty, number(row, "penalty"), 1e-12);
    if (json_object_get(row, "surrogate"))
        wrong += mismatch(line, i, "surrogate", record->surrogate, number(row, "surrogate"), 1e-12);
    const json_t *dlogp = json_object_get(row, "dlogp");
    int backward = 0;
    for (size_t t = 0; t < json_array_size(dlogp); t++) {
        double expected = json_number_value(json_array_get(dlogp, t));
        wrong += mismatch(line, i, "dlogp", x->dlogp[x->offsets[i] + (int64_t)t], expected, 1e-7);
        backward |= expected != 0;
    }
    return wrong + mismatch(line, i, "needs_backward", record->needs_backward, backward, 0);
}

/* Also in two halves with the totals of the whole: the same bits. */
static void check_split(const struct fixture *x) {
    opsm_error err = {0};
    struct fixture *part = fixture_new();
    part->config = x->config;
    opsm_totals totals;
    assert_ok(opsm_objective_totals(&x->config, NULL, &x->batch, part->records, &totals, part->workspace,
                                    sizeof part->workspace, &err));
    int64_t n = x->batch.n_sequences, cut = 3; /* the boundary between the two groups */
    float *dlogp = calloc(FIX_TOKENS, sizeof *dlogp);
    for (int half = 0; half < 2; half++) {
        int64_t first = half ? cut : 0, count = half ? n - cut : cut, token = x->offsets[first];
        opsm_batch batch = x->batch;
        int64_t offsets[FIX_ROWS + 1];
        for (int64_t i = 0; i <= count; i++) offsets[i] = x->offsets[first + i] - token;
        batch.n_sequences = count;
        batch.n_tokens = offsets[count];
        batch.offsets = offsets;
        batch.logp_current += token;
        batch.logp_behavior += token;
        batch.logp_trainer += token;
        batch.logp_reference += token;
        batch.mask += token;
        batch.advantages += first;
        batch.groups += first;
        if (batch.token_advantages) batch.token_advantages += token;
        opsm_result result;
        opsm_result_init(&result);
        result.records = part->records + first;
        result.dlogp = dlogp + token;
        assert_ok(opsm_objective_evaluate(&x->config, NULL, &batch, &totals, &result, part->workspace,
                                          sizeof part->workspace, &err));
    }
    assert_memory_equal(dlogp, x->dlogp, (size_t)x->batch.n_tokens * sizeof *dlogp);
    assert_memory_equal(part->records, x->records, (size_t)n * sizeof *x->records);
    part->metrics.size = sizeof part->metrics;
    assert_ok(opsm_metrics_compute(&x->config, part->records, n, &part->metrics, part->workspace,
                                   sizeof part->workspace, &err));
    assert_memory_equal(&part->metrics, &x->metrics, sizeof x->metrics);
    free(dlogp);
    free(part);
}

static void agrees_with_automatic_differentiation(void **state) {
    (void)state;
    FILE *file = fopen(OPSM_SOURCE_DIR "/tests/golden/objective.jsonl", "r");
    assert_non_null(file);
    int lines = 0, wrong = 0;
    for (json_t *root; (root = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL)); json_decref(root)) {
        lines++;
        struct fixture *x = fixture_new();
        x->batch.logp_trainer = x->p;
        x->batch.logp_reference = x->f;
        fixture_set(x, "mask.low", "0.5");
        const char *key;
        json_t *value;
        json_object_foreach(json_object_get(root, "keys"), key, value) fixture_set(x, key, json_string_value(value));
        const json_t *rows = json_object_get(root, "sequences");
        for (size_t i = 0; i < json_array_size(rows); i++) load_row(x, json_array_get(rows, i));
        fixture_ok(x);
        int before = wrong;
        wrong += mismatch(lines, -1, "loss", x->result.loss, number(root, "loss"), 1e-12);
        for (size_t i = 0; i < json_array_size(rows); i++)
            wrong += check_row(x, lines, (int64_t)i, json_array_get(rows, i));
        if (wrong > before) {
            char *text = json_dumps(json_object_get(root, "keys"), 0);
            print_error("  keys of line %d: %s\n", lines, text);
            free(text);
        }
        check_split(x);
        free(x);
    }
    fclose(file);
    assert_int_equal(lines, 2 * 9 * 5 * 3); /* plain, and with the switches that reproduce other frameworks */
    assert_int_equal(wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_automatic_differentiation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
