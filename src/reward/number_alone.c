/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers of running text that stand alone: see number.h.
 */
#include "reward/answer.h"
#include "reward/number.h"
#include "text/unicode.h"

/* How far a number looks for its neighbours. */
enum { REACH = 64 };

/* One number of the text. */
struct token {
    size_t start, end, behind; /* from its sign to its last digit; behind its unit */
    bool alone;
};

static struct span from(struct span text, size_t start) {
    return (struct span){text.at + start, text.length - start};
}

/* Characters beyond ASCII that tie a number to what is beside it. */
enum tie {
    TIE_NONE,
    TIE_WORD,     /* letters, digits, superscripts, fractions */
    TIE_DASH,     /* dashes and the minus sign */
    TIE_OPERATOR, /* times, plus-minus, roots, comparisons but "about" */
    TIE_IDEOGRAPH /* a letter of a script without blanks */
};

static enum tie tie_of(uint32_t code) {
    if ((code >= 0x2010 && code <= 0x2015) || code == 0x2212) return TIE_DASH;
    if (code == 0x2044 || code == 0x2030 || code == 0x2031) return TIE_OPERATOR; /* a fraction's slash, per mille */
    if (code == 0xd7 || code == 0xf7 || code == 0xb1 || code == 0xb7) return TIE_OPERATOR;
    if (code >= 0x2200 && code <= 0x22ff && code != 0x2248 && code != 0x2234) return TIE_OPERATOR;
    if (code >= 0x2070 && code <= 0x209f) return TIE_WORD;
    if (code >= 0x2e80 && code < 0xff00 && unicode_class(code) == CHAR_LETTER) return TIE_IDEOGRAPH;
    enum char_class class = unicode_class(code);
    return class == CHAR_LETTER || class == CHAR_NUMBER || (code >= 0x300 && code <= 0x36f) ? TIE_WORD : TIE_NONE;
}

static bool word_is(struct span word, const char *const *words, size_t n) {
    for (size_t i = 0; i < n; i++) {
        size_t j = 0;
        while (j < word.length && lower_ascii(word.at[j]) == words[i][j]) j++;
        if (j == word.length && !words[i][j]) return true;
    }
    return false;
}
#define WORD_IS(word, list) word_is(word, list, sizeof(list) / sizeof *(list))

/* The letters that end before `i`, at most REACH of them. */
static struct span word_before(struct span text, size_t i) {
    size_t n = 0;
    while (n < i && n < REACH && is_letter(text.at[i - n - 1])) n++;
    return (struct span){text.at + i - n, n};
}

static struct span word_from(struct span text, size_t i) {
    size_t n = 0;
    while (n < REACH && is_letter(span_byte(text, i + n))) n++;
    return (struct span){text.at + i, n};
}

/* Commands of LaTeX that do nothing to the number beside them. */
static bool is_harmless(struct span command) {
    static const char *const commands[] = {"approx",     "quad", "qquad",  "therefore",      "implies",
                                           "rightarrow", "to",   "left",   "longrightarrow", "equiv",
                                           "right",      "text", "textbf", "because",        "displaystyle"};
    return WORD_IS(command, commands);
}

/* Whether the word in front changes what the number means: minus 5, \sqrt 5, version 5. */
static bool word_ties(struct span text, size_t i) {
    static const char *const words[] = {"minus", "negative", "plus", "times", "over", "version", "sqrt", "power"};
    struct span word = word_before(text, i);
    size_t start = (size_t)(word.at - text.at);
    if (start > 0 && text.at[start - 1] == '\\') return !is_harmless(word);
    return WORD_IS(word, words);
}

/* Whether a bracket before `i` belongs to something: f(5), x[5], \sqrt[3]. */
static bool bracket_ties(struct span text, size_t i) {
    char before = i ? text.at[i - 1] : '\0';
    return is_word(before) || before == ')' || before == ']' || before == '}';
}

/* Whether the brace or tag that ends at `i` only dresses what it holds. */
static bool dresses(struct span text, size_t i) {
    static const char *const openings[] = {"\\text{", "\\textbf{", "\\mathbf{", "\\boldsymbol{", "\\mathrm{", "\\bm{"};
    for (size_t k = 0; k < sizeof openings / sizeof *openings; k++)
        if (span_ends_with((struct span){text.at, i}, openings[k])) return true;
    return false;
}

