/* SPDX-License-Identifier: Apache-2.0 */
#include "reward/answer.h"
#include "reward/verifier_type.h"
#include "text/unicode.h"

struct settings {
    bool unfinished_ok;
};

static const struct config_key settings[] = {
    SETTING_UNFINISHED_OK(settings),
};

/* A letter that a text names as its choice. */
struct choice {
    char letter;       /* 'A' to 'J' */
    bool marked;       /* in brackets, bold, ... or with a point: not an ordinary word */
    bool capital;      /* as written */
    struct span found; /* the letter alone */
};

static char letter_at(struct span text) {
    char c = text.length ? lower_ascii(text.at[0]) : '\0';
    return c >= 'a' && c <= 'j' ? (char)(c - 'a' + 'A') : '\0';
}

static bool word_goes_on(struct span text) {
    if (text.length == 0) return false;
    if (is_word(text.at[0]) || text.at[0] == '\'' || text.at[0] == '-') return true;
    size_t length;
    return (text.at[0] & 0x80) && unicode_class(span_code_at(text, 0, &length)) != CHAR_OTHER;
}

static bool eat_any(struct span *text, const char *const *marks, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (span_eat(text, marks[i])) return true;
    return false;
}
#define EAT_ANY(text, marks) eat_any(text, marks, sizeof(marks) / sizeof *(marks))

/* One letter with its marks at the beginning of the text, which moves behind it. */
static bool eat_choice(struct span *text, struct choice *choice) {
    static const char *const openings[] = {"**",  "*",       "$",         "(",         "[",         "`",
                                           "\\(", "\\text{", "\\textbf{", "\\mathrm{", "\\mathbf{", "{"};
    static const char *const closings[] = {"**", "*", "$", ")", "]", "`", "\\)", "}"};
    struct span rest = *text;
    bool opened = false, closed = false;
    for (int i = 0; i < 4 && EAT_ANY(&rest, openings); i++) opened = true; /* more are nobody's */
    while (rest.length && rest.at[0] == ' ') span_eat(&rest, " ");
    char letter = letter_at(rest);
    if (!letter) return false;
    choice->letter = letter;
    choice->capital = rest.at[0] == letter;
    choice->found = (struct span){rest.at, 1};
    rest = (struct span){rest.at + 1, rest.length - 1};
    if (word_goes_on(rest)) return false;
    while (EAT_ANY(&rest, closings)) closed = true;
    if (opened && !closed) { /* "**A. Paris**", "(A or B)": the marks belong to more than the letter */
        bool point = rest.length && (rest.at[0] == '.' || rest.at[0] == ':');
        if (!point) return false;
    }
    choice->marked = closed;
    *text = rest;
    return true;
}

/* Moves past a word of `words` and the blanks behind. */
static bool eat_option(struct span *text) {
    static const char *const words[] = {"option is ", "choice is ", "option: ", "Option: ", "choice: ", "Choice: ",
                                        "option ",    "Option ",    "choice ",  "Choice ",  "answer ",  "Answer "};
    return EAT_ANY(text, words);
}

/* Whether a choice is named only to be ruled out: "not (A)", "(A) is wrong". */
static bool ruled_out(struct span before, struct span behind) {
    static const char *const denials[] = {" not ", " Not ", "n't ", " neither ", " nor ", " eliminate ", " reject "};
    static const char *const faults[] = {" is wrong", " is incorrect", " is false", " is not ",   " isn't ",
                                         " cannot ",  " can't ",       ": wrong",   ": incorrect"};
    for (size_t i = 0; i < sizeof denials / sizeof *denials; i++) {
        const char *word = denials[i] + (denials[i][0] == ' ' && before.length == strlen(denials[i]) - 1);
        if (span_ends_with(before, word)) return true;
    }
    return EAT_ANY(&behind, faults);
}

/* Whether a bare letter ends a statement: "B", "B.", "B because"; "A man" and "B or" go on. */
static bool statement_ends(struct span text) {
    static const char *const reasons[] = {" because", " since", " as ", " (", " -", " \xe2\x80\x94"};
    if (text.length == 0 || (text.at[0] && strchr(".,;:!\n\r", text.at[0]))) return true;
    struct span rest = text;
    while (rest.length && rest.at[0] == ' ') span_eat(&rest, " ");
    if (rest.length == 0 || rest.at[0] == '\n') return true;
    return EAT_ANY(&text, reasons);
}

/* Whether another letter is named beside the one just read: "A or B", "(A), (C)". */
static bool names_another(struct span rest, char letter) {
    static const char *const joints[] = {" ", ",", "/", "&", "or ", "and ", "+"};
    bool joined = false;
    struct choice other;
    while (EAT_ANY(&rest, joints)) joined = true;
    eat_option(&rest);
    if (!joined || !eat_choice(&rest, &other)) return false;
    return other.letter != letter &&
           (other.marked || (other.capital && (rest.length == 0 || !is_space(rest.at[0]) || statement_ends(rest))));
}

/* The letter with which a statement begins. A bare small letter must be all of its line: "a" is a word. */
static bool leading_choice(struct span text, struct choice *choice) {
    answer_skip_filler(&text);
    eat_option(&text);
    if (!eat_choice(&text, choice)) return false;
    if (names_another(text, choice->letter)) return false;
    if (choice->marked) return true;
    if (choice->capital) return statement_ends(text);
    span_eat(&text, ".");
    return text.length == 0 || text.at[0] == '\n' || text.at[0] == '\r';
}

/* The letter that is the whole of the text, with its marks; `with_text`: what the option says may follow a marked
 * letter or a point, on the same line: "(A) Paris", "A. Paris". */
