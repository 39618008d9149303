/* SPDX-License-Identifier: Apache-2.0
 *
 * Subset sum modulo 10: go through `difficulty` digits from 1 to 9, add each to a running value or leave it out, and
 * end at the target. The response is the running value after every digit, so that the sum is never out of sight. About
 * one in ten of all choices is right: many responses are, and finding one takes looking ahead. The target is never 0,
 * or adding nothing would do. The demonstration is one of the right choices, all equally likely. Noise: each value is,
 * with that probability, another digit, uniformly among the nine others, and the sum goes on from the wrong value.
 */
#include "data/task_family.h"
#include <inttypes.h>

static bool draw_subset(struct rng *rng, int difficulty, struct task_draw *draw) {
    int value = 0;
    draw->n = difficulty;
    for (int i = 0; i < difficulty; i++) {
        draw->numbers[i] = 1 + rng_below(rng, 9);
        if (rng_below(rng, 2)) value = (value + (int)draw->numbers[i]) % 10;
        draw->steps[i] = (uint8_t)value;
    }
    draw->target = value;
    return value != 0;
}

static void write_sums(const struct task_draw *draw, double probability, struct rng *noise, struct text *text) {
    int value = 0, before = 0;
    for (int i = 0; i < draw->n; i++) {
        if (draw->steps[i] != before) value = (value + (int)draw->numbers[i]) % 10; /* no digit is 0 */
        before = draw->steps[i];
        if (probability > 0 && rng_unit(noise) < probability) value = (value + 1 + (int)rng_below(noise, 9)) % 10;
        text_printf(text, "%d", value);
    }
}

static void write_subset(const struct task_draw *draw, const struct task_spec *spec, struct rng *noise,
                         struct task_texts *texts) {
    if (spec->style == TASK_WORDS) text_puts(&texts->prompt, "Start with the value 0 and go through the digits ");
    task_write_list(&texts->prompt, draw->numbers, draw->n, "", "");
    if (spec->style == TASK_BARE)
        text_printf(&texts->prompt, ":%" PRId64 "=", draw->target);
    else
        text_printf(&texts->prompt,
                    ". At each, add the digit to the value and keep the last digit of the sum, or leave the value as "
                    "it is, so that it ends at %" PRId64 ". Answer with the value after each digit, without spaces.",
                    draw->target);
    write_sums(draw, 0, noise, &texts->answer);
    write_sums(draw, spec->noise, noise, &texts->solution);
}

const struct task_family task_subset = {
    .name = "subset",
    .doc = "choose digits that sum to a target modulo 10; difficulty: of how many; noise: chance of a wrong value",
    .verifier = "subset",
    .lowest = 2,
    .highest = 128,
    .usual = 12,
    .ordered = true,
    .by_numbers = true,
    .draw = draw_subset,
    .write = write_subset,
};
