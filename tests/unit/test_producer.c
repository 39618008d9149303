/* SPDX-License-Identifier: Apache-2.0
 *
 * From problems to a judged batch, with the embedded model; and what becomes of responses that could not be judged.
 */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "check.h"
#include "train/evaluate.h"
#include "train/judge.h"
#include "train/minibatch.h"
#include "train/producer.h"
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROMPTS = 4, GROUP = 6, N = PROMPTS * GROUP };

static opsm_error err;
static char rows[] = "/tmp/opsm-producer-XXXXXX";
static struct run_config config;
static struct model *model;
static struct generator *generator;
static struct problems training, held_out;
static atomic_bool interrupt;
static bool said;

/* What cannot be judged: bit i stands for the ith of the batch. The linker puts this in the place of the library's
 * (tests/CMakeLists.txt). */
static uint64_t refused;

void __real_reward_judge(const struct reward *reward, const struct reward_item *items, int64_t n,
                         struct verdict *verdicts);
void __wrap_reward_judge(const struct reward *reward, const struct reward_item *items, int64_t n,
                         struct verdict *verdicts);

void __wrap_reward_judge(const struct reward *reward, const struct reward_item *items, int64_t n,
                         struct verdict *verdicts) {
    __real_reward_judge(reward, items, n, verdicts);
    for (int64_t i = 0; i < n; i++) {
        if (!(refused >> i & 1)) continue;
        verdicts[i].reward = (double)NAN; /* as where the second of two verifiers has no verdict */
        opsm_fail(&verdicts[i].unjudged, OPSM_IO, "nobody answers for %d", (int)i);
    }
}

/* Every problem is the same question. */
static int open_all(void **state) {
    (void)state;
    int fd = mkstemp(rows);
    static const char row[] =
        "{\"p\":\"531017292955601067731416=\",\"a\":\"589907980949556629690451\"}\n"; /* sums of the digits so far */
    for (int i = 0; i < PROMPTS; i++)
        if (write(fd, row, sizeof row - 1) != sizeof row - 1) return 1;
    close(fd);
    char file[64];
    snprintf(file, sizeof file, "data.file=%s", rows);
    const char *words[] = {file,
                           "model=" OPSM_SOURCE_DIR "/models/tiny.gguf",
                           "precision=f32",
                           "data.prompt=p",
                           "data.answer=a",
                           "rollout.prompts=4",
                           "rollout.group=6",
                           "rollout.max_tokens=28",
                           "rollout.max_prompt=32",
                           "rollout.in_flight=5",
                           "rollout.save=true",
                           "schedule.minibatches=2",
                           "train.eval_every=0"};
    config_defaults(&config);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) assert_ok(config_override(&config, words[i], &err));
    assert_ok(model_load(&model, config.model, DTYPE_F32, false, &err));
    assert_ok(problems_open(&training, &config, model, PROBLEMS_TRAIN, 32, &err));
    assert_ok(problems_open(&held_out, &config, model, PROBLEMS_WHOLE_FILE, 32, &err));
    struct generator_limits limits = {.in_flight = 5, .max_prompt = 32, .max_tokens = 28, .sequences = N};
    assert_ok(generator_create(&generator, model, &limits, &err));
    return 0;
}

static int close_all(void **state) {
    (void)state;
    generator_free(generator);
    problems_close(&training);
    problems_close(&held_out);
    model_free(model);
    config_free(&config);
    return unlink(rows);
}

static int start(void **state) {
    (void)state;
    refused = 0;
    said = false;
    atomic_store(&interrupt, false);
    err = (opsm_error){0};
    return 0;
}

static struct producer producer_of(void) {
    return (struct producer){.config = &config,
                             .problems = &training,
                             .model = model,
                             .generator = generator,
                             .sampling = {.temperature = 1, .top_p = 1},
                             .max_prompt = 32,
                             .interrupt = &interrupt,
                             .said_unjudged = &said};
}

static struct batch make(int64_t index) {
    struct producer producer = producer_of();
    struct batch batch;
    assert_ok(producer_open(&producer, &err));
    assert_ok(producer_make(&producer, index, &batch, &err));
    producer_close(&producer);
    return batch;
}

static void assert_same_tokens(const struct rollouts *a, const struct rollouts *b, bool same) {
    bool equal = rollouts_tokens(a) == rollouts_tokens(b) &&
                 !memcmp(a->tokens, b->tokens, (size_t)rollouts_tokens(a) * sizeof *a->tokens);
    assert_int_equal(equal, same);
}

