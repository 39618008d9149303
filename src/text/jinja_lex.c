/* SPDX-License-Identifier: Apache-2.0
 *
 * From the source of a template to tokens, with the white space of trim_blocks and lstrip_blocks: the line break behind
 * a block tag or comment goes, and so do the blanks in front of one that begins its line.
 */
#include "base/mem.h"
#include "text/jinja_node.h"
#include "text/jinja_string.h"
#include "text/unicode.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DELIMITERS = 256 }; /* open brackets in one tag */

struct lexer {
    struct jinja_template *template;
    const char *source;
    size_t length, at;
    bool line_starts;
    struct jinja_token *tokens;
    size_t count, room;
    char open[DELIMITERS];
    int n_open;
    opsm_status status;
    opsm_error *err;
};

static void fail_at(struct lexer *lexer, size_t at, const char *sentence) {
    if (lexer->status != OPSM_OK) return;
    lexer->status = jinja_complain(lexer->template, (uint32_t)at, OPSM_UNSUPPORTED, lexer->err, "%s", sentence);
}

static void fail_memory(struct lexer *lexer, size_t bytes) {
    if (lexer->status == OPSM_OK) lexer->status = mem_exhausted(lexer->err, "a chat template", bytes);
}

static void push(struct lexer *lexer, enum jinja_token_type type, size_t at, struct jinja_value value) {
    if (lexer->status != OPSM_OK) return;
    if (lexer->count == lexer->room) {
        size_t room = lexer->room ? 2 * lexer->room : 64;
        struct jinja_token *grown = mem_resize(lexer->tokens, lexer->room, room, sizeof *grown);
        if (!grown) {
            fail_memory(lexer, room * sizeof *grown);
            return;
        }
        lexer->tokens = grown;
        lexer->room = room;
    }
    lexer->tokens[lexer->count++] = (struct jinja_token){.type = type, .at = (uint32_t)at, .value = value};
}

static struct jinja_value part(const struct lexer *lexer, size_t from, size_t to) {
    return (struct jinja_value){
        .type = JINJA_STRING, .text = lexer->source + from, .length = to > from ? (uint32_t)(to - from) : 0};
}

static bool stands(const struct lexer *lexer, size_t at, const char *text) {
    size_t n = strlen(text);
    return lexer->length - at >= n && memcmp(lexer->source + at, text, n) == 0;
}

static size_t skip_space(const struct lexer *lexer, size_t at) {
    return at + jinja_leading_space(lexer->source + at, lexer->length - at);
}

/* ---- text between the tags --------------------------------------------------------------------------------------- */

/* The text in front of a tag. `sign` is the character behind the tag's delimiter. */
static void push_data(struct lexer *lexer, size_t from, size_t to, char sign, bool strips) {
    const char *text = lexer->source + from;
    if (sign == '-') {
        to -= jinja_trailing_space(text, to - from);
    } else if (sign != '+' && strips) {
        size_t line = to;
        while (line > from && lexer->source[line - 1] != '\n') line--;
        bool starts = line > from || lexer->line_starts;
        if (starts && skip_space(lexer, line) >= to) to = line;
    }
    if (to > from) push(lexer, TOKEN_DATA, from, part(lexer, from, to));
}

/* Where the end of a tag stops: -%} takes the white space behind it, %} the line break unless it is +%}. 0: no end. */
static size_t tag_end(const struct lexer *lexer, size_t at, const char *close, bool trims) {
    if (stands(lexer, at, "-") && stands(lexer, at + 1, close)) return skip_space(lexer, at + 1 + strlen(close));
    if (trims && stands(lexer, at, "+") && stands(lexer, at + 1, close)) return at + 1 + strlen(close);
    if (!stands(lexer, at, close)) return 0;
    at += strlen(close);
    return trims && stands(lexer, at, "\n") ? at + 1 : at;
}

static void move_to(struct lexer *lexer, size_t at) {
    lexer->at = at;
    lexer->line_starts = at > 0 && lexer->source[at - 1] == '\n';
}

static void lex_comment(struct lexer *lexer, size_t begin) {
    size_t at = begin + 2;
    if (stands(lexer, at, "-") || stands(lexer, at, "+")) at++;
    for (; at < lexer->length; at++) {
        size_t end = tag_end(lexer, at, "#}", true);
        if (!end) continue;
        move_to(lexer, end);
        return;
    }
    fail_at(lexer, begin, "the comment {# is not closed with #}");
}

/* Behind `{% name`, 0 if this is no such tag. */
static size_t behind_tag_name(const struct lexer *lexer, size_t begin, const char *name) {
    size_t at = begin + 2;
    if (stands(lexer, at, "-") || stands(lexer, at, "+")) at++;
    at = skip_space(lexer, at);
    if (!stands(lexer, at, name)) return 0;
    return skip_space(lexer, at + strlen(name));
}

