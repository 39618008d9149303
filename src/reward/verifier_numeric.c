/* SPDX-License-Identifier: Apache-2.0 */
#include "reward/answer.h"
#include "reward/number.h"

struct settings {
    double tolerance; /* relative */
    bool unfinished_ok;
};

static const struct config_key settings[] = {
    SETTING(settings, tolerance, KEY_REAL, 0, 0.9999999, "relative tolerance"),
    SETTING_UNFINISHED_OK(settings),
};

/* What a response, or a part of it, says. */
enum said {
    UNSAID,      /* nothing: look elsewhere */
    SAID_NONE,   /* something that is not one number */
    SAID_NUMBER, /* a number, unless the response was cut off within it */
    SAID_FIRMLY  /* a number that more text could not have changed */
};

static bool has_digit(struct span text) {
    for (size_t i = 0; i < text.length; i++)
        if (is_digit(text.at[i])) return true;
    return false;
}

/* The number with which `part` of the text begins, filler aside; neighbours in the whole text are looked at. */
static bool direct_number(struct span text, struct span part, struct number *number, struct span *found) {
    const char *end = part.at + part.length;
    struct span first;
    answer_skip_filler(&part);
    struct span formula = part;
    if (span_eat(&formula, "$")) part = formula;
    number_eat_name(&part);
    if (!number_alone(text, (size_t)(part.at - text.at), (size_t)(end - text.at), true, number, &first)) return false;
    for (const char *c = part.at; c < first.at; c++)
        if (!strchr("$*`\\([ ", *c)) return false;
    *found = first;
    return true;
}

/* "#### 1. Compute" is a heading; "#### 72" is an answer, whatever runs on behind it. */
static bool is_heading(struct span line) {
    answer_skip_filler(&line);
    size_t n = 0;
    while (n < line.length && is_digit(line.at[n])) n++;
    if (n == 0 || n > 2 || line.length <= n + 2) return false;
    return (line.at[n] == '.' || line.at[n] == ')' || line.at[n] == ':') && line.at[n + 1] == ' ';
}

/* Enough behind a number to tell that it has ended. */
static bool is_over(struct span text, struct span found) {
    enum { LONGEST_CONTINUATION = 16 };
    const char *behind = found.at + found.length;
    size_t rest = (size_t)(text.at + text.length - behind);
    return rest > LONGEST_CONTINUATION || (rest > 0 && memchr(behind, '\n', rest));
}

/* The last #### with a number behind it; those with words are headings. */
static enum said said_hashed(struct span text, struct number *number, struct span *found) {
    struct span line, at;
    for (size_t end = answer_length(text); answer_hashed(text, &end, &line);) {
        if (is_heading(line)) continue;
        struct span rest = line;
        answer_skip_filler(&rest);
        bool words = rest.at >= line.at + line.length || (is_word(rest.at[0]) && !is_digit(rest.at[0]));
        bool whole = number_whole(line, number, &at);
        if (words && !whole) continue;
        if (!whole && !direct_number(text, line, number, &at)) {
            if (!has_digit(line)) return UNSAID;
            *found = span_trim(line);
            return SAID_NONE;
        }
        *found = at;
        return is_over(text, at) ? SAID_FIRMLY : SAID_NUMBER;
    }
    return UNSAID;
}

/* What the last "answer is" or "answer:" with digits behind it says: the number it begins with, else the last one that
 * stands alone. What is denied is no answer. */
static enum said said_after_marker(struct span text, struct number *number, struct span *found) {
    struct span statement;
    bool denied = false;
    for (size_t end = text.length; answer_stated(text, &end, &statement);) {
        if (!has_digit(statement)) continue;
        if (direct_number(text, statement, number, found)) return SAID_NUMBER;
        if (answer_denied(statement)) {
            denied = true;
            continue;
        }
        size_t from = (size_t)(statement.at - text.at);
        return number_alone(text, from, from + statement.length, false, number, found) ? SAID_NUMBER : SAID_NONE;
    }
    return denied ? SAID_NONE : UNSAID;
}

