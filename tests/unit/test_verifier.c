/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/mem.h"
#include "check.h"
#include "judge.h"
#include "reward/expression.h"
#include "reward/verifier.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static opsm_error err;

static struct problem problem_with(const char *answer) {
    return (struct problem){.prompt = "p", .answer = answer, .solution = ""};
}

static struct reward *make(struct verifier_words spec) {
    struct reward *reward;
    if (spec.weight == 0) spec.weight = 1;
    assert_ok(reward_of(&reward, &spec, 1, &err));
    return reward;
}

/* The score of one finished response under one verifier. */
static double score_of(struct verifier_words spec, const char *answer, const char *text) {
    struct reward *reward = make(spec);
    struct problem problem = problem_with(answer);
    double score = reward_score(reward, &problem, text, strlen(text), true, NULL);
    reward_free(reward);
    return score;
}

struct expectation {
    const char *answer, *text;
    int score;
};

static void expect_all(struct verifier_words spec, const struct expectation *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double score = score_of(spec, rows[i].answer, rows[i].text);
        if (score != rows[i].score)
            fail_msg("%s: answer '%s', response '%s': score %g, expected %d", spec.type, rows[i].answer, rows[i].text,
                     score, rows[i].score);
    }
}
#define EXPECT_ALL(spec, rows) expect_all(spec, rows, sizeof(rows) / sizeof *(rows))

static void exact(void **state) {
    (void)state;
    const struct expectation rows[] = {
        {"46", "46", 1},           {"46", " 46\n", 1},  {"46", "46.", 0},      {"46", "4 6", 0},
        {"1 2 3", "1  2\n\t3", 1}, {"1 2 3", "123", 0}, {"Paris", "paris", 0}, {"Paris", "", 0},
        {"46", "046", 0},          {"1 2", "1 2 3", 0}, {"1 2 3", "1 2", 0},   {"é", "é", 1},
    };
    EXPECT_ALL((struct verifier_words){.type = "exact"}, rows);
    const struct expectation any_case[] = {{"Paris", "pARIS ", 1}, {"Paris", "Pari", 0}};
    EXPECT_ALL(((struct verifier_words){.type = "exact", .settings = {"ignore_case=true"}}), any_case);
    struct reward *reward = make((struct verifier_words){.type = "exact"});
    struct problem problem = problem_with("46");
    assert_true(reward_score(reward, &problem, "46", 2, false, NULL) == 0); /* cut off */
    assert_true(reward_score(reward, &problem, "46\0", 3, true, NULL) == 0);
    assert_true(reward_score(reward, &problem, NULL, 0, true, NULL) == 0);
    reward_free(reward);
    reward = make((struct verifier_words){.type = "exact", .settings = {"unfinished_ok=true"}});
    assert_true(reward_score(reward, &problem, "46", 2, false, NULL) == 1);
    reward_free(reward);
}

static void contains(void **state) {
    (void)state;
    const struct expectation rows[] = {
        {"4", "it is 4.", 1},
        {"4", "14", 0},
        {"4", "4", 1},
        {"4", "41 4", 1},
        {"4", "", 0},
        {"Oslo", "in Oslo", 1},
        {"Oslo", "oslo", 0},
        {"Oslo", "Osloer", 0},
        {"4", "_4", 0},
        {"aa", "aaa", 0},
        {"aa", "aaa aa", 1},
        {"$5", "x$5", 1},
        {"ab ab", "ab ab ab", 1},
        {"4", "é4é", 0},
        {"1", "1.5", 0},
        {"234", "1,234", 0},
        {"4", "3/4", 0},
        {"4", "3 / 4", 0},
        {"3", "3/4", 0},
        {"3", "3 / 4", 0},
        {"caf", "café", 0},
        {"cafe", "cafe\u0301", 0},
        {"\u0301a", "\n\u0301a", 1}, /* a mark on nothing continues nothing */
        {"af", "caf", 0},
        {"234", "1{,}234", 0},
        {"234", "1\\,234", 0},
        {"1", "1{,}234", 0},
        {"1", "1\\,234", 0},
        {"4", "-4", 0},
        {"4", "2-4", 0},
        {"2", "2-4", 0},
        {"4", "2–4", 0},
        {"2024", "2024-05-06", 0},
        {"30", "10:30", 0},
        {"10", "10:30", 0},
        {"2", "x^2", 0},
        {"2", "x^{2}", 0},
        {"2", "2^x", 0},
        {"90", "90^\\circ", 1},
        {"3", "\\frac{3}{4}", 0},
        {"4", "\\frac{3}{4}", 0},
        {"2", "2\\sqrt{3}", 0},
        {"3", "2\\sqrt{3}", 0},
        {"4", "\\boxed{4}", 1},
        {"4", "\\text{4}", 1},
        {"1", "1 1/2", 0},
        {"1.5", "1.5 \\times 10^3", 0},
        {"1.5", "is 1.5.", 1},
        {"4", "4½", 0},
        {"4", "4²", 0},
        {"4", "$4", 1},
        {"4", "4%", 1},
        {"4", "(4)", 1},
        {"4", "4, 5", 1},
        {"3/4", "3/4", 1},
        {"3/4", "1 3/4", 0}, /* a mixed number */
        {"3/4", "of 3/4", 1},
        {"3/4", "13/4", 0},
        {"-5", "3-5", 0},
        {"-5", "is -5", 1},
        {".5", "1.5", 0},
        {"can", "can't", 0},
        {"Paris", "Paris's", 1},
        {"Paris", "Paris.", 1},
        {"Paris", "\"Paris\"", 1},
        {"t", "can't", 0},
        {"ß", "groß", 0},
        {"是5", "答案是5。", 0},
        {"5", "1'5", 0},
        {"5",
         "\xff"
         "5",
         1},
    };
    EXPECT_ALL((struct verifier_words){.type = "contains"}, rows);
    const struct expectation fixed[] = {{"", "I am SORRY.", 1}, {"", "sorr", 0}, {"", "sorryful", 0}};
    EXPECT_ALL(((struct verifier_words){.type = "contains", .settings = {"pattern=sorry", "ignore_case=true"}}), fixed);
    char long_answer[5000];
    memset(long_answer, 'a', sizeof long_answer);
    long_answer[4999] = '\0';
    struct reward *reward = make((struct verifier_words){.type = "contains"});
    struct problem problem = problem_with(long_answer);
    assert_int_equal(reward_check(reward, &problem, &err), OPSM_INVALID);
    assert_true(reward_score(reward, &problem, long_answer, 4999, true, NULL) == 0);
    problem.answer = long_answer + 4999 - 4096;
    assert_true(reward_score(reward, &problem, long_answer + 4999 - 4096, 4096, true, NULL) == 1);
    reward_free(reward);
}

