/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a laboratory: what is done already is read, the rest is trained by processes side by side. Runs go seed by seed,
 * so that an interrupted laboratory has something to compare.
 */
#include "base/file.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/process.h"
#include "base/text.h"
#include "base/threads.h"
#include "config/diff.h"
#include "lab/curve.h"
#include "lab/inputs.h"
#include "lab/result.h"
#include "report/html.h"
#include "train/checkpoint.h"
#include "train/memory.h"
#include "train/output.h"
#include "train/train.h"
#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONFIG_LIMIT = 1 << 20, LOG_LIMIT = 1 << 24, JOBS_MAX = 1024 };

static const double TICK_SECONDS = 1;

struct slot {
    struct lab_arm *arm; /* NULL: the warm start */
    struct lab_seed *seed;
    char *directory; /* owned */
};

struct laboratory {
    struct lab *lab;
    const struct lab_options *options;
    struct progress *progress;
    enum progress_style style;
    int lock;
    int32_t jobs, threads; /* processes, threads of each */
    uint64_t memory;       /* bytes for each; 0: nobody says */
    int32_t next, done;    /* the next run to look at, seed by seed; those that are done or failed */
    int32_t shown;         /* of them, on the status line */
    bool ending;           /* processes have been told to save and end */
    struct process processes[JOBS_MAX];
    struct slot slots[JOBS_MAX];
};

static bool interrupted(const struct laboratory *l) {
    return l->options->interrupt && atomic_load(l->options->interrupt);
}

/* ---- one run's directory ----------------------------------------------------------------------------------------- */

/* The full configuration of a run in `directory`, mem_alloc'ed. */
static opsm_status run_text(const struct run_config *config, const struct lab_seed *seed, char *directory, char **text,
                            opsm_error *err) {
    struct run_config own = *config; /* borrows its strings */
    own.output = directory;
    if (seed) own.seed = seed->seed;
    *text = config_text(&own);
    return *text ? OPSM_OK : mem_exhausted(err, "a configuration", 0);
}

static bool has_model(const char *directory) {
    char *path = file_join(directory, "model.gguf");
    bool there = path && file_exists(path);
    mem_free(path);
    return there;
}

/* Whether a run has left anything to go on from. */
static bool has_work(const char *directory) {
    bool found = has_model(directory);
    DIR *dir = found ? NULL : opendir(directory);
    for (struct dirent *entry; dir && !found && (entry = readdir(dir));)
        found = !strncmp(entry->d_name, "checkpoint-", 11);
    if (dir) closedir(dir);
    return found;
}

static bool is_shorter(const char *saved, const char *text) {
    struct config_diff diff = {.a = saved, .b = text};
    while (config_diff_next(&diff))
        if (!strcmp(diff.path, "sft.steps") || !strcmp(diff.path, "train.iterations")) return true;
    return false;
}

/* OPSM_INVALID when the directory holds a run of another configuration; *there: it holds one of this, *shorter: of
 * fewer iterations or steps, which may go on. */
static opsm_status check_directory(const char *directory, const char *text, bool *there, bool *shorter,
                                   opsm_error *err) {
    *there = *shorter = false;
    char *path = file_join(directory, "config.yaml"), *saved;
    if (!path) return mem_exhausted(err, "a file name", 0);
    size_t size;
    bool found;
    opsm_status status = file_find(path, &found, err);
    if (status == OPSM_OK && found && has_work(directory)) {
        status = file_read(path, CONFIG_LIMIT, &saved, &size, err);
        if (status == OPSM_OK) {
            status = checkpoint_match(directory, saved, text, false, err);
            *there = status == OPSM_OK;
            *shorter = *there && is_shorter(saved, text);
            mem_free(saved);
        }
    }
    mem_free(path);
    return status;
}

/* OPSM_INVALID when a run of this configuration would overwrite what no run wrote. */
static opsm_status check_own(const struct run_config *config, char *directory, opsm_error *err) {
    struct run_config own = *config; /* borrows its strings */
    own.output = directory;
    return output_check(&own, err);
}

