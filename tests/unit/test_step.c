/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/audit.h"
#include "base/mem.h"
#include "check.h"
#include "io/jsonl.h"
#include "rollout/generate.h"
#include "tiny.h"
#include "train/step.h"
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { PROMPTS = 6, GROUP = 4, N = PROMPTS * GROUP, MAX_PROMPT = 9, MAX_TOKENS = 10 };

static opsm_error err;

struct fixture {
    struct model *model;
    opsm_objective objective;
    struct batch batch;
    struct trainer trainer;
    int32_t ids[N];
};

static struct rollouts sample(const struct model *model, struct sampling sampling) {
    int64_t offset[PROMPTS + 1] = {0};
    int32_t tokens[PROMPTS * MAX_PROMPT];
    for (int32_t i = 0; i < PROMPTS; i++) {
        int32_t n = 2 + i % (MAX_PROMPT - 2);
        tiny_tokens(tokens + offset[i], n, (uint32_t)i);
        offset[i + 1] = offset[i] + n;
    }
    struct generate_request request = {.n_prompts = PROMPTS,
                                       .group = GROUP,
                                       .prompt_offset = offset,
                                       .prompt_tokens = tokens,
                                       .sampling = sampling,
                                       .max_tokens = MAX_TOKENS,
                                       .seed = 5};
    struct generator_limits limits = {N, MAX_PROMPT, MAX_TOKENS, N, true};
    struct generator *generator;
    struct rollouts rollouts = {0};
    assert_ok(generator_create(&generator, model, &limits, &err));
    assert_ok(generate(generator, &request, &rollouts, NULL, &err));
    generator_free(generator);
    return rollouts;
}

static void make_trainer(struct fixture *f, int32_t micro_batch, double lr) {
    struct optim_config optim = {.lr = lr, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .clip_norm = 1};
    struct trainer_limits limits = {micro_batch,
                                    micro_batch > MAX_PROMPT + MAX_TOKENS ? micro_batch : MAX_PROMPT + MAX_TOKENS, N,
                                    N * MAX_TOKENS, ACTIVATIONS_ALL};
    trainer_free(&f->trainer);
    assert_ok(trainer_create(&f->trainer, f->model, &f->objective, &optim, &limits, &err));
}

/* Groups 0, 2, 4 have advantages of both signs, group 1 of one sign with a zero, groups 3 and 5 none at all. */
static void setup_with(struct fixture *f, struct sampling sampling) {
    *f = (struct fixture){0};
    struct model_config config = tiny_config("llama");
    config.tied = false; /* a tied head of random weights repeats its input for ever */
    assert_ok(tiny_model(&f->model, &config, DTYPE_F32, true, 1, &err));
    assert_ok(tiny_randomise(f->model, 3, 1.0f, &err));
    opsm_objective_defaults(&f->objective);
    f->batch.rollouts = sample(f->model, sampling);
    assert_ok(batch_add_columns(&f->batch, false, &err));
    for (int32_t i = 0; i < N; i++) {
        int32_t group = i / GROUP, j = i % GROUP;
        float a = group % 2 == 0 ? (float)(j % 2 ? -0.5 - 0.1 * j : 0.75) : group == 1 ? (float)(0.25 * j) : 0.0f;
        f->batch.rollouts.advantage[i] = a;
        f->ids[i] = i;
    }
    make_trainer(f, 4096, 0);
}

static void setup(struct fixture *f) {
    setup_with(f, (struct sampling){1, 1, 0, 0});
}

static void teardown(struct fixture *f) {
    trainer_free(&f->trainer);
    batch_free(&f->batch);
    model_free(f->model);
}

/* Moves the weights, so that the batch is off-policy. */
static void drift_away(struct fixture *f, float amount) {
    for (int64_t i = 0; i < f->model->params.size; i++) {
        struct rng r = rng_make(9, RNG_TEST, (uint32_t)i, 4, 0);
        if (f->model->params.values[i] != 0) f->model->params.values[i] *= 1 + amount * (float)rng_normal(&r);
    }
    assert_ok(model_publish(f->model, &err));
}