static void choice(void **state) {
    (void)state;
    const struct expectation rows[] = {
        {"A", "A", 1},
        {"A", "a", 1},
        {"A", "(A)", 1},
        {"A", "A.", 1},
        {"A", "A)", 1},
        {"A", "**A**", 1},
        {"A", "**A.**", 1},
        {"A", "[A]", 1},
        {"A", "$A$", 1},
        {"A", "\\boxed{A}", 1},
        {"A", "\\boxed{\\text{A}}", 1},
        {"A", "\\boxed{\\textbf{(A)}}", 1},
        {"A", "\\boxed{(A)}", 1},
        {"A", "\\boxed{A. Paris}", 1},
        {"A", "<answer>A</answer>", 1},
        {"A", "Answer: A", 1},
        {"A", "**Answer:** A", 1},
        {"A", "**Answer: A**", 1},
        {"A", "The answer is A.", 1},
        {"A", "The answer is (A).", 1},
        {"A", "the answer is: **A**", 1},
        {"A", "The answer is A because B is wrong.", 1},
        {"A", "The correct answer is option A", 1},
        {"A", "The answer is (A) Paris, not (B).", 1},
        {"A", "Answer: A. Paris", 1},
        {"A", "Option A", 1},
        {"A", "A. Paris", 1},
        {"A", "(A) Paris", 1},
        {"A", "A: Paris", 1},
        {"A", "#### A", 1},
        {"(b)", "Answer: b", 1},
        {"b.", "(B)", 1},
        {"B", "(A) is false, so (B).\nAnswer: B", 1},
        {"B", "A and C are wrong.\n\n**B**", 1},
        {"B", "It must be (B), for (B) fits.", 1},
        {"B", "Answer: A. No. Answer: B", 1},
        {"B", "I would go for option B here", 1},
        {"J", "J", 1},
        {"A", "A\n\nBecause Paris is it.", 1},
        {"C", "A. x\nB. y\nC. z", 0},
        {"C", "A. x\nB. y\nC. z\n**C**", 1},
        {"C", "(C), (D)", 0},
        {"A", "B", 0},
        {"A", "", 0},
        {"A", "A man", 0},
        {"A", "A man came", 0},
        {"A", "not (A)", 0},
        {"A", "(A) is wrong", 0},
        {"A", "Option A is incorrect.", 0},
        {"A", "A: wrong, B: right", 0},
        {"A", "(B) is wrong, (C) is not it either, so (A)", 1},
        {"A", "The correct option is A.", 1},
        {"A", "Correct option: A", 1},
        {"A", "Answer\xef\xbc\x9a (A)", 1},
        {"A", "The answer is A man", 0},
        {"A", "The answer is a man", 0},
        {"A", "The answer is a.", 1},
        {"A", "A or B", 0},
        {"B", "A or B", 0},
        {"A", "The answer is A or B", 0},
        {"B", "The answer is A or B", 0},
        {"A", "The answer is (A) and (C)", 0},
        {"A", "(A) or (B)", 0},
        {"A", "Either (A) or (B).", 0},
        {"A", "\\boxed{A, B}", 0},
        {"A", "\\boxed{AB}", 0},
        {"B", "The answer is not B", 0},
        {"B", "The answer isn't (B).", 0},
        {"A", "\\boxed{A} \\boxed{B}", 0},
        {"A", "\\boxed{A", 0},
        {"A", "A. Paris\nB. London", 0},
        {"A", "Apple", 0},
        {"A", "A-team", 0},
        {"A", "f(A)", 0},
        {"A", "A\u0301", 0},
        {"C", "C'est la vie", 0},
        {"A", "AA", 0},
        {"A", "A1", 0},
        {"A", "\\boxed{A man}", 0},
        {"A", "A/B", 0},
        {"A", "A, B", 0},
        {"I", "I think so", 0},
        {"I", "Answer: I think B", 0},
        {"A", "Answer: A, B", 0},
    };
    EXPECT_ALL((struct verifier_words){.type = "choice"}, rows);
    struct reward *reward = make((struct verifier_words){.type = "choice"});
    const char *refused[] = {"Paris", "A or B", "K", "1", "A. Paris", "AB"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct problem problem = problem_with(refused[i]);
        assert_int_equal(reward_check(reward, &problem, &err), OPSM_FORMAT);
        assert_non_null(strstr(err.text, "a letter from A to J"));
    }
    struct problem problem = problem_with("A");
    assert_true(reward_score(reward, &problem, "Answer: A", 9, false, NULL) == 0);
    assert_true(reward_score(reward, &problem, "\\boxed{A} x", 11, false, NULL) == 1);
    reward_free(reward);
}

