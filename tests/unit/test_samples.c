/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/mem.h"
#include "check.h"
#include "io/jsonl.h"
#include "train/samples.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GROUPS = 5, SIZE = 6, N = GROUPS * SIZE, LENGTH = 3 };

static opsm_error err;
static char path[] = "opsm-test-samples-XXXXXX";
static struct tokenizer *tokenizer;

static int setup(void **state) {
    (void)state;
    struct tensor_source *file;
    if (tensor_source_open(&file, OPSM_SOURCE_DIR "/models/tiny.gguf", &err) != OPSM_OK) return 1;
    opsm_status status = tokenizer_load(&tokenizer, &file->metadata, &err);
    tensor_source_close(file);
    int fd = mkstemp(path);
    if (fd >= 0) close(fd);
    return status != OPSM_OK || fd < 0;
}

static int teardown(void **state) {
    (void)state;
    tokenizer_free(tokenizer);
    return unlink(path);
}

static struct run_config config_for(int samples, int iterations) {
    struct run_config config;
    config_defaults(&config);
    config.rollout.samples = samples;
    config.train.iterations = iterations;
    return config;
}

/* Group g, sample j: response "jjj", advantage -1, 0, +1 by turns, nothing dropped. */
static struct batch make_batch(void) {
    struct batch b = {.index = 10};
    assert_ok(rollouts_allocate(&b.rollouts, &(struct rollout_sizes){GROUPS, N, 2 * GROUPS, N * LENGTH, -1}, &err));
    for (int g = 0; g <= GROUPS; g++) b.rollouts.prompt_offset[g] = 2 * g;
    for (int i = 0; i <= N; i++) b.rollouts.offset[i] = LENGTH * i;
    for (int g = 0; g < GROUPS; g++) {
        b.rollouts.prompt_tokens[2 * g] = tokenizer_find(tokenizer, "9");
        b.rollouts.prompt_tokens[2 * g + 1] = tokenizer_find(tokenizer, "=");
    }
    assert_ok(batch_add_columns(&b, false, &err));
    assert_ok(rollouts_add(&b.rollouts, COLUMN_verdict, &err));
    for (int i = 0; i < N; i++) {
        char digit[2] = {(char)('0' + i % SIZE), 0};
        for (int t = 0; t < LENGTH; t++) b.rollouts.tokens[LENGTH * i + t] = tokenizer_find(tokenizer, digit);
        b.rollouts.group_of[i] = i / SIZE;
        b.rollouts.finish[i] = FINISH_END;
        b.rollouts.advantage[i] = (float)(i % 3 - 1);
        opsm_sequence record = {.advantage = i % 3 - 1,
                                .tokens = LENGTH,
                                .drift = 0.01,
                                .delta = 0.05,
                                .keep = 1,
                                .reason = OPSM_REASON_KEPT};
        samples_note(&b, (const int32_t[]){i}, 1, &record);
    }
    return b;
}

static void drop(struct batch *b, int32_t i) {
    opsm_sequence record = {
        .advantage = -1, .tokens = LENGTH, .drift = 0.31, .delta = 0.05, .reason = OPSM_REASON_OPSM};
    b->rollouts.advantage[i] = -1;
    samples_note(b, &i, 1, &record);
}

/* The lines written for `b`; the caller decrefs them. */
static int read_back(const struct batch *b, const struct run_config *config, json_t *rows[64]) {
    assert_int_equal(truncate(path, 0), 0);
    assert_ok(samples_write(path, config, tokenizer, 7, b, &err));
    struct jsonl *lines;
    int n = 0;
    assert_ok(jsonl_open(&lines, path, 1 << 20, &err));
    for (json_t *row;;) {
        assert_ok(jsonl_next(lines, &row, &err));
        if (!row) break;
        rows[n++] = row;
    }
    jsonl_close(lines);
    return n;
}

