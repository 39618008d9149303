/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "train/evaluate.h"
#include <jansson.h>
#include <string.h>

struct eval_options {
    const char *task, *data, *prompt, *answer, *style, *precision, *verifier, *pattern;
    int64_t problems, samples, difficulty, max_tokens, max_prompt, in_flight, seed;
    double temperature, top_p;
    struct option_texts stop;
    bool json, train_split;
};

static bool parse_precision(const char *text, enum dtype *precision) {
    *precision = !strcmp(text, "f32") ? DTYPE_F32 : DTYPE_BF16;
    return !strcmp(text, "f32") || !strcmp(text, "bf16");
}

/* The part of a run's configuration that says which problems and which verifier. */
static opsm_status fill_config(struct run_config *config, const char *model, const struct eval_options *o,
                               opsm_error *err) {
    const struct {
        const char *key, *value;
    } texts[] = {{"model", model},           {"task.name", o->task},     {"data.file", o->data},
                 {"data.prompt", o->prompt}, {"data.answer", o->answer}, {"task.style", o->style}};
    config_defaults(config);
    config->seed = (uint64_t)o->seed;
    config->task.difficulty = (int32_t)o->difficulty;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (!texts[i].value) continue;
        char *assignment = mem_alloc(strlen(texts[i].key) + strlen(texts[i].value) + 4, 1);
        if (!assignment) return mem_exhausted(err, "the configuration", 0);
        sprintf(assignment, "%s=%s", texts[i].key, texts[i].value);
        opsm_status status = config_override(config, assignment, err);
        mem_free(assignment);
        if (status != OPSM_OK) return status;
    }
    return OPSM_OK;
}

static opsm_status run_evaluation(const struct model *model, const struct run_config *config,
                                  const struct eval_options *o, struct evaluation *e, opsm_error *err) {
    int32_t context = model->config.context - (int32_t)o->max_tokens;
    if (context < 1)
        return opsm_fail(err, OPSM_INVALID,
                         "--max-tokens %lld leaves no room for a prompt: the model's context is %d tokens",
                         (long long)o->max_tokens, model->config.context);
    struct problems problems;
    opsm_status status = problems_open(&problems, config, model, true, err);
    if (status != OPSM_OK) return status;
    int64_t room = o->in_flight > o->samples ? o->in_flight : o->samples;
    struct evaluate_request request = {.split = o->train_split ? DATA_TRAIN : DATA_EVAL,
                                       .problems = o->problems,
                                       .samples = (int32_t)o->samples,
                                       .sampling = {o->temperature, o->top_p, 0, 0},
                                       .max_prompt = o->max_prompt < context ? (int32_t)o->max_prompt : context,
                                       .max_tokens = (int32_t)o->max_tokens,
                                       .stop = o->stop.items,
                                       .n_stop = o->stop.count,
                                       .seed = (uint64_t)o->seed,
                                       .interrupt = cli_catch_signals()};
    struct generator_limits limits = {.in_flight = (int32_t)o->in_flight,
                                      .max_prompt = request.max_prompt,
                                      .max_tokens = request.max_tokens,
                                      .sequences = (int32_t)room,
                                      .truncating = sampling_truncates(&request.sampling)};
    struct generator *generator = NULL;
    status = generator_create(&generator, model, &limits, err);
    if (status == OPSM_OK) status = evaluate(generator, (int32_t)room, &problems, &request, e, err);
    generator_free(generator);
    problems_close(&problems);
    return status;
}

/* 1, 2, 4, ... and the number of samples itself. */
static int64_t next_k(int64_t k, int64_t samples) {
    return k == samples ? 0 : 2 * k < samples ? 2 * k : samples;
}

static void print_text(const struct evaluation *e) {
    printf("%lld problems x %lld samples\n", (long long)e->problems, (long long)e->samples);
    for (int64_t k = 1; k; k = next_k(k, e->samples)) {
        struct interval pass = interval_pass_at_k(e->right, e->problems, e->samples, k);
        printf("pass@%-4lld %.4f  [%.4f, %.4f]%s\n", (long long)k, pass.estimate, pass.low, pass.high,
               k == 1 ? "  (accuracy)" : "");
    }
    if (e->samples > 1) printf("distinct  %.2f right responses a problem\n", e->distinct);
    printf("reward    %.4f\nlength    %.1f tokens, %.1f%% ended by themselves\n%.1f s, %.0f tokens/s\n", e->reward_mean,
           e->length_mean, 100 * e->finished, e->seconds, (double)e->tokens / e->seconds);
}

