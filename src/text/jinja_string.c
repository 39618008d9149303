/* SPDX-License-Identifier: Apache-2.0 */
#include "text/jinja_string.h"
#include "base/text.h"
#include "text/unicode.h"
#include <string.h>

/* ---- code points ------------------------------------------------------------------------------------------------- */

/* Length of the character at `text`; 1 for a byte that begins none. */
static size_t code_at(const char *text, size_t length, uint32_t *code) {
    size_t n = utf8_decode((const uint8_t *)text, length, code);
    if (n == 0) *code = 0xfffd;
    return n ? n : 1;
}

static bool is_space(uint32_t code) {
    return unicode_class(code) == CHAR_SPACE || (code >= 0x1c && code <= 0x1f);
}

size_t jinja_leading_space(const char *text, size_t length) {
    size_t at = 0, n;
    for (uint32_t code; at < length; at += n) {
        n = code_at(text + at, length - at, &code);
        if (!is_space(code)) break;
    }
    return at;
}

/* Where the character that ends before `at` begins. */
static size_t step_back(const char *text, size_t at) {
    do at--;
    while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80);
    return at;
}

size_t jinja_trailing_space(const char *text, size_t length) {
    size_t at = length;
    while (at > 0) {
        uint32_t code;
        size_t begin = step_back(text, at);
        code_at(text + begin, at - begin, &code);
        if (!is_space(code)) break;
        at = begin;
    }
    return length - at;
}