/* The last match, and comparison as numbers. */
static void regex_settings(void **state) {
    (void)state;
    const struct expectation last[] = {
        {"345", "is 12, is 345", 1}, {"12", "is 12, is 345", 0}, {"12", "is 12, was 345", 1}, {"12", "was 12", 0}};
    EXPECT_ALL(
        ((struct verifier_words){.type = "regex", .settings = {"pattern=is (?<answer>\\d+)", "last_match=true"}}),
        last);
    const struct expectation empty[] = {{"", "aé", 1}, {"", "", 1}};
    EXPECT_ALL(((struct verifier_words){.type = "regex", .settings = {"pattern=x*", "last_match=true"}}), empty);
    const struct expectation numbers[] = {
        {"1234", "is 1,234.0!", 1}, {"1/2", "is 0.5!", 1}, {"5", "is 5 or 6!", 0}, {"5", "is 5x!", 0}};
    EXPECT_ALL(
        ((struct verifier_words){.type = "regex", .settings = {"pattern=is (?<answer>[^!]+)!", "as_number=true"}}),
        numbers);
    const struct expectation near[] = {{"100", "is 99.5", 1}, {"100", "is 98", 0}};
    EXPECT_ALL(((struct verifier_words){.type = "regex",
                                        .settings = {"pattern=is (?<answer>.+)", "as_number=true", "tolerance=0.01"}}),
               near);
    struct reward *reward =
        make((struct verifier_words){.type = "regex", .settings = {"pattern=(?<answer>.+)", "as_number=true"}});
    struct problem problem = problem_with("10:30");
    assert_int_equal(reward_check(reward, &problem, &err), OPSM_FORMAT);
    reward_free(reward);
}

static void regex(void **state) {
    (void)state;
    const struct expectation search[] = {{"", "ANSWER: 12", 1}, {"", "ANSWER: x", 0}, {"", "so\nANSWER: 7\n", 1}};
    EXPECT_ALL(((struct verifier_words){.type = "regex", .settings = {"pattern=ANSWER: \\d+"}}), search);
    const struct expectation letters[] = {{"", "so B", 1}, {"", "so E", 0}}; /* a text that would be a list of YAML */
    EXPECT_ALL(((struct verifier_words){.type = "regex", .settings = {"pattern=[A-D]"}}), letters);
    const struct expectation group[] = {
        {"12", "ANSWER: 12", 1}, {"12", "ANSWER: 13", 0}, {"12", "ANSWER:   12  ", 1}, {"12", "12", 0}};
    EXPECT_ALL(((struct verifier_words){.type = "regex", .settings = {"pattern=ANSWER: (?<answer>.*)"}}), group);
    const struct expectation optional[] = {{"12", "x", 0}, {"12", "x12", 1}};
    EXPECT_ALL(((struct verifier_words){.type = "regex", .settings = {"pattern=x(?<answer>\\d+)?"}}), optional);
    const struct expectation accents[] = {{"", "É", 1}, {"", "e", 0}};
    EXPECT_ALL(((struct verifier_words){.type = "regex", .settings = {"pattern=^é$", "ignore_case=true"}}), accents);
    struct reward *reward = make((struct verifier_words){.type = "regex", .settings = {"pattern=b$"}});
    struct problem problem = problem_with("");
    assert_true(reward_score(reward, &problem, "\xff\0\xc3 b", 5, true, NULL) == 1); /* invalid UTF-8, NUL */
    assert_true(reward_score(reward, &problem, "\xff", 1, false, NULL) == 0);
    reward_free(reward);
}

