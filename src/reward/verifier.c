/* SPDX-License-Identifier: Apache-2.0 */
#include "reward/verifier.h"
#include "base/mem.h"
#include "base/text.h"
#include "reward/verifier_type.h"
#include <math.h>
#include <stdio.h>

enum { VERIFIERS_MAX = 16 };

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
    char *pattern, *prefix, *suffix, **tags;
    void *state;
};

struct reward {
    int count;
    struct verifier verifiers[VERIFIERS_MAX];
};

const char *verifier_name(int index) {
    return index >= 0 && index < TYPE_COUNT ? TYPES[index].name : NULL;
}

const char *verifier_doc(int index) {
    return index >= 0 && index < TYPE_COUNT ? TYPES[index].doc : NULL;
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

/* A setting that would be ignored is a mistake of the person who wrote it. */
static opsm_status check_spec(const struct verifier_spec *spec, const struct verifier_type *type, opsm_error *err) {
    const struct {
        bool set;
        unsigned setting;
        const char *name;
    } rows[] = {
        {spec->pattern != NULL, SETTING_PATTERN, "pattern"},
        {spec->tolerance != 0, SETTING_TOLERANCE, "tolerance"},
        {spec->ignore_case, SETTING_IGNORE_CASE, "ignore_case"},
        {spec->unfinished_ok, SETTING_UNFINISHED, "unfinished_ok"},
        {spec->max_length != 0, SETTING_SHAPE, "max_length"},
        {spec->prefix != NULL, SETTING_SHAPE, "prefix"},
        {spec->suffix != NULL, SETTING_SHAPE, "suffix"},
        {spec->n_tags != 0, SETTING_SHAPE, "tags"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].set && !(type->settings & rows[i].setting))
            return opsm_fail(err, OPSM_INVALID, "verifier '%s' has no setting '%s'", type->name, rows[i].name);
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
    verifier->spec.tags = NULL;
    bool kept = keep_text(&verifier->pattern, &verifier->spec.pattern, spec->pattern) &&
                keep_text(&verifier->prefix, &verifier->spec.prefix, spec->prefix) &&
                keep_text(&verifier->suffix, &verifier->spec.suffix, spec->suffix) && keep_tags(verifier, spec);
    if (!kept) return mem_exhausted(err, "a verifier", sizeof *verifier);
    return type->create ? type->create(&verifier->state, &verifier->spec, err) : OPSM_OK;
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

int reward_count(const struct reward *reward) {
    return reward->count;
}

const char *reward_name(const struct reward *reward, int index) {
    return index >= 0 && index < reward->count ? reward->verifiers[index].type->name : NULL;
}

double reward_highest(const struct reward *reward) {
    double sum = 0;
    for (int i = 0; i < reward->count; i++) sum += fmax(reward->verifiers[i].spec.weight, 0);
    return sum;
}

double reward_lowest(const struct reward *reward) {
    double sum = 0;
    for (int i = 0; i < reward->count; i++) sum += fmin(reward->verifiers[i].spec.weight, 0);
    return sum;
}

opsm_status reward_check(const struct reward *reward, const struct problem *problem, opsm_error *err) {
    for (int i = 0; i < reward->count; i++) {
        const struct verifier *v = &reward->verifiers[i];
        opsm_status status = v->type->check ? v->type->check(v->state, &v->spec, problem, err) : OPSM_OK;
        if (status != OPSM_OK) return status;
    }
    return OPSM_OK;
}

double reward_score(const struct reward *reward, const struct problem *problem, const char *text, size_t length,
                    bool finished, double *scores) {
    struct response response = {text ? text : "", text ? length : 0, finished};
    double sum = 0;
    for (int i = 0; i < reward->count; i++) {
        const struct verifier *v = &reward->verifiers[i];
        bool judged = !v->type->check || v->type->check(v->state, &v->spec, problem, NULL) == OPSM_OK;
        double score = judged ? v->type->score(v->state, &v->spec, problem, response) : 0;
        if (scores) scores[i] = score;
        sum += v->spec.weight * score;
    }
    return sum;
}

opsm_status verifier_needs_answer(const struct problem *problem, const char *name, opsm_error *err) {
    if (span_trim(span_of(problem->answer)).length > 0) return OPSM_OK;
    return opsm_fail(err, OPSM_MISSING, "verifier '%s' compares with the answer, but the problem '%.80s' has none",
                     name, problem->prompt);
}

opsm_status verifier_needs_digits(const struct problem *problem, int least, const char *name, opsm_error *err) {
    bool digits = problem->n_numbers >= least;
    for (int i = 0; digits && i < problem->n_numbers; i++)
        digits = problem->numbers[i] >= 0 && problem->numbers[i] < 10;
    if (digits) return OPSM_OK;
    return opsm_fail(
        err, OPSM_MISSING,
        "verifier '%s' needs the digits of the problem, but '%.80s' has none; it fits the task of the same "
        "name only",
        name, problem->prompt);
}