/* Whether the character that ends at `i` ties what follows it; `spaced`: blanks come between. */
static bool ties_left(struct span text, size_t i, bool spaced) {
    char c = text.at[i - 1], before = i > 1 ? text.at[i - 2] : '\0';
    if (c & 0x80) {
        size_t start;
        enum tie tie = tie_of(span_code_before(text, i, &start));
        return tie == TIE_DASH || tie == TIE_OPERATOR || (tie == TIE_WORD && !spaced);
    }
    if (is_word(c)) return !spaced || (is_letter(c) && word_ties(text, i));
    switch (c) {
    case '*': /* bold, a power, a product */
        if (before == '*') return spaced && i > 2 && text.at[i - 3] == ' ';
        return spaced || is_word(before) || before == ')';
    case '(':
    case '[':
        return bracket_ties(text, i - 1);
    case '=':
        return before == '!' || before == '<' || before == '>';
    case '>':
        if (span_ends_with((struct span){text.at, i}, "<sup>") || span_ends_with((struct span){text.at, i}, "<sub>"))
            return true;
        if (before == '>' && !spaced) return false; /* <<2*3=6>>6, the sums of GSM8K */
        return before != '=' && before != '-' && before != '/' && before != '"' && !is_letter(before);
    case ':':
        return !spaced && (is_digit(before) || (is_letter(before) && !(i > 2 && is_letter(text.at[i - 3]))));
    case ')':
    case ']':
    case '}':
    case ',':
    case ';':
    case '|':
    case '!':
    case '.':
        return !spaced;
    case '\'':
        return !spaced && is_word(before); /* 1'234, but '5' */
    case '+':
    case '-':
    case '/':
    case '^':
    case '\\':
    case '<':
    case '@':
        return true;
    case '{':
        return !dresses(text, i);
    case '#': /* number 5, but a marker of an answer */
        return before != '#';
    default:
        return false;
    }
}

/* Steps back over a currency sign; the new place. */
static size_t before_currency(struct span text, size_t i) {
    size_t start;
    if (i == 0) return 0;
    uint32_t code = span_code_before(text, i, &start);
    if (code == '$') return start > 0 && text.at[start - 1] == '\\' ? start - 1 : start;
    return code == 0x20ac || code == 0xa3 || code == 0xa5 || code == 0x20b9 ? start : i;
}

/* The start of the number with its sign and currency, given where its digits start. */
static size_t with_sign(struct span text, size_t digits) {
    size_t i = before_currency(text, digits), start = i;
    if (i == 0) return 0;
    uint32_t code = span_code_before(text, i, &start);
    if (code != '-' && code != '+' && code != 0x2212) return i;
    return before_currency(text, start);
}

/* Whether a sign or a root stands in front of the marks that dress a number: -**5**, minus \(5\), √(5). Behind a
 * blank, "-" is a dash or a bullet. */
static bool sign_outside(struct span text, size_t start) {
    static const char *const marks[] = {"**", "\\(", "\\[", "(", "[", "`", "\"", "$", "<b>", "<strong>", "*"};
    size_t i = start, outer = 0;
    while (i > 0 && outer != i) {
        outer = i;
        for (size_t k = 0; k < sizeof marks / sizeof *marks && outer == i; k++)
            if (span_ends_with((struct span){text.at, i}, marks[k])) i -= strlen(marks[k]);
    }
    if (i == 0 || i == start) return false;
    size_t before;
    uint32_t code = span_code_before(text, i, &before);
    if (tie_of(code) == TIE_DASH || code == '-') return code != 0x2014 && code != 0x2015;
    if (code == 0x221a) return true;
    while (i > 0 && start - i < REACH && text.at[i - 1] == ' ') i--;
    if (i == 0) return false;
    return span_code_before(text, i, &before) == 0x2212 || (is_letter(text.at[i - 1]) && word_ties(text, i));
}

static bool free_on_the_left(struct span text, size_t start) {
    size_t i = start;
    if (sign_outside(text, start)) return false;
    while (i > 0 && start - i < REACH && (text.at[i - 1] == ' ' || text.at[i - 1] == '\t')) i--;
    if (i == 0 || text.at[i - 1] == '\n' || text.at[i - 1] == '\r') return true;
    return !ties_left(text, i, i < start);
}

/* Whether a lone letter begins at `i`: a variable, not a word. */
static bool is_variable(struct span text, size_t i) {
    struct span word = word_from(text, i);
    char c = word.length == 1 ? lower_ascii(word.at[0]) : 'a';
    return c != 'a' && c != 'i' && span_byte(text, i + 1) != '\'';
}

