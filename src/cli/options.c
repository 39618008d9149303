/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"
#include "base/text.h"
#include "cli/cli.h"
#include <string.h>

/* The option that `word` names, alone or as "--name=value". */
static const struct option *find(const struct option *table, const char *word) {
    size_t length = strncmp(word, "--", 2) ? strlen(word) : strcspn(word, "=");
    for (; table->name; table++)
        if (strlen(table->name) == length && !strncmp(table->name, word, length)) return table;
    return NULL;
}

static int unknown(const char *command, const struct option *table, const char *word) {
    const char *names[64];
    int n = 0;
    for (; table[n].name && n < 64; n++) names[n] = table[n].name;
    return options_unknown(command, word, names, n);
}

int options_unknown(const char *command, const char *word, const char *const *names, int n_names) {
    const char *nearest = text_nearest(word, names, (size_t)n_names);
    if (nearest) return cli_usage(command, "unknown option '%s'; did you mean '%s'?", word, nearest);
    return cli_usage(command, "unknown option '%s'", word);
}

int options_none(int *argc, char **argv) {
    int kept = 1;
    bool options = true;
    for (int i = 1; i < *argc; i++) {
        if (options && argv[i][0] == '-' && argv[i][1] && strcmp(argv[i], "--") != 0)
            return cli_usage(argv[0], "unknown option '%s'; keys of the configuration are written key.path=value",
                             argv[i]);
        if (!options || strcmp(argv[i], "--") != 0) argv[kept++] = argv[i];
        options = options && strcmp(argv[i], "--") != 0;
    }
    *argc = kept;
    return 0;
}

static int read_value(const char *command, const struct option *option, const char *text) {
    struct option_texts *texts = option->value;
    switch (option->kind) {
    case OPTION_FLAG:
        break;
    case OPTION_INT:
        if (!cli_parse_int(text, (int64_t)option->low, (int64_t)option->high, option->value))
            return cli_usage(command, "%s: expected a whole number from %.0f to %.0f, found '%s'", option->name,
                             option->low, option->high, text);
        break;
    case OPTION_REAL:
        if (!cli_parse_real(text, option->low, option->high, option->value))
            return cli_usage(command, "%s: expected a number from %s to %s, found '%s'", option->name,
                             text_readable((char[TEXT_NUMBER_ROOM]){0}, option->low),
                             text_readable((char[TEXT_NUMBER_ROOM]){0}, option->high), text);
        break;
    case OPTION_TEXT:
        *(const char **)option->value = text;
        break;
    case OPTION_TEXTS:
        if (texts->count == OPTION_TEXTS_MAX)
            return cli_usage(command, "%s: more than %d are not possible", option->name, OPTION_TEXTS_MAX);
        texts->items[texts->count++] = text;
        break;
    }
    return 0;
}

int options_read(int argc, char **argv, const struct option *table, const char **words, int n_words,
                 const char *const *word_names) {
    const char *command = argv[0];
    int n = 0;
    bool options = true;
    for (int i = 1; i < argc; i++) {
        if (options && !strcmp(argv[i], "--")) {
            options = false;
            continue;
        }
        if (!options || argv[i][0] != '-' || !argv[i][1]) {
            if (n == n_words) return cli_usage(command, "one word too many: '%s'", argv[i]);
            words[n++] = argv[i];
            continue;
        }
        const struct option *option = find(table, argv[i]);
        if (!option) return unknown(command, table, argv[i]);
        const char *value = argv[i][strlen(option->name)] ? argv[i] + strlen(option->name) + 1 : NULL;
        if (option->kind == OPTION_FLAG) {
            if (value) return cli_usage(command, "%s takes no value, found '%s'", option->name, value);
            *(bool *)option->value = true;
            continue;
        }
        if (!value && i + 1 == argc) return cli_usage(command, "%s needs a value", option->name);
        int code = read_value(command, option, value ? value : argv[++i]);
        if (code) return code;
    }
    return n == n_words || !word_names[n] ? 0 : cli_usage(command, "%s is missing", word_names[n]);
}
