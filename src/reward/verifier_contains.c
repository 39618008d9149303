/* SPDX-License-Identifier: Apache-2.0 */
#include "reward/verifier_type.h"

enum { NEEDLE_MAX = 4096 };

static const char *needle_of(const struct verifier_spec *spec, const char *answer) {
    return spec->pattern ? spec->pattern : answer;
}

static opsm_status create_contains(void **state, const struct verifier_spec *spec, opsm_error *err) {
    (void)state;
    if (spec->pattern && span_trim(span_of(spec->pattern)).length == 0)
        return opsm_fail(err, OPSM_INVALID,
                         "verifier 'contains': the pattern is blank; leave it out to look for the answer");
    return OPSM_OK;
}

static opsm_status check_contains(const void *state, const struct verifier_spec *spec, const struct problem *problem,
                                  const char *answer, opsm_error *err) {
    (void)state;
    size_t length = span_trim(span_of(needle_of(spec, answer))).length;
    if (length > NEEDLE_MAX)
        return opsm_fail(err, OPSM_INVALID, "verifier 'contains' looks for at most %d bytes, found %zu", NEEDLE_MAX,
                         length);
    return spec->pattern ? OPSM_OK : verifier_needs_answer(problem, answer, spec->type, err);
}

/* Whether text[start, end) is not part of a longer word: only an end that is itself a letter or digit can be. */
static bool stands_alone(struct span text, size_t start, size_t end) {
    bool left = start == 0 || !is_word(text.at[start - 1]) || !is_word(text.at[start]);
    bool right = end == text.length || !is_word(text.at[end]) || !is_word(text.at[end - 1]);
    return left && right;
}

static char folded(char c, bool ignore_case) {
    return ignore_case ? lower_ascii(c) : c;
}

/* Knuth-Morris-Pratt: looks at every occurrence, overlapping ones too, in linear time. border[i] is the length of the
 * longest proper prefix of the needle that also ends its first i + 1 characters. */
static bool contains_word(struct span text, struct span needle, bool ignore_case, struct span *found) {
    uint16_t border[NEEDLE_MAX] = {0};
    size_t k = 0;
    for (size_t i = 1; i < needle.length; i++) {
        char c = folded(needle.at[i], ignore_case);
        while (k && folded(needle.at[k], ignore_case) != c) k = border[k - 1];
        k += folded(needle.at[k], ignore_case) == c;
        border[i] = (uint16_t)k;
    }
    k = 0;
    for (size_t i = 0; i < text.length; i++) {
        char c = folded(text.at[i], ignore_case);
        while (k && folded(needle.at[k], ignore_case) != c) k = border[k - 1];
        k += folded(needle.at[k], ignore_case) == c;
        if (k < needle.length) continue;
        if (stands_alone(text, i + 1 - k, i + 1)) {
            *found = (struct span){text.at + i + 1 - k, k};
            return true;
        }
        k = border[k - 1];
    }
    return false;
}

static double score_contains(const void *state, const struct verifier_spec *spec, const struct problem *problem,
                             const char *answer, struct response response, struct span *found) {
    (void)state;
    (void)problem;
    struct span needle = span_trim(span_of(needle_of(spec, answer)));
    return contains_word((struct span){response.text, response.length}, needle, spec->ignore_case, found);
}

const struct verifier_type verifier_contains = {
    .name = "contains",
    .help = "The response contains the answer, or the pattern where there is one, as a\n"
            "word of its own: no letter or digit touches it, so 4 is not found in 14.\n",
    .settings = SETTING_PATTERN | SETTING_IGNORE_CASE,
    .create = create_contains,
    .check = check_contains,
    .score = score_contains,
};
