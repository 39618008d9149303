/* SPDX-License-Identifier: Apache-2.0
 *
 * Verifiers: a response goes in, a score from 0 to 1 comes out. A reward is their weighted sum.
 *
 * Responses are hostile: any bytes (NUL, invalid UTF-8), any length; no verifier recurses without a limit, and each
 * takes time linear in the response (regex: bounded by match limits). Scoring allocates nothing that outlives the call
 * and changes nothing: one reward may be used from many threads at once.
 *
 * "Unfinished" is a response that was cut off at max_tokens. A truncated number or expression is an accident, not an
 * answer, so exact, numeric, expression and format score such a response 0 unless `unfinished_ok`.
 *
 *   exact       the whole response equals the answer. White space at both ends is ignored and a run of it inside counts
 *               as one blank. [ignore_case, unfinished_ok]
 *   numeric     the last number of the response (or of its last \boxed{}) equals the last number of the answer. See
 *               number.h for what a number is. Two whole numbers are compared digit by digit, others to a relative
 *               tolerance of 1e-6; `tolerance` > 0 holds for both. A \boxed{} also counts in an unfinished response.
 *               [tolerance, unfinished_ok]
 *   regex       `pattern` (PCRE2, UTF-8, searched anywhere). With a group named `answer`, the group of the first match
 *               must equal the answer, as in `exact`. More than 64 KiB of response, or a match that exceeds the limits,
 *               scores 0. [pattern, ignore_case]
 *   contains    the response contains `pattern`, or the answer without one, as a word of its own: no letter or digit
 *               touches it, so 4 is not found in 14. An empty answer is never contained. [pattern, ignore_case]
 *   format      all of: finished; not blank; valid UTF-8 without control characters other than tab and newline; at most
 *               `max_length` bytes; begins with `prefix` and ends with `suffix` (white space around the response
 *               ignored); each of `tags` occurs exactly once, in this order. [max_length, prefix, suffix, tags,
 *               unfinished_ok]
 *   expression  arithmetic that uses the problem's numbers, each at most once, and equals its target; see expression.h.
 *               [unfinished_ok]
 *   subset      one digit per number of the problem: a value that starts at 0 and at each number stays or grows by it,
 *               modulo 10, and ends at the target. [unfinished_ok]
 *   path        one digit per row: a lane of a ring of ten, beside or equal to the one before (the first number is the
 *               start), at least two lanes away from the row's number, and at last the target. [unfinished_ok]
 */
#ifndef OPSM_REWARD_VERIFIER_H
#define OPSM_REWARD_VERIFIER_H
#include "data/problem.h"
#include <opsm/status.h>
#include <stdbool.h>
#include <stddef.h>

/* X(name, doc): every verifier; the function tables are in verifier_<name>.c. */
#define VERIFIER_LIST(X)                                                                                               \
    X(exact, "the whole response equals the answer")                                                                   \
    X(numeric, "the last number, or the one in \\boxed{}, equals the answer's")                                        \
    X(regex, "the response matches a pattern")                                                                         \
    X(contains, "the response contains the answer, or a given text")                                                   \
    X(format, "the response is finished, clean and of the given shape")                                                \
    X(expression, "an arithmetic expression over the given numbers reaches the target")                                \
    X(subset, "running sums of some of the given digits reach the target")                                             \
    X(path, "a way of neighbouring lanes keeps clear of the walls and reaches the target")

/* What a person configures. Zero or NULL is "not set"; a setting that the type does not know is an error. Borrowed for
 * the duration of reward_create. */
struct verifier_spec {
    const char *type; /* a name from VERIFIER_LIST */
    double weight;    /* any finite number; negative ones punish */
    const char *pattern;
    double tolerance; /* relative, [0, 1) */
    bool ignore_case; /* ASCII letters; regex: Unicode */
    bool unfinished_ok;
    int64_t max_length; /* bytes */
    const char *prefix, *suffix;
    const char *const *tags;
    int n_tags;
};

struct reward; /* opaque, immutable */

/* Builds the weighted sum of `n` verifiers (1..16). */
opsm_status reward_create(struct reward **reward, const struct verifier_spec *specs, int n, opsm_error *err);
void reward_free(struct reward *reward); /* NULL is allowed */

int reward_count(const struct reward *reward);
const char *reward_name(const struct reward *reward, int index);

/* The largest and smallest possible sum: what a perfect response gets, and the worst. */
double reward_highest(const struct reward *reward);
double reward_lowest(const struct reward *reward);

/* Whether this problem can be judged at all: OPSM_MISSING where a verifier needs an answer (or numbers) and the problem
 * has none, OPSM_FORMAT where numeric finds no number in the answer. Call it on the problems of a dataset before a run;
 * reward_score gives 0 for such a problem. */
opsm_status reward_check(const struct reward *reward, const struct problem *problem, opsm_error *err);

/* The weighted sum for a response of `length` bytes (text may be NULL when it is 0). `scores`, unless NULL, receives
 * the reward_count() unweighted scores. Never fails and never returns a NaN. */
double reward_score(const struct reward *reward, const struct problem *problem, const char *text, size_t length,
                    bool finished, double *scores);

/* For help texts: "exact", ... and its line; NULL past the end. */
const char *verifier_name(int index);
const char *verifier_doc(int index);

#endif
