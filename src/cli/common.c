/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "base/mem.h"
#include "cli/activity.h"
#include "cli/cli.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum log_level quietest = LOG_INFO;

enum log_level cli_log_level(void) {
    return quietest;
}

void cli_set_log_level(enum log_level level) {
    quietest = level;
}

static const char *program;

const char *cli_program(void) {
    return program;
}

void cli_set_program(const char *path) {
    program = path;
}

static atomic_bool interrupted;

static void on_signal(int number) {
    (void)number;
    atomic_store(&interrupted, true);
}

const atomic_bool *cli_catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return &interrupted;
}

int cli_fail(opsm_status status, const opsm_error *err) {
    activity_clear();
    fprintf(stderr, "opsm: %s\n", err && *err->text ? err->text : opsm_status_text(status));
    return status == OPSM_INVALID ? EXIT_USAGE : status == OPSM_INTERRUPTED ? EXIT_INTERRUPTED : EXIT_FAILED;
}

int cli_usage(const char *name, const char *format, ...) {
    fprintf(stderr, "opsm %s: ", name);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    const struct cli_text *text = cli_help_text(name);
    if (text) fprintf(stderr, "\nusage: opsm %s %s", name, text->synopsis);
    fputc('\n', stderr);
    return EXIT_USAGE;
}

bool cli_parse_int(const char *text, int64_t low, int64_t high, int64_t *value) {
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (end == text || *end || errno || n < low || n > high) return false;
    *value = n;
    return true;
}

bool cli_parse_real(const char *text, double low, double high, double *value) {
    char *end;
    double x = strtod(text, &end);
    if (end == text || *end || !(x >= low && x <= high)) return false;
    *value = x;
    return true;
}

void cli_outlive_readers(void) {
    signal(SIGPIPE, SIG_IGN);
}

static bool nobody_reads_stdout(void) {
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP));
}

opsm_status cli_print_text(struct text *text, opsm_error *err) {
    opsm_status status = text->failed ? mem_exhausted(err, "the output", text->room) : OPSM_OK;
    if (status == OPSM_OK && text->length) fwrite(text->data, 1, text->length, stdout);
    text_free(text);
    return status;
}

int cli_finish(int code) {
    activity_clear();
    errno = 0;
    bool written = fflush(stdout) == 0 && !ferror(stdout);
    if (written || nobody_reads_stdout()) return code;
    fprintf(stderr, "opsm: cannot write the output: %s\n",
            errno ? strerror(errno) : "an earlier write failed, the disk may be full");
    return code ? code : EXIT_FAILED;
}