static void format(void **state) {
    (void)state;
    const struct expectation plain[] = {{"", "fine", 1},
                                        {"", " ", 0},
                                        {"", "", 0},
                                        {"", "bell\a", 0},
                                        {"", "é", 1},
                                        {"", "\xc3", 0},
                                        {"", "\xed\xa0\x80", 0},
                                        {"", "a\tb\r\n", 1},
                                        {"", "\xc0\x80", 0},
                                        {"", "\xf4\x90\x80\x80", 0},
                                        {"", "\xf0\x9f\x98\x80", 1}};
    EXPECT_ALL((struct verifier_words){.type = "format"}, plain);
    const struct expectation shaped[] = {{"", "<a>x</a>", 1}, {"", "\n<a>x</a>\n", 1},    {"", "<a>x", 0},
                                         {"", "x</a>", 0},    {"", "<a>12345678</a>", 0}, {"", "<a></a></a>", 0},
                                         {"", "</a><a>", 0}};
    EXPECT_ALL(((struct verifier_words){
                   .type = "format", .settings = {"max_length=12", "prefix=<a>", "suffix=</a>", "tags=[<a>, </a>]"}}),
               shaped);
    struct reward *reward = make((struct verifier_words){.type = "format"});
    struct problem problem = problem_with("");
    assert_true(reward_score(reward, &problem, "fine", 4, false, NULL) == 0);
    assert_true(reward_score(reward, &problem, "a\0b", 3, true, NULL) == 0);
    reward_free(reward);
}

static void expression_scores(void **state) {
    (void)state;
    const int64_t numbers[] = {3, 5, 2, 3};
    const struct {
        const char *text;
        int score;
    } rows[] = {
        {"(3+5)*2", 1},
        {"( 3 + 5 ) * 2 = 16", 1},
        {"(3+5)*2=16.", 1},
        {"(3+5)*2 = 17", 0}, /* states a wrong value */
        {"(3+5)*2 = 16 = 16", 0},
        {"(3+5)*2 is it", 0},
        {"My way:\n(3+5)*2\n\n", 1},
        {"(3+5)*2\nis 16", 0},
        {"I say \\boxed{(3+5)*2}, surely", 1},
        {"<answer>(3+5)*2</answer>", 1},
        {"<answer>1</answer> <answer> (3+5)*2 </answer>.", 1},
        {"(5+3)\xc3\x97"
         "2",
         1},
        {"3*3+5+2", 1}, /* both threes */
        {"16", 0},      /* not given */
        {"5*3+3/3", 0}, /* three threes */
        {"2*2*2*2", 0},
        {"-3+5*2", 0}, /* no unary minus */
        {"(3+5)*2)", 0},
        {"((3+5)*2", 0},
        {"3+5", 0},
        {"", 0},
        {"(3+5)(2)", 0},
        {"3**2", 0},
        {"5/(3-3)", 0},
    };
    struct reward *reward = make((struct verifier_words){.type = "expression"});
    struct problem problem = {
        .prompt = "p", .answer = "", .solution = "", .numbers = numbers, .n_numbers = 4, .target = 16};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double score = reward_score(reward, &problem, rows[i].text, strlen(rows[i].text), true, NULL);
        if (score != rows[i].score) fail_msg("'%s' scored %g", rows[i].text, score);
    }
    assert_true(reward_score(reward, &problem, "(3+5)*2", 7, false, NULL) == 0);
    assert_true(reward_score(reward, &problem, "(3+5)*2\0", 8, true, NULL) == 0);
    problem.n_numbers = 0;
    assert_int_equal(reward_check(reward, &problem, &err), OPSM_MISSING);
    assert_non_null(strstr(err.text, "needs `numbers`, a list of whole numbers, and `target`"));
    reward_free(reward);
}

struct digit_row {
    const char *text;
    int score;
};

static void expect_digits(const char *type, const int64_t *numbers, int n, int64_t target, const struct digit_row *rows,
                          size_t n_rows) {
    struct reward *reward = make((struct verifier_words){.type = type});
    struct problem problem = {
        .prompt = "p", .answer = "", .solution = "", .numbers = numbers, .n_numbers = n, .target = target};
    assert_ok(reward_check(reward, &problem, &err));
    for (size_t i = 0; i < n_rows; i++) {
        double score = reward_score(reward, &problem, rows[i].text, strlen(rows[i].text), true, NULL);
        if (score != rows[i].score) fail_msg("%s: '%s' scored %g", type, rows[i].text, score);
        assert_true(reward_score(reward, &problem, rows[i].text, strlen(rows[i].text), false, NULL) == 0);
    }
    problem.n_numbers = strcmp(type, "path") == 0;
    assert_int_equal(reward_check(reward, &problem, &err), OPSM_MISSING);
    assert_non_null(strstr(err.text, type));
    const int64_t wide[] = {3, 10, 3};
    problem.numbers = wide;
    problem.n_numbers = 3;
    assert_int_equal(reward_check(reward, &problem, &err), OPSM_MISSING);
    assert_true(reward_score(reward, &problem, "333", 3, true, NULL) == 0);
    reward_free(reward);
}

