/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole runs on a model of a few thousand weights: learning, and every way to stop and go on.
 */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/threads.h"
#include "check.h"
#include "model/decode.h"
#include "model/forward.h"
#include "report/recorder.h"
#include "train/checkpoint.h"
#include "train/train.h"
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static opsm_error err;
static char scratch[] = "opsm-test-train-XXXXXX";
static char base[sizeof scratch + 32]; /* the supervised model all runs start from */

static const char *in_scratch(const char *name) {
    static char path[sizeof scratch + 64];
    snprintf(path, sizeof path, "%s/%s", scratch, name);
    return path;
}

/* defaults, then "key=value" words. */
static struct run_config configure(const char *const *words, int n) {
    struct run_config config;
    config_defaults(&config);
    for (int i = 0; i < n; i++) assert_ok(config_override(&config, words[i], &err));
    assert_ok(config_check(&config, &err));
    return config;
}

static struct run_config rl_config(const char *output, int iterations, const char *const *more, int n_more) {
    char out[128], model[128], rounds[64];
    snprintf(out, sizeof out, "output=%s/%s", scratch, output);
    snprintf(model, sizeof model, "model=%s/model.gguf", base);
    snprintf(rounds, sizeof rounds, "train.iterations=%d", iterations);
    const char *words[40] = {out,
                             model,
                             rounds,
                             "precision=f32",
                             "task.name=modsum",
                             "task.difficulty=3",
                             "rollout.prompts=8",
                             "rollout.group=4",
                             "rollout.max_tokens=6",
                             "rollout.max_prompt=8",
                             "rollout.in_flight=12",
                             "schedule.minibatches=4",
                             "objective.surrogate.name=is",
                             "objective.aggregation=token_mean",
                             "optim.lr=1e-3",
                             "train.eval_every=2",
                             "train.checkpoint_every=1",
                             "train.micro_batch=64",
                             "eval.problems=16"};
    int n = 0;
    while (words[n]) n++;
    for (int i = 0; i < n_more; i++) words[n++] = more[i];
    return configure(words, n);
}

static opsm_status run_once(const struct run_config *config, const atomic_bool *interrupt,
                            struct train_summary *summary) {
    struct recorder recorder = {0};
    struct sink sink = recorder_sink(&recorder);
    struct train_options options = {.interrupt = interrupt, .sink = &sink};
    err = (opsm_error){0};
    opsm_status status = train_run(config, &options, summary, &err);
    recorder_close(&recorder);
    return status;
}

static void assert_same_file(const char *a, const char *b, const char *name) {
    char path_a[256], path_b[256], *data_a, *data_b;
    size_t size_a, size_b;
    snprintf(path_a, sizeof path_a, "%s/%s/%s", scratch, a, name);
    snprintf(path_b, sizeof path_b, "%s/%s/%s", scratch, b, name);
    assert_ok(file_read(path_a, 1 << 24, &data_a, &size_a, &err));
    assert_ok(file_read(path_b, 1 << 24, &data_b, &size_b, &err));
    assert_int_equal(size_a, size_b);
    assert_memory_equal(data_a, data_b, size_a);
    mem_free(data_a);
    mem_free(data_b);
}

/* A number of a row of metrics.jsonl; NaN where the key is not there or null. */
static double number(const json_t *row, const char *key) {
    const json_t *value = json_object_get(row, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static bool is_kind(const json_t *row, const char *kind) {
    const char *own = json_string_value(json_object_get(row, "kind"));
    return own && !strcmp(own, kind);
}

static int64_t histogram_sum(const json_t *row, const char *key) {
    int64_t sum = 0;
    size_t i;
    const json_t *bin;
    json_array_foreach(json_object_get(row, key), i, bin) sum += json_integer_value(bin);
    return sum;
}

/* The rows of a run's metrics.jsonl, an array. */
static json_t *read_metrics(const char *run) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s/metrics.jsonl", scratch, run);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    json_t *rows = json_array(), *row;
    while ((row = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL))) json_array_append_new(rows, row);
    assert_true(feof(file)); /* nothing is left that is no JSON */
    fclose(file);
    return rows;
}

