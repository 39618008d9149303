/* SPDX-License-Identifier: Apache-2.0 */
#include "report/progress.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const double REDRAW_SECONDS = 0.1;

struct progress {
    FILE *out;
    enum progress_style style;
    const char *unit;
    bool colours, drawn; /* drawn: the cursor stands on a status line */
    int64_t total, done_before;
    double started, redrawn; /* clock_seconds */
    struct progress_row row;
    char phase[48];
    struct text line;
};

enum progress_style progress_style_for(FILE *out) {
    const char *term = getenv("TERM");
    bool able = term && *term && strcmp(term, "dumb") != 0;
    return able && isatty(fileno(out)) ? PROGRESS_TERMINAL : PROGRESS_PLAIN;
}

opsm_status progress_open(struct progress **result, FILE *out, enum progress_style style, int64_t total, int64_t done,
                          opsm_error *err) {
    *result = NULL;
    struct progress *progress = mem_zalloc(1, sizeof *progress);
    if (!progress) return mem_exhausted(err, "the progress line", sizeof *progress);
    const char *no_color = getenv("NO_COLOR");
    *progress = (struct progress){
        .out = out,
        .style = style,
        .unit = "iteration",
        .colours = !(no_color && *no_color),
        .total = total,
        .done_before = done,
        .started = clock_seconds(),
        .row = {.iteration = done, .reward = NAN, .drift = NAN, .dropped = NAN, .tokens_per_second = NAN}};
    *result = progress;
    return OPSM_OK;
}

void progress_unit(struct progress *progress, const char *unit) {
    progress->unit = unit;
}

/* 1234567 as "1,234,567". */
static void put_grouped(struct text *text, double value) {
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%.0f", value);
    for (int i = 0; i < n && i < (int)sizeof digits; i++) {
        if (i > 0 && (n - i) % 3 == 0) text_puts(text, ",");
        text_append(text, digits + i, 1);
    }
}

static void put_duration(struct text *text, double seconds) {
    long long s = (long long)(seconds + 0.5);
    if (s < 60)
        text_printf(text, "  %llds left", s);
    else if (s < 3600)
        text_printf(text, "  %lldm%02llds left", s / 60, s % 60);
    else
        text_printf(text, "  %lldh%02lldm left", s / 3600, s / 60 % 60);
}

/* Seconds until the last iteration at the pace of this run so far; NaN before the first. */
static double seconds_left(const struct progress *progress) {
    int64_t done = progress->row.iteration - progress->done_before;
    if (done < 1 || progress->row.iteration >= progress->total) return NAN;
    return (clock_seconds() - progress->started) / (double)done * (double)(progress->total - progress->row.iteration);
}

/* Builds the line; returns the length of its first part, which is set off by colour. */
static size_t build_line(struct progress *progress) {
    struct text *line = &progress->line;
    const struct progress_row *row = &progress->row;
    text_clear(line);
    text_printf(line, "%s %lld/%lld", progress->unit, (long long)row->iteration, (long long)progress->total);
    size_t head = line->length;
    if (progress->phase[0]) text_printf(line, "  [%s]", progress->phase);
    if (!isnan(row->reward)) text_printf(line, "  reward %.3f", row->reward);
    if (row->rewards[0]) text_printf(line, " (%s)", row->rewards);
    if (!isnan(row->drift)) text_printf(line, "  drift %.4f", row->drift);
    if (!isnan(row->dropped)) text_printf(line, "  dropped %.0f%%", 100 * row->dropped);
    if (row->tokens_per_second >= 0 && row->tokens_per_second < 1e15) {
        text_puts(line, "  ");
        put_grouped(line, row->tokens_per_second);
        text_puts(line, " tokens/s");
    }
    return head;
}

static size_t terminal_width(FILE *out) {
    struct winsize size = {0};
    if (ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 1) return size.ws_col;
    return 80;
}

/* Everything fits in one row: a line that wraps could not be rewritten. */
static void draw(struct progress *progress) {
    size_t head = build_line(progress), room = terminal_width(progress->out) - 1;
    double left = seconds_left(progress);
    if (left < 1e9) put_duration(&progress->line, left);
    if (progress->line.failed) return;
    size_t length = progress->line.length < room ? progress->line.length : room;
    if (head > length) head = length;
    const char *bold = progress->colours ? "\033[1m" : "", *plain = progress->colours ? "\033[0m" : "";
    fprintf(progress->out, "\r\033[K%s%.*s%s%.*s", bold, (int)head, progress->line.data, plain, (int)(length - head),
            progress->line.data + head);
    fflush(progress->out);
    progress->drawn = true;
    progress->redrawn = clock_seconds();
}

void progress_iteration(struct progress *progress, const struct progress_row *row) {
    progress->row = *row;
    progress->phase[0] = '\0';
    if (progress->style == PROGRESS_TERMINAL) draw(progress);
    if (progress->style != PROGRESS_PLAIN) return;
    build_line(progress);
    if (!progress->line.failed) fprintf(progress->out, "%s\n", progress->line.data);
    fflush(progress->out);
}

static double number_of(const struct metrics_line *line, const char *key) {
    for (int i = 0; i < line->n; i++)
        if (!line->values[i].group && !strcmp(line->values[i].key, key)) return line->values[i].number;
    return NAN;
}

void progress_line(struct progress *progress, const struct metrics_line *line) {
    if (line->kind != METRICS_ITERATION) return;
    struct progress_row row = {.iteration = line->iteration + 1,
                               .reward = number_of(line, "reward_mean"),
                               .drift = number_of(line, "drift_negative_mean"),
                               .dropped = number_of(line, "dropped")};
    double seconds = 0;
    size_t used = 0;
    int verifiers = 0;
    for (int i = 0; i < line->n; i++) {
        const struct metrics_value *value = &line->values[i];
        if (value->group && !strcmp(value->group, "seconds")) seconds += value->number;
        if (!value->group || strcmp(value->group, "rewards") != 0 || used >= sizeof row.rewards) continue;
        used += (size_t)snprintf(row.rewards + used, sizeof row.rewards - used, "%s%s %.3f", verifiers ? ", " : "",
                                 value->key, value->number);
        verifiers++;
    }
    if (verifiers < 2) row.rewards[0] = '\0'; /* it is the reward */
    row.tokens_per_second = (number_of(line, "tokens") + number_of(line, "tokens_forward")) / seconds;
    progress_iteration(progress, &row);
}

void progress_phase(struct progress *progress, const char *phase, double share) {
    if (progress->style != PROGRESS_TERMINAL) return;
    if (isnan(share))
        snprintf(progress->phase, sizeof progress->phase, "%s", phase);
    else
        snprintf(progress->phase, sizeof progress->phase, "%.30s %.0f%%", phase, 100 * share);
    if (!progress->drawn || clock_seconds() - progress->redrawn >= REDRAW_SECONDS) draw(progress);
}

void progress_note(struct progress *progress, const char *line) {
    bool over = progress->drawn;
    fprintf(progress->out, "%s%s\n", over ? "\r\033[K" : "", line);
    fflush(progress->out);
    progress->drawn = false;
    if (over) draw(progress);
}

void progress_close(struct progress *progress) {
    if (!progress) return;
    if (progress->drawn) {
        progress->phase[0] = '\0';
        draw(progress);
        fputs("\n", progress->out);
        fflush(progress->out);
    }
    text_free(&progress->line);
    mem_free(progress);
}
