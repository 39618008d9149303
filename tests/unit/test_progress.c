/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "check.h"
#include "report/progress.h"
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static opsm_error err;
static char *output;
static size_t output_size;

static const struct progress_row ROW = {12, 0.5124, 0.03104, 0.12, 1234567.8, ""};

static struct progress *open_memory(FILE **out, enum progress_style style) {
    struct progress *progress;
    *out = open_memstream(&output, &output_size);
    assert_non_null(*out);
    assert_ok(progress_open(&progress, *out, style, 100, 10, &err));
    return progress;
}

static void close_memory(struct progress *progress, FILE *out) {
    progress_close(progress);
    fclose(out);
}

/* What a terminal of one row would show: carriage return, erase to the end of line, no colours, lines scroll away. */
static void show(const char *bytes, char *row, size_t room) {
    size_t at = 0, length = 0;
    for (const char *c = bytes; *c; c++) {
        if (*c == '\n') {
            if (!c[1]) break;
            at = length = 0;
        } else if (*c == '\r') {
            at = 0;
        } else if (!strncmp(c, "\033[K", 3)) {
            length = at;
            c += 2;
        } else if (*c == '\033') {
            c = strchr(c, 'm');
        } else {
            assert_true(at + 1 < room);
            row[at++] = *c;
            if (at > length) length = at;
        }
    }
    row[length] = '\0';
}

static void plain_output_has_a_line_per_iteration(void **state) {
    (void)state;
    FILE *out;
    struct progress *progress = open_memory(&out, PROGRESS_PLAIN);
    progress_phase(progress, "rollout", 0.5);
    progress_iteration(progress, &ROW);
    progress_note(progress, "a message");
    progress_iteration(progress, &(struct progress_row){13, NAN, NAN, NAN, NAN, ""});
    progress_iteration(progress, &(struct progress_row){14, -INFINITY, 0, 1, INFINITY, ""});
    close_memory(progress, out);
    assert_string_equal(output, "iteration 12/100  reward 0.512  drift 0.0310  dropped 12%  1,234,568 tokens/s\n"
                                "a message\n"
                                "iteration 13/100\n"
                                "iteration 14/100  reward -inf  drift 0.0000  dropped 100%\n");
    free(output);
}

static void tell(struct progress *progress, enum metrics_kind kind, int64_t iteration, int verifiers) {
    struct metrics_line line;
    metrics_begin(&line, kind, iteration, 40);
    metrics_number(&line, "reward_mean", 0.5124);
    metrics_number(&line, "drift_negative_mean", NAN);
    metrics_number(&line, "dropped", 0.12);
    metrics_number(&line, "tokens", 1000);
    metrics_number(&line, "tokens_forward", 500);
    metrics_group(&line, "seconds");
    metrics_number(&line, "rollout", 1);
    metrics_number(&line, "optim", 0.5);
    metrics_group(&line, "rewards");
    metrics_number(&line, "exact", 0.5);
    if (verifiers == 2) metrics_number(&line, "format", 0.124);
    progress_line(progress, &line);
}

/* Only the line of an iteration is shown; tokens a second are those generated and trained on over all its seconds. */
static void a_line_of_the_record_becomes_a_row(void **state) {
    (void)state;
    FILE *out;
    struct progress *progress = open_memory(&out, PROGRESS_PLAIN);
    tell(progress, METRICS_STEP, 11, 1);
    tell(progress, METRICS_ITERATION, 11, 1);
    tell(progress, METRICS_EVAL, 12, 2);
    tell(progress, METRICS_ITERATION, 12, 2);
    close_memory(progress, out);
    assert_string_equal(output, "iteration 12/100  reward 0.512  dropped 12%  1,000 tokens/s\n"
                                "iteration 13/100  reward 0.512 (exact 0.500, format 0.124)  dropped 12%  "
                                "1,000 tokens/s\n");
    free(output);
}

