/* SPDX-License-Identifier: Apache-2.0
 *
 * Addition of two numbers of `difficulty` digits each. Noise: each digit of the written sum is, with that probability,
 * another digit (a leading one stays above zero).
 */
#include "data/task_family.h"
#include <inttypes.h>
#include <stdio.h>

/* Uniform among the numbers of exactly `digits` digits; one digit includes 0. */
static int64_t draw_number(struct rng *rng, int digits) {
    int64_t value = digits == 1 ? rng_below(rng, 10) : 1 + rng_below(rng, 9);
    for (int i = 1; i < digits; i++) value = value * 10 + rng_below(rng, 10);
    return value;
}

static bool draw_addition(struct rng *rng, int difficulty, struct task_draw *draw) {
    draw->n = 2;
    for (int i = 0; i < 2; i++) draw->numbers[i] = draw_number(rng, difficulty);
    return true;
}

static void write_addition(const struct task_draw *draw, const struct task_spec *spec, struct rng *noise,
                           struct task_texts *texts) {
    int64_t a = draw->numbers[0], b = draw->numbers[1];
    if (spec->style == TASK_BARE)
        text_printf(&texts->prompt, "%" PRId64 "+%" PRId64 "=", a, b);
    else
        text_printf(&texts->prompt, "What is %" PRId64 " + %" PRId64 "? Answer with the number only.", a, b);
    text_printf(&texts->answer, "%" PRId64, a + b);
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRId64, a + b);
    bool single = digits[1] == '\0';
    for (int i = 0; digits[i]; i++) {
        if (rng_unit(noise) >= spec->noise) continue;
        int lowest = i == 0 && !single;
        int other = lowest + (int)rng_below(noise, (uint32_t)(9 - lowest));
        digits[i] = (char)('0' + other + (other >= digits[i] - '0'));
    }
    text_puts(&texts->solution, digits);
}

const struct task_family task_addition = {
    .name = "addition",
    .doc = "add two numbers; difficulty: digits of each; noise: chance of a wrong digit in the sum",
    .verifier = "numeric",
    .lowest = 1,
    .highest = 18,
    .usual = 2,
    .draw = draw_addition,
    .write = write_addition,
};
