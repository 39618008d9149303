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
    pcre2_code *code;
    pcre2_match_context *limits; /* read-only once made, so that threads may share it */
    uint32_t answer;             /* number of the group named `answer`, 0: none */
};

static void destroy_regex(void *state) {
    struct regex *regex = state;
    pcre2_code_free(regex->code);
    pcre2_match_context_free(regex->limits);
    mem_free(regex);
}

static opsm_status compile(struct regex *regex, const struct verifier_spec *spec, opsm_error *err) {
    uint32_t options = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | (spec->ignore_case ? PCRE2_CASELESS : 0);
    int code;
    PCRE2_SIZE offset;
    regex->code = pcre2_compile((PCRE2_SPTR)spec->pattern, strlen(spec->pattern), options, &code, &offset, NULL);
    if (!regex->code) {
        char why[120];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
        return opsm_fail(err, OPSM_INVALID, "verifier 'regex': pattern '%.120s' is wrong at character %zu: %s",
                         spec->pattern, (size_t)offset, why);
    }
    regex->limits = pcre2_match_context_create(NULL);
    if (!regex->limits) return mem_exhausted(err, "a regular expression", 1);
    pcre2_set_match_limit(regex->limits, MATCH_LIMIT);
    pcre2_set_heap_limit(regex->limits, HEAP_LIMIT_KIB);
    int group = pcre2_substring_number_from_name(regex->code, (PCRE2_SPTR) "answer");
    regex->answer = group > 0 ? (uint32_t)group : 0;
    if (spec->as_number && !regex->answer)
        return opsm_fail(err, OPSM_INVALID,
                         "verifier 'regex' with as_number needs a group named answer in its pattern: (?<answer>...)");
    if (spec->tolerance > 0 && !spec->as_number)
        return opsm_fail(err, OPSM_INVALID, "verifier 'regex': tolerance is for numbers, set as_number too");
    return OPSM_OK;
}

static opsm_status create_regex(void **state, const struct verifier_spec *spec, opsm_error *err) {
    if (!spec->pattern) return opsm_fail(err, OPSM_INVALID, "verifier 'regex' needs a pattern");
    if (strlen(spec->pattern) > PATTERN_MAX)
        return opsm_fail(err, OPSM_INVALID, "verifier 'regex': the pattern may have %d bytes, found %zu", PATTERN_MAX,
                         strlen(spec->pattern));
    struct regex *regex = mem_zalloc(1, sizeof *regex);
    if (!regex) return mem_exhausted(err, "a regular expression", sizeof *regex);
    opsm_status status = compile(regex, spec, err);
    if (status != OPSM_OK)
        destroy_regex(regex);
    else
        *state = regex;
    return status;
}

static opsm_status check_regex(const void *state, const struct verifier_spec *spec, const struct problem *problem,
                               const char *answer, opsm_error *err) {
    const struct regex *regex = state;
    if (!regex->answer) return OPSM_OK;
    opsm_status status = verifier_needs_answer(problem, answer, spec->type, err);
    struct number number;
    if (status != OPSM_OK || !spec->as_number || number_of_reference(span_of(answer), &number)) return status;
    return number_refused(spec->type, answer, err);
}

/* The groups of the first match, or the last; as pcre2_match. More matches than MATCHES_MAX are none. */
static int find_match(const struct regex *regex, struct span text, bool last, pcre2_match_data *match,
                      struct span *found) {
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
        if (!last) break;
        from = all[1] > from ? all[1] : from + 1;
    }
    return groups;
}

static double score_regex(const void *state, const struct verifier_spec *spec, const struct problem *problem,
                          const char *answer, struct response response, struct span *found) {
    const struct regex *regex = state;
    (void)problem;
    if (response.length > SUBJECT_MAX) return 0;
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(regex->code, NULL);
    if (!match) return NAN;
    struct span text = {response.text, response.length}, group = {NULL, 0};
    bool matched = find_match(regex, text, spec->last_match, match, &group) > 0; /* negative: a limit */
    pcre2_match_data_free(match);
    if (!matched) return 0;
    if (group.at) *found = group;
    if (!regex->answer) return 1;
    if (!group.at) return 0;
    if (!spec->as_number) return span_same(group, span_of(answer), spec->ignore_case);
    struct number expected, number;
    return number_of_reference(span_of(answer), &expected) && number_whole(group, &number, NULL) &&
           number_same(&number, &expected, spec->tolerance);
}

const struct verifier_type verifier_regex = {
    .name = "regex",
    .help = "The pattern (PCRE2, UTF-8) is found anywhere in the response. With a group\n"
            "named `answer`, as in \"is (?<answer>[A-D])\", the group of the first match, or\n"
            "with last_match of the last, must equal the answer: as text, as in exact, or\n"
            "with as_number as a number, as in numeric. More than 64 KiB of response, a\n"
            "match that takes too long, or a last one of more than 1,000 scores 0.\n",
    .settings = SETTING_PATTERN | SETTING_IGNORE_CASE | SETTING_GROUP | SETTING_TOLERANCE,
    .create = create_regex,
    .destroy = destroy_regex,
    .check = check_regex,
    .score = score_regex,
};
