/* SPDX-License-Identifier: Apache-2.0
 *
 * The laboratory: arms x seeds of `train` from one starting model, compared at equal numbers of optimiser steps.
 *
 *   struct lab lab;
 *   lab_load(&lab, "lab.yaml", words, n_words, &err);    the file, then key.path=value words
 *   lab_run(&lab, &options, &err);                       processes, results, LAB/lab.json
 *   lab_free(&lab);
 *
 * A round is what the base configuration makes of one rollout batch: minibatches x epochs optimiser steps. The curve of
 * a run has one value a round: the mean reward of the fresh rollouts of the iterations that begin in it, each from the
 * weights at its beginning.
 */
#ifndef OPSM_LAB_LAB_H
#define OPSM_LAB_LAB_H
#include "config/config.h"
#include "report/progress.h"
#include "train/interval.h"
#include <stdatomic.h>

enum { LAB_ARMS_MAX = 256, LAB_SEEDS_MAX = 256, LAB_NAME_MAX = 64 };

struct lab_collapse {
    double below;  /* reward below this share of the running best ... */
    double window; /* ... in every round of this last share of the run */
};

enum lab_status { LAB_WAITING, LAB_RUNNING, LAB_DONE, LAB_FAILED };

/* One run. What was not measured is NaN. */
struct lab_seed {
    uint64_t seed;
    enum lab_status status;
    char *error;   /* owned; why it failed */
    double *curve; /* [rounds] owned; NULL until there is something */
    int32_t n_curve;
    double final, best, worst; /* of a run that is done: see lab_curve_measure */
    bool collapsed;            /* of a run that is done, or failed because its numbers were no longer finite */
    /* Means over the optimiser steps of the second half of the rounds, over those that have a value. */
    double dropped, dropped_negatives, drift_negative, drift_positive, entropy;
    double accuracy, pass_at_k; /* of the last evaluation */
    int64_t steps, skipped;
    double seconds; /* of work, summed over phases */
};

/* What an arm promises (`lab.expect`), as the mean over seeds of final / best. NaN: nothing. */
struct lab_expect {
    double held_below, held_above;
};

struct lab_arm {
    char name[LAB_NAME_MAX + 1];
    struct run_config config; /* without output and seed */
    struct lab_expect expect;
    struct lab_seed *seeds; /* [n_seeds] owned */
    /* Over the seeds that are done; see lab_summarise. */
    struct interval final; /* NaN estimate: none is done */
    double best, worst, held;
    double dropped, dropped_negatives, drift_negative, drift_positive;
    int32_t done, collapsed, failed;
};

struct lab_input {
    const char *path; /* borrowed from a configuration */
    uint64_t hash;
};

struct lab {
    struct run_config base;  /* output: the directory of the laboratory */
    struct run_config start; /* of the warm start; output NULL: there is none */
    struct lab_arm *arms;    /* [n_arms] owned */
    int32_t n_arms, n_seeds;
    int32_t jobs; /* processes side by side; 0: as many as threads */
    double final_share;
    struct lab_collapse collapse;
    int32_t reference; /* an arm; -1: none */
    int32_t steps_per_round, rounds;
    struct lab_input *inputs; /* [n_inputs] owned; see lab/inputs.h */
    int32_t n_inputs;
};

/* Reads and checks everything: OPSM_INVALID with a sentence and its place. On failure there is nothing to free. */
opsm_status lab_load(struct lab *lab, const char *path, const char *const *words, int n_words, opsm_error *err);
void lab_free(struct lab *lab);

struct lab_options {
    const atomic_bool *interrupt; /* set from a signal handler: runs are told to save, OPSM_INTERRUPTED comes back */
    FILE *progress;               /* NULL: silence */
    const char *program;          /* of which `train` and `sft` are subcommands */
};

/* Makes the starting model if one is asked for, runs what is not finished yet, and leaves the results in `lab` and in
 * LAB/lab.json, which is rewritten after every run. A run that fails is a result. OPSM_INVALID before anything starts
 * when a directory holds a run of another configuration or another laboratory is at work in it. */
opsm_status lab_run(struct lab *lab, const struct lab_options *options, opsm_error *err);

/* Whether every arm keeps what `lab.expect` says; a sentence about the first that does not goes to `err`. */
bool lab_expectations_met(const struct lab *lab, opsm_error *err);

/* Rounds at the end over which `final` is the mean. */
int32_t lab_final_rounds(const struct lab *lab);

/* LAB/ARM/seed-N; release with mem_free, NULL when out of memory. */
char *lab_directory(const struct lab *lab, const struct lab_arm *arm, const struct lab_seed *seed);

#endif
