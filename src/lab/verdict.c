/* SPDX-License-Identifier: Apache-2.0
 *
 * The verdict: sentences that follow from the intervals and nothing else.
 */
#include "lab/result.h"
#include <math.h>

/* "a", "a and b", "a, b and c" as it is being written. */
struct list {
    struct text *out;
    int32_t written, total;
};

static void list_next(struct list *list) {
    if (list->written > 0) text_puts(list->out, list->written + 1 == list->total ? " and " : ", ");
    list->written++;
}

enum outcome { OUTCOME_LOWER, OUTCOME_HIGHER, OUTCOME_ALIKE, OUTCOME_UNKNOWN, OUTCOMES };

struct comparison {
    enum outcome outcome;
    struct interval difference;
    int32_t pairs;
};

static struct comparison compare_arms(const struct lab *lab, int32_t arm, int32_t other) {
    struct comparison c = {.outcome = OUTCOME_UNKNOWN};
    c.difference = lab_difference(lab, arm, other, &c.pairs);
    if (c.pairs < 2 || !isfinite(c.difference.estimate)) return c;
    c.outcome = c.difference.high < 0 ? OUTCOME_LOWER : c.difference.low > 0 ? OUTCOME_HIGHER : OUTCOME_ALIKE;
    return c;
}

/* The arm that the others are compared with: the reference, or the highest mean of those with the most seeds done. */
static int32_t yardstick(const struct lab *lab) {
    if (lab->reference >= 0) return lab->reference;
    int32_t best = 0;
    for (int32_t a = 1; a < lab->n_arms; a++) {
        const struct lab_arm *arm = &lab->arms[a], *so_far = &lab->arms[best];
        bool higher = arm->final.estimate > so_far->final.estimate;
        if (arm->done > so_far->done || (arm->done == so_far->done && higher)) best = a;
    }
    return best;
}

static void say_mean(const struct lab *lab, int32_t a, struct text *out) {
    const struct lab_arm *arm = &lab->arms[a];
    text_printf(out, "%s ends at %.3f", arm->name, arm->final.estimate);
    if (arm->done >= 2)
        text_printf(out, " [%.3f, %.3f], %d seeds", arm->final.low, arm->final.high, arm->done);
    else
        text_puts(out, ", one seed");
}

/* "Lower than X: a by 0.10 [0.05, 0.15] and b by ..." */
static void say_outcome(const struct lab *lab, int32_t other, enum outcome outcome, struct text *out) {
    static const char *const openings[OUTCOMES] = {"Lower than", "Higher than", "Not told apart from",
                                                   "Not compared with"};
    struct list list = {.out = out};
    for (int32_t a = 0; a < lab->n_arms; a++)
        list.total += a != other && compare_arms(lab, a, other).outcome == outcome;
    if (list.total == 0) return;
    text_printf(out, " %s %s: ", openings[outcome], lab->arms[other].name);
    for (int32_t a = 0; a < lab->n_arms; a++) {
        struct comparison c = compare_arms(lab, a, other);
        if (a == other || c.outcome != outcome) continue;
        struct interval d = c.difference;
        if (outcome == OUTCOME_LOWER) d = (struct interval){-d.estimate, -d.high, -d.low};
        list_next(&list);
        text_puts(out, lab->arms[a].name);
        if (outcome == OUTCOME_LOWER || outcome == OUTCOME_HIGHER)
            text_printf(out, " by %.3f [%.3f, %.3f]", d.estimate, d.low, d.high);
        else if (outcome == OUTCOME_ALIKE && d.low == 0 && d.high == 0)
            text_puts(out, " (equal in every seed)");
        else if (outcome == OUTCOME_ALIKE)
            text_printf(out, " (%+.3f [%+.3f, %+.3f])", d.estimate, d.low, d.high);
        else
            text_puts(out, c.pairs == 1 ? " (one seed in common: one seed proves nothing)" : " (no seed in common)");
    }
    text_puts(out, ".");
}

/* "Collapsed: a in 3 of 3 seeds and b in 1 of 3." */
static void say_counts(const struct lab *lab, const char *opening, bool failed, struct text *out) {
    struct list list = {.out = out};
    for (int32_t a = 0; a < lab->n_arms; a++) list.total += (failed ? lab->arms[a].failed : lab->arms[a].collapsed) > 0;
    if (list.total == 0) return;
    text_printf(out, " %s: ", opening);
    for (int32_t a = 0; a < lab->n_arms; a++) {
        const struct lab_arm *arm = &lab->arms[a];
        int32_t n = failed ? arm->failed : arm->collapsed, of = failed ? lab->n_seeds : arm->done + arm->failed;
        if (n == 0) continue;
        list_next(&list);
        text_printf(out, "%s in %d of %d %s", arm->name, n, of, of == 1 ? "run" : "runs");
    }
    text_puts(out, ".");
}

static void say_unfinished(const struct lab *lab, struct text *out) {
    int32_t left = 0;
    for (int32_t a = 0; a < lab->n_arms; a++) left += lab->n_seeds - lab->arms[a].done - lab->arms[a].failed;
    if (left > 0)
        text_printf(out, "%s%d of %d runs are not finished: what is said here is of the others.",
                    out->length ? " " : "", left, lab->n_arms * lab->n_seeds);
}

void lab_verdict(const struct lab *lab, struct text *out) {
    int32_t other = yardstick(lab), collapsed = 0, done = 0;
    for (int32_t a = 0; a < lab->n_arms; a++) {
        collapsed += lab->arms[a].collapsed;
        done += lab->arms[a].done;
    }
    if (done == 0) {
        text_puts(out, "No run is done: there is nothing to compare.");
    } else if (lab->arms[other].done == 0) {
        text_printf(out, "%s, which the others are to be compared with, has no run that is done.",
                    lab->arms[other].name);
    } else {
        if (lab->reference < 0 && lab->n_arms > 1) text_puts(out, "No reference is named; the highest mean: ");
        say_mean(lab, other, out);
        text_puts(out, ".");
        for (int outcome = 0; outcome < OUTCOMES; outcome++) say_outcome(lab, other, (enum outcome)outcome, out);
    }
    if (done > 0 && collapsed == 0) text_puts(out, done == 1 ? " It did not collapse." : " No run collapsed.");
    say_counts(lab, "Collapsed", false, out);
    say_counts(lab, "Failed", true, out);
    if (lab->n_seeds == 1) text_puts(out, " There is one seed only: one seed proves nothing.");
    say_unfinished(lab, out);
}