static opsm_status write_text(const char *path, const char *text, opsm_error *err) {
    struct file_out *out;
    opsm_status status = file_create(&out, path, err);
    if (status != OPSM_OK) return status;
    file_write(out, text, strlen(text));
    return file_commit(out, err);
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

static opsm_status replace_error(struct lab_seed *seed, const char *sentence, opsm_error *err) {
    mem_free(seed->error);
    seed->error = sentence ? mem_strdup(sentence) : NULL;
    return sentence && !seed->error ? mem_exhausted(err, "a sentence", strlen(sentence)) : OPSM_OK;
}

/* Reads what a run has written; *whole tells whether it got to its end. */
static opsm_status read_run(const struct lab *lab, const struct lab_arm *arm, struct lab_seed *seed,
                            const char *directory, bool *whole, opsm_error *err) {
    const struct run_config *c = &arm->config;
    int64_t iterations;
    seed->collapsed = false;
    opsm_status status = lab_read_metrics(seed, directory, c->schedule.minibatches * c->schedule.epochs,
                                          lab->steps_per_round, lab->rounds, &iterations, err);
    *whole = status == OPSM_OK && iterations == c->train.iterations && seed->n_curve == lab->rounds;
    if (!*whole) return status;
    struct lab_measures m = lab_curve_measure(seed->curve, lab->rounds, lab_final_rounds(lab), &lab->collapse);
    seed->final = m.final;
    seed->best = m.best;
    seed->worst = m.worst;
    char *path = file_join(directory, "model.gguf");
    bool finite = true;
    status = path ? lab_weights_finite(path, &finite, err) : mem_exhausted(err, "a file name", 0);
    seed->collapsed = m.collapsed || !finite;
    mem_free(path);
    return status;
}

/* The last line of a log that says something, without the program's name; NULL: there is none. Changes `text`. */
static char *last_line(char *text) {
    size_t n = strlen(text);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' ')) text[--n] = '\0';
    char *newline = strrchr(text, '\n'), *line = newline ? newline + 1 : text;
    if (!strncmp(line, "opsm: ", 6)) line += 6;
    return *line ? line : NULL;
}

/* Why a process ended as it did: its own last words, or what the system says. */
static opsm_status explain(const char *directory, int wait_status, struct lab_seed *seed, opsm_error *err) {
    char sentence[128], *path = file_join(directory, "log.txt"), *text = NULL;
    size_t size;
    if (!path) return mem_exhausted(err, "a file name", 0);
    if (WIFSIGNALED(wait_status))
        snprintf(sentence, sizeof sentence, "killed by signal %d (%s)", WTERMSIG(wait_status),
                 strsignal(WTERMSIG(wait_status)));
    else if (WEXITSTATUS(wait_status) == 0)
        snprintf(sentence, sizeof sentence, "ended well, but its record is not whole");
    else
        snprintf(sentence, sizeof sentence, "ended with exit code %d", WEXITSTATUS(wait_status));
    bool spoke = !WIFSIGNALED(wait_status) && WEXITSTATUS(wait_status) != 0;
    if (spoke && file_read(path, LOG_LIMIT, &text, &size, NULL) != OPSM_OK) text = NULL;
    const char *line = text ? last_line(text) : NULL;
    opsm_status status = replace_error(seed, line ? line : sentence, err);
    mem_free(text);
    mem_free(path);
    return status;
}

/* ---- what a person sees ------------------------------------------------------------------------------------------ */

static double mean_final(const struct lab *lab) {
    double sum = 0;
    int32_t n = 0;
    for (int32_t a = 0; a < lab->n_arms; a++) {
        for (int32_t s = 0; s < lab->n_seeds; s++) {
            const struct lab_seed *seed = &lab->arms[a].seeds[s];
            if (seed->status != LAB_DONE) continue;
            sum += seed->final;
            n++;
        }
    }
    return n > 0 ? sum / n : (double)NAN;
}