static struct step_report step(struct fixture *f) {
    struct step_report report;
    assert_ok(train_step(&f->trainer, &f->batch, f->ids, N, 0, false, &report, &err));
    return report;
}

static void set(struct fixture *f, const char *key, const char *value) {
    assert_ok(opsm_objective_set(&f->objective, key, value, &err));
}

/* ---- what is right ---- */

static void gradient_matches_differences_of_the_loss(struct fixture *f) {
    struct step_report at = step(f);
    assert_int_equal(at.outcome, STEP_APPLIED); /* with learning rate 0: nothing moves */
    float *grads = mem_alloc((size_t)f->model->params.size, sizeof *grads);
    memcpy(grads, f->model->params.grads, (size_t)f->model->params.size * sizeof *grads);
    int checked = 0;
    for (int32_t i = 0; i < f->model->params.n_tensors; i++) {
        const struct parameter *t = &f->model->params.tensors[i];
        int64_t n = t->rows * t->cols;
        float *w = f->model->params.values + t->offset, *keep = mem_alloc((size_t)n, sizeof *keep);
        memcpy(keep, w, (size_t)n * sizeof *w);
        /* Along the gradient itself, where the slope is its norm: differences are least noisy there. */
        double norm = 0, loss[2], h = 5e-3;
        for (int64_t j = 0; j < n; j++) norm += (double)grads[t->offset + j] * (double)grads[t->offset + j];
        norm = sqrt(norm);
        for (int side = 0; side < 2; side++) {
            for (int64_t j = 0; j < n; j++)
                w[j] = keep[j] + (float)((side ? h : -h) * (double)grads[t->offset + j] / norm);
            assert_ok(model_publish(f->model, &err));
            loss[side] = step(f).metrics.loss;
        }
        memcpy(w, keep, (size_t)n * sizeof *w);
        if (norm > 1e-3) assert_near((loss[1] - loss[0]) / (2 * h), norm, 0.01 * norm + 2e-4);
        checked += norm > 1e-3;
        mem_free(keep);
    }
    assert_true(checked >= 10);
    assert_ok(model_publish(f->model, &err));
    mem_free(grads);
}

static void whole_step_gradients(void **state) {
    (void)state;
    const char *const surrogates[] = {"reinforce", "is", "sapo", "decoupled"};
    for (size_t i = 0; i < 4; i++) {
        struct fixture f;
        setup(&f);
        set(&f, "surrogate.name", surrogates[i]);
        set(&f, "mask.delta", "inf");
        if (i == 3) { /* with a penalty and the trainer's own view */
            set(&f, "penalty.beta", "0.5");
            set(&f, "penalty.estimator", "k3");
            size_t n = (size_t)rollouts_tokens(&f.batch.rollouts);
            f.batch.rollouts.logp_trainer = mem_alloc(n, sizeof(float));
            f.batch.rollouts.logp_reference = mem_alloc(n, sizeof(float));
            for (size_t t = 0; t < n; t++) {
                f.batch.rollouts.logp_trainer[t] = f.batch.rollouts.logp[t] - 0.01f;
                f.batch.rollouts.logp_reference[t] = f.batch.rollouts.logp[t] - 0.3f * (float)(t % 3);
            }
        }
        drift_away(&f, 0.02f);
        make_trainer(&f, 4096, 0);
        gradient_matches_differences_of_the_loss(&f);
        teardown(&f);
    }
}

/* Tokens of the environment: the first of every response, so that no prompt has a gradient of its own; more here and
 * there, and all of one response. */
static void add_environment(struct fixture *f) {
    struct rollouts *r = &f->batch.rollouts;
    assert_ok(rollouts_add(r, COLUMN_mask, &err));
    for (int32_t i = 0; i < N; i++)
        for (int64_t t = r->offset[i]; t < r->offset[i + 1]; t++)
            r->mask[t] = t > r->offset[i] && i != 2 && (t + i) % 4 != 0;
}