static void a_terminal_gets_one_line_rewritten(void **state) {
    (void)state;
    char row[200];
    FILE *out;
    setenv("NO_COLOR", "", 1);
    struct progress *progress = open_memory(&out, PROGRESS_TERMINAL);
    progress_phase(progress, "rollout", 0.45);
    fflush(out);
    show(output, row, sizeof row);
    assert_string_equal(row, "iteration 10/100  [rollout 45%]");
    progress_iteration(progress, &(struct progress_row){11, 0.5, NAN, NAN, NAN, ""});
    fflush(out);
    show(output, row, sizeof row);
    assert_memory_equal(row, "iteration 11/100  reward 0.500  ", 32);
    assert_string_equal(row + strlen(row) - 6, "s left"); /* how many depends on the machine */
    assert_non_null(strstr(output, "\033[1miteration 11/100\033[0m"));
    progress_note(progress, "warning: x");
    fflush(out);
    assert_non_null(strstr(output, "\r\033[Kwarning: x\n\r\033[K"));
    size_t before = output_size;
    double start = clock_seconds();
    for (int i = 0; i < 10000; i++) progress_phase(progress, "train", NAN);
    fflush(out);
    double drawings = 1 + (clock_seconds() - start) / 0.1; /* at most so many, of at most 90 bytes */
    assert_true((double)(output_size - before) <= 90 * drawings);
    progress_iteration(progress, &(struct progress_row){100, 0.5, NAN, NAN, NAN, ""});
    close_memory(progress, out);
    show(output, row, sizeof row);
    assert_string_equal(row, "iteration 100/100  reward 0.500");
    assert_int_equal(output[output_size - 1], '\n');
    free(output);
}

static void no_color_and_narrow_terminals(void **state) {
    (void)state;
    char row[200];
    FILE *out;
    setenv("NO_COLOR", "1", 1);
    struct progress *progress = open_memory(&out, PROGRESS_TERMINAL);
    progress_iteration(progress, &ROW);
    fflush(out);
    assert_null(strstr(output, "\033[1m"));
    show(output, row, sizeof row);
    assert_int_equal(strlen(row), 79); /* no size known: 80 columns, the last stays free */
    close_memory(progress, out);
    free(output);
    unsetenv("NO_COLOR");
}

static void switched_off_prints_messages_only(void **state) {
    (void)state;
    FILE *out;
    struct progress *progress = open_memory(&out, PROGRESS_OFF);
    progress_phase(progress, "rollout", 0.5);
    progress_iteration(progress, &ROW);
    progress_note(progress, "a message");
    close_memory(progress, out);
    assert_string_equal(output, "a message\n");
    free(output);
    progress_close(NULL);
}

/* A pseudo-terminal is one, a pipe or a dumb terminal is not; its width is respected. */
static void terminals_are_recognised(void **state) {
    (void)state;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) skip();
    FILE *terminal = fopen(ptsname(master), "w+");
    assert_non_null(terminal);
    setenv("TERM", "xterm", 1);
    assert_int_equal(progress_style_for(terminal), PROGRESS_TERMINAL);
    setenv("TERM", "dumb", 1);
    assert_int_equal(progress_style_for(terminal), PROGRESS_PLAIN);
    unsetenv("TERM");
    assert_int_equal(progress_style_for(terminal), PROGRESS_PLAIN);
    setenv("TERM", "xterm", 1);
    FILE *file = tmpfile();
    assert_int_equal(progress_style_for(file), PROGRESS_PLAIN);
    fclose(file);

    struct winsize size = {.ws_row = 24, .ws_col = 30};
    assert_int_equal(ioctl(master, TIOCSWINSZ, &size), 0);
    struct progress *progress;
    assert_ok(progress_open(&progress, terminal, PROGRESS_TERMINAL, 100, 0, &err));
    progress_iteration(progress, &ROW);
    char bytes[300], row[200];
    ssize_t n = read(master, bytes, sizeof bytes - 1);
    assert_true(n > 0);
    bytes[n] = '\0';
    show(bytes, row, sizeof row);
    assert_string_equal(row, "iteration 12/100  reward 0.51");
    progress_close(progress);
    fclose(terminal);
    close(master);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_output_has_a_line_per_iteration), cmocka_unit_test(a_line_of_the_record_becomes_a_row),
        cmocka_unit_test(a_terminal_gets_one_line_rewritten),    cmocka_unit_test(no_color_and_narrow_terminals),
        cmocka_unit_test(switched_off_prints_messages_only),     cmocka_unit_test(terminals_are_recognised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
