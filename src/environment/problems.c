/* SPDX-License-Identifier: Apache-2.0 */
#include "environment/problems.h"
#include "base/log.h"
#include "base/mem.h"
#include "environment/characters.h"
#include "environment/problem_rows.h"
#include <stdio.h>
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

/* What the configuration gives to the template besides messages. */
static opsm_status open_extra(struct problems *p, const struct run_config *config, opsm_error *err) {
    const char *tools = config->data.tools, *args = config->data.template_args;
    if ((tools || args) && p->chat->kind != CHAT_TEMPLATE)
        return opsm_fail(err, OPSM_INVALID, "%s is for a chat template, but the prompt is made without one",
                         args ? "data.template_args" : "data.tools");
    if (tools && !(p->extra.tools = json_loads(tools, 0, NULL))) return mem_exhausted(err, "data.tools", strlen(tools));
    if (args && !(p->extra.args = json_loads(args, 0, NULL)))
        return mem_exhausted(err, "data.template_args", strlen(args));
    return OPSM_OK;
}

/* Some templates take no system message: said before anything starts. */
static opsm_status choose_system(struct problems *p, const struct run_config *config, opsm_error *err) {
    p->system = config->data.system;
    if (!p->system) return OPSM_OK;
    const struct chat_message trial[] = {{"system", p->system}, {"user", "?"}};
    char *text;
    opsm_error why = {0};
    opsm_status status = chat_render(p->chat, trial, 2, &p->extra, &text, &why);
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

/* Held out of a file that has no other for evaluation, where evaluations are wanted. */
static const double HELD_OUT_SHARE = 0.05;

static double eval_share(const struct run_config *config, enum problems_use use) {
    if (use == PROBLEMS_WHOLE_FILE) return 1;
    return config->data.eval_file || config->train.eval_every == 0 ? 0 : HELD_OUT_SHARE;
}

static opsm_status open_file(struct data_source **source, const struct run_config *config, enum problems_use use,
                             opsm_error *err) {
    struct dataset_spec spec = {.file = config->data.file,
                                .eval_file = use == PROBLEMS_WHOLE_FILE ? NULL : config->data.eval_file,
                                .eval_share = eval_share(config, use),
                                .prompt = config->data.prompt,
                                .answer = config->data.answer,
                                .skip_bad = config->data.on_bad_row == BAD_ROW_SKIP};
    return data_open_file(source, &spec, config->seed, err);
}

opsm_status problems_source(struct data_source **source, const struct run_config *config, enum problems_use use,
                            bool chat, opsm_error *err) {
    *source = NULL;
    if (!config->task.name && !config->data.file)
        return opsm_fail(err, OPSM_INVALID, "no problems: set task.name or data.file");
    return config->task.name ? open_task(source, config, chat, err) : open_file(source, config, use, err);
}

/* ---- the reward -------------------------------------------------------------------------------------------------- */

/* Whether the reward can judge every row that has an answer at all; *why: one that it cannot. */
static opsm_status reads_every_answer(const struct problems *p, bool *every, opsm_error *why, opsm_error *err) {
    *every = true;
    for (int split = DATA_TRAIN; split <= DATA_EVAL; split++) {
        for (int64_t i = 0; *every && i < data_count(p->source, (enum data_split)split); i++) {
            struct problem problem;
            opsm_status status = data_get(p->source, (enum data_split)split, i, &problem, err);
            opsm_error inner = {0};
            if (status == OPSM_OK) status = reward_check(p->reward, &problem, &inner);
            if (status == OPSM_NOMEM) return opsm_fail(err, status, "%s", inner.text);
            *every = status == OPSM_OK || status == OPSM_MISSING;
            if (!*every) opsm_fail(why, status, "line %lld: %s", (long long)problem.line, inner.text);
        }
    }
    return OPSM_OK;
}

static bool has_answer(const struct problems *p) {
    for (int split = DATA_TRAIN; split <= DATA_EVAL; split++) {
        for (int64_t i = 0; i < data_count(p->source, (enum data_split)split); i++) {
            struct problem problem;
            if (data_get(p->source, (enum data_split)split, i, &problem, NULL) == OPSM_OK && *problem.answer)
                return true;
        }
    }
    return false;
}

/* What judges a dataset by itself: numeric where it can read every answer, else exact. */
static opsm_status choose_reward(struct problems *p, const struct run_config *config, opsm_error *err) {
    if (!has_answer(p))
        return opsm_fail(err, OPSM_INVALID,
                         "'%s' has rows without an answer only, so nothing can be judged by itself: name the verifiers "
                         "under reward:, or the field with the answer in data.answer",
                         config->data.file);
    bool every;
    opsm_error why = {0};
    opsm_status status = reward_create_plain(&p->reward, "numeric", err);
    if (status == OPSM_OK) status = reads_every_answer(p, &every, &why, err);
    if (status != OPSM_OK || every) return status;
    log_line(LOG_INFO,
             "the reward is exact (the whole response equals the answer), for numeric cannot read every answer: %s",
             why.text);
    reward_free(p->reward);
    return reward_create_plain(&p->reward, "exact", err);
}

/* The verifier that decides what is right. */
static opsm_status choose_primary(struct problems *p, const char *name, opsm_error *err) {
    char list[400] = "";
    for (int i = 0; name && i < reward_count(p->reward); i++) {
        p->primary = i;
        if (!strcmp(reward_name(p->reward, i), name)) return OPSM_OK;
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", reward_name(p->reward, i));
    }
    if (!name) return OPSM_OK;
    return opsm_fail(err, OPSM_INVALID, "eval.verifier is '%.60s', but the verifiers of the reward are: %s", name,
                     list);
}

static opsm_status create_reward(struct problems *p, const struct run_config *config, opsm_error *err) {
    if (config->n_rewards > 0) return reward_create(&p->reward, config->rewards, config->n_rewards, err);
    if (data_task(p->source)) return reward_create_plain(&p->reward, data_verifier(p->source), err);
    return choose_reward(p, config, err);
}

static opsm_status open_reward(struct problems *p, const struct run_config *config, opsm_error *err) {
    opsm_status status = create_reward(p, config, err);
    if (status == OPSM_OK && config->rollout.truncated == TRUNCATED_ZERO) reward_zero_unfinished(p->reward);
    return status == OPSM_OK ? choose_primary(p, config->eval.verifier, err) : status;
}

opsm_status problems_open_reward(struct problems *p, const struct run_config *config, opsm_error *err) {
    *p = (struct problems){0};
    opsm_status status =
        config->n_rewards > 0 ? OPSM_OK : problems_source(&p->source, config, PROBLEMS_TRAIN, false, err);
    if (status == OPSM_OK) status = open_reward(p, config, err);
    if (status != OPSM_OK) problems_close(p);
    return status;
}

opsm_status problems_open(struct problems *p, const struct run_config *config, const struct model *model,
                          enum problems_use use, int32_t max_prompt, opsm_error *err) {
    *p = (struct problems){.tokenizer = model->tokenizer};
    bool judged = use != PROBLEMS_IMITATE || config->train.eval_every > 0;
    opsm_status status = choose_template(p, config, model, err);
    if (status == OPSM_OK) status = open_extra(p, config, err);
    if (status == OPSM_OK) status = choose_system(p, config, err);
    if (status == OPSM_OK) status = problems_source(&p->source, config, use, p->chat->kind != CHAT_PLAIN, err);
    if (status == OPSM_OK && judged) status = open_reward(p, config, err);
    if (status == OPSM_OK) status = problem_rows_check(p, config, use, max_prompt, err);
    if (status == OPSM_OK) status = characters_check(p, err);
    if (status != OPSM_OK) problems_close(p);
    return status;
}

void problems_close(struct problems *p) {
    data_close(p->source);
    reward_free(p->reward);
    if (p->chat == &p->custom) chat_template_free(&p->custom);
    json_decref((json_t *)p->extra.tools);
    json_decref((json_t *)p->extra.args);
    *p = (struct problems){0};
}
