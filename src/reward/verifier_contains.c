/* SPDX-License-Identifier: Apache-2.0 */
#include "reward/answer.h"
#include "reward/number.h"
#include "text/unicode.h"

struct settings {
    char *pattern; /* NULL: the answer */
    bool ignore_case;
};

static const struct config_key settings[] = {
    SETTING(settings, pattern, KEY_TEXT, 0, 0, "what to look for, instead of the answer"),
    SETTING(settings, ignore_case, KEY_BOOL, 0, 0, "letters A to Z compare without case"),
};

enum { NEEDLE_MAX = 4096 };

static const char *needle_of(const struct settings *set, const char *answer) {
    return set->pattern ? set->pattern : answer;
}

static opsm_status create_contains(void *self, opsm_error *err) {
    const struct settings *set = self;
    if (set->pattern && span_trim(span_of(set->pattern)).length == 0)
        return opsm_fail(err, OPSM_INVALID,
                         "verifier 'contains': the pattern is blank; leave it out to look for the answer");
    return OPSM_OK;
}

static opsm_status check_contains(const void *self, const struct problem *problem, const char *answer,
                                  opsm_error *err) {
    const struct settings *set = self;
    size_t length = span_trim(span_of(needle_of(set, answer))).length;
    if (length > NEEDLE_MAX)
        return opsm_fail(err, OPSM_INVALID, "verifier 'contains' looks for at most %d bytes, found %zu", NEEDLE_MAX,
                         length);
    return set->pattern ? OPSM_OK : verifier_needs_answer(problem, answer, "contains", err);
}

static bool is_mark(uint32_t code) {
    return code >= 0x300 && code <= 0x36f; /* an accent on the letter before it */
}

static bool in_word(uint32_t code) {
    enum char_class class = unicode_class(code);
    return class == CHAR_LETTER || class == CHAR_NUMBER || code == '_' || is_mark(code);
}

static bool is_apostrophe(uint32_t code) {
    return code == '\'' || code == 0x2019;
}

static bool is_dash(uint32_t code) {
    return code == '-' || code == 0x2212 || (code >= 0x2010 && code <= 0x2015);
}

/* What may stand between the digits of one number. */
static bool ends_with_separator(struct span text, size_t i, size_t *start) {
    static const char *const separators[] = {",\\!", "{,}",          "\\,",          ",",       ".", "/", ":",
                                             "'",    "\xe2\x80\x89", "\xe2\x80\xaf", "\xc2\xa0"};
    for (size_t k = 0; k < sizeof separators / sizeof *separators; k++) {
        size_t length = strlen(separators[k]);
        if (length > i || memcmp(text.at + i - length, separators[k], length) != 0) continue;
        *start = i - length;
        return true;
    }
    return false;
}

/* Whether a fraction begins at `i` behind a whole number: 3/4 in 1 3/4. */
static bool mixed_goes_on(struct span text, size_t i) {
    size_t slash = i;
    if (i < 2 || text.at[i - 1] != ' ' || !is_digit(text.at[i - 2])) return false;
    while (slash < text.length && is_digit(text.at[slash])) slash++;
    return slash + 1 < text.length && text.at[slash] == '/' && is_digit(text.at[slash + 1]);
}

/* Whether the digit at `i` goes on with a number that began before it: 234 in 1,234, 4 in 3 / 4, 4 in -4, x^4. */
static bool number_goes_on(struct span text, size_t i) {
    size_t start = i, place;
    uint32_t before = span_code_before(text, i, &place);
    if (before == '^' || before == '_' || before == '}' || before == '.' || is_dash(before) || before == 0x221a ||
        before == 0xb1)
        return true;
    if (before == '{') {
        struct span opening = {text.at, i};
        static const char *const plain[] = {"\\boxed{", "\\fbox{", "\\text{", "\\mathrm{", "\\mathbf{", "\\textbf{"};
        for (size_t k = 0; k < sizeof plain / sizeof *plain; k++)
            if (span_ends_with(opening, plain[k])) return false;
        return true;
    }
    size_t slash = i;
    while (slash > 0 && i - slash < 8 && text.at[slash - 1] == ' ') slash--;
    if (slash > 0 && text.at[slash - 1] == '/') {
        for (slash--; slash > 0 && text.at[slash - 1] == ' ' && i - slash < 16;) slash--;
        return slash > 0 && is_digit(text.at[slash - 1]);
    }
    return ends_with_separator(text, i, &start) && start > 0 && is_digit(text.at[start - 1]);
}

