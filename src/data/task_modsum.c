/* SPDX-License-Identifier: Apache-2.0
 *
 * Prefix sums modulo 10 of `difficulty` random digits: the laboratory's task. Every digit of the response depends on
 * all before it, so one slip spoils the rest. Noise: each step is, with that probability, another digit, uniformly
 * among the nine others, and the chain goes on from the wrong value; a model trained on such demonstrations knows the
 * method and makes the same share of slips, so its accuracy when sampling is (1 - noise)^difficulty.
 */
#include "data/task_family.h"

static bool draw_modsum(struct rng *rng, int difficulty, struct task_draw *draw) {
    draw->n = difficulty;
    for (int i = 0; i < difficulty; i++) draw->numbers[i] = rng_below(rng, 10);
    return true;
}

static void write_chain(const struct task_draw *draw, double probability, struct rng *noise, struct text *text) {
    int value = 0;
    for (int i = 0; i < draw->n; i++) {
        value = (value + (int)draw->numbers[i]) % 10;
        if (probability > 0 && rng_unit(noise) < probability) value = (value + 1 + (int)rng_below(noise, 9)) % 10;
        text_printf(text, "%d", value);
    }
}

static void write_modsum(const struct task_draw *draw, const struct task_spec *spec, struct rng *noise,
                         struct task_texts *texts) {
    if (spec->style == TASK_WORDS) text_puts(&texts->prompt, "For every position in the digits ");
    task_write_list(&texts->prompt, draw->numbers, draw->n, "", "");
    text_puts(&texts->prompt, spec->style == TASK_BARE
                                  ? "="
                                  : ", give the last digit of the sum of all digits up to that position. Answer with "
                                    "these digits only, without spaces.");
    write_chain(draw, 0, noise, &texts->answer);
    write_chain(draw, spec->noise, noise, &texts->solution);
}

const struct task_family task_modsum = {
    .name = "modsum",
    .doc = "prefix sums modulo 10 of random digits; difficulty: how many; noise: chance of a wrong step",
    .verifier = "exact",
    .lowest = 1,
    .highest = 256,
    .usual = 24,
    .ordered = true,
    .draw = draw_modsum,
    .write = write_modsum,
};