/* {% raw %} up to {% endraw %}; false if this is another block. */
static bool lex_raw(struct lexer *lexer, size_t begin) {
    size_t at = behind_tag_name(lexer, begin, "raw");
    size_t end = at ? tag_end(lexer, at, "%}", false) : 0;
    if (!end) return false;
    move_to(lexer, end);
    for (at = end; at < lexer->length; at++) {
        if (!stands(lexer, at, "{%")) continue;
        size_t behind = behind_tag_name(lexer, at, "endraw");
        size_t stop = behind ? tag_end(lexer, behind, "%}", true) : 0;
        if (!stop) continue;
        push_data(lexer, end, at, at + 2 < lexer->length ? lexer->source[at + 2] : 0, true);
        move_to(lexer, stop);
        return true;
    }
    fail_at(lexer, begin, "the block raw is not closed with {% endraw %}");
    return true;
}

/* ---- inside a tag ------------------------------------------------------------------------------------------------ */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_name_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || (unsigned char)c >= 0x80;
}

/* The value of `n` hexadecimal digits, or more than U+10FFFF when they are none. */
static uint32_t hexadecimal(const char *text, size_t left, int n) {
    if (left < (size_t)n) return UINT32_MAX;
    uint64_t code = 0;
    for (int i = 0; i < n; i++) {
        char c = text[i];
        int digit = is_digit(c)            ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return UINT32_MAX;
        code = code << 4 | (unsigned)digit;
    }
    return code > 0x10ffff ? UINT32_MAX : (uint32_t)code;
}

/* One escape as Python reads it; `at` stands behind the backslash. Returns where it ends. */
static size_t unescape(struct lexer *lexer, size_t at, size_t end, char *out, size_t *used) {
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    const char *text = lexer->source;
    const char *simple = text[at] ? strchr(from, text[at]) : NULL;
    if (simple) {
        out[(*used)++] = to[simple - from];
        return at + 1;
    }
    if (text[at] == '\n') return at + 1;
    uint32_t code = 0;
    if (text[at] >= '0' && text[at] <= '7') {
        size_t from_at = at;
        for (; at < end && at < from_at + 3 && text[at] >= '0' && text[at] <= '7'; at++)
            code = code * 8 + (unsigned)(text[at] - '0');
        *used += utf8_encode(code, (uint8_t *)out + *used);
        return at;
    }
    int digits = text[at] == 'x' ? 2 : text[at] == 'u' ? 4 : text[at] == 'U' ? 8 : 0;
    if (!digits && text[at] != 'N') {
        out[(*used)++] = '\\'; /* no escape at all */
        return at;
    }
    code = digits ? hexadecimal(text + at + 1, end - at - 1, digits) : UINT32_MAX;
    if (code == UINT32_MAX || (code >= 0xd800 && code <= 0xdfff)) {
        fail_at(lexer, at, "an escape in a string that is no character, or has a name (\\N{...})");
        return end;
    }
    *used += utf8_encode(code, (uint8_t *)out + *used);
    return at + 1 + (size_t)digits;
}

static void lex_string(struct lexer *lexer) {
    size_t begin = lexer->at, end = begin + 1;
    char quote = lexer->source[begin];
    while (end < lexer->length && lexer->source[end] != quote) end += lexer->source[end] == '\\' ? 2 : 1;
    if (end >= lexer->length) {
        fail_at(lexer, begin, "a string without its closing quote");
        return;
    }
    char *out = jinja_arena_alloc(&lexer->template->arena, end - begin + 4);
    if (!out) {
        fail_memory(lexer, end - begin);
        return;
    }
    size_t used = 0;
    for (size_t at = begin + 1; at < end;) {
        if (lexer->source[at] == '\\')
            at = unescape(lexer, at + 1, end, out, &used);
        else
            out[used++] = lexer->source[at++];
    }
    struct jinja_value value = {.type = JINJA_STRING, .text = out, .length = (uint32_t)used};
    push(lexer, TOKEN_STRING, begin, value);
    lexer->at = end + 1;
}

/* Digits, with single underscores between them, copied to `out`. */
static size_t take_digits(const struct lexer *lexer, size_t at, char *out, size_t *used, size_t room) {
    while (at < lexer->length) {
        char c = lexer->source[at];
        bool joins = c == '_' && *used > 0 && is_digit(out[*used - 1]) && at + 1 < lexer->length &&
                     is_digit(lexer->source[at + 1]);
        if (!is_digit(c) && !joins) break;
        if (is_digit(c) && *used + 1 < room) out[(*used)++] = c;
        at++;
    }
    return at;
}

