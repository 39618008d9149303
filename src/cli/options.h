/* SPDX-License-Identifier: Apache-2.0
 *
 * Options of the subcommands that take no configuration file: one table per command. "--name value", "--name=value"
 * or "-n value".
 */
#ifndef OPSM_CLI_OPTIONS_H
#define OPSM_CLI_OPTIONS_H
#include <stdbool.h>
#include <stdint.h>

enum option_kind { OPTION_FLAG, OPTION_INT, OPTION_REAL, OPTION_TEXT, OPTION_TEXTS };

enum { OPTION_TEXTS_MAX = 16 };

/* Several values of one option, borrowed from argv. */
struct option_texts {
    const char *items[OPTION_TEXTS_MAX];
    int count;
};

/* `value` points at a bool, int64_t, double, const char * or struct option_texts. */
struct option {
    const char *name; /* with its dashes */
    enum option_kind kind;
    void *value;
    double low, high;
};

/* Reads argv; words that are no options go to words [n_words] in order, all of which must be there but those whose name
 * is NULL. Returns 0, or 2 after a sentence on stderr. `table` ends with a NULL name. */
int options_read(int argc, char **argv, const struct option *table, const char **words, int n_words,
                 const char *const *word_names);

/* For commands without options: takes a "--" out of the words, and refuses what looks like an option before it. */
int options_none(int *argc, char **argv);

/* Says that `word` is none of the options `names`, and which one is nearest; returns 2. */
int options_unknown(const char *command, const char *word, const char *const *names, int n_names);

#endif