/* Log-probs where the model did not sample mean nothing. */
static int64_t set_others(struct fixture *f, float logp) {
    struct rollouts *r = &f->batch.rollouts;
    int64_t own = 0;
    for (int64_t t = 0; t < rollouts_tokens(r); t++) {
        own += r->mask[t];
        if (!r->mask[t]) r->logp[t] = logp;
    }
    return own;
}

static void what_the_environment_wrote_is_read_but_not_learnt(void **state) {
    (void)state;
    const char *const surrogates[] = {"is", "gspo"};
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        setup(&f);
        set(&f, "surrogate.name", surrogates[i]);
        set(&f, "mask.delta", "inf");
        set(&f, "surrogate.clip_high", "100");
        set(&f, "surrogate.clip_low", "0.99");
        add_environment(&f);
        int64_t own = set_others(&f, NAN);
        struct step_report on_policy = step(&f);
        assert_true(on_policy.parity_max == 0 && on_policy.parity_mean == 0);
        for (int64_t t = 0; t < f.trainer.mb.rollouts.offset[N]; t++)
            assert_true(f.trainer.mb.mask[t] || isnan(f.trainer.mb.current[t])); /* the head was not asked */
        drift_away(&f, 0.02f);
        make_trainer(&f, 4096, 0);
        set_others(&f, -1);
        struct step_report before = step(&f);
        assert_int_equal(before.metrics.tokens, own);
        set_others(&f, NAN);
        struct step_report after = step(&f);
        assert_true(after.metrics.drift_negative_mean == before.metrics.drift_negative_mean);
        assert_true(after.metrics.loss == before.metrics.loss && after.grad_norm == before.grad_norm);
        assert_int_equal(f.trainer.mb.records[2].reason, OPSM_REASON_EMPTY);
        gradient_matches_differences_of_the_loss(&f);
        teardown(&f);
    }
}

/* Leaves the sequences `ids` of a batch, so that its groups have as many members as are named, some none. */
static void keep_some(struct rollouts *r, const int32_t *ids, int32_t n) {
    struct rollout_sizes sizes = rollouts_sizes(r);
    sizes.n_sequences = n;
    sizes.tokens = 0;
    for (int32_t i = 0; i < n; i++) sizes.tokens += r->offset[ids[i] + 1] - r->offset[ids[i]];
    struct rollouts some;
    assert_ok(rollouts_allocate(&some, &sizes, &err));
    some.inv_temperature = r->inv_temperature;
    memcpy(some.prompt_offset, r->prompt_offset, ((size_t)sizes.n_prompts + 1) * sizeof *r->prompt_offset);
    memcpy(some.prompt_tokens, r->prompt_tokens, (size_t)sizes.prompt_tokens * sizeof *r->prompt_tokens);
    some.offset[0] = 0;
    for (int32_t i = 0; i < n; i++) some.offset[i + 1] = some.offset[i] + r->offset[ids[i] + 1] - r->offset[ids[i]];
    for (int id = 0; id < COLUMN_COUNT; id++) {
        const struct column *c = &rollout_columns[id];
        const char *from = rollouts_column(r, id);
        bool token = c->shape == PER_TOKEN;
        if (!from || (!token && c->shape != PER_SEQUENCE)) continue;
        assert_ok(rollouts_add(&some, id, &err));
        char *to = rollouts_column(&some, id);
        for (int32_t i = 0; i < n; i++) {
            int64_t first = token ? r->offset[ids[i]] : ids[i], at = token ? some.offset[i] : i;
            int64_t length = token ? some.offset[i + 1] - at : 1;
            memcpy(to + (size_t)at * c->size, from + (size_t)first * c->size, (size_t)length * c->size);
        }
    }
    rollouts_free(r);
    *r = some;
}

