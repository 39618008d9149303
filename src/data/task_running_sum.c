/* SPDX-License-Identifier: Apache-2.0
 *
 * Running sum: `difficulty` numbers from 1 to 9 are added one at a time, every total is written down, the last one is
 * the answer. Noise: each total is, with that probability, off by 1 to 9, and the chain goes on from the wrong value.
 */
#include "data/task_family.h"
#include <inttypes.h>

static bool draw_running_sum(struct rng *rng, int difficulty, struct task_draw *draw) {
    draw->n = difficulty;
    for (int i = 0; i < difficulty; i++) draw->numbers[i] = 1 + rng_below(rng, 9);
    return true;
}

/* `total`, or a wrong one that is still positive. */
static int64_t perhaps_wrong(int64_t total, double probability, struct rng *noise) {
    if (rng_unit(noise) >= probability) return total;
    int64_t by = 1 + rng_below(noise, 9);
    return rng_below(noise, 2) && total > by ? total - by : total + by;
}

/* Totals are separated by blanks, and the last stands behind "=": the end of a list is not a result. */
static void write_bare(const struct task_draw *draw, double probability, struct rng *noise, struct text *solution) {
    int64_t total = 0;
    for (int i = 0; i < draw->n; i++) {
        total = perhaps_wrong(total + draw->numbers[i], probability, noise);
        text_printf(solution, "%s%" PRId64, i == 0 ? "" : i < draw->n - 1 ? " " : "=", total);
    }
}

static void write_words(const struct task_draw *draw, double probability, struct rng *noise, struct text *solution) {
    int64_t total = draw->numbers[0];
    for (int i = 1; i < draw->n; i++) {
        int64_t next = perhaps_wrong(total + draw->numbers[i], probability, noise);
        text_printf(solution, "%" PRId64 " + %" PRId64 " = %" PRId64 "\n", total, draw->numbers[i], next);
        total = next;
    }
    text_printf(solution, "The sum is %" PRId64 ".", total);
}

static void write_running_sum(const struct task_draw *draw, const struct task_spec *spec, struct rng *noise,
                              struct task_texts *texts) {
    int64_t sum = 0;
    for (int i = 0; i < draw->n; i++) sum += draw->numbers[i];
    text_printf(&texts->answer, "%" PRId64, sum);
    if (spec->style == TASK_BARE) {
        task_write_list(&texts->prompt, draw->numbers, draw->n, "+", "+");
        text_puts(&texts->prompt, "=");
        write_bare(draw, spec->noise, noise, &texts->solution);
        return;
    }
    text_puts(&texts->prompt, "Add these numbers one at a time and write down every step: ");
    task_write_list(&texts->prompt, draw->numbers, draw->n, ", ", ", ");
    text_puts(&texts->prompt, ". End with the final sum.");
    write_words(draw, spec->noise, noise, &texts->solution);
}

const struct task_family task_running_sum = {
    .name = "running-sum",
    .doc = "add one-digit numbers step by step; difficulty: how many; noise: chance of a wrong step",
    .verifier = "numeric",
    .lowest = 2,
    .highest = 64,
    .usual = 6,
    .ordered = true,
    .draw = draw_running_sum,
    .write = write_running_sum,
};