/* What of the record must not depend on interruptions: everything but times. */
static void assert_same_metrics(const char *a, const char *b) {
    static const char *const keys[] = {
        "iteration",       "step",   "loss",       "reward_mean",       "dropped",
        "grad_norm",       "tokens", "drift_mean", "lag_max",           "accuracy",
        "batch",           "lr",     "entropy",    "steps_applied",     "tokens_forward",
        "tokens_backward", "ess",    "delta",      "dropped_negatives", "drift_positive_mean"};
    static const char *const histograms[] = {"drift_negative_histogram", "drift_positive_histogram"};
    json_t *rows_a = read_metrics(a), *rows_b = read_metrics(b);
    assert_int_equal(json_array_size(rows_a), json_array_size(rows_b));
    assert_true(json_array_size(rows_a) > 4);
    for (size_t line = 0; line < json_array_size(rows_a); line++) {
        const json_t *x = json_array_get(rows_a, line), *y = json_array_get(rows_b, line);
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            double p = number(x, keys[i]), q = number(y, keys[i]);
            if (!(p == q || (isnan(p) && isnan(q)))) {
                print_error("line %zu: %s is %g and %g\n", line, keys[i], p, q);
                fail();
            }
        }
        for (size_t i = 0; i < sizeof histograms / sizeof *histograms; i++) {
            const json_t *p = json_object_get(x, histograms[i]), *q = json_object_get(y, histograms[i]);
            assert_true(!p == !q);
            if (p) assert_true(json_equal(p, q));
        }
    }
    json_decref(rows_a);
    json_decref(rows_b);
}

static void run_straight(const char *output, int iterations, const char *const *more, int n_more) {
    struct run_config config = rl_config(output, iterations, more, n_more);
    struct train_summary summary;
    assert_ok(run_once(&config, NULL, &summary));
    assert_int_equal(summary.iterations, iterations);
    config_free(&config);
}

/* ---- learning ---- */

static int make_base(void **state) {
    (void)state;
    if (!mkdtemp(scratch)) return 1;
    snprintf(base, sizeof base, "%s/base", scratch);
    char out[sizeof base + 16];
    snprintf(out, sizeof out, "output=%s", base);
    const char *words[] = {out,
                           "precision=f32",
                           "task.name=modsum",
                           "task.difficulty=3",
                           "task.noise=0.15",
                           "rollout.max_tokens=6",
                           "rollout.max_prompt=8",
                           "optim.lr=3e-3",
                           "optim.warmup=20",
                           "train.eval_every=0",
                           "train.checkpoint_every=0",
                           "sft.steps=250",
                           "sft.batch=32",
                           "sft.init.dim=32",
                           "sft.init.heads=2",
                           "sft.init.kv_heads=2",
                           "sft.init.ffn=64",
                           "sft.init.context=32"};
    struct run_config config = configure(words, sizeof words / sizeof *words);
    struct train_options options = {0};
    opsm_status status = sft_run(&config, &options, NULL, &err);
    if (status != OPSM_OK) print_error("%s\n", err.text);
    config_free(&config);
    return status != OPSM_OK;
}

static int remove_scratch(void **state) {
    (void)state;
    return file_remove_tree(scratch, NULL) != OPSM_OK;
}

static void reward_rises_on_and_off_policy(void **state) {
    (void)state;
    const char *const cases[][4] = {
        {"schedule.staleness=0", "objective.mask.rule=none"},
        {"schedule.staleness=2", "objective.mask.rule=opsm", "objective.mask.delta=0.05", "schedule.epochs=2"}};
    for (int c = 0; c < 2; c++) {
        const char *more[] = {cases[c][0],
                              cases[c][1],
                              c ? cases[c][2] : "seed=3",
                              c ? cases[c][3] : "schedule.epochs=1",
                              "rollout.prompts=32",
                              "train.eval_every=0",
                              "train.checkpoint_every=0",
                              "optim.lr=5e-4",
                              "optim.warmup=10"};
        struct run_config config = rl_config(c ? "learn-off" : "learn-on", 40, more, 9);
        struct train_summary summary;
        assert_ok(run_once(&config, NULL, &summary));
        /* 128 rollouts: the standard error of their mean is at most 0.045. Ten seeds rose by 0.31 to 0.56. */
        assert_true(summary.reward_first > 0.2 && summary.reward_first < 0.8);
        if (!(summary.reward_last > summary.reward_first + 0.2))
            print_error("reward %g -> %g\n", summary.reward_first, summary.reward_last);
        assert_true(summary.reward_last > summary.reward_first + 0.2);
        config_free(&config);
    }
}