/* Digits 5 8 7, target 2 = 5 + 7 mod 10; 0 0 7, 5 5 2, 5 3 0, 0 8 5 ... are the sums; the ring is 0 to 9, walls at 5, 3
 * and 7 around the way from 2 to 0. */
static void digit_walks_score(void **state) {
    (void)state;
    const int64_t digits[] = {5, 8, 7}, walls[] = {2, 5, 3, 7};
    const struct digit_row sums[] = {
        {"552", 1}, {" 552\n", 1}, {"530", 0},   {"007", 0}, {"085", 0}, {"522", 0},          {"222", 0},
        {"55", 0},  {"5522", 0},   {"5 5 2", 0}, {"", 0},    {"55:", 0}, {"\xff\xff\xff", 0},
    };
    expect_digits("subset", digits, 3, 2, sums, sizeof sums / sizeof *sums);
    const struct digit_row ways[] = {
        {"110", 1}, {"100", 1},  {"210", 1}, {"220", 0}, /* beside the wall around 3 */
        {"109", 0},                                      /* not the goal */
        {"120", 0}, {"310", 0},                          /* two lanes at once */
        {"410", 0},                                      /* in the wall around 5 */
        {"11", 0},  {"1100", 0}, {"11:", 0}, {"", 0},    {"a10", 0}, {"\n110 ", 1},
    };
    expect_digits("path", walls, 4, 0, ways, sizeof ways / sizeof *ways);
}

/* 1500 random expressions against Python's parser and exact fractions; see tests/golden/make_expressions.py. */
static void expressions_match_python(void **state) {
    (void)state;
    FILE *file = fopen(OPSM_SOURCE_DIR "/tests/golden/expressions.tsv", "r");
    assert_non_null(file);
    char line[1024];
    int valued = 0, refused = 0;
    while (fgets(line, sizeof line, file)) {
        char *tab = strchr(line, '\t');
        assert_non_null(tab);
        struct expression result;
        bool ok = expression_evaluate((struct span){line, (size_t)(tab - line)}, &result);
        if (tab[1] == '-' && tab[2] == '\n') {
            if (ok) fail_msg("should be refused: %s", line);
            refused++;
            continue;
        }
        long long over, under;
        assert_int_equal(sscanf(tab + 1, "%lld/%lld", &over, &under), 2);
        if (!ok || result.value.over != over || result.value.under != under) fail_msg("%s", line);
        valued++;
    }
    fclose(file);
    assert_true(valued > 800 && refused > 300);
}

static char *repeated(const char *unit, size_t size) {
    size_t length = strlen(unit);
    char *text = mem_alloc(size, 1);
    for (size_t i = 0; i < size; i++) text[i] = unit[i % length];
    return text;
}

/* Megabytes of what each verifier is weakest at: scored 0, and in linear time. The limit of two seconds for a megabyte
 * is a hundred times what is needed; a quadratic scan would take an hour. */
static void hostile_responses_end_soon(void **state) {
    (void)state;
    enum { SIZE = 1 << 20 };
    const char *units[] = {"(",        ")",   "1",    "1,111", "1/",   "\\boxed{",    "\\frac{1}{", "<answer>",
                           "{",        "-",   "a",    "ab",    "\xff", "1+",          "\n",         " ",
                           "1.",       "1e",  "</a>", "<a>",   "$",    "answer: 1 ",  "answer is ", "#### ",
                           "#### x\n", "1 ",  "**",   "\\,",   "(B",   "Question:\n", "\\",         "(1+",
                           ".",        "1e5", "=",    "}"};
    const struct verifier_words specs[] = {
        {.type = "exact", .weight = 1},
        {.type = "numeric", .weight = 1},
        {.type = "contains",
         .weight = 1,
         .settings = {"pattern=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"}},
        {.type = "contains",
         .weight = 1,
         .settings = {"pattern=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}},
        {.type = "regex", .weight = 1, .settings = {"pattern=(a+)+$"}},
        {.type = "regex", .weight = 1, .settings = {"pattern=a*b|(.*,){25}x"}},
        {.type = "format", .weight = 1, .settings = {"tags=[<a>, </a>]"}},
        {.type = "expression", .weight = 1},
        {.type = "subset", .weight = 1},
        {.type = "path", .weight = 1},
    };
    enum { N = sizeof specs / sizeof *specs };
    struct reward *reward;
    assert_ok(reward_of(&reward, specs, N, &err));
    const int64_t numbers[] = {1, 1};
    struct problem problem = {
        .prompt = "p", .answer = "7", .solution = "", .numbers = numbers, .n_numbers = 2, .target = 2};
    struct reward *choice_reward = make((struct verifier_words){.type = "choice"});
    struct problem letter = problem_with("A");
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        char *text = repeated(units[u], SIZE);
        double scores[N], start = clock_seconds();
        reward_score(reward, &problem, text, SIZE, true, scores);
        assert_true(reward_score(choice_reward, &letter, text, SIZE, true, NULL) == 0);
        double took = clock_seconds() - start;
        if (took > 2) fail_msg("a megabyte of '%s' took %.1f s", units[u], took);
        for (int i = 0; i < N; i++)
            if (scores[i] != 0) fail_msg("a megabyte of '%s' scored %g by %s", units[u], scores[i], specs[i].type);
        mem_free(text);
    }
    reward_free(choice_reward);
    reward_free(reward);
}

/* Patterns that backtrack without end run into the limit. The subjects are as long as regex accepts. */
static void hostile_patterns_end_soon(void **state) {
    (void)state;
    const char *patterns[] = {"pattern=(a+)+$",        "pattern=(a|aa)+$",
                              "pattern=(a*)*b",        "pattern=(.*a){20}x",
                              "pattern=a*b",           "pattern=^(?:a?){50}a{50}x",
                              "pattern=(a+a+)+x",      "pattern=(?=(a+))\\1x",
                              "pattern=(?:.|a|\\w)*x", "pattern=(a*a*)*(?<answer>x)",
                              "pattern=(?R)?a*x"};
    enum { SIZE = 64 * 1024 };
    char *text = repeated("a", SIZE);
    struct problem problem = problem_with("7");
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        struct reward *reward = make((struct verifier_words){.type = "regex", .settings = {patterns[i]}});
        text[SIZE - 1] = 'y';
        double start = clock_seconds();
        double score = reward_score(reward, &problem, text, SIZE, true, NULL);
        double took = clock_seconds() - start;
        if (took > 5) fail_msg("pattern '%s' took %.1f s", patterns[i], took);
        assert_true(score == 0);
        reward_free(reward);
    }
    mem_free(text);
}

