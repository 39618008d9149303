/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "base/threads.h"
#include "check.h"
#include "model/lm_head.h"
#include "rollout/generate.h"
#include "tiny.h"
#include <math.h>

enum { PROMPTS = 7, GROUP = 5, MAX_PROMPT = 12, MAX_TOKENS = 24, SEQUENCES = PROMPTS * GROUP };

static opsm_error err;
static int64_t prompt_offset[PROMPTS + 1];
static int32_t prompt_tokens[PROMPTS * MAX_PROMPT];

static struct model *make_model(enum dtype precision) {
    struct model_config config = tiny_config("llama");
    config.tied = false; /* a tied head of random weights repeats its input for ever */
    struct model *model;
    assert_ok(tiny_model(&model, &config, precision, true, 1, &err));
    assert_ok(tiny_randomise(model, 3, 1.5f, &err));
    return model;
}

static void make_prompts(void) {
    for (int32_t i = 0; i < PROMPTS; i++) {
        int32_t n = 1 + (i * 5) % MAX_PROMPT;
        tiny_tokens(prompt_tokens + prompt_offset[i], n, (uint32_t)i);
        prompt_offset[i + 1] = prompt_offset[i] + n;
    }
}

static struct generate_request make_request(struct sampling sampling) {
    make_prompts();
    return (struct generate_request){.n_prompts = PROMPTS,
                                     .group = GROUP,
                                     .prompt_offset = prompt_offset,
                                     .prompt_tokens = prompt_tokens,
                                     .sampling = sampling,
                                     .max_tokens = MAX_TOKENS,
                                     .seed = 11,
                                     .iteration = 2};
}

static struct rollouts run(const struct model *model, const struct generate_request *request, int32_t in_flight) {
    struct generator_limits limits = {in_flight, MAX_PROMPT, MAX_TOKENS, SEQUENCES, true};
    struct generator *generator;
    struct rollouts rollouts = {0};
    assert_ok(generator_create(&generator, model, &limits, &err));
    assert_ok(generate(generator, request, &rollouts, NULL, &err));
    assert_ok(generate(generator, request, &rollouts, NULL, &err)); /* a second call starts anew */
    generator_free(generator);
    return rollouts;
}

static void assert_same(const struct rollouts *a, const struct rollouts *b) {
    assert_int_equal(a->n_sequences, b->n_sequences);
    size_t n = (size_t)a->n_sequences, tokens = (size_t)rollouts_tokens(a);
    assert_memory_equal(a->offset, b->offset, (n + 1) * sizeof *a->offset);
    assert_memory_equal(a->tokens, b->tokens, tokens * sizeof *a->tokens);
    assert_memory_equal(a->logp, b->logp, tokens * sizeof *a->logp);
    assert_memory_equal(a->finish, b->finish, n);
    assert_memory_equal(a->text_length, b->text_length, n * sizeof *a->text_length);
    assert_int_equal(!a->kept_offset, !b->kept_offset);
    if (!a->kept_offset) return;
    assert_memory_equal(a->kept_offset, b->kept_offset, (tokens + 1) * sizeof *a->kept_offset);
    assert_memory_equal(a->kept, b->kept, (size_t)a->kept_offset[tokens] * sizeof *a->kept);
}

static void in_flight_and_threads_change_nothing(void **state) {
    (void)state;
    const struct sampling cases[] = {{1, 1, 0, 0}, {0.8, 0.9, 0, 0}, {1, 1, 0.02, 50}};
    int before = threads_count();
    for (int precision = DTYPE_F32; precision <= DTYPE_BF16; precision++) {
        struct model *model = make_model((enum dtype)precision);
        for (size_t c = 0; c < 3; c++) {
            struct generate_request request = make_request(cases[c]);
            threads_set(2);
            struct rollouts first = run(model, &request, SEQUENCES);
            assert_true(rollouts_tokens(&first) > SEQUENCES);
            const int32_t flights[] = {1, 2, 3, GROUP, 16, SEQUENCES, 64};
            for (size_t f = 0; f < sizeof flights / sizeof *flights; f++) {
                threads_set(1 + (int)f % 2);
                struct rollouts other = run(model, &request, flights[f]);
                assert_same(&first, &other);
                rollouts_free(&other);
            }
            rollouts_free(&first);
        }
        model_free(model);
    }
    threads_set(before);
}