static void due_at_the_ends_and_between(void **state) {
    (void)state;
    struct run_config config = config_for(2, 24);
    int due[24], n = 0;
    for (int t = 0; t < 24; t++)
        if (samples_due(&config, t)) due[n++] = t;
    assert_int_equal(n, 5);
    assert_memory_equal(due, ((int[]){0, 6, 12, 18, 23}), 5 * sizeof(int));
    for (int iterations = 1; iterations < 200; iterations++) {
        config.train.iterations = iterations;
        n = 0;
        for (int t = 0; t < iterations; t++) n += samples_due(&config, t);
        assert_true(n >= 1 && n <= 6);
        assert_true(samples_due(&config, 0) && samples_due(&config, iterations - 1));
    }
    config.rollout.samples = 0;
    assert_false(samples_due(&config, 0));
}

static void dropped_sequences_are_shown(void **state) {
    (void)state;
    struct batch b = make_batch();
    struct run_config config = config_for(2, 24);
    int32_t last = N - 1, before = N - 2;
    drop(&b, last);
    drop(&b, before);
    json_t *rows[64];
    int n = read_back(&b, &config, rows);
    assert_int_equal(n, 8); /* four of group 0, four of the last one */
    int dropped = 0;
    for (int i = 0; i < n; i++) {
        const char *reason = json_string_value(json_object_get(rows[i], "reason"));
        bool masked = json_is_false(json_object_get(rows[i], "keep"));
        assert_int_equal(json_integer_value(json_object_get(rows[i], "iteration")), 7);
        assert_int_equal(json_integer_value(json_object_get(rows[i], "group")), 10 * GROUPS + (i < 4 ? 0 : GROUPS - 1));
        assert_string_equal(json_string_value(json_object_get(rows[i], "prompt")), "9=");
        if (masked) {
            assert_string_equal(reason, "A < 0 and drift 0.31 > 0.05");
            assert_near(json_number_value(json_object_get(rows[i], "drift")), 0.31, 1e-9);
        }
        dropped += masked;
        json_decref(rows[i]);
    }
    assert_int_equal(dropped, 2);
    batch_free(&b);
}

static void without_dropped_ones_the_first_groups(void **state) {
    (void)state;
    struct batch b = make_batch();
    struct run_config config = config_for(3, 24);
    json_t *rows[64];
    int n = read_back(&b, &config, rows), better = 0, worse = 0;
    assert_int_equal(n, 12);
    for (int i = 0; i < n; i++) {
        assert_int_equal(json_integer_value(json_object_get(rows[i], "group")), 10 * GROUPS + i / 4);
        better += json_number_value(json_object_get(rows[i], "advantage")) > 0;
        worse += json_number_value(json_object_get(rows[i], "advantage")) < 0;
        json_decref(rows[i]);
    }
    assert_true(better >= 3 && worse >= 3);
    batch_free(&b);
}

static void groups_with_signal_come_before_those_without(void **state) {
    (void)state;
    struct batch b = make_batch();
    struct run_config config = config_for(2, 24);
    for (int i = 0; i < N; i++)
        if (i / SIZE != 1 && i / SIZE != 3) b.rollouts.advantage[i] = 0;
    json_t *rows[64];
    int n = read_back(&b, &config, rows);
    assert_int_equal(n, 8);
    for (int i = 0; i < n; i++) {
        assert_int_equal(json_integer_value(json_object_get(rows[i], "group")), 10 * GROUPS + (i < 4 ? 1 : 3));
        json_decref(rows[i]);
    }
    batch_free(&b);
}