/* Each sequence with a sign is counted once at every step that used it. */
static void iterations_count_drift_by_sign(void **state) {
    (void)state;
    const char *more[] = {"schedule.staleness=1", "objective.mask.delta=0.001"};
    run_straight("counted", 4, more, 2);
    size_t at;
    const json_t *row;
    json_t *rows = read_metrics("counted");
    double negatives = 0, positives = 0, drift = 0, steps = 0;
    int iterations = 0;
    json_array_foreach(rows, at, row) {
        if (is_kind(row, "step")) {
            negatives += number(row, "negatives");
            positives += number(row, "positives");
            if (!isnan(number(row, "drift_positive_mean"))) {
                drift += number(row, "drift_positive_mean");
                steps++;
            }
        }
        if (!is_kind(row, "iteration")) continue;
        assert_int_equal(histogram_sum(row, "drift_negative_histogram"), (int64_t)negatives);
        assert_int_equal(histogram_sum(row, "drift_positive_histogram"), (int64_t)positives);
        assert_true(negatives > 0 && positives > 0);
        assert_true(fabs(number(row, "drift_positive_mean") - drift / steps) < 1e-12);
        negatives = positives = drift = steps = 0;
        iterations++;
    }
    assert_int_equal(iterations, 4);
    json_decref(rows);
}

static void the_queue_delays_by_staleness(void **state) {
    (void)state;
    const char *more[] = {"schedule.staleness=2", "objective.mask.rule=none"};
    run_straight("queue", 6, more, 2);
    size_t at;
    const json_t *row;
    json_t *rows = read_metrics("queue");
    int steps = 0, iterations = 0, applied = 0, applied_before[7] = {0}; /* versions at the start of each iteration */
    json_array_foreach(rows, at, row) {
        int t = (int)number(row, "iteration");
        if (is_kind(row, "iteration")) applied_before[++iterations] = applied;
        if (!is_kind(row, "step")) continue;
        assert_int_equal((int)number(row, "batch"), t);
        assert_int_equal((int)number(row, "step"), steps);
        /* Generated two iterations ago, or from the initial weights; an applied step is a version. */
        assert_int_equal((int)number(row, "lag_max"), applied - applied_before[t < 2 ? 0 : t - 2]);
        const char *outcome = json_string_value(json_object_get(row, "outcome"));
        applied += outcome && !strcmp(outcome, "applied");
        if (steps == 0) assert_true(number(row, "parity_gap_max") == 0);
        steps++;
    }
    assert_int_equal(steps, 24);
    assert_true(applied > 12);
    assert_int_equal(iterations, 6);
    json_decref(rows);
}

/* A sampler on the trainer's weights has no gap to it. One on rounded weights has, in the first minibatch of every
 * batch, it is taken for drift, and it is what the noise floor is measured from; going on changes nothing about it. */
static void rounded_weights_leave_a_gap(void **state) {
    (void)state;
    static const char *const weights[] = {"same", "bf16", "int8"};
    double gap[3];
    for (int w = 0; w < 3; w++) {
        char choice[32], straight[32], resumed[32];
        snprintf(choice, sizeof choice, "rollout.weights=%s", weights[w]);
        snprintf(straight, sizeof straight, "weights-%s", weights[w]);
        snprintf(resumed, sizeof resumed, "weights-%s-resumed", weights[w]);
        const char *more[] = {choice, "objective.mask.rule=opsm", "objective.mask.policy=quantile"};
        run_straight(straight, 4, more, 3);
        run_straight(resumed, 2, more, 3);
        run_straight(resumed, 4, more, 3);
        assert_same_file(straight, resumed, "model.gguf");
        assert_same_metrics(straight, resumed);

        size_t at;
        const json_t *row;
        json_t *rows = read_metrics(straight);
        int fresh = 0;
        gap[w] = 0;
        json_array_foreach(rows, at, row) {
            if (!is_kind(row, "step") || (int)number(row, "step") % 4) continue;
            assert_true(number(row, "lag_max") == 0);
            assert_int_equal(number(row, "parity_gap_max") > 0, w > 0);
            assert_int_equal(number(row, "drift_mean") != 0, w > 0);
            assert_int_equal(number(row, "noise_floor") > 0, w > 0);
            gap[w] = fmax(gap[w], number(row, "parity_gap_mean"));
            fresh++;
        }
        assert_int_equal(fresh, 4);
        json_decref(rows);
    }
    assert_true(gap[0] == 0 && gap[2] > 1e-5 && gap[2] < 0.05);
}

/* Whether and when a run is evaluated changes nothing about what it learns. */
static void evaluations_leave_training_alone(void **state) {
    (void)state;
    const char *more[] = {"eval.temperature=1", "train.eval_every=1"};
    run_straight("evaluated", 3, more, 2);
    more[1] = "train.eval_every=0";
    run_straight("unevaluated", 3, more, 2);
    assert_same_file("evaluated", "unevaluated", "model.gguf");
}