size_t jinja_count_codes(const char *text, size_t length) {
    size_t count = 0;
    for (size_t i = 0; i < length; i++) count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

size_t jinja_offset(struct jinja_value string, size_t index) {
    size_t at = 0;
    while (at < string.length) {
        if (((unsigned char)string.text[at] & 0xc0) != 0x80 && index-- == 0) break;
        at++;
    }
    return at;
}

struct jinja_value jinja_substring(struct jinja_value string, size_t from, size_t to) {
    string.text += from;
    if (string.stranger) string.stranger += from;
    string.length = to > from ? (uint32_t)(to - from) : 0;
    return string;
}

/* Long parts cost steps where their beginning fits: else 'aa...ab' in 'aa...a' would take for ever. */
static bool stands_at(struct jinja_run *run, const char *at, struct jinja_value part) {
    size_t head = part.length < 16 ? part.length : 16;
    if (memcmp(at, part.text, head) != 0) return false;
    return head == part.length || (jinja_spend(run, part.length / 64) && memcmp(at, part.text, part.length) == 0);
}

size_t jinja_search(struct jinja_run *run, struct jinja_value string, struct jinja_value part, size_t from, size_t to,
                    bool last) {
    if (from > to || part.length > to - from) return SIZE_MAX;
    if (part.length == 0) return last ? to : from;
    size_t end = to - part.length + 1, at = from; /* behind the last place where it could stand */
    if (last) {
        for (at = end; at > from && !stands_at(run, string.text + at - 1, part);) at--;
        return jinja_spend(run, (end - at) / 16) && at > from ? at - 1 : SIZE_MAX;
    }
    for (; at < end; at++) {
        const char *first = memchr(string.text + at, part.text[0], end - at);
        at = first ? (size_t)(first - string.text) : end;
        if (first && stands_at(run, first, part)) break;
    }
    return jinja_spend(run, (at - from) / 16) && at < end ? at : SIZE_MAX;
}

/* ---- upper and lower case ---------------------------------------------------------------------------------------- */

static void put_upper(struct jinja_run *run, uint32_t code, bool stranger, bool title) {
    uint32_t out[3];
    int n = unicode_upper(code, title, out);
    for (int i = 0; i < n; i++) jinja_put_code(run, out[i], stranger);
}

static void put_lower(struct jinja_run *run, uint32_t code, bool stranger) {
    if (code == 0x130) { /* the one that becomes two */
        jinja_put_code(run, 'i', stranger);
        jinja_put_code(run, 0x307, stranger);
    } else {
        jinja_put_code(run, unicode_lower(code), stranger);
    }
}

/* A capital sigma at the end of a word has a form of its own. */
static bool ends_word(struct jinja_value string, size_t at, size_t n) {
    uint32_t code;
    if (at == 0) return false;
    size_t before = step_back(string.text, at);
    code_at(string.text + before, at - before, &code);
    if (!unicode_is_cased(code)) return false;
    if (at + n >= string.length) return true;
    code_at(string.text + at + n, string.length - at - n, &code);
    return !unicode_is_cased(code);
}

void jinja_put_case(struct jinja_run *run, struct jinja_value string, enum jinja_case to) {
    bool begins = true;
    size_t n;
    for (size_t at = 0; at < string.length && jinja_spend(run, 1); at += n) {
        uint32_t code;
        n = code_at(string.text + at, string.length - at, &code);
        bool stranger = string.stranger && string.stranger[at];
        if (to == JINJA_UPPER || (begins && to != JINJA_LOWER))
            put_upper(run, code, stranger, to != JINJA_UPPER);
        else if (code == 0x3a3 && ends_word(string, at, n))
            jinja_put_code(run, 0x3c2, stranger);
        else
            put_lower(run, code, stranger);
        begins = to == JINJA_TITLE && !unicode_is_cased(code);
    }
}

struct jinja_value jinja_case(struct jinja_run *run, struct jinja_value string, enum jinja_case to) {
    size_t mark = run->out.length;
    jinja_put_case(run, string, to);
    struct jinja_value changed = jinja_take(run, mark);
    changed.markup = string.markup;
    return changed;
}

bool jinja_has_case(struct jinja_run *run, struct jinja_value text, bool upper) {
    bool found = false;
    size_t n;
    for (size_t at = 0; at < text.length && jinja_spend(run, 1); at += n) {
        uint32_t code, out[3];
        n = code_at(text.text + at, text.length - at, &code);
        if (!unicode_is_cased(code)) continue;
        bool is_upper = unicode_upper(code, 0, out) == 1 && out[0] == code;
        if (is_upper != upper) return false;
        found = true;
    }
    return found;
}

/* ---- cutting ----------------------------------------------------------------------------------------------------- */

static bool in_set(struct jinja_value set, const char *character, size_t n) {
    return text_find(set.text, set.length, character, n) != NULL;
}

struct jinja_value jinja_strip(struct jinja_run *run, struct jinja_value string, struct jinja_value set, bool left,
                               bool right) {
    size_t from = 0, to = string.length;
    if (set.type != JINJA_STRING) {
        if (right) to -= jinja_trailing_space(string.text, to);
        if (left) from = jinja_leading_space(string.text, to);
        jinja_spend(run, (from + string.length - to) / 4);
        return jinja_substring(string, from, to);
    }
    while (left && from < to && jinja_spend(run, 1 + set.length / 64)) {
        uint32_t code;
        size_t n = code_at(string.text + from, to - from, &code);
        if (!in_set(set, string.text + from, n)) break;
        from += n;
    }
    while (right && to > from && jinja_spend(run, 1 + set.length / 64)) {
        size_t begin = step_back(string.text, to);
        if (!in_set(set, string.text + begin, to - begin)) break;
        to = begin;
    }
    return jinja_substring(string, from, to);
}

struct jinja_value jinja_replace(struct jinja_run *run, struct jinja_value string, struct jinja_value from,
                                 struct jinja_value to, int64_t count) {
    size_t mark = run->out.length, at = 0;
    uint32_t code;
    for (int64_t i = 0; (count < 0 || i < count) && at <= string.length && jinja_spend(run, 1); i++) {
        size_t found = jinja_search(run, string, from, at, string.length, false);
        if (found == SIZE_MAX) break;
        jinja_put_value(run, string, at, found);
        jinja_put_value(run, to, 0, to.length);
        at = found + from.length;
        if (from.length > 0) continue;
        size_t n = at < string.length ? code_at(string.text + at, string.length - at, &code) : 1;
        if (at < string.length) jinja_put_value(run, string, at, at + n);
        at += n;
    }
    jinja_put_value(run, string, at, string.length);
    return jinja_take(run, mark);
}

/* Bytes of the line end at `at`, 0 if there is none: those that str.splitlines knows. */
static size_t line_end(struct jinja_value string, size_t at) {
    uint32_t code;
    size_t n = code_at(string.text + at, string.length - at, &code);
    if (code == '\r') return at + 1 < string.length && string.text[at + 1] == '\n' ? 2 : 1;
    bool ends = (code >= '\n' && code <= '\f') || (code >= 0x1c && code <= 0x1e) || code == 0x85 || code == 0x2028 ||
                code == 0x2029;
    return ends ? n : 0;
}

struct jinja_value jinja_lines(struct jinja_run *run, struct jinja_value string, bool keep_ends) {
    size_t count = 0;
    for (size_t at = 0, n; at < string.length; at += n ? n : 1) count += (n = line_end(string, at)) > 0;
    struct jinja_value *lines =
        jinja_spend(run, count + string.length / 16) ? jinja_alloc(run, count + 1, sizeof *lines) : NULL;
    size_t used = 0, from = 0;
    for (size_t at = 0; lines && at < string.length;) {
        size_t n = line_end(string, at);
        if (n) {
            lines[used++] = jinja_substring(string, from, keep_ends ? at + n : at);
            from = at + n;
        }
        at += n ? n : 1;
    }
    if (lines && from < string.length) lines[used++] = jinja_substring(string, from, string.length);
    return jinja_sequence(JINJA_LIST, lines, used);
}
