/* SPDX-License-Identifier: Apache-2.0 */
#include "train/problems.h"
#include "base/mem.h"
#include "train/characters.h"
#include <string.h>

static const struct chat_template plain; /* CHAT_PLAIN */

static opsm_status choose_template(struct problems *p, const struct run_config *config, const struct model *model,
                                   opsm_error *err) {
    const char *prefix = config->data.template_prefix, *suffix = config->data.template_suffix;
    p->chat = &plain;
    if (prefix || suffix) {
        opsm_status status = chat_template_custom(&p->custom, prefix ? prefix : "", suffix ? suffix : "", err);
        if (status == OPSM_OK) p->chat = &p->custom;
        return status;
    }
    if (config->data.template == TEMPLATE_PLAIN) return OPSM_OK;
    const struct chat_template *chat;
    opsm_status status = model_chat(model, &chat, err);
    if (status != OPSM_OK) return status;
    if (config->data.template == TEMPLATE_CHAT && chat->kind == CHAT_PLAIN)
        return opsm_fail(
            err, OPSM_INVALID,
            "data.template is chat, but '%s' has no chat template: use plain, or give data.template_prefix "
            "and data.template_suffix",
            config->model);
    p->chat = chat;
    return OPSM_OK;
}

/* Some templates take no system message: said before anything starts. */
static opsm_status choose_system(struct problems *p, const struct run_config *config, opsm_error *err) {
    p->system = config->data.system;
    if (!p->system) return OPSM_OK;
    const struct chat_message trial[] = {{"system", p->system}, {"user", "?"}};
    char *text;
    opsm_error why = {0};
    opsm_status status = chat_render(p->chat, trial, 2, &text, &why);
    mem_free(text);
    return status == OPSM_OK ? OPSM_OK : opsm_fail(err, status, "data.system is set, but %s", why.text);
}

static opsm_status open_task(struct data_source **source, const struct run_config *config, bool chat, opsm_error *err) {
    struct task_spec spec;
    opsm_status status = task_find(&spec, config->task.name, err);
    if (status != OPSM_OK) return status;
    if (config->task.difficulty > 0) spec.difficulty = config->task.difficulty;
    spec.noise = config->task.noise;
    spec.seed = config->seed;
    bool words = config->task.style == STYLE_WORDS || (config->task.style == STYLE_AUTO && chat);
    spec.style = words ? TASK_WORDS : TASK_BARE;
    status = task_check(&spec, err);
    return status == OPSM_OK ? data_open_task(source, &spec, err) : status;
}

static opsm_status open_file(struct data_source **source, const struct run_config *config, opsm_error *err) {
    struct dataset_spec spec = {.file = config->data.file,
                                .eval_file = config->data.eval_file,
                                .eval_share = config->data.eval_file ? 0 : 0.05,
                                .prompt = config->data.prompt,
                                .answer = config->data.answer};
    return data_open_file(source, &spec, config->seed, err);
}

opsm_status problems_source(struct data_source **source, const struct run_config *config, bool chat, opsm_error *err) {
    *source = NULL;
    if (!config->task.name && !config->data.file)
        return opsm_fail(err, OPSM_INVALID, "no problems: set task.name or data.file");
    return config->task.name ? open_task(source, config, chat, err) : open_file(source, config, err);
}

static opsm_status check_split(const struct problems *p, enum data_split split, opsm_error *err) {
    int64_t n = data_count(p->source, split);
    opsm_status status = OPSM_OK;
    for (int64_t i = 0; status == OPSM_OK && i < n; i++) {
        struct problem problem;
        status = data_get(p->source, split, i, &problem, err);
        if (status == OPSM_OK) status = reward_check(p->reward, &problem, err);
    }
    return status;
}

/* What judges a dataset by itself: numeric where it can read every answer, else exact. */
static opsm_status choose_reward(struct problems *p, opsm_error *err) {
    static const char *const types[] = {"numeric", "exact"};
    opsm_status status = OPSM_OK;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        reward_free(p->reward);
        status = reward_create(&p->reward, &(struct verifier_spec){.type = types[i], .weight = 1}, 1, err);
        if (status == OPSM_OK) status = check_split(p, DATA_TRAIN, err);
        if (status == OPSM_OK) status = check_split(p, DATA_EVAL, err);
        if (status == OPSM_OK || status == OPSM_NOMEM) break;
    }
    return status;
}

