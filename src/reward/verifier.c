/* SPDX-License-Identifier: Apache-2.0 */
#include "reward/verifier.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/threads.h"
#include "reward/verifier_type.h"
#include <math.h>
#include <stdio.h>

static const struct {
    const struct verifier_type *type;
    const char *name, *doc;
} TYPES[] = {
#define VERIFIER_ENTRY(name, doc) {&verifier_##name, #name, doc},
    VERIFIER_LIST(VERIFIER_ENTRY)
#undef VERIFIER_ENTRY
};

enum { TYPE_COUNT = sizeof TYPES / sizeof *TYPES };

/* One summand: the specification with all its texts copied, and the type's own state. */
struct verifier {
    const struct verifier_type *type;
    struct verifier_spec spec;
    char name[VERIFIER_NAME_MAX + 1], *pattern, *prefix, *suffix, **tags;
    void *state;
};

struct reward {
    int count;
    bool zero_unfinished;
    struct verifier verifiers[VERIFIERS_MAX];
};

const char *verifier_name(int index) {
    return index >= 0 && index < TYPE_COUNT ? TYPES[index].name : NULL;
}

const char *verifier_doc(int index) {
    return index >= 0 && index < TYPE_COUNT ? TYPES[index].doc : NULL;
}

const char *verifier_help(int index) {
    return index >= 0 && index < TYPE_COUNT ? TYPES[index].type->help : NULL;
}

