/* SPDX-License-Identifier: Apache-2.0
 *
 * What a family of tasks provides to task.c; included by task.c and the task_*.c files only.
 */
#ifndef OPSM_DATA_TASK_FAMILY_H
#define OPSM_DATA_TASK_FAMILY_H
#include "base/rng.h"
#include "base/text.h"
#include "data/task.h"

enum { TASK_NUMBERS_MAX = 256, TASK_NODES_MAX = 16 };

/* The content of a problem before it is put into words. */
struct task_draw {
    int n;
    int64_t numbers[TASK_NUMBERS_MAX];
    int64_t target;         /* countdown, subset, path; else 0 */
    struct task_node {      /* countdown only: a solution, leaves first, the root last */
        char op;            /* 0: a leaf, numbers[left] */
        int8_t left, right; /* children, or the leaf's index in `left` */
    } nodes[TASK_NODES_MAX];
    int n_nodes;
    uint8_t steps[TASK_NUMBERS_MAX]; /* subset, path: a solution, digit by digit */
};

/* The texts of a problem being written. */
struct task_texts {
    struct text prompt, answer, solution;
};

struct task_family {
    const char *name, *doc, *verifier;
    int lowest, highest, usual; /* difficulty */
    bool ordered;               /* the order of the numbers is part of the content */
    bool by_numbers;            /* the verifier needs numbers and target: many responses are right */

    /* Draws a content; false: not a proper one, draw again. */
    bool (*draw)(struct rng *rng, int difficulty, struct task_draw *draw);

    /* Puts it into words. `noise` draws the errors of the demonstration, each step wrong with probability
     * spec->noise. */
    void (*write)(const struct task_draw *draw, const struct task_spec *spec, struct rng *noise,
                  struct task_texts *texts);
};

/* "3, 5 and 2": for prompts in words. */
void task_write_list(struct text *text, const int64_t *numbers, int n, const char *separator, const char *last);

#define TASK_DECLARE(id, family) extern const struct task_family task_##family;
TASK_LIST(TASK_DECLARE)
#undef TASK_DECLARE

#endif
