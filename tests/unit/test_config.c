/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "check.h"
#include "config/diff.h"
#include "config/document.h"
#include "config/keys.h"
#include "reward/verifier.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];

/* Loads `yaml` from a file; the config is the caller's to free. */
static opsm_status load(struct run_config *config, const char *yaml, opsm_error *err) {
    strcpy(path, "/tmp/opsm-config-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, yaml, strlen(yaml)), (ssize_t)strlen(yaml));
    close(fd);
    config_defaults(config);
    opsm_status status = config_load(config, path, err);
    unlink(path);
    return status;
}

static void refused(const char *yaml, const char *expected) {
    struct run_config config;
    opsm_error err = {0};
    opsm_status status = load(&config, yaml, &err);
    if (status == OPSM_OK) status = reward_try(config.rewards, config.n_rewards, &err);
    if (status == OPSM_OK) status = config_check(&config, &err);
    config_free(&config);
    const char *place = strstr(err.text, path);
    bool twice = place && strstr(place + 1, path);
    if (status == OPSM_OK || !strstr(err.text, expected) || twice) {
        print_error("for: %s\nexpected: %s\nfound: %s\n", yaml, expected, err.text);
        fail();
    }
}

static const char complete[] =
    "model: models/tiny.gguf\n"
    "output: 'runs/de mo'\n"
    "seed: 18446744073709551615\n"
    "precision: f32\n"
    "task: {name: running-sum, difficulty: 6}\n"
    "rollout: {prompts: 64, group: 8, max_tokens: 64, top_p: 0.95, stop: [\"\\n\", \"END\"]}\n"
    "reward:\n"
    "  - {type: numeric, weight: 1.0}\n"
    "  - {type: regex, weight: 0.25, pattern: \"a\\\"b\\\\d\", ignore_case: true}\n"
    "  - {type: format, tags: [<think>, </think>], max_length: 900}\n"
    "schedule: {minibatches: 16, epochs: 2, staleness: 8}\n"
    "objective:\n"
    "  advantage: grpo\n"
    "  surrogate: {name: ppo, clip_low: 0.2, clip_high: 0.28}\n"
    "  mask: {rule: opsm, delta: 0.03}\n"
    "  penalty: {beta: 0.001, estimator: k3}\n"
    "  aggregation: token_mean\n"
    "optim: {lr: 1.0e-5, betas: [0.9, 0.99], clip_norm: 1.0}\n"
    "train: {iterations: 7, keep: 16}\n";

static const struct config_setting *setting(const struct config_reward *reward, const char *name) {
    for (int32_t i = 0; i < reward->n_settings; i++)
        if (!strcmp(reward->settings[i].name, name)) return &reward->settings[i];
    fail_msg("no setting '%s'", name);
    return NULL;
}

static void a_complete_file_is_read(void **state) {
    (void)state;
    opsm_error err = {0};
    struct run_config c;
    assert_ok(load(&c, complete, &err));
    assert_ok(config_check(&c, &err));
    assert_string_equal(c.model, "models/tiny.gguf");
    assert_string_equal(c.output, "runs/de mo");
    assert_true(c.seed == UINT64_MAX);
    assert_int_equal(c.precision, DTYPE_F32);
    assert_int_equal(c.task.difficulty, 6);
    assert_near(c.rollout.top_p, 0.95, 0);
    assert_int_equal(c.rollout.stop.count, 2);
    assert_string_equal(c.rollout.stop.items[0], "\n");
    assert_int_equal(c.n_rewards, 3);
    assert_string_equal(setting(&c.rewards[1], "ignore_case")->text, "true");
    const struct config_setting *tags = setting(&c.rewards[2], "tags");
    assert_true(tags->is_list && !tags->text);
    assert_int_equal(tags->list.count, 2);
    assert_string_equal(tags->list.items[1], "</think>");
    assert_string_equal(setting(&c.rewards[2], "max_length")->text, "900");
    assert_string_equal(setting(&c.rewards[1], "pattern")->text, "a\"b\\d");
    assert_non_null(strstr(setting(&c.rewards[1], "pattern")->place, ":9: "));
    assert_near(c.rewards[1].weight, 0.25, 0);
    assert_near(c.rewards[2].weight, 1, 0);
    assert_int_equal(c.objective.advantage, OPSM_ADVANTAGE_GRPO);
    assert_near(c.objective.surrogate_clip_high, 0.28, 0);
    assert_near(c.objective.mask_delta, 0.03, 0);
    assert_int_equal(c.objective.aggregation, OPSM_AGGREGATION_TOKEN_MEAN);
    assert_near(c.optim.beta2, 0.99, 0);
    config_free(&c);
}

static void the_written_text_reads_back_as_itself(void **state) {
    (void)state;
    opsm_error err = {0};
    struct run_config c, again;
    assert_ok(load(&c, complete, &err));
    assert_ok(config_override(&c, "data.system=be \\ \"brief\"", &err));
    char *text = config_text(&c);
    assert_non_null(text);
    assert_ok(load(&again, text, &err));
    char *second = config_text(&again);
    assert_string_equal(text, second);
    mem_free(text);
    mem_free(second);
    config_free(&c);
    config_free(&again);
}

static void the_command_line_overrides(void **state) {
    (void)state;
    opsm_error err = {0};
    struct run_config c;
    config_defaults(&c);
    assert_ok(config_override(&c, "optim.lr=3e-4", &err));
    assert_ok(config_override(&c, "optim.betas=[0.8, 0.95]", &err));
    assert_ok(config_override(&c, "objective.mask.delta=.inf", &err));
    assert_ok(config_override(&c, "rollout={group: 4, stop: [x]}", &err));
    assert_ok(config_override(&c, "reward=[{type: exact}]", &err));
    assert_ok(config_override(&c, "output=a=b", &err));
    assert_near(c.optim.lr, 3e-4, 0);
    assert_near(c.optim.beta1, 0.8, 0);
    assert_true(c.objective.mask_delta > 1e300);
    assert_int_equal(c.rollout.group, 4);
    assert_int_equal(c.n_rewards, 1);
    assert_string_equal(c.output, "a=b");
    assert_ok(config_override(&c, "output=", &err));
    assert_null(c.output);
    assert_int_equal(config_override(&c, "optim.lr", &err), OPSM_INVALID);
    assert_int_equal(config_override(&c, "=3", &err), OPSM_INVALID);
    assert_int_equal(config_override(&c, "optim.lr=[", &err), OPSM_INVALID);
    config_free(&c);
}

/* Nothing said: auto. A delta that is given is used: fixed, unless the same document names a policy. */
static void a_delta_that_is_given_is_used(void **state) {
    (void)state;
    opsm_error err = {0};
    struct run_config c;
    config_defaults(&c);
    assert_int_equal(c.objective.mask_policy, OPSM_POLICY_AUTO);
    assert_ok(config_override(&c, "objective.mask={delta: 0.1}", &err));
    assert_int_equal(c.objective.mask_policy, OPSM_POLICY_FIXED);
    assert_ok(load(&c, "objective: {mask: {delta: 0.1, policy: auto}}\n", &err)); /* as a written config.yaml */
    assert_int_equal(c.objective.mask_policy, OPSM_POLICY_AUTO);
    assert_ok(config_override(&c, "objective.mask.delta=0.2", &err));
    assert_int_equal(c.objective.mask_policy, OPSM_POLICY_FIXED);
    assert_ok(config_override(&c, "objective.mask.policy=length", &err)); /* words are one document, in any order */
    assert_ok(config_override(&c, "objective.mask.delta=0.2", &err));
    assert_int_equal(c.objective.mask_policy, OPSM_POLICY_LENGTH);
    assert_ok(config_override(&c, "objective.mask.policy=quantile", &err));
    assert_ok(config_override(&c, "objective.mask.delta=0.2", &err)); /* where it starts */
    assert_int_equal(c.objective.mask_policy, OPSM_POLICY_QUANTILE);
    config_free(&c);
}

/* null takes back what an earlier file, section or word has set, whatever kind of key it is. */
static void null_gives_the_default(void **state) {
    (void)state;
    opsm_error err = {0};
    struct run_config c, defaults;
    assert_ok(load(&c, complete, &err));
    config_defaults(&defaults);
    static const char *const words[] = {
        "optim.lr=null",  "optim.betas=~", "rollout.stop=null", "reward=null",         "seed=null",
        "precision=NULL", "task=null",     "data=null",         "objective.mask=null", "objective=null",
        "train=null",     "schedule=~",    "rollout=null",      "optim=null",          "eval=null",
        "sft.init=null",  "sft=null",      "rollout.save=null", "output=null",         "model=null"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) assert_ok(config_override(&c, words[i], &err));
    char *text = config_text(&c), *expected = config_text(&defaults);
    assert_string_equal(text, expected);
    mem_free(text);
    mem_free(expected);
    config_free(&c);

    assert_ok(load(&c, "reward: [{type: numeric, weight: null, tolerance: null, pattern: null}]\n", &err));
    assert_near(c.rewards[0].weight, 1, 0);
    config_free(&c);
    config_defaults(&c);
    assert_int_equal(config_override(&c, "optim.rl=null", &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "did you mean 'optim.lr'"));
    assert_int_equal(config_override(&c, "optim.lr=", &err), OPSM_INVALID); /* a shell variable that is not set */
    assert_non_null(strstr(err.text, "found nothing"));
    assert_int_equal(config_override(&c, "lab=null", &err), OPSM_INVALID);
    config_free(&c);
}

/* The policy is auto until somebody gives a threshold, also after the threshold is taken back. */
static void a_delta_that_is_taken_back_leaves_no_trace(void **state) {
    (void)state;
    opsm_error err = {0};
    struct run_config c, copy, defaults;
    config_defaults(&defaults);
    assert_ok(load(&c, "objective: {mask: {delta: 0.1}}\n", &err));
    assert_ok(config_copy(&copy, &c, &err)); /* as an arm of a laboratory begins */
    assert_ok(config_override(&copy, "objective.mask.delta=null", &err));
    assert_int_equal(copy.objective.mask_policy, OPSM_POLICY_AUTO);
    assert_near(copy.objective.mask_delta, defaults.objective.mask_delta, 0);
    config_free(&copy);
    assert_ok(config_override(&c, "objective.mask.policy=quantile", &err));
    assert_ok(config_override(&c, "objective.mask.policy=null", &err)); /* the threshold is still given */
    assert_int_equal(c.objective.mask_policy, OPSM_POLICY_FIXED);
    assert_near(c.objective.mask_delta, 0.1, 0);
    config_free(&c);
    assert_ok(load(&c, "objective: {mask: {policy: fixed, delta: 0.1}}\n", &err));
    assert_ok(config_override(&c, "objective.mask.delta=null", &err)); /* a policy that was named stays */
    assert_int_equal(c.objective.mask_policy, OPSM_POLICY_FIXED);
    assert_near(c.objective.mask_delta, defaults.objective.mask_delta, 0);
    config_free(&c);
}

static void next_difference_is(struct config_diff *diff, const char *name, const char *a, const char *b) {
    assert_true(config_diff_next(diff));
    assert_string_equal(diff->path, name);
    assert_string_equal(diff->value_a, a);
    assert_string_equal(diff->value_b, b);
}

static void differences_are_named(void **state) {
    (void)state;
    opsm_error err = {0};
    struct run_config c, other;
    assert_ok(load(&c, complete, &err));
    assert_ok(config_copy(&other, &c, &err));
    char *text = config_text(&c), *same = config_text(&other);
    assert_string_equal(text, same);
    assert_false(config_diff_next(&(struct config_diff){.a = text, .b = same}));
    assert_ok(config_override(&other, "rollout.group=4", &err));
    assert_ok(config_override(&other, "train.keep=2", &err));
    assert_ok(config_override(&other, "reward=[{type: exact}]", &err)); /* one line instead of three */
    assert_ok(config_override(&other, "objective.mask.delta=1", &err));
    char *changed = config_text(&other);
    struct config_diff diff = {.a = text, .b = changed};
    next_difference_is(&diff, "rollout.group", "8", "4");
    next_difference_is(&diff, "train.keep", "16", "2");
    assert_true(config_diff_next(&diff) && !strcmp(diff.path, "reward") && diff.aligned);
    assert_non_null(strstr(diff.value_b, "- {type: \"exact\""));
    next_difference_is(&diff, "objective.mask.delta", "0.03", "1");
    assert_false(config_diff_next(&diff));
    /* A text of another version of the program: the first line that the other lacks is the last difference. */
    diff = (struct config_diff){.a = "a: 1\nb: 2\nc: 3\n", .b = "a: 1\nc: 4\n"};
    next_difference_is(&diff, "b", "2", "not set");
    assert_false(diff.aligned || config_diff_next(&diff));
    diff = (struct config_diff){.a = "a:\n  c: 3\n", .b = "a:\n  b: 2\n  c: 4\n"};
    next_difference_is(&diff, "a.b", "not set", "2");
    assert_false(diff.aligned || config_diff_next(&diff));
    mem_free(text);
    mem_free(same);
    mem_free(changed);
    config_free(&c);
    config_free(&other);
}

static void bad_files_get_line_and_reason(void **state) {
    (void)state;
    refused("seed: 1\nlab: {seeds: 3}\n",
            ":2: a section `lab` makes this a file of the laboratory: `opsm lab` runs it");
    refused("seed: 1\nreward:\n  - {type: exact,\n     type: exact}\n", ":4: key 'type' is given twice");
    refused("seed: 1\noptm: {lr: 1}\n", ":2: unknown key 'optm'; did you mean 'optim");
    refused("optim:\n  lr: fast\n", ":2: optim.lr: expected a number, found 'fast'");
    refused("optim: {lr: -1}\n", "optim.lr: expected a number from 0 to 10, found -1");
    refused("optim: {lr: nan}\n", "optim.lr: expected a number from");
    refused("rollout: {group: 8.5}\n", "rollout.group: expected a whole number, found '8.5'");
    refused("rollout: {group: 99999999999999999999}\n", "from 1 to 4096");
    refused("precision: fp8\n", "precision: expected one of f32|bf16, found 'fp8'");
    refused("lr: 1e-5\n", ":1: unknown key 'lr'; did you mean 'optim.lr'?");
    refused("mask: {delta: 1}\n", ":1: unknown key 'mask'; did you mean 'objective.mask'?");
    refused("objective: {mask: {dleta: 1}}\n", "did you mean 'objective.mask.delta'");
    refused("objective: {mask: {delta: -1}}\n", "delta");
    refused("objective: 3\n", "objective: expected a map of keys, found a single value");
    refused("optim: {lr: [1]}\n", "optim.lr: expected a single value, found a list");
    refused("optim: {betas: [1, 2, 3]}\n", "expected a list of two numbers, found 3");
    refused("rollout: {stop: [\"\"]}\n", "entry 1: expected a string");
    refused("reward: [{weight: 1}]\n", "has no type");
    refused("reward: [{type: exact, wieght: 1}]\n", ":1: unknown key 'reward.wieght'; did you mean 'weight'?");
    refused("reward:\n  - {type: exact}\n  - {pattern: x,\n     type: exact}\n",
            ":3: verifier 'exact' has no setting 'pattern'");
    refused("reward:\n  - type: numeric\n    tolerance: 1.5\n", ":3: tolerance: expected a number from 0 to");
    refused("reward:\n  - type: numeric\n    tolerance:\n", ":3: tolerance: expected a value, found nothing");
    refused("reward:\n  - type: numeric\n    weight: x\n", ":3: weight: expected a number, found 'x'");
    refused("reward:\n  - {type: regex, pattern: [a]}\n", ":2: pattern: expected a single value, found a list");
    refused("reward:\n  - {type: regex, pattern: {a: b}}\n", ":2: pattern: expected a single value, found a map");
    refused("reward:\n  - {type: regex, pattern: \"a\\0b\"}\n", ":2: pattern: the value holds a NUL byte");
    refused("reward:\n  - {type: format, tags: a}\n", ":2: tags: expected a list of strings, found 'a'");
    refused("reward:\n  - {type: format, tags: [a, \"\"]}\n", ":2: tags: entry 2: expected a string");
    refused("reward:\n\n  - type: regex\n", ":3: verifier 'regex' needs a pattern");
    refused("reward:\n  - type: numerik\n", ":2: unknown verifier 'numerik'; did you mean 'numeric'?");
    refused("reward: [{type: exact}, {type: exact, name: exact}]\n", ":1: reward: two entries have the name 'exact'");
    refused("reward: [{type: exact, zzz: null}]\n", "unknown key 'reward.zzz'");
    refused("seed: 1\nseed: 2\n", ":2: key 'seed' is given twice");
    refused("seed: [1\n", "not valid YAML");
    refused("", "the file is empty");
    refused("- 1\n", "expected a map of keys, found a list");
    refused("output: \"a\\0b\"\n", "NUL");
    refused("&a [*a]: 1\n", "expected the name of a key");
    refused("objective: &a {mask: *a}\n", "unknown key 'objective.mask.mask'");
    refused("rollout: {stop: &a [*a]}\n", "entry 1: expected a string");
    refused("seed: 1\n---\nseed: 2\n", ":2: a second YAML document begins here");
    refused("seed: 1\n...\n# more\n---\n", ":4: a second YAML document begins here");
    refused("---\nseed: 1\n...\nseed: 2\n", ":4: ");
    refused("seed: 1\n...\n%bad\n", "not valid YAML");
    enum { BRACKETS = 100000 }; /* minutes for libyaml's loader */
    char *deep = mem_alloc(BRACKETS + 1, 1);
    assert_non_null(deep);
    memset(deep, '[', BRACKETS);
    deep[BRACKETS] = '\0';
    refused(deep, ":1: more than 32 levels of lists and maps");
    mem_free(deep);
}

static void keys_that_contradict_each_other(void **state) {
    (void)state;
    refused("output: o\ntask: {name: x}\n", "model: expected the path");
    refused("model: m\ntask: {name: x}\n", "output: expected a directory");
    refused("model: m\noutput: o\n", "either task.name");
    refused("model: m\noutput: o\ntask: {name: x}\ndata: {file: y}\n", "not both");
    refused("model: m\noutput: o\ntask: {name: x}\nrollout: {group: 1}\n", "use at least 2");
    refused("model: m\noutput: o\ntask: {name: x}\nrollout: {prompts: 1, group: 2}\nschedule: {minibatches: 3}\n",
            "more than the 2 sequences");
    refused("model: m\noutput: o\ntask: {name: x}\ntrain: {save_type: q4}\n",
            "train.save_type: expected one of f32|f16|bf16|q8_0");
    refused("train: {lora: {rnk: 8}}\n", "did you mean 'train.lora.rank'?");
    refused("train: {lora: {rank: -1}}\n", "expected a whole number from 0 to 4096, found -1");
    refused("train: {lora: {rank: 8, targets: q_proj}}\n", "expected all-linear, or a list of attn_q, attn_k, ");
    refused("train: {lora: {rank: 8, targets: [attn_q, 7]}}\n", "found '7'");
    refused("train: {lora: {rank: 8, targets: []}}\n", "expected at least one word, found none");
    refused("model: m\noutput: o\ntask: {name: x}\ntrain: {lora: {alpha: 8}}\n", "its rank is 0");
    refused("model: m\noutput: o\ntask: {name: x}\ntrain: {lora: {rank: 8}}\nrollout: {weights: int8}\n",
            "leave it at same");
    refused("output: o\ntask: {name: x}\ntrain: {lora: {rank: 8}}\nsft: {init: {dim: 8}}\n", "nothing yet to adapt");
    refused("optim: {betas: [0.9, 1]}\n", "expected a number from 0 to 0.9999999, found 1");
    refused("optim: {clip_norm: -1}\n", "expected a number from 0 to 1000000000, found -1");
    refused("optim: {eps: 0}\n", "expected a number from 1e-30 to 1, found 0");
    refused("rollout: {top_p: 0}\n", "expected a number from 1e-6 to 1, found 0");
}

/* A value that the table allows and the default is not. */
static void another_value(const struct config_key *key, const struct run_config *defaults, char *value, size_t room) {
    const char *slot = (const char *)defaults + key->offset;
    int32_t n;
    double x;
    unsigned choice;
    switch (key->kind) {
    case KEY_INT:
        memcpy(&n, slot, sizeof n);
        snprintf(value, room, "%d", n < (int32_t)key->high ? n + 1 : n - 1);
        break;
    case KEY_REAL:
        memcpy(&x, slot, sizeof x);
        snprintf(value, room, "%.17g", x != key->high ? (x + key->high) / 2 : (x + key->low) / 2);
        break;
    case KEY_PAIR:
        snprintf(value, room, "[0.5, 0.75]");
        break;
    case KEY_BOOL:
        snprintf(value, room, *slot ? "false" : "true");
        break;
    case KEY_SET:
        snprintf(value, room, "[%s]", strrchr(key->choices, '|') + 1);
        break;
    case KEY_CHOICE: /* the last word, or the first */
        memcpy(&choice, slot, sizeof choice);
        snprintf(value, room, "%.*s", choice ? (int)strcspn(key->choices, "|") : 20,
                 choice ? key->choices : strrchr(key->choices, '|') + 1);
        break;
    case KEY_TEXTS:
        snprintf(value, room, "[a, b]");
        break;
    case KEY_VALUE:
        snprintf(value, room, !strcmp(key->choices, "list") ? "[{a: 1}]" : "{a: 1}");
        break;
    default:
        snprintf(value, room, "7");
    }
}

/* Any YAML under a key of any value is JSON in the configuration, also after it was written and read again. */
static void any_value_is_json(void **state) {
    (void)state;
    static const char *const bad[] = {"data.template_args=7",
                                      "data.template_args=[1]",
                                      "data.tools={a: 1}",
                                      "data.template_args={a: 1, a: 2}",
                                      "data.template_args={a: &x [*x, *x]}",
                                      "data.template_args={a: \"\\0\"}",
                                      "data.tools.a=1"};
    opsm_error err = {0};
    struct run_config c, copy;
    assert_ok(
        load(&c,
             "model: m\noutput: o\ntask: {name: addition}\ndata:\n  tools:\n  - {type: function, n: [1, -2.5, ~]}\n"
             "  template_args: {enable_thinking: false, name: 'true', date: 26 Jul 2024, deep: {x: \"é\\n\", y: ''}}\n",
             &err));
    assert_string_equal(c.data.tools, "[{\"type\": \"function\", \"n\": [1, -2.5, null]}]");
    assert_string_equal(c.data.template_args,
                        "{\"enable_thinking\": false, \"name\": \"true\", \"date\": \"26 Jul 2024\", "
                        "\"deep\": {\"x\": \"é\\n\", \"y\": \"\"}}");
    assert_ok(config_copy(&copy, &c, &err));
    assert_string_equal(copy.data.tools, c.data.tools);
    assert_string_equal(copy.data.template_args, c.data.template_args);
    config_free(&copy);
    assert_ok(config_override(&c, "data.template_args={a: 1}", &err));
    assert_ok(config_override(&c, "data.template_args.enable_thinking=false", &err));
    assert_ok(config_override(&c, "data.template_args.a=[x, null]", &err));
    assert_string_equal(c.data.template_args, "{\"a\": [\"x\", null], \"enable_thinking\": false}");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(config_override(&c, bad[i], &err), OPSM_INVALID);
        assert_non_null(strstr(err.text, "data.t"));
    }
    assert_ok(config_override(&c, "data.template_args=null", &err));
    assert_null(c.data.template_args);
    config_free(&c);
}

