/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"
#include "base/mem.h"
#include "base/text.h"
#include "config/keys.h"
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(enum config_style) == sizeof(unsigned) && sizeof(enum config_template) == sizeof(unsigned) &&
                   sizeof(enum config_truncated) == sizeof(unsigned) &&
                   sizeof(enum config_bad_row) == sizeof(unsigned) && sizeof(enum dtype) == sizeof(unsigned),
               "set_choice() stores an unsigned");

void config_defaults(struct run_config *config) {
    *config = (struct run_config){
        .seed = 1,
        .precision = DTYPE_BF16,
        .data.template = TEMPLATE_AUTO,
        .rollout = {.prompts = 64,
                    .group = 8,
                    .max_tokens = 64,
                    .max_prompt = 512,
                    .in_flight = 64,
                    .samples = 2,
                    .temperature = 1.0,
                    .top_p = 1.0},
        .schedule = {.minibatches = 16, .epochs = 1},
        .optim = {.lr = 1e-5, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .clip_norm = 1.0},
        .train = {.iterations = 100,
                  .eval_every = 10,
                  .checkpoint_every = 10,
                  .keep = 2,
                  .micro_batch = 2048,
                  .lora = {.alpha = 16, .targets = LORA_ALL}},
        .eval = {.problems = 128, .samples = 1, .temperature = 0},
        .sft = {.steps = 1000,
                .batch = 64,
                .init = {.layers = 2, .heads = 4, .kv_heads = 4, .ffn = 256, .context = 256}},
    };
    opsm_objective_defaults(&config->objective);
    config->objective.mask_policy = OPSM_POLICY_AUTO;
}

void config_free(struct run_config *config) {
    config_keys_release(config, config_keys, config_n_keys);
    config_forget_rewards(config);
    *config = (struct run_config){0};
}

/* ---- checks across keys ------------------------------------------------------------------------------------------ */

static opsm_status check_lora(const struct run_config *config, opsm_error *err) {
    const struct lora_config *lora = &config->train.lora;
    bool asked = config->train.lora_init || lora->base != LORA_BASE_PACKED || lora->alpha != 16 || lora->rslora ||
                 lora->targets != LORA_ALL;
    if (lora->rank == 0 && asked)
        return opsm_fail(err, OPSM_INVALID,
                         "train.lora is given, but its rank is 0: all weights would be trained; set train.lora.rank, "
                         "e.g. 16");
    if (lora->rank == 0 && config->train.save == SAVED_ADAPTER)
        return opsm_fail(err, OPSM_INVALID,
                         "train.save is adapter, but train.lora.rank is 0: there would be nothing to save; set "
                         "train.lora.rank, e.g. 16");
    if (lora->rank == 0) return OPSM_OK;
    if (config->sft.init.dim > 0)
        return opsm_fail(err, OPSM_INVALID,
                         "train.lora.rank is %d, but sft.init makes a fresh model: there is nothing yet to adapt; "
                         "leave one of them out",
                         lora->rank);
    if (config->rollout.weights != WEIGHTS_SAME)
        return opsm_fail(err, OPSM_INVALID,
                         "rollout.weights asks for a rounded copy of the weights, but with train.lora the sampler runs "
                         "on the frozen ones: leave it at same");
    return OPSM_OK;
}

