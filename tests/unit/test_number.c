/* SPDX-License-Identifier: Apache-2.0
 *
 * The verifier numeric: what is a number, where a response says it, and when two are equal.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "check.h"
#include "judge.h"
#include "reward/number.h"
#include "reward/verifier.h"
#include <stdlib.h>
#include <string.h>

static opsm_error err;

struct expectation {
    const char *answer, *text;
    int score;
};

static struct reward *numeric(double tolerance) {
    struct reward *reward;
    char word[64];
    snprintf(word, sizeof word, "tolerance=%.17g", tolerance);
    assert_ok(
        reward_of(&reward, &(struct verifier_words){.type = "numeric", .weight = 1, .settings = {word}}, 1, &err));
    return reward;
}

static double judge(const struct reward *reward, const char *answer, const char *text, size_t length, bool finished,
                    struct span *found) {
    struct problem problem = {.prompt = "p", .answer = answer, .solution = ""};
    if (reward_check(reward, &problem, &err) != OPSM_OK) fail_msg("'%s' is refused: %s", answer, err.text);
    struct verdict verdict;
    reward_judge(reward, &(struct reward_item){&problem, text, length, finished}, 1, &verdict);
    if (found) *found = verdict.found;
    return verdict.reward;
}

static void expect_all(double tolerance, const struct expectation *rows, size_t n) {
    struct reward *reward = numeric(tolerance);
    int wrong = 0;
    for (size_t i = 0; i < n; i++) {
        struct span found;
        double score = judge(reward, rows[i].answer, rows[i].text, strlen(rows[i].text), true, &found);
        if (score == rows[i].score) continue;
        print_error("answer '%s', response '%s': score %g, expected %d, found '%.*s'\n", rows[i].answer, rows[i].text,
                    score, rows[i].score, (int)found.length, found.at ? found.at : "");
        wrong++;
    }
    reward_free(reward);
    assert_int_equal(wrong, 0);
}
#define EXPECT_ALL(tolerance, rows) expect_all(tolerance, rows, sizeof(rows) / sizeof *(rows))

/* Read by half, these would be somebody else's right answer. */
static void nothing_is_read_by_half(void **state) {
    (void)state;
    const struct expectation rows[] = {
        {"5", "- 5", 0},
        {"5", "2*3*5", 0},
        {"5", "-**5**", 0},
        {"5", "The answer is -**5**", 0},
        {"5", "minus **5**", 0},
        {"5", "minus \\(5\\)", 0},
        {"5", "-\\(5\\)", 0},
        {"5", "so -(5)", 0},
        {"5", "− (5)", 0},
        {"5", "√(5)", 0},
        {"6", "5⁄6", 0},
        {"5", "5‰", 0},
        {"5", "5 and a half", 0},
        {"4", "**3** or **4**", 0},
        {"4", "(3) or (4)", 0},
        {"4", "`3` or `4`", 0},
        {"4", "\\(3\\), \\(4\\)", 0},
        {"4", "<b>3</b> or <b>4</b>", 0},
        {"4", "3 or **4**", 0},
        {"5", "–5", 0}, /* an en dash */
        {"-5", "–5", 0},
        {"5", "0,5", 0},
        {"3", "\\boxed{2\\sqrt{3}}", 0},
        {"3", "2\\sqrt{3}", 0},
        {"3", "1.5 \\times 10^3", 0},
        {"3", "1.5 \\times 10^3 x", 0},
        {"4", "\\boxed{\\frac{\\pi}{4}}", 0},
        {"4", "\\frac{\\pi}{4}", 0},
        {"4", "3 / 4", 0},
        {"4", "3/4", 0},
        {"234", "\\boxed{1{,}234}", 0},
        {"234", "1 234", 0},
        {"234", "1,234", 0},
        {"234", "1\\,234", 0},
        {"18", "-\\$18", 0},
        {"18", "-$18", 0},
        {"1000000", "1000001.0", 0},
        {"1000000", "1000000.4", 0},
        {"30", "10:30", 0},
        {"30", "It starts at 10:30 am", 0},
        {"10", "It starts at 10:30 am", 0},
        {"6", "2024-05-06", 0},
        {"2024", "2024-05-06", 0},
        {"2", "(3,2)", 0},
        {"3", "\\boxed{(3,2)}", 0},
        {"0.5", "50%", 0},
        {"2", "5^2", 0},
        {"5", "5^2", 0},
        {"2", "x_2", 0},
        {"2", "x_{2}", 0},
        {"2", "x^2", 0},
        {"2", "x^{2}", 0},
        {"3", "10^3", 0},
        {"10", "10^3", 0},
        {"10", "2^10", 0},
        {"2", "2^10", 0},
        {"10", "2^{10}", 0},
        {"10", "10\xc2\xb2", 0},
        {"1", "1\xc2\xbd", 0},
        {"5", "5\xc2\xbd", 0},
        {"1.2", "version 1.2.3", 0},
        {"3", "1.2.3", 0},
        {"1", "192.168.0.1", 0},
        {"4567", "555-123-4567", 0},
        {"123", "+1 555 123-4567", 0},
        {"23", "1,23", 0},
        {"1", "1,23", 0},
        {"56", "1.234,56", 0},
        {"1.234", "1.234,56", 0},
        {"1", "1_000", 0},
        {"1000", "1_000", 0},
        {"0", "0x1F", 0},
        {"1", "0x1", 0},
        {"5", "5!", 0},
        {"5", "5x", 0},
        {"5", "\\boxed{5x}", 0},
        {"5", "5 x", 0},
        {"5", "5\\pi", 0},
        {"5", "5 \\pi", 0},
        {"5", "5\xcf\x80", 0},
        {"5", "5 \xcf\x80", 0},
        {"5", "\\pm 5", 0},
        {"5",
         "\xc2\xb1"
         "5",
         0},
        {"5", "x \\neq 5", 0},
        {"5", "x < 5", 0},
        {"5", "x \xe2\x89\xa4 5", 0},
        {"5", "x >= 5", 0},
        {"5", "x + 5", 0},
        {"5", "5 + x", 0},
        {"5", "5 - x", 0},
        {"5", "\\sqrt{5}", 0},
        {"5", "\\sqrt 5", 0},
        {"5",
         "\xe2\x88\x9a"
         "5",
         0},
        {"5", "minus 5", 0},
        {"5", "negative 5", 0},
        {"5", "f(5)", 0},
        {"5", "3-5", 0},
        {"3", "3-5", 0},
        {"5",
         "3\xe2\x80\x93"
         "5",
         0},
        {"3",
         "3\xe2\x80\x93"
         "5",
         0},
        {"5", "3 to 5", 0},
        {"4", "3:4", 0},
        {"4", "3 : 4", 0},
        {"3", "3 : 4", 0},
        {"3", "3 out of 5", 0},
        {"5", "3 out of 5", 0},
        {"5", "the 5th", 0},
        {"5", "5 million", 0},
        {"5", "\\boxed{5 million}", 0},
        {"5", "\\boxed{5\\text{ million}}", 0},
        {"5", "2, 3 and 5", 0},
        {"2", "2, 3 and 5", 0},
        {"5", "5 5", 0},
        {"5", "5 or 6", 0},
        {"13", "answer is 12 or 13", 0},
        {"12", "answer is 12 or 13", 0},
        {"12", "The answer is 12, 13", 0},
        {"5", "the answer is not 5", 0},
        {"5", "The answer isn't 5.", 0},
        {"5", "The answer cannot be 5", 0},
        {"5", "\\boxed{2+3=5}", 0},
        {"5", "\\boxed{5, 6}", 0},
        {"6", "\\boxed{5, 6}", 0},
        {"5", "\\boxed{5 \\text{ or } 6}", 0},
        {"5", "\\boxed{5} then \\boxed{}", 0},
        {"5", "-\\boxed{5}", 0},
        {"5", "$x = -\\boxed{5}$", 0},
        {"5", "\xe2\x88\x92\\boxed{ 5 }", 0},
        {"5", "10-\\boxed{\\text{5}}", 0},
        {"5", "- \\boxed{5}", 1}, /* an item of a list */
        {"5", "x=\\boxed{5}", 1},
        {"5", "\\boxed{} 5", 0},
        {"5", "\\boxed{5", 0},
        {"5", "So $x = \\boxed5$.", 1},
        {"12", "$\\boxed 12$", 1},
        {"5", "It is \\boxed5.\n", 1},
        {"3", "$\\boxed3.14$", 0},
        {"5", "$\\boxed{1}5$", 0},
        {"5", "\\boxed5", 0}, /* it may go on */
        {"12", "\\boxed{12\\ }", 1},
        {"12", "\\boxed{ 12 \\\\ }", 0},
        {"5", "\\boxed{5} or \\boxed{6", 0},
        {"3", "\\boxed{5 + \\boxed{3}}", 0},
        {"5", "\\boxed{5} no, \\boxed{6}", 0},
        {"5", "<answer>5</answer> <answer>6</answer>", 0},
        {"5", "<answer>5", 0},
        {"5", "<answer></answer> 5", 0},
        {"1", "1/0", 0},
        {"0", "1/0", 0},
        {"2", "\\frac{1}{2}", 0},
        {"1", "\\frac12", 0},
        {"0.5", "1 1/2", 0},
        {"1", "1 1/2", 0},
        {"2", "1\\frac{1}{2}", 0},
        {"5", "\xef\xbc\x95", 0}, /* full width */
        {"5", "\xd9\xa5", 0},     /* Arabic */
        {"5", "5\xef\xbc\x95", 0},
        {"1", "eighteen", 0},
        {"1", "", 0},
        {"1", "First,\n1. Add them\n", 0},
        {"2", "1. Add them\n2. Multiply", 0},
        {"5", "5e", 0},
        {"3", "1e3x", 0},
        {"0.333", "1/3", 0},
        {"1/3", "0.333", 0},
        {"2", "0.1+0.2", 0},
        {"0.2", "0.1+0.2", 0},
        {"0.3", "0.1+0.2", 0},
        {"5", "page #5", 0},
        {"19", "COVID-19", 0},
        {"5", "5-year plan", 0},
        {"2", "H2O", 0},
        {"5", "x5", 0},
        {"5", "|-5|", 0},
        {"5", "50,5", 0},
        {"80", "50% of 80", 0},
        {"50", "50% of 80", 0},
        {"3", "5 cm \xc3\x97 3 cm", 0},
        {"12", "12\\sqrt{2}", 0},
        {"7", "#### 1,7", 0},
        {"5", "#### 5 or 6", 0},
        {"500", "0,500", 0},
        {"4", "3 or maybe 4", 0},
        {"4", "The answer is anything but 4", 0},
        {"4", "The answer is less than 4", 0},
        {"4", "**4**/5", 0},
        {"3", "It is **3** to 4", 0},
        {"4", "$4$/5", 0},
        {"4", "x<sup>4</sup>", 0},
    };
    EXPECT_ALL(0, rows);
}

