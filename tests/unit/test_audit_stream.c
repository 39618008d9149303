/* SPDX-License-Identifier: Apache-2.0
 *
 * The audit evaluates rows as they stream by; the objective on the whole file in memory must say the same: the same
 * drops, gradients and sums, whatever the order of the rows.
 */
#include "audit_fixture.h"

enum { GROUPS = 7, GROUP_SIZE = 4, ROWS = GROUPS * GROUP_SIZE, LENGTH = 12, TOKENS = ROWS * LENGTH };

struct rollouts {
    int64_t offsets[ROWS + 1], groups[ROWS], lines[ROWS];
    float b[TOKENS], c[TOKENS], p[TOKENS], f[TOKENS], token_advantages[TOKENS], advantages[ROWS], rewards[ROWS];
    uint8_t mask[TOKENS];
    /* What the objective says of them. */
    opsm_batch batch;
    opsm_sequence records[ROWS];
    float dlogp[TOKENS];
    opsm_result result;
    opsm_metrics metrics;
    char workspace[1 << 14];
};

/* One way to audit: settings, and what the rows give. */
struct way {
    const char *name;
    const char *settings[5][2];
    bool from_rewards, per_token, interleaved;
};

static double uniform(void) {
    return (double)rand() / RAND_MAX;
}

static struct rollouts *make_rollouts(void) {
    struct rollouts *x = calloc(1, sizeof *x);
    assert_non_null(x);
    srand(11);
    for (int i = 0; i < ROWS; i++) {
        int n = 1 + rand() % LENGTH;
        x->groups[i] = 100 - i / GROUP_SIZE;
        x->offsets[i + 1] = x->offsets[i] + n;
        x->rewards[i] = (float)(rand() % 3);
        x->advantages[i] = i % 6 == 3 ? 0 : (float)(2 * uniform() - 1);
        if (i / GROUP_SIZE == 2) x->rewards[i] = 1, x->advantages[i] = 0; /* a group without signal */
        for (int64_t t = x->offsets[i]; t < x->offsets[i + 1]; t++) {
            x->c[t] = (float)(-3 * uniform());
            x->b[t] = (float)((double)x->c[t] + 0.5 * (uniform() - 0.4));
            x->p[t] = (float)((double)x->c[t] + 0.2 * (uniform() - 0.5));
            x->f[t] = (float)((double)x->c[t] + 0.4 * (uniform() - 0.5));
            x->token_advantages[t] = (float)((double)x->advantages[i] + uniform() - 0.5);
            x->mask[t] = i != 5 && rand() % 4 != 0; /* one row without a token in the loss */
        }
    }
    return x;
}

/* The order of the rows in the file: as they are, or the groups dealt out like cards. */
static int row_at(const struct way *way, int line) {
    return way->interleaved ? line % GROUPS * GROUP_SIZE + line / GROUPS : line;
}

static void put_array(FILE *out, const char *name, const float *values, int64_t n) {
    fprintf(out, ",\"%s\":[", name);
    for (int64_t t = 0; t < n; t++) fprintf(out, "%s%.9g", t ? "," : "", (double)values[t]);
    fputs("]", out);
}

static void write_rollouts(struct rollouts *x, const struct way *way) {
    FILE *out = fopen(audit_path, "w");
    assert_non_null(out);
    for (int line = 0; line < ROWS; line++) {
        int i = row_at(way, line);
        int64_t first = x->offsets[i], n = x->offsets[i + 1] - first;
        x->lines[i] = line + 1;
        fprintf(out, "{\"group\":%d,\"reward\":%g", (int)x->groups[i], (double)x->rewards[i]);
        if (way->per_token)
            put_array(out, "advantage", x->token_advantages + first, n);
        else if (!way->from_rewards)
            fprintf(out, ",\"advantage\":%.9g", (double)x->advantages[i]);
        fputs(",\"mask\":[", out);
        for (int64_t t = 0; t < n; t++) fprintf(out, "%s%d", t ? "," : "", x->mask[first + t]);
        fputs("]", out);
        put_array(out, "logp_current", x->c + first, n);
        put_array(out, "logp_behavior", x->b + first, n);
        put_array(out, "logp_trainer", x->p + first, n);
        put_array(out, "logp_reference", x->f + first, n);
        fputs("}\n", out);
    }
    assert_int_equal(fclose(out), 0);
}