static void wrong_specifications(void **state) {
    (void)state;
    const struct {
        struct verifier_words spec;
        const char *sentence;
    } rows[] = {
        {{.type = NULL}, "needs a type: one of exact, numeric"},
        {{.type = "numerc"}, "did you mean 'numeric'"},
        {{.type = "judge"}, "there are exact, numeric, choice, regex, contains, format, expression"},
        {{.type = "exact", .settings = {"pattern=x"}}, "'exact' has no setting 'pattern'"},
        {{.type = "exact", .settings = {"tolerance=0.1"}}, "no setting 'tolerance'"},
        {{.type = "exact", .settings = {"tolerance=nan"}}, "no setting 'tolerance'"},
        {{.type = "numeric", .settings = {"tolerance=nan"}},
         "tolerance: expected a number from 0 to 0.9999999, found nan"},
        {{.type = "numeric", .settings = {"tolerance=1"}}, "tolerance: expected a number from 0 to 0.9999999, found 1"},
        {{.type = "numeric", .settings = {"tolerance=-0.1"}},
         "tolerance: expected a number from 0 to 0.9999999, found -0.1"},
        {{.type = "numeric", .settings = {"ignore_case=true"}}, "no setting 'ignore_case'"},
        {{.type = "regex"}, "needs a pattern"},
        {{.type = "regex", .settings = {"pattern=x", "as_number=true"}}, "needs a group named answer"},
        {{.type = "regex", .settings = {"pattern=x", "tolerance=0.1"}}, "tolerance is for numbers"},
        {{.type = "exact", .settings = {"last_match=true"}}, "no setting 'last_match'"},
        {{.type = "regex", .settings = {"pattern=a("}}, "is wrong at character 2: missing closing parenthesis"},
        {{.type = "regex", .settings = {"pattern=(((a{900}){900}){900})"}}, "too large"},
        {{.type = "contains", .settings = {"pattern= "}}, "blank"},
        {{.type = "format", .settings = {"max_length=-1"}},
         "max_length: expected a whole number from 0 to 2147483647, found -1"},
        {{.type = "format", .settings = {"tags=['']"}}, "tags: expected a list of strings, found '['']'"},
        {{.type = "regex", .settings = {"patern=x"}}, "unknown key 'reward.patern'; did you mean 'pattern'?"},
        {{.type = "exact", .settings = {"zzz=x"}}, "unknown key 'reward.zzz'; `opsm help verifiers` lists them"},
        {{.type = "format", .settings = {"tags=a"}}, "tags: expected a list of strings, found 'a'"},
        {{.type = "exact", .weight = INFINITY}, "weight must be a finite number"},
        {{.type = "exact", .weight = NAN}, "weight must be a finite number"},
    };
    struct reward *reward;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(reward_of(&reward, &rows[i].spec, 1, &err), OPSM_INVALID);
        if (!strstr(err.text, rows[i].sentence) || strstr(err.text, "(null)")) fail_msg("row %zu: %s", i, err.text);
        assert_null(reward);
    }
    assert_int_equal(reward_of(&reward, NULL, 0, &err), OPSM_INVALID);
    assert_int_equal(reward_of(&reward, NULL, 17, &err), OPSM_INVALID);
}

