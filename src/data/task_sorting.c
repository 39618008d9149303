/* SPDX-License-Identifier: Apache-2.0
 *
 * Sorting of `difficulty` numbers from 0 to 99, smallest first. Noise: at each place, with that probability, another of
 * the remaining numbers is taken instead of the smallest one (the response stays a permutation of the numbers).
 */
#include "data/task_family.h"
#include <stdlib.h>
#include <string.h>

static bool draw_sorting(struct rng *rng, int difficulty, struct task_draw *draw) {
    draw->n = difficulty;
    for (int i = 0; i < difficulty; i++) draw->numbers[i] = rng_below(rng, 100);
    return true;
}

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Moves a wrong number to the front of the ascending `rest`; the others keep their order. */
static void take_wrong(int64_t *rest, int n, struct rng *noise) {
    int equal = 1;
    while (equal < n && rest[equal] == rest[0]) equal++;
    if (equal == n) return; /* all the same: there is no wrong choice */
    int pick = equal + (int)rng_below(noise, (uint32_t)(n - equal));
    int64_t taken = rest[pick];
    memmove(rest + 1, rest, (size_t)pick * sizeof *rest);
    rest[0] = taken;
}

static void write_sorting(const struct task_draw *draw, const struct task_spec *spec, struct rng *noise,
                          struct task_texts *texts) {
    if (spec->style == TASK_BARE) {
        task_write_list(&texts->prompt, draw->numbers, draw->n, " ", " ");
        text_puts(&texts->prompt, "=");
    } else {
        text_puts(&texts->prompt, "Sort these numbers from smallest to largest: ");
        task_write_list(&texts->prompt, draw->numbers, draw->n, ", ", ", ");
        text_puts(&texts->prompt, ". Answer with the sorted numbers only, separated by spaces.");
    }
    int64_t sorted[TASK_NUMBERS_MAX];
    memcpy(sorted, draw->numbers, (size_t)draw->n * sizeof *sorted);
    qsort(sorted, (size_t)draw->n, sizeof *sorted, compare);
    task_write_list(&texts->answer, sorted, draw->n, " ", " ");
    for (int i = 0; i + 1 < draw->n; i++)
        if (rng_unit(noise) < spec->noise) take_wrong(sorted + i, draw->n - i, noise);
    task_write_list(&texts->solution, sorted, draw->n, " ", " ");
}

const struct task_family task_sorting = {
    .name = "sorting",
    .doc = "sort numbers from 0 to 99; difficulty: how many; noise: chance of taking a wrong number next",
    .verifier = "exact",
    .lowest = 2,
    .highest = 64,
    .usual = 5,
    .draw = draw_sorting,
    .write = write_sorting,
};
