/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run asks its model: problems from a task or a dataset, put into tokens by the model's tokenizer and template,
 * and judged by the configured verifiers.
 */
#ifndef OPSM_ENVIRONMENT_PROBLEMS_H
#define OPSM_ENVIRONMENT_PROBLEMS_H
#include "config/config.h"
#include "data/source.h"
#include "model/model.h"
#include "reward/verifier.h"

/* What the problems are wanted for decides which rows there are and what each must have. */
enum problems_use {
    PROBLEMS_TRAIN,     /* rewards; what evaluations need is held out */
    PROBLEMS_IMITATE,   /* solutions; rewards where there are evaluations */
    PROBLEMS_HELD_OUT,  /* evaluation of what a run with this configuration holds out */
    PROBLEMS_WHOLE_FILE /* evaluation of every row of data.file */
};

struct problems {
    struct data_source *source;
    struct reward *reward;             /* NULL: supervised training needs none */
    int primary;                       /* the verifier of it that says what is right: eval.verifier, or the first */
    const struct tokenizer *tokenizer; /* the model's */
    const struct chat_template *chat;  /* the model's, `custom`, or a plain one */
    struct chat_template custom;
    struct chat_extra extra; /* from the configuration; owned */
    const char *system;      /* borrowed from the configuration; NULL: the template's own */
    int32_t longest_prompt;  /* of a dataset's rows, in tokens; 0: not known */
};

/* The problems of a configuration alone; `chat`: for a model that follows instructions. */
opsm_status problems_source(struct data_source **source, const struct run_config *config, enum problems_use use,
                            bool chat, opsm_error *err);

/* Checks every row of a dataset (problem_rows.h), and warns, once, when the tokenizer has no token for bytes of the
 * problems. `config` and `model` are borrowed for as long as the problems are open. */
opsm_status problems_open(struct problems *problems, const struct run_config *config, const struct model *model,
                          enum problems_use use, int32_t max_prompt, opsm_error *err);

/* The reward alone, by which `config` would judge; problems are read only where they decide it. */
opsm_status problems_open_reward(struct problems *problems, const struct run_config *config, opsm_error *err);
void problems_close(struct problems *problems);

/* Appends the tokens of the prompt, ending where the response begins. */
opsm_status problems_prompt(const struct problems *problems, const struct problem *problem, struct token_list *tokens,
                            opsm_error *err);

/* Appends the tokens of the response to imitate, with the end token. OPSM_MISSING when the problem has none. */
opsm_status problems_solution(const struct problems *problems, const struct problem *problem, struct token_list *tokens,
                              opsm_error *err);

#endif