static void forms_of_people_and_models(void **state) {
    (void)state;
    const struct expectation rows[] = {
        {"18", "18", 1},
        {"18", " 18\n", 1},
        {"18", "The answer is 18.", 1},
        {"18", "3 + 8 = 11\n11 + 7 = 18\nThe sum is 18.", 1},
        {"18", "018", 1},
        {"18", "18.00", 1},
        {"18", "+18", 1},
        {"18", "$18", 1},
        {"18", "\\$18", 1},
        {"18", "18 dollars", 1},
        {"18", "She makes $18 every day at the market.", 1},
        {"18", "$18.00", 1},
        {"-18", "-$18", 1},
        {"-18", "$-18", 1},
        {"-18", "-\\$18", 1},
        {"-18", "it is -18", 1},
        {"-18",
         "\xe2\x88\x92"
         "18",
         1},
        {"-5",
         "-\xe2\x82\xac"
         "5",
         1},
        {"-5", "- 5", 1},
        {"-5", "x=-5", 1},
        {"5", "x = 5", 1},
        {"5", "$x = 5$", 1},
        {"5", "Thus x=5.", 1},
        {"5", "\\boxed{x = 5}", 1},
        {"5", "\\boxed{\\theta_1 = 5}", 1},
        {"5", "2+3 = 5", 1},
        {"5", "5 = 2 + 3", 1},
        {"5", "A) 5", 1},
        {"5", "(5)", 1},
        {"5", "'5'", 1},
        {"10", "She has 4+6=<<4+6=10>>10", 1},
        {"6", "She has 4+6=<<4+6=10>>10", 0},
        {"234", "1'234", 0},
        {"5", "The answer is $\\boldsymbol{5}$", 1},
        {"5", "It is $\\mathbf{5}$.", 1},
        {"5", "\\boxed{\\boxed{5}}", 1},
        {"5", "\\boxed {5}", 1},
        {"5", "\\fbox{5}", 1},
        {"5", "<answer>5</answer>", 1},
        {"6", "<answer>5</answer> <answer> 6 </answer>", 1},
        {"6", "<answer>So \\boxed{6}</answer>", 1},
        {"6", "<answer>\\boxed{6}</answer>", 1},
        {"42", "\\boxed{42} since 6 * 7", 1},
        {"42", "\\boxed{41} no, \\boxed{42}", 1},
        {"42", "\\boxed{x = {42}} is 7", 1},
        {"12", "The final answer is: $\\boxed{12}$", 1},
        {"12", "$12$", 1},
        {"12", "\\(12\\)", 1},
        {"12", "\\[12\\]", 1},
        {"12", "**12**", 1},
        {"12", "12.", 1},
        {"12", "So it is $12$.", 1},
        {"12", "So it is \\(12\\).", 1},
        {"12", "So it is **12**.", 1},
        {"12", "It is *12*", 1},
        {"12", "So it is **12** (3 and 4 give 7, not 12, but 5 remains).", 1},
        {"12", "\\boxed{12 \\text{ cm}^2}", 1},
        {"12", "\\boxed{12\\ \\mathrm{m/s}}", 1},
        {"12", "\\boxed{12\\,\\text{cm}}", 1},
        {"12", "\\boxed{12 \\mathrm{~cm}^2}", 1},
        {"5", "- **5** apples", 1},
        {"12", "12 (3 * 4)", 1},
        {"-5", "#### -5. Because it is.", 1},
        {"12", "\\boxed{12 \\text{ square units}}", 1},
        {"12", "\\boxed{12 cm^2}", 1},
        {"12", "\\boxed{12\\%}", 1},
        {"12", "\\boxed{\\text{12}}", 1},
        {"12", "\\boxed{\\$12}", 1},
        {"12", "12 cm", 1},
        {"12", "12cm", 1},
        {"12", "It is 12cm long", 1},
        {"12", "12 miles per hour", 1},
        {"12", "It is 12 miles/hour.", 1},
        {"12", "The answer is 12. Check: 12/4 = 3", 1},
        {"12", "The answer is 12, because 3 * 4 = 12 and 5 is odd", 1},
        {"12", "Answer: 12", 1},
        {"12", "**Answer:** 12", 1},
        {"12", "**Answer: 12**", 1},
        {"12", "**Final Answer**: $12", 1},
        {"12", "Answer:\n12\nBecause 5 is odd.", 1},
        {"12", "ANSWER IS: 12, and so 5 remain", 1},
        {"12", "the answer is therefore $x = 12$, not 13", 1},
        {"12", "the answer is 12 apples, as 3 remain", 1},
        {"72", "Answer: She sold 24 clips in May. Altogether 48 + 24 = 72 clips.", 1},
        {"6", "The answer is 5. No, the answer is 6.", 1},
        {"6", "The answer is 6, the answer is not 5", 1},
        {"72", "#### 72", 1},
        {"72", "####72", 1},
        {"72", "48/2 = 24\n#### 72\n\nQuestion: Tom has 5 apples.\nAnswer: 5\n#### 5", 1},
        {"72", "#### 72\n\nThe next one: 3 and 5. The answer is 4.", 1},
        {"72", "#### 72 and then 5 more make 77", 1},
        {"72", "#### $72", 1},
        {"72", "#### 1. Count\nIt is 24.\n#### 2. Add\nThe answer is 72.", 1},
        {"72", "#### Step 1\n24\n#### Step 2\nIt is 72.", 1},
        {"-5", "#### -5", 1},
        {"1234", "#### 1,234", 1},
        {"1234567", "1,234,567", 1},
        {"1,234,567", "1234567", 1},
        {"1234", "\\boxed{1\\,234}", 1},
        {"1234", "\\boxed{1{,}234}", 1},
        {"1234", "\\boxed{1,\\!234}", 1},
        {"1234",
         "1\xe2\x80\xaf"
         "234",
         1},
        {"1234",
         "1\xc2\xa0"
         "234",
         1},
        {"1234.5", "\\$1,234.50", 1},
        {"1234.5", "1,234.50", 1},
        {"0.5", ".5", 1},
        {"0.5", "1/2", 1},
        {"0.5", "is \\frac{1}{2}", 1},
        {"-0.5", "is -\\dfrac{1}{2}", 1},
        {"-0.5", "is \\tfrac{-1}{2}", 1},
        {"0.5", "2/4 of it", 1},
        {"3/4", "\\frac34", 1},
        {"3/4", "\\frac{ 3 }{ 4 }", 1},
        {"3/4", "\\boxed{\\dfrac{3}{4}}", 1},
        {"3/4", "3 / 4", 1},
        {"3/4", "0.75", 1},
        {"-\\frac{3}{4}", "-3/4", 1},
        {"\\frac{-3}{4}", "-0.75", 1},
        {"3\\frac{1}{2}", "3.5", 1},
        {"3 1/2", "\\boxed{3\\frac{1}{2}}", 1},
        {"3.5", "7/2", 1},
        {"-3.5", "-3 1/2", 1},
        {"90", "90\xc2\xb0", 1},
        {"90", "90^\\circ", 1},
        {"90", "\\boxed{90^{\\circ}}", 1},
        {"20",
         "20 \xc2\xb0"
         "C",
         1},
        {"50", "50%", 1},
        {"50", "50\\%", 1},
        {"50%", "50", 1},
        {"50\\%", "50 percent", 1},
        {"2000", "2e3", 1},
        {"100000", "1e5", 1},
        {"0.00025", "2.5E-4", 1},
        {"1500", "1.5 \\times 10^3", 1},
        {"1500", "1.5 \\times 10^{3}", 1},
        {"1.5 \\times 10^3", "1500.0", 1},
        {"1500", "3000/2", 1},
        {"1500", "1.5 x 10^3", 1},
        {"1500",
         "1.5\xc3\x97"
         "10^3",
         1},
        {"0.0015", "1.5 \\cdot 10^{-3}", 1},
        {"1000", "10^3", 1},
        {"7", "\\boxed{7th}", 1},
        {"7", "007", 1},
        {"0", "-0", 1},
        {"0", "-0.0", 1},
        {"0", "0/7", 1},
        {"0.333333333", "1/3", 1},
        {"1/3", "2/6", 1},
        {"12", "There are 2, 3 and 7, which makes 12.", 1},
        {"30", "The total is 30. The factors are 2, 3 and 5.", 1},
        {"12", "1. Add 5 and 7\n2. It is 12\n3. Done", 1},
        {"8", "Step 1: 5 + 3 = 8", 1},
        {"8", "It's 8", 1},
        {"8", "<b>8</b>", 1},
        {"8", "so => 8", 1},
        {"8", "\\approx 8", 1},
        {"999999999999999999", "999999999999999999", 1},
        {"999999999999999999", "999999999999999998", 0}, /* equal as doubles */
        {"12345678901234567890123", "12345678901234567890124", 0},
        {"12345678901234567890123", "24691357802469135780246/2", 1},
        {"1e999", "1e999", 1},
        {"1e999", "1e998", 0},
        {"3", "1e999", 0},
        {"5",
         "\xff\xfe"
         "5",
         1},
        {"5",
         "\xe7\xad\x94\xe6\xa1\x88\xe6\x98\xaf"
         "5\xe3\x80\x82",
         1}, /* Chinese has no blanks */
    };
    EXPECT_ALL(0, rows);
}

