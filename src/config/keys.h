/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of configuration keys, internal to config_*.c. Keys under `objective.` live in libopsm's own table
 * (opsm_objective_set); `reward` is a list of maps with a table of its own.
 */
#ifndef OPSM_CONFIG_KEYS_H
#define OPSM_CONFIG_KEYS_H
#include "config/config.h"
#include <stddef.h>

enum key_kind {
    KEY_INT,    /* int32_t in [low, high] */
    KEY_SEED,   /* uint64_t */
    KEY_REAL,   /* double in [low, high] */
    KEY_PAIR,   /* two doubles in [low, high], one after the other in the struct */
    KEY_BOOL,   /* bool */
    KEY_CHOICE, /* an enum whose values number the words of `choices` */
    KEY_SET,    /* uint32_t, a bit for each word of `choices` but the first, which means all of them */
    KEY_TEXT,   /* char *, owned; null allowed */
    KEY_TEXTS,  /* struct config_strings */
    KEY_VALUE   /* char *, owned; JSON text of a map or a list, as `choices` says; null allowed */
};

struct config_key {
    const char *path;
    enum key_kind kind;
    size_t offset;
    double low, high;
    const char *choices; /* words parted by '|' */
    const char *doc;
};

extern const struct config_key config_keys[]; /* offsets into struct run_config */
extern const int config_n_keys;
extern const struct config_key config_reward_keys[]; /* what every entry of `reward:` has; paths without "reward." */
extern const int config_n_reward_keys;

/* NULL: unknown. */
const struct config_key *config_key_find(const struct config_key *keys, int n_keys, const char *path);

/* What a KEY_SET may be, for a person: "all, or a list of one, two". */
enum { CONFIG_WORDS_ROOM = 256 };
const char *config_key_words(char out[CONFIG_WORDS_ROOM], const struct config_key *key);

/* The value of a key of the struct at `base` as YAML text. */
void config_key_print(const void *base, const struct config_key *key, FILE *out);

/* One scalar's text (NULL: YAML's null) into the key's field. Sentences start with the key's name; the caller adds the
 * place. */
opsm_status config_key_set(void *base, const struct config_key *key, const char *text, opsm_error *err);

/* The same for a list: the first texts, up to CONFIG_LIST_MAX, of the `n` that were written (NULL: something else). */
opsm_status config_key_set_list(void *base, const struct config_key *key, const char *const *items, int n,
                                opsm_error *err);

/* The key's field becomes that of the struct at `defaults`. */
opsm_status config_key_reset(void *base, const void *defaults, const struct config_key *key, opsm_error *err);

/* Releases what the keys of the struct at `base` own, and forgets it. */
void config_keys_release(void *base, const struct config_key *keys, int n_keys);

/* Text as a YAML double-quoted scalar, or null. */
void config_print_text(const char *text, FILE *out);

/* The list under `reward:` as YAML. */
void config_print_rewards(const struct run_config *config, FILE *out);

/* Replaces an owned string by a copy of `text` (NULL: nothing). */
opsm_status config_replace_text(char **slot, const char *text, opsm_error *err);

#endif