/* Every response as long as allowed: whole waves end in the same step, and the next must still begin. */
static void waves_that_end_together_are_followed_by_the_next(void **state) {
    (void)state;
    struct model *model = make_model(DTYPE_F32);
    struct generate_request request = make_request((struct sampling){1, 1, 0, 0});
    request.max_tokens = 1;
    for (int32_t in_flight = 1; in_flight <= SEQUENCES; in_flight += 4) {
        struct rollouts r = run(model, &request, in_flight);
        assert_int_equal(rollouts_tokens(&r), SEQUENCES);
        rollouts_free(&r);
    }
    model_free(model);
}

/* Log-probs of sequence i by the trainer's forward pass, alone in its batch. */
static void trainer_logprobs(const struct model *model, const struct rollouts *r, int32_t i, float *logp) {
    struct pack pack = {0};
    struct activations *acts;
    int32_t group = (int32_t)r->group_of[i],
            n_prompt = (int32_t)(r->prompt_offset[group + 1] - r->prompt_offset[group]);
    int32_t n = (int32_t)(r->offset[i + 1] - r->offset[i]), prompt, response, row[MAX_TOKENS];
    struct softmax_kept kept[MAX_TOKENS];
    assert_ok(pack_add(&pack, r->prompt_tokens + r->prompt_offset[group], n_prompt, -1, &prompt, &err));
    assert_ok(pack_add(&pack, r->tokens + r->offset[i], n, prompt, &response, &err));
    for (int32_t t = 0; t < n; t++) {
        row[t] = n_prompt - 1 + t;
        kept[t] = rollouts_kept(r, r->offset[i] + t);
    }
    struct lm_head_request request = {n, row, r->tokens + r->offset[i], r->kept_offset ? kept : NULL,
                                      r->inv_temperature};
    assert_ok(activations_create(&acts, model, pack.n_tokens, false, &err));
    assert_ok(model_forward(acts, model, &pack, &err));
    assert_ok(lm_head_logprobs(logp, NULL, acts, model, &request, &err));
    activations_free(acts);
    pack_free(&pack);
}

static void recorded_logprobs_are_the_trainers_bit_for_bit(void **state) {
    (void)state;
    const struct sampling cases[] = {{1, 1, 0, 0}, {0.7, 1, 0, 0}, {1, 0.9, 0, 0}, {1.2, 1, 0.05, 30}};
    for (int precision = DTYPE_F32; precision <= DTYPE_BF16; precision++) {
        struct model *model = make_model((enum dtype)precision);
        for (size_t c = 0; c < 4; c++) {
            struct generate_request request = make_request(cases[c]);
            struct rollouts r = run(model, &request, 8);
            assert_int_equal(!r.kept_offset, !sampling_truncates(&cases[c]));
            for (int32_t i = 0; i < r.n_sequences; i++) {
                float logp[MAX_TOKENS];
                trainer_logprobs(model, &r, i, logp);
                assert_memory_equal(logp, r.logp + r.offset[i],
                                    (size_t)(r.offset[i + 1] - r.offset[i]) * sizeof(float));
            }
            rollouts_free(&r);
        }
        model_free(model);
    }
}