opsm_status config_check(const struct run_config *config, opsm_error *err) {
    opsm_status status;
    if (!config->model && !config->sft.init.dim)
        return opsm_fail(err, OPSM_INVALID,
                         "model: expected the path of a GGUF file or a Hugging Face directory, found nothing");
    if (!config->output || !*config->output)
        return opsm_fail(err, OPSM_INVALID, "output: expected a directory for the run, found nothing");
    if (!config->task.name == !config->data.file)
        return opsm_fail(err, OPSM_INVALID,
                         "give either task.name (a built-in task) or data.file (your own problems)%s",
                         config->task.name ? ", not both" : "");
    if (config->rollout.group < 2 && config->objective.advantage != OPSM_ADVANTAGE_GIVEN)
        return opsm_fail(err, OPSM_INVALID,
                         "rollout.group is 1: a response is compared with the mean of its group; use at least 2");
    if (config->schedule.minibatches > (int64_t)config->rollout.prompts * config->rollout.group)
        return opsm_fail(err, OPSM_INVALID, "schedule.minibatches is %d: more than the %lld sequences of an iteration",
                         config->schedule.minibatches, (long long)config->rollout.prompts * config->rollout.group);
    if (!config->data.template_prefix != !config->data.template_suffix)
        return opsm_fail(err, OPSM_INVALID, "data.template_prefix and data.template_suffix go together: give both");
    if (config->data.template_prefix && config->data.template != TEMPLATE_AUTO)
        return opsm_fail(err, OPSM_INVALID,
                         "data.template is %s, but data.template_prefix and data.template_suffix take its place: leave "
                         "one or the others out",
                         config->data.template == TEMPLATE_CHAT ? "chat" : "plain");
    status = check_lora(config, err);
    return status == OPSM_OK ? opsm_objective_check(&config->objective, err) : status;
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

/* Opens the YAML maps that lead from the previous key's section to this one; returns the last word of the path. */
static const char *open_sections(const char *previous, const char *path, FILE *out) {
    size_t same = 0; /* length of the common prefix that ends in a dot */
    for (size_t i = 0; previous[i] && previous[i] == path[i]; i++)
        if (path[i] == '.') same = i + 1;
    int depth = 0;
    const char *word = path;
    for (const char *dot; (dot = strchr(word, '.')); word = dot + 1, depth++)
        if ((size_t)(word - path) >= same) fprintf(out, "%*s%.*s:\n", depth * 2, "", (int)(dot - word), word);
    fprintf(out, "%*s%s: ", depth * 2, "", word);
    return path;
}

static void print_objective(const struct run_config *config, FILE *out) {
    const char *previous = "";
    char path[128], last[128] = "";
    for (int i = 0; i < opsm_objective_key_count(); i++) {
        opsm_key key = opsm_objective_key(i);
        char value[128] = "";
        opsm_objective_get(&config->objective, key.key, value, sizeof value, NULL);
        snprintf(path, sizeof path, "objective.%s", key.key);
        open_sections(previous, path, out);
        fprintf(out, "%s\n", value);
        memcpy(last, path, sizeof last);
        previous = last;
    }
}

char *config_text(const struct run_config *config) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) return NULL;
    const char *previous = "";
    for (int i = 0; i < config_n_keys; i++) {
        previous = open_sections(previous, config_keys[i].path, out);
        config_key_print(config, &config_keys[i], out);
        putc('\n', out);
    }
    config_print_rewards(config, out);
    print_objective(config, out);
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return NULL;
    }
    char *copy = mem_strdup(text);
    free(text);
    return copy;
}

/* What nobody comes to is no bound worth a line: "0 or more". */
static void print_range(const struct config_key *key, FILE *out) {
    const double beyond = 1 << 30;
    char low[TEXT_NUMBER_ROOM], high[TEXT_NUMBER_ROOM];
    text_readable(low, key->low);
    text_readable(high, key->high);
    if (key->kind == KEY_INT && key->high >= beyond)
        fprintf(out, " [%s or more]", low);
    else
        fprintf(out, " [%s to %s]", low, high);
}

void config_help(FILE *out, void (*settings)(FILE *out)) {
    struct run_config defaults;
    config_defaults(&defaults);
    fputs(
        "A configuration is a YAML file; on the command line any key is written key.path=value. null gives a key or a "
        "section its defaults again. Each key with its default, what it does, and what it may be:\n\n",
        out);
    for (int i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        fprintf(out, "%s (", key->path);
        config_key_print(&defaults, key, out);
        fprintf(out, ")\n    %s", key->doc);
        if (key->kind == KEY_SET)
            fprintf(out, " [%s]", config_key_words((char[CONFIG_WORDS_ROOM]){0}, key));
        else if (key->choices)
            fprintf(out, " [%s]", key->choices);
        if (key->kind == KEY_INT || key->kind == KEY_REAL || key->kind == KEY_PAIR) print_range(key, out);
        putc('\n', out);
    }
    fputs("reward ([])\n    list of maps; empty: the task's own verifier; each with\n", out);
    for (int i = 0; i < config_n_reward_keys; i++)
        fprintf(out, "      %-14s %s\n", config_reward_keys[i].path, config_reward_keys[i].doc);
    fputs("    and the settings of its type:\n", out);
    settings(out);
    for (int i = 0; i < opsm_objective_key_count(); i++) {
        opsm_key key = opsm_objective_key(i);
        char value[64] = "?";
        opsm_objective_get(&defaults.objective, key.key, value, sizeof value, NULL);
        bool policy = !strcmp(key.key, "mask.policy");
        fprintf(out, "objective.%s (%s%s)\n    %s [%s]\n", key.key, value,
                policy ? "; fixed where mask.delta is given" : "", key.doc, key.range);
    }
    config_free(&defaults);
}