/* Help lists no key that the program then refuses: each alone may be set, or the sentence names the keys it needs. */
static void every_key_of_the_table_can_be_used(void **state) {
    (void)state;
    struct run_config defaults;
    config_defaults(&defaults);
    for (int i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        opsm_error err = {0};
        struct run_config c;
        char value[64], assignment[128];
        assert_ok(load(&c, "model: m\noutput: o\ntask: {name: addition}\n", &err));
        another_value(key, &defaults, value, sizeof value);
        snprintf(assignment, sizeof assignment, "%s=%s", key->path, value);
        assert_ok(config_override(&c, assignment, &err));
        opsm_status status = config_check(&c, &err);
        bool names_another = false;
        for (int k = 0; k < config_n_keys; k++)
            names_another = names_another || (k != i && strstr(err.text, config_keys[k].path));
        if (status != OPSM_OK && (status != OPSM_INVALID || !names_another)) {
            print_error("%s is refused: %s\n", assignment, err.text);
            fail();
        }
        config_free(&c);
    }
    config_free(&defaults);
}

static void no_settings(FILE *out) {
    (void)out;
}

static void ranges_are_written_as_a_person_does(void **state) {
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    config_help(out, no_settings);
    fclose(out);
    assert_null(strstr(text, "e+0"));
    assert_null(strstr(text, "e-0"));
    assert_non_null(strstr(text, "[1 to 1048576]"));
    assert_non_null(strstr(text, "[0 to 0.9999999]"));
    assert_non_null(strstr(text, "[1 or more]"));
    assert_non_null(strstr(text, "train.save_type (f32)"));
    assert_non_null(strstr(text, "train.lora.targets (all-linear)"));
    free(text);
}