/* The first sample of each problem, judged by the first verifier. */
static void held_out_problems_are_kept_at_every_evaluation(void **state) {
    (void)state;
    struct batch b = make_batch();
    struct asked asked = {.count = GROUPS, .offset = b.rollouts.prompt_offset};
    asked.prompts.ids = b.rollouts.prompt_tokens;
    float rewards[N], scores[2 * N];
    for (int i = 0; i < N; i++) {
        rewards[i] = 0.25F * (float)(i / SIZE);
        scores[2 * (size_t)i] = i / SIZE >= 3;
        scores[2 * (size_t)i + 1] = 1;
    }
    assert_int_equal(truncate(path, 0), 0);
    for (int step = 0; step <= 40; step += 40)
        assert_ok(samples_write_eval(path, tokenizer, step / 4, step, &asked, &b.rollouts, rewards, scores, 2, &err));
    struct jsonl *lines;
    assert_ok(jsonl_open(&lines, path, 1 << 20, &err));
    for (int i = 0; i < 2 * GROUPS; i++) {
        json_t *row;
        assert_ok(jsonl_next(lines, &row, &err));
        assert_non_null(row);
        assert_string_equal(json_string_value(json_object_get(row, "kind")), "eval");
        assert_int_equal(json_integer_value(json_object_get(row, "problem")), i % GROUPS);
        assert_int_equal(json_integer_value(json_object_get(row, "step")), i < GROUPS ? 0 : 40);
        assert_string_equal(json_string_value(json_object_get(row, "prompt")), "9=");
        assert_string_equal(json_string_value(json_object_get(row, "response")), "000");
        assert_near(json_number_value(json_object_get(row, "reward")), 0.25 * (i % GROUPS), 1e-9);
        assert_int_equal(json_is_true(json_object_get(row, "right")), i % GROUPS >= 3);
        json_decref(row);
    }
    jsonl_close(lines);
    batch_free(&b);
}

static void more_groups_than_there_are(void **state) {
    (void)state;
    struct batch b = make_batch();
    struct run_config config = config_for(1000, 24);
    json_t *rows[64];
    int n = read_back(&b, &config, rows);
    assert_int_equal(n, 4 * GROUPS);
    for (int i = 0; i < n; i++) json_decref(rows[i]);
    batch_free(&b);
}

/* Groups of 1, 0, 3, 20 and 6: up to four of each that has some, numbered from its first. */
static void groups_of_any_size_are_shown(void **state) {
    (void)state;
    struct batch b = make_batch();
    for (int i = 0; i < N; i++) b.rollouts.group_of[i] = i < 1 ? 0 : i < 4 ? 2 : i < 24 ? 3 : 4;
    drop(&b, 23);
    struct run_config config = config_for(1000, 24);
    json_t *rows[64];
    int n = read_back(&b, &config, rows), per_group[GROUPS] = {0};
    assert_int_equal(n, 1 + 3 + 4 + 4);
    for (int i = 0; i < n; i++) {
        static const int size[GROUPS] = {1, 0, 3, 20, 6};
        int64_t group = json_integer_value(json_object_get(rows[i], "group")) - 10 * GROUPS;
        int64_t sample = json_integer_value(json_object_get(rows[i], "sample"));
        assert_true(group >= 0 && group < GROUPS && sample >= 0 && sample < size[group]);
        per_group[group]++;
        if (json_is_false(json_object_get(rows[i], "keep"))) assert_true(group == 3 && sample == 19);
        json_decref(rows[i]);
    }
    assert_memory_equal(per_group, ((int[]){1, 0, 3, 4, 4}), sizeof per_group);
    batch_free(&b);
}

static void unmeasured_sequences_say_so(void **state) {
    (void)state;
    struct batch b = make_batch();
    memset(b.rollouts.verdict, 0, N * sizeof *b.rollouts.verdict);
    struct run_config config = config_for(1, 24);
    json_t *rows[64];
    int n = read_back(&b, &config, rows);
    assert_int_equal(n, 4);
    assert_int_equal(json_integer_value(json_object_get(rows[0], "sample")), 2); /* A > 0: none counts as dropped */
    for (int i = 0; i < n; i++) {
        assert_true(json_is_null(json_object_get(rows[i], "keep")));
        assert_true(json_is_null(json_object_get(rows[i], "drift")));
        assert_string_equal(json_string_value(json_object_get(rows[i], "reason")), "no optimiser step measured it");
        json_decref(rows[i]);
    }
    batch_free(&b);
}

