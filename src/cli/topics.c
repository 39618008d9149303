/* SPDX-License-Identifier: Apache-2.0
 *
 * Topics of the help that follow from tables: what verifiers accept, what tasks ask.
 */
#include "cli/topics.h"
#include "config/keys.h"
#include "data/task.h"
#include "reward/verifier.h"

/* Lines as one. */
static void print_joined(const char *text, FILE *out) {
    for (; *text; text++)
        if (*text != '\n' || text[1]) putc(*text == '\n' ? ' ' : *text, out);
}

static void print_settings(int verifier, FILE *out) {
    int n;
    const struct config_key *settings = verifier_settings(verifier, &n);
    for (int i = 0; i < n; i++) fprintf(out, "        %-14s  %s\n", settings[i].path, settings[i].doc);
}

void topic_verifiers(FILE *out) {
    fputs("A verifier judges a response from 0 to 1. A reward is the weighted sum of those under `reward:`, a list:\n\n"
          "    reward:\n"
          "      - {type: numeric, weight: 1.0}\n"
          "      - {type: format, weight: 0.1, max_length: 2000}\n\n"
          "Without the list a task is judged by its own verifier, and a file by numeric where numeric can read every "
          "answer of it, else by exact. A list of accepted answers counts as its best one. Accuracy is the share of "
          "responses that the first verifier judges 1, whatever the others say. Try before you train: `opsm reward` "
          "judges responses that you write down.\n\n",
          out);
    for (int i = 0; verifier_name(i); i++) fprintf(out, "  %-14s  %s\n", verifier_name(i), verifier_doc(i));
    fputs("\nIn full, with the settings that each has:\n\n", out);
    for (int i = 0; verifier_name(i); i++) {
        fprintf(out, "%s\n    ", verifier_name(i));
        print_joined(verifier_help(i), out);
        putc('\n', out);
        print_settings(i, out);
    }
    fputs("\nAnd settings that all have:\n\n", out);
    for (int i = 0; i < config_n_reward_keys; i++)
        fprintf(out, "    %-14s  %s\n", config_reward_keys[i].path, config_reward_keys[i].doc);
}

static void print_all_settings(FILE *out) {
    for (int i = 0; verifier_name(i); i++) {
        fprintf(out, "      %s\n", verifier_name(i));
        print_settings(i, out);
    }
}

void topic_config(FILE *out) {
    config_help(out, print_all_settings);
}

static void print_example(const struct task_family *family, int usual, enum task_style style, FILE *out) {
    const struct task_spec spec = {.family = family, .difficulty = usual, .style = style, .seed = 1};
    struct problem problem;
    if (task_problem(&spec, DATA_TRAIN, 0, &problem, NULL) != OPSM_OK) return;
    fprintf(out, " %s: \"", style == TASK_BARE ? "Bare" : "In words");
    print_joined(problem.prompt, out);
    fprintf(out, "\", right is \"%s\".", problem.answer);
    problem_free(&problem);
}

void topic_tasks(FILE *out) {
    fputs(
        "Built-in tasks make problems without end, with worked solutions for `opsm sft`; training and evaluation never "
        "share one. `task: {name: addition, difficulty: 3}` chooses one. Models without a chat template are asked in "
        "symbols (task.style: bare), others in words.\n\n",
        out);
    for (int i = 0; i < task_count(); i++) {
        const struct task_family *family = task_at(i);
        int lowest, highest, usual;
        task_range(family, &lowest, &highest, &usual);
        fprintf(out, "%s\n    %s. Difficulty %d to %d (default %d). Judged by %s.", task_name(family), task_doc(family),
                lowest, highest, usual, task_verifier(family));
        print_example(family, usual, TASK_BARE, out);
        print_example(family, usual, TASK_WORDS, out);
        putc('\n', out);
    }
}