/* A set is written back as the words of it, or the one that means all. */
static void sets_of_words(void **state) {
    (void)state;
    opsm_error err = {0};
    static const struct {
        const char *given, *written;
    } cases[] = {{"train.lora.targets=all-linear", "targets: all-linear\n"},
                 {"train.lora.targets=ffn_down", "targets: [ffn_down]\n"},
                 {"train.lora.targets=[attn_v, attn_q]", "targets: [attn_q, attn_v]\n"},
                 {"train.lora.targets=[attn_v, all-linear]", "targets: all-linear\n"},
                 {"train.lora.targets=null", "targets: all-linear\n"}};
    struct run_config config;
    config_defaults(&config);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_ok(config_override(&config, cases[i].given, &err));
        char *text = config_text(&config);
        assert_non_null(strstr(text, cases[i].written));
        mem_free(text);
    }
    config_free(&config);
}

static void running_out_of_memory_leaks_nothing(void **state) {
    (void)state;
    for (int nth = 1; nth < 1000; nth++) {
        opsm_error err = {0};
        struct run_config c;
        mem_fail_at(nth);
        opsm_status status = load(&c, complete, &err);
        mem_fail_at(0);
        config_free(&c);
        if (status == OPSM_OK) return;
        assert_int_equal(status, OPSM_NOMEM);
    }
    fail();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_complete_file_is_read),
        cmocka_unit_test(the_written_text_reads_back_as_itself),
        cmocka_unit_test(a_delta_that_is_given_is_used),
        cmocka_unit_test(differences_are_named),
        cmocka_unit_test(the_command_line_overrides),
        cmocka_unit_test(null_gives_the_default),
        cmocka_unit_test(a_delta_that_is_taken_back_leaves_no_trace),
        cmocka_unit_test(bad_files_get_line_and_reason),
        cmocka_unit_test(keys_that_contradict_each_other),
        cmocka_unit_test(any_value_is_json),
        cmocka_unit_test(every_key_of_the_table_can_be_used),
        cmocka_unit_test(ranges_are_written_as_a_person_does),
        cmocka_unit_test(sets_of_words),
        cmocka_unit_test(running_out_of_memory_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