static bool continues_left(struct span text, size_t start) {
    size_t place, length;
    if (start == 0) return false;
    uint32_t first = span_code_at(text, start, &length), before = span_code_before(text, start, &place);
    if (is_mark(first)) return in_word(before);
    if (is_dash(first) || first == '.') /* a sign or a point: 5-3, 1.5 */
        return in_word(before) && is_digit(start + length < text.length ? text.at[start + length] : '\0');
    if (!in_word(first)) return false;
    if (in_word(before)) return true;
    if (is_digit(text.at[start])) return number_goes_on(text, start) || mixed_goes_on(text, start);
    return is_apostrophe(before) && place > 0 && in_word(span_code_before(text, place, &place));
}

/* Whether a number that ends the needle reads on behind it: 1 of 1.5, 3 of 3/4, 1 of 1,234 and 1 1/2. */
static bool number_reads_on(struct span text, size_t start, size_t end) {
    size_t from = end;
    while (from > start && (is_digit(text.at[from - 1]) || strchr(".,/", text.at[from - 1]))) from--;
    while (from < end && !is_digit(text.at[from])) from++;
    struct span rest = {text.at + from, text.length - from};
    struct number number;
    bool valued;
    if (number_eat(&rest, &number, &valued) && rest.at > text.at + end) return true;
    rest = (struct span){text.at + end, text.length - end};
    char next = rest.length > 1 ? rest.at[1] : '\0';
    static const char *const ties[] = {"_", "\\frac", "\\dfrac", "\\tfrac", "\\sqrt", "\\pi", "{,}", "\\,"};
    for (size_t k = 0; k < sizeof ties / sizeof *ties; k++) {
        struct span behind = rest;
        if (span_eat(&behind, ties[k]) && (k < 6 || (behind.length && is_digit(behind.at[0])))) return true;
    }
    if (span_eat(&rest, "^")) return !span_eat(&rest, "\\circ") && !span_eat(&rest, "{\\circ}");
    size_t length;
    uint32_t code = span_code_at(text, end, &length);
    if (is_dash(code) && end + length < text.length) next = text.at[end + length];
    return (is_dash(code) || (code && code < 0x80 && strchr(".,/:'", (char)code))) && is_digit(next);
}

static bool continues_right(struct span text, size_t start, size_t end) {
    size_t place, length, after;
    if (end == text.length) return false;
    uint32_t last = span_code_before(text, end, &place), next = span_code_at(text, end, &length);
    if (is_mark(next)) return true;
    if (!in_word(last)) return false;
    if (in_word(next)) return true;
    if (is_digit(text.at[end - 1])) return number_reads_on(text, start, end);
    if (!is_apostrophe(next) || !in_word(span_code_at(text, end + length, &after))) return false;
    /* The genitive is still the word; can't is not can. */
    size_t s = end + length;
    bool genitive = text.at[s] == 's' && (s + 1 == text.length || !in_word(span_code_at(text, s + 1, &after)));
    return !genitive;
}

/* Whether text[start, end) is not part of a longer word or number. */
static bool stands_alone(struct span text, size_t start, size_t end) {
    return !continues_left(text, start) && !continues_right(text, start, end);
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

static double score_contains(const void *self, const struct problem *problem, const char *answer,
                             struct response response, struct span *found) {
    (void)problem;
    const struct settings *set = self;
    struct span needle = span_trim(span_of(needle_of(set, answer)));
    return contains_word((struct span){response.text, response.length}, needle, set->ignore_case, found);
}

const struct verifier_type verifier_contains = {
    .help = "The response contains the answer, or the pattern where there is one, as a\n"
            "word or number of its own: no neighbour continues it. 4 is not found in 14,\n"
            "3/4, 4.5, 1,234 or -4, nor caf in caf\xc3\xa9, nor can in can't.\n",
    .settings = settings,
    .n_settings = sizeof settings / sizeof *settings,
    .size = sizeof(struct settings),
    .create = create_contains,
    .check = check_contains,
    .score = score_contains,
};
