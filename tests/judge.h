/* SPDX-License-Identifier: Apache-2.0
 *
 * One response under a reward, for tests that judge many of them one by one.
 */
#ifndef OPSM_TESTS_JUDGE_H
#define OPSM_TESTS_JUDGE_H
#include "config/keys.h"
#include "reward/verifier.h"
#include <string.h>

enum { SETTINGS_MAX = 8 };

/* An entry of `reward:`, settings as on the command line: {"regex", {"pattern=a", "as_number=true"}}. */
struct verifier_words {
    const char *type, *settings[SETTINGS_MAX];
    double weight;
    const char *name;
};

static inline opsm_status entry_read(struct config_reward *entry, const struct verifier_words *words, opsm_error *err) {
    entry->weight = words->weight;
    opsm_status status = config_replace_text(&entry->type, words->type, err);
    if (status == OPSM_OK) status = config_replace_text(&entry->name, words->name, err);
    for (int i = 0; status == OPSM_OK && i < SETTINGS_MAX && words->settings[i]; i++)
        status = config_reward_override(entry, words->settings[i], err);
    return status;
}

static inline opsm_status reward_of(struct reward **reward, const struct verifier_words *words, int n,
                                    opsm_error *err) {
    struct config_reward entries[VERIFIERS_MAX + 1] = {0};
    *reward = NULL;
    opsm_status status = OPSM_OK;
    for (int i = 0; status == OPSM_OK && words && i < n; i++) status = entry_read(&entries[i], &words[i], err);
    if (status == OPSM_OK) status = reward_create(reward, entries, n, err);
    for (int i = 0; i <= VERIFIERS_MAX; i++) config_reward_free(&entries[i]);
    return status;
}

/* The reward, 0 where there is no verdict; `scores`, unless NULL, receives those of the verifiers. */
static inline double reward_score(const struct reward *reward, const struct problem *problem, const char *text,
                                  size_t length, bool finished, double *scores) {
    struct reward_item item = {problem, text, length, finished};
    struct verdict verdict = {0};
    reward_judge(reward, &item, 1, &verdict);
    if (scores) memcpy(scores, verdict.scores, (size_t)reward_count(reward) * sizeof *scores);
    return verdict.unjudged.code == OPSM_OK ? verdict.reward : 0;
}

#endif