/* The status line: runs done, mean of their finals, what is running. */
static void show(struct laboratory *l) {
    if (!l->progress || l->style != PROGRESS_TERMINAL) return;
    if (l->shown != l->done) {
        struct progress_row row = {
            .iteration = l->done, .reward = mean_final(l->lab), .drift = NAN, .dropped = NAN, .tokens_per_second = NAN};
        progress_iteration(l->progress, &row);
        l->shown = l->done;
    }
    char running[48] = "";
    for (int i = 0; i < l->jobs; i++) {
        if (!l->processes[i].pid || !l->slots[i].arm) continue;
        size_t n = strlen(running);
        snprintf(running + n, sizeof running - n, "%s%.20s %" PRIu64, n ? ", " : "", l->slots[i].arm->name,
                 l->slots[i].seed->seed);
    }
    if (*running) progress_phase(l->progress, running, NAN);
}

static void note(struct laboratory *l, const struct lab_arm *arm, const struct lab_seed *seed) {
    if (!l->progress) return;
    struct text line = {0};
    text_printf(&line, "run %d/%d  %s, seed %" PRIu64 ": ", l->done, l->lab->n_arms * l->lab->n_seeds, arm->name,
                seed->seed);
    if (seed->status == LAB_FAILED)
        text_printf(&line, "%s: %s", seed->collapsed ? "collapsed and failed" : "failed", seed->error);
    else
        text_printf(&line, "final %.3f, best %.3f%s, %.0f s", seed->final, seed->best,
                    seed->collapsed ? ", collapsed" : "", seed->seconds);
    if (!line.failed) progress_note(l->progress, line.data);
    text_free(&line);
}

/* ---- starting and ending processes ------------------------------------------------------------------------------- */

/* What a run of an earlier, shorter configuration left must not pass for this one's result. */
static opsm_status remove_model(const char *directory, opsm_error *err) {
    char *path = file_join(directory, "model.gguf");
    if (!path) return mem_exhausted(err, "a file name", 0);
    opsm_status status = file_remove_tree(path, err);
    mem_free(path);
    return status;
}

/* `opsm -q COMMAND DIRECTORY/config.yaml`, its log beside it. */
static opsm_status launch(struct laboratory *l, int index, const char *command, int threads, const char *directory,
                          const char *text, opsm_error *err) {
    opsm_status status = file_make_dirs(directory, err);
    char *config = file_join(directory, "config.yaml"), *log = file_join(directory, "log.txt");
    if (status == OPSM_OK && (!config || !log)) status = mem_exhausted(err, "a file name", 0);
    if (status == OPSM_OK) status = remove_model(directory, err);
    if (status == OPSM_OK) status = write_text(config, text, err);
    if (status == OPSM_OK) {
        char *program = mem_strdup(l->options->program), *verb = mem_strdup(command), quiet[] = "-q";
        char *argv[] = {program, quiet, verb, config, NULL};
        status = program && verb ? process_start(&l->processes[index], argv, log, threads, l->memory, err)
                                 : mem_exhausted(err, "a command", 0);
        mem_free(program);
        mem_free(verb);
    }
    mem_free(config);
    mem_free(log);
    return status;
}

/* A laboratory whose directory is taken away ends: it does not bring it back. */
static opsm_status check_lock(const struct laboratory *l, opsm_error *err) {
    char *path = file_join(l->lab->base.output, "lock");
    if (!path) return mem_exhausted(err, "a file name", 0);
    opsm_status status = file_still_there(l->lock, path, err);
    mem_free(path);
    return status;
}

