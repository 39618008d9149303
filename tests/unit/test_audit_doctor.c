/* SPDX-License-Identifier: Apache-2.0
 *
 * The doctor of `opsm audit` on simulated samplers. Every position has random logits, made into the sampler's
 * distribution (temperature, top-p, penalty) and the trainer's (stale, learnt, noisy, tempered); tokens are drawn from
 * the sampler's. Healthy files must stay without a finding, each sick one must get its own and no other.
 */
#include "audit/audit.h"
#include "check.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { VOCABULARY = 90, PROMPT = 5, LENGTH_MAX = 240 };

struct simulation {
    const char *name;
    const char *finds;                     /* ids, each with a space behind it; "" for a healthy file */
    double temperature, other_temperature; /* 0: 1 */
    double top_p, penalty, min_p;          /* 0: off */
    double stale, learn, sharpen, noise; /* sd of logits; logit for the drawn token times A; factor; sd of log-probs */
    double base;                         /* scale of logp_behavior */
    double fill;                         /* share of tokens whose logp_behavior is 0 */
    int limit;                           /* rows longer than this end there */
    bool trainer, first_step, negatives, copied, shifted, retokenised, absolute, spread, prompt_zero, level, twice,
        no_behavior, nulls, zeros, rounded;
};

static uint64_t state;

