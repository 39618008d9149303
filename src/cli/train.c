/* SPDX-License-Identifier: Apache-2.0 */
#include "train/train.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "report/recorder.h"
#include "reward/verifier.h"
#include "train/diagnosis.h"
#include <math.h>

typedef opsm_status runner(const struct run_config *config, const struct train_options *options,
                           struct train_summary *summary, opsm_error *err);

static void print_above(enum log_level level, const char *line, void *user) {
    char note[1100];
    snprintf(note, sizeof note, "%s%s", level == LOG_WARN ? "warning: " : "", line);
    if (level >= cli_log_level()) progress_note(user, note);
}

static void show_phase(const char *phase, double share, void *user) {
    if (phase) progress_phase(user, phase, share);
}

/* CONFIG.yaml [key.path=value ...] */
static opsm_status read_config(struct run_config *config, int argc, char **argv, opsm_error *err) {
    config_defaults(config);
    opsm_status status = config_load(config, argv[1], err);
    for (int i = 2; status == OPSM_OK && i < argc; i++) status = config_override(config, argv[i], err);
    if (status == OPSM_OK) status = config_check(config, err);
    return status == OPSM_OK ? reward_try(config->rewards, config->n_rewards, err) : status;
}

static void print_summary(const struct run_config *config, const struct train_summary *s) {
    printf("%s: %lld steps", config->output, (long long)s->steps);
    if (s->skipped) printf(" (%lld skipped)", (long long)s->skipped);
    if (!isnan(s->reward_first)) printf(", reward %.3f -> %.3f", s->reward_first, s->reward_last);
    if (!isnan(s->accuracy)) printf(", accuracy %.3f on held-out problems", s->accuracy);
    if (s->rows_skipped) printf(", %lld rows left out", (long long)s->rows_skipped);
    bool merged = config->train.lora.rank == 0 || config->train.save != SAVED_ADAPTER;
    printf(", %.0f s\n%s/%s\n%s/metrics.jsonl\n", s->seconds, config->output, merged ? "model.gguf" : "adapter.gguf",
           config->output);
}

static opsm_status run_with_progress(runner *run, const struct run_config *config, int64_t total, bool rows,
                                     struct train_summary *summary, opsm_error *err) {
    enum progress_style style = cli_log_level() >= LOG_WARN ? PROGRESS_OFF : progress_style_for(stderr);
    struct progress *progress = NULL;
    if (rows) {
        opsm_status status = progress_open(&progress, stderr, style, total, 0, err);
        if (status != OPSM_OK) return status;
        log_install(print_above, progress);
        log_install_phase(show_phase, progress);
    }
    struct recorder recorder = {.progress = progress};
    struct sink sink = recorder_sink(&recorder);
    struct train_options options = {.interrupt = cli_catch_signals(), .sink = &sink};
    opsm_status status = run(config, &options, summary, err);
    recorder_close(&recorder);
    if (status == OPSM_OK && rows) status = diagnose_run(config, err);
    progress_close(progress);
    if (rows) log_install(NULL, NULL);
    log_install_phase(NULL, NULL);
    return status;
}

static int train_command(int argc, char **argv, runner *run, bool rows) {
    cli_outlive_readers();
    int code = options_none(&argc, argv);
    if (code) return code;
    if (argc < 2) return cli_usage(argv[0], "a configuration file is needed");
    opsm_error err = {0};
    struct run_config config;
    struct train_summary summary = {0};
    opsm_status status = read_config(&config, argc, argv, &err);
    if (status == OPSM_OK) status = run_with_progress(run, &config, config.train.iterations, rows, &summary, &err);
    if (status == OPSM_OK) print_summary(&config, &summary);
    config_free(&config);
    code = status == OPSM_OK ? 0 : cli_fail(status, &err);
    bool diverged = status == OPSM_NONFINITE && summary.steps > 0; /* before: it was given to us so */
    return diverged ? TRAIN_EXIT_DIVERGED : code;
}

int cmd_train(int argc, char **argv) {
    return train_command(argc, argv, train_run, true);
}

int cmd_sft(int argc, char **argv) {
    return train_command(argc, argv, sft_run, false);
}
