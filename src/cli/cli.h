/* SPDX-License-Identifier: Apache-2.0
 *
 * What the subcommands share. A subcommand is one thin file `NAME.c` with `int cmd_NAME(int argc, char **argv)`,
 * argv[0] being its name, over the library; its help text (also its man page) stands in help_text.c.
 *
 * Results go to stdout, messages to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 a
 * run that diverged (train, sft), 130 interrupted with the state saved, 141 (SIGPIPE) nobody reads stdout any more.
 */
#ifndef OPSM_CLI_CLI_H
#define OPSM_CLI_CLI_H
#include "base/log.h"
#include "base/text.h"
#include <opsm/status.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* X(NAME): the subcommands, in the order of `opsm help`. */
#define CLI_COMMANDS(X)                                                                                                \
    X(train)                                                                                                           \
    X(sft)                                                                                                             \
    X(lab) X(eval) X(generate) X(render) X(score) X(reward) X(info) X(convert) X(audit) X(report) X(bench) X(help)

#define CLI_DECLARE(name) int cmd_##name(int argc, char **argv);
CLI_COMMANDS(CLI_DECLARE)
#undef CLI_DECLARE

struct cli_text {
    const char *name;
    const char *synopsis; /* after "opsm NAME "; of a topic: empty */
    const char *summary;  /* one line */
    const char *text;     /* as page.h wants it; NULL: printed by a function, see help.c */
};

/* The help of a subcommand or topic, NULL for an unknown name. */
const struct cli_text *cli_help_text(const char *name);
/* The texts and the subcommands one by one, NULL past the end. */
const struct cli_text *cli_help_at(int i);
const char *cli_command_at(int i);
bool cli_is_command(const char *name);
void cli_print_overview(FILE *out);

/* "opsm: unknown WHAT 'word'; did you mean ...", returns 2. Topics of the help are looked at, too, or only commands. */
int cli_unknown_name(const char *what, const char *word, bool topics);

/* Exit codes with a name. */
enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

/* Prints the sentence and returns the exit code for `status`. */
int cli_fail(opsm_status status, const opsm_error *err);

/* Prints "opsm NAME: sentence" and the synopsis, returns 2. */
int cli_usage(const char *name, const char *format, ...) OPSM_PRINTF(2, 3);

/* The least level of log lines that are shown (-q, -v). */
enum log_level cli_log_level(void);
void cli_set_log_level(enum log_level level);

/* The path by which this program can be executed again; NULL: unknown. */
const char *cli_program(void);
void cli_set_program(const char *path);

/* The handlers of SIGINT and SIGTERM set the flag that is returned; a second signal ends the program at once. */
const atomic_bool *cli_catch_signals(void);

/* All of `text` as a number in [low, high]; false otherwise. */
bool cli_parse_int(const char *text, int64_t low, int64_t high, int64_t *value);
bool cli_parse_real(const char *text, double low, double high, double *value);

/* For commands whose work is on disk: they go on when nobody reads stdout or stderr any more. The others end by SIGPIPE,
 * as every program behind `| head` does. */
void cli_outlive_readers(void);

/* Prints what was built, and releases it; OPSM_NOMEM where it could not be built. */
opsm_status cli_print_text(struct text *text, opsm_error *err);

/* Flushes stdout; a full disk is a failure with a sentence, a reader that has gone is not. Returns the exit code to end
 * with. */
int cli_finish(int code);

#endif