static opsm_status open_reward(struct problems *p, const struct run_config *config, opsm_error *err) {
    struct verifier_spec specs[CONFIG_LIST_MAX] = {0};
    int n = config->n_rewards;
    for (int i = 0; i < n; i++) specs[i] = config_verifier(&config->rewards[i]);
    if (n > 0) return reward_create(&p->reward, specs, n, err);
    if (data_task(p->source)) {
        specs[0] = (struct verifier_spec){.type = data_verifier(p->source), .weight = 1};
        return reward_create(&p->reward, specs, 1, err);
    }
    opsm_status status = choose_reward(p, err);
    if (status != OPSM_MISSING) return status;
    return opsm_fail(err, OPSM_INVALID,
                     "'%s' has rows without an answer, so nothing can be judged by itself: name the verifiers under "
                     "reward:, or the field with the answer in data.answer",
                     config->data.file);
}

opsm_status problems_open_reward(struct problems *p, const struct run_config *config, opsm_error *err) {
    *p = (struct problems){0};
    opsm_status status = config->n_rewards > 0 ? OPSM_OK : problems_source(&p->source, config, false, err);
    if (status == OPSM_OK) status = open_reward(p, config, err);
    if (status != OPSM_OK) problems_close(p);
    return status;
}

opsm_status problems_open(struct problems *p, const struct run_config *config, const struct model *model, bool judged,
                          opsm_error *err) {
    *p = (struct problems){.tokenizer = model->tokenizer};
    opsm_status status = choose_template(p, config, model, err);
    if (status == OPSM_OK) status = choose_system(p, config, err);
    if (status == OPSM_OK) status = problems_source(&p->source, config, p->chat->kind != CHAT_PLAIN, err);
    if (status == OPSM_OK && judged) status = open_reward(p, config, err);
    if (status == OPSM_OK) status = characters_check(p, err);
    if (status != OPSM_OK) problems_close(p);
    return status;
}

void problems_close(struct problems *p) {
    data_close(p->source);
    reward_free(p->reward);
    if (p->chat == &p->custom) chat_template_free(&p->custom);
    *p = (struct problems){0};
}

opsm_status problems_prompt(const struct problems *p, const struct problem *problem, struct token_list *tokens,
                            opsm_error *err) {
    if (!p->system) return chat_encode(p->chat, p->tokenizer, problem->messages, problem->n_messages, tokens, err);
    /* A system message of our own in front, in place of the one that the conversation has. */
    size_t n = (size_t)problem->n_messages, skip = n && !strcmp(problem->messages[0].role, "system");
    struct chat_message *messages = mem_alloc(n + 1, sizeof *messages);
    if (!messages) return mem_exhausted(err, "a conversation", (n + 1) * sizeof *messages);
    messages[0] = (struct chat_message){"system", p->system};
    memcpy(messages + 1, problem->messages + skip, (n - skip) * sizeof *messages);
    opsm_status status = chat_encode(p->chat, p->tokenizer, messages, (int)(n - skip) + 1, tokens, err);
    mem_free(messages);
    return status;
}

/* What closes an answer: eos if it ends a turn, else the first token that does. */
static int32_t end_token(const struct tokenizer *tokenizer) {
    int32_t eos = tokenizer_eos(tokenizer);
    if (eos >= 0) return eos;
    for (int32_t id = 0; id < tokenizer_size(tokenizer); id++)
        if (tokenizer_is_end(tokenizer, id)) return id;
    return -1;
}

opsm_status problems_solution(const struct problems *p, const struct problem *problem, struct token_list *tokens,
                              opsm_error *err) {
    if (!*problem->solution)
        return opsm_fail(err, OPSM_MISSING, "the problem '%.80s' has no solution to imitate", problem->prompt);
    int32_t end = end_token(p->tokenizer);
    if (end < 0) return opsm_fail(err, OPSM_UNSUPPORTED, "the tokenizer has no token that ends a response");
    opsm_status status = tokenizer_encode(p->tokenizer, problem->solution, strlen(problem->solution), 0, tokens, err);
    return status == OPSM_OK ? token_list_push(tokens, end, err) : status;
}