/* The number that the last line prints bold, when there is one only. */
static enum said said_in_bold(struct span text, struct number *number, struct span *found) {
    struct span line = answer_last_line(text), inside, only;
    size_t before = (size_t)(line.at - text.at); /* where the neighbours to the left may begin */
    int n = 0;
    for (const char *open; (open = span_find(line, "**"));) {
        inside = (struct span){open + 2, (size_t)(line.at + line.length - open - 2)};
        const char *close = span_find(inside, "**");
        if (!close) break;
        line = (struct span){close + 2, (size_t)(inside.at + inside.length - close - 2)};
        inside.length = (size_t)(close - inside.at);
        struct number bold;
        struct span core;
        size_t from = before, start = (size_t)(inside.at - text.at);
        before = start;
        if (!number_whole(inside, &bold, &core)) continue;
        if (!number_alone(text, from, start + inside.length, false, &bold, &core)) continue;
        if (core.at < inside.at || n++ > 0) continue;
        *number = bold;
        only = core;
    }
    if (n == 1) *found = only;
    return n == 0 ? UNSAID : n == 1 ? SAID_NUMBER : SAID_NONE;
}

/* Whether a minus or a dash is glued to the command whose braces hold `content`: -\boxed{5} does not say 5. */
static bool is_negated_box(struct span text, struct span content) {
    const char *c = content.at;
    while (c > text.at && (c[-1] == '{' || is_space(c[-1]) || is_word(c[-1]))) c--;
    if (c == text.at || c[-1] != '\\') return false;
    c--;
    if (c > text.at && c[-1] == '-') return true;
    /* The minus sign and the en dash have three bytes. */
    return c - text.at >= 3 && (memcmp(c - 3, "\xe2\x88\x92", 3) == 0 || memcmp(c - 3, "\xe2\x80\x93", 3) == 0);
}

/* A box, ####, the whole response, a marker, bold, the last number that stands alone: docs/verifiers.md. `found` is the
 * number, or the content of a box or a #### line that is none; it stays as it is where nothing was taken. */
static enum said read_response(struct span text, struct number *number, struct span *found) {
    switch (answer_boxed(text, found)) {
    case ANSWER_BOX:
        return number_whole(*found, number, NULL) && !is_negated_box(text, *found) ? SAID_FIRMLY : SAID_NONE;
    case ANSWER_OPEN_BOX:
        return SAID_NONE;
    default:
        break;
    }
    enum said said = said_hashed(text, number, found);
    if (said == UNSAID && number_whole(text, number, found)) said = SAID_NUMBER;
    if (said == UNSAID) said = said_after_marker(text, number, found);
    if (said == UNSAID) said = said_in_bold(text, number, found);
    if (said == UNSAID && number_alone(text, 0, text.length, false, number, found)) said = SAID_NUMBER;
    return said;
}

static opsm_status check_numeric(const void *self, const struct problem *problem, const char *answer, opsm_error *err) {
    (void)self;
    opsm_status status = verifier_needs_answer(problem, answer, "numeric", err);
    if (status != OPSM_OK) return status;
    struct number number;
    if (number_of_reference(span_of(answer), &number)) return OPSM_OK;
    return number_refused("numeric", answer, err);
}

static double score_numeric(const void *self, const struct problem *problem, const char *answer,
                            struct response response, struct span *found) {
    (void)problem;
    const struct settings *set = self;
    struct number expected, number;
    struct span said_at = {NULL, 0};
    enum said said = read_response((struct span){response.text, response.length}, &number, &said_at);
    bool counts = said == SAID_FIRMLY || (said == SAID_NUMBER && (response.finished || set->unfinished_ok));
    if (said_at.at) *found = said_at;
    if (!counts || !number_of_reference(span_of(answer), &expected)) return 0;
    return number_same(&number, &expected, set->tolerance);
}

const struct verifier_type verifier_numeric = {
    .help = "The number that the response gives equals the answer. Both are numbers as\n"
            "people write them: 18, $1,234.50, -3/4, \\frac{3}{4}, 3 1/2, 1.5 \\times 10^3,\n"
            "50% (which is 50), 12 cm^2, x = 5; half of anything is never read: 10:30,\n"
            "2\\sqrt{3} or 3 to 5 are no numbers. The answer must be one number, alone, in\n"
            "\\boxed{} or behind #### (as in GSM8K). In the response, the first of these\n"
            "decides: the last \\boxed{}, \\fbox{} or <answer>; the last ####; the whole\n"
            "response; what the last `answer is` or `answer:` says; the bold number of the\n"
            "last line; the last number that stands alone. Whole numbers are compared\n"
            "exactly, others to a millionth; a tolerance above 0 holds for both. In a\n"
            "response that was cut off, only a closed box and a finished #### line count,\n"
            "unless unfinished_ok.\n",
    .settings = settings,
    .n_settings = sizeof settings / sizeof *settings,
    .size = sizeof(struct settings),
    .check = check_numeric,
    .score = score_numeric,
};
