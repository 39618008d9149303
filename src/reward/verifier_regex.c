/* SPDX-License-Identifier: Apache-2.0 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/mem.h"
#include "reward/number.h"
#include "reward/verifier_type.h"
#include <math.h>
#include <pcre2.h>

enum {
    PATTERN_MAX = 4096,
    SUBJECT_MAX = 64 * 1024, /* bounds the quadratic scans that the match limit does not count */
    MATCH_LIMIT = 200000,
    MATCHES_MAX = 1000, /* looked at for the last one */
    HEAP_LIMIT_KIB = 16 * 1024
};

struct regex {
    char *pattern;
    bool ignore_case, last_match, as_number;
    double tolerance; /* relative */
    pcre2_code *code;
    pcre2_match_context *limits; /* read-only once made, so that threads may share it */
    uint32_t answer;             /* number of the group named `answer`, 0: none */
};

static const struct config_key settings[] = {
    SETTING(regex, pattern, KEY_TEXT, 0, 0, "what to look for"),
    SETTING(regex, ignore_case, KEY_BOOL, 0, 0, "letters compare without case"),
    SETTING(regex, last_match, KEY_BOOL, 0, 0, "of several matches the last one counts"),
    SETTING(regex, as_number, KEY_BOOL, 0, 0, "the group `answer` is compared as a number, as in numeric"),
    SETTING(regex, tolerance, KEY_REAL, 0, 0.9999999, "relative tolerance, with as_number"),
};

static void destroy_regex(void *self) {
    struct regex *regex = self;
    pcre2_code_free(regex->code);
    pcre2_match_context_free(regex->limits);
}

static opsm_status create_regex(void *self, opsm_error *err) {
    struct regex *regex = self;
    if (!regex->pattern) return opsm_fail(err, OPSM_INVALID, "verifier 'regex' needs a pattern");
    if (strlen(regex->pattern) > PATTERN_MAX)
        return opsm_fail(err, OPSM_INVALID, "verifier 'regex': the pattern may have %d bytes, found %zu", PATTERN_MAX,
                         strlen(regex->pattern));
    uint32_t options = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | (regex->ignore_case ? PCRE2_CASELESS : 0);
    int code;
    PCRE2_SIZE offset;
    regex->code = pcre2_compile((PCRE2_SPTR)regex->pattern, strlen(regex->pattern), options, &code, &offset, NULL);
    if (!regex->code) {
        char why[120];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
        return opsm_fail(err, OPSM_INVALID, "verifier 'regex': pattern '%.120s' is wrong at character %zu: %s",
                         regex->pattern, (size_t)offset, why);
    }
    regex->limits = pcre2_match_context_create(NULL);
    if (!regex->limits) return mem_exhausted(err, "a regular expression", 1);
    pcre2_set_match_limit(regex->limits, MATCH_LIMIT);
    pcre2_set_heap_limit(regex->limits, HEAP_LIMIT_KIB);
    int group = pcre2_substring_number_from_name(regex->code, (PCRE2_SPTR) "answer");
    regex->answer = group > 0 ? (uint32_t)group : 0;
    if (regex->as_number && !regex->answer)
        return opsm_fail(err, OPSM_INVALID,
                         "verifier 'regex' with as_number needs a group named answer in its pattern: (?<answer>...)");
    if (regex->tolerance > 0 && !regex->as_number)
        return opsm_fail(err, OPSM_INVALID, "verifier 'regex': tolerance is for numbers, set as_number too");
    return OPSM_OK;
}

static opsm_status check_regex(const void *self, const struct problem *problem, const char *answer, opsm_error *err) {
    const struct regex *regex = self;
    if (!regex->answer) return OPSM_OK;
    opsm_status status = verifier_needs_answer(problem, answer, "regex", err);
    struct number number;
    if (status != OPSM_OK || !regex->as_number || number_of_reference(span_of(answer), &number)) return status;
    return number_refused("regex", answer, err);
}

/* The groups of the first match, or the last; as pcre2_match. More matches than MATCHES_MAX are none. */
static int find_match(const struct regex *regex, struct span text, pcre2_match_data *match, struct span *found) {
    int groups = 0;
    size_t from = 0;
    for (int n = 0; from <= text.length; n++) {
        if (n == MATCHES_MAX) return PCRE2_ERROR_MATCHLIMIT;
        int next = pcre2_match(regex->code, (PCRE2_SPTR)text.at, text.length, from, 0, match, regex->limits);
        if (next == PCRE2_ERROR_NOMATCH) break;
        if (next <= 0) return next;
        groups = next;
        const PCRE2_SIZE *all = pcre2_get_ovector_pointer(match), *ends = all + 2 * regex->answer;
        /* \K inside a lookahead can turn a group's ends around. */
        bool set = (int)regex->answer < groups && ends[0] != PCRE2_UNSET && ends[0] <= ends[1];
        *found = set ? (struct span){text.at + ends[0], ends[1] - ends[0]} : (struct span){NULL, 0};
        if (!regex->last_match) break;
        from = all[1] > from ? all[1] : from + 1;
    }
    return groups;
}

static double score_regex(const void *self, const struct problem *problem, const char *answer, struct response response,
                          struct span *found) {
    const struct regex *regex = self;
    (void)problem;
    if (response.length > SUBJECT_MAX) return 0;
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(regex->code, NULL);
    if (!match) return NAN;
    struct span text = {response.text, response.length}, group = {NULL, 0};
    bool matched = find_match(regex, text, match, &group) > 0; /* negative: a limit */
    pcre2_match_data_free(match);
    if (!matched) return 0;
    if (group.at) *found = group;
    if (!regex->answer) return 1;
    if (!group.at) return 0;
    if (!regex->as_number) return span_same(group, span_of(answer), regex->ignore_case);
    struct number expected, number;
    return number_of_reference(span_of(answer), &expected) && number_whole(group, &number, NULL) &&
           number_same(&number, &expected, regex->tolerance);
}

const struct verifier_type verifier_regex = {
    .help = "The pattern (PCRE2, UTF-8) is found anywhere in the response. With a group\n"
            "named `answer`, as in \"is (?<answer>[A-D])\", the group of the first match, or\n"
            "with last_match of the last, must equal the answer: as text, as in exact, or\n"
            "with as_number as a number, as in numeric. More than 64 KiB of response, a\n"
            "match that takes too long, or a last one of more than 1,000 scores 0.\n",
    .settings = settings,
    .n_settings = sizeof settings / sizeof *settings,
    .size = sizeof(struct regex),
    .create = create_regex,
    .destroy = destroy_regex,
    .check = check_regex,
    .score = score_regex,
};