/* With several samples an evaluation has pass@k beside accuracy, and how many different responses were right: here
 * there is one right response a problem, so that both are the same number. */
static void evaluations_report_pass_at_k(void **state) {
    (void)state;
    const char *more[] = {"eval.samples=4", "eval.temperature=1", "eval.problems=64"};
    run_straight("passes", 2, more, 3);
    size_t at;
    const json_t *row;
    json_t *rows = read_metrics("passes");
    int evaluations = 0;
    json_array_foreach(rows, at, row) {
        if (!is_kind(row, "eval")) continue;
        double pass = number(row, "pass_at_k"), accuracy = number(row, "accuracy");
        assert_int_equal((int)number(row, "samples"), 4);
        assert_true(accuracy > 0.2 && pass > accuracy + 0.05 && pass < 1);
        assert_true(number(row, "pass_at_k_low") < pass && pass < number(row, "pass_at_k_high"));
        assert_true(fabs(number(row, "distinct") - pass) < 1e-12);
        evaluations++;
    }
    assert_int_equal(evaluations, 2);
    json_decref(rows);
    rows = read_metrics("queue"); /* one sample */
    json_array_foreach(rows, at, row) assert_null(json_object_get(row, "pass_at_k"));
    json_decref(rows);
}

/* Guard kept drops nothing and makes the step smaller by what opsm would have dropped. */
static void the_kept_guard_only_shrinks_steps(void **state) {
    (void)state;
    const char *more[] = {"objective.mask.rule=none", "objective.mask.delta=0.001", "objective.guard=kept",
                          "optim.warmup=0"};
    run_straight("kept", 3, more, 4);
    size_t at;
    const json_t *row;
    json_t *rows = read_metrics("kept");
    int braked = 0, steps = 0;
    json_array_foreach(rows, at, row) {
        if (!is_kind(row, "step")) continue;
        double guard = number(row, "guard"), lr = number(row, "lr");
        assert_true(number(row, "dropped") == 0);
        assert_true(guard >= 0 && guard <= 1 && fabs(lr - 1e-3 * guard) < 1e-12);
        if (steps++ == 0) assert_true(guard == 1);
        braked += guard < 1;
    }
    assert_int_equal(steps, 12);
    assert_true(braked > 3);
    json_decref(rows);
}

/* ---- stopping and going on ---- */

static const char *const STALE[] = {"schedule.staleness=2",           "schedule.epochs=2",
                                    "objective.penalty.beta=0.05",    "objective.surrogate.name=decoupled",
                                    "objective.mask.policy=quantile", "rollout.save=true"};
enum { N_STALE = 6, LONG = 5 };

static void straight_reference(void) {
    if (!file_exists(in_scratch("straight/model.gguf"))) run_straight("straight", LONG, STALE, N_STALE);
}

static void assert_like_straight(const char *run) {
    assert_same_file("straight", run, "model.gguf");
    assert_same_file("straight", run, "rollouts/000004.jsonl");
    assert_same_file("straight", run, "samples.jsonl");
    assert_same_metrics("straight", run);
}

static void threads_change_nothing(void **state) {
    (void)state;
    straight_reference();
    int before = threads_count();
    threads_set(before == 1 ? 2 : 1);
    run_straight("threads", LONG, STALE, N_STALE);
    threads_set(before);
    assert_like_straight("threads");
}

static void more_iterations_go_on(void **state) {
    (void)state;
    straight_reference();
    run_straight("grown", 2, STALE, N_STALE);
    run_straight("grown", LONG - 1, STALE, N_STALE);
    run_straight("grown", LONG, STALE, N_STALE);
    assert_same_file("straight", "grown", "model.gguf");
    run_straight("grown", LONG, STALE, N_STALE); /* nothing left to do */
    assert_same_file("straight", "grown", "model.gguf");
}

static atomic_bool interrupt_flag;
static int passes_left; /* until the flag is set; 0: never */

static void count_pass(void) {
    if (passes_left > 0 && --passes_left == 0) atomic_store(&interrupt_flag, true);
}

/* The linker puts these in the place of the sampler's and the trainer's forward pass (tests/CMakeLists.txt). */
opsm_status __real_decode_step(struct kv_cache *cache, const struct model *model, int32_t n, const int32_t *samples,
                               const int32_t *tokens, float *logits, opsm_error *error);
opsm_status __wrap_decode_step(struct kv_cache *cache, const struct model *model, int32_t n, const int32_t *samples,
                               const int32_t *tokens, float *logits, opsm_error *error);
opsm_status __real_model_forward(struct activations *acts, const struct model *model, const struct pack *pack,
                                 opsm_error *error);