/* Takes what is next: a finished run is read, another is started in slot `index`. *started: the slot is busy. */
static opsm_status take_next(struct laboratory *l, int index, bool *started, opsm_error *err) {
    struct lab *lab = l->lab;
    struct lab_arm *arm = &lab->arms[l->next % lab->n_arms];
    struct lab_seed *seed = &arm->seeds[l->next / lab->n_arms];
    l->next++;
    *started = false;
    if (seed->status == LAB_DONE) return OPSM_OK;
    char *directory = lab_directory(lab, arm, seed), *text = NULL;
    opsm_status status =
        directory ? run_text(&arm->config, seed, directory, &text, err) : mem_exhausted(err, "a file name", 0);
    if (status == OPSM_OK) status = check_lock(l, err);
    if (status == OPSM_OK) status = launch(l, index, "train", l->threads, directory, text, err);
    mem_free(text);
    if (status != OPSM_OK) {
        mem_free(directory);
        return status;
    }
    seed->status = LAB_RUNNING;
    l->slots[index] = (struct slot){arm, seed, directory};
    *started = true;
    return OPSM_OK;
}

/* The process in slot `index` has ended. */
static opsm_status finish(struct laboratory *l, int index, int wait_status, opsm_error *err) {
    struct slot *slot = &l->slots[index];
    struct lab_seed *seed = slot->seed;
    bool well = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0, whole = false;
    opsm_status status = read_run(l->lab, slot->arm, seed, slot->directory, &whole, err);
    if (status == OPSM_OK && well && whole) {
        seed->status = LAB_DONE;
        status = replace_error(seed, NULL, err);
    } else if (status == OPSM_OK && (l->ending || interrupted(l))) {
        seed->status = LAB_WAITING;
    } else if (status == OPSM_OK) {
        seed->status = LAB_FAILED;
        seed->collapsed = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == TRAIN_EXIT_DIVERGED;
        status = explain(slot->directory, wait_status, seed, err);
    }
    if (status == OPSM_OK && seed->status != LAB_WAITING) {
        l->done++;
        show(l);
        note(l, slot->arm, seed);
    }
    mem_free(slot->directory);
    *slot = (struct slot){0};
    lab_summarise(l->lab);
    return status == OPSM_OK ? lab_write_json(l->lab, err) : status;
}

static bool any_busy(const struct laboratory *l) {
    for (int i = 0; i < l->jobs; i++)
        if (l->processes[i].pid) return true;
    return false;
}

static opsm_status fill_slots(struct laboratory *l, opsm_error *err) {
    int32_t total = l->lab->n_arms * l->lab->n_seeds;
    for (int i = 0; i < l->jobs; i++) {
        bool started = l->processes[i].pid != 0;
        while (!started && l->next < total && !interrupted(l)) {
            opsm_status status = take_next(l, i, &started, err);
            if (status != OPSM_OK) return status;
        }
    }
    return OPSM_OK;
}

/* Until all runs have ended. After an interrupt or a failure of our own, processes are told to save and waited for. */
static opsm_status run_all(struct laboratory *l, opsm_error *err) {
    opsm_status status = OPSM_OK;
    for (;;) {
        if (status == OPSM_OK) status = fill_slots(l, err);
        if ((status != OPSM_OK || interrupted(l)) && !l->ending) {
            process_ask_to_end(l->processes, l->jobs);
            l->ending = true;
        }
        if (!any_busy(l)) break;
        show(l);
        int wait_status, ended = process_wait(l->processes, l->jobs, TICK_SECONDS, &wait_status);
        if (ended < 0) continue;
        opsm_status result = finish(l, ended, wait_status, status == OPSM_OK ? err : NULL);
        if (status == OPSM_OK) status = result;
    }
    show(l);
    if (status == OPSM_OK && interrupted(l))
        return opsm_fail(err, OPSM_INTERRUPTED, "interrupted; the same command goes on in %s", l->lab->base.output);
    return status;
}

/* ---- before the runs --------------------------------------------------------------------------------------------- */