static const char *reason(const opsm_objective *o, opsm_sequence record) {
    static char text[160];
    if (record.tokens == 0) record.tokens = 10;
    samples_reason(o, &record, text, sizeof text);
    return text;
}

static void reasons_follow_the_rule(void **state) {
    (void)state;
    opsm_objective o;
    opsm_objective_defaults(&o);
    const opsm_sequence dropped = {.advantage = -1, .drift = 0.5, .delta = 0.25, .reason = OPSM_REASON_OPSM};
    const opsm_sequence kept = {.advantage = -1, .drift = 0.125, .delta = 0.25, .keep = 1, .reason = OPSM_REASON_KEPT};
    opsm_sequence other = kept;
    assert_string_equal(reason(&o, dropped), "A < 0 and drift 0.5 > 0.25");
    assert_string_equal(reason(&o, kept), "drift 0.125 <= 0.25");
    other.advantage = 1;
    assert_string_equal(reason(&o, other), "A > 0: kept whatever its drift");
    other.advantage = 0;
    assert_non_null(strstr(reason(&o, other), "A = 0"));
    other = dropped;
    other.reason = OPSM_REASON_NONFINITE;
    other.drift = NAN;
    assert_non_null(strstr(reason(&o, other), "not finite"));
    other = dropped;
    other.reason = OPSM_REASON_DRIFT;
    assert_string_equal(reason(&o, other), "drift 0.5 > 0.25");
    other.reason = OPSM_REASON_TRUNCATED;
    assert_non_null(strstr(reason(&o, other), "cut off"));
    assert_ok(opsm_objective_set(&o, "mask.rule", "none", &err));
    assert_string_equal(reason(&o, kept), "no mask");
    other = dropped;
    other.reason = OPSM_REASON_NEGATIVES;
    assert_non_null(strstr(reason(&o, other), "all of them"));
    other = kept;
    other.dropped_tokens = 3;
    other.reason = OPSM_REASON_ICEPOP;
    assert_string_equal(reason(&o, other), "3 of 10 tokens dropped by rule icepop");
    for (int k = 0; k < 256; k++) { /* none without words, whatever byte a file has */
        other.reason = (uint8_t)k;
        assert_true(strlen(reason(&o, other)) > 4);
    }
    other.reason = OPSM_REASON_POSITIVES;
    assert_string_equal(reason(&o, other), "A > 0 and drift 0.125 > 0.25");
    other.reason = OPSM_REASON_OUTLIER;
    assert_string_equal(reason(&o, other), "dropped by rule outlier at drift 0.125");
}

/* A full disk and a lack of memory are sentences. */
static void failures_are_sentences(void **state) {
    (void)state;
    struct batch b = make_batch();
    struct run_config config = config_for(2, 24);
    assert_int_equal(samples_write("/dev/full", &config, tokenizer, 0, &b, &err), OPSM_IO);
    assert_non_null(strstr(err.text, "/dev/full"));
    assert_int_equal(samples_write("/nowhere/at/all", &config, tokenizer, 0, &b, &err), OPSM_IO);
    opsm_status status = OPSM_NOMEM;
    for (int nth = 1; nth < 60 && status == OPSM_NOMEM; nth++) {
        assert_int_equal(truncate(path, 0), 0);
        mem_fail_at(nth);
        status = samples_write(path, &config, tokenizer, 0, &b, &err);
        mem_fail_at(0);
    }
    assert_int_equal(status, OPSM_OK);
    batch_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(due_at_the_ends_and_between),
        cmocka_unit_test(dropped_sequences_are_shown),
        cmocka_unit_test(without_dropped_ones_the_first_groups),
        cmocka_unit_test(groups_with_signal_come_before_those_without),
        cmocka_unit_test(held_out_problems_are_kept_at_every_evaluation),
        cmocka_unit_test(more_groups_than_there_are),
        cmocka_unit_test(groups_of_any_size_are_shown),
        cmocka_unit_test(unmeasured_sequences_say_so),
        cmocka_unit_test(reasons_follow_the_rule),
        cmocka_unit_test(failures_are_sentences),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