opsm_status __wrap_model_forward(struct activations *acts, const struct model *model, const struct pack *pack,
                                 opsm_error *error);

opsm_status __wrap_decode_step(struct kv_cache *cache, const struct model *model, int32_t n, const int32_t *samples,
                               const int32_t *tokens, float *logits, opsm_error *error) {
    count_pass();
    return __real_decode_step(cache, model, n, samples, tokens, logits, error);
}

opsm_status __wrap_model_forward(struct activations *acts, const struct model *model, const struct pack *pack,
                                 opsm_error *error) {
    count_pass();
    return __real_model_forward(acts, model, pack, error);
}

/* Interrupted again and again, after 1, 18, 35 or 52 forward passes: in an evaluation, in a rollout, between steps.
 * An interrupted rollout or evaluation starts afresh, so that some of the numbers must be larger than what it takes. */
static void interruptions_leave_no_trace(void **state) {
    (void)state;
    straight_reference();
    struct run_config config = rl_config("interrupted", LONG, STALE, N_STALE);
    int interruptions = 0;
    opsm_status status = OPSM_INTERRUPTED;
    for (int i = 0; status == OPSM_INTERRUPTED && i < 100; i++) {
        atomic_store(&interrupt_flag, false);
        passes_left = 1 + 17 * (i % 4);
        status = run_once(&config, &interrupt_flag, NULL);
        interruptions += status == OPSM_INTERRUPTED;
    }
    passes_left = 0;
    assert_ok(status);
    assert_true(interruptions >= 3);
    assert_like_straight("interrupted");
    config_free(&config);
}

/* The nth write, fsync or rename fails as on a full disk. Whatever it hits, the run fails with a sentence or survives,
 * and the same command afterwards ends with the same bits. */
static void failing_writes_lose_nothing(void **state) {
    (void)state;
    straight_reference();
    struct run_config config = rl_config("faulty", LONG, STALE, N_STALE);
    int failures = 0;
    for (int nth = 1; nth < 40; nth += 3) {
        file_fail_at(nth);
        opsm_status status = run_once(&config, NULL, NULL);
        file_fail_at(0);
        assert_true(status == OPSM_OK || status == OPSM_IO);
        if (status == OPSM_IO) assert_non_null(strstr(err.text, "No space left on device"));
        failures += status == OPSM_IO;
    }
    assert_true(failures >= 5);
    assert_ok(run_once(&config, NULL, NULL));
    assert_same_file("straight", "faulty", "model.gguf");
    config_free(&config);
}

/* Every allocation in turn fails: a sentence, no crash (and no leak, which the sanitized build sees). */
static void running_out_of_memory_is_a_sentence(void **state) {
    (void)state;
    const char *more[] = {"schedule.staleness=1", "rollout.top_p=0.9", "objective.penalty.beta=0.1",
                          "rollout.save=true", "rollout.weights=int8"};
    int failures = 0;
    opsm_status status = OPSM_NOMEM;
    for (int nth = 1; status != OPSM_OK; nth += nth < 40 ? 1 : 23) {
        struct run_config config = rl_config("memory", 2, more, 5);
        mem_fail_at(nth);
        status = run_once(&config, NULL, NULL);
        mem_fail_at(0);
        if (status != OPSM_OK) assert_int_equal(status, OPSM_NOMEM);
        if (status != OPSM_OK) assert_true(*err.text != 0);
        failures += status != OPSM_OK;
        config_free(&config);
    }
    assert_true(failures > 40);
    run_straight("memory", 2, more, 5);
}

static int warnings;

static void count_warnings(enum log_level level, const char *line, void *user) {
    (void)user;
    warnings += level == LOG_WARN && strstr(line, "checkpoint-") != NULL;
}

/* One byte of the newest checkpoint turns: it is recognised, the one before is used. */
static void a_damaged_checkpoint_is_passed_over(void **state) {
    (void)state;
    straight_reference();
    static const char *const files[] = {"state.bin", "queue.bin", "config.yaml", "inputs.bin"};
    for (int i = 0; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "damaged-%d", i);
        run_straight(name, LONG - 1, STALE, N_STALE);
        char path[256], *data;
        size_t size;
        snprintf(path, sizeof path, "%s/%s/checkpoint-%d/%s", scratch, name, (LONG - 1) * 8, files[i]);
        assert_ok(file_read(path, 1 << 24, &data, &size, &err));
        data[size / 2] ^= 1;
        struct file_out *out;
        assert_ok(file_create(&out, path, &err));
        file_write(out, data, size);
        assert_ok(file_commit(out, &err));
        mem_free(data);
        warnings = 0;
        log_install(count_warnings, NULL);
        run_straight(name, LONG, STALE, N_STALE);
        log_install(NULL, NULL);
        assert_int_equal(warnings, 1);
        assert_same_file("straight", name, "model.gguf");
    }
}