/* The denominators of the file as the audit adds them up: a cut for rule random that no single row knows. */
static opsm_totals whole_totals(struct rollouts *x, const opsm_objective *config) {
    opsm_totals totals, sum = {.size = sizeof sum};
    assert_ok(
        opsm_objective_totals(config, NULL, &x->batch, x->records, &totals, x->workspace, sizeof x->workspace, &err));
    opsm_totals_add(&sum, &totals);
    return sum;
}

static void evaluate_whole(struct rollouts *x, const opsm_objective *config, const struct way *way) {
    opsm_batch_init(&x->batch);
    x->batch.n_sequences = ROWS;
    x->batch.n_tokens = x->offsets[ROWS];
    x->batch.offsets = x->offsets;
    x->batch.logp_current = x->c;
    x->batch.logp_behavior = x->b;
    x->batch.logp_trainer = x->p;
    x->batch.logp_reference = x->f;
    x->batch.mask = x->mask;
    x->batch.groups = x->groups;
    x->batch.rewards = x->rewards;
    x->batch.ids = x->lines;
    x->batch.advantages = x->advantages;
    if (way->per_token) x->batch.token_advantages = x->token_advantages;
    if (way->from_rewards)
        assert_ok(opsm_advantages(config, &x->batch, x->advantages, NULL, x->workspace, sizeof x->workspace, &err));
    opsm_totals totals = whole_totals(x, config);
    opsm_result_init(&x->result);
    x->result.records = x->records;
    x->result.dlogp = x->dlogp;
    assert_ok(
        opsm_objective_evaluate(config, NULL, &x->batch, &totals, &x->result, x->workspace, sizeof x->workspace, &err));
    x->metrics.size = sizeof x->metrics;
    assert_ok(opsm_metrics_compute(config, x->records, ROWS, &x->metrics, x->workspace, sizeof x->workspace, &err));
}

static void same_sequence(const struct rollouts *x, int i, const json_t *row) {
    const opsm_sequence *record = &x->records[i];
    const json_t *gradient = json_object_get(row, "dlogp");
    assert_int_equal(audit_number(row, "line"), x->lines[i]);
    assert_int_equal(audit_number(row, "group"), x->groups[i]);
    assert_int_equal(json_is_true(json_object_get(row, "keep")), record->keep);
    assert_int_equal(json_is_true(json_object_get(row, "nonfinite")), record->nonfinite);
    assert_int_equal(audit_number(row, "tokens"), record->tokens);
    assert_int_equal(audit_number(row, "dropped_tokens"), record->dropped_tokens);
    assert_same(audit_number(row, "advantage"), record->advantage);
    assert_same(audit_number(row, "drift"), record->drift);
    assert_same(audit_number(row, "drift_k3"), record->drift_k3);
    assert_same(audit_number(row, "delta"), record->delta);
    assert_same(audit_number(row, "loss"), record->loss);
    assert_same(audit_number(row, "surrogate"), record->surrogate);
    assert_same(audit_number(row, "penalty"), record->penalty);
    assert_int_equal(json_array_size(gradient), record->length);
    for (int64_t t = 0; t < record->length; t++)
        assert_same((float)json_number_value(json_array_get(gradient, (size_t)t)), x->dlogp[x->offsets[i] + t]);
}

