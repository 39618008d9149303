/* SPDX-License-Identifier: Apache-2.0
 *
 * The built-in tasks. Answers are worked out again here, from the prompt's text alone.
 */
#include "base/mem.h"
#include "check.h"
#include "data/task.h"
#include "judge.h"
#include "reward/verifier.h"
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 8192 };

static opsm_error err;

static struct task_spec spec_of(const char *text) {
    struct task_spec spec;
    assert_ok(task_find(&spec, text, &err));
    return spec;
}

static struct problem problem_of(const struct task_spec *spec, enum data_split split, int64_t index) {
    struct problem problem;
    assert_ok(task_problem(spec, split, index, &problem, &err));
    return problem;
}

static struct reward *natural_reward(const struct task_spec *spec) {
    struct verifier_words verifier = {.type = task_verifier(spec->family), .weight = 1};
    struct reward *reward;
    assert_ok(reward_of(&reward, &verifier, 1, &err));
    return reward;
}

static double judge(const struct reward *reward, const struct problem *problem, const char *text) {
    return reward_score(reward, problem, text, strlen(text), true, NULL);
}

/* All whole numbers in a text, in order. */
static int numbers_in(const char *text, int64_t *numbers) {
    int n = 0;
    for (const char *c = text; *c;) {
        char *end = (char *)(uintptr_t)c + 1;
        if (isdigit((unsigned char)*c)) numbers[n++] = strtoll(c, &end, 10);
        c = end;
    }
    return n;
}

