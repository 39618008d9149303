/* SPDX-License-Identifier: Apache-2.0
 *
 * Verifiers: a response goes in, a score from 0 to 1 comes out. A reward is their weighted sum.
 *
 * Responses are hostile: any bytes (NUL, invalid UTF-8), any length; no verifier recurses without a limit, and each
 * takes time linear in the response (regex: bounded by match limits). Scoring allocates nothing that outlives the call
 * and changes nothing: one reward may be used from many threads at once.
 *
 * "Unfinished" is a response that was cut off at max_tokens. A truncated number or expression is an accident, not an
 * answer, so most types score such a response 0 unless `unfinished_ok`.
 *
 * What each type accepts stands beside its code, in `help`; `opsm help verifiers` prints it.
 */
#ifndef OPSM_REWARD_VERIFIER_H
#define OPSM_REWARD_VERIFIER_H
#include "config/config.h"
#include "data/problem.h"
#include <opsm/status.h>
#include <stdbool.h>
#include <stddef.h>

/* X(name, doc): every verifier; the function tables are in verifier_<name>.c. */
#define VERIFIER_LIST(X)                                                                                               \
    X(exact, "the whole response equals the answer")                                                                   \
    X(numeric, "the number in \\boxed{}, behind a marker or at the end equals the answer")                             \
    X(choice, "the response chooses the letter of the answer")                                                         \
    X(regex, "the response matches a pattern")                                                                         \
    X(contains, "the response contains the answer, or a given text")                                                   \
    X(format, "the response is finished, clean and of the given shape")                                                \
    X(expression, "an arithmetic expression over the given numbers reaches the target")                                \
    X(subset, "running sums of some of the given digits reach the target")                                             \
    X(path, "a way of neighbouring lanes keeps clear of the walls and reaches the target")

enum { VERIFIERS_MAX = 16, VERIFIER_NAME_MAX = 64 };

struct config_key;
struct reward; /* opaque, immutable */

/* Builds the weighted sum of `n` verifiers (1 to VERIFIERS_MAX), and starts nothing: what is wrong with a setting is said
 * here, with the place where it was written. `entries` is borrowed for the duration of the call. */
opsm_status reward_create(struct reward **reward, const struct config_reward *entries, int n, opsm_error *err);

/* One verifier without settings. */
opsm_status reward_create_plain(struct reward **reward, const char *type, opsm_error *err);

/* Whether the entries can be used; none will do. */
opsm_status reward_try(const struct config_reward *entries, int n, opsm_error *err);
void reward_free(struct reward *reward); /* NULL is allowed */

/* From now on an unfinished response has the reward 0, whatever its verifiers say; their scores stay. Call it before the
 * reward is shared between threads. */
void reward_zero_unfinished(struct reward *reward);

int reward_count(const struct reward *reward);
const char *reward_name(const struct reward *reward, int index); /* "numeric", "numeric-2", or as configured */

/* Whether this problem can be judged at all: OPSM_MISSING where a verifier needs an answer (or numbers) and the problem
 * has none, OPSM_FORMAT where numeric cannot read one of the accepted answers. Call it on the problems of a dataset
 * before a run. */
opsm_status reward_check(const struct reward *reward, const struct problem *problem, opsm_error *err);

/* A stretch of text, not NUL-terminated. */
struct span {
    const char *at; /* NULL: none */
    size_t length;
};

struct reward_item {
    const struct problem *problem;
    const char *text; /* NULL is allowed where length is 0 */
    size_t length;
    bool finished;
};

struct verdict {
    double reward;                /* the weighted sum; NaN: unjudged */
    double scores[VERIFIERS_MAX]; /* of each verifier, without its weight; NaN: this one has no verdict */
    struct span found;            /* what the first verifier took as the answer, a part of the item's text */
    opsm_error unjudged;          /* code OPSM_OK: judged; else why not. Never taken for a score of 0 */
};

/* A verdict for each of `n` items. In parallel; the verdicts do not depend on it. */
void reward_judge(const struct reward *reward, const struct reward_item *items, int64_t n, struct verdict *verdicts);

/* For help texts: "exact", ..., its line, what it accepts, the settings that it has beside type, name and weight; NULL
 * past the end. */
const char *verifier_name(int index);
const char *verifier_doc(int index);
const char *verifier_help(int index);
const struct config_key *verifier_settings(int index, int *n);

#endif