static int audited_as_whole(const struct way *way) {
    struct rollouts *x = make_rollouts();
    struct audit_options *options = audit_options_new();
    options->gradient = true;
    for (int k = 0; k < 5 && way->settings[k][0]; k++) audit_set(options, way->settings[k][0], way->settings[k][1]);
    write_rollouts(x, way);
    evaluate_whole(x, &options->config, way);
    json_t *root = audit_json(options, OPSM_OK), *sequences = json_object_get(root, "sequences");
    assert_int_equal(json_array_size(sequences), ROWS);
    int dropped = 0;
    for (int line = 0; line < ROWS; line++) {
        int i = row_at(way, line);
        same_sequence(x, i, json_array_get(sequences, (size_t)line));
        dropped += x->records[i].dropped_tokens > 0;
    }
    assert_same(audit_number(root, "loss"), x->result.loss);
    assert_same(audit_number(root, "surrogate"), x->result.surrogate);
    assert_same(audit_number(root, "penalty"), x->result.penalty);
    const json_t *metrics = json_object_get(root, "metrics");
    assert_int_equal(json_object_size(metrics), opsm_metrics_count());
    for (int k = 0; k < opsm_metrics_count(); k++) {
        double found = audit_number(metrics, opsm_metrics_name(k)), wanted = opsm_metrics_value(&x->metrics, k);
        if (strcmp(opsm_metrics_name(k), "skipped_groups") == 0 && way->per_token) continue; /* by token, not by mean */
        if (!(isnan(found) && isnan(wanted)) && !(fabs(found - wanted) <= 1e-11 * (1 + fabs(wanted))))
            fail_msg("%s: %s is %.17g, expected %.17g", way->name, opsm_metrics_name(k), found, wanted);
    }
    json_decref(root);
    free(options);
    free(x);
    return dropped;
}

static void streams_give_what_the_whole_gives(void **state) {
    (void)state;
    static const struct way ways[] = {
        {.name = "the paper", .settings = {{"mask.delta", "0.05"}}},
        {.name = "interleaved", .settings = {{"mask.delta", "0.05"}}, .interleaved = true},
        {.name = "without the dropped", .settings = {{"denominator", "kept"}}},
        {.name = "without their tokens",
         .settings = {{"denominator", "tokens"}, {"mask.rule", "icepop"}, {"mask.high", "1.1"}, {"mask.low", "0.9"}}},
        {.name = "at random", .settings = {{"mask.rule", "random"}, {"mask.seed", "3"}}},
        {.name = "by token",
         .settings = {{"mask.rule", "token"}, {"mask.delta", "0.1"}, {"aggregation", "token_mean"}},
         .per_token = true},
        {.name = "sign of each token",
         .settings = {{"mask.sign", "token"}, {"denominator", "kept"}},
         .per_token = true},
        {.name = "constant",
         .settings =
             {{"aggregation", "constant"}, {"mask.rule", "geometric"}, {"mask.low", "0.9"}, {"mask.high", "1.1"}}},
        {.name = "penalty",
         .settings = {{"penalty.beta", "0.1"}, {"mask.kl", "true"}, {"mask.policy", "auto"}, {"mask.budget", "0.2"}}},
        {.name = "weights",
         .settings = {{"weight.level", "sequence"}, {"surrogate.ratio", "trainer"}, {"aggregation", "token_mean"}}},
        {.name = "means", .settings = {{"advantage", "mean"}}, .from_rewards = true},
        {.name = "grpo", .settings = {{"advantage", "grpo"}}, .from_rewards = true, .interleaved = true},
        {.name = "rloo", .settings = {{"advantage", "rloo"}, {"denominator", "kept"}}, .from_rewards = true},
        {.name = "batch, interleaved", .settings = {{"advantage", "batch"}}, .from_rewards = true, .interleaved = true},
        {.name = "pairs", .settings = {{"surrogate.name", "dpo"}}},
        {.name = "kept pairs", .settings = {{"surrogate.name", "dpo"}, {"denominator", "kept"}}, .from_rewards = true},
        {.name = "pairs by token", .settings = {{"surrogate.name", "dpo"}}, .per_token = true},
        {.name = "nothing dropped", .settings = {{"mask.rule", "none"}}},
    };
    for (size_t k = 0; k < sizeof ways / sizeof ways[0]; k++) {
        int dropped = audited_as_whole(&ways[k]);
        if ((dropped > 0 && dropped < ROWS) != (strcmp(ways[k].name, "nothing dropped") != 0))
            fail_msg("%s: %d of %d rows dropped", ways[k].name, dropped, ROWS);
    }
}

