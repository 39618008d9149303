/* SPDX-License-Identifier: Apache-2.0
 *
 * A model's accuracy on problems. What to ask and how to judge comes from a configuration (the run's own, --config, or
 * the defaults); options stand for keys of it and win.
 */
#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/model_path.h"
#include "cli/options.h"
#include "config/keys.h"
#include "environment/problem_rows.h"
#include "io/json_writer.h"
#include "train/evaluate.h"
#include <string.h>

/* X(option, key of the configuration) */
#define EVAL_KEYS(X)                                                                                                   \
    X("--task", "task.name")                                                                                           \
    X("--difficulty", "task.difficulty")                                                                               \
    X("--style", "task.style")                                                                                         \
    X("--data", "data.file")                                                                                           \
    X("--prompt", "data.prompt")                                                                                       \
    X("--answer", "data.answer")                                                                                       \
    X("--on-bad-row", "data.on_bad_row")                                                                               \
    X("--template", "data.template")                                                                                   \
    X("--system", "data.system")                                                                                       \
    X("-n", "eval.problems")                                                                                           \
    X("--samples", "eval.samples")                                                                                     \
    X("--temperature", "eval.temperature")                                                                             \
    X("--max-tokens", "rollout.max_tokens")                                                                            \
    X("--max-prompt", "rollout.max_prompt")                                                                            \
    X("--in-flight", "rollout.in_flight")                                                                              \
    X("--seed", "seed")                                                                                                \
    X("--precision", "precision")

enum eval_key {
    TASK,
    DIFFICULTY,
    STYLE,
    DATA,
    PROMPT,
    ANSWER,
    ON_BAD_ROW,
    TEMPLATE,
    SYSTEM,
    PROBLEMS,
    SAMPLES,
    TEMPERATURE,
    MAX_TOKENS,
    MAX_PROMPT,
    IN_FLIGHT,
    SEED,
    PRECISION,
    N_EVAL_KEYS
};

static const struct {
    const char *option, *key;
} eval_keys[N_EVAL_KEYS] = {
#define EVAL_KEY(option, key) {option, key},
    EVAL_KEYS(EVAL_KEY)
#undef EVAL_KEY
};

struct eval_options {
    const char *model, *config, *verifier;
    const char *values[N_EVAL_KEYS]; /* NULL: not given */
    double top_p;
    struct option_texts stop;
    bool json, train_split;
};

/* Longest prompt of a built-in task that gets memory; no task comes near. */
enum { TASK_PROMPT_MAX = 1024, DEFAULT_MAX_TOKENS = 256 };

/* ---- the configuration -------------------------------------------------------------------------------------------- */

/* The configuration to begin with; *found: there is one. A run brings its own. */
static opsm_status load_config(struct run_config *config, const struct eval_options *o, bool *found, opsm_error *err) {
    char *own = NULL;
    opsm_status status = OPSM_OK;
    config_defaults(config);
    config->rollout.max_tokens = DEFAULT_MAX_TOKENS;
    *found = o->config != NULL;
    if (!o->config && file_is_dir(o->model)) {
        own = file_join(o->model, "config.yaml");
        status = own ? file_find(own, found, err) : mem_exhausted(err, "a file name", 0);
    }
    if (status == OPSM_OK && *found) status = config_load(config, o->config ? o->config : own, err);
    mem_free(own);
    return status;
}

/* The value of an option is taken as it stands, not as YAML; sentences name the option. */
static opsm_status apply_options(struct run_config *config, const struct eval_options *o, opsm_error *err) {
    opsm_status status = OPSM_OK;
    bool problems = o->values[TASK] || o->values[DATA];
    if (problems) status = config_replace_text(&config->task.name, NULL, err);
    if (problems) status = config_replace_text(&config->data.file, NULL, err);
    if (problems) status = config_replace_text(&config->data.eval_file, NULL, err);
    for (int i = 0; status == OPSM_OK && i < N_EVAL_KEYS; i++) {
        struct config_key key = *config_key_find(config_keys, config_n_keys, eval_keys[i].key);
        key.path = eval_keys[i].option;
        if (o->values[i]) status = config_key_set(config, &key, o->values[i], err);
    }
    return status;
}

static opsm_status apply_stop(struct run_config *config, const struct option_texts *stop, opsm_error *err) {
    const struct config_key *key = config_key_find(config_keys, config_n_keys, "rollout.stop");
    return stop->count ? config_key_set_list(config, key, stop->items, stop->count, err) : OPSM_OK;
}

static opsm_status apply_verifier(struct run_config *config, const char *type, opsm_error *err) {
    if (!type) return OPSM_OK;
    opsm_status status = config_replace_text(&config->eval.verifier, NULL, err);
    return status == OPSM_OK ? config_set_reward(config, type, err) : status;
}

