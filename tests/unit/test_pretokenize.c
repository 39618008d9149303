/* SPDX-License-Identifier: Apache-2.0
 *
 * The splitters against the published expressions, run by PCRE2 on random text, and the UTF-8 that they stand on.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/mem.h"
#include "base/rng.h"
#include "check.h"
#include "text/pretokenize.h"
#include "text/unicode.h"
#include <pcre2.h>
#include <string.h>

/* ---- the published expressions ----------------------------------------------------------------------------------- */

static const char gpt2_expression[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
static const char llama3_expression[] =
    "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
static const char qwen2_expression[] =
    "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

static pcre2_code *compile(const char *expression) {
    int error;
    PCRE2_SIZE at;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)expression, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &error, &at, NULL);
    assert_non_null(code);
    return code;
}

/* Ends of the pieces of text[0..length) appended to `ends`; the subject ends at `length`, as `offset` is its start. */
static int pieces_by(const pcre2_code *code, pcre2_match_data *match, const uint8_t *text, size_t length, size_t offset,
                     size_t *ends) {
    int n = 0;
    for (size_t at = 0; at < length; n++) {
        assert_true(pcre2_match(code, text, length, at, PCRE2_ANCHORED, match, NULL) > 0);
        at = pcre2_get_ovector_pointer(match)[1];
        ends[n] = offset + at;
    }
    return n;
}

/* As the expressions are applied one after the other: each number alone, then gpt-2 on what lies between. */
static int smollm_pieces(const pcre2_code *gpt2, const pcre2_code *number, pcre2_match_data *match, const uint8_t *text,
                         size_t length, size_t *ends) {
    int n = 0;
    for (size_t at = 0; at < length;) {
        size_t begin = length, end = length;
        if (pcre2_match(number, text, length, at, 0, match, NULL) > 0) {
            begin = pcre2_get_ovector_pointer(match)[0];
            end = pcre2_get_ovector_pointer(match)[1];
        }
        n += pieces_by(gpt2, match, text + at, begin - at, at, ends + n);
        if (begin < length) ends[n++] = end;
        at = end;
    }
    return n;
}

static int our_pieces(enum pretokenizer kind, const uint8_t *text, size_t length, size_t *ends) {
    int n = 0;
    for (size_t at = 0; at < length; n++) {
        size_t piece = pretokenize_next(kind, text + at, length - at);
        assert_in_range(piece, 1, length - at);
        at += piece;
        ends[n] = at;
    }
    return n;
}

static void assert_same(const char *name, const uint8_t *text, size_t length, const size_t *a, int n_a, const size_t *b,
                        int n_b) {
    if (n_a == n_b && memcmp(a, b, (size_t)n_a * sizeof *a) == 0) return;
    print_error("%s: %d pieces, expected %d, of:", name, n_a, n_b);
    for (size_t i = 0; i < length; i++) print_error(" %02x", text[i]);
    print_error("\n");
    fail();
}

/* Characters of every class and every one that an expression names; all older than any PCRE2, and without U+180E, which
 * PCRE2 alone counts as a space. */
static const uint32_t alphabet[] = {
    ' ',    ' ',     ' ',     '\t',   '\n', '\n',    '\r',    '\v',   '\f',   0x85,   0xa0,     0x2003, 0x2028, 0x3000,
    0x1c,   '\'',    '\'',    '\'',   's',  't',     'r',     'e',    'v',    'm',    'l',      'd',    'S',    'T',
    'R',    'E',     'V',     'M',    'L',  'D',     'a',     'Z',    0xe9,   0x3b1,  0x416,    0x5d0,  0x905,  0x4e00,
    0xac00, 0x10330, 0x20000, '0',    '1',  '9',     0xb2,    0xbd,   0x660,  0x2160, 0x1d7d8,  '.',    ',',    '(',
    '-',    0x301,   0x94d,   0x200d, 0,    0x1f600, 0x1f3fd, 0xfe0f, 0xe000, 0xffff, 0x10ffff,
};

static size_t random_text(struct rng *r, uint8_t *text) {
    size_t length = 0;
    int n = (int)rng_below(r, 24) + 1;
    for (int i = 0; i < n; i++) {
        uint32_t code = alphabet[rng_below(r, sizeof alphabet / sizeof *alphabet)];
        int repeat = rng_below(r, 4) ? 1 : (int)rng_below(r, 4) + 1;
        while (repeat--) length += utf8_encode(code, text + length);
    }
    return length;
}

static void splitters_equal_the_expressions(void **state) {
    (void)state;
    pcre2_code *gpt2 = compile(gpt2_expression), *llama3 = compile(llama3_expression),
               *qwen2 = compile(qwen2_expression);
    pcre2_code *number = compile("\\p{N}");
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    struct rng r = rng_make(1, RNG_TEST, 0, 0, 0);
    for (int round = 0; round < 50000; round++) {
        uint8_t text[24 * 4 * 4];
        size_t length = random_text(&r, text), mine[sizeof text], theirs[sizeof text];
        int n = pieces_by(gpt2, match, text, length, 0, theirs);
        assert_same("gpt-2", text, length, mine, our_pieces(PRE_GPT2, text, length, mine), theirs, n);
        n = smollm_pieces(gpt2, number, match, text, length, theirs);
        assert_same("smollm", text, length, mine, our_pieces(PRE_SMOLLM, text, length, mine), theirs, n);
        n = pieces_by(llama3, match, text, length, 0, theirs);
        assert_same("llama3", text, length, mine, our_pieces(PRE_LLAMA3, text, length, mine), theirs, n);
        n = pieces_by(qwen2, match, text, length, 0, theirs);
        assert_same("qwen2", text, length, mine, our_pieces(PRE_QWEN2, text, length, mine), theirs, n);
    }
    pcre2_match_data_free(match);
    pcre2_code_free(gpt2);
    pcre2_code_free(llama3);
    pcre2_code_free(qwen2);
    pcre2_code_free(number);
}