/* Advantages by the spread of the whole file, group after group: equal up to the rounding of a float. */
static void batch_advantages_need_the_whole_file(void **state) {
    (void)state;
    struct way way = {.settings = {{"advantage", "batch"}}, .from_rewards = true};
    struct rollouts *x = make_rollouts();
    struct audit_options *options = audit_options_new();
    audit_set(options, "advantage", "batch");
    write_rollouts(x, &way);
    evaluate_whole(x, &options->config, &way);
    json_t *root = audit_json(options, OPSM_OK), *sequences = json_object_get(root, "sequences");
    double largest = 0;
    for (int i = 0; i < ROWS; i++) {
        double found = audit_number(json_array_get(sequences, (size_t)i), "advantage");
        assert_near(found, x->records[i].advantage, 2e-7);
        largest = fmax(largest, found);
    }
    assert_true(largest > 1);
    json_decref(root);
    free(options);
    free(x);
}

/* A spread takes two rewards. */
static void few_rewards_have_no_spread(void **state) {
    (void)state;
    struct audit_options *options = audit_options_new();
    audit_set(options, "advantage", "batch");
#define REWARDED(reward) "{\"group\":1,\"reward\":" #reward ",\"logp_behavior\":[-1],\"logp_current\":[-1]}\n"
    audit_write(REWARDED(3));
    json_t *root = audit_json(options, OPSM_OK), *sequences = json_object_get(root, "sequences");
    assert_near(audit_number(json_array_get(sequences, 0), "advantage"), 0, 0);
    json_decref(root);
    audit_write(REWARDED(3) REWARDED(1));
    root = audit_json(options, OPSM_OK);
    sequences = json_object_get(root, "sequences");
    assert_near(audit_number(json_array_get(sequences, 0), "advantage"), 1 / (sqrt(2) + 1e-4), 1e-6);
    assert_near(audit_number(json_array_get(sequences, 1), "advantage"), -1 / (sqrt(2) + 1e-4), 1e-6);
    json_decref(root);
    free(options);
}

/* Rows that give their own advantage keep it; their rewards are in the group's mean all the same. */
static void given_and_computed_advantages_mix(void **state) {
    (void)state;
    static const char *const given[] = {"", "\"advantage\":0.25,", "", "\"advantage\":[0.5,-1],"};
    static const double rewards[] = {1, 0, 0, 3}, wanted[] = {0, 0.25, -1, -0.25};
    char text[1000] = "";
    for (int i = 0; i < 4; i++)
        sprintf(text + strlen(text),
                "{\"group\":1,\"reward\":%g,%s\"logp_behavior\":[-1,-1],\"logp_current\":[-1,-1]}\n", rewards[i],
                given[i]);
    audit_write(text);
    struct audit_options *options = audit_options_new();
    json_t *root = audit_json(options, OPSM_OK), *sequences = json_object_get(root, "sequences");
    for (size_t i = 0; i < 4; i++)
        assert_near(audit_number(json_array_get(sequences, i), "advantage"), wanted[i], 1e-7);
    json_decref(root);
    free(options);
}