static opsm_status fill_config(struct run_config *config, const struct eval_options *o, bool *found, opsm_error *err) {
    opsm_status status = load_config(config, o, found, err);
    if (status == OPSM_OK) status = apply_options(config, o, err);
    if (status == OPSM_OK) status = apply_stop(config, &o->stop, err);
    if (status == OPSM_OK) status = apply_verifier(config, o->verifier, err);
    if (status == OPSM_OK) status = config_replace_text(&config->model, o->model, err);
    if (status != OPSM_OK) return status;
    if (!config->task.name == !config->data.file)
        return opsm_fail(err, OPSM_INVALID,
                         "nothing to evaluate on: give --task NAME or --data FILE, or a configuration with problems "
                         "(--config FILE, or the directory of a run instead of the model)");
    if (o->train_split && o->values[DATA])
        return opsm_fail(err, OPSM_INVALID,
                         "--train-split is for tasks and runs: --data evaluates on every row of its file");
    if (config->eval.temperature == 0 && config->eval.samples > 1)
        return opsm_fail(err, OPSM_INVALID,
                         "--samples %d at temperature 0 would give the same response every time: add --temperature 1",
                         config->eval.samples);
    return OPSM_OK;
}

/* What is not given fits itself into the model's context. */
static opsm_status fit_context(struct run_config *config, const struct eval_options *o, bool from_config,
                               const struct model *model, opsm_error *err) {
    int32_t context = model->config.context;
    if (!o->values[MAX_TOKENS] && config->rollout.max_tokens > context / 2) config->rollout.max_tokens = context / 2;
    int32_t left = context - config->rollout.max_tokens;
    if (left < 1)
        return opsm_fail(err, OPSM_INVALID,
                         "--max-tokens %d leaves no room for a prompt: the model's context is %d tokens",
                         config->rollout.max_tokens, context);
    /* A run's own problems keep the run's limit, for it decided which rows the run could use. */
    bool own_problems = from_config && !o->values[TASK] && !o->values[DATA];
    bool wanted = o->values[MAX_PROMPT] || own_problems;
    if (!wanted || config->rollout.max_prompt > left) config->rollout.max_prompt = left;
    return OPSM_OK;
}

/* ---- the evaluation ------------------------------------------------------------------------------------------------ */

static opsm_status evaluate_problems(const struct model *model, const struct run_config *config,
                                     const struct problems *problems, const struct eval_options *o,
                                     struct evaluation *e, opsm_error *err) {
    bool slice = o->values[PROBLEMS] || data_task(problems->source);
    int32_t longest = problems->longest_prompt, prompt = config->rollout.max_prompt;
    int32_t room = config->rollout.in_flight > config->eval.samples ? config->rollout.in_flight : config->eval.samples;
    bool said_unjudged = false;
    struct evaluate_request request = {.split = o->train_split ? DATA_TRAIN : DATA_EVAL,
                                       .problems = slice ? config->eval.problems : INT64_MAX,
                                       .samples = config->eval.samples,
                                       .sampling = {config->eval.temperature, o->top_p, 0, 0},
                                       .max_prompt = longest                    ? longest
                                                     : prompt < TASK_PROMPT_MAX ? prompt
                                                                                : TASK_PROMPT_MAX,
                                       .max_tokens = config->rollout.max_tokens,
                                       .stop = (const char *const *)config->rollout.stop.items,
                                       .n_stop = config->rollout.stop.count,
                                       .seed = config->seed,
                                       .interrupt = cli_catch_signals(),
                                       .said_unjudged = &said_unjudged};
    struct generator_limits limits = {.in_flight = config->rollout.in_flight,
                                      .max_prompt = request.max_prompt,
                                      .max_tokens = request.max_tokens,
                                      .sequences = room,
                                      .truncating = sampling_truncates(&request.sampling)};
    struct generator *generator = NULL;
    opsm_status status = generator_create(&generator, model, &limits, err);
    if (status == OPSM_OK) status = evaluate(generator, room, problems, &request, e, err);
    generator_free(generator);
    return status;
}

static opsm_status run_evaluation(const struct model *model, struct run_config *config, const struct eval_options *o,
                                  bool from_config, struct evaluation *e, int64_t *skipped, opsm_error *err) {
    opsm_status status = fit_context(config, o, from_config, model, err);
    if (status != OPSM_OK) return status;
    struct problems problems;
    enum problems_use use = o->values[DATA] ? PROBLEMS_WHOLE_FILE : PROBLEMS_HELD_OUT;
    status = problems_open(&problems, config, model, use, config->rollout.max_prompt, err);
    if (status != OPSM_OK) return status;
    *skipped = problem_rows_skipped(&problems);
    status = evaluate_problems(model, config, &problems, o, e, err);
    problems_close(&problems);
    return status;
}

/* 1, 2, 4, ... and the number of samples itself. */
static int64_t next_k(int64_t k, int64_t samples) {
    return k == samples ? 0 : 2 * k < samples ? 2 * k : samples;
}

