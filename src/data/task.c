/* SPDX-License-Identifier: Apache-2.0 */
#include "data/task.h"
#include "base/mem.h"
#include "data/task_family.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DRAWS_MAX = 20000 };

static const double EVAL_SHARE = 0.125;

static const struct task_family *const FAMILIES[] = {
#define TASK_ENTRY(id, family) &task_##family,
    TASK_LIST(TASK_ENTRY)
#undef TASK_ENTRY
};

enum task_id {
#define TASK_ID(id, family) TASK_##id,
    TASK_LIST(TASK_ID)
#undef TASK_ID
        TASK_COUNT
};

int task_count(void) {
    return TASK_COUNT;
}

const struct task_family *task_at(int index) {
    return index >= 0 && index < TASK_COUNT ? FAMILIES[index] : NULL;
}

const char *task_name(const struct task_family *family) {
    return family->name;
}

const char *task_doc(const struct task_family *family) {
    return family->doc;
}

const char *task_verifier(const struct task_family *family) {
    return family->verifier;
}

void task_range(const struct task_family *family, int *lowest, int *highest, int *usual) {
    *lowest = family->lowest;
    *highest = family->highest;
    *usual = family->usual;
}

static opsm_status unknown_task(const char *name, opsm_error *err) {
    const char *names[TASK_COUNT];
    for (int i = 0; i < TASK_COUNT; i++) names[i] = FAMILIES[i]->name;
    const char *near = text_nearest(name, names, TASK_COUNT);
    if (near) return opsm_fail(err, OPSM_INVALID, "unknown task '%.60s'; did you mean '%s'?", name, near);
    char list[200] = "";
    for (int i = 0; i < TASK_COUNT; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", names[i]);
    }
    return opsm_fail(err, OPSM_INVALID, "unknown task '%.60s'; the built-in tasks are %s", name, list);
}

static opsm_status bad_difficulty(const struct task_family *family, const char *found, opsm_error *err) {
    return opsm_fail(err, OPSM_INVALID, "task '%s': difficulty must be a whole number from %d to %d, found '%.40s'",
                     family->name, family->lowest, family->highest, found);
}

opsm_status task_find(struct task_spec *spec, const char *text, opsm_error *err) {
    *spec = (struct task_spec){0};
    char name[64];
    const char *colon = strchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : strlen(text);
    if (length >= sizeof name) length = sizeof name - 1;
    memcpy(name, text, length);
    name[length] = '\0';
    const struct task_family *family = NULL;
    for (int i = 0; i < TASK_COUNT && !family; i++)
        if (!strcmp(FAMILIES[i]->name, name)) family = FAMILIES[i];
    if (!family) return unknown_task(name, err);
    int difficulty = family->usual;
    if (colon) {
        char *end;
        errno = 0;
        long value = strtol(colon + 1, &end, 10);
        bool number = end != colon + 1 && *end == '\0' && errno == 0;
        if (!number || value < family->lowest || value > family->highest) return bad_difficulty(family, colon + 1, err);
        difficulty = (int)value;
    }
    spec->family = family;
    spec->difficulty = difficulty;
    return OPSM_OK;
}

static opsm_status check_ranges(const struct task_spec *spec, opsm_error *err) {
    const struct task_family *family = spec->family;
    if (!family) return unknown_task("", err);
    if (spec->difficulty < family->lowest || spec->difficulty > family->highest) {
        char found[16];
        snprintf(found, sizeof found, "%d", spec->difficulty);
        return bad_difficulty(family, found, err);
    }
    if (!(spec->noise >= 0 && spec->noise <= 1))
        return opsm_fail(err, OPSM_INVALID, "task '%s': noise must be from 0 to 1, found %g", family->name,
                         spec->noise);
    return OPSM_OK;
}

static int compare_numbers(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Hashes what makes two problems the same: family, numbers (in order, or sorted where order does not matter), target.
 * The difficulty is left out: where two difficulties can draw the same problem, it stays on its side. */
static enum data_split split_of(const struct task_family *family, const struct task_draw *draw) {
    struct {
        char name[16];
        int64_t target, numbers[TASK_NUMBERS_MAX];
    } key = {.target = draw->target};
    size_t used = (size_t)draw->n * sizeof *key.numbers;
    strncpy(key.name, family->name, sizeof key.name - 1);
    memcpy(key.numbers, draw->numbers, used);
    if (!family->ordered) qsort(key.numbers, (size_t)draw->n, sizeof *key.numbers, compare_numbers);
    return problem_split(&key, sizeof key - sizeof key.numbers + used, EVAL_SHARE);
}

static bool draw_from_split(const struct task_spec *spec, enum data_split split, int64_t index,
                            struct task_draw *draw) {
    const struct task_family *family = spec->family;
    int number = 0;
    while (FAMILIES[number] != family) number++;
    /* The family's place in the list, the difficulty and the split in one counter word; the index in two. */
    uint32_t kind = (uint32_t)number << 24 | (uint32_t)spec->difficulty << 1 | (uint32_t)split;
    struct rng rng = rng_make(spec->seed, RNG_TASK, kind, (uint32_t)((uint64_t)index >> 32), (uint32_t)index);
    for (int tries = 0; tries < DRAWS_MAX; tries++) {
        *draw = (struct task_draw){0};
        if (family->draw(&rng, spec->difficulty, draw) && split_of(family, draw) == split) return true;
    }
    return false;
}

static opsm_status texts_to_problem(const struct task_family *family, const struct task_draw *draw,
                                    const struct task_texts *texts, struct problem *problem, opsm_error *err) {
    if (texts->prompt.failed || texts->answer.failed || texts->solution.failed)
        return mem_exhausted(err, "the text of a problem", texts->prompt.room);
    struct problem parts = {.prompt = texts->prompt.data,
                            .answer = texts->answer.data,
                            .solution = texts->solution.data,
                            .target = draw->target};
    if (family->by_numbers) {
        parts.numbers = draw->numbers;
        parts.n_numbers = draw->n;
    }
    return problem_copy(problem, &parts, err);
}

opsm_status task_problem(const struct task_spec *spec, enum data_split split, int64_t index, struct problem *problem,
                         opsm_error *err) {
    *problem = (struct problem){0};
    opsm_status status = check_ranges(spec, err);
    if (status != OPSM_OK) return status;
    if (index < 0)
        return opsm_fail(err, OPSM_INVALID, "task '%s': problem number %" PRId64 " is negative", spec->family->name,
                         index);
    struct task_draw draw;
    if (!draw_from_split(spec, split, index, &draw))
        return opsm_fail(err, OPSM_INVALID,
                         "task '%s' has so few problems at difficulty %d that none belongs to the %s split; use a "
                         "higher difficulty",
                         spec->family->name, spec->difficulty, data_split_name(split));
    struct rng noise =
        rng_make(spec->seed, RNG_NOISE, (uint32_t)split, (uint32_t)((uint64_t)index >> 32), (uint32_t)index);
    struct task_texts texts = {0};
    spec->family->write(&draw, spec, &noise, &texts);
    status = texts_to_problem(spec->family, &draw, &texts, problem, err);
    text_free(&texts.prompt);
    text_free(&texts.answer);
    text_free(&texts.solution);
    return status;
}

opsm_status task_check(const struct task_spec *spec, opsm_error *err) {
    opsm_status status = OPSM_OK;
    for (int split = DATA_TRAIN; split <= DATA_EVAL && status == OPSM_OK; split++) {
        struct problem problem;
        status = task_problem(spec, (enum data_split)split, 0, &problem, err);
        problem_free(&problem);
    }
    return status;
}