static void whole_values_are_exact(void **state) {
    (void)state;
    const struct expectation rows[] = {
        {"18", "18.00001", 0},
        {"18.5", "18.50001", 1},
        {"18.5", "18.5001", 0},
        {"0", "0.0000001", 0},
        {"1", "3/3", 1},
        {"0.1", "1/10", 1},
        {"0.1", "10e-2", 1},
        {"100", "1e2", 1},
        {"1000000", "1000000.4", 0},
        {"1000000.4", "1000000", 0},
        {"1000000.4", "1000000.41", 1},
    };
    EXPECT_ALL(0, rows);
    const struct expectation loose[] = {
        {"100", "99.5", 1}, {"100", "99", 1},          {"100", "98.9", 0},       {"0", "0", 1},
        {"0", "1e-900", 0}, {"1e900", "1.001e900", 1}, {"1e-900", "1.1e-900", 0}};
    EXPECT_ALL(0.01, loose);
}

static void references_are_read_whole(void **state) {
    (void)state;
    const char *refused[] = {
        "10:30",    "2024-05-06",   "(3,2)", "2\\sqrt{3}", "twelve",    "12 or 13",  "0,5", "1,23",       "1.234,56",
        "5x",       "x^2",          "\\pi",  "1/0",        "\\boxed{}", "\\boxed{5", "3-5", "5!",         "2, 3",
        "\xc2\xbd", "\xef\xbc\x95", "#### ", "1_000",      "0x10",      "–5",        "5 5", "3 out of 5", "5 million"};
    struct reward *reward = numeric(0);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct problem problem = {.prompt = "p", .answer = refused[i], .solution = ""};
        err = (opsm_error){0};
        if (reward_check(reward, &problem, &err) != OPSM_FORMAT) fail_msg("'%s' is accepted", refused[i]);
        assert_non_null(strstr(err.text, refused[i]));
    }
    const char *taken[] = {"Half of 48 is 24.\n48+24 = <<48+24=72>>72\n#### 72",
                           "We get $\\boxed{72}$.",
                           "72",
                           "$72",
                           "72 clips",
                           "72.0",
                           "\\frac{144}{2}",
                           "x = 72",
                           "072"};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (judge(reward, taken[i], "It is 72.", 9, true, NULL) != 1) fail_msg("'%s' is not 72", taken[i]);
    reward_free(reward);
}