static const struct verifier_type *find_type(const char *name, opsm_error *err) {
    const char *names[TYPE_COUNT];
    char list[200] = "";
    for (int i = 0; i < TYPE_COUNT; i++) {
        if (name && !strcmp(TYPES[i].name, name)) return TYPES[i].type;
        names[i] = TYPES[i].name;
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = name ? text_nearest(name, names, TYPE_COUNT) : NULL;
    if (!name)
        opsm_fail(err, OPSM_INVALID, "a verifier needs a type: one of %s", list);
    else if (near)
        opsm_fail(err, OPSM_INVALID, "unknown verifier '%.60s'; did you mean '%s'?", name, near);
    else
        opsm_fail(err, OPSM_INVALID, "unknown verifier '%.60s'; there are %s", name, list);
    return NULL;
}

/* A setting, the types that have it, and whether a specification sets it. */
struct setting_row {
    const char *name;
    unsigned setting;
    bool set;
};
enum { SETTING_ROWS = 10 };

static void list_settings(const struct verifier_spec *spec, struct setting_row rows[SETTING_ROWS]) {
    const struct setting_row all[SETTING_ROWS] = {
        {"pattern", SETTING_PATTERN, spec->pattern != NULL},
        {"tolerance", SETTING_TOLERANCE, spec->tolerance != 0},
        {"ignore_case", SETTING_IGNORE_CASE, spec->ignore_case},
        {"unfinished_ok", SETTING_UNFINISHED, spec->unfinished_ok},
        {"last_match", SETTING_GROUP, spec->last_match},
        {"as_number", SETTING_GROUP, spec->as_number},
        {"max_length", SETTING_SHAPE, spec->max_length != 0},
        {"prefix", SETTING_SHAPE, spec->prefix != NULL},
        {"suffix", SETTING_SHAPE, spec->suffix != NULL},
        {"tags", SETTING_SHAPE, spec->n_tags != 0},
    };
    memcpy(rows, all, sizeof all);
}

void verifier_settings(int index, char *list, size_t room) {
    struct setting_row rows[SETTING_ROWS];
    list_settings(&(struct verifier_spec){0}, rows);
    size_t used = 0;
    snprintf(list, room, "none");
    for (int i = 0; i < SETTING_ROWS; i++)
        if ((TYPES[index].type->settings & rows[i].setting) && used < room)
            used += (size_t)snprintf(list + used, room - used, "%s%s", used ? ", " : "", rows[i].name);
}

/* A setting that would be ignored is a mistake of the person who wrote it. */
static opsm_status check_spec(const struct verifier_spec *spec, const struct verifier_type *type, opsm_error *err) {
    struct setting_row rows[SETTING_ROWS];
    list_settings(spec, rows);
    for (int i = 0; i < SETTING_ROWS; i++)
        if (rows[i].set && !(type->settings & rows[i].setting))
            return opsm_fail(err, OPSM_INVALID, "verifier '%s' has no setting '%s'", type->name, rows[i].name);
    size_t length = spec->name ? strlen(spec->name) : 1;
    if (length < 1 || length > VERIFIER_NAME_MAX)
        return opsm_fail(err, OPSM_INVALID, "verifier '%s': a name has 1 to %d bytes, found %zu", type->name,
                         VERIFIER_NAME_MAX, length);
    if (!isfinite(spec->weight))
        return opsm_fail(err, OPSM_INVALID, "verifier '%s': weight must be a finite number", type->name);
    if (!(spec->tolerance >= 0 && spec->tolerance < 1))
        return opsm_fail(err, OPSM_INVALID, "verifier '%s': tolerance must be at least 0 and below 1, found %g",
                         type->name, spec->tolerance);
    if (spec->max_length < 0)
        return opsm_fail(err, OPSM_INVALID, "verifier '%s': max_length must not be negative", type->name);
    return OPSM_OK;
}

/* Copies an optional text; false when out of memory. */
static bool keep_text(char **copy, const char **view, const char *text) {
    if (!text) return true;
    *copy = mem_strdup(text);
    *view = *copy;
    return *copy != NULL;
}

static bool keep_tags(struct verifier *verifier, const struct verifier_spec *spec) {
    if (spec->n_tags == 0) return true;
    verifier->tags = mem_zalloc((size_t)spec->n_tags, sizeof *verifier->tags);
    if (!verifier->tags) return false;
    verifier->spec.tags = (const char *const *)verifier->tags;
    for (int i = 0; i < spec->n_tags; i++)
        if (!(verifier->tags[i] = mem_strdup(spec->tags[i]))) return false;
    return true;
}

static opsm_status verifier_create(struct verifier *verifier, const struct verifier_spec *spec, opsm_error *err) {
    const struct verifier_type *type = find_type(spec->type, err);
    if (!type) return OPSM_INVALID;
    opsm_status status = check_spec(spec, type, err);
    if (status != OPSM_OK) return status;
    verifier->type = type;
    verifier->spec = *spec;
    verifier->spec.type = type->name;
    verifier->spec.name = NULL; /* see name_verifier */
    verifier->spec.tags = NULL;
    bool kept = keep_text(&verifier->pattern, &verifier->spec.pattern, spec->pattern) &&
                keep_text(&verifier->prefix, &verifier->spec.prefix, spec->prefix) &&
                keep_text(&verifier->suffix, &verifier->spec.suffix, spec->suffix) && keep_tags(verifier, spec);
    if (!kept) return mem_exhausted(err, "a verifier", sizeof *verifier);
    return type->create ? type->create(&verifier->state, &verifier->spec, err) : OPSM_OK;
}

static bool is_taken(const struct reward *reward, int count, const char *name) {
    for (int i = 0; i < count; i++)
        if (!strcmp(reward->verifiers[i].name, name)) return true;
    return false;
}

/* Metrics tell the summands apart by name: the one given, else the first of "numeric", "numeric-2", ... that is free. */
static opsm_status name_verifier(struct reward *reward, int index, const char *given, opsm_error *err) {
    char *name = reward->verifiers[index].name;
    const char *type = reward->verifiers[index].type->name;
    snprintf(name, VERIFIER_NAME_MAX + 1, "%s", given ? given : type);
    if (given && is_taken(reward, index, name))
        return opsm_fail(err, OPSM_INVALID, "reward: two entries have the name '%s'", name);
    for (int n = 2; is_taken(reward, index, name); n++) snprintf(name, VERIFIER_NAME_MAX + 1, "%s-%d", type, n);
    return OPSM_OK;
}

static void verifier_release(struct verifier *verifier) {
    if (verifier->state) verifier->type->destroy(verifier->state);
    mem_free(verifier->pattern);
    mem_free(verifier->prefix);
    mem_free(verifier->suffix);
    for (int i = 0; verifier->tags && i < verifier->spec.n_tags; i++) mem_free(verifier->tags[i]);
    mem_free(verifier->tags);
}

opsm_status reward_create(struct reward **result, const struct verifier_spec *specs, int n, opsm_error *err) {
    *result = NULL;
    if (n < 1 || n > VERIFIERS_MAX)
        return opsm_fail(err, OPSM_INVALID, "a reward is the sum of 1 to %d verifiers, found %d", VERIFIERS_MAX, n);
    struct reward *reward = mem_zalloc(1, sizeof *reward);
    if (!reward) return mem_exhausted(err, "a reward", sizeof *reward);
    opsm_status status = OPSM_OK;
    for (int i = 0; i < n && status == OPSM_OK; i++) {
        reward->count = i + 1;
        status = verifier_create(&reward->verifiers[i], &specs[i], err);
        if (status == OPSM_OK) status = name_verifier(reward, i, specs[i].name, err);
    }
    if (status != OPSM_OK) {
        reward_free(reward);
        return status;
    }
    *result = reward;
    return OPSM_OK;
}

void reward_free(struct reward *reward) {
    if (!reward) return;
    for (int i = 0; i < reward->count; i++) verifier_release(&reward->verifiers[i]);
    mem_free(reward);
}

void reward_zero_unfinished(struct reward *reward) {
    reward->zero_unfinished = true;
}

int reward_count(const struct reward *reward) {
    return reward->count;
}

const char *reward_name(const struct reward *reward, int index) {
    return index >= 0 && index < reward->count ? reward->verifiers[index].name : NULL;
}

static opsm_status check(const struct verifier *v, const struct problem *problem, opsm_error *err) {
    opsm_status status = OPSM_OK;
    for (int k = 0; v->type->check && status == OPSM_OK && k <= problem->n_more_answers; k++)
        status = v->type->check(v->state, &v->spec, problem, problem_answer(problem, k), err);
    return status;
}

opsm_status reward_check(const struct reward *reward, const struct problem *problem, opsm_error *err) {
    opsm_status status = OPSM_OK;
    for (int i = 0; status == OPSM_OK && i < reward->count; i++) status = check(&reward->verifiers[i], problem, err);
    return status;
}

/* The best score over the accepted answers, with what was found beside it. */
static double best_score(const struct verifier *v, const struct problem *problem, struct response response,
                         struct span *found) {
    double best = -1;
    for (int k = 0; k <= problem->n_more_answers && best < 1; k++) {
        struct span here = {0};
        double score = v->type->score(v->state, &v->spec, problem, problem_answer(problem, k), response, &here);
        if (isnan(score)) return score;
        if (score > best) {
            best = score;
            *found = here;
        }
    }
    return best;
}

/* One verifier's verdict; NaN, and the sentence of the first that has none. */
static double judge_with(const struct verifier *v, const struct problem *problem, struct response response,
                         struct span *found, opsm_error *unjudged) {
    opsm_error why;
    opsm_status status = check(v, problem, &why);
    double score = status == OPSM_OK ? best_score(v, problem, response, found) : NAN;
    if (status == OPSM_OK && isnan(score)) status = mem_exhausted(&why, "a verdict", response.length);
    if (status != OPSM_OK && unjudged->code == OPSM_OK) *unjudged = why;
    return score;
}

static void judge(const struct reward *reward, const struct reward_item *item, struct verdict *verdict) {
    struct response response = {item->text ? item->text : "", item->text ? item->length : 0, item->finished};
    verdict->reward = 0;
    verdict->found = (struct span){0};
    verdict->unjudged.code = OPSM_OK;
    for (int i = 0; i < reward->count; i++) {
        const struct verifier *v = &reward->verifiers[i];
        struct span found = {0};
        verdict->scores[i] = judge_with(v, item->problem, response, &found, &verdict->unjudged);
        verdict->reward += v->spec.weight * verdict->scores[i]; /* NaN where one has no verdict */
        if (i == 0) verdict->found = found;
    }
    if (reward->zero_unfinished && !item->finished && verdict->unjudged.code == OPSM_OK) verdict->reward = 0;
}

void reward_judge(const struct reward *reward, const struct reward_item *items, int64_t n, struct verdict *verdicts) {
#pragma omp parallel for num_threads(threads_count()) schedule(dynamic, 8) if (n > 1)
    for (int64_t i = 0; i < n; i++) judge(reward, &items[i], &verdicts[i]);
}
