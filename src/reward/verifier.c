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

/* One summand, with a struct of its type. */
struct verifier {
    const struct verifier_type *type;
    char name[VERIFIER_NAME_MAX + 1];
    double weight;
    void *self;
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

const struct config_key *verifier_settings(int index, int *n) {
    bool known = index >= 0 && index < TYPE_COUNT;
    *n = known ? TYPES[index].type->n_settings : 0;
    return known ? TYPES[index].type->settings : NULL;
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

/* No type has it, or another one. */
static opsm_status refuse_setting(const struct verifier_type *type, const char *type_name, const char *name,
                                  opsm_error *err) {
    enum { WORDS_MAX = 64 };
    const char *words[WORDS_MAX];
    size_t n = 0;
    for (int i = 0; i < type->n_settings && n < WORDS_MAX; i++) words[n++] = type->settings[i].path;
    for (int i = 0; i < config_n_reward_keys && n < WORDS_MAX; i++) words[n++] = config_reward_keys[i].path;
    for (int t = 0; t < TYPE_COUNT; t++)
        for (int i = 0; i < TYPES[t].type->n_settings && n < WORDS_MAX; i++) {
            words[n++] = TYPES[t].type->settings[i].path;
            if (!strcmp(words[n - 1], name))
                return opsm_fail(err, OPSM_INVALID, "verifier '%s' has no setting '%s'", type_name, name);
        }
    const char *nearest = text_nearest(name, words, n);
    if (nearest) return opsm_fail(err, OPSM_INVALID, "unknown key 'reward.%.60s'; did you mean '%s'?", name, nearest);
    return opsm_fail(err, OPSM_INVALID, "unknown key 'reward.%.60s'; `opsm help verifiers` lists them", name);
}

/* One setting into the type's struct; null leaves the default. */
static opsm_status apply_setting(void *self, const struct config_key *key, const struct config_setting *setting,
                                 opsm_error *err) {
    bool wants_list = key->kind == KEY_TEXTS || key->kind == KEY_PAIR;
    if (setting->is_list && (wants_list || !setting->text))
        return config_key_set_list(self, key, (const char *const *)setting->list.items, setting->list.count, err);
    return setting->text ? config_key_set(self, key, setting->text, err) : OPSM_OK;
}

/* Puts the place where something was written before the sentence about it. */
static opsm_status at(const char *place, opsm_status status, opsm_error *err) {
    if (status == OPSM_OK || !place || !err) return status;
    opsm_error bare = *err;
    return opsm_fail(err, status, "%s%s", place, bare.text);
}

/* Stops at the first setting that is wrong; *place is then its own. */
static opsm_status read_settings(struct verifier *verifier, const struct config_reward *entry, const char **place,
                                 opsm_error *err) {
    const struct verifier_type *type = verifier->type;
    for (int32_t i = 0; i < entry->n_settings; i++) {
        const struct config_setting *setting = &entry->settings[i];
        const struct config_key *key = config_key_find(type->settings, type->n_settings, setting->name);
        opsm_status status = key ? apply_setting(verifier->self, key, setting, err)
                                 : refuse_setting(type, entry->type, setting->name, err);
        if (status == OPSM_OK) continue;
        *place = setting->place;
        return status;
    }
    return OPSM_OK;
}

static opsm_status verifier_create(struct verifier *verifier, const struct config_reward *entry, const char **place,
                                   opsm_error *err) {
    verifier->type = find_type(entry->type, err);
    if (!verifier->type) return OPSM_INVALID;
    size_t length = entry->name ? strlen(entry->name) : 1;
    if (length < 1 || length > VERIFIER_NAME_MAX)
        return opsm_fail(err, OPSM_INVALID, "verifier '%s': a name has 1 to %d bytes, found %zu", entry->type,
                         VERIFIER_NAME_MAX, length);
    if (!isfinite(entry->weight))
        return opsm_fail(err, OPSM_INVALID, "verifier '%s': weight must be a finite number", entry->type);
    verifier->weight = entry->weight;
    verifier->self = mem_zalloc(1, verifier->type->size);
    if (!verifier->self) return mem_exhausted(err, "a verifier", verifier->type->size);
    opsm_status status = read_settings(verifier, entry, place, err);
    if (status != OPSM_OK || !verifier->type->create) return status;
    return verifier->type->create(verifier->self, err);
}

static bool is_taken(const struct reward *reward, int count, const char *name) {
    for (int i = 0; i < count; i++)
        if (!strcmp(reward->verifiers[i].name, name)) return true;
    return false;
}

/* Metrics tell the summands apart by name: the one given, else the first of "numeric", "numeric-2", ... that is free. */
static opsm_status name_verifier(struct reward *reward, int index, const char *type, const char *given,
                                 opsm_error *err) {
    char *name = reward->verifiers[index].name;
    snprintf(name, VERIFIER_NAME_MAX + 1, "%s", given ? given : type);
    if (given && is_taken(reward, index, name))
        return opsm_fail(err, OPSM_INVALID, "reward: two entries have the name '%s'", name);
    for (int n = 2; is_taken(reward, index, name); n++) snprintf(name, VERIFIER_NAME_MAX + 1, "%s-%d", type, n);
    return OPSM_OK;
}

static void verifier_release(struct verifier *verifier) {
    if (!verifier->self) return;
    if (verifier->type->destroy) verifier->type->destroy(verifier->self);
    config_keys_release(verifier->self, verifier->type->settings, verifier->type->n_settings);
    mem_free(verifier->self);
}

opsm_status reward_create(struct reward **result, const struct config_reward *entries, int n, opsm_error *err) {
    *result = NULL;
    if (n < 1 || n > VERIFIERS_MAX)
        return opsm_fail(err, OPSM_INVALID, "a reward is the sum of 1 to %d verifiers, found %d", VERIFIERS_MAX, n);
    struct reward *reward = mem_zalloc(1, sizeof *reward);
    if (!reward) return mem_exhausted(err, "a reward", sizeof *reward);
    opsm_status status = OPSM_OK;
    for (int i = 0; i < n && status == OPSM_OK; i++) {
        reward->count = i + 1;
        const char *place = entries[i].place;
        status = verifier_create(&reward->verifiers[i], &entries[i], &place, err);
        if (status == OPSM_OK) status = name_verifier(reward, i, entries[i].type, entries[i].name, err);
        status = at(place, status, err);
    }
    if (status != OPSM_OK) {
        reward_free(reward);
        return status;
    }
    *result = reward;
    return OPSM_OK;
}

opsm_status reward_create_plain(struct reward **result, const char *type, opsm_error *err) {
    char *name = mem_strdup(type);
    if (!name) return mem_exhausted(err, "a verifier", strlen(type));
    opsm_status status = reward_create(result, &(struct config_reward){.type = name, .weight = 1}, 1, err);
    mem_free(name);
    return status;
}

opsm_status reward_try(const struct config_reward *entries, int n, opsm_error *err) {
    struct reward *reward = NULL;
    opsm_status status = n > 0 ? reward_create(&reward, entries, n, err) : OPSM_OK;
    reward_free(reward);
    return status;
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
        status = v->type->check(v->self, problem, problem_answer(problem, k), err);
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
        double score = v->type->score(v->self, problem, problem_answer(problem, k), response, &here);
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

static void judge_item(const struct reward *reward, const struct reward_item *item, struct verdict *verdict) {
    struct response response = {item->text ? item->text : "", item->text ? item->length : 0, item->finished};
    verdict->reward = 0;
    verdict->unjudged.code = OPSM_OK;
    for (int i = 0; i < reward->count; i++) {
        const struct verifier *v = &reward->verifiers[i];
        struct span found = {0};
        verdict->scores[i] = judge_with(v, item->problem, response, &found, &verdict->unjudged);
        verdict->reward += v->weight * verdict->scores[i]; /* NaN where one has no verdict */
        if (i == 0) verdict->found = found;
    }
    if (reward->zero_unfinished && !item->finished && verdict->unjudged.code == OPSM_OK) verdict->reward = 0;
}

void reward_judge(const struct reward *reward, const struct reward_item *items, int64_t n, struct verdict *verdicts) {
#pragma omp parallel for num_threads(threads_count()) schedule(dynamic, 8) if (n > 1)
    for (int64_t i = 0; i < n; i++) judge_item(reward, &items[i], &verdicts[i]);
}