/* Whether a number of Unicode or a lone Greek letter begins at `i`. */
static bool is_value(struct span text, size_t i) {
    size_t length, next;
    uint32_t code = span_code_at(text, i, &length);
    bool greek = code >= 0x370 && code < 0x400;
    return unicode_class(code) == CHAR_NUMBER ||
           (greek && unicode_class(span_code_at(text, i + length, &next)) != CHAR_LETTER);
}

/* Whether what follows a minus at `i` makes it one, and not a dash of prose. */
static bool minus_ties(struct span text, size_t i) {
    if (span_byte(text, i) == '>') return false;
    bool spaced = span_byte(text, i) == ' ';
    while (span_byte(text, i) == ' ' && spaced) i++;
    char c = span_byte(text, i);
    return (spaced ? is_variable(text, i) : is_word(c)) || c == '\\' || c == '(' || c == '$';
}

/* Whether "and a half" and its like begin at `i`. */
static bool and_part(struct span text, size_t i) {
    static const char *const and[] = {"and"}, *const counts[] = {"a", "one", "two", "three"};
    struct span word = word_from(text, i);
    i += word.length;
    if (!WORD_IS(word, and) || span_byte(text, i) != ' ') return false;
    struct span count = word_from(text, ++i);
    i += count.length;
    return WORD_IS(count, counts) && span_byte(text, i) == ' ' && number_is_scale(word_from(text, i + 1));
}

/* Whether the character at `i` ties what comes before it; `spaced`: blanks come between. */
static bool ties_right(struct span text, size_t i, bool spaced) {
    char c = span_byte(text, i), next = span_byte(text, i + 1);
    if (c & 0x80) {
        size_t length;
        enum tie tie = tie_of(span_code_at(text, i, &length));
        if (tie == TIE_DASH) return minus_ties(text, i + length);
        if (tie == TIE_WORD && spaced) return is_value(text, i);
        return tie == TIE_OPERATOR || (tie != TIE_NONE && !spaced);
    }
    if (is_digit(c) || c == '_') return !spaced;
    if (is_letter(c))
        return !spaced || is_variable(text, i) || number_is_scale(word_from(text, i)) || and_part(text, i);
    switch (c) {
    case '.':
    case ',':
    case ':':
        return is_digit(next) && !spaced;
    case '\'':
        return !spaced && is_word(next);
    case '*':
        if (next == '*') next = span_byte(text, i + 2), c = '\0';
        return c == '\0' ? is_word(next) || next == '/' || next == '^'
                         : spaced || is_word(next) || next == '\\' || next == '(';
    case '-':
        return minus_ties(text, i + 1);
    case '/':
        return spaced || word_from(text, i + 1).length < 2;
    case '<':
        if (next == 's' && span_byte(text, i + 2) == 'u') return true; /* <sub>, <sup> */
        return next != '/' && !is_letter(next);
    case '\\':
        return is_letter(next) && !is_harmless(word_from(text, i + 1));
    case ')':
    case ']':
    case '$':
    case '}':
        return next == '^' || next == '!' || next == '/';
    case '(':
    case '[':
    case '{':
    case '|':
        return !spaced;
    case '!':
    case '+':
    case '^':
    case '>':
    case '#':
    case '@':
        return true;
    default:
        return false;
    }
}

static bool free_on_the_right(struct span text, size_t end) {
    struct span rest = from(text, end);
    bool spaced = number_eat_blanks(&rest);
    size_t i = (size_t)(rest.at - text.at);
    if (i == text.length || text.at[i] == '\n' || text.at[i] == '\r') return true;
    return !ties_right(text, i, spaced);
}

/* "2. Then" at the beginning of a line, also of a heading: "## 2. Then". */
static bool counts_a_list(struct span text, const struct token *token) {
    char mark = span_byte(text, token->end);
    if ((mark != '.' && mark != ')') || span_byte(text, token->end + 1) != ' ' || token->end - token->start > 2)
        return false;
    if (!is_digit(text.at[token->start])) return false; /* -5, $5 */
    size_t i = token->start;
    while (i > 0 && token->start - i < REACH && strchr(" *#", text.at[i - 1]) && text.at[i - 1]) i--;
    struct span rest = from(text, token->end + 1);
    number_eat_blanks(&rest);
    return (i == 0 || text.at[i - 1] == '\n') && rest.length && rest.at[0] != '\n';
}

