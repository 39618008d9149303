/* SPDX-License-Identifier: Apache-2.0
 *
 * What a person sees while a run goes on. On a terminal: one status line, rewritten in place. Elsewhere (a file, a
 * pipe, TERM=dumb): one plain line per iteration.
 *
 *   iteration 12/100  [rollout 45%]  reward 0.512  drift 0.0310  dropped 12%  1,234 tokens/s  3m20s left
 */
#ifndef OPSM_REPORT_PROGRESS_H
#define OPSM_REPORT_PROGRESS_H
#include "base/sink.h"
#include <opsm/status.h>
#include <stdint.h>
#include <stdio.h>

enum progress_style { PROGRESS_OFF, PROGRESS_PLAIN, PROGRESS_TERMINAL };

struct progress; /* one thread at a time */

/* What happened in one iteration; NaN where there is nothing to show. */
struct progress_row {
    int64_t iteration;        /* how many are done */
    double reward;            /* mean of the iteration's rollouts */
    double drift;             /* of the sequences with a negative advantage, nats per token */
    double dropped;           /* share of sequences that the mask left out, 0 to 1 */
    double tokens_per_second; /* generated and trained on, over the whole iteration */
    char rewards[200];        /* what it is the sum of, "numeric 0.412, format 0.930"; empty where it is one thing */
};

/* PROGRESS_TERMINAL for a terminal that can rewrite a line, else PROGRESS_PLAIN. */
enum progress_style progress_style_for(FILE *out);

/* `out` is borrowed. `total` iterations in all, `done` of them by earlier runs. Colours unless NO_COLOR is set. */
opsm_status progress_open(struct progress **progress, FILE *out, enum progress_style style, int64_t total, int64_t done,
                          opsm_error *err);

/* What is counted: "iteration" unless told otherwise; borrowed. */
void progress_unit(struct progress *progress, const char *unit);

/* Ends the status line with a newline, so that it stays; NULL is allowed. */
void progress_close(struct progress *progress);

/* Shows an iteration. */
void progress_iteration(struct progress *progress, const struct progress_row *row);

/* Shows an iteration from its line in a run's record; any other line is nothing to it. */
void progress_line(struct progress *progress, const struct metrics_line *line);

/* Says on the status line what is going on and, where known (else NaN), which share of it is done. Cheap: the terminal
 * is touched ten times a second at most, a plain output never. */
void progress_phase(struct progress *progress, const char *phase, double share);

/* Prints a whole line above the status line: what a log sink should call while a progress is open. */
void progress_note(struct progress *progress, const char *line);

#endif