/* Groups of 1, 4, 0, 2, 3 and 1: every response is still read behind its own prompt. */
static void groups_may_be_of_any_size(void **state) {
    (void)state;
    static const int32_t ids[] = {1, 4, 5, 6, 7, 12, 15, 16, 17, 19, 23};
    struct fixture f;
    setup(&f);
    set(&f, "surrogate.name", "is");
    set(&f, "mask.delta", "inf");
    int32_t n = sizeof ids / sizeof *ids;
    keep_some(&f.batch.rollouts, ids, n);
    struct step_report report;
    for (int32_t micro_batch = 16; micro_batch < 300; micro_batch *= 3) {
        make_trainer(&f, micro_batch, 0);
        f.model->version = f.batch.rollouts.version[0];
        assert_ok(train_step(&f.trainer, &f.batch, f.ids, n, 0, true, &report, &err));
        assert_true(report.parity_max == 0 && report.parity_mean == 0);
        assert_int_equal(report.metrics.groups, 5);
        assert_int_equal(report.metrics.sequences, n);
    }
    teardown(&f);
}

static void truncated_sampling_is_replayed(void **state) {
    (void)state;
    struct fixture f;
    setup_with(&f, (struct sampling){0.8, 0.9, 0, 0});
    set(&f, "surrogate.name", "is");
    make_trainer(&f, 64, 0);
    struct step_report on_policy = step(&f);
    assert_true(on_policy.parity_max == 0 && on_policy.parity_mean == 0);
    assert_true(on_policy.metrics.drift_negative_mean == 0);
    drift_away(&f, 0.01f);
    set(&f, "mask.delta", "inf");
    make_trainer(&f, 4096, 0);
    gradient_matches_differences_of_the_loss(&f);
    teardown(&f);
}

static void sampler_and_trainer_agree_at_equal_weights(void **state) {
    (void)state;
    struct fixture f;
    setup(&f);
    for (int32_t micro_batch = 24; micro_batch < 300; micro_batch *= 2) {
        make_trainer(&f, micro_batch, 0);
        f.model->version = 1; /* a step with learning rate 0 counts as a new version too */
        for (int32_t i = 0; i < N; i++) f.batch.rollouts.version[i] = 1;
        struct step_report report = step(&f);
        assert_true(report.parity_max == 0 && report.parity_mean == 0);
        assert_true(report.metrics.drift_negative_p99 == 0 && report.metrics.ess == 1);
    }
    f.model->version = 1;
    float first = f.batch.rollouts.logp[0];
    f.batch.rollouts.logp[0] = NAN;
    struct step_report broken = step(&f);
    assert_true(isnan(broken.parity_max) && isnan(broken.parity_mean));
    f.batch.rollouts.logp[0] = first;
    drift_away(&f, 0.01f);
    struct step_report later = step(&f);
    assert_true(later.parity_max == -1); /* other weights: there is no gap to speak of */
    assert_true(later.metrics.lag_max >= 1);
    teardown(&f);
}

static void micro_batches_change_nothing_but_rounding(void **state) {
    (void)state;
    struct fixture f;
    setup(&f);
    set(&f, "surrogate.name", "is");
    set(&f, "mask.delta", "0.001");
    drift_away(&f, 0.03f);
    make_trainer(&f, 4096, 0);
    uint64_t version = f.model->version;
    struct step_report whole = step(&f);
    assert_true(whole.metrics.dropped > 0);
    size_t n = (size_t)f.model->params.size;
    float *grads = mem_alloc(n, sizeof *grads);
    memcpy(grads, f.model->params.grads, n * sizeof *grads);
    for (int32_t micro_batch = 16; micro_batch < 200; micro_batch += 37) {
        make_trainer(&f, micro_batch, 0);
        f.model->version = version; /* a step with learning rate 0 counts as a new version too */
        struct step_report cut = step(&f);
        assert_memory_equal(&cut.metrics, &whole.metrics, sizeof cut.metrics); /* losses, drifts: to the bit */
        double difference = 0, norm = 0;
        for (size_t i = 0; i < n; i++) {
            difference += pow((double)f.model->params.grads[i] - (double)grads[i], 2);
            norm += pow((double)grads[i], 2);
        }
        assert_true(sqrt(difference / norm) < 1e-5);
    }
    mem_free(grads);
    teardown(&f);
}