/* ---- a few that a person can read -------------------------------------------------------------------------------- */

static void check_cut(enum pretokenizer kind, const char *text, const char *expected) {
    char cut[256] = "";
    for (size_t at = 0, length = strlen(text), n; at < length; at += n) {
        n = pretokenize_next(kind, (const uint8_t *)text + at, length - at);
        if (at) strcat(cut, "|");
        strncat(cut, text + at, n);
    }
    assert_string_equal(cut, expected);
}

static void known_cuts(void **state) {
    (void)state;
    check_cut(PRE_GPT2, "It's 1234  words!!\n\n  end  ", "It|'s| 1234| | words|!!|\n\n | end|  ");
    check_cut(PRE_SMOLLM, "It's 1234  5 x", "It|'s| |1|2|3|4|  |5| x");
    check_cut(PRE_LLAMA3, "I'LL 12345 (ok);\n\n\tx \n  y", "I|'LL| |123|45| (|ok|);\n\n|\tx| \n| | y");
    check_cut(PRE_QWEN2, "I'LL 12345 (ok)", "I|'LL| |1|2|3|4|5| (|ok|)");
    check_cut(PRE_GPT2, "don'T 'll ''s", "don|'|T| '|ll| ''|s");
}

/* Text that would be scanned again and again by a careless splitter; the suite's time limit catches that. */
static void long_runs_are_cut_in_linear_time(void **state) {
    (void)state;
    const char *const units[] = {" ", "\n",       " \n",          "\t ",  "'",  "a",  "1",
                                 "!", "\xc2\x85", "\xe4\xb8\x80", "\xff", " a", " !", "\n "};
    size_t length = 1 << 20;
    uint8_t *text = mem_alloc(length, 1);
    assert_non_null(text);
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        for (size_t i = 0; i < length; i++) text[i] = (uint8_t)units[u][i % strlen(units[u])];
        for (int kind = PRE_GPT2; kind <= PRE_QWEN2; kind++) {
            size_t at = 0;
            while (at < length) at += pretokenize_next((enum pretokenizer)kind, text + at, length - at);
            assert_int_equal(at, length);
        }
    }
    mem_free(text);
}

/* ---- UTF-8 and classes ------------------------------------------------------------------------------------------- */

static void classes(void **state) {
    (void)state;
    static const struct {
        uint32_t code;
        enum char_class expected;
    } cases[] = {
        {0, CHAR_OTHER},        {' ', CHAR_SPACE},      {0x85, CHAR_SPACE},     {0x180e, CHAR_OTHER},
        {0x200b, CHAR_OTHER},   {0x1c, CHAR_OTHER},     {0x3000, CHAR_SPACE},   {'Z', CHAR_LETTER},
        {0xaa, CHAR_LETTER},    {0x2bf, CHAR_LETTER},   {0x301, CHAR_OTHER},    {0x31350, CHAR_LETTER},
        {0x2ebf0, CHAR_LETTER}, {0xb2, CHAR_NUMBER},    {0x3007, CHAR_NUMBER},  {0x1d7ff, CHAR_NUMBER},
        {0xd800, CHAR_OTHER},   {0x10ffff, CHAR_OTHER}, {0x110000, CHAR_OTHER}, {0xffffffff, CHAR_OTHER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(unicode_class(cases[i].code), cases[i].expected);
}

static void every_character_survives(void **state) {
    (void)state;
    for (uint32_t code = 0; code <= 0x10ffff; code++) {
        uint8_t bytes[4];
        uint32_t back = 0;
        size_t n = utf8_encode(code, bytes);
        assert_int_equal(utf8_decode(bytes, n, &back), n);
        assert_int_equal(back, code);
        assert_true(utf8_is_clean(bytes, n));
        assert_int_equal(utf8_decode(bytes, n - 1, &back), 0);
    }
}

static void malformed_text_is_repaired_as_llama_cpp_does(void **state) {
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"abc", "abc"},
        {"\xff", "\xef\xbf\xbd"},
        {"a\x80z", "a\xef\xbf\xbdz"},
        {"\xe4\xbd", "\xef\xbf\xbd\xef\xbf\xbd"}, /* cut short: one for each byte */
        {"\xe4\xbd!", "\xef\xbf\xbd\xef\xbf\xbd!"},
        {"\xc1\x81", "A"}, /* over-long */
        {"\xe0\x81\x81\xf0\x80\x81\x81", "AA"},
        {"\xed\xa0\x80", "\xed\xa0\x80"}, /* a surrogate stays */
        {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* above U+10FFFF */
        {"\xf8\x88\x80\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"12345678\xc3", "12345678\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        opsm_error err = {0};
        const uint8_t *text = (const uint8_t *)cases[i].text;
        size_t length = strlen(cases[i].text), fixed_length;
        uint8_t *fixed;
        assert_ok(utf8_repair(text, length, &fixed, &fixed_length, &err));
        assert_int_equal(fixed_length, strlen(cases[i].expected));
        assert_memory_equal(fixed, cases[i].expected, fixed_length);
        assert_int_equal(utf8_is_clean(text, length), strcmp(cases[i].text, cases[i].expected) == 0);
        assert_true(utf8_is_clean(fixed, fixed_length));
        mem_free(fixed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splitters_equal_the_expressions),
        cmocka_unit_test(known_cuts),
        cmocka_unit_test(long_runs_are_cut_in_linear_time),
        cmocka_unit_test(classes),
        cmocka_unit_test(every_character_survives),
        cmocka_unit_test(malformed_text_is_repaired_as_llama_cpp_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