/* With nothing whole to go on from, nothing is begun anew over what is there. */
static void only_damaged_checkpoints_are_a_sentence(void **state) {
    (void)state;
    run_straight("broken", 2, STALE, N_STALE);
    char command[256];
    snprintf(command, sizeof command, "for f in %s/broken/checkpoint-*/state.bin; do truncate -s 99 $f; done", scratch);
    assert_int_equal(system(command), 0);
    struct run_config config = rl_config("broken", LONG, STALE, N_STALE);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(run_once(&config, NULL, NULL), OPSM_FORMAT);
        assert_non_null(strstr(err.text, "no checkpoint"));
    }
    config_free(&config);
    json_t *rows = read_metrics("broken");
    assert_true(json_array_size(rows) > 0);
    json_decref(rows);
}

static int count_checkpoints(const char *run) {
    int n = 0;
    DIR *dir = opendir(in_scratch(run));
    for (struct dirent *entry; (entry = readdir(dir));) n += !strncmp(entry->d_name, "checkpoint-", 11);
    closedir(dir);
    return n;
}

static void old_checkpoints_are_removed(void **state) {
    (void)state;
    straight_reference();
    assert_int_equal(count_checkpoints("straight"), 2);
}

static void another_configuration_is_refused(void **state) {
    (void)state;
    straight_reference();
    const struct {
        const char *word, *key;
    } cases[] = {{"optim.lr=2e-3", "optim.lr"},
                 {"objective.mask.delta=0.2", "objective.mask.delta"},
                 {"seed=2", "seed"},
                 {"train.iterations=2", "train.iterations"},
                 {"rollout.stop=[x]", "rollout.stop"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *more[N_STALE + 1];
        memcpy(more, STALE, sizeof STALE);
        more[N_STALE] = cases[i].word;
        struct run_config config = rl_config("straight", LONG, more, N_STALE + 1);
        assert_int_equal(run_once(&config, NULL, NULL), OPSM_INVALID);
        assert_non_null(strstr(err.text, cases[i].key));
        config_free(&config);
    }
}

/* Keys that change no number of the training may change while it goes on: the weights get the same bits. The micro-batch
 * is smaller than the longest sequence, which the prompt's length would otherwise make larger. */
static void some_keys_may_change(void **state) {
    (void)state;
    const char *before[] = {"train.micro_batch=16", "schedule.staleness=1"};
    const char *after[] = {"train.micro_batch=16", "schedule.staleness=1", "rollout.max_prompt=24",
                           "rollout.in_flight=3",  "rollout.samples=0",    "train.eval_every=3",
                           "train.keep=1",         "eval.problems=7",      "train.checkpoint_every=2",
                           "eval.samples=2",       "eval.temperature=1",   "train.recompute=true",
                           "eval.verifier=exact"};
    run_straight("keys-before", LONG, before, 2);
    run_straight("keys", 2, before, 2);
    run_straight("keys", LONG, after, 13);
    assert_same_file("keys-before", "keys", "model.gguf");
    char *text;
    size_t size;
    assert_ok(file_read(in_scratch("keys/config.yaml"), 1 << 20, &text, &size, &err));
    assert_non_null(strstr(text, "max_prompt: 24"));
    mem_free(text);
    struct run_config config = rl_config("keys", LONG, before, 2);
    assert_int_equal(run_once(&config, NULL, NULL), OPSM_INVALID);
    assert_non_null(strstr(err.text, "rollout.max_prompt is 24 there and 8 now, and it may only grow"));
    config_free(&config);
}

/* Adapters: the weights that were read stay, the checkpoint holds what is trained, and a run goes on from it as if it had
 * never stopped. */
static void adapters_go_on(void **state) {
    (void)state;
    const char *lora[] = {"train.lora.rank=4", "train.lora.alpha=8",   "objective.penalty.beta=0.01",
                          "optim.lr=1e-2",     "schedule.staleness=1", "train.keep=9"};
    run_straight("lora-straight", LONG, lora, 6);
    run_straight("lora", 2, lora, 6);
    run_straight("lora", LONG, lora, 6);
    assert_same_file("lora-straight", "lora", "model.gguf");
    assert_same_metrics("lora-straight", "lora");
    char *state_bin, *model;
    size_t size, whole;
    assert_ok(file_read(in_scratch("lora/checkpoint-20/state.bin"), 1 << 24, &state_bin, &size, &err));
    assert_ok(file_read(in_scratch("lora/model.gguf"), 1 << 24, &model, &whole, &err));
    assert_true(size < whole);
    mem_free(state_bin);
    mem_free(model);
    json_t *rows = read_metrics("lora"), *row;
    size_t i;
    bool moved = false;
    json_array_foreach(rows, i, row) {
        assert_false(number(row, "parity_gap_max") > 0);
        moved |= number(row, "kl_ref") > 0;
    }
    assert_true(moved);
    json_decref(rows);
    lora[0] = "train.lora.rank=5";
    struct run_config config = rl_config("lora", LONG, lora, 6);
    assert_int_equal(run_once(&config, NULL, NULL), OPSM_INVALID);
    assert_non_null(strstr(err.text, "train.lora.rank is 4 there and 5 now"));
    config_free(&config);
}

static void write_rows(const char *name, int changed, int n) {
    FILE *out = fopen(in_scratch(name), "w");
    assert_non_null(out);
    for (int i = 0; i < n; i++) {
        if (i == 3) fputs("\n", out);
        fprintf(out, "{\"p\": \"%d+%d=\", \"a\": %d}\n", i % 10, i / 10, i % 10 + i / 10 + (i == changed));
    }
    fclose(out);
}

/* Data that is not what the run began with is refused, by row and line; another name for it is not. */
static void changed_data_is_refused(void **state) {
    (void)state;
    char file[128], moved[128], model[128], copy[128], command[512];
    snprintf(file, sizeof file, "data.file=%s/rows.jsonl", scratch);
    snprintf(moved, sizeof moved, "data.file=%s/moved.jsonl", scratch);
    snprintf(model, sizeof model, "model=%s/moved.gguf", scratch);
    snprintf(copy, sizeof copy, "data.eval_file=%s/other.jsonl", scratch);
    const char *more[] = {"task.name=null", "task.difficulty=0", "data.prompt=p", "data.answer=a", file, model, copy};
    write_rows("rows.jsonl", -1, 60);
    write_rows("moved.jsonl", -1, 60);
    write_rows("other.jsonl", -1, 1);
    run_straight("data", 1, more, 5);
    snprintf(command, sizeof command, "cp %s/model.gguf %s/moved.gguf", base, scratch);
    assert_int_equal(system(command), 0);
    more[4] = moved;
    run_straight("data", 2, more, 6);

    struct {
        int changed, n;
        const char *sentence;
    } cases[] = {{16, 60, "line 18: row 17 differs"},
                 {0, 60, "line 1: row 1 differs"},
                 {-1, 61, "has 61 rows"},
                 {-1, 59, "has 59 rows"}};
    struct run_config config = rl_config("data", LONG, more, 6);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_rows("moved.jsonl", cases[i].changed, cases[i].n);
        assert_int_equal(run_once(&config, NULL, NULL), OPSM_INVALID);
        assert_non_null(strstr(err.text, cases[i].sentence));
    }
    /* On the way to that sentence every allocation in turn fails. */
    int failures = 0;
    opsm_status found = OPSM_NOMEM;
    for (int nth = 1; found == OPSM_NOMEM; nth++) {
        mem_fail_at(nth);
        found = run_once(&config, NULL, NULL);
        mem_fail_at(0);
        failures += found == OPSM_NOMEM;
    }
    assert_int_equal(found, OPSM_INVALID);
    assert_true(failures > 100);
    config_free(&config);
    write_rows("moved.jsonl", -1, 60);
    more[6] = "train.eval_every=0";
    config = rl_config("data", LONG, more, 7);
    assert_int_equal(run_once(&config, NULL, NULL), OPSM_INVALID); /* what was held out would be trained on */
    assert_non_null(strstr(err.text, "train.eval_every=0 trains on the held-out rows, too"));
    config_free(&config);
    more[6] = "train.eval_every=1";
    run_straight("data", 3, more, 7);
    more[6] = copy;
    config = rl_config("data", LONG, more, 7);
    assert_int_equal(run_once(&config, NULL, NULL), OPSM_INVALID); /* an eval file, where there was none */
    assert_non_null(strstr(err.text, "data.eval_file is null there and"));
    config_free(&config);

    /* Other weights, then the same with another name of the end token. */
    struct model *m;
    config = rl_config("data", LONG, more, 6);
    assert_ok(model_load(&m, config.model, DTYPE_F32, false, &err));
    m->params.values[0] += 1;
    assert_ok(model_save(m, config.model, QUANT_F32, &err));
    model_free(m);
    assert_int_equal(run_once(&config, NULL, NULL), OPSM_INVALID);
    assert_non_null(strstr(err.text, "the weights differ"));
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof command, "sed -i 's/<|endoftext|>/<|endoftexT|>/' %s", config.model);
    assert_int_equal(system(command), 0);
    assert_int_equal(run_once(&config, NULL, NULL), OPSM_INVALID);
    assert_non_null(strstr(err.text, "the tokenizer differs"));
    config_free(&config);
}