/* ---- what is not computed ---- */

static int64_t rows_of(const struct fixture *f, bool (*wanted)(const struct fixture *, int32_t)) {
    const struct rollouts *r = &f->batch.rollouts;
    int64_t rows = 0;
    for (int32_t g = 0, last = -1; g < PROMPTS; g++)
        for (int32_t i = g * GROUP; i < (g + 1) * GROUP; i++) {
            if (!wanted(f, i)) continue;
            if (last != g) rows += r->prompt_offset[g + 1] - r->prompt_offset[g];
            last = g;
            rows += r->offset[i + 1] - r->offset[i] - 1;
        }
    return rows;
}

static bool has_advantage(const struct fixture *f, int32_t i) {
    return f->batch.rollouts.advantage[i] != 0;
}
static bool is_positive(const struct fixture *f, int32_t i) {
    return f->batch.rollouts.advantage[i] > 0;
}
static bool anything(const struct fixture *f, int32_t i) {
    return f->batch.rollouts.advantage[i] == f->batch.rollouts.advantage[i];
}

static int32_t count_of(const struct fixture *f, bool (*wanted)(const struct fixture *, int32_t)) {
    int32_t n = 0;
    for (int32_t i = 0; i < N; i++) n += wanted(f, i);
    return n;
}

/* Responses that were cut off: what they are worth changes no gradient, and they cost nothing; in the denominators by
 * sequences they count. */
static void masked_truncated_responses_take_no_part(void **state) {
    (void)state;
    struct fixture f;
    setup(&f);
    set(&f, "surrogate.name", "reinforce");
    set(&f, "mask.rule", "none");
    int32_t cut = 0;
    for (int32_t i = 0; i < N; i++) cut += f.batch.rollouts.finish[i] = i % 3 ? FINISH_END : FINISH_LENGTH;
    assert_int_equal(FINISH_LENGTH * (N / 3), cut);
    size_t size = (size_t)f.model->params.size * sizeof(float);
    float *with = mem_alloc(1, size), *masked = mem_alloc(1, size);
    make_trainer(&f, 4096, 0);
    struct step_report all = step(&f);
    memcpy(with, f.model->params.grads, size);
    f.batch.mask_truncated = true;
    struct step_report report = step(&f);
    memcpy(masked, f.model->params.grads, size);
    assert_true(memcmp(with, masked, size) != 0);
    assert_true(report.sequences_forward < all.sequences_forward);
    assert_int_equal(report.metrics.sequences, N);
    for (int32_t i = 0; i < N; i++) {
        bool in_loss = i % 3 != 0;
        assert_int_equal(f.trainer.mb.records[i].tokens > 0, in_loss);
        if (in_loss) continue;
        assert_int_equal(f.trainer.mb.records[i].needs_backward, 0);
        f.batch.rollouts.advantage[i] = 17;
    }
    step(&f);
    assert_memory_equal(f.model->params.grads, masked, size);
    /* the same as having no advantage at all: the mean is over all sequences */
    f.batch.mask_truncated = false;
    for (int32_t i = 0; i < N; i += 3) f.batch.rollouts.advantage[i] = 0;
    step(&f);
    for (int64_t i = 0; i < f.model->params.size; i++) assert_near(f.model->params.grads[i], masked[i], 1e-6);
    mem_free(with);
    mem_free(masked);
    teardown(&f);
}