static void any_accepted_answer_is_right(void **state) {
    (void)state;
    const char *more[] = {"Big Apple", "NYC"};
    struct problem problem = problem_with("New York");
    problem.more_answers = more;
    problem.n_more_answers = 2;
    struct reward *reward = make((struct verifier_words){.type = "exact"});
    assert_true(reward_score(reward, &problem, "New York", 8, true, NULL) == 1);
    assert_true(reward_score(reward, &problem, "NYC", 3, true, NULL) == 1);
    assert_true(reward_score(reward, &problem, "Big", 3, true, NULL) == 0);
    more[1] = "  ";
    assert_int_equal(reward_check(reward, &problem, &err), OPSM_MISSING);
    assert_non_null(strstr(err.text, "one of the accepted answers is blank"));
    reward_free(reward);
    struct problem copy;
    more[1] = "NYC";
    assert_ok(problem_copy(&copy, &problem, &err));
    more[0] = "gone";
    assert_int_equal(copy.n_more_answers, 2);
    assert_string_equal(problem_answer(&copy, 0), "New York");
    assert_string_equal(problem_answer(&copy, 1), "Big Apple");
    assert_string_equal(problem_answer(&copy, 2), "NYC");
    problem_free(&copy);
}

static struct verdict judge_one(const struct reward *reward, const struct problem *problem, const char *text,
                                bool finished) {
    struct reward_item item = {problem, text, strlen(text), finished};
    struct verdict verdict;
    reward_judge(reward, &item, 1, &verdict);
    return verdict;
}

static void verdicts_say_what_was_found(void **state) {
    (void)state;
    const int64_t numbers[] = {3, 4};
    const struct {
        struct verifier_words spec;
        const char *text, *found; /* NULL: none */
        bool cut;
    } rows[] = {
        {{.type = "exact"}, " Paris\n", "Paris", false},
        {{.type = "exact"}, "Rome", "Rome", false},
        {{.type = "exact"}, "Rome", NULL, true},
        {{.type = "contains"}, "it is Paris.", "Paris", false},
        {{.type = "contains"}, "it is Rome.", NULL, false},
        {{.type = "regex", .settings = {"pattern=is (?<answer>\\w+)"}}, "it is Rome.", "Rome", false},
        {{.type = "regex", .settings = {"pattern=i."}}, "it is Rome.", "it", false},
        {{.type = "regex", .settings = {"pattern=x"}}, "it is Rome.", NULL, false},
        {{.type = "format"}, "it is Rome.", NULL, false},
        {{.type = "expression"}, "so \n 3+4 ", "3+4", false},
        {{.type = "subset"}, " 37\n", "37", false},
        {{.type = "path"}, " 4\n", "4", false},
    };
    struct problem problem = problem_with("Paris");
    problem.numbers = numbers;
    problem.n_numbers = 2;
    problem.target = 7;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct reward *reward = make(rows[i].spec);
        struct verdict v = judge_one(reward, &problem, rows[i].text, !rows[i].cut);
        reward_free(reward);
        assert_int_equal(v.unjudged.code, OPSM_OK);
        if (!rows[i].found != !v.found.at) fail_msg("row %zu: found something or nothing", i);
        if (!rows[i].found) continue;
        assert_int_equal(v.found.length, strlen(rows[i].found));
        assert_memory_equal(v.found.at, rows[i].found, v.found.length);
        assert_true(v.found.at >= rows[i].text && v.found.at < rows[i].text + strlen(rows[i].text));
    }
}

/* No answer to compare with is no verdict, never a 0; so is want of memory. */
static void what_cannot_be_judged_is_unjudged(void **state) {
    (void)state;
    const struct verifier_words specs[] = {{.type = "format", .weight = 1}, {.type = "exact", .weight = 1}};
    struct reward *reward;
    assert_ok(reward_of(&reward, specs, 2, &err));
    struct problem problem = problem_with("");
    struct verdict v = judge_one(reward, &problem, "46", true);
    assert_int_equal(v.unjudged.code, OPSM_MISSING);
    assert_true(isnan(v.reward));
    assert_non_null(strstr(v.unjudged.text, "'exact' compares with the answer"));
    reward_free(reward);
}

static void unfinished_responses_may_be_worth_nothing(void **state) {
    (void)state;
    struct reward *reward = make((struct verifier_words){.type = "contains", .weight = 2});
    struct problem problem = problem_with("12");
    assert_true(judge_one(reward, &problem, "it is 12", false).reward == 2);
    reward_zero_unfinished(reward);
    struct verdict v = judge_one(reward, &problem, "it is 12", false);
    assert_true(v.reward == 0 && v.scores[0] == 1);
    assert_true(judge_one(reward, &problem, "it is 12", true).reward == 2);
    problem.answer = "";
    assert_true(isnan(judge_one(reward, &problem, "it is 12", false).reward));
    reward_free(reward);
}

