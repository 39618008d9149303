/* SPDX-License-Identifier: Apache-2.0 */
#include "reward/answer.h"

#define FULL_WIDTH_COLON "\xef\xbc\x9a"

bool span_eat(struct span *text, const char *literal) {
    if (text->length == 0 || text->at[0] != literal[0]) return false; /* nearly always */
    size_t length = strlen(literal);
    if (text->length < length || memcmp(text->at, literal, length) != 0) return false;
    text->at += length;
    text->length -= length;
    return true;
}

bool span_ends_with(struct span text, const char *literal) {
    size_t length = strlen(literal);
    return text.length >= length && !memcmp(text.at + text.length - length, literal, length);
}

static struct span behind(struct span text, size_t start) {
    return (struct span){text.at + start, text.length - start};
}

/* The length of the text up to the brace that closes the one before it; false when none does. */
static bool closing_brace(struct span text, size_t *length) {
    size_t depth = 1;
    for (size_t i = 0; i < text.length; i++) {
        if (text.at[i] == '\\') {
            i++;
            continue;
        }
        depth += text.at[i] == '{';
        depth -= text.at[i] == '}';
        if (depth > 0) continue;
        *length = i;
        return true;
    }
    return false;
}

/* What a box without braces holds, \boxed5 or $\boxed 12$: a run that begins with a digit, as long as something that
 * is no part of a number ends it. */
static bool bare_box(struct span text, size_t *length) {
    size_t n = 0;
    while (n < text.length && !is_space(text.at[n]) && !strchr("$\\)", text.at[n])) n++;
    if (n == text.length || n == 0 || !is_digit(text.at[0])) return false;
    *length = text.at[n - 1] == '.' ? n - 1 : n;
    return true;
}

/* The last \boxed{} or \fbox{} that is not inside another. Looks at each character a fixed number of times: a box that
 * does not close ends the search. */
static enum answer_box latex_box(struct span text, struct span *content) {
    enum answer_box found = ANSWER_NO_BOX;
    for (const char *at; (at = memchr(text.at, '\\', text.length));) {
        text = behind(text, (size_t)(at - text.at));
        if (!span_eat(&text, "\\boxed") && !span_eat(&text, "\\fbox")) {
            text = behind(text, text.length > 1 ? 2 : 1);
            continue;
        }
        while (text.length && is_space(text.at[0])) text = behind(text, 1);
        size_t length;
        bool braces = span_eat(&text, "{");
        if (!(braces ? closing_brace(text, &length) : bare_box(text, &length))) return ANSWER_OPEN_BOX;
        *content = (struct span){text.at, length};
        found = ANSWER_BOX;
        text = behind(text, length + braces);
    }
    return found;
}

static enum answer_box tag_box(struct span text, struct span *content) {
    static const char opening[] = "<answer>", closing[] = "</answer>";
    const char *open = span_find_last(text, opening), *close = span_find_last(text, closing);
    if (!open) return ANSWER_NO_BOX;
    if (!close || close < open) return ANSWER_OPEN_BOX;
    open += sizeof opening - 1;
    *content = (struct span){open, (size_t)(close - open)};
    const char *first = span_find(*content, closing);
    if (first) content->length = (size_t)(first - open);
    return ANSWER_BOX;
}

enum answer_box answer_boxed(struct span text, struct span *content) {
    struct span tagged, boxed;
    enum answer_box tag = tag_box(text, &tagged);
    if (tag == ANSWER_OPEN_BOX) return tag;
    enum answer_box box = latex_box(tag == ANSWER_BOX ? tagged : text, &boxed);
    if (tag == ANSWER_BOX && box == ANSWER_NO_BOX) {
        struct span rest = behind(text, (size_t)(tagged.at + tagged.length - text.at));
        box = latex_box(rest, &boxed);
        if (box == ANSWER_NO_BOX) boxed = tagged, box = tag;
    }
    if (box != ANSWER_BOX) return box;
    *content = span_trim(boxed);
    /* The blank of a "\ " at the end has gone: so does its backslash. */
    size_t backslashes = 0;
    while (backslashes < content->length && content->at[content->length - 1 - backslashes] == '\\') backslashes++;
    if (backslashes % 2 && content->length < boxed.length)
        *content = span_trim((struct span){content->at, content->length - 1});
    return box;
}

/* Whether `word`, in any case, begins at `i` and a word begins there. */
static bool word_at(struct span text, size_t i, const char *word) {
    size_t length = strlen(word);
    if (text.length - i < length || (i > 0 && is_word(text.at[i - 1]))) return false;
    for (size_t j = 0; j < length; j++)
        if (lower_ascii(text.at[i + j]) != word[j]) return false;
    return true;
}

static bool eat_word(struct span *text, const char *const *words, size_t n) {
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(words[i]);
        if (!word_at(*text, 0, words[i]) || (text->length > length && is_word(text->at[length]))) continue;
        *text = behind(*text, length);
        return true;
    }
    return false;
}
#define EAT_WORD(text, words) eat_word(text, words, sizeof(words) / sizeof *(words))