static void masked_and_signalless_sequences_cost_no_work(void **state) {
    (void)state;
    struct fixture f;
    setup(&f);
    set(&f, "surrogate.name", "reinforce");
    set(&f, "mask.rule", "none");
    make_trainer(&f, 4096, 0);
    struct step_report all = step(&f);
    assert_int_equal(all.sequences_forward, count_of(&f, has_advantage));
    assert_int_equal(all.sequences_backward, count_of(&f, has_advantage));
    assert_int_equal(all.tokens_forward, rows_of(&f, has_advantage));
    assert_int_equal(all.tokens_backward, rows_of(&f, has_advantage));
    assert_true(all.reused);

    set(&f, "mask.rule", "negatives"); /* forward for those with an advantage, again and backward for the positives */
    struct step_report masked = step(&f);
    assert_false(masked.reused);
    assert_int_equal(masked.sequences_backward, count_of(&f, is_positive));
    assert_int_equal(masked.tokens_forward, rows_of(&f, has_advantage) + rows_of(&f, is_positive));
    assert_int_equal(masked.tokens_backward, rows_of(&f, is_positive));
    assert_true(masked.tokens_backward < all.tokens_backward);
    assert_int_equal(masked.metrics.sequences, N); /* they all count in the denominators */

    set(&f, "penalty.beta", "0.1"); /* a penalty needs everything */
    f.batch.rollouts.logp_reference = mem_alloc((size_t)rollouts_tokens(&f.batch.rollouts), sizeof(float));
    for (int64_t t = 0; t < rollouts_tokens(&f.batch.rollouts); t++)
        f.batch.rollouts.logp_reference[t] = f.batch.rollouts.logp[t] - 0.5f;
    struct step_report penalised = step(&f);
    assert_int_equal(penalised.sequences_forward, N);
    assert_int_equal(penalised.sequences_backward, N);
    assert_int_equal(penalised.tokens_backward, rows_of(&f, anything));
    teardown(&f);
}

static void a_step_without_gradient_is_skipped_not_applied(void **state) {
    (void)state;
    struct fixture f;
    setup(&f);
    set(&f, "mask.rule", "negatives");
    make_trainer(&f, 4096, 0.1);
    for (int32_t i = 0; i < N; i++)
        if (f.batch.rollouts.advantage[i] > 0) f.batch.rollouts.advantage[i] = -f.batch.rollouts.advantage[i];
    size_t size = (size_t)f.model->params.size * sizeof(float);
    float *before = mem_alloc(size, 1);
    memcpy(before, f.model->params.values, size);
    uint64_t version = f.model->version;
    struct step_report report = step(&f);
    assert_int_equal(report.outcome, STEP_NOTHING);
    assert_int_equal(report.tokens_backward, 0);
    assert_true(isnan(report.grad_norm));
    assert_int_equal(f.model->params.updates, 0);
    assert_int_equal(f.model->version, version);
    assert_memory_equal(before, f.model->params.values, size);
    mem_free(before);
    teardown(&f);
}

/* One weight in the middle of the model is broken. */
static void logprobs_that_are_not_finite_never_reach_the_weights(void **state) {
    (void)state;
    struct fixture f;
    setup(&f);
    make_trainer(&f, 4096, 0.1);
    f.model->params.values[f.model->layers[1].down->weight] = NAN;
    assert_ok(model_publish(f.model, &err));
    size_t size = (size_t)f.model->params.size * sizeof(float);
    float *before = mem_alloc(size, 1);
    memcpy(before, f.model->params.values, size);
    struct step_report report = step(&f);
    assert_int_equal(report.outcome, STEP_NONFINITE);
    assert_int_equal(f.model->params.nonfinite, 1);
    assert_int_equal(f.model->params.updates, 0);
    assert_int_equal(report.tokens_backward, 0);
    assert_memory_equal(before, f.model->params.values, size);
    mem_free(before);
    teardown(&f);
}