/* Looks at every directory before anything starts, and reads the runs that are done. */
static opsm_status survey(struct laboratory *l, opsm_error *err) {
    struct lab *lab = l->lab;
    for (int32_t i = 0; i < lab->n_arms * lab->n_seeds; i++) {
        struct lab_arm *arm = &lab->arms[i % lab->n_arms];
        struct lab_seed *seed = &arm->seeds[i / lab->n_arms];
        char *directory = lab_directory(lab, arm, seed), *text = NULL;
        bool there = false, shorter, whole = false;
        opsm_status status =
            directory ? run_text(&arm->config, seed, directory, &text, err) : mem_exhausted(err, "a file name", 0);
        if (status == OPSM_OK) status = check_directory(directory, text, &there, &shorter, err);
        if (status == OPSM_OK && there && has_model(directory))
            status = read_run(lab, arm, seed, directory, &whole, err);
        if (status == OPSM_OK && !whole) status = check_own(&arm->config, directory, err);
        mem_free(directory);
        mem_free(text);
        if (status != OPSM_OK) return status;
        if (!whole) continue;
        seed->status = LAB_DONE;
        l->done++;
    }
    return OPSM_OK;
}

/* Waits for the warm start in slot 0. */
static opsm_status await_start(struct laboratory *l, opsm_error *err) {
    const char *output = l->lab->start.output;
    int wait_status = 0;
    bool asked = false;
    while (l->processes[0].pid) {
        if (interrupted(l) && !asked) {
            process_ask_to_end(l->processes, 1);
            asked = true;
        }
        process_wait(l->processes, 1, TICK_SECONDS, &wait_status);
    }
    if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) return OPSM_OK;
    if (interrupted(l))
        return opsm_fail(err, OPSM_INTERRUPTED, "interrupted; the same command goes on with the warm start in %s",
                         output);
    struct lab_seed reason = {0};
    opsm_status status = explain(output, wait_status, &reason, err);
    if (status != OPSM_OK) return status;
    status = opsm_fail(err, OPSM_IO, "the warm start in %s failed: %s", output, reason.error);
    mem_free(reason.error);
    return status;
}

/* The starting model, if one is asked for and is not there yet. */
static opsm_status make_start(struct laboratory *l, opsm_error *err) {
    struct run_config *start = &l->lab->start;
    if (!start->output) return OPSM_OK;
    char *text;
    bool there, shorter;
    opsm_status status = run_text(start, NULL, start->output, &text, err);
    if (status != OPSM_OK) return status;
    status = check_directory(start->output, text, &there, &shorter, err);
    bool made = status == OPSM_OK && there && has_model(start->output);
    if (made && shorter) /* runs may have begun from it */
        status = opsm_fail(err, OPSM_INVALID,
                           "'%s' holds a warm start of fewer sft.steps; take another lab.start.output, or remove that "
                           "directory",
                           start->output);
    if (status == OPSM_OK && !made) status = check_own(start, start->output, err);
    if (status == OPSM_OK && !made) {
        if (l->progress) progress_note(l->progress, "warm start");
        status = launch(l, 0, "sft", threads_count(), start->output, text, err);
        if (status == OPSM_OK) status = await_start(l, err);
    }
    mem_free(text);
    return status;
}

static opsm_status open_progress(struct laboratory *l, opsm_error *err) {
    int32_t total = l->lab->n_arms * l->lab->n_seeds;
    if (!l->options->progress) return OPSM_OK;
    l->style = progress_style_for(l->options->progress);
    opsm_status status = progress_open(&l->progress, l->options->progress, l->style, total, l->done, err);
    if (status != OPSM_OK) return status;
    progress_unit(l->progress, "run");
    if (l->done > 0) {
        char line[64];
        snprintf(line, sizeof line, "%d of %d runs were done before", l->done, total);
        progress_note(l->progress, line);
    }
    return OPSM_OK;
}

static void share_threads(struct laboratory *l) {
    int32_t cores = threads_count();
    l->threads = cores / l->jobs > 1 ? cores / l->jobs : 1;
}