static void lex_number(struct lexer *lexer) {
    char digits[400]; /* longer ones are refused */
    size_t used = 0, begin = lexer->at, room = sizeof digits - 8;
    size_t at = take_digits(lexer, begin, digits, &used, room);
    bool real = false;
    if (at + 1 < lexer->length && lexer->source[at] == '.' && is_digit(lexer->source[at + 1])) {
        real = true;
        digits[used++] = '.';
        at = take_digits(lexer, at + 1, digits, &used, room);
    }
    if (at < lexer->length && (lexer->source[at] == 'e' || lexer->source[at] == 'E')) {
        size_t sign = at + 1 < lexer->length && strchr("+-", lexer->source[at + 1]) ? 1 : 0;
        if (at + 1 + sign < lexer->length && is_digit(lexer->source[at + 1 + sign])) {
            real = true;
            digits[used++] = 'e';
            if (sign) digits[used++] = lexer->source[at + 1];
            at = take_digits(lexer, at + 1 + sign, digits, &used, room);
        }
    }
    digits[used] = '\0';
    errno = 0;
    long long integer = real ? 0 : strtoll(digits, NULL, 10);
    bool wrong = used + 9 > room || errno || (!real && digits[0] == '0' && integer != 0) ||
                 (at < lexer->length && is_name_byte(lexer->source[at]));
    if (wrong) fail_at(lexer, begin, "not a decimal number of at most 64 bits");
    push(lexer, real ? TOKEN_FLOAT : TOKEN_INT, begin, real ? jinja_float(strtod(digits, NULL)) : jinja_int(integer));
    lexer->at = at;
}

/* Brackets inside a tag must match: }} in the middle of a dict does not end it. */
static void match_bracket(struct lexer *lexer, char c) {
    if (strchr("([{", c)) {
        if (lexer->n_open == DELIMITERS)
            fail_at(lexer, lexer->at, "brackets too deep in each other");
        else
            lexer->open[lexer->n_open++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (strchr(")]}", c)) {
        if (lexer->n_open == 0 || lexer->open[lexer->n_open - 1] != c)
            fail_at(lexer, lexer->at, "a closing bracket that was not opened");
        else
            lexer->n_open--;
    }
}

static void lex_operator(struct lexer *lexer) {
    static const char *const operators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
                                            "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (!stands(lexer, lexer->at, operators[i])) continue;
        match_bracket(lexer, *operators[i]);
        push(lexer, TOKEN_OPERATOR, lexer->at, jinja_trusted(operators[i]));
        lexer->at += strlen(operators[i]);
        return;
    }
    fail_at(lexer, lexer->at, "a character that has no meaning inside a tag");
}

static void lex_tag(struct lexer *lexer, size_t begin, bool block) {
    push(lexer, block ? TOKEN_BLOCK : TOKEN_VARIABLE, begin, part(lexer, begin, begin + 2));
    lexer->at = begin + 2;
    if (stands(lexer, lexer->at, "-") || stands(lexer, lexer->at, "+")) lexer->at++;
    lexer->n_open = 0;
    while (lexer->status == OPSM_OK) {
        size_t at = lexer->at = skip_space(lexer, lexer->at);
        if (at >= lexer->length) break;
        size_t end = lexer->n_open ? 0 : tag_end(lexer, at, block ? "%}" : "}}", block);
        if (end) {
            push(lexer, block ? TOKEN_BLOCK_END : TOKEN_VARIABLE_END, at, part(lexer, at, at + 2));
            move_to(lexer, end);
            return;
        }
        char c = lexer->source[at];
        if (c == '\'' || c == '"') {
            lex_string(lexer);
        } else if (is_digit(c)) {
            lex_number(lexer);
        } else if (is_name_byte(c)) {
            while (at < lexer->length && is_name_byte(lexer->source[at])) at++;
            push(lexer, TOKEN_NAME, lexer->at, part(lexer, lexer->at, at));
            lexer->at = at;
        } else {
            lex_operator(lexer);
        }
    }
    fail_at(lexer, begin, block ? "the block {% is not closed with %}" : "the tag {{ is not closed with }}");
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static void lex_all(struct lexer *lexer) {
    while (lexer->status == OPSM_OK && lexer->at < lexer->length) {
        size_t from = lexer->at, at = from;
        while (at < lexer->length && !stands(lexer, at, "{{") && !stands(lexer, at, "{%") && !stands(lexer, at, "{#"))
            at++;
        if (at == lexer->length) {
            push(lexer, TOKEN_DATA, from, part(lexer, from, at));
            break;
        }
        char kind = lexer->source[at + 1], sign = at + 2 < lexer->length ? lexer->source[at + 2] : 0;
        push_data(lexer, from, at, sign, kind != '{');
        if (kind == '#')
            lex_comment(lexer, at);
        else if (kind == '{' || !lex_raw(lexer, at))
            lex_tag(lexer, at, kind == '%');
    }
    push(lexer, TOKEN_END, lexer->length, jinja_trusted("the end"));
}

opsm_status jinja_tokenize(struct jinja_template *template, struct jinja_token **tokens, opsm_error *err) {
    struct lexer lexer = {
        .template = template, .source = template->source, .length = template->length, .line_starts = true, .err = err};
    lex_all(&lexer);
    *tokens = lexer.tokens;
    if (lexer.status == OPSM_OK) return OPSM_OK;
    mem_free(lexer.tokens);
    *tokens = NULL;
    return lexer.status;
}
