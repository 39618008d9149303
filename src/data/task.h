/* SPDX-License-Identifier: Apache-2.0
 *
 * Built-in tasks: endless generated problems with a known answer, a worked-out solution to imitate and a verifier.
 *
 * A problem is a pure function of (task, difficulty, noise, style, seed, split, index). Its content (the numbers in it)
 * does not depend on noise or style.
 *
 * Train and eval are disjoint by construction: a hash of the content decides which side a problem belongs to
 * (problem_split, one eighth is eval), and drawing repeats until the side is the wanted one. So no seed, style or
 * difficulty can put a training problem into the evaluation. Contents that differ only in an order that does not change
 * the answer (12+34 and 34+12) count as one. Problems are drawn with replacement: where the whole space is small
 * (addition of one digit has 55 problems), they repeat; where one side of it is empty, task_problem says so.
 */
#ifndef OPSM_DATA_TASK_H
#define OPSM_DATA_TASK_H
#include "data/problem.h"

/* X(id, family): the families; each is a `const struct task_family` in a file of its own, task_<family>.c. */
#define TASK_LIST(X)                                                                                                   \
    X(ADDITION, addition)                                                                                              \
    X(RUNNING_SUM, running_sum)                                                                                        \
    X(MODSUM, modsum)                                                                                                  \
    X(SORTING, sorting)                                                                                                \
    X(COUNTDOWN, countdown)                                                                                            \
    X(SUBSET, subset)                                                                                                  \
    X(PATH, path)

enum task_style {
    TASK_BARE, /* as short as can be, for models that read characters: "12+34=" -> "46" */
    TASK_WORDS /* an instruction in English, for models that follow instructions */
};

/* Every character that prompts, answers and solutions of TASK_BARE may contain. */
#define TASK_BARE_ALPHABET "0123456789 +-*/():="

struct task_family; /* see task_family.h */

struct task_spec {
    const struct task_family *family; /* from task_find */
    int difficulty;                   /* within the family's range */
    enum task_style style;
    double noise; /* [0, 1]: how often a step of the demonstration is wrong; prompt and answer are not touched */
    uint64_t seed;
};

/* Reads "name" or "name:difficulty" (the default difficulty without). OPSM_INVALID with the nearest known name or the
 * allowed range; the other fields are zeroed. */
opsm_status task_find(struct task_spec *spec, const char *text, opsm_error *err);

/* Checks difficulty and noise, and that both splits have problems. */
opsm_status task_check(const struct task_spec *spec, opsm_error *err);

/* Problem `index` (>= 0) of the split, owned by `problem`; safe from many threads. OPSM_INVALID when the space of
 * problems is so small that the split is empty: the sentence says so. */
opsm_status task_problem(const struct task_spec *spec, enum data_split split, int64_t index, struct problem *problem,
                         opsm_error *err);

/* What there is, for help texts and checks. `index` from 0 to task_count() - 1. */
int task_count(void);
const struct task_family *task_at(int index);
const char *task_name(const struct task_family *family);
const char *task_doc(const struct task_family *family); /* one line: what it asks, what difficulty and noise mean */
const char *task_verifier(const struct task_family *family); /* the natural verifier's name */
void task_range(const struct task_family *family, int *lowest, int *highest, int *usual); /* of difficulty */

#endif