/* Processes and threads of each: together as many threads as this process may use. */
static void share_cores(struct laboratory *l) {
    int32_t cores = threads_count(), runs = l->lab->n_arms * l->lab->n_seeds;
    l->jobs = l->lab->jobs > 0 ? l->lab->jobs : cores;
    if (l->jobs > runs) l->jobs = runs;
    if (l->jobs > JOBS_MAX) l->jobs = JOBS_MAX;
    share_threads(l);
}

/* All processes side by side must fit; each gets an equal share. Where nobody said how many, as many as do. */
static opsm_status share_memory(struct laboratory *l, opsm_error *err) {
    size_t largest = 0;
    for (int32_t i = 0; i < l->lab->n_arms; i++) {
        size_t least = memory_least(&l->lab->arms[i].config);
        if (least > largest) largest = least;
    }
    struct limit memory = limits_memory();
    if (memory.bytes == UINT64_MAX || largest == 0) return OPSM_OK;
    uint64_t fit = memory.bytes / largest;
    if (fit < (uint64_t)l->jobs && fit > 0 && l->lab->jobs == 0) {
        l->jobs = (int32_t)fit;
        share_threads(l);
    }
    l->memory = memory.bytes / (uint64_t)l->jobs;
    if (fit >= (uint64_t)l->jobs) return OPSM_OK;
    char what[64], advice[96];
    snprintf(what, sizeof what, l->jobs > 1 ? "a laboratory of %d runs side by side" : "each run", l->jobs);
    snprintf(advice, sizeof advice, fit > 0 ? "lab.jobs=%d would do" : "take a smaller model, or smaller batches",
             (int)fit);
    return limits_check(what, largest * (uint64_t)l->jobs, 0, 0, advice, err);
}

/* What the laboratory itself writes takes the place of its own earlier files only. */
static opsm_status check_files(const struct lab *lab, opsm_error *err) {
    char *page = file_join(lab->base.output, "report.html");
    opsm_status status = page ? report_check_target(page, err) : mem_exhausted(err, "a file name", 0);
    mem_free(page);
    return status == OPSM_OK ? lab_check_json(lab, false, err) : status;
}

static opsm_status run_laboratory(struct laboratory *l, opsm_error *err) {
    opsm_status status = check_files(l->lab, err);
    if (status == OPSM_OK) status = file_make_dirs(l->lab->base.output, err);
    /* Children keep the lock: those that outlive us are not trained beside. */
    if (status == OPSM_OK) status = file_lock(&l->lock, l->lab->base.output, "at work in the laboratory", true, err);
    if (status == OPSM_OK) status = survey(l, err);
    if (status == OPSM_OK) status = lab_inputs_take(l->lab, err);
    if (status == OPSM_OK && l->done > 0) status = lab_check_json(l->lab, true, err);
    if (status == OPSM_OK) status = open_progress(l, err);
    if (status == OPSM_OK) status = make_start(l, err);
    if (status == OPSM_OK) status = share_memory(l, err);
    if (status != OPSM_OK) return status;
    status = run_all(l, err);
    if (status != OPSM_OK && status != OPSM_INTERRUPTED) return status;
    lab_summarise(l->lab);
    opsm_status written = lab_write_json(l->lab, status == OPSM_OK ? err : NULL);
    return status == OPSM_OK ? written : status;
}

opsm_status lab_run(struct lab *lab, const struct lab_options *options, opsm_error *err) {
    struct laboratory *l = mem_zalloc(1, sizeof *l);
    if (!l) return mem_exhausted(err, "a laboratory", sizeof *l);
    *l = (struct laboratory){.lab = lab, .options = options, .lock = -1, .shown = -1};
    share_cores(l);
    opsm_status status = run_laboratory(l, err);
    progress_close(l->progress);
    if (l->lock >= 0) close(l->lock);
    mem_free(l);
    return status;
}
