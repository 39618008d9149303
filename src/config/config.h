/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration of a run: one YAML file plus key.path=value words of the command line, checked against one table of
 * keys (type, range, default, one line of documentation). Unknown keys, wrong types and values out of range are errors
 * with file, line and the nearest known key. The same table prints the help and writes the full configuration in force.
 *
 *   struct run_config config;
 *   config_defaults(&config);
 *   config_load(&config, "demo.yaml", &err);
 *   config_override(&config, "optim.lr=3e-5", &err);
 *   config_check(&config, &err);              what depends on more than one key
 */
#ifndef OPSM_CONFIG_CONFIG_H
#define OPSM_CONFIG_CONFIG_H
#include "kernels/dtype.h"
#include "model/lora.h"
#include <opsm/objective.h>
#include <opsm/status.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { CONFIG_LIST_MAX = 16 };

/* Owned strings; NULL: not set. */
struct config_strings {
    char *items[CONFIG_LIST_MAX];
    int32_t count;
};

enum config_style { STYLE_AUTO, STYLE_BARE, STYLE_WORDS };        /* AUTO: words for a model with a chat template */
enum config_weights { WEIGHTS_SAME, WEIGHTS_BF16, WEIGHTS_INT8 }; /* what the sampler runs on */
enum config_recompute { RECOMPUTE_AUTO, RECOMPUTE_YES, RECOMPUTE_NO }; /* AUTO: where memory is too small otherwise */
enum config_saved { SAVED_BOTH, SAVED_MERGED, SAVED_ADAPTER };         /* what a run with adapters leaves */
enum config_save { SAVE_F32, SAVE_F16, SAVE_BF16, SAVE_Q8_0 };
enum config_bad_row { BAD_ROW_STOP, BAD_ROW_SKIP };
enum config_truncated { TRUNCATED_SCORE, TRUNCATED_ZERO, TRUNCATED_MASK }; /* responses cut off at max_tokens */
enum config_template { TEMPLATE_CHAT, TEMPLATE_PLAIN, TEMPLATE_AUTO };

/* A setting of a reward as it was written. What it means only its type knows: see reward/verifier_type.h. */
struct config_setting {
    char *name;
    char *text; /* NULL: null, or a list only */
    struct config_strings list;
    bool is_list; /* a word of the command line may be both, as in pattern=[A-D] and tags=[a, b] */
    char *place;  /* "demo.yaml:4: ", for sentences about it; NULL: none */
};

/* One entry of `reward:`. Strings are owned. */
struct config_reward {
    char *type, *name; /* name NULL: the type, or the first free of type-2, type-3, ... */
    double weight;
    char *place; /* as in a setting */
    struct config_setting *settings;
    int32_t n_settings;
};

struct run_config {
    char *model, *output; /* owned; model may be NULL until config_check */
    uint64_t seed;
    enum dtype precision;
    /* No keys: config_override() has set objective.mask.policy; the policy, the threshold were given at all. */
    bool policy_in_words, policy_given, delta_given;

    struct {
        char *name;         /* NULL: no built-in task, then data.file */
        int32_t difficulty; /* 0: the task's default */
        double noise;       /* of demonstrations (sft) */
        enum config_style style;
    } task;

    struct {
        char *file, *eval_file; /* JSON lines */
        char *prompt, *answer;  /* names of fields */
        enum config_bad_row on_bad_row;
        enum config_template template;
        char *template_prefix, *template_suffix; /* around the prompt, instead of the model's own chat template */
        char *system;                            /* system message; NULL: the template's own default */
        char *tools, *template_args; /* JSON: a list, and a map of the template's further variables, or NULL */
    } data;

    struct {
        int32_t prompts, group; /* groups per iteration, samples per group */
        int32_t max_tokens, max_prompt;
        int32_t in_flight; /* sequences decoded side by side */
        double temperature, top_p, min_p;
        int32_t top_k; /* 0: off */
        struct config_strings stop;
        enum config_truncated truncated;
        enum config_weights weights; /* the trainer's, or a rounded copy */
        bool save;                   /* RUN/rollouts/ITERATION.jsonl */
        int32_t samples;             /* groups whose transcripts go to RUN/samples.jsonl at a few iterations */
    } rollout;

    struct config_reward rewards[CONFIG_LIST_MAX];
    int32_t n_rewards; /* 0: the task's natural verifier */

    struct {
        int32_t minibatches, epochs, staleness;
    } schedule;

    opsm_objective objective; /* the library's defaults, but mask.policy: auto until mask.delta is given */

    struct {
        double lr, beta1, beta2, eps, weight_decay, clip_norm;
        int32_t warmup; /* optimiser steps */
    } optim;

    struct {
        int32_t iterations, eval_every, checkpoint_every, keep;
        int32_t micro_batch; /* tokens whose activations are held at once */
        enum config_recompute recompute;
        enum config_save save_type; /* of RUN/model.gguf */
        enum config_saved save;     /* where adapters are trained */
        struct lora_config lora;
        char *lora_init; /* an adapter to start from; NULL: a fresh one */
    } train;

    struct {
        int32_t problems, samples;
        double temperature;
        char *verifier; /* by its name in the reward; NULL: the first */
    } eval;

    struct {
        int32_t steps, batch; /* optimiser steps, examples per step */
        struct {
            int32_t dim, layers, heads, kv_heads, ffn, context; /* dim 0: start from `model` */
        } init;
    } sft;
};

void config_defaults(struct run_config *config);
void config_free(struct run_config *config);

opsm_status config_load(struct run_config *config, const char *path, opsm_error *err);

/* One "key.path=value"; the value is YAML (numbers, [lists], {maps}). */
opsm_status config_override(struct run_config *config, const char *assignment, opsm_error *err);

/* An entry of `reward:` with no settings yet, in place of all that there were. */
opsm_status config_set_reward(struct run_config *config, const char *type, opsm_error *err);

/* One "setting=value" of an entry. A text is taken as it is, a list is YAML. */
opsm_status config_reward_override(struct config_reward *reward, const char *assignment, opsm_error *err);
void config_reward_free(struct config_reward *reward); /* leaves zeros */
void config_forget_rewards(struct run_config *config);

/* What depends on more than one key. */
opsm_status config_check(const struct run_config *config, opsm_error *err);

/* The full configuration in force as YAML, mem_alloc'ed; two configurations are the same run when these texts are
 * equal. Loading it gives the same configuration back. NULL when out of memory. */
char *config_text(const struct run_config *config);

/* The table as help text: key, default, range, what it does. `settings` prints what rewards have, which is not known
 * here. */
void config_help(FILE *out, void (*settings)(FILE *out));

#endif