static void supervised_runs_resume_too(void **state) {
    (void)state;
    char out[128], *text;
    size_t size;
    const char *words[] = {out,
                           "precision=f32",
                           "task.name=modsum",
                           "task.difficulty=3",
                           "rollout.max_tokens=6",
                           "train.eval_every=1",
                           "eval.problems=8",
                           "train.checkpoint_every=1",
                           "sft.steps=130",
                           "sft.batch=4",
                           "sft.init.dim=16",
                           "sft.init.heads=2",
                           "sft.init.kv_heads=1",
                           "sft.init.ffn=32",
                           "sft.init.context=32"};
    int interruptions = 0;
    for (int interrupted = 0; interrupted < 2; interrupted++) {
        snprintf(out, sizeof out, "output=%s/sft-%d", scratch, interrupted);
        struct run_config config = configure(words, sizeof words / sizeof *words);
        struct recorder recorder = {0};
        struct sink sink = recorder_sink(&recorder);
        struct train_options options = {.interrupt = &interrupt_flag, .sink = &sink};
        opsm_status status = OPSM_INTERRUPTED;
        for (int i = 0; status == OPSM_INTERRUPTED && i < 100; i++) {
            atomic_store(&interrupt_flag, false);
            passes_left = interrupted ? 1 + 17 * (i % 4) : 0;
            status = sft_run(&config, &options, NULL, &err);
            recorder_close(&recorder);
            interruptions += status == OPSM_INTERRUPTED;
        }
        assert_ok(status);
        config_free(&config);
    }
    passes_left = 0;
    assert_true(interruptions >= 3);
    assert_same_file("sft-0", "sft-1", "model.gguf");
    assert_ok(file_read(in_scratch("sft-1/metrics.jsonl"), 1 << 20, &text, &size, &err));
    int lines = 0;
    for (size_t i = 0; i < size; i++) lines += text[i] == '\n';
    assert_int_equal(lines, 3 + 4); /* 50, 100, 130 steps; evaluated before, between and after */
    mem_free(text);
}