/* Moves past one thing that joins two numbers: an operator, a comma, a word. */
static bool eat_joint(struct span *gap) {
    static const char *const words[] = {
        "and",  "or",    "to",   "x",     "times",   "plus",       "minus",   "by",     "of",   "out",     "over",
        "than", "less",  "more", "mod",   "through", "until",      "from",    "maybe",  "else", "perhaps", "possibly",
        "cdot", "div",   "pm",   "mp",    "le",      "leq",        "ge",      "geq",    "lt",   "gt",      "ne",
        "neq",  "ldots", "dots", "cdots", "divided", "multiplied", "greater", "versus", "vs",   "bmod",    "text"};
    struct span word = word_from(*gap, 0);
    size_t length = word.length;
    if (length > 0) {
        if (!WORD_IS(word, words)) return false;
    } else if (gap->at[0] & 0x80) {
        uint32_t code = span_code_at(*gap, 0, &length);
        enum tie tie = tie_of(code);
        if (tie != TIE_DASH && tie != TIE_OPERATOR && code != 0x2026 && code != 0xa0) return false;
    } else if (!gap->at[0] || !strchr(" \t,;+-*/^<>&|~$\\{}", gap->at[0]))
        return false;
    *gap = from(*gap, length ? length : 1);
    return true;
}

/* Takes the marks off that end one number and begin another: (3) or (4), `3` or `4`. */
static void undress(struct span *gap) {
    static const char *const pairs[][2] = {
        {")", "("}, {"\\)", "\\("}, {"]", "["}, {"`", "`"}, {"\"", "\""}, {"</b>", "<b>"}, {"</strong>", "<strong>"}};
    for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
        struct span inner = *gap;
        if (!span_eat(&inner, pairs[k][0]) || !span_ends_with(inner, pairs[k][1])) continue;
        inner.length -= strlen(pairs[k][1]);
        *gap = inner;
        return;
    }
}

/* Whether nothing but joints lies between two numbers. */
static bool joined(struct span text, size_t end, size_t start) {
    if (start - end > REACH) return false;
    struct span gap = {text.at + end, start - end};
    undress(&gap);
    if (span_eat(&gap, " : ")) return true;
    if (gap.length >= 2 && (gap.at[0] == '.' && gap.at[1] == '.')) return true;
    struct span arrow = gap;
    while (arrow.length && arrow.at[0] == ' ') arrow = from(arrow, 1);
    if (span_eat(&arrow, "->") || (gap.length == 2 && span_eat(&arrow, ">>"))) return false;
    while (gap.length)
        if (!eat_joint(&gap)) return false;
    return true;
}

/* Whether a number begins at `i`: a digit, a point before one, or a fraction of LaTeX. */
static bool may_begin(struct span text, size_t i) {
    char c = text.at[i];
    if (is_digit(c)) return true;
    if (c == '.') return is_digit(span_byte(text, i + 1));
    if (c != '\\') return false;
    char next = span_byte(text, i + 1);
    return next == 'f' || next == 'd' || next == 't' || next == 'c';
}

/* The next number at or behind `i`, which moves past it. */
static bool next_token(struct span text, size_t *i, size_t to, struct token *token) {
    struct number number;
    for (; *i < to; ++*i) {
        if (!may_begin(text, *i)) continue;
        bool valued;
        struct span rest = from(text, *i);
        if (!number_eat(&rest, &number, &valued)) continue;
        token->start = with_sign(text, *i);
        token->end = token->behind = (size_t)(rest.at - text.at);
        if (number_eat_unit(&rest, false)) token->behind = (size_t)(rest.at - text.at);
        token->alone = valued && free_on_the_left(text, token->start) && free_on_the_right(text, token->behind) &&
                       !counts_a_list(text, token);
        *i = token->end;
        return true;
    }
    return false;
}

/* The value of a token, sign included. */
static void read_token(struct span text, const struct token *token, struct number *number, struct span *found) {
    bool formula = text.at[token->start] == '$' && span_byte(text, token->end) == '$';
    *found = (struct span){text.at + token->start + formula, token->end - token->start - formula};
    struct span rest = *found;
    bool negative = false, valued;
    number_eat_currency(&rest);
    if (number_eat_sign(&rest, &negative)) number_eat_currency(&rest);
    number_eat(&rest, number, &valued);
    if (number->n_digits) number->negative ^= negative;
}

bool number_alone(struct span text, size_t begin, size_t to, bool first, struct number *number, struct span *found) {
    struct token last = {0}, token, next;
    bool any = false;
    size_t i = begin;
    for (bool more = next_token(text, &i, to, &token); more;) {
        more = next_token(text, &i, text.length < to + REACH ? text.length : to + REACH, &next);
        if (more && joined(text, token.behind, next.start)) token.alone = next.alone = false;
        if (token.alone && token.start < to) last = token, any = true;
        if (first || (more && next.start >= to)) break;
        token = next;
    }
    if (any) read_token(text, &last, number, found);
    return any;
}
