/* SPDX-License-Identifier: Apache-2.0
 *
 * opsm reward: recorded responses, judged exactly as training would.
 */
#include "base/text.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "environment/problems.h"
#include "reward/recorded.h"
#include <string.h>
#include <unistd.h>

enum { WORDS_MAX = 64 };

struct reward_options {
    const char *verifier, *answer, *prompt; /* NULL: not given */
    const char *config, *file;              /* file NULL: standard input */
    const char *settings[WORDS_MAX];        /* "key=value" */
    int n_settings;
};

/* "pattern=a.b" is a setting, "./a=b" and "a" are files. */
static bool is_setting(const char *word) {
    size_t n = strspn(word, "abcdefghijklmnopqrstuvwxyz_.");
    return n > 0 && word[n] == '=';
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static int sort_words(struct reward_options *o, const char *const words[WORDS_MAX]) {
    const char *files[2] = {NULL, NULL};
    int n = 0, most = o->verifier ? 1 : 2;
    for (int i = 0; i < WORDS_MAX && words[i]; i++) {
        if (is_setting(words[i]))
            o->settings[o->n_settings++] = words[i];
        else if (n < most)
            files[n++] = words[i];
        else
            return cli_usage("reward", "one word too many: '%s'", words[i]);
    }
    if (!o->verifier && (n == 0 || ends_with(files[0], ".jsonl")))
        return cli_usage("reward", "what is to judge? Name a CONFIG.yaml with reward:, or a --verifier of `opsm help "
                                   "verifiers`");
    if (!o->verifier) o->config = files[0];
    o->file = o->verifier ? files[0] : files[1];
    if (o->file && !strcmp(o->file, "-")) o->file = NULL;
    return 0;
}

static int parse(int argc, char **argv, struct reward_options *o) {
    static const char *const names[WORDS_MAX] = {NULL};
    const char *words[WORDS_MAX] = {NULL};
    *o = (struct reward_options){0};
    const struct option table[] = {{"--verifier", OPTION_TEXT, &o->verifier, 0, 0},
                                   {"--answer", OPTION_TEXT, &o->answer, 0, 0},
                                   {"--prompt", OPTION_TEXT, &o->prompt, 0, 0},
                                   {NULL, OPTION_FLAG, NULL, 0, 0}};
    int code = options_read(argc, argv, table, words, WORDS_MAX, names);
    return code ? code : sort_words(o, words);
}

/* One verifier by its name and settings, as an entry of `reward:`. */
static opsm_status one_verifier(struct run_config *config, const struct reward_options *o, opsm_error *err) {
    opsm_status status = config_set_reward(config, o->verifier, err);
    for (int i = 0; status == OPSM_OK && i < o->n_settings; i++) {
        if (!strncmp(o->settings[i], "type=", 5))
            return opsm_fail(err, OPSM_INVALID, "'%.80s': the type is what --verifier names, '%.60s'; leave one out",
                             o->settings[i], o->verifier);
        status = config_reward_override(&config->rewards[0], o->settings[i], err);
    }
    return status;
}

static opsm_status read_config(struct run_config *config, const struct reward_options *o, opsm_error *err) {
    config_defaults(config);
    if (o->verifier) return one_verifier(config, o, err);
    opsm_status status = config_load(config, o->config, err);
    for (int i = 0; status == OPSM_OK && i < o->n_settings; i++) status = config_override(config, o->settings[i], err);
    return status;
}

static void print_summary(const struct recorded_totals *t, const struct reward *reward) {
    struct text line = {0};
    double n = (double)(t->responses - t->unjudged);
    text_printf(&line, "%lld response%s", (long long)t->responses, t->responses == 1 ? "" : "s");
    if (n > 0) text_printf(&line, ", mean reward %.4g", t->reward / n);
    for (int i = 0; n > 0 && i < reward_count(reward); i++)
        text_printf(&line, "%s %s %.4g", i ? "," : ":", reward_name(reward, i), t->scores[i] / n);
    if (t->unjudged)
        text_printf(&line, "; %lld unjudged, the first in line %lld: %s", (long long)t->unjudged,
                    (long long)t->first_line, t->first_why);
    if (!line.failed) log_line(LOG_INFO, "%s", line.data);
    text_free(&line);
}

static opsm_status judge_lines(const struct reward_options *o, const struct dataset_spec *fields,
                               const struct reward *reward, opsm_error *err) {
    struct jsonl *lines;
    if (!o->file && isatty(STDIN_FILENO)) log_line(LOG_INFO, "reading responses from the terminal; end with Ctrl-D");
    opsm_status status = o->file ? jsonl_open(&lines, o->file, JSONL_LINE_DEFAULT, err)
                                 : jsonl_open_stdin(&lines, JSONL_LINE_DEFAULT, err);
    if (status != OPSM_OK) return status;
    struct recorded_totals totals;
    status = recorded_judge(lines, fields, reward, stdout, &totals, err);
    jsonl_close(lines);
    if (status == OPSM_OK && !ferror(stdout)) print_summary(&totals, reward);
    return status;
}

int cmd_reward(int argc, char **argv) {
    struct reward_options o;
    int code = parse(argc, argv, &o);
    if (code) return code;
    opsm_error err = {0};
    struct run_config config;
    struct problems problems = {0};
    opsm_status status = read_config(&config, &o, &err);
    if (status == OPSM_OK) status = problems_open_reward(&problems, &config, &err);
    const struct dataset_spec fields = {.answer = o.answer ? o.answer : config.data.answer,
                                        .prompt = o.prompt ? o.prompt : config.data.prompt};
    if (status == OPSM_OK) status = judge_lines(&o, &fields, problems.reward, &err);
    code = status == OPSM_OK ? 0 : cli_fail(status, &err);
    problems_close(&problems);
    config_free(&config);
    return code;
}