static void two_processes_do_not_share_a_directory(void **state) {
    (void)state;
    straight_reference();
    struct run_config config = rl_config("straight", LONG, STALE, N_STALE);
    FILE *other = fopen(in_scratch("straight/lock"), "r");
    assert_non_null(other);
    assert_int_equal(flock(fileno(other), LOCK_EX | LOCK_NB), 0);
    assert_int_equal(run_once(&config, NULL, NULL), OPSM_INVALID);
    assert_non_null(strstr(err.text, "another process"));
    fclose(other);
    assert_ok(run_once(&config, NULL, NULL));
    config_free(&config);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reward_rises_on_and_off_policy),
        cmocka_unit_test(the_queue_delays_by_staleness),
        cmocka_unit_test(rounded_weights_leave_a_gap),
        cmocka_unit_test(the_kept_guard_only_shrinks_steps),
        cmocka_unit_test(evaluations_leave_training_alone),
        cmocka_unit_test(evaluations_report_pass_at_k),
        cmocka_unit_test(iterations_count_drift_by_sign),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(more_iterations_go_on),
        cmocka_unit_test(interruptions_leave_no_trace),
        cmocka_unit_test(failing_writes_lose_nothing),
        cmocka_unit_test(running_out_of_memory_is_a_sentence),
        cmocka_unit_test(a_damaged_checkpoint_is_passed_over),
        cmocka_unit_test(only_damaged_checkpoints_are_a_sentence),
        cmocka_unit_test(some_keys_may_change),
        cmocka_unit_test(adapters_go_on),
        cmocka_unit_test(changed_data_is_refused),
        cmocka_unit_test(old_checkpoints_are_removed),
        cmocka_unit_test(another_configuration_is_refused),
        cmocka_unit_test(supervised_runs_resume_too),
        cmocka_unit_test(two_processes_do_not_share_a_directory),
    };
    return cmocka_run_group_tests(tests, make_base, remove_scratch);
}