static void known_names_and_difficulties(void **state) {
    (void)state;
    struct task_spec spec;
    assert_ok(task_find(&spec, "modsum:12", &err));
    assert_string_equal(task_name(spec.family), "modsum");
    assert_int_equal(spec.difficulty, 12);
    assert_int_equal(spec_of("modsum").difficulty, 24);
    const struct {
        const char *text, *sentence;
    } bad[] = {
        {"modusm", "did you mean 'modsum'"},
        {"running_sum", "did you mean 'running-sum'"},
        {"chess", "the built-in tasks are addition, running-sum, modsum, sorting, countdown"},
        {"", "the built-in tasks are"},
        {"modsum:0", "from 1 to 256, found '0'"},
        {"modsum:257", "found '257'"},
        {"modsum:", "found ''"},
        {"modsum:3x", "found '3x'"},
        {"modsum:99999999999999999999", "whole number"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(task_find(&spec, bad[i].text, &err), OPSM_INVALID);
        if (!strstr(err.text, bad[i].sentence)) fail_msg("'%s' gave: %s", bad[i].text, err.text);
    }
    spec = spec_of("modsum");
    spec.noise = NAN;
    assert_int_equal(task_check(&spec, &err), OPSM_INVALID);
    spec.noise = 1.01;
    assert_int_equal(task_check(&spec, &err), OPSM_INVALID);
    struct problem problem;
    spec.noise = 0;
    assert_ok(task_check(&spec, &err));
    assert_int_equal(task_problem(&spec, DATA_TRAIN, -1, &problem, &err), OPSM_INVALID);
}

/* Ten problems, and the hash puts none of them into eval: a sentence, not an endless loop, and train still works. At
 * every other difficulty of every task both splits have problems. */
static void an_empty_split_is_reported(void **state) {
    (void)state;
    for (int t = 0; t < task_count(); t++) {
        int lowest, highest, usual;
        task_range(task_at(t), &lowest, &highest, &usual);
        for (int difficulty = lowest; difficulty <= highest; difficulty++) {
            struct task_spec spec = {.family = task_at(t), .difficulty = difficulty};
            bool small = !strcmp(task_name(spec.family), "modsum") && difficulty == 1;
            assert_int_equal(task_check(&spec, &err), small ? OPSM_INVALID : OPSM_OK);
        }
    }
    assert_non_null(strstr(err.text, "none belongs to the eval split"));
    struct task_spec spec = spec_of("modsum:1");
    struct problem problem = problem_of(&spec, DATA_TRAIN, 7);
    problem_free(&problem);
}

static void prompts_read_as_documented(void **state) {
    (void)state;
    /* One of each, pinned: a change of these texts changes every trained model and recorded result. */
    const struct {
        const char *task;
        enum task_style style;
        const char *prompt, *solution;
    } pinned[] = {
        {"addition", TASK_BARE, "92+66=", "158"},
        {"addition", TASK_WORDS, "What is 92 + 66? Answer with the number only.", "158"},
        {"running-sum", TASK_BARE, "3+1+8+1+5+9=", "3 4 12 13 18=27"},
        {"running-sum", TASK_WORDS,
         "Add these numbers one at a time and write down every step: 3, 1, 8, 1, 5, 9. End with the final sum.",
         "3 + 1 = 4\n4 + 8 = 12\n12 + 1 = 13\n13 + 5 = 18\n18 + 9 = 27\nThe sum is 27."},
        {"modsum", TASK_BARE, "531017292955601067731416=", "589907980949556629690451"},
        {"modsum", TASK_WORDS,
         "For every position in the digits 531017292955601067731416, give the last digit of the sum of all digits up "
         "to that position. Answer with these digits only, without spaces.",
         "589907980949556629690451"},
        {"sorting", TASK_BARE, "85 37 82 64 38=", "37 38 64 82 85"},
        {"sorting", TASK_WORDS,
         "Sort these numbers from smallest to largest: 85, 37, 82, 64, 38. Answer with the sorted numbers only, "
         "separated by spaces.",
         "37 38 64 82 85"},
        {"countdown", TASK_BARE, "9 13 19:23=", "19-9+13"},
        {"countdown", TASK_WORDS,
         "Use the numbers 9, 13 and 19, each at most once, and the operations + - * / to write an expression that "
         "equals 23. Answer with the expression only.",
         "19-9+13"},
        {"subset:6", TASK_BARE, "761888:3=", "777753"},
        {"subset:6", TASK_WORDS,
         "Start with the value 0 and go through the digits 761888. At each, add the digit to the value and keep the "
         "last "
         "digit of the sum, or leave the value as it is, so that it ends at 3. Answer with the value after each digit, "
         "without spaces.",
         "777753"},
        {"path:6", TASK_BARE, "3:605599:1=", "321111"},
        {"path:6", TASK_WORDS,
         "Ten lanes, 0 to 9, form a ring: 9 is beside 0. You start in lane 3. Into every row you stay in your lane or "
         "change to one beside it. Every row has a wall over three lanes that you must not touch; the middle lanes of "
         "the walls are, row by row, 6, 0, 5, 5, 9 and 9. In the last row you must be in lane 1. Answer with your lane "
         "in every row, without spaces.",
         "321111"},
    };
    for (size_t i = 0; i < sizeof pinned / sizeof *pinned; i++) {
        struct task_spec spec = spec_of(pinned[i].task);
        spec.style = pinned[i].style;
        spec.seed = 1;
        struct problem problem = problem_of(&spec, DATA_TRAIN, 0);
        assert_string_equal(problem.prompt, pinned[i].prompt);
        assert_string_equal(problem.solution, pinned[i].solution);
        problem_free(&problem);
    }
}

/* Digits of a text up to `end`. */
static int digits_to(const char *text, char end, int *digits) {
    int n = 0;
    for (; text[n] != end; n++) digits[n] = text[n] - '0';
    return n;
}

/* Whether a response is right, from the bare prompt "538:7=": some of the digits sum to the last one. */
static bool subset_is_right(const char *prompt, const char *text) {
    int digits[128], n = digits_to(prompt, ':', digits), sum = 0;
    if ((int)strlen(text) != n) return false;
    for (int i = 0, before = 0; i < n; i++) {
        bool added = text[i] - '0' != before;
        if (added) sum += digits[i];
        before = sum % 10;
        if (text[i] - '0' != before) return false;
    }
    return sum % 10 == prompt[n + 1] - '0';
}

/* "2:417:0=": from lane 2 past the walls around 4, 1 and 7 to lane 0. */
static bool path_is_right(const char *prompt, const char *text) {
    int walls[128], n = digits_to(prompt + 2, ':', walls), lane = prompt[0] - '0';
    if ((int)strlen(text) != n) return false;
    for (int i = 0; i < n; i++) {
        int next = text[i] - '0';
        bool beside = next == lane || next == (lane + 1) % 10 || next == (lane + 9) % 10;
        bool wall = next == walls[i] || next == (walls[i] + 1) % 10 || next == (walls[i] + 9) % 10;
        if (!beside || wall) return false;
        lane = next;
    }
    return lane == prompt[n + 3] - '0';
}

/* Works the answer out from the bare prompt; for countdown the verifier must do. */
static void check_answer(const char *name, const struct problem *problem) {
    int64_t numbers[600];
    int n = numbers_in(problem->prompt, numbers);
    char expected[TEXT_MAX] = "", *end = expected;
    if (!strcmp(name, "addition")) {
        assert_int_equal(n, 2);
        sprintf(expected, "%" PRId64, numbers[0] + numbers[1]);
    } else if (!strcmp(name, "running-sum")) {
        int64_t sum = 0;
        for (int i = 0; i < n; i++) sum += numbers[i];
        sprintf(expected, "%" PRId64, sum);
    } else if (!strcmp(name, "modsum")) {
        int value = 0;
        for (const char *c = problem->prompt; *c != '='; c++) *end++ = (char)('0' + (value = (value + *c - '0') % 10));
        *end = '\0';
    } else if (!strcmp(name, "sorting")) {
        for (int smallest = 0; smallest < 100; smallest++)
            for (int i = 0; i < n; i++)
                if (numbers[i] == smallest) end += sprintf(end, "%s%d", end > expected ? " " : "", smallest);
    } else if (!strcmp(name, "subset") || !strcmp(name, "path")) {
        assert_true((*name == 's' ? subset_is_right : path_is_right)(problem->prompt, problem->answer));
        return;
    } else {
        assert_int_equal(n, problem->n_numbers + 1);
        assert_memory_equal(numbers, problem->numbers, (size_t)problem->n_numbers * sizeof *numbers);
        assert_int_equal(numbers[n - 1], problem->target);
        return;
    }
    assert_string_equal(problem->answer, expected);
}

/* A response that is wrong for sure: another digit in the last number; for an expression, one number replaced by one
 * that was not given. */
static void corrupt(const char *name, char *text) {
    char *last = text + strlen(text);
    while (!isdigit((unsigned char)last[-1])) last--;
    if (strcmp(name, "countdown") != 0) {
        last[-1] = last[-1] == '9' ? '8' : (char)(last[-1] + 1);
        return;
    }
    strcpy(last, "999");
}

static void solutions_score_one_and_corrupted_ones_zero(void **state) {
    (void)state;
    int64_t checked = 0;
    for (int t = 0; t < task_count(); t++) {
        int lowest, highest, usual;
        task_range(task_at(t), &lowest, &highest, &usual);
        struct task_spec spec = {.family = task_at(t), .seed = 3};
        struct reward *reward = natural_reward(&spec);
        if (!strcmp(task_name(spec.family), "modsum")) lowest = 2; /* see an_empty_split_is_reported */
        for (spec.difficulty = lowest; spec.difficulty <= highest; spec.difficulty++) {
            for (int i = 0; i < 200; i++, checked++) {
                spec.style = i & 1 ? TASK_WORDS : TASK_BARE;
                struct problem problem = problem_of(&spec, i & 2 ? DATA_EVAL : DATA_TRAIN, i);
                assert_ok(reward_check(reward, &problem, &err));
                if (spec.style == TASK_BARE) {
                    check_answer(task_name(spec.family), &problem);
                    assert_int_equal(strspn(problem.prompt, TASK_BARE_ALPHABET), strlen(problem.prompt));
                    assert_int_equal(strspn(problem.solution, TASK_BARE_ALPHABET), strlen(problem.solution));
                }
                char wrong[TEXT_MAX];
                strcpy(wrong, problem.solution);
                corrupt(task_name(spec.family), wrong);
                assert_true(judge(reward, &problem, problem.solution) == 1);
                assert_true(judge(reward, &problem, problem.answer) == 1);
                assert_true(judge(reward, &problem, wrong) == 0);
                assert_true(judge(reward, &problem, "") == 0);
                bool adds_zero = !strncmp(problem.prompt, "0+", 2) || strstr(problem.prompt, " 0 + ");
                if (!adds_zero) assert_true(judge(reward, &problem, problem.prompt) == 0);
                assert_true(reward_score(reward, &problem, problem.solution, strlen(problem.solution), false, NULL) ==
                            0);
                assert_int_equal(problem.n_messages, 1);
                assert_string_equal(problem.messages[0].role, "user");
                assert_string_equal(problem.messages[0].content, problem.prompt);
                problem_free(&problem);
            }
        }
        reward_free(reward);
    }
    assert_true(checked > 60000);
}

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The prompt with its numbers in ascending order: what makes two problems of an unordered family the same. */
static char *content_of(const struct problem *problem, bool ordered) {
    int64_t numbers[600];
    int n = numbers_in(problem->prompt, numbers);
    char text[TEXT_MAX];
    if (ordered) return mem_strdup(problem->prompt);
    int sorted = problem->numbers ? n - 1 : n; /* the target stays behind */
    for (int i = 0; i < sorted; i++)
        for (int j = i + 1; j < sorted; j++)
            if (numbers[j] < numbers[i]) {
                int64_t keep = numbers[i];
                numbers[i] = numbers[j];
                numbers[j] = keep;
            }
    char *end = text;
    for (int i = 0; i < n; i++) end += sprintf(end, "%" PRId64 " ", numbers[i]);
    return mem_strdup(text);
}

/* Many samples of train under one seed and of eval under another never meet, at small difficulties above all. */
static void train_and_eval_never_meet(void **state) {
    (void)state;
    enum { SAMPLES = 3000 };
    char **seen = mem_alloc(SAMPLES, sizeof *seen);
    for (int t = 0; t < task_count(); t++) {
        int lowest, highest, usual;
        task_range(task_at(t), &lowest, &highest, &usual);
        static const char *const in_order[] = {"modsum", "running-sum", "subset", "path"};
        bool ordered = false;
        for (int i = 0; i < 4; i++) ordered = ordered || !strcmp(task_name(task_at(t)), in_order[i]);
        if (!strcmp(task_name(task_at(t)), "modsum")) lowest = 2; /* see an_empty_split_is_reported */
        for (int difficulty = lowest; difficulty <= lowest + 4; difficulty++) {
            struct task_spec spec = {.family = task_at(t), .difficulty = difficulty, .seed = 11};
            for (int i = 0; i < SAMPLES; i++) {
                struct problem problem = problem_of(&spec, DATA_EVAL, i);
                seen[i] = content_of(&problem, ordered);
                problem_free(&problem);
            }
            qsort(seen, SAMPLES, sizeof *seen, compare_texts);
            spec.seed = 12;
            for (int i = 0; i < SAMPLES; i++) {
                struct problem problem = problem_of(&spec, DATA_TRAIN, i);
                char *content = content_of(&problem, ordered);
                if (bsearch(&content, seen, SAMPLES, sizeof *seen, compare_texts))
                    fail_msg("%s:%d: '%s' is in both splits", task_name(spec.family), difficulty, problem.prompt);
                mem_free(content);
                problem_free(&problem);
            }
            for (int i = 0; i < SAMPLES; i++) mem_free(seen[i]);
        }
    }
    mem_free(seen);
}

/* A problem depends on what it is said to depend on, and on nothing else. */
static void problems_are_pure_functions(void **state) {
    (void)state;
    for (int t = 0; t < task_count(); t++) {
        struct task_spec spec = spec_of(task_name(task_at(t)));
        spec.seed = 5;
        struct problem first = problem_of(&spec, DATA_TRAIN, 1234567890123);
        for (int i = 0; i < 20; i++) {
            struct problem other = problem_of(&spec, DATA_TRAIN, i);
            problem_free(&other);
        }
        struct problem again = problem_of(&spec, DATA_TRAIN, 1234567890123);
        assert_string_equal(first.prompt, again.prompt);
        assert_string_equal(first.solution, again.solution);
        problem_free(&again);

        spec.noise = 1;
        struct problem noisy = problem_of(&spec, DATA_TRAIN, 1234567890123);
        assert_string_equal(first.prompt, noisy.prompt);
        assert_string_equal(first.answer, noisy.answer);
        problem_free(&noisy);
        spec.noise = 0;

        int repeats = 0;
        for (int i = 0; i < 100; i++) {
            struct problem a = problem_of(&spec, DATA_TRAIN, i), b = problem_of(&spec, DATA_TRAIN, i + 1);
            struct problem high = problem_of(&spec, DATA_TRAIN, i + ((int64_t)1 << 32));
            spec.seed = 6;
            struct problem seeded = problem_of(&spec, DATA_TRAIN, i);
            spec.seed = 5;
            repeats += !strcmp(a.prompt, b.prompt) + !strcmp(a.prompt, high.prompt) + !strcmp(a.prompt, seeded.prompt);
            problem_free(&a);
            problem_free(&b);
            problem_free(&high);
            problem_free(&seeded);
        }
        assert_in_range(repeats, 0, 3);
        problem_free(&first);
    }
}

/* The share of right demonstrations follows from the noise: each of k steps is right with probability 1 - p. */
static void noise_spoils_the_expected_share(void **state) {
    (void)state;
    const struct {
        const char *task;
        double noise, low, high; /* expected share +- 4 standard deviations of 4000 draws */
    } cases[] = {
        {"modsum:24", 0.04, 0.375 - 0.031, 0.375 + 0.031},     /* 0.96^24 = 0.3754 */
        {"modsum:24", 0, 1, 1},                                /* */
        {"modsum:1", 1, 0, 0},                                 /* the wrong digit is another digit */
        {"running-sum:2", 0.1, 0.9 - 0.019, 0.9 + 0.019},      /* words: one step */
        {"countdown:2", 0.2, 0.8 - 0.04, 0.8 + 0.06},          /* a wrong operator is right by luck now and then */
        {"sorting:2", 0.25, 0.75 - 0.028, 0.75 + 0.028 + .01}, /* equal numbers cannot be swapped */
        {"addition:18", 0.01, 0.83 - 0.025, 0.83 + 0.025},     /* 18 or 19 digits: 0.8345 and 0.8262 */
        {"subset:12", 0.05, 0.540 - 0.032, 0.540 + 0.032},     /* 0.95^12 */
        {"path:12", 0.05, 0.540 - 0.032, 0.540 + 0.09},        /* another lane is right by luck now and then */
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct task_spec spec = spec_of(cases[c].task);
        spec.style = TASK_WORDS;
        spec.noise = cases[c].noise;
        struct reward *reward = natural_reward(&spec);
        double right = 0;
        for (int i = 0; i < 4000; i++) {
            struct problem problem = problem_of(&spec, DATA_TRAIN, i);
            right += judge(reward, &problem, problem.solution);
            problem_free(&problem);
        }
        if (!(right / 4000 >= cases[c].low && right / 4000 <= cases[c].high))
            fail_msg("%s noise %g: share %g", cases[c].task, cases[c].noise, right / 4000);
        reward_free(reward);
    }
}

/* The chain goes on from a wrong value: digits agree up to the first slip, and after it every later right step keeps
 * the offset of the slip. */
static void modsum_noise_goes_on_from_the_wrong_value(void **state) {
    (void)state;
    struct task_spec spec = spec_of("modsum:24");
    spec.noise = 0.04;
    int steps = 0, slips = 0;
    for (int i = 0; i < 2000; i++) {
        struct problem problem = problem_of(&spec, DATA_TRAIN, i);
        int before = 0;
        for (int k = 0; k < 24; k++, steps++) {
            int value = problem.solution[k] - '0';
            slips += value != (before + problem.prompt[k] - '0') % 10;
            before = value;
        }
        assert_int_equal(problem.solution[24], '\0');
        problem_free(&problem);
    }
    assert_near((double)slips / steps, 0.04, 0.004); /* 4.4 standard deviations */
}

/* Countdown at every difficulty uses all its numbers, none equals the target, and the targets vary. */
static void countdown_is_not_trivial(void **state) {
    (void)state;
    for (int difficulty = 2; difficulty <= 8; difficulty++) {
        struct task_spec spec = spec_of("countdown");
        spec.difficulty = difficulty;
        int distinct = 0;
        int64_t targets[1000] = {0};
        for (int i = 0; i < 300; i++) {
            struct problem problem = problem_of(&spec, DATA_EVAL, i);
            int64_t used[64];
            assert_int_equal(numbers_in(problem.answer, used), difficulty);
            for (int k = 0; k < difficulty; k++) assert_int_not_equal(problem.numbers[k], problem.target);
            assert_in_range(problem.target, 1, 999);
            distinct += targets[problem.target]++ == 0;
            problem_free(&problem);
        }
        assert_true(distinct > (difficulty == 2 ? 15 : 80));
    }
}

/* Every response of a small problem: the verifier says of each what the rules say, several are right, and the
 * demonstrations prefer neither the first nor the last of them. */
static void many_walks_are_right(void **state) {
    (void)state;
    static const char *const names[] = {"subset:5", "path:5"};
    for (int t = 0; t < 2; t++) {
        struct task_spec spec = spec_of(names[t]);
        struct reward *reward = natural_reward(&spec);
        int right = 0, several = 0;
        double place = 0; /* of the demonstration among the right ones, 0 to 1 */
        for (int i = 0; i < 25; i++) {
            struct problem problem = problem_of(&spec, DATA_TRAIN, i);
            int here = 0, before = 0;
            for (int code = 0; code < 100000; code++) {
                char text[8];
                snprintf(text, sizeof text, "%05d", code);
                bool expected = (t ? path_is_right : subset_is_right)(problem.prompt, text);
                assert_int_equal(judge(reward, &problem, text) == 1, expected);
                here += expected;
                before += expected && strcmp(text, problem.solution) < 0;
            }
            assert_true(here >= 1);
            right += here;
            several += here > 1;
            place += ((double)before + 0.5) / here;
            problem_free(&problem);
        }
        assert_true(right > 3 * 25 && several > 15);
        assert_near(place / 25, 0.5, 0.23); /* four standard deviations of a uniform mean */
        reward_free(reward);
    }
}

/* subset:2 with one digit twice and that digit as target has two right responses: one demonstration each. */
static void demonstrations_are_spread_evenly(void **state) {
    (void)state;
    struct task_spec spec = spec_of("subset:2");
    int first = 0, second = 0;
    for (int i = 0; i < 20000; i++) {
        struct problem problem = problem_of(&spec, DATA_TRAIN, i);
        const char *p = problem.prompt;
        bool twin = p[0] == p[1] && p[3] == p[0];
        first += twin && problem.solution[0] != '0';
        second += twin && problem.solution[0] == '0';
        problem_free(&problem);
    }
    assert_true(first + second > 300);
    assert_true(abs(first - second) < 4 * sqrt(first + second)); /* four standard deviations */
}

static void out_of_memory_is_reported(void **state) {
    (void)state;
    struct task_spec spec = spec_of("countdown:5");
    int failures = 0;
    for (int nth = 1;; nth++) {
        struct problem problem;
        mem_fail_at(nth);
        opsm_status status = task_problem(&spec, DATA_TRAIN, 0, &problem, &err);
        mem_fail_at(0);
        problem_free(&problem);
        if (status == OPSM_OK) break;
        assert_int_equal(status, OPSM_NOMEM);
        failures++;
    }
    assert_true(failures >= 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_names_and_difficulties),
        cmocka_unit_test(an_empty_split_is_reported),
        cmocka_unit_test(prompts_read_as_documented),
        cmocka_unit_test(solutions_score_one_and_corrupted_ones_zero),
        cmocka_unit_test(train_and_eval_never_meet),
        cmocka_unit_test(problems_are_pure_functions),
        cmocka_unit_test(noise_spoils_the_expected_share),
        cmocka_unit_test(modsum_noise_goes_on_from_the_wrong_value),
        cmocka_unit_test(countdown_is_not_trivial),
        cmocka_unit_test(many_walks_are_right),
        cmocka_unit_test(demonstrations_are_spread_evenly),
        cmocka_unit_test(out_of_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