static void print_text(const struct evaluation *e) {
    printf("%lld problems x %lld samples", (long long)e->problems, (long long)e->samples);
    if (e->unjudged) printf(", %lld of them unjudged", (long long)e->unjudged);
    putchar('\n');
    for (int64_t k = 1; k; k = next_k(k, e->samples)) {
        struct interval pass = evaluation_pass_at_k(e, k);
        printf("pass@%-4lld %.4f  [%.4f, %.4f]%s\n", (long long)k, pass.estimate, pass.low, pass.high,
               k == 1 ? "  (accuracy)" : "");
    }
    if (e->samples > 1) printf("distinct  %.2f right responses a problem\n", e->distinct);
    printf("reward    %.4f", e->reward_mean);
    for (int32_t k = 0; k < e->n_scores; k++) printf("%s%s %.4f", k ? ", " : "  (", e->names[k], e->scores[k]);
    printf(")\nlength    %.1f tokens, %.1f%% ended by themselves\n%.1f s, %.0f tokens/s\n", e->length_mean,
           100 * e->finished, e->seconds, (double)e->tokens / e->seconds);
}

static void put_list(struct json_writer *json, const char *key, const double *numbers, int n) {
    json_put_open(json, key, '[');
    for (int i = 0; i < n; i++) json_put_number(json, NULL, numbers[i]);
    json_put_close(json, ']');
}

static opsm_status print_json(const struct evaluation *e, int64_t skipped, opsm_error *err) {
    struct text line = {0};
    struct json_writer json = {.text = &line, .digits = 17, .spaced = true, .reals = true};
    json_put_open(&json, NULL, '{');
    json_put_int(&json, "problems", e->problems);
    json_put_int(&json, "samples", e->samples);
    json_put_number(&json, "accuracy", e->accuracy.estimate);
    put_list(&json, "accuracy_ci95", (const double[]){e->accuracy.low, e->accuracy.high}, 2);
    json_put_open(&json, "pass_at", '{');
    for (int64_t k = 1; k; k = next_k(k, e->samples)) {
        struct interval i = evaluation_pass_at_k(e, k);
        char name[24];
        snprintf(name, sizeof name, "%lld", (long long)k);
        put_list(&json, name, (const double[]){i.estimate, i.low, i.high}, 3);
    }
    json_put_close(&json, '}');
    json_put_number(&json, "distinct", e->distinct);
    json_put_open(&json, "rewards", '{');
    for (int32_t k = 0; k < e->n_scores; k++) json_put_number(&json, e->names[k], e->scores[k]);
    json_put_close(&json, '}');
    json_put_number(&json, "reward_mean", e->reward_mean);
    json_put_number(&json, "length_mean", e->length_mean);
    json_put_number(&json, "finished", e->finished);
    json_put_number(&json, "seconds", e->seconds);
    json_put_int(&json, "tokens", e->tokens);
    json_put_int(&json, "unjudged", e->unjudged);
    json_put_int(&json, "rows_skipped", skipped);
    json_put_close(&json, '}');
    json_put_end(&json);
    return cli_print_text(&line, err);
}

static int evaluate_model(const struct eval_options *o) {
    opsm_error err = {0};
    struct run_config config;
    struct model *model = NULL;
    struct evaluation e = {0};
    bool from_config;
    int64_t skipped = 0;
    opsm_status status = fill_config(&config, o, &from_config, &err);
    if (status == OPSM_OK) status = cli_load_model(&model, o->model, config.precision, false, &err);
    if (status == OPSM_OK) status = run_evaluation(model, &config, o, from_config, &e, &skipped, &err);
    if (status == OPSM_OK && o->json)
        status = print_json(&e, skipped, &err);
    else if (status == OPSM_OK)
        print_text(&e);
    int code = status == OPSM_OK ? 0 : cli_fail(status, &err);
    evaluation_free(&e);
    model_free(model);
    config_free(&config);
    return code;
}

int cmd_eval(int argc, char **argv) {
    struct eval_options o = {.top_p = 1};
    const struct option others[] = {{"--config", OPTION_TEXT, &o.config, 0, 0},
                                    {"--verifier", OPTION_TEXT, &o.verifier, 0, 0},
                                    {"--top-p", OPTION_REAL, &o.top_p, 1e-6, 1},
                                    {"--stop", OPTION_TEXTS, &o.stop, 0, 0},
                                    {"--train-split", OPTION_FLAG, &o.train_split, 0, 0},
                                    {"--json", OPTION_FLAG, &o.json, 0, 0},
                                    {NULL, OPTION_FLAG, NULL, 0, 0}};
    struct option table[N_EVAL_KEYS + sizeof others / sizeof *others];
    for (int i = 0; i < N_EVAL_KEYS; i++)
        table[i] = (struct option){eval_keys[i].option, OPTION_TEXT, &o.values[i], 0, 0};
    memcpy(table + N_EVAL_KEYS, others, sizeof others);
    const char *const names[] = {"the model (a GGUF file or the directory of a run)"};
    int code = options_read(argc, argv, table, &o.model, 1, names);
    if (code) return code;
    if (o.values[TASK] && o.values[DATA]) return cli_usage(argv[0], "give either --task or --data, not both");
    return evaluate_model(&o);
}