static void responses_end_where_they_should(void **state) {
    (void)state;
    struct model *model = make_model(DTYPE_F32);
    struct generate_request request = make_request((struct sampling){1, 1, 0, 0});
    struct rollouts whole = run(model, &request, 16);
    int ended = 0, cut = 0;
    for (int32_t i = 0; i < whole.n_sequences; i++) {
        int64_t n = whole.offset[i + 1] - whole.offset[i], last = whole.offset[i + 1] - 1;
        for (int64_t t = whole.offset[i]; t < last; t++)
            assert_false(tokenizer_is_end(model->tokenizer, whole.tokens[t]));
        assert_int_equal(tokenizer_is_end(model->tokenizer, whole.tokens[last]), whole.finish[i] == FINISH_END);
        if (whole.finish[i] == FINISH_LENGTH) assert_int_equal(n, MAX_TOKENS);
        assert_int_equal(whole.version[i], model->version);
        ended += whole.finish[i] == FINISH_END;
        cut += whole.finish[i] == FINISH_LENGTH;
    }
    assert_int_equal(ended + cut, SEQUENCES);
    assert_true(cut > 0);

    /* A stop string taken from the middle of a response, across its tokens, ends that response there. */
    int32_t chosen = 0;
    while (whole.finish[chosen] != FINISH_LENGTH) chosen++;
    size_t length;
    char *text = tokenizer_decode(model->tokenizer, whole.tokens + whole.offset[chosen], MAX_TOKENS, false, &length);
    assert_true(length > 8 && !memchr(text, 0, length));
    char stop[4] = {text[4], text[5], text[6], 0};
    const char *stops[] = {"never in there at all", stop};
    request.stop = stops;
    request.n_stop = 2;
    struct rollouts r = run(model, &request, 16);
    assert_int_equal(r.finish[chosen], FINISH_STOP);
    assert_true(r.text_length[chosen] <= 4);
    assert_memory_equal(text + r.text_length[chosen], stop, 3);
    int64_t n = r.offset[chosen + 1] - r.offset[chosen];
    assert_memory_equal(r.tokens + r.offset[chosen], whole.tokens + whole.offset[chosen], (size_t)n * sizeof(int32_t));
    mem_free(text);
    rollouts_free(&r);
    rollouts_free(&whole);
    model_free(model);
}

/* A model whose tokens have all types that there are. */
static struct model *make_mixed_model(void) {
    static int32_t types[TINY_VOCAB];
    for (int i = 0; i < TINY_VOCAB; i++) {
        int byte = i - TINY_BYTES;
        bool fixed = byte >= 256 || byte == ' ' || byte == 't' || byte == 'h' || byte == 'e'; /* what merges need */
        types[i] = i < TINY_BYTES ? 3 : fixed || i % 3 ? 1 : 2 + i / 3 % 5;
    }
    tiny_types = types;
    struct model *model = make_model(DTYPE_F32);
    tiny_types = NULL;
    return model;
}

/* The text that is judged is the text of the tokens; `whole`: of the same responses without stop strings. */
static int assert_texts(const struct model *model, const struct rollouts *r, const struct rollouts *whole,
                        const char *stop) {
    int stopped = 0;
    for (int32_t i = 0; i < r->n_sequences; i++) {
        size_t length, all_length;
        char *text = rollouts_text(r, model->tokenizer, i, &length);
        char *all = tokenizer_decode(model->tokenizer, whole->tokens + whole->offset[i],
                                     whole->offset[i + 1] - whole->offset[i], false, &all_length);
        const char *found = stop ? text_find(all, all_length, stop, strlen(stop)) : NULL;
        assert_int_equal(length, found ? (size_t)(found - all) : all_length);
        assert_int_equal(r->text_length[i], length);
        assert_memory_equal(text, all, length);
        assert_int_equal(text[length], 0);
        assert_int_equal(r->finish[i], found ? FINISH_STOP : whole->finish[i]);
        stopped += found != NULL;
        mem_free(text);
        mem_free(all);
    }
    return stopped;
}

static void the_text_is_that_of_the_tokens(void **state) {
    (void)state;
    struct model *model = make_mixed_model();
    const struct tokenizer *tokenizer = model->tokenizer;
    struct generate_request request = make_request((struct sampling){1, 1, 0, 0});
    struct rollouts whole = run(model, &request, 16);
    assert_texts(model, &whole, &whole, NULL);
    int stops = 0, stopped = 0;
    for (int64_t t = 0; t + 1 < rollouts_tokens(&whole);
         t++) { /* two tokens that are text, some of them user-defined */
        size_t length;
        char *stop = tokenizer_decode(tokenizer, whole.tokens + t, 2, false, &length);
        if (t % 7 == 0 && length > 1 && strlen(stop) == length) {
            const char *one[] = {stop};
            request.stop = one;
            request.n_stop = 1;
            struct rollouts r = run(model, &request, 16);
            stopped += assert_texts(model, &r, &whole, stop);
            rollouts_free(&r);
            stops++;
        }
        mem_free(stop);
    }
    assert_true(stops > 20 && stopped >= stops / 2);
    rollouts_free(&whole);
    model_free(model);
}