static int print_json(const struct evaluation *e) {
    json_t *pass = json_object();
    for (int64_t k = 1; k; k = next_k(k, e->samples)) {
        struct interval i = interval_pass_at_k(e->right, e->problems, e->samples, k);
        char name[24];
        snprintf(name, sizeof name, "%lld", (long long)k);
        json_object_set_new(pass, name, json_pack("[f, f, f]", i.estimate, i.low, i.high));
    }
    json_t *o = json_pack("{s:I, s:I, s:f, s:[f, f], s:o, s:f, s:f, s:f, s:f, s:f, s:I}", "problems",
                          (json_int_t)e->problems, "samples", (json_int_t)e->samples, "accuracy", e->accuracy.estimate,
                          "accuracy_ci95", e->accuracy.low, e->accuracy.high, "pass_at", pass, "distinct", e->distinct,
                          "reward_mean", e->reward_mean, "length_mean", e->length_mean, "finished", e->finished,
                          "seconds", e->seconds, "tokens", (json_int_t)e->tokens);
    int code = o && json_dumpf(o, stdout, 0) == 0 ? 0 : 1;
    putchar('\n');
    json_decref(o);
    return code;
}

static int evaluate_model(const char *path, const struct eval_options *o, enum dtype precision) {
    opsm_error err = {0};
    struct run_config config;
    struct model *model = NULL;
    struct evaluation e = {0};
    opsm_status status = fill_config(&config, path, o, &err);
    if (status == OPSM_OK) status = model_load(&model, path, precision, false, &err);
    if (status == OPSM_OK) status = run_evaluation(model, &config, o, &e, &err);
    int code = status == OPSM_OK ? 0 : cli_fail(status, &err);
    if (status == OPSM_OK && o->json)
        code = print_json(&e);
    else if (status == OPSM_OK)
        print_text(&e);
    evaluation_free(&e);
    model_free(model);
    config_free(&config);
    return code;
}

int cmd_eval(int argc, char **argv) {
    struct eval_options o = {.problems = 128,
                             .samples = 1,
                             .max_tokens = 256,
                             .max_prompt = 1024,
                             .in_flight = 64,
                             .seed = 1,
                             .top_p = 1,
                             .precision = "bf16"};
    const struct option table[] = {{"--task", OPTION_TEXT, &o.task, 0, 0},
                                   {"--data", OPTION_TEXT, &o.data, 0, 0},
                                   {"--prompt", OPTION_TEXT, &o.prompt, 0, 0},
                                   {"--answer", OPTION_TEXT, &o.answer, 0, 0},
                                   {"--style", OPTION_TEXT, &o.style, 0, 0},
                                   {"--difficulty", OPTION_INT, &o.difficulty, 0, 1000},
                                   {"-n", OPTION_INT, &o.problems, 1, 1 << 24},
                                   {"--samples", OPTION_INT, &o.samples, 1, 4096},
                                   {"--temperature", OPTION_REAL, &o.temperature, 0, 100},
                                   {"--top-p", OPTION_REAL, &o.top_p, 1e-6, 1},
                                   {"--max-tokens", OPTION_INT, &o.max_tokens, 1, 1 << 20},
                                   {"--max-prompt", OPTION_INT, &o.max_prompt, 1, 1 << 20},
                                   {"--in-flight", OPTION_INT, &o.in_flight, 1, 65536},
                                   {"--stop", OPTION_TEXTS, &o.stop, 0, 0},
                                   {"--seed", OPTION_INT, &o.seed, 0, 1e15},
                                   {"--precision", OPTION_TEXT, &o.precision, 0, 0},
                                   {"--train-split", OPTION_FLAG, &o.train_split, 0, 0},
                                   {"--json", OPTION_FLAG, &o.json, 0, 0},
                                   {NULL, OPTION_FLAG, NULL, 0, 0}};
    const char *model, *const names[] = {"the model file"};
    int code = options_read(argc, argv, table, &model, 1, names);
    if (code) return code;
    if (!o.task == !o.data) return cli_usage(argv[0], "give either --task or --data");
    enum dtype precision;
    if (!parse_precision(o.precision, &precision))
        return cli_usage(argv[0], "--precision: expected f32 or bf16, found '%s'", o.precision);
    if (o.temperature == 0 && o.samples > 1)
        return cli_usage(argv[0],
                         "--samples %lld at temperature 0 would give the same response every time: add "
                         "--temperature 1",
                         (long long)o.samples);
    return evaluate_model(model, &o, precision);
}
