/* SPDX-License-Identifier: Apache-2.0
 *
 * A way through walls: ten lanes in a ring, `difficulty` rows. Into each row one stays in one's lane or changes to a
 * lane beside it; a row's wall covers three lanes, named by the middle one; the last row must be reached in the goal
 * lane. Who stands before the middle of the next wall cannot go on: it takes looking ahead to avoid that, and to end
 * at the goal. Usually many ways are right; the demonstration is one of them, all equally likely. Noise: each lane is,
 * with that probability, another one, uniformly among the nine others, and the next row is as if nothing had happened.
 */
#include "data/task_family.h"
#include <inttypes.h>

enum { LANES = 10 };

static bool draw_path(struct rng *rng, int difficulty, struct task_draw *draw) {
    int lane = (int)rng_below(rng, LANES);
    draw->n = difficulty + 1;
    draw->numbers[0] = lane;
    for (int row = 1; row <= difficulty; row++) {
        lane = (lane + LANES - 1 + (int)rng_below(rng, 3)) % LANES;
        draw->steps[row - 1] = (uint8_t)lane;
        draw->numbers[row] = (lane + 2 + rng_below(rng, LANES - 3)) % LANES; /* at least two lanes away */
    }
    draw->target = lane;
    return true;
}

static void write_lanes(const struct task_draw *draw, double probability, struct rng *noise, struct text *text) {
    for (int i = 0; i + 1 < draw->n; i++) {
        int lane = draw->steps[i];
        if (probability > 0 && rng_unit(noise) < probability) lane = (lane + 1 + (int)rng_below(noise, 9)) % LANES;
        text_printf(text, "%d", lane);
    }
}

static void write_path(const struct task_draw *draw, const struct task_spec *spec, struct rng *noise,
                       struct task_texts *texts) {
    struct text *prompt = &texts->prompt;
    if (spec->style == TASK_BARE) {
        text_printf(prompt, "%" PRId64 ":", draw->numbers[0]);
        task_write_list(prompt, draw->numbers + 1, draw->n - 1, "", "");
        text_printf(prompt, ":%" PRId64 "=", draw->target);
    } else {
        text_printf(prompt,
                    "Ten lanes, 0 to 9, form a ring: 9 is beside 0. You start in lane %" PRId64
                    ". Into every row you stay in your lane or change to one beside it. Every row has a wall over "
                    "three lanes that you must not touch; the middle lanes of the walls are, row by row, ",
                    draw->numbers[0]);
        task_write_list(prompt, draw->numbers + 1, draw->n - 1, ", ", " and ");
        text_printf(prompt,
                    ". In the last row you must be in lane %" PRId64
                    ". Answer with your lane in every row, without spaces.",
                    draw->target);
    }
    write_lanes(draw, 0, noise, &texts->answer);
    write_lanes(draw, spec->noise, noise, &texts->solution);
}

const struct task_family task_path = {
    .name = "path",
    .doc = "a way through rows of walls to a goal; difficulty: how many rows; noise: chance of a wrong lane",
    .verifier = "path",
    .lowest = 2,
    .highest = 128,
    .usual = 12,
    .ordered = true,
    .by_numbers = true,
    .draw = draw_path,
    .write = write_path,
};