/* Each row must have the arrays that the objective reads, whatever its neighbours have. */
static void rows_that_lack_an_array_are_named(void **state) {
    (void)state;
    static const struct {
        const char *surrogate, *key, *value, *lacks;
    } cases[] = {{"ppo", "mask.rule", "opsm", "logp_behavior"},
                 {"ppo", "penalty.beta", "0.1", "logp_reference"},
                 {"ppo", "mask.current", "trainer", "logp_trainer"},
                 {"dpo", "mask.rule", "none", "logp_reference"}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        char text[2000] = "";
        for (int i = 0; i < 4; i++) {
            static const char *const names[] = {"logp_behavior", "logp_trainer", "logp_reference"};
            sprintf(text + strlen(text), "{\"group\":%d,\"advantage\":%d,\"logp_current\":[-1]", i / 2, i % 2 ? -1 : 1);
            for (int a = 0; a < 3; a++)
                if (i < 3 || strcmp(names[a], cases[k].lacks) != 0)
                    sprintf(text + strlen(text), ",\"%s\":[-1]", names[a]);
            strcat(text, "}\n");
        }
        audit_write(text);
        struct audit_options *options = audit_options_new();
        audit_set(options, "surrogate.name", cases[k].surrogate);
        audit_set(options, cases[k].key, cases[k].value);
        json_t *root = audit_json(options, OPSM_MISSING);
        bool pairs =
            strcmp(cases[k].surrogate, "dpo") == 0; /* a group is evaluated whole, and named by its first row */
        if (!strstr(err.text, cases[k].lacks) || !strstr(err.text, pairs ? "line 3" : "line 4"))
            fail_msg("%s: %s", cases[k].lacks, err.text);
        json_decref(root);
        free(options);
    }
}

/* Pairs are made of whole groups: a file where they are scattered is refused with what to do. */
static void scattered_pairs_are_refused(void **state) {
    (void)state;
    struct way way = {.interleaved = true};
    struct rollouts *x = make_rollouts();
    struct audit_options *options = audit_options_new();
    audit_set(options, "surrogate.name", "dpo");
    write_rollouts(x, &way);
    json_t *root = audit_json(options, OPSM_FORMAT);
    const char *said = json_string_value(json_object_get(root, "error"));
    assert_non_null(said);
    assert_string_equal(said, err.text);
    assert_non_null(strstr(said, "sort the file by \"group\""));
    assert_true(json_is_array(json_object_get(root, "findings")));
    json_decref(root);
    free(options);
    free(x);
}

/* Rows that say how they were sampled: noise of the engine, from first steps and from the trainer's own log-probs. */
static void noise_is_read_from_its_rows(void **state) {
    (void)state;
    enum { N = 9 };
    static const double drift[N] = {0.5, -0.25, 0.125, 0.75, 0, 0.25, -0.5, 1, 2};
    char text[4000] = "";
    double sum[2] = {0}, squares[2] = {0}, n[2] = {0};
    for (int i = 0; i < N; i++) {
        char row[300];
        double b = -1, c = b - drift[i], p = b - 2 * drift[i];
        snprintf(row, sizeof row,
                 "{\"group\":%d,\"advantage\":1,\"logp_behavior\":[%g,-9],\"logp_current\":[%g,-3],"
                 "\"mask\":[1,0]%s,\"logp_trainer\":[%g,-5]}\n",
                 i, b, c, i < 6 ? ",\"step\":0" : ",\"step\":1", p);
        strcat(text, row);
        double found[2] = {drift[i], 2 * drift[i]};
        for (int k = 0; k < 2; k++) {
            if (k == 0 && i >= 6) continue;
            sum[k] += found[k];
            squares[k] += found[k] * found[k];
            n[k]++;
        }
    }
    audit_write(text);
    struct audit_options *options = audit_options_new();
    json_t *root = audit_json(options, OPSM_OK);
    static const char *const names[] = {"noise_floor.first_step", "noise_floor.recomputed"};
    for (int k = 0; k < 2; k++) {
        double mean = sum[k] / n[k], sd = sqrt((squares[k] - n[k] * mean * mean) / (n[k] - 1));
        assert_near(audit_number(root, names[k]), fmax(mean, 0) + 3 * sd, 1e-12);
    }
    json_decref(root);
    free(options);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_give_what_the_whole_gives), cmocka_unit_test(batch_advantages_need_the_whole_file),
        cmocka_unit_test(few_rewards_have_no_spread),        cmocka_unit_test(given_and_computed_advantages_mix),
        cmocka_unit_test(rows_that_lack_an_array_are_named), cmocka_unit_test(scattered_pairs_are_refused),
        cmocka_unit_test(noise_is_read_from_its_rows),
    };
    return cmocka_run_group_tests(tests, audit_setup, audit_teardown);
}