static void summands_have_names_of_their_own(void **state) {
    (void)state;
    struct verifier_words specs[] = {{.type = "contains", .weight = 1, .settings = {"pattern=a"}},
                                     {.type = "contains", .weight = 1, .settings = {"pattern=b"}},
                                     {.type = "contains", .weight = 1, .name = "sea", .settings = {"pattern=c"}}};
    struct reward *reward;
    assert_ok(reward_of(&reward, specs, 3, &err));
    assert_string_equal(reward_name(reward, 0), "contains");
    assert_string_equal(reward_name(reward, 1), "contains-2");
    assert_string_equal(reward_name(reward, 2), "sea");
    assert_null(reward_name(reward, 3));
    assert_null(reward_name(reward, -1));
    assert_string_equal(verifier_name(0), "exact");
    assert_null(verifier_name(-1));
    reward_free(reward);
    specs[2].name = "contains-2";
    assert_int_equal(reward_of(&reward, specs, 3, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "two entries have the name 'contains-2'"));
    specs[2].name = "";
    assert_int_equal(reward_of(&reward, specs, 3, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "a name has 1 to 64 bytes"));
}

static void rewards_are_weighted_sums(void **state) {
    (void)state;
    const struct verifier_words specs[] = {{.type = "numeric", .weight = 1},
                                           {.type = "format", .weight = 0.25, .settings = {"max_length=10"}},
                                           {.type = "contains", .weight = -0.5, .settings = {"pattern=sorry"}}};
    struct reward *reward;
    assert_ok(reward_of(&reward, specs, 3, &err));
    assert_int_equal(reward_count(reward), 3);
    assert_string_equal(reward_name(reward, 1), "format");
    struct problem problem = problem_with("7");
    double scores[3];
    assert_near(reward_score(reward, &problem, "7", 1, true, scores), 1.25, 0);
    assert_near(reward_score(reward, &problem, "sorry, 7", 8, true, scores), 0.75, 0);
    assert_true(scores[0] == 1 && scores[1] == 1 && scores[2] == 1);
    assert_near(reward_score(reward, &problem, "sorry, sorry, 8", 15, true, scores), -0.5, 0);
    problem.answer = " ";
    assert_int_equal(reward_check(reward, &problem, &err), OPSM_MISSING);
    assert_non_null(strstr(err.text, "'numeric' compares with the answer"));
    reward_free(reward);
}

static void out_of_memory_is_reported(void **state) {
    (void)state;
    const struct verifier_words specs[] = {
        {.type = "regex", .weight = 1, .settings = {"pattern=a"}},
        {.type = "format", .weight = 1, .settings = {"prefix=a", "suffix=b", "tags=[<a>, </a>]"}}};
    int failures = 0;
    for (int nth = 1;; nth++) {
        struct reward *reward;
        mem_fail_at(nth);
        opsm_status status = reward_of(&reward, specs, 2, &err);
        mem_fail_at(0);
        reward_free(reward);
        if (status == OPSM_OK) break;
        assert_int_equal(status, OPSM_NOMEM);
        failures++;
    }
    assert_int_equal(failures, 28); /* 20 of them while the words are read */
}

/* One reward, many threads, the same scores as one after the other. */
static void threads_share_a_reward(void **state) {
    (void)state;
    const struct verifier_words specs[] = {{.type = "numeric", .weight = 1},
                                           {.type = "regex", .weight = 2, .settings = {"pattern=is (?<answer>\\d+)"}},
                                           {.type = "contains", .weight = 4}};
    struct reward *reward;
    assert_ok(reward_of(&reward, specs, 3, &err));
    struct problem problem = problem_with("12");
    int wrong = 0;
#pragma omp parallel for num_threads(4) reduction(+ : wrong)
    for (int i = 0; i < 4000; i++) {
        char text[40];
        int length = snprintf(text, sizeof text, "it is %d", 10 + i % 4);
        double score = reward_score(reward, &problem, text, (size_t)length, true, NULL);
        wrong += score != (i % 4 == 2 ? 7 : 0);
    }
    assert_int_equal(wrong, 0);
    reward_free(reward);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact),
        cmocka_unit_test(contains),
        cmocka_unit_test(choice),
        cmocka_unit_test(regex),
        cmocka_unit_test(regex_settings),
        cmocka_unit_test(format),
        cmocka_unit_test(expression_scores),
        cmocka_unit_test(digit_walks_score),
        cmocka_unit_test(expressions_match_python),
        cmocka_unit_test(hostile_responses_end_soon),
        cmocka_unit_test(hostile_patterns_end_soon),
        cmocka_unit_test(wrong_specifications),
        cmocka_unit_test(rewards_are_weighted_sums),
        cmocka_unit_test(any_accepted_answer_is_right),
        cmocka_unit_test(verdicts_say_what_was_found),
        cmocka_unit_test(what_cannot_be_judged_is_unjudged),
        cmocka_unit_test(unfinished_responses_may_be_worth_nothing),
        cmocka_unit_test(summands_have_names_of_their_own),
        cmocka_unit_test(out_of_memory_is_reported),
        cmocka_unit_test(threads_share_a_reward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