static void skip_blanks(struct span *text) {
    while (text->length && is_space(text->at[0])) *text = behind(*text, 1);
}

/* Whether what follows the word "answer" makes it a statement. */
static bool states(struct span text) {
    static const char *const verbs[] = {"is",   "isn",   "was", "wasn", "must",  "should",
                                        "will", "would", "won", "can",  "cannot"};
    while (text.length && (text.at[0] == ' ' || text.at[0] == '*' || text.at[0] == '`')) text = behind(text, 1);
    return span_eat(&text, ":") || span_eat(&text, "=") || span_eat(&text, FULL_WIDTH_COLON) || EAT_WORD(&text, verbs);
}

bool answer_stated(struct span text, size_t *end, struct span *statement) {
    static const char word[] = "answer";
    for (size_t i = *end; i-- > 0;) {
        if (lower_ascii(text.at[i]) != 'a' || !word_at((struct span){text.at, *end}, i, word)) continue;
        struct span rest = {text.at + i + sizeof word - 1, *end - i - (sizeof word - 1)};
        if (!states(rest)) continue;
        *statement = rest;
        *end = i;
        return true;
    }
    return false;
}

bool answer_hashed(struct span text, size_t *end, struct span *line) {
    static const char mark[] = "####";
    const char *at = span_find_last((struct span){text.at, *end}, mark);
    if (!at) return false;
    *end = (size_t)(at - text.at);
    struct span rest = behind(text, *end + sizeof mark - 1);
    const char *newline = rest.length ? memchr(rest.at, '\n', rest.length) : NULL;
    *line = newline ? (struct span){rest.at, (size_t)(newline - rest.at)} : rest;
    return true;
}

size_t answer_length(struct span text) {
    static const char *const asks[] = {"\nQuestion:", "\nQ:", "\nProblem:"};
    const char *mark = span_find(text, "####");
    if (!mark) return text.length;
    struct span rest = behind(text, (size_t)(mark - text.at));
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
        const char *ask = span_find(rest, asks[i]);
        if (ask) rest.length = (size_t)(ask - rest.at);
    }
    return (size_t)(rest.at - text.at) + rest.length;
}

void answer_skip_filler(struct span *text) {
    static const char *const words[] = {
        "is",     "was",  "must",      "should",  "will",    "would", "be",     "thus",   "then",   "so",
        "simply", "just", "therefore", "clearly", "exactly", "now",   "about",  "equal",  "equals", "approximately",
        "to",     "the",  "also",      "only",    "given",   "by",    "indeed", "number", "value",  "still"};
    static const char *const marks[] = {":", "=", FULL_WIDTH_COLON, "*", "`", "\"", "\\(", "\\[", "\\text{"};
    for (bool moved = true; moved;) {
        skip_blanks(text);
        moved = EAT_WORD(text, words);
        for (size_t i = 0; i < sizeof marks / sizeof *marks && !moved; i++) moved = span_eat(text, marks[i]);
    }
}

bool answer_denied(struct span text) {
    static const char *const words[] = {"but",   "less",    "more",   "greater", "fewer", "least", "than", "not",
                                        "never", "neither", "cannot", "isn",     "wasn",  "can't", "won",  "wouldn"};
    for (; text.length && !is_digit(text.at[0]) && text.at[0] != '\n'; text = behind(text, 1)) {
        bool ends = text.at[0] == '.' || text.at[0] == '?' || text.at[0] == '!';
        if (ends && (text.length == 1 || is_space(text.at[1]))) return false;
        if (EAT_WORD(&text, words)) return true;
        /* Not from the middle of a word. */
        while (text.length > 1 && is_word(text.at[0]) && is_word(text.at[1])) text = behind(text, 1);
    }
    return false;
}

struct span answer_last_line(struct span text) {
    text = span_trim(text);
    const char *line = span_find_last(text, "\n");
    return line ? behind(text, (size_t)(line + 1 - text.at)) : text;
}

bool answer_unwrap(struct span *text) {
    static const char *const pairs[][2] = {
        {"$$", "$$"},       {"$", "$"},        {"\\(", "\\)"},     {"\\[", "\\]"},
        {"**", "**"},       {"*", "*"},        {"`", "`"},         {"\"", "\""},
        {"{", "}"},         {"\\text{", "}"},  {"\\textbf{", "}"}, {"\\mathbf{", "}"},
        {"\\mathrm{", "}"}, {"\\boxed{", "}"}, {"\\fbox{", "}"},   {"\\displaystyle", ""}};
    *text = span_trim(*text);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct span inner = *text;
        if (!span_eat(&inner, pairs[i][0]) || !span_ends_with(inner, pairs[i][1])) continue;
        inner.length -= strlen(pairs[i][1]);
        *text = span_trim(inner);
        return true;
    }
    return false;
}
