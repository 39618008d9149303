/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of a report share: runs as they were read, arms that group them, laboratories, and the JSON that the
 * page's script draws. Everything read is hostile: sizes are bounded, and text goes out through io/json_writer.h only.
 */
#ifndef OPSM_REPORT_HTML_REPORT_H
#define OPSM_REPORT_HTML_REPORT_H
#include "io/json_writer.h"
#include "train/drift_histogram.h"
#include <jansson.h>
#include <opsm/status.h>
#include <stdbool.h>
#include <stdint.h>

/* X(id, key in the page). Numbers over optimiser steps. */
#define REPORT_CURVES(X)                                                                                               \
    X(REWARD, "reward")             /* of fresh rollouts, at the step whose weights sampled them */                    \
    X(ACCURACY, "accuracy")         /* on held-out problems */                                                         \
    X(ACCURACY_LOW, "accuracy_low") /* its 95% interval */                                                             \
    X(ACCURACY_HIGH, "accuracy_high")                                                                                  \
    X(PASS_AT_K, "pass_at_k")           /* likewise, where problems get several samples */                             \
    X(DRIFT_NEGATIVE, "drift_negative") /* mean over the sequences of a step, likewise what follows */                 \
    X(DRIFT_POSITIVE, "drift_positive")                                                                                \
    X(DELTA, "delta") /* the threshold in force */                                                                     \
    X(DROPPED, "dropped")                                                                                              \
    X(ENTROPY, "entropy")                                                                                              \
    X(GRAD_NORM, "grad_norm")                                                                                          \
    X(ESS, "ess")                                                                                                      \
    X(LENGTH, "length")     /* tokens of a fresh response, mean */                                                     \
    X(FINISHED, "finished") /* share of fresh responses that end by themselves */                                      \
    X(LR, "lr")             /* in force: after the schedule, and after the brake of the guard */                       \
    X(TRUST, "trust")       /* of policy auto: 1 leaves threshold and learning rate alone */                           \
    X(LOSS, "loss")         /* supervised training */

enum report_curve_id {
#define REPORT_CURVE_ID(id, key) CURVE_##id,
    REPORT_CURVES(REPORT_CURVE_ID)
#undef REPORT_CURVE_ID
        CURVE_COUNT
};

struct report_curve {
    int64_t *step; /* [n] */
    double *value; /* [n] finite */
    int64_t n, room;
};

/* Drift over neighbouring iterations: slot i holds iterations i * slot_width onwards. */
enum { REPORT_SLOTS = 64 };
struct report_slot {
    struct drift_histogram drift;
    double delta_low, delta_high; /* of the iterations' means; low > high: none */
};

/* One verifier's mean score of fresh rollouts, where the record has it. */
enum { REPORT_VERIFIERS_MAX = 16 };
struct report_verifier {
    char *name;
    struct report_curve curve;
};

/* What the head of a single run's page says. NaN and 0 where the record does not have it. */
struct report_eval {
    int64_t step;
    double accuracy, low, high, length, finished;
};
struct report_facts {
    int64_t evals, problems, samples;
    struct report_eval first_eval, last_eval;
    double seconds;                   /* in all phases: pauses between a stop and a resume left out */
    double tokens, rollout_seconds;   /* generated, and in what time */
    double trained, train_seconds;    /* likewise through forward and backward */
    double first_reward, last_reward; /* of iterations, likewise what follows */
    double first_length, last_length, first_finished, last_finished;
};

/* The flat configuration: "objective.mask.delta" and "0.03". */
struct report_key {
    char *path, *value;
};

struct report_run {
    char *path;
    struct report_curve curves[CURVE_COUNT];
    int64_t steps, iterations;  /* done */
    int64_t steps_at_iteration; /* done when the last complete iteration ended */
    int64_t round;              /* optimiser steps of its longest iteration, 0: no iteration is complete */
    int64_t slot_width;
    int n_slots;
    struct report_slot slots[REPORT_SLOTS];
    struct report_verifier verifiers[REPORT_VERIFIERS_MAX];
    int n_verifiers;
    struct report_facts facts;
    struct report_key *keys; /* [n_keys] in the order of the file */
    int n_keys;
};

struct report_arm {
    char *name;
    struct report_run *runs; /* [n_runs], its seeds */
    int n_runs;
    int failed; /* seeds of a laboratory that did not finish */
    bool open;  /* of runs named one by one: further seeds may join */
};

struct report {
    struct report_arm *arms;
    int n_arms;
    int64_t round;     /* the wanted width of a point in steps, 0: from the runs */
    struct text labs;  /* JSON objects with commas between */
    struct text notes; /* JSON strings, likewise */
};

enum { REPORT_KEYS_MAX = 512, REPORT_ARMS_MAX = 256, REPORT_SEEDS_MAX = 256 };

/* One sentence for the person who reads the page. */
void report_note(struct report *report, const char *format, ...) OPSM_PRINTF(2, 3);

/* Numbers of the page have five digits. What is in `text` already stands before what comes. */
static inline struct json_writer report_writer(struct text *text) {
    return (struct json_writer){.text = text, .digits = 5, .more = text->length > 0};
}

/* A list of what report_writer put into `items`; NULL: an empty one. */
void report_put_list(struct json_writer *json, const char *key, const struct text *items);

/* Appends an arm without runs; *arm stays valid until the next call. `name` is copied. */
opsm_status report_add_arm(struct report *report, const char *name, struct report_arm **arm, opsm_error *err);

/* Reads metrics.jsonl and config.yaml of a run and appends it to `runs`, a block of *n from mem_alloc that may move.
 * *found is false, and nothing appended, when there is nothing to draw (noted). */
opsm_status report_add_run(struct report *report, struct report_run **runs, int *n, const char *path, bool *found,
                           opsm_error *err);
void report_run_free(struct report_run *run); /* what it owns, not the struct */

/* html_summary.c: facts from lines of metrics.jsonl. */
void report_facts_start(struct report_facts *facts);
void report_facts_iteration(struct report_facts *facts, const json_t *row);
void report_facts_eval(struct report_facts *facts, const json_t *row, int64_t step);

/* The flat configuration of a run; damaged or missing: a note and no keys. */
opsm_status report_read_keys(struct report *report, struct report_run *run, opsm_error *err);
/* True when both have a configuration, equal but for seed and output. */
bool report_same_arm(const struct report_run *a, const struct report_run *b);
/* NULL: it has no such key. */
const char *report_value(const struct report_run *run, const char *path);
/* "config":{...} of the arms: the keys that differ, or every key of a single arm. */
void report_put_config(const struct report *report, struct json_writer *json);

/* Reads PATH/lab.json: its arms, table and verdict. `prefix` before the arms' names, "" for none. */
opsm_status report_read_lab(struct report *report, const char *path, const char *prefix, opsm_error *err);

/* "bin":N,"steps":N,"arms":[...] */
opsm_status report_put_arms(struct report *report, struct json_writer *json, opsm_error *err);

/* "summary":{...} of the report's one run; null where there are several. */
void report_put_summary(const struct report *report, struct json_writer *json);

/* "samples":[...]: transcripts of the first run of each arm that has some, and the held-out problems of its first and
 * last evaluation. */
opsm_status report_put_samples(struct report *report, struct json_writer *json, opsm_error *err);

#endif