static bool whole_choice(struct span text, bool with_text, struct choice *choice) {
    for (int depth = 0; depth < 8 && answer_unwrap(&text); depth++) {
    }
    eat_option(&text);
    if (!eat_choice(&text, choice)) return false;
    if (ruled_out((struct span){text.at, 0}, text)) return false;
    bool point = span_eat(&text, ".") || span_eat(&text, ":");
    struct span said = span_trim(text);
    if (said.length == 0) return true;
    if (!with_text || (!point && !choice->marked) || memchr(said.at, '\n', said.length)) return false;
    return !names_another(text, choice->letter);
}

/* The one letter that the text names in so many words, "(B)", "**B**", "option B", however often; false when there are
 * several, or none. */
static bool only_choice(struct span text, struct choice *choice) {
    const char *start = text.at;
    bool any = false;
    char before = ' ';
    while (text.length) {
        struct span rest = text;
        struct choice one;
        bool begins = !is_word(before) && strchr("(*oOcC[", text.at[0]) && text.at[0];
        bool option = begins && eat_option(&rest);
        if (begins && eat_choice(&rest, &one) && one.capital && (one.marked || option)) {
            bool out = ruled_out((struct span){start, (size_t)(text.at - start)}, rest);
            if (any && !out && one.letter != choice->letter) return false;
            if (!out) *choice = one;
            any = any || !out;
        } else
            rest = (struct span){text.at + 1, text.length - 1};
        before = rest.at[-1];
        text = rest;
    }
    return any;
}

static bool stated_choice(struct span text, struct choice *choice, bool *said) {
    struct span statement;
    for (size_t end = text.length; answer_stated(text, &end, &statement);) {
        *said = true;
        if (leading_choice(statement, choice)) return true;
        if (!answer_denied(statement) && only_choice(statement, choice)) return true;
        struct span rest = statement;
        answer_skip_filler(&rest);
        eat_option(&rest);
        if (eat_choice(&rest, choice) && choice->capital && names_another(rest, choice->letter)) return false;
    }
    return false;
}

/* The choice of the first or the last line. A last line that is a letter and no more wins; else no line may choose
 * another, as the lines of a list of options do. */
static bool choice_of_lines(struct span text, struct choice *choice) {
    if (whole_choice(answer_last_line(text), false, choice)) return true;
    bool first = true, ends = false, any = false;
    for (text = span_trim(text); text.length;) {
        const char *newline = memchr(text.at, '\n', text.length);
        struct span line = {text.at, newline ? (size_t)(newline - text.at) : text.length};
        struct choice one;
        text = (struct span){line.at + line.length + (newline != NULL), text.length - line.length - (newline != NULL)};
        if (whole_choice(line, true, &one)) {
            if (any && one.letter != choice->letter) return false;
            *choice = one;
            any = true;
            ends = ends || first || text.length == 0;
        }
        first = false;
    }
    return ends;
}

static bool read_choice(struct span text, struct choice *choice, bool *boxed) {
    struct span content;
    enum answer_box box = answer_boxed(text, &content);
    *boxed = box == ANSWER_BOX;
    if (box == ANSWER_BOX) return whole_choice(content, true, choice);
    if (box == ANSWER_OPEN_BOX) return false;
    size_t end = answer_length(text);
    if (answer_hashed(text, &end, &content) && whole_choice(content, true, choice)) return true;
    if (whole_choice(span_trim(text), true, choice)) return true;
    bool said = false;
    if (stated_choice(text, choice, &said)) return true;
    if (said) return false;
    return choice_of_lines(text, choice) || only_choice(text, choice);
}

static opsm_status check_choice(const void *self, const struct problem *problem, const char *answer, opsm_error *err) {
    (void)self;
    opsm_status status = verifier_needs_answer(problem, answer, "choice", err);
    if (status != OPSM_OK) return status;
    struct choice choice;
    if (whole_choice(span_trim(span_of(answer)), false, &choice)) return OPSM_OK;
    return opsm_fail(err, OPSM_FORMAT,
                     "verifier 'choice' needs a letter from A to J as the answer (A, (A) or A.), found '%.80s'",
                     answer);
}

static double score_choice(const void *self, const struct problem *problem, const char *answer,
                           struct response response, struct span *found) {
    (void)problem;
    const struct settings *set = self;
    struct choice expected, choice = {0};
    bool boxed;
    if (!read_choice((struct span){response.text, response.length}, &choice, &boxed)) return 0;
    *found = choice.found;
    if (!response.finished && !boxed && !set->unfinished_ok) return 0;
    return whole_choice(span_trim(span_of(answer)), false, &expected) && choice.letter == expected.letter;
}

const struct verifier_type verifier_choice = {
    .help = "The response chooses the letter of the answer, from A to J in either case:\n"
            "A, (A), A., **A**, \\boxed{\\text{A}}, (A) Paris. The first of these decides: the\n"
            "last \\boxed{}, \\fbox{} or <answer>; a #### line; the whole response; what the\n"
            "last `answer is` or `answer:` says; the first or last line; the only letter\n"
            "named as (A), **A** or `option A`. Two letters where one is asked for (A or B)\n"
            "score 0, and so does the word in `A man`. The answer of the data must be a\n"
            "letter. In a response that was cut off only a box counts, unless\n"
            "unfinished_ok.\n",
    .settings = settings,
    .n_settings = sizeof settings / sizeof *settings,
    .size = sizeof(struct settings),
    .check = check_choice,
    .score = score_choice,
};