static double uniform(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return ((double)(state >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(void) {
    return sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform());
}

static void log_softmax(double *z) {
    double most = z[0], sum = 0;
    for (int v = 1; v < VOCABULARY; v++) most = fmax(most, z[v]);
    for (int v = 0; v < VOCABULARY; v++) sum += exp(z[v] - most);
    for (int v = 0; v < VOCABULARY; v++) z[v] -= most + log(sum);
}

/* Takes the probability from all but the likeliest tokens that hold top_p of it. */
static void cut(double *logp, double top_p, double min_p) {
    bool kept[VOCABULARY] = {false};
    double mass = 0, most = -INFINITY;
    for (int v = 0; v < VOCABULARY; v++) most = fmax(most, logp[v]);
    while (top_p > 0 && mass < top_p) {
        int best = -1;
        for (int v = 0; v < VOCABULARY; v++)
            if (!kept[v] && (best < 0 || logp[v] > logp[best])) best = v;
        kept[best] = true;
        mass += exp(logp[best]);
    }
    for (int v = 0; v < VOCABULARY; v++)
        if (min_p > 0 ? logp[v] < most + log(min_p) : !kept[v]) logp[v] = -1e9;
    log_softmax(logp);
}

static int draw(const double *logp) {
    double u = uniform();
    int v = 0;
    while (v < VOCABULARY - 1 && (u -= exp(logp[v])) > 0) v++;
    return v;
}

struct row {
    int n, tokens[PROMPT + LENGTH_MAX];
    double b[PROMPT + LENGTH_MAX], c[PROMPT + LENGTH_MAX], p[PROMPT + LENGTH_MAX], advantage;
};

static void make_token(const struct simulation *s, struct row *row, const bool *met) {
    double z[VOCABULARY], b[VOCABULARY], c[VOCABULARY], p[VOCABULARY], scale = exp(1 + 0.6 * normal());
    for (int v = 0; v < VOCABULARY; v++) z[v] = 1.2 * scale * normal();
    for (int v = 0; v < VOCABULARY; v++) {
        double penalised = s->penalty > 0 && met[v] ? (z[v] > 0 ? z[v] / s->penalty : z[v] * s->penalty) : z[v];
        b[v] = penalised / (s->temperature > 0 ? s->temperature : 1);
    }
    log_softmax(b);
    if (s->top_p > 0 || s->min_p > 0) cut(b, s->top_p, s->min_p);
    int x = draw(b);
    for (int v = 0; v < VOCABULARY; v++) {
        p[v] = z[v] / (s->other_temperature > 0 ? s->other_temperature : 1);
        c[v] = p[v] * (s->sharpen > 0 ? s->sharpen : 1) + s->stale * normal();
    }
    c[x] += row->advantage * s->learn;
    log_softmax(c);
    log_softmax(p);
    row->tokens[row->n] = x;
    /* Noise of half precision grows with the log-prob. */
    row->b[row->n] = fmin(b[x] * (1 + s->noise * normal()), 0) * (s->base > 0 ? s->base : 1);
    row->c[row->n] = c[x];
    row->p[row->n] = p[x];
    if (uniform() < s->fill) row->b[row->n] = 0;
    row->n++;
}

static void make_row(const struct simulation *s, struct row *row, const int *prompt, double advantage) {
    bool met[VOCABULARY] = {false};
    *row = (struct row){.advantage = advantage};
    for (; row->n < PROMPT; row->n++) met[row->tokens[row->n] = prompt[row->n]] = true;
    int length = (int)(30 * exp(0.5 * normal())) + 5; /* a long tail */
    if (s->limit > 0 && length > s->limit) length = s->limit;
    if (length > LENGTH_MAX) length = LENGTH_MAX;
    while (row->n < PROMPT + length) {
        make_token(s, row, met);
        met[row->tokens[row->n - 1]] = true;
    }
    int first = PROMPT, last = row->n - 1;
    if (s->copied) memcpy(row->b, row->c, sizeof row->b);
    for (int t = first; t <= last && s->rounded; t++) row->b[t] -= 3e-6;
    for (int t = 0; t <= last && s->zeros; t++) row->b[t] = 0;
    if (s->shifted) memmove(row->b + first, row->b + first + 1, (size_t)(last - first) * sizeof *row->b);
    if (s->retokenised)
        for (int t = first; t <= last; t++) row->b[t] = -3 * uniform() * uniform();
    double mean = 0, level = 0;
    for (int t = first; t <= last; t++) mean += (row->b[t] - row->c[t]) / (last - first + 1);
    for (int t = first; t <= last; t++) level += row->b[t] / (last - first + 1);
    for (int t = first; t <= last && s->level; t++) row->b[t] = level;
    for (int t = first; t <= last && (s->spread || s->absolute); t++)
        row->b[t] = row->c[t] + (s->absolute ? fabs(mean) : mean);
}

static void put_array(FILE *out, const char *name, const double *x, const struct row *row) {
    for (int t = 0; t < row->n; t++) fprintf(out, "%s%.9g", t ? "," : name, x[t]);
    fputs("]", out);
}

static void put_nulls(FILE *out, const struct row *row) {
    for (int t = 0; t < row->n; t++) fputs(t ? ",null" : "],\"logp_behavior\":[null", out);
}

static void put_row(FILE *out, const struct simulation *s, int group, double reward, const struct row *row) {
    fprintf(out, "{\"group\":%d,\"reward\":%g,\"version\":%d%s", group, reward, group / 8,
            s->first_step ? ",\"step\":0" : "");
    for (int t = 0; t < row->n; t++) fprintf(out, "%s%d", t ? "," : ",\"tokens\":[", row->tokens[t]);
    for (int t = 0; t < row->n && !s->prompt_zero; t++) fprintf(out, "%s%d", t ? "," : "],\"mask\":[", t >= PROMPT);
    if (!s->no_behavior) put_array(out, "],\"logp_behavior\":[", row->b, row);
    if (s->nulls) put_nulls(out, row);
    put_array(out, s->no_behavior ? "],\"logp_current\":[" : ",\"logp_current\":[", row->c, row);
    if (s->trainer) put_array(out, ",\"logp_trainer\":[", row->p, row);
    fputs("}\n", out);
}

/* 24 groups of 4: the first half of each is right. */
static void write_file(const struct simulation *s, const char *path) {
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    struct row *row = malloc(sizeof *row);
    assert_non_null(row);
    state = 0x2545F4914F6CDD1Du;
    for (int group = 0; group < 24; group++) {
        int prompt[PROMPT];
        for (int t = 0; t < PROMPT; t++) prompt[t] = (int)(uniform() * VOCABULARY);
        for (int i = 0; i < 4; i++) {
            double reward = i < 2 && !s->negatives;
            make_row(s, row, prompt, reward > 0 ? 0.5 : -0.5);
            if (s->negatives && i == 0) reward = 1;
            put_row(out, s, group, reward, row);
            if (s->twice) put_row(out, s, group, reward, row);
        }
    }
    free(row);
    assert_int_equal(fclose(out), 0);
}

static json_t *audited(const char *path, opsm_status expected) {
    struct audit_options *options = calloc(1, sizeof *options);
    assert_non_null(options);
    opsm_objective_defaults(&options->config);
    options->config.mask_policy = OPSM_POLICY_AUTO;
    options->path = options->name = path;
    options->json = true;
    FILE *out = tmpfile();
    assert_non_null(out);
    opsm_error err = {0};
    opsm_status status = audit_run(options, out, &err);
    if (status != expected) fail_msg("%s: %s", path, err.text);
    rewind(out);
    json_error_t where;
    json_t *result = json_loadf(out, 0, &where);
    if (!result) fail_msg("line %d, column %d: %s", where.line, where.column, where.text);
    fclose(out);
    free(options);
    return result;
}

/* The ids found, each with a space behind it. */
static void ids_of(const json_t *result, char *ids, size_t size) {
    const json_t *findings = json_object_get(result, "findings"), *finding;
    assert_true(json_is_array(findings));
    size_t k;
    ids[0] = '\0';
    json_array_foreach(findings, k, finding) {
        size_t used = strlen(ids);
        snprintf(ids + used, size - used, "%s ", json_string_value(json_object_get(finding, "id")));
        assert_true(strlen(json_string_value(json_object_get(finding, "sentence"))) > 20);
        assert_true(strlen(json_string_value(json_object_get(finding, "advice"))) > 20);
    }
}

static void examine(const struct simulation *s) {
    char path[] = "/tmp/opsm-doctor-XXXXXX", ids[500];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    write_file(s, path);
    json_t *result = audited(path, s->no_behavior ? OPSM_MISSING : OPSM_OK);
    ids_of(result, ids, sizeof ids);
    if (strcmp(ids, s->finds) != 0) {
        char *text = json_dumps(json_object_get(result, "findings"), JSON_INDENT(1));
        fail_msg("%s: found [%s], expected [%s]\n%s", s->name, ids, s->finds, text);
    }
    json_decref(result);
    unlink(path);
}

static void healthy_files_have_no_finding(void **unused) {
    (void)unused;
    static const struct simulation files[] = {
        {"exact engine at the first step", "", .first_step = true},
        {"half precision, first step", "", .noise = 0.01, .first_step = true},
        {"half precision", "", .noise = 0.01},
        {"a noisy engine", "", .noise = 0.05, .stale = 0.02},
        {"stale by a little", "", .stale = 0.05},
        {"stale by much", "", .stale = 0.5, .noise = 0.01},
        {"stale by very much", "", .stale = 1.2},
        {"learnt", "", .stale = 0.1, .learn = 0.4},
        {"learnt a lot", "", .stale = 0.3, .learn = 2},
        {"pushed down", "", .stale = 0.2, .learn = 0.6, .negatives = true},
        {"sharper by training", "", .stale = 0.1, .sharpen = 1.07},
        {"flatter by training", "", .stale = 0.1, .sharpen = 0.93},
        {"recomputed", "", .trainer = true, .noise = 0.01, .stale = 0.3, .learn = 0.4},
        {"a replica of the sampler as trainer", "", .trainer = true, .stale = 0.3},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) examine(&files[i]);
}

static void sick_files_get_their_finding_and_no_other(void **unused) {
    (void)unused;
    static const struct simulation files[] = {
        {"no behaviour", "no_behavior ", .no_behavior = true},
        {"nulls for behaviour", "no_behavior ", .no_behavior = true, .nulls = true},
        {"zeros for behaviour", "no_behavior ", .zeros = true, .stale = 0.1},
        {"copied", "copied_behavior ", .copied = true, .stale = 0.3},
        {"copied and rounded", "copied_behavior ", .copied = true, .rounded = true, .stale = 0.3},
        {"top-p 0.95, first step", "top_p ", .top_p = 0.95, .first_step = true},
        {"top-p 0.95, noise", "top_p ", .top_p = 0.95, .noise = 0.005},
        {"top-p 0.9, recomputed", "top_p ", .top_p = 0.9, .trainer = true, .stale = 0.3, .noise = 0.01},
        {"top-p 0.8, stale", "top_p ", .top_p = 0.8, .stale = 0.05},
        {"min-p 0.1", "top_p ", .min_p = 0.1, .trainer = true, .stale = 0.3},
        {"temperature 0.7 in the engine", "temperature ", .temperature = 0.7, .stale = 0.05},
        {"temperature 0.7, both", "temperature ", .temperature = 0.7, .trainer = true, .noise = 0.01, .stale = 0.3},
        {"temperature 1.3", "temperature ", .temperature = 1.3, .trainer = true, .stale = 0.3},
        {"temperature in the trainer", "temperature ", .other_temperature = 0.7, .trainer = true},
        {"repetition penalty 1.1", "repetition_penalty ", .penalty = 1.1, .trainer = true, .stale = 0.3},
        {"repetition penalty 1.2, stale", "repetition_penalty ", .penalty = 1.2, .stale = 0.1},
        {"repetition penalty 1.05", "repetition_penalty ", .penalty = 1.05, .trainer = true, .stale = 0.3},
        {"repetition penalty 1.5", "repetition_penalty ", .penalty = 1.5, .stale = 0.02},
        {"log10", "log_base ", .base = 0.43429448, .noise = 0.01},
        {"log2", "log_base ", .base = 1.442695, .stale = 0.02},
        {"log-probs divided by 0.7", "temperature ", .base = 1 / 0.7, .noise = 0.01},
        {"log-probs divided by 1.25", "temperature ", .base = 0.8, .stale = 0.02},
        {"zeros", "fill_values ", .fill = 0.02, .stale = 0.1},
        {"shifted", "shifted ", .shifted = true, .stale = 0.1},
        {"retokenised", "retokenised ", .retokenised = true},
        {"a mean spread", "positive_logps sequence_means ", .spread = true, .stale = 0.3},
        {"an absolute mean spread", "positive_logps absolute_mean sequence_means ", .absolute = true, .stale = 0.3},
        {"a mean log-prob spread", "sequence_means ", .level = true, .stale = 0.3},
        {"a limit", "truncated ", .limit = 40, .stale = 0.1},
        {"the prompt", "prompt_in_loss ", .prompt_zero = true, .stale = 0.1},
        {"twice", "duplicates ", .twice = true, .stale = 0.1},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) examine(&files[i]);
}

/* ---- Files written by hand ---- */

static void expect_text(const char *text, const char *finds, const char *part) {
    char path[] = "/tmp/opsm-doctor-XXXXXX", ids[500];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    json_t *result = audited(path, OPSM_OK);
    ids_of(result, ids, sizeof ids);
    if (strcmp(ids, finds) != 0) fail_msg("found [%s], expected [%s] in\n%s", ids, finds, text);
    char *findings = json_dumps(json_object_get(result, "findings"), JSON_COMPACT);
    if (!strstr(findings, part)) fail_msg("no \"%s\" in %s", part, findings);
    free(findings);
    json_decref(result);
    unlink(path);
}

#define ROW(group, more) "{\"group\":" group ",\"logp_behavior\":[-1,-2],\"logp_current\":[-1.1,-1.8]" more "}\n"

static void groups_are_examined(void **unused) {
    (void)unused;
    expect_text(ROW("1", ",\"reward\":1") ROW("1", ",\"reward\":0") ROW("2", ",\"reward\":1"), "singleton_groups ",
                "1 of 2 groups have a single row");
    /* Whatever the order of the rows, and never because of a row's own number where advantages are given. */
    expect_text(ROW("1", ",\"reward\":1") ROW("2", ",\"reward\":0") ROW("2", ",\"reward\":1") ROW("1", ",\"reward\":0"),
                "", "[]");
    expect_text(ROW("1", ",\"advantage\":1") ROW("2", ",\"advantage\":-1"), "", "[]");
    expect_text(ROW("1", ",\"reward\":1") ROW("1", ",\"reward\":0") ROW("\"1\"", ",\"reward\":1")
                    ROW("\"1\"", ",\"reward\":0") ROW("\"x\"", ",\"reward\":1") ROW("\"x\"", ",\"reward\":0"),
                "mixed_ids ", "2 rows have an integer, 4 a string; 1 ids occur as both");
    expect_text(ROW("1", ",\"reward\":1,\"version\":3") ROW("1", ",\"reward\":0,\"version\":4")
                    ROW("2", ",\"reward\":1,\"version\":3") ROW("2", ",\"reward\":0,\"version\":3"),
                "mixed_versions ", "1 of 2 groups");
    expect_text(ROW("1", ",\"reward\":1") ROW("1", ",\"reward\":1") ROW("2", ",\"reward\":1") ROW("2", ",\"reward\":1"),
                "no_signal ", "all rewards of the file are 1");
    expect_text(ROW("1", ",\"advantage\":0") ROW("1", ",\"advantage\":0"), "no_signal ", "1 of 1 groups");
    expect_text(ROW("1", ",\"advantage\":-1,\"reward\":1") ROW("1", ",\"advantage\":1,\"reward\":0"), "advantage_sign ",
                "In 1 of 1 groups");
    expect_text(ROW("1", ",\"advantage\":1,\"tokens\":[5,6],\"mask\":[0,1]")
                    ROW("1", ",\"advantage\":-1,\"tokens\":[7,6],\"mask\":[0,1]"),
                "mixed_prompts ", "In 1 of 1 groups");
    expect_text(ROW("1", ",\"advantage\":1,\"tokens\":[5,6],\"mask\":[0,1]")
                    ROW("1", ",\"advantage\":-1,\"tokens\":[5,7],\"mask\":[0,0]"),
                "empty_mask ", "");
}

static void silent_groups_are_counted_once(void **unused) {
    (void)unused;
    char *text = calloc(1, 100000);
    assert_non_null(text);
    for (int i = 0; i < 64; i++) {
        char row[200];
        snprintf(row, sizeof row, ROW("%d", ",\"advantage\":%d"), i / 8, i < 8 ? (i % 2 ? 1 : -1) : 0);
        strcat(text, row);
    }
    char path[] = "/tmp/opsm-doctor-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    json_t *result = audited(path, OPSM_OK), *metrics = json_object_get(result, "metrics");
    assert_int_equal(json_number_value(json_object_get(metrics, "groups")), 8);
    assert_int_equal(json_number_value(json_object_get(metrics, "skipped_groups")), 7);
    json_decref(result);
    unlink(path);
    free(text);
}

static void rows_are_examined(void **unused) {
    (void)unused;
    expect_text(ROW("1", ",\"advantage\":1,\"finish\":\"length\"") ROW("1", ",\"advantage\":-1"), "truncated ",
                "1 of 2 rows are truncated");
    expect_text(ROW("1", ",\"advantage\":1,\"finished\":false") ROW("1", ",\"advantage\":-1,\"finished\":true"),
                "truncated ", "1 of 2 rows");
    expect_text(ROW("1", ",\"advantage\":1,\"finish_reason\":\"length\"") ROW("1", ",\"advantage\":-1"), "truncated ",
                "1 of 2 rows are truncated");
    expect_text(ROW("1", ",\"advantage\":1,\"mask\":[0,0]") ROW("1", ",\"advantage\":-1"), "empty_mask ",
                "1 of 2 rows");
    expect_text(ROW("1", ",\"advantage\":1,\"tokens\":[4,5],\"tokens_behavior\":[4,6]") ROW("1", ",\"advantage\":-1"),
                "retokenised ", "1 elements of tokens and tokens_behavior");
    expect_text("{\"group\":1,\"advantage\":-1,\"logp_behavior\":[-1,null],\"logp_current\":[-1.1,-2]}\n" ROW(
                    "1", ",\"advantage\":-1"),
                "unknown_logps ", "1 of 8 log-probs");
    expect_text("{\"group\":1,\"advantage\":1,\"logp_behavior\":[-1,-9999],\"logp_current\":[-1.1,-2]}\n" ROW(
                    "1", ",\"advantage\":-1"),
                "fill_values ", "1 of 4 tokens");
    expect_text("{\"group\":1,\"advantage\":1,\"logp_behavior\":[0.3,0.9],\"logp_current\":[0.35,0.8]}\n"
                "{\"group\":1,\"advantage\":-1,\"logp_behavior\":[0.5,0.9],\"logp_current\":[0.4,0.99]}\n",
                "positive_logps ", "probabilities");
    expect_text(
        ROW("1",
            ",\"advantage\":1") "{\"group\":1,\"advantage\":-1,\"logp_behavior\":[1,2],\"logp_current\":[1,2.5]}\n",
        "positive_logps ", "above 0");
}

static void an_offset_is_no_mean(void **unused) {
    (void)unused;
    char *text = calloc(1, 20000);
    assert_non_null(text);
    for (int i = 0; i < 16; i++) {
        char row[400];
        double x = -0.2 * i - 0.1;
        snprintf(row, sizeof row,
                 "{\"group\":1,\"advantage\":%d,\"logp_behavior\":[%g,%g,%g,%g],\"logp_current\":[%g,%g,%g,%g]}\n",
                 i % 2 ? 1 : -1, x + 0.0513, x - 0.9487, x - 1.9487, x - 1.4487, x, x - 1, x - 2, x - 1.5);
        strcat(text, row);
    }
    expect_text(text, "top_p ", "as if 95.0%");
    free(text);
}

/* "drift" and "keep" as another trainer computed them: rows of mean b - c = -0.2 and +0.2. */
static void an_absolute_mean_is_recognised(void **unused) {
    (void)unused;
#define UP   "{\"group\":1,\"advantage\":-1,\"logp_behavior\":[-1,-2],\"logp_current\":[-0.9,-1.7]"
#define DOWN "{\"group\":1,\"advantage\":1,\"logp_behavior\":[-1,-2],\"logp_current\":[-1.1,-2.3]"
    expect_text(UP ",\"drift\":0.2}\n" DOWN ",\"drift\":0.2}\n", "absolute_mean ", "in 1 rows the mean is negative");
    expect_text(UP ",\"drift\":-0.2}\n" DOWN ",\"drift\":0.2}\n", "", "[]");
    expect_text(UP ",\"keep\":false}\n" DOWN ",\"keep\":true}\n", "absolute_mean ",
                "1 of the 1 rows that the trainer dropped");
    expect_text(UP ",\"keep\":true}\n" DOWN ",\"keep\":false}\n", "", "[]");
    expect_text(UP ",\"keep\":0}\n" DOWN ",\"keep\":1}\n", "absolute_mean ", "1 of the 1 rows");
    /* c - b is another mistake than |b - c|, and the mean of |b - c| another than |mean|. */
    expect_text(UP ",\"drift\":0.2}\n" DOWN ",\"drift\":-0.2}\n", "drift_sign ", "the sign changed");
#define UPS UP ",\"drift\":0.7}\n" UP ",\"drift\":0.6}\n" UP ",\"drift\":0.8}\n" UP ",\"drift\":0.5}\n"
    expect_text(UPS UPS DOWN ",\"drift\":0.4}\n", "absolute_mean ", "a statistic without sign");
#define MASKED UP ",\"mask\":[0,0]}\n"
    expect_text(MASKED MASKED MASKED DOWN "}\n", "absolute_mean empty_mask ", "had become likelier");
    expect_text(MASKED MASKED MASKED UP "}\n", "empty_mask ", "");
}

/* Rows of `n` lengths that end at a limit, or at `high` by their form. */
static void expect_lengths(const int *lengths, int n, const char *finds) {
    char *text = calloc((size_t)n, 3000), *to = text;
    assert_non_null(text);
    state = 0x2545F4914F6CDD1Du;
    for (int i = 0; i < n; i++) {
        to += sprintf(to, "{\"group\":1,\"advantage\":%d,\"logp_current\":[", i % 2 ? 1 : -1);
        for (int t = 0; t < lengths[i]; t++) to += sprintf(to, "%s-%.3f", t ? "," : "", 0.5 + t % 7);
        to += sprintf(to, "],\"logp_behavior\":[");
        for (int t = 0; t < lengths[i]; t++) to += sprintf(to, "%s-%.3f", t ? "," : "", 0.45 + t % 7 + 0.1 * uniform());
        to += sprintf(to, "]}\n");
    }
    expect_text(text, finds, "");
    free(text);
}

static void a_limit_is_told_from_a_form(void **unused) {
    (void)unused;
    int lengths[64];
    for (int i = 0; i < 64; i++) lengths[i] = i < 36 ? 80 : 20 + 2 * (i - 36);
    expect_lengths(lengths, 64, "truncated ");
    for (int i = 0; i < 64; i++) lengths[i] = i < 50 ? 25 : 10 + i - 50;
    expect_lengths(lengths, 64, "");
    for (int i = 0; i < 64; i++) lengths[i] = i < 56 ? 20 + i : 76 + (i - 56) % 4;
    expect_lengths(lengths, 64, "");
    for (int i = 0; i < 64; i++) lengths[i] = i < 56 ? 20 + i : 90;
    expect_lengths(lengths, 64, "truncated ");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_offset_is_no_mean),
        cmocka_unit_test(healthy_files_have_no_finding),
        cmocka_unit_test(sick_files_get_their_finding_and_no_other),
        cmocka_unit_test(groups_are_examined),
        cmocka_unit_test(silent_groups_are_counted_once),
        cmocka_unit_test(rows_are_examined),
        cmocka_unit_test(a_limit_is_told_from_a_form),
        cmocka_unit_test(an_absolute_mean_is_recognised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