static void a_batch_carries_its_statistics(void **state) {
    (void)state;
    struct batch batch = make(3), again = make(3), other = make(4);
    const struct rollouts *r = &batch.rollouts;
    assert_int_equal(batch.index, 3);
    assert_int_equal(r->n_sequences, N);
    assert_null(r->unjudged);
    assert_same_tokens(r, &again.rollouts, true);
    assert_same_tokens(r, &other.rollouts, false);
    double reward = 0, finished = 0;
    int64_t silent = 0;
    for (int g = 0; g < PROMPTS; g++) {
        double mean = 0;
        bool equal = true;
        for (int i = g * GROUP; i < (g + 1) * GROUP; i++) {
            mean += (double)r->reward[i] / GROUP;
            equal = equal && r->reward[i] == r->reward[(ptrdiff_t)g * GROUP];
            finished += r->finish[i] != FINISH_LENGTH;
        }
        for (int i = g * GROUP; i < (g + 1) * GROUP; i++)
            assert_near((double)r->advantage[i], (double)r->reward[i] - mean, 1e-6);
        reward += mean / PROMPTS;
        silent += equal;
    }
    assert_near(batch.stats.reward_mean, reward, 1e-12);
    assert_near(batch.stats.scores[0], reward, 1e-12); /* one verifier */
    assert_near(batch.stats.finished, finished / N, 1e-12);
    assert_int_equal(batch.stats.tokens, rollouts_tokens(r));
    assert_near(batch.stats.length_mean, (double)rollouts_tokens(r) / N, 1e-12);
    assert_int_equal(batch.stats.zero_groups, silent);
    assert_int_equal(batch.stats.unjudged, 0);
    assert_true(batch.stats.seconds_rollout > 0 && batch.stats.seconds_reward > 0);
    batch_free(&batch);
    batch_free(&again);
    batch_free(&other);
}

static void an_interrupted_batch_leaves_no_trace(void **state) {
    (void)state;
    struct producer producer = producer_of();
    struct batch batch;
    atomic_store(&interrupt, true);
    assert_int_equal(producer_make(&producer, 3, &batch, &err), OPSM_INTERRUPTED);
    assert_null(batch.rollouts.tokens);
    assert_int_equal(batch.rollouts.n_sequences, 0);
}

/* The second group has no verdict at all, the first and the third lack two. */
static const uint64_t SOME = (uint64_t)0x3f << GROUP | 1 | 4 | (uint64_t)3 << 2 * GROUP;

static void without_a_verdict_no_member_of_the_group(void **state) {
    (void)state;
    struct batch all = make(0);
    refused = SOME;
    struct batch batch = make(0);
    const struct rollouts *r = &batch.rollouts;
    assert_same_tokens(r, &all.rollouts, true);
    double reward = 0;
    for (int g = 0; g < PROMPTS; g++) {
        double mean = 0, n = 0;
        for (int i = g * GROUP; i < (g + 1) * GROUP; i++) {
            bool judged = !(SOME >> i & 1);
            assert_int_equal(batch_judged(&batch, i), judged);
            assert_true(judged ? r->reward[i] == all.rollouts.reward[i] : isnan(r->reward[i]));
            if (judged) mean += (double)r->reward[i];
            n += judged;
        }
        reward += mean;
        for (int i = g * GROUP; i < (g + 1) * GROUP; i++)
            assert_near((double)r->advantage[i], batch_judged(&batch, i) ? (double)r->reward[i] - mean / n : 0, 1e-6);
    }
    assert_int_equal(batch.stats.unjudged, 10);
    assert_near(batch.stats.reward_mean, reward / (N - 10), 1e-12);
    assert_near(batch.stats.scores[0], reward / (N - 10), 1e-12);
    assert_int_equal(batch.stats.tokens, all.stats.tokens);

    /* No step sees them, whether groups are dealt out or sequences. */
    for (int count = 2; count <= 8; count += 6) {
        int32_t ids[N], begin[9], scratch[N], seen[N] = {0};
        minibatch_cut(&batch, 1, 0, count, ids, begin, scratch);
        assert_int_equal(begin[count], N - 10);
        for (int i = 0; i < begin[count]; i++) seen[ids[i]]++;
        for (int i = 0; i < N; i++) assert_int_equal(seen[i], batch_judged(&batch, i));
    }
    char path[64];
    int lines = 0;
    snprintf(path, sizeof path, "%s.dump", rows);
    assert_ok(batch_dump(&batch, path, &err));
    FILE *dump = fopen(path, "r");
    assert_non_null(dump);
    for (json_t *row; (row = json_loadf(dump, JSON_DISABLE_EOF_CHECK, NULL)); json_decref(row), lines++)
        assert_true(json_is_number(json_object_get(row, "reward")));
    fclose(dump);
    assert_int_equal(lines, N - 10);
    unlink(path);
    batch_free(&all);
    batch_free(&batch);
}

static char warnings[1000];

static void keep_warning(enum log_level level, const char *line, void *user) {
    (void)user;
    if (level == LOG_WARN) strncat(warnings, line, sizeof warnings - strlen(warnings) - 1);
}

