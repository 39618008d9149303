/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/page.h"
#include "base/text.h"
#include <stdbool.h>
#include <string.h>

enum { INDENT_JOINED = 10, TERM_COLUMNS = 40 };

/* A line, or the lines that are joined into one. */
struct paragraph {
    struct text text; /* without the indent of its first line */
    size_t indent;
    size_t meaning; /* where the meaning begins in `text`; 0: no term */
    bool blank;     /* an empty line: nothing else is set */
};

/* Where the text after "TERM  " begins; 0: there is no such gap. */
static size_t meaning_of(const char *line, size_t length) {
    for (size_t i = 1; i + 1 < length && i < TERM_COLUMNS; i++) {
        if (line[i] != ' ' || line[i + 1] != ' ') continue;
        while (i < length && line[i] == ' ') i++;
        return i;
    }
    return 0;
}

static size_t indent_of(const char *line) {
    return strspn(line, " ");
}

/* Whether the line at `next` goes on with a block of this indent. */
static bool goes_on(const char *next, size_t indent) {
    size_t own = indent_of(next);
    if (!*next || next[own] == '\n') return false;
    return own > INDENT_JOINED || (own == 0 && indent == 0);
}

/* Takes the block at *at; false at the end. */
static bool next_block(struct paragraph *block, const char **at) {
    const char *line = *at;
    text_clear(&block->text);
    if (!*line) return false;
    size_t length = strcspn(line, "\n");
    block->indent = indent_of(line);
    block->blank = block->indent >= length;
    block->meaning = block->indent ? meaning_of(line + block->indent, length - block->indent) : 0;
    for (;;) {
        size_t skip = indent_of(line) < length ? indent_of(line) : length;
        text_append(&block->text, line + skip, length - skip);
        *at = line + length + (line[length] == '\n');
        if (block->blank || !goes_on(*at, block->indent)) return true;
        text_puts(&block->text, " ");
        line = *at;
        length = strcspn(line, "\n");
    }
}

/* ---- for a terminal ---- */

static void print_filled(const struct paragraph *block, FILE *out) {
    const char *word = block->text.data;
    size_t hang = block->indent + block->meaning, column = block->indent;
    fprintf(out, "%*s%.*s", (int)block->indent, "", (int)block->meaning, word);
    word += block->meaning;
    column += block->meaning;
    for (bool first = true; *word; first = false) {
        size_t length = strcspn(word, " ");
        if (!first && column + 1 + length > PAGE_COLUMNS) {
            fprintf(out, "\n%*s", (int)hang, "");
            column = hang;
        } else if (!first) {
            putc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", (int)length, word);
        column += length;
        word += length;
        word += strspn(word, " ");
    }
    putc('\n', out);
}

void page_print(const char *text, FILE *out) {
    struct paragraph block = {0};
    while (next_block(&block, &text)) {
        if (block.blank)
            putc('\n', out);
        else if (block.text.failed)
            break;
        else if (block.indent + block.text.length <= PAGE_COLUMNS)
            fprintf(out, "%*s%s\n", (int)block.indent, "", block.text.data);
        else
            print_filled(&block, out);
    }
    text_free(&block.text);
}

/* ---- as a man page ---- */

void page_print_roff_words(const char *words, size_t length, FILE *out) {
    if (length && (*words == '.' || *words == '\'')) fputs("\\&", out); /* else it would be a request */
    for (size_t i = 0; i < length; i++) {
        if (words[i] == '\\')
            fputs("\\e", out);
        else if (words[i] == '-')
            fputs("\\-", out);
        else
            putc(words[i], out);
    }
}

static void print_term(const char *term, size_t length, FILE *out) {
    while (length && term[length - 1] == ' ') length--;
    fputs(".TP\n\\fB", out);
    page_print_roff_words(term, length, out);
    fputs("\\fR\n", out);
}

/* Whether a term on a line of its own is before its meaning. */
static bool is_term_line(const struct paragraph *block, const char *next) {
    size_t indent = indent_of(next), length = strcspn(next, "\n");
    return block->indent == 0 && indent > 0 && indent <= INDENT_JOINED && indent < length &&
           !meaning_of(next + indent, length - indent);
}

void page_print_roff(const char *text, FILE *out) {
    struct paragraph block = {0};
    bool paragraph = false, defined = false; /* the next block begins a paragraph; is the meaning of a term */
    while (next_block(&block, &text) && !block.text.failed) {
        const char *words = block.blank ? "" : block.text.data;
        size_t length = block.blank ? 0 : block.text.length;
        if (block.blank) {
            paragraph = true;
            continue;
        }
        bool term = is_term_line(&block, text);
        if (block.meaning) {
            print_term(words, block.meaning, out);
            words += block.meaning;
            length -= block.meaning;
        } else if (term) {
            print_term(words, length, out);
            length = 0;
        } else if (block.indent && !defined) {
            fputs(".PP\n.nf\n    ", out);
        } else if (paragraph) {
            fputs(".PP\n", out);
        }
        page_print_roff_words(words, length, out);
        if (length) putc('\n', out);
        if (block.indent && !block.meaning && !defined) fputs(".fi\n", out);
        defined = term;
        paragraph = false;
    }
    text_free(&block.text);
}