static void what_was_cut_off(void **state) {
    (void)state;
    const struct expectation rows[] = {
        {"12", "12", 0},
        {"12", "\\boxed{12} and", 1},
        {"12", "#### 12", 0},
        {"12", "#### 12\n", 1},
        {"12", "#### 12\nQ: 5", 1},
        {"12", "The answer is 12", 0},
        {"12", "<answer>12</answer> a", 1},
        {"12", "#### 12 mil", 0},
        {"12", "\\boxed{12", 0},
    };
    struct reward *reward = numeric(0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (judge(reward, rows[i].answer, rows[i].text, strlen(rows[i].text), false, NULL) != rows[i].score)
            fail_msg("cut off: '%s'", rows[i].text);
    assert_true(judge(reward, "12", "1\0 12", 5, true, NULL) == 1);
    assert_true(judge(reward, "12", "12\0", 3, true, NULL) == 1);
    assert_true(judge(reward, "12",
                      "12\0"
                      "3",
                      4, true, NULL) == 0);
    reward_free(reward);
}

static void the_answer_found_is_shown(void **state) {
    (void)state;
    const char *rows[][2] = {{"So \\boxed{ 2\\sqrt{3} }.", "2\\sqrt{3}"},
                             {"The answer is $1,234.50, or so", "$1,234.50"},
                             {"It is -3/4 of it", "-3/4"},
                             {"x = \\frac{3}{4}", "\\frac{3}{4}"},
                             {"so $12$.", "12"},
                             {"#### 72 clips", "72"},
                             {"12 cm", "12"}};
    struct reward *reward = numeric(0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct span found;
        judge(reward, "1", rows[i][0], strlen(rows[i][0]), true, &found);
        if (!found.at || found.length != strlen(rows[i][1]) || memcmp(found.at, rows[i][1], found.length) != 0)
            fail_msg("'%s': found '%.*s'", rows[i][0], (int)found.length, found.at ? found.at : "");
    }
    reward_free(reward);
}

static void nothing_is_found_where_nothing_was_taken(void **state) {
    (void)state;
    const char *rows[] = {
        "9 * 2",          "3\\pi",       "3x",           "12!",    "3. First we",         "12 million",
        "11 or 12",       "5 + 12i",     "12:00",        "12^2",   "#### 2. Add",         "#### ??",
        "**3** or **4**", "**3** **4**", "answer: 3, 4", "12'000", "The answer is not 7", "$12x$",
        "#### Answer\nno"};
    struct reward *reward = numeric(0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct span found;
        double score = judge(reward, "3", rows[i], strlen(rows[i]), true, &found);
        if (score != 0 || found.at)
            fail_msg("'%s': score %g, found '%.*s'", rows[i], score, (int)found.length, found.at ? found.at : "");
    }
    reward_free(reward);
}

static void numbers_of_any_length(void **state) {
    (void)state;
    char text[2000];
    struct number number;
    for (int digits = 390; digits < 420; digits++) {
        memset(text, '7', sizeof text);
        bool found = number_whole((struct span){text, (size_t)digits}, &number, NULL);
        assert_int_equal(found, digits <= NUMBER_DIGITS_MAX);
        if (found) assert_int_equal(number.n_digits, digits);
    }
    memset(text, '0', sizeof text);
    assert_true(number_whole((struct span){text, 399}, &number, NULL));
    assert_true(number.n_digits == 0 && !number.negative);
    /* The most that a value grows: a mixed number whose denominator is a power of two. */
    memset(text, '9', 400);
    strcpy(text + 400, " 1/576460752303423488");
    assert_true(number_whole(span_of(text), &number, NULL));
    assert_true(number.under == 1 && number.n_digits < NUMBER_ROOM);
}

/* A response of 200 bytes as GSM8K's: 100,000 a second on one core is the promise, a tenth of that is the bound. */
static void judging_is_quick(void **state) {
    (void)state;
    const char *text =
        "Natalia sold 48/2 = 24 clips in May, half of what she sold in April.\nAltogether she sold 48 + 24 "
        "= 72 clips in April and May, which is $3.50 more than 12% of what 5 others sold: so it is 72.";
    struct reward *reward = numeric(0);
    double start = clock_seconds();
    for (int i = 0; i < 20000; i++) assert_true(judge(reward, "72", text, strlen(text), true, NULL) == 1);
    double rate = 20000 / (clock_seconds() - start);
    print_message("%.0f responses of %zu bytes a second\n", rate, strlen(text));
    if (!EMULATED) assert_true(rate > 10000);
    reward_free(reward);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_read_by_half),
        cmocka_unit_test(forms_of_people_and_models),
        cmocka_unit_test(whole_values_are_exact),
        cmocka_unit_test(references_are_read_whole),
        cmocka_unit_test(what_was_cut_off),
        cmocka_unit_test(the_answer_found_is_shown),
        cmocka_unit_test(nothing_is_found_where_nothing_was_taken),
        cmocka_unit_test(numbers_of_any_length),
        cmocka_unit_test(judging_is_quick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