static void some_are_a_warning_and_all_are_a_failure(void **state) {
    (void)state;
    struct producer producer = producer_of();
    struct batch batch;
    refused = SOME;
    log_install(keep_warning, NULL);
    for (int i = 0; i < 2; i++) {
        assert_ok(producer_make(&producer, i, &batch, &err));
        batch_free(&batch);
    }
    log_install(NULL, NULL);
    assert_string_equal(warnings,
                        "10 of 24 responses could not be judged and are set aside; the first: nobody answers for 0");
    refused = ~(uint64_t)0;
    assert_int_equal(producer_make(&producer, 0, &batch, &err), OPSM_IO);
    assert_string_equal(err.text, "none of 24 responses could be judged: nobody answers for 0");
    assert_null(batch.rollouts.tokens);
}

/* ---- evaluation ---- */

static float eval_rewards[N];
static struct rollouts eval_rollouts;

static opsm_status look(void *viewer, const struct asked *asked, const struct rollouts *r, const float *rewards,
                        const float *scores, int32_t n_scores, opsm_error *error) {
    (void)viewer, (void)asked, (void)scores, (void)n_scores;
    memcpy(eval_rewards, rewards, sizeof eval_rewards);
    struct rollout_sizes sizes = rollouts_sizes(r);
    opsm_status status = rollouts_allocate(&eval_rollouts, &sizes, error);
    if (status != OPSM_OK) return status;
    memcpy(eval_rollouts.offset, r->offset, ((size_t)r->n_sequences + 1) * sizeof *r->offset);
    memcpy(eval_rollouts.tokens, r->tokens, (size_t)rollouts_tokens(r) * sizeof *r->tokens);
    return OPSM_OK;
}

static opsm_status evaluate_all(struct evaluation *e) {
    struct evaluate_request request = {.split = DATA_EVAL,
                                       .problems = PROMPTS,
                                       .samples = GROUP,
                                       .sampling = {.temperature = 1, .top_p = 1},
                                       .max_prompt = 32,
                                       .max_tokens = 28,
                                       .seed = config.seed,
                                       .said_unjudged = &said,
                                       .show = look};
    rollouts_free(&eval_rollouts);
    return evaluate(generator, N, &held_out, &request, e, &err);
}

/* The same weights, questions and seed: with random numbers of its own an evaluation hears other answers than the first
 * batch of a run does. */
static void evaluations_have_random_numbers_of_their_own(void **state) {
    (void)state;
    struct batch batch = make(0);
    struct evaluation e;
    assert_ok(evaluate_all(&e));
    assert_same_tokens(&batch.rollouts, &eval_rollouts, false);
    evaluation_free(&e);
    batch_free(&batch);
}

static void without_a_verdict_neither_right_nor_wrong(void **state) {
    (void)state;
    struct evaluation all, e;
    assert_ok(evaluate_all(&all));
    assert_int_equal(all.unjudged, 0);
    float before[N];
    memcpy(before, eval_rewards, sizeof before);
    /* Of the first problem the first sample that was right: another in the same words is not a repetition now. */
    int first = 0;
    while (first < GROUP && !(before[first] >= 1)) first++;
    assert_true(first < GROUP - 1);
    refused = (SOME & ~(uint64_t)0x3f) | (uint64_t)1 << first;
    assert_ok(evaluate_all(&e));
    assert_int_equal(e.unjudged, 9);
    double rate = 0, reward = 0, solved = 0;
    for (int g = 0; g < PROMPTS; g++) {
        double right = 0, n = 0;
        for (int i = g * GROUP; i < (g + 1) * GROUP; i++) {
            if (refused >> i & 1) {
                assert_true(isnan(eval_rewards[i]));
                continue;
            }
            right += before[i] >= 1;
            reward += (double)before[i];
            n++;
        }
        assert_int_equal(e.judged[g], n);
        assert_int_equal(e.right[g], right);
        solved += right > 0;
        if (n > 0) rate += right / n / (PROMPTS - 1); /* the second problem does not count */
    }
    assert_near(e.accuracy.estimate, rate, 1e-12);
    assert_near(e.reward_mean, reward / (N - 9), 1e-12);
    assert_near(e.distinct, solved / PROMPTS, 1e-12); /* there is one right answer */
    assert_true(e.finished == all.finished && e.length_mean == all.length_mean);
    assert_near(e.pass_at_k.estimate, e.right[3] > 0, 1e-12); /* of the problem that has all its samples */
    evaluation_free(&all);
    evaluation_free(&e);
    refused = ~(uint64_t)0;
    assert_int_equal(evaluate_all(&e), OPSM_IO);
    assert_non_null(strstr(err.text, "none of 24 responses could be judged: nobody answers for 0"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_batch_carries_its_statistics, start),
        cmocka_unit_test_setup(an_interrupted_batch_leaves_no_trace, start),
        cmocka_unit_test_setup(without_a_verdict_no_member_of_the_group, start),
        cmocka_unit_test_setup(some_are_a_warning_and_all_are_a_failure, start),
        cmocka_unit_test_setup(evaluations_have_random_numbers_of_their_own, start),
        cmocka_unit_test_setup(without_a_verdict_neither_right_nor_wrong, start),
    };
    int failed = cmocka_run_group_tests(tests, open_all, close_all);
    rollouts_free(&eval_rollouts);
    return failed;
}
