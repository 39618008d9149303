/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/activity.h"
#include "base/clock.h"
#include "base/log.h"
#include "report/progress.h"
#include <math.h>
#include <stdbool.h>
#include <stdio.h>

/* What is over at once needs no line; afterwards it is drawn ten times a second at most. */
static const double PATIENCE_SECONDS = 0.5, REDRAW_SECONDS = 0.1;

static double started, drawn_at;
static bool drawn;

void activity_clear(void) {
    if (!drawn) return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    drawn = false;
}

static void show(const char *phase, double share, void *user) {
    (void)user;
    if (!phase) {
        activity_clear();
        return;
    }
    double now = clock_seconds();
    if (now - started < PATIENCE_SECONDS || now - drawn_at < REDRAW_SECONDS) return;
    char percent[16] = "";
    if (!isnan(share)) snprintf(percent, sizeof percent, " %.0f%%", 100 * fmin(fmax(share, 0), 1));
    fprintf(stderr, "\r\033[K[%.40s%s]", phase, percent);
    fflush(stderr);
    drawn = true;
    drawn_at = now;
}

void activity_start(void) {
    started = clock_seconds();
    if (progress_style_for(stderr) == PROGRESS_TERMINAL) log_install_phase(show, NULL);
}