/* A control token is no text, but a stop string may name it. */
static void a_stop_string_may_name_a_control_token(void **state) {
    (void)state;
    struct model *model = make_model(DTYPE_F32);
    struct generate_request request = make_request((struct sampling){1, 1, 0, 0});
    struct rollouts whole = run(model, &request, 16);
    const char *stop[] = {"<|im_start|>"};
    request.stop = stop;
    request.n_stop = 1;
    struct rollouts r = run(model, &request, 16);
    int stopped = 0;
    for (int32_t i = 0; i < r.n_sequences; i++) {
        int64_t first = whole.offset[i], at = first;
        while (at < whole.offset[i + 1] && whole.tokens[at] != TINY_START) at++;
        bool there = at < whole.offset[i + 1];
        assert_int_equal(r.finish[i], there ? FINISH_STOP : whole.finish[i]);
        assert_int_equal(r.offset[i + 1] - r.offset[i], at - first + there);
        stopped += there;
    }
    assert_true(stopped > 0);
    rollouts_free(&r);
    rollouts_free(&whole);
    model_free(model);
}

static void interruption_and_bad_requests_leave_nothing(void **state) {
    (void)state;
    struct model *model = make_model(DTYPE_F32);
    struct generator_limits limits = {4, MAX_PROMPT, MAX_TOKENS, SEQUENCES, false};
    struct generator *generator;
    struct rollouts r = {0};
    assert_ok(generator_create(&generator, model, &limits, &err));
    struct generate_request request = make_request((struct sampling){1, 1, 0, 0});
    atomic_bool flag = true;
    request.interrupt = &flag;
    assert_int_equal(generate(generator, &request, &r, NULL, &err), OPSM_INTERRUPTED);
    assert_null(r.tokens);
    request = make_request((struct sampling){1, 1, 0, 0});
    request.max_tokens = MAX_TOKENS + 1;
    assert_int_equal(generate(generator, &request, &r, NULL, &err), OPSM_INVALID);
    request = make_request((struct sampling){1, 0.9, 0, 0});
    assert_int_equal(generate(generator, &request, &r, NULL, &err), OPSM_INTERNAL);
    request = make_request((struct sampling){1, 1, 0, 0});
    request.group = SEQUENCES;
    assert_int_equal(generate(generator, &request, &r, NULL, &err), OPSM_INVALID);
    const char *empty[] = {""};
    request = make_request((struct sampling){1, 1, 0, 0});
    request.stop = empty;
    request.n_stop = 1;
    assert_int_equal(generate(generator, &request, &r, NULL, &err), OPSM_INVALID);
    generator_free(generator);

    for (int64_t i = 0; i < model->params.size; i++) model->params.values[i] = NAN;
    assert_ok(model_publish(model, &err));
    assert_ok(generator_create(&generator, model, &limits, &err));
    request = make_request((struct sampling){1, 1, 0, 0});
    assert_int_equal(generate(generator, &request, &r, NULL, &err), OPSM_NONFINITE);
    generator_free(generator);
    model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_flight_and_threads_change_nothing),
        cmocka_unit_test(waves_that_end_together_are_followed_by_the_next),
        cmocka_unit_test(recorded_logprobs_are_the_trainers_bit_for_bit),
        cmocka_unit_test(responses_end_where_they_should),
        cmocka_unit_test(the_text_is_that_of_the_tokens),
        cmocka_unit_test(a_stop_string_may_name_a_control_token),
        cmocka_unit_test(interruption_and_bad_requests_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