static void an_applied_step_lowers_the_loss(void **state) {
    (void)state;
    struct fixture f;
    setup(&f);
    set(&f, "surrogate.name", "is");
    make_trainer(&f, 64, 1e-3);
    struct step_report first = step(&f), last = first;
    for (int i = 0; i < 5; i++) last = step(&f);
    assert_int_equal(last.outcome, STEP_APPLIED);
    assert_true(last.metrics.loss < first.metrics.loss - 0.01);
    assert_int_equal(f.model->params.updates, 6);
    assert_true(last.metrics.lag_max == 5);
    teardown(&f);
}

/* ---- what is recorded ---- */

static json_t *audit_of(const struct fixture *f, const char *path) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    struct audit_options options = {.config = f->objective, .path = path, .name = path, .json = true};
    assert_ok(audit_run(&options, out, &err));
    assert_int_equal(fclose(out), 0);
    json_t *found = json_loads(text, 0, NULL);
    free(text);
    assert_non_null(found);
    return found;
}

/* The dump of a batch audited: the same sequences dropped, for the same reason, at the same drift. */
static void an_audit_of_the_dump_finds_what_the_step_did(void **state) {
    (void)state;
    char path[] = "opsm-test-step-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && close(fd) == 0);
    for (int kind = 0; kind < 4; kind++) {
        struct fixture f;
        setup(&f);
        set(&f, "mask.delta", "0.005");
        if (kind & 1) add_environment(&f);
        f.batch.mask_truncated = kind & 2;
        for (int32_t i = 0; i < N; i++) f.batch.rollouts.finish[i] = i % 5 ? FINISH_END : FINISH_LENGTH;
        assert_ok(batch_add_columns(&f.batch, true, &err));
        drift_away(&f, 0.03f);
        make_trainer(&f, 4096, 0);
        struct step_report report = step(&f);
        assert_true(report.metrics.dropped_negatives > 0 && report.metrics.dropped_negatives < 1);
        assert_ok(batch_dump(&f.batch, path, &err));
        json_t *audit = audit_of(&f, path), *rows = json_object_get(audit, "sequences");
        assert_int_equal(json_array_size(rows), N);
        for (int32_t i = 0; i < N; i++) {
            const json_t *row = json_array_get(rows, (size_t)i);
            const opsm_sequence *record = &f.trainer.mb.records[i];
            bool cut = record->reason == OPSM_REASON_TRUNCATED; /* the file has its mask, not the policy behind it */
            assert_int_equal(json_is_true(json_object_get(row, "keep")), record->keep);
            assert_string_equal(json_string_value(json_object_get(row, "reason")),
                                opsm_reason_name(cut ? OPSM_REASON_EMPTY : (opsm_reason)record->reason));
            assert_int_equal(json_integer_value(json_object_get(row, "tokens")), record->tokens);
            const json_t *drift = json_object_get(row, "drift");
            assert_int_equal(json_is_null(drift), isnan(record->drift));
            if (!isnan(record->drift)) assert_true(json_number_value(drift) == record->drift);
        }
        json_decref(audit);
        teardown(&f);
    }
    assert_int_equal(unlink(path), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_step_gradients),
        cmocka_unit_test(what_the_environment_wrote_is_read_but_not_learnt),
        cmocka_unit_test(groups_may_be_of_any_size),
        cmocka_unit_test(truncated_sampling_is_replayed),
        cmocka_unit_test(sampler_and_trainer_agree_at_equal_weights),
        cmocka_unit_test(micro_batches_change_nothing_but_rounding),
        cmocka_unit_test(masked_truncated_responses_take_no_part),
        cmocka_unit_test(masked_and_signalless_sequences_cost_no_work),
        cmocka_unit_test(a_step_without_gradient_is_skipped_not_applied),
        cmocka_unit_test(logprobs_that_are_not_finite_never_reach_the_weights),
        cmocka_unit_test(an_applied_step_lowers_the_loss),
        cmocka_unit_test(an_audit_of_the_dump_finds_what_the_step_did),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
