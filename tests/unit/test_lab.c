/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of the laboratory: the file, curves, means, every branch of the verdict, processes. tests/e2e/test_lab.sh
 * has the whole.
 */
#include "base/file.h"
#include "base/mem.h"
#include "base/process.h"
#include "check.h"
#include "lab/curve.h"
#include "lab/result.h"
#include "train/diagnosis.h"
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static opsm_error err;

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static char path[64];

static opsm_status load(struct lab *lab, const char *yaml, const char *const *words, int n_words) {
    strcpy(path, "/tmp/opsm-lab-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, yaml, strlen(yaml)), (ssize_t)strlen(yaml));
    close(fd);
    err = (opsm_error){0};
    opsm_status status = lab_load(lab, path, words, n_words, &err);
    unlink(path);
    return status;
}

#define BASE                                                                                                           \
    "model: m.gguf\noutput: runs/l\ntask: {name: modsum}\n"                                                            \
    "schedule: {minibatches: 4, epochs: 2}\ntrain: {iterations: 10}\n"

static void refused(const char *yaml, const char *expected) {
    struct lab lab;
    opsm_status status = load(&lab, yaml, NULL, 0);
    if (status == OPSM_OK || !strstr(err.text, expected)) {
        print_error("for: %s\nexpected: %s\nfound: %s\n", yaml, expected, err.text);
        fail();
    }
    assert_int_equal(status, strstr(expected, "/nowhere") ? OPSM_IO : OPSM_INVALID);
}

static void a_file_is_read(void **state) {
    (void)state;
    const char *words[] = {"optim.lr=0.5", "lab.seeds=[7, 9, 11]", "lab.jobs=3", "train.iterations=20"};
    struct lab lab;
    assert_ok(load(&lab,
                   BASE "lab:\n  seeds: 2\n  reference: fresh\n  final: 0.25\n  collapse: {below: 0.4, window: 0.5}\n"
                        "  arms:\n    fresh: {rollout: {prompts: 4}, schedule: {minibatches: 1}, seed: 1}\n"
                        "    a.b+c_d-0: {objective: {mask: {rule: none}}, optim: {lr: 0.25}}\n    same:\n"
                        "  expect: {same: {held_above: 0.9}, a.b+c_d-0: {held_below: 0.5}}\n",
                   words, 4));
    assert_int_equal(lab.n_seeds, 3);
    assert_true(lab.arms[1].seeds[2].seed == 11);
    assert_int_equal(lab.n_arms, 3);
    assert_int_equal(lab.reference, 0);
    assert_int_equal(lab.jobs, 3);
    assert_int_equal(lab.rounds, 20);
    assert_int_equal(lab.steps_per_round, 8);
    assert_int_equal(lab_final_rounds(&lab), 5);
    assert_near(lab.collapse.below, 0.4, 0);
    assert_near(lab.collapse.window, 0.5, 0);
    /* An arm gets as many iterations as make the base's 160 steps. */
    assert_int_equal(lab.arms[0].config.train.iterations, 80);
    assert_int_equal(lab.arms[2].config.train.iterations, 20);
    /* The command line changes the base, an arm's own key stands above it. */
    assert_near(lab.arms[0].config.optim.lr, 0.5, 0);
    assert_near(lab.arms[1].config.optim.lr, 0.25, 0);
    assert_string_equal(lab.arms[1].name, "a.b+c_d-0");
    assert_int_equal(lab.arms[1].config.objective.mask_rule, OPSM_RULE_NONE);
    assert_near(lab.arms[2].expect.held_above, 0.9, 0);
    assert_true(isnan(lab.arms[2].expect.held_below) && isnan(lab.arms[0].expect.held_above));
    assert_null(lab.start.output);
    char *directory = lab_directory(&lab, &lab.arms[0], &lab.arms[0].seeds[1]);
    assert_string_equal(directory, "runs/l/fresh/seed-9");
    mem_free(directory);
    lab_free(&lab);
}

/* null in an arm takes back what the base has set; in the section `lab`, what was said before. */
static void an_arm_can_unset_a_key(void **state) {
    (void)state;
    const char *words[] = {"lab.jobs=null", "lab.reference=~"};
    struct lab lab;
    assert_ok(load(&lab,
                   BASE "objective: {mask: {delta: 0.1}, surrogate: {clip_high: 0.5}}\noptim: {lr: 0.5}\n"
                        "reward: [{type: numeric, weight: 2}]\nlab:\n  seeds: 1\n  jobs: 3\n  reference: base\n"
                        "  final: null\n  start: null\n  expect: ~\n"
                        "  arms: {base: null, auto: {objective: {mask: {delta: null}}},\n"
                        "    plain: {objective: null, optim: null, reward: null}}\n",
                   words, 2));
    assert_int_equal(lab.arms[0].config.objective.mask_policy, OPSM_POLICY_FIXED);
    assert_int_equal(lab.arms[1].config.objective.mask_policy, OPSM_POLICY_AUTO);
    assert_near(lab.arms[1].config.objective.surrogate_clip_high, 0.5, 0);
    assert_near(lab.arms[1].config.optim.lr, 0.5, 0);
    assert_int_equal(lab.arms[2].config.objective.mask_policy, OPSM_POLICY_AUTO);
    assert_near(lab.arms[2].config.optim.lr, 1e-5, 0);
    assert_int_equal(lab.arms[2].config.n_rewards, 0);
    assert_int_equal(lab.arms[1].config.n_rewards, 1);
    assert_int_equal(lab.jobs, 0);
    assert_int_equal(lab.reference, -1);
    assert_near(lab.final_share, 1.0 / 3, 0);
    lab_free(&lab);
    refused(BASE "lab: {seeds: null, arms: {a: {}}}\n", "lab.seeds");
    refused(BASE "lab: {seeds: 1, arms: null}\n", "lab.arms");
}

static void a_warm_start_becomes_the_model(void **state) {
    (void)state;
    struct lab lab;
    const char yaml[] = "output: runs/l\ntask: {name: modsum, difficulty: 5}\noptim: {lr: 0.5}\n"
                        "rollout: {max_tokens: 9}\nlab:\n  seeds: 1\n"
                        "  start: {sft: {steps: 20, init: {dim: 32}}}\n  arms: {a: {}, b: {model: own.gguf}}\n";
    assert_ok(load(&lab, yaml, NULL, 0));
    assert_string_equal(lab.start.output, "runs/l/start");
    assert_int_equal(lab.start.task.difficulty, 5);
    assert_int_equal(lab.start.rollout.max_tokens, 9);
    assert_near(lab.start.optim.lr, 1e-5, 0); /* the arms' business */
    assert_string_equal(lab.arms[0].config.model, "runs/l/start/model.gguf");
    assert_string_equal(lab.arms[1].config.model, "own.gguf");
    lab_free(&lab);
}

static void bad_files_get_line_and_reason(void **state) {
    (void)state;
    refused(BASE, "expected a section `lab`");
    refused(BASE "lab: {seeds: 1}\n", ":6: lab.arms: expected a map of arms");
    refused(BASE "lab:\n  arms: {a: {}}\n", "lab.seeds: expected a list of seeds");
    refused(BASE "lab: {seeds: [18446744073709551616]}\n", "lab.seeds: expected a list of 1 to 256 different");
    refused(BASE "lab:\n  sedes: 1\n", ":7: unknown key 'lab.sedes'; did you mean 'lab.seeds'?");
    refused(BASE "lab:\n  seeds: 1\n  arms:\n    a:\n      optim: {lr: 1}\n      objective: {mask: {dleta: 1}}\n",
            ":11: unknown key 'objective.mask.dleta'; did you mean 'objective.mask.delta'?");
    refused(BASE "lab: {seeds: [1, 1], arms: {a: {}}}\n", "different whole numbers");
    refused(BASE "lab: {seeds: [], arms: {a: {}}}\n", "lab.seeds");
    refused(BASE "lab: {seeds: 257, arms: {a: {}}}\n", "lab.seeds");
    refused(BASE "lab: {seeds: -1, arms: {a: {}}}\n", "lab.seeds");
    refused(BASE "lab: {seeds: 1, arms: {start: {}}}\n", "name of an arm");
    refused(BASE "lab: {seeds: 1, arms: {../x: {}}}\n", "name of an arm");
    refused(BASE "lab: {seeds: 1, arms: {\"a b\": {}}}\n", "name of an arm");
    refused(BASE "lab: {seeds: 1, arms: {lab.json: {}}}\n", "name of an arm");
    refused(BASE "lab: {seeds: 1, arms: {a: {}, a: {}}}\n", "key 'a' is given twice");
    refused(BASE "lab: {seeds: 1, arms: {a: {output: x}}}\n", "set by the laboratory");
    refused(BASE "lab: {seeds: 1, arms: {a: {seed: 4}}}\n", "set by the laboratory");
    refused(BASE "lab: {seeds: 1, arms: {a: 3}}\n", "expected a map of keys, found a single value");
    refused(BASE "lab: {seeds: 1, arms: {}}\n", "1 to 256 arms");
    refused(BASE "lab: {seeds: 1, arms: {a: {lab: {}}}}\n", "`opsm lab` runs it");
    refused(BASE "lab: {seeds: 1, arms: {aa: {}}, reference: ab}\n",
            "lab.reference: 'ab' is no arm of this laboratory");
    refused(BASE "lab: {seeds: 1, arms: {aa: {}}, expect: {x: {held_above: 1}}}\n", "lab.expect: 'x' is no arm");
    refused(BASE "lab: {seeds: 1, arms: {aa: {}}, expect: {aa: {final: 1}}}\n", "held_below or held_above");
    refused(BASE "lab: {seeds: 1, arms: {aa: {}}, expect: {aa: {held_above: 2}}}\n", "from 0 to 1");
    refused(BASE "lab: {seeds: 1, arms: {a: {}}, final: 0}\n", "lab.final: expected a number");
    refused(BASE "lab: {seeds: 1, arms: {a: {}}, collapse: {below: [1]}}\n", "expected a single value, found a list");
    refused(BASE "lab: {seeds: 1, arms: {a: {}}, base: /nowhere.yaml}\n", "/nowhere.yaml");
    refused(BASE "lab: {seeds: 1, arms: {a: {train: {iterations: 9}}}}\n",
            "set train.iterations to 10, or leave it out");
    refused(BASE "lab: {seeds: 1, arms: {a: {schedule: {minibatches: 3}}}}\n", "expected a divisor of it");
    refused("model: m\ntask: {name: modsum}\nlab: {seeds: 1, arms: {a: {}}}\n", "output: expected a directory");
    refused(BASE "lab: 3\n", "lab: expected a map of keys, found a single value");
}

/* From the project's directory, where ctest runs the suites: bases are named from there. */
static void the_shipped_files_are_valid(void **state) {
    (void)state;
    static const char *const names[] = {"demo", "deltas", "surrogates", "controls", "sources", "smollm2-addition"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[64];
        struct lab lab;
        snprintf(name, sizeof name, "examples/lab/%s.yaml", names[i]);
        assert_ok(lab_load(&lab, name, NULL, 0, &err));
        assert_true(lab.n_arms >= 4 && lab.n_seeds == 3 && lab.reference >= 0);
        lab_free(&lab);
    }
}

static void some_words_are_refused(void **state) {
    (void)state;
    const char *const rows[][2] = {{"lab.arms={}", "in the file only"},
                                   {"lab.base=other.yaml", "in the file only"},
                                   {"lab.seeds=", "expected a value"},
                                   {"lab.jbos=1", "did you mean 'lab.jobs'"},
                                   {"optim.lr=fast", "expected a number"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct lab lab;
        assert_int_equal(load(&lab, BASE "lab: {seeds: 1, arms: {a: {}}}\n", &rows[i][0], 1), OPSM_INVALID);
        assert_non_null(strstr(err.text, rows[i][1]));
    }
}

static void running_out_of_memory_leaks_nothing(void **state) {
    (void)state;
    for (int nth = 1; nth < 5000; nth++) {
        struct lab lab;
        mem_fail_at(nth);
        opsm_status status = load(&lab,
                                  BASE "lab: {seeds: 2, arms: {a: {}, b: {}}, reference: a,"
                                       " start: {sft: {init: {dim: 32}}}}\n",
                                  NULL, 0);
        mem_fail_at(0);
        if (status == OPSM_OK) {
            lab_free(&lab);
            return;
        }
        assert_int_equal(status, OPSM_NOMEM);
    }
    fail();
}

/* ---- curves ------------------------------------------------------------------------------------------------------ */

static void curves_are_measured(void **state) {
    (void)state;
    const struct lab_collapse rule = {0.5, 1.0 / 3};
    const struct {
        double curve[6];
        double final, best, worst;
        bool collapsed;
    } rows[] = {
        {{0.3, 0.9, 0.8, 0.7, 0.6, 0.8}, 0.7, 0.9, 0.6, false},
        {{0.3, 0.9, 0.8, 0.7, 0.4, 0.4}, 0.4, 0.9, 0.4, true},
        {{0.3, 0.9, 0.8, 0.1, 0.4, 0.45}, 0.425, 0.9, 0.1, false}, /* the last value is at half, not below */
        {{0.3, 0.9, 0.8, 0.1, 0.5, 0.1}, 0.3, 0.9, 0.1, false},    /* one round of the window is above */
        {{0, 0, 0, 0, 0, 0}, 0, 0, 0, false},                      /* never learnt anything: nothing to lose */
        {{0.1, 0.2, 0.3, 0.4, 0.5, 0.6}, 0.55, 0.6, 0.3, false},
        {{0.9, 0.8, NAN, NAN, NAN, NAN}, NAN, 0.9, NAN, true},
        {{-1, -1, -1, -1, -1, -1}, -1, -1, -1, false}, /* punished throughout: nothing to lose either */
        {{-1, -1, -1, -1, NAN, NAN}, NAN, -1, NAN, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct lab_measures m = lab_curve_measure(rows[i].curve, 6, 2, &rule);
        if (isnan(rows[i].final)) {
            assert_true(isnan(m.final) && isnan(m.worst));
        } else {
            assert_near(m.final, rows[i].final, 1e-12);
            assert_near(m.worst, rows[i].worst, 1e-12);
        }
        assert_near(m.best, rows[i].best, 0);
        assert_int_equal(m.collapsed, rows[i].collapsed);
    }
    assert_int_equal(curve_share(1.0 / 3, 30), 10);
    assert_int_equal(curve_share(0.01, 30), 1);
    assert_int_equal(curve_share(1, 30), 30);
}

static void write_metrics(const char *text) {
    struct file_out *out;
    assert_ok(file_create(&out, "lab-test-metrics/metrics.jsonl", &err));
    file_write(out, text, strlen(text));
    assert_ok(file_commit(out, &err));
}

/* Two steps an iteration, four a round: two iterations make a round's value. By hand. */
static void iterations_are_gathered_into_rounds(void **state) {
    (void)state;
    assert_ok(file_make_dirs("lab-test-metrics", &err));
    write_metrics(
        "{\"kind\":\"step\",\"iteration\":0,\"step\":1,\"drift_negative_mean\":9,\"dropped_negatives\":1}\n"
        "{\"kind\":\"iteration\",\"iteration\":0,\"step\":2,\"reward_mean\":0.2,\"steps_skipped\":1,"
        "\"seconds\":{\"rollout\":1,\"optim\":0.5}}\n"
        "{\"kind\":\"iteration\",\"iteration\":1,\"step\":4,\"reward_mean\":0.4,\"steps_skipped\":0}\n"
        "{\"kind\":\"eval\",\"iteration\":2,\"accuracy\":0.75}\n"
        "{\"kind\":\"step\",\"iteration\":2,\"step\":4,\"drift_negative_mean\":0.5,\"dropped_negatives\":0.25}\n"
        "{\"kind\":\"step\",\"iteration\":2,\"step\":5,\"drift_negative_mean\":null,\"dropped_negatives\":0.75}\n"
        "{\"kind\":\"iteration\",\"iteration\":2,\"step\":6,\"reward_mean\":0.5,\"steps_skipped\":1}\n"
        "{\"kind\":\"iteration\",\"iterat");
    struct lab_seed seed = {0};
    int64_t iterations;
    assert_ok(lab_read_metrics(&seed, "lab-test-metrics", 2, 4, 3, &iterations, &err));
    assert_int_equal(iterations, 3);
    assert_int_equal(seed.n_curve, 2);
    assert_near(seed.curve[0], 0.3, 1e-12);
    assert_near(seed.curve[1], 0.5, 0);
    /* Three rounds: the second half begins with round 1, at step 4. */
    assert_near(seed.drift_negative, 0.5, 0);
    assert_near(seed.dropped_negatives, 0.5, 0);
    assert_true(isnan(seed.drift_positive) && isnan(seed.pass_at_k));
    assert_near(seed.accuracy, 0.75, 0);
    assert_near(seed.seconds, 1.5, 0);
    assert_int_equal(seed.steps, 6);
    assert_int_equal(seed.skipped, 2);
    /* Numbers that no run writes are left out, and overflow nothing. */
    write_metrics("{\"kind\":\"iteration\",\"iteration\":9223372036854775807,\"step\":1,\"reward_mean\":1,"
                  "\"steps_skipped\":1e300}\n"
                  "{\"kind\":\"iteration\",\"iteration\":-1,\"step\":1,\"reward_mean\":1,\"steps_skipped\":-1}\n"
                  "{\"kind\":\"iteration\",\"iteration\":6,\"step\":1,\"reward_mean\":1}\n");
    assert_ok(lab_read_metrics(&seed, "lab-test-metrics", 2, 4, 3, &iterations, &err));
    assert_true(seed.n_curve == 0 && seed.skipped == 0);
    /* A pipe would keep its reader waiting. */
    assert_int_equal(remove("lab-test-metrics/metrics.jsonl"), 0);
    assert_int_equal(mkfifo("lab-test-metrics/metrics.jsonl", 0666), 0);
    assert_int_equal(lab_read_metrics(&seed, "lab-test-metrics", 2, 4, 3, &iterations, &err), OPSM_IO);
    assert_non_null(strstr(err.text, "metrics.jsonl' is not a regular file"));
    assert_ok(lab_read_metrics(&seed, "/nowhere", 2, 4, 3, &iterations, &err));
    assert_true(iterations == 0 && seed.n_curve == 0);
    mem_free(seed.curve);
    assert_ok(file_remove_tree("lab-test-metrics", &err));
}

/* ---- verdict ----------------------------------------------------------------------------------------------------- */

enum { ARMS = 3, SEEDS = 3 };

/* A laboratory of results: final per arm and seed; NAN: failed, INFINITY: not finished, negative: collapsed there. */
struct results {
    struct lab lab;
    struct lab_arm arms[ARMS];
    struct lab_seed seeds[ARMS][SEEDS];
};

static struct lab *make(struct results *r, int n_arms, int n_seeds, int reference, const double *finals) {
    static const char *const names[] = {"ref", "none", "opsm"};
    memset(r, 0, sizeof *r);
    r->lab = (struct lab){.arms = r->arms,
                          .n_arms = n_arms,
                          .n_seeds = n_seeds,
                          .reference = reference,
                          .rounds = 30,
                          .steps_per_round = 16,
                          .final_share = 1.0 / 3};
    for (int a = 0; a < n_arms; a++) {
        strcpy(r->arms[a].name, names[a]);
        r->arms[a].seeds = r->seeds[a];
        r->arms[a].expect = (struct lab_expect){NAN, NAN};
        for (int s = 0; s < n_seeds; s++) {
            double final = finals[a * n_seeds + s];
            struct lab_seed *seed = &r->seeds[a][s];
            *seed = (struct lab_seed){.seed = (uint64_t)s + 1, .status = LAB_DONE, .final = fabs(final), .best = 1};
            seed->collapsed = final < 0;
            if (isnan(final)) seed->status = LAB_FAILED;
            if (isinf(final)) seed->status = LAB_WAITING;
        }
    }
    lab_summarise(&r->lab);
    return &r->lab;
}

static void verdict_is(const struct lab *lab, const char *expected) {
    struct text out = {0};
    lab_verdict(lab, &out);
    assert_string_equal(out.data, expected);
    text_free(&out);
}

/* Intervals by hand: three differences with mean m and standard deviation s reach 4.30265 s / sqrt(3) to each side. */
static void verdicts(void **state) {
    (void)state;
    struct results r;
    verdict_is(
        make(&r, 3, 3, 0, (double[]){0.95, 0.96, 0.97, -0.05, -0.06, -0.10, 0.95, 0.97, 0.96}),
        "ref ends at 0.960 [0.935, 0.985], 3 seeds. Lower than ref: none by 0.890 [0.847, 0.933]. Not told apart "
        "from ref: opsm (+0.000 [-0.025, +0.025]). Collapsed: none in 3 of 3 runs.");
    verdict_is(make(&r, 3, 3, 0, (double[]){0.1, 0.2, 0.3, 0.2, 0.3, 0.4, 0.31, 0.4, 0.49}),
               "ref ends at 0.200 [-0.048, 0.448], 3 seeds. Higher than ref: none by 0.100 [0.100, 0.100] and opsm by "
               "0.200 [0.175, 0.225]. No run collapsed.");
    verdict_is(
        make(&r, 2, 3, 0, (double[]){0.1, 0.2, 0.3, 0.1, 0.2, 0.3}),
        "ref ends at 0.200 [-0.048, 0.448], 3 seeds. Not told apart from ref: none (equal in every seed). No run "
        "collapsed.");
    verdict_is(
        make(&r, 3, 3, 0, (double[]){0.95, 0.96, 0.97, NAN, NAN, NAN, NAN, NAN, 0.96}),
        "ref ends at 0.960 [0.935, 0.985], 3 seeds. Not compared with ref: none (no seed in common) and opsm (one "
        "seed in common: one seed proves nothing). No run collapsed. Failed: none in 3 of 3 runs and opsm in 2 of "
        "3 runs.");
    verdict_is(make(&r, 3, 3, -1, (double[]){0.1, 0.1, 0.1, 0.5, 0.5, 0.5, 0.9, 0.9, NAN}),
               "No reference is named; the highest mean: none ends at 0.500 [0.500, 0.500], 3 seeds. Lower than none: "
               "ref by 0.400 [0.400, 0.400]. Higher than none: opsm by 0.400 [0.400, 0.400]. No run collapsed. Failed: "
               "opsm in 1 of 3 runs.");
    verdict_is(
        make(&r, 2, 1, 0, (double[]){0.95, -0.05}),
        "ref ends at 0.950, one seed. Not compared with ref: none (one seed in common: one seed proves nothing). "
        "Collapsed: none in 1 of 1 run. There is one seed only: one seed proves nothing.");
    verdict_is(make(&r, 1, 3, -1, (double[]){0.95, 0.96, 0.97}),
               "ref ends at 0.960 [0.935, 0.985], 3 seeds. No run collapsed.");
    verdict_is(make(&r, 1, 1, -1, (double[]){0.95}),
               "ref ends at 0.950, one seed. It did not collapse. There is one seed only: one seed proves nothing.");
    verdict_is(
        make(&r, 2, 3, 0, (double[]){NAN, NAN, NAN, 0.3, 0.4, 0.5}),
        "ref, which the others are to be compared with, has no run that is done. No run collapsed. Failed: ref in "
        "3 of 3 runs.");
    verdict_is(make(&r, 1, 2, 0, (double[]){NAN, NAN}),
               "No run is done: there is nothing to compare. Failed: ref in 2 of 2 runs.");
    /* A run that diverged has no final: it is counted as failed and as collapsed. */
    make(&r, 2, 3, 0, (double[]){0.5, 0.5, 0.5, 0.5, 0.5, NAN});
    r.seeds[1][2].collapsed = true;
    lab_summarise(&r.lab);
    assert_true(r.arms[1].collapsed == 1 && r.arms[1].failed == 1 && r.arms[1].done == 2);
    verdict_is(&r.lab,
               "ref ends at 0.500 [0.500, 0.500], 3 seeds. Not told apart from ref: none (equal in every seed). "
               "Collapsed: none in 1 of 3 runs. Failed: none in 1 of 3 runs.");
    verdict_is(make(&r, 2, 2, 0, (double[]){0.5, 0.5, 0.5, INFINITY}),
               "ref ends at 0.500 [0.500, 0.500], 2 seeds. Not compared with ref: none (one seed in common: one seed "
               "proves nothing). No run collapsed. 1 of 4 runs are not finished: what is said here is of the others.");
}

static void promises_are_checked(void **state) {
    (void)state;
    struct results r;
    struct lab *lab = make(&r, 2, 3, 0, (double[]){0.9, 0.95, 0.97, 0.1, 0.1, 0.1});
    assert_true(lab_expectations_met(lab, &err));
    lab->arms[0].expect.held_above = 0.93;
    lab->arms[1].expect.held_below = 0.5;
    assert_true(lab_expectations_met(lab, &err));
    lab->arms[0].expect.held_above = 0.945;
    assert_false(lab_expectations_met(lab, &err));
    assert_non_null(strstr(err.text, "arm ref was expected to end above 0.945 of its best round"));
    lab->arms[0].expect.held_above = 0.9;
    lab->arms[1].expect.held_below = 0.1;
    assert_false(lab_expectations_met(lab, &err));
    lab->arms[1].expect.held_below = 0.5;
    lab->arms[1].seeds[0].status = LAB_FAILED; /* a failed run keeps no promise */
    lab_summarise(lab);
    assert_false(lab_expectations_met(lab, &err));
}

static void tables_are_aligned(void **state) {
    (void)state;
    struct results r;
    struct lab *lab = make(&r, 2, 2, 0, (double[]){0.9, 0.95, NAN, -0.1});
    lab->arms[0].drift_negative = 0.01234;
    lab->arms[0].dropped_negatives = 0.654;
    struct text out = {0};
    lab_table(lab, &out);
    size_t width = strcspn(out.data, "\n");
    assert_int_equal(out.length, 3 * (width + 1));
    assert_non_null(strstr(out.data, "0.925  [0.607, 1.243]"));
    assert_non_null(strstr(out.data, "65%"));
    assert_non_null(strstr(out.data, "+0.0123"));
    assert_non_null(strstr(out.data, "1 of 2, 1 failed"));
    text_free(&out);
}

static void lab_json_is_json(void **state) {
    (void)state;
    struct results r;
    struct lab *lab = make(&r, 2, 2, 0, (double[]){0.9, 0.95, NAN, -0.1});
    char output[] = "lab-test-json";
    config_defaults(&lab->base);
    lab->base.output = output; /* borrowed: released nowhere */
    assert_ok(file_make_dirs(output, &err));
    for (int nth = 1;; nth++) {
        mem_fail_at(nth);
        opsm_status status = lab_write_json(lab, &err);
        mem_fail_at(0);
        if (status == OPSM_OK) break;
        assert_int_equal(status, OPSM_NOMEM);
        assert_false(file_exists("lab-test-json/lab.json"));
    }
    json_t *json = json_load_file("lab-test-json/lab.json", 0, NULL);
    assert_non_null(json);
    json_t *arms = json_object_get(json, "arms"), *none = json_object_get(arms, "none");
    assert_true(json_is_null(json_object_get(none, "final_ci95")));
    assert_int_equal(json_integer_value(json_object_get(none, "failed")), 1);
    assert_near(json_number_value(json_object_get(none, "final_mean")), 0.1, 0);
    assert_int_equal(json_array_size(json_object_get(json_object_get(arms, "ref"), "final_ci95")), 2);
    assert_string_equal(json_string_value(json_object_get(json, "reference")), "ref");
    json_decref(json);
    assert_ok(file_remove_tree(output, &err));
}

/* ---- processes --------------------------------------------------------------------------------------------------- */

/* The wait status of a shell command; its messages are in lab-test-log. */
static int run_shell(struct process *processes, int index, const char *command) {
    char shell[] = "/bin/sh", option[] = "-c", words[256];
    snprintf(words, sizeof words, "%s", command);
    char *argv[] = {shell, option, words, NULL};
    int wait_status = -1;
    assert_ok(process_start(&processes[index], argv, "lab-test-log", 3, 5000000, &err));
    assert_int_equal(process_wait(processes, 2, 20, &wait_status), index);
    assert_int_equal(processes[index].pid, 0);
    return wait_status;
}

static void processes_end_as_they_end(void **state) {
    (void)state;
    struct process processes[2] = {{0}};
    int wait_status = run_shell(processes, 1, "exit 3");
    assert_true(WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 3);
    wait_status = run_shell(processes, 0, "kill -9 $$");
    assert_true(WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL);
    run_shell(processes, 0, "echo threads $OPSM_THREADS, $OPSM_MEMORY >&2; echo lost; cat");
    char *text;
    size_t size;
    assert_ok(file_read("lab-test-log", 100, &text, &size, &err));
    assert_string_equal(text, "threads 3, 5000kB\n");
    mem_free(text);

    char sleeper[] = "/bin/sleep", long_time[] = "1000", *argv[] = {sleeper, long_time, NULL};
    assert_ok(process_start(&processes[0], argv, "lab-test-log", 1, 0, &err));
    assert_int_equal(process_wait(processes, 2, 0.05, &wait_status), -1); /* still at it */
    process_ask_to_end(processes, 2);
    assert_int_equal(process_wait(processes, 2, 20, &wait_status), 0);
    assert_true(WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGTERM);

    char nothing[] = "/nowhere/opsm", *missing[] = {nothing, NULL};
    assert_ok(process_start(&processes[0], missing, "lab-test-log", 1, 0, &err));
    assert_int_equal(process_wait(processes, 2, 20, &wait_status), 0);
    assert_int_equal(WEXITSTATUS(wait_status), 127);
    assert_int_equal(process_start(&processes[0], argv, "/nowhere/log", 1, 0, &err), OPSM_IO);
    assert_int_equal(processes[0].pid, 0);
    unlink("lab-test-log");
}

/* Child processes that only fail: the one of arm `b` as training does that diverges. */
static void a_run_that_diverges_has_collapsed(void **state) {
    (void)state;
    char program[] = "./lab-test-program";
    FILE *file = fopen(program, "w");
    assert_non_null(file);
    fputs("#!/bin/sh\necho \"opsm: $2 failed\" >&2\ncase $3 in */b/*) exit 3;; esac\nexit 1\n", file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(program, 0777), 0);
    const char *words[] = {"output=lab-test-runs"};
    struct lab lab;
    assert_ok(load(&lab, BASE "lab: {seeds: 2, arms: {a: {}, b: {}}}\n", words, 1));
    /* Whoever ignores SIGCHLD has children that vanish without a word. */
    signal(SIGCHLD, SIG_IGN);
    assert_ok(lab_run(&lab, &(struct lab_options){.program = program}, &err));
    for (int a = 0; a < 2; a++) {
        assert_true(lab.arms[a].done == 0 && lab.arms[a].failed == 2);
        assert_int_equal(lab.arms[a].collapsed, a == 1 ? 2 : 0);
        assert_string_equal(lab.arms[a].seeds[0].error, "train failed");
    }
    lab_free(&lab);
    json_t *json = json_load_file("lab-test-runs/lab.json", 0, NULL);
    const json_t *arm = json_object_get(json_object_get(json, "arms"), "b");
    assert_int_equal(json_integer_value(json_object_get(arm, "collapsed")), 2);
    assert_int_equal(json_integer_value(json_object_get(arm, "failed")), 2);
    json_decref(json);
    assert_ok(file_remove_tree("lab-test-runs", &err));
    assert_ok(file_remove_tree(program, &err));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read),
        cmocka_unit_test(an_arm_can_unset_a_key),
        cmocka_unit_test(a_warm_start_becomes_the_model),
        cmocka_unit_test(bad_files_get_line_and_reason),
        cmocka_unit_test(the_shipped_files_are_valid),
        cmocka_unit_test(some_words_are_refused),
        cmocka_unit_test(running_out_of_memory_leaks_nothing),
        cmocka_unit_test(curves_are_measured),
        cmocka_unit_test(iterations_are_gathered_into_rounds),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(promises_are_checked),
        cmocka_unit_test(tables_are_aligned),
        cmocka_unit_test(lab_json_is_json),
        cmocka_unit_test(processes_end_as_they_end),
        cmocka_unit_test(a_run_that_diverges_has_collapsed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
