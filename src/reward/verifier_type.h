/* SPDX-License-Identifier: Apache-2.0
 *
 * What a verifier provides to verifier.c, and text helpers that several of them need.
 */
#ifndef OPSM_REWARD_VERIFIER_TYPE_H
#define OPSM_REWARD_VERIFIER_TYPE_H
#include "config/keys.h"
#include "reward/verifier.h"
#include <string.h>

struct response {
    const char *text; /* never NULL; not NUL-terminated */
    size_t length;
    bool finished;
};

/* A row of a type's table of settings: a field of its struct, by the same name. The range is for numbers. */
#define SETTING(type, name, kind, low, high, doc)                                                                      \
    { #name, kind, offsetof(struct type, name), low, high, NULL, doc }

/* The one that most types have. */
#define SETTING_UNFINISHED_OK(type)                                                                                    \
    SETTING(type, unfinished_ok, KEY_BOOL, 0, 0, "judge responses that were cut off, too")

struct verifier_type {
    const char *help;                  /* what it accepts, for `opsm help verifiers`: lines of at most 72 characters */
    const struct config_key *settings; /* of the type's own struct */
    int n_settings;
    size_t size; /* of that struct: settings, zeros where not given, and whatever `create` makes of them */

    /* Checks the settings and makes the rest; NULL: nothing to do. `destroy` releases what was made, also after a
     * failure; texts among the settings go by themselves. */
    opsm_status (*create)(void *self, opsm_error *err);
    void (*destroy)(void *self);

    /* Whether the problem can be judged with this accepted answer ("" where it has none); called for each of them, the
     * sentence names what is wrong. NULL: any problem will do. */
    opsm_status (*check)(const void *self, const struct problem *problem, const char *answer, opsm_error *err);

    /* The response against one accepted answer that passed the check; of several the best score counts. `found` comes
     * in as none, and receives the stretch of the response that was taken as its answer, right or wrong. NaN: no
     * verdict, for want of memory. */
    double (*score)(const void *self, const struct problem *problem, const char *answer, struct response response,
                    struct span *found);
};

#define VERIFIER_DECLARE(name, doc) extern const struct verifier_type verifier_##name;
VERIFIER_LIST(VERIFIER_DECLARE)
#undef VERIFIER_DECLARE

static inline struct span span_of(const char *text) {
    return (struct span){text, strlen(text)};
}

static inline bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static inline char lower_ascii(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static inline bool is_word(char c) {
    char l = lower_ascii(c);
    return is_digit(c) || (l >= 'a' && l <= 'z') || c == '_';
}

static inline bool is_letter(char c) {
    return is_word(c) && !is_digit(c) && c != '_';
}

/* NUL behind the end. */
static inline char span_byte(struct span text, size_t i) {
    return i < text.length ? text.at[i] : '\0';
}

/* Without white space at both ends. */
struct span span_trim(struct span span);

/* Equality with runs of white space taken as one blank; the ends are trimmed first. */
bool span_same(struct span a, struct span b, bool ignore_case);

/* The first or last place where `needle` (short and not empty) begins, NULL if nowhere. */
const char *span_find(struct span span, const char *needle);
const char *span_find_last(struct span span, const char *needle);

/* "verifier 'name' needs ..., but the problem '...' has none"; returns OPSM_MISSING. */
opsm_status verifier_misses(const struct problem *problem, const char *name, const char *what, opsm_error *err);

/* The UTF-8 character at `i`, or the one that ends before it; 0 where there is none or it is malformed. */
uint32_t span_code_at(struct span text, size_t i, size_t *length);
uint32_t span_code_before(struct span text, size_t i, size_t *start);

/* The check shared by all that walk over the problem's digits: at least `least` numbers, all from 0 to 9. */
opsm_status verifier_needs_digits(const struct problem *problem, int least, const char *name, opsm_error *err);

/* The check shared by all that compare with the answer. */
opsm_status verifier_needs_answer(const struct problem *problem, const char *answer, const char *name, opsm_error *err);

#endif
