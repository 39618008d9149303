/* SPDX-License-Identifier: Apache-2.0 */
#include "rollout/generate.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/model_path.h"
#include "cli/options.h"
#include "io/json_writer.h"
#include <stdlib.h>
#include <string.h>

struct generate_options {
    const char *prompt, *system, *precision;
    int64_t samples, max_tokens, top_k, seed, in_flight;
    double temperature, top_p, min_p;
    struct option_texts stop;
    bool chat, jsonl;
};

/* Prints one sample as it comes, whole characters only. */
struct printer {
    const struct tokenizer *tokenizer;
    struct token_stream stream;
};

static void print_token(void *user, int32_t prompt, int32_t sample, int32_t token) {
    (void)prompt, (void)sample;
    struct printer *p = user;
    struct text_view text = tokenizer_text(p->tokenizer, token);
    char buffer[4096];
    for (size_t at = 0; at < text.length;) { /* the buffer holds four times what is fed */
        size_t n = text.length - at < 1000 ? text.length - at : 1000;
        size_t written = token_stream_feed(&p->stream, (const uint8_t *)text.data + at, n, buffer, sizeof buffer);
        fwrite(buffer, 1, written, stdout);
        at += n;
    }
    fflush(stdout);
}

/* An unfinished character, and a line break. */
static void print_end(struct printer *p) {
    char buffer[8];
    fwrite(buffer, 1, token_stream_end(&p->stream, buffer, sizeof buffer), stdout);
    putchar('\n');
}

static opsm_status encode_prompt(const struct model *model, const struct generate_options *o, struct token_list *tokens,
                                 opsm_error *err) {
    static const struct chat_template plain; /* CHAT_PLAIN */
    const struct chat_template *chat = &plain;
    opsm_status status = o->chat ? model_chat(model, &chat, err) : OPSM_OK;
    if (status != OPSM_OK) return status;
    if (o->chat && chat->kind == CHAT_PLAIN)
        return opsm_fail(err, OPSM_INVALID, "--chat: this model has no chat template");
    const struct chat_message messages[] = {{"system", o->system}, {"user", o->prompt}};
    int skip = !o->system;
    status = chat_encode(chat, model->tokenizer, messages + skip, 2 - skip, NULL, tokens, err);
    token_list_warn_dropped(tokens, "the prompt");
    return status;
}

/* The response's text as valid UTF-8 (what is not becomes U+FFFD); release with mem_free. NULL when out of memory. */
static char *sample_text(const struct model *model, const struct rollouts *r, int32_t i, size_t *n) {
    size_t length = 0;
    char *raw = rollouts_text(r, model->tokenizer, i, &length);
    if (!raw) return NULL;
    size_t room = 4 * (length + 8);
    char *text = mem_alloc(room, 1);
    if (text) {
        struct token_stream stream = {0};
        *n = token_stream_feed(&stream, (const uint8_t *)raw, length, text, room);
        *n += token_stream_end(&stream, text + *n, room - *n);
    }
    mem_free(raw);
    return text;
}

static void put_numbers(struct json_writer *json, const char *key, const int32_t *numbers, int64_t n) {
    json_put_open(json, key, '[');
    for (int64_t i = 0; i < n; i++) json_put_int(json, NULL, numbers[i]);
    json_put_close(json, ']');
}

static opsm_status print_json(const struct rollouts *r, int32_t i, const char *text, size_t length, opsm_error *err) {
    struct text line = {0};
    struct json_writer json = {.text = &line, .digits = 9, .spaced = true, .reals = true};
    int64_t begin = r->offset[i], end = r->offset[i + 1];
    json_put_open(&json, NULL, '{');
    json_put_int(&json, "sample", i);
    json_put_bytes(&json, "text", text, length);
    put_numbers(&json, "prompt_tokens", r->prompt_tokens, r->prompt_offset[1]);
    put_numbers(&json, "tokens", r->tokens + begin, end - begin);
    json_put_open(&json, "logp", '[');
    for (int64_t t = begin; t < end; t++) json_put_number(&json, NULL, (double)r->logp[t]);
    json_put_close(&json, ']');
    json_put_string(&json, "finish", finish_name((enum finish_reason)r->finish[i]));
    json_put_close(&json, '}');
    json_put_end(&json);
    return cli_print_text(&line, err);
}

static opsm_status print_samples(const struct model *model, const struct rollouts *r, const struct generate_options *o,
                                 opsm_error *err) {
    for (int32_t i = 0; i < r->n_sequences; i++) {
        size_t length = 0;
        char *text = sample_text(model, r, i, &length);
        opsm_status status = text ? OPSM_OK : mem_exhausted(err, "the output of a sample", length);
        if (status == OPSM_OK && o->jsonl) {
            status = print_json(r, i, text, length, err);
        } else if (status == OPSM_OK) {
            if (r->n_sequences > 1) printf("--- %d\n", i + 1);
            fwrite(text, 1, length, stdout);
            putchar('\n');
        }
        mem_free(text);
        if (status != OPSM_OK) return status;
    }
    return OPSM_OK;
}

static opsm_status generate_samples(const struct model *model, const struct generate_options *o, opsm_error *err) {
    struct token_list prompt = {0};
    opsm_status status = encode_prompt(model, o, &prompt, err);
    int64_t left = model->config.context - prompt.count;
    if (status == OPSM_OK && (prompt.count < 1 || left < 1))
        status = opsm_fail(err, OPSM_INVALID, "the prompt has %lld tokens: expected 1 to %d (the model's context)",
                           (long long)prompt.count, model->config.context - 1);
    /* With stop strings a token may turn out not to belong to the text: then nothing is printed before the end. */
    bool stream = o->samples == 1 && !o->jsonl && o->stop.count == 0;
    struct printer printer = {.tokenizer = model->tokenizer};
    int64_t offset[2] = {0, prompt.count};
    struct generate_request request = {.n_prompts = 1,
                                       .group = (int32_t)o->samples,
                                       .prompt_offset = offset,
                                       .prompt_tokens = prompt.ids,
                                       .sampling = {o->temperature, o->top_p, o->min_p, (int32_t)o->top_k},
                                       .max_tokens = (int32_t)(o->max_tokens < left ? o->max_tokens : left),
                                       .stop = o->stop.items,
                                       .n_stop = o->stop.count,
                                       .seed = (uint64_t)o->seed,
                                       .interrupt = cli_catch_signals(),
                                       .phase = stream ? NULL : "generating",
                                       .phase_to = 1,
                                       .on_token = stream ? print_token : NULL,
                                       .user = &printer};
    struct generator_limits limits = {.in_flight = (int32_t)o->in_flight,
                                      .max_prompt = (int32_t)prompt.count,
                                      .max_tokens = request.max_tokens,
                                      .sequences = (int32_t)o->samples,
                                      .truncating = sampling_truncates(&request.sampling)};
    struct generator *generator = NULL;
    struct rollouts rollouts = {0};
    if (status == OPSM_OK) status = generator_create(&generator, model, &limits, err);
    if (status == OPSM_OK) status = generate(generator, &request, &rollouts, NULL, err);
    log_phase(NULL, 0, 0);
    if (stream) print_end(&printer);
    if (status == OPSM_OK && !stream) status = print_samples(model, &rollouts, o, err);
    rollouts_free(&rollouts);
    generator_free(generator);
    token_list_free(&prompt);
    return status;
}

int cmd_generate(int argc, char **argv) {
    struct generate_options o = {
        .samples = 1, .max_tokens = 256, .temperature = 1, .top_p = 1, .seed = 1, .in_flight = 64, .precision = "bf16"};
    const struct option table[] = {{"-p", OPTION_TEXT, &o.prompt, 0, 0},
                                   {"-n", OPTION_INT, &o.samples, 1, 1 << 20},
                                   {"--chat", OPTION_FLAG, &o.chat, 0, 0},
                                   {"--system", OPTION_TEXT, &o.system, 0, 0},
                                   {"--temperature", OPTION_REAL, &o.temperature, 0, 100},
                                   {"--top-p", OPTION_REAL, &o.top_p, 1e-6, 1},
                                   {"--top-k", OPTION_INT, &o.top_k, 0, 1 << 30},
                                   {"--min-p", OPTION_REAL, &o.min_p, 0, 1},
                                   {"--max-tokens", OPTION_INT, &o.max_tokens, 1, 1 << 20},
                                   {"--stop", OPTION_TEXTS, &o.stop, 0, 0},
                                   {"--seed", OPTION_INT, &o.seed, 0, 1e15},
                                   {"--in-flight", OPTION_INT, &o.in_flight, 1, 65536},
                                   {"--precision", OPTION_TEXT, &o.precision, 0, 0},
                                   {"--jsonl", OPTION_FLAG, &o.jsonl, 0, 0},
                                   {NULL, OPTION_FLAG, NULL, 0, 0}};
    const char *path, *const names[] = {"the model (a GGUF file or the directory of a run)"};
    int code = options_read(argc, argv, table, &path, 1, names);
    if (code) return code;
    if (!o.prompt) return cli_usage(argv[0], "a prompt is needed: -p TEXT");
    if (o.system && !o.chat)
        return cli_usage(argv[0], "--system is for --chat; without a chat template it is part of the prompt: -p TEXT");
    bool bf16 = !strcmp(o.precision, "bf16");
    if (!bf16 && strcmp(o.precision, "f32") != 0)
        return cli_usage(argv[0], "--precision: expected f32 or bf16, found '%s'", o.precision);
    opsm_error err = {0};
    struct model *model = NULL;
    opsm_status status = cli_load_model(&model, path, bf16 ? DTYPE_BF16 : DTYPE_F32, false, &err);
    if (status == OPSM_OK) status = generate_samples(model, &o, &err);
    model_free(model);
    return status == OPSM_OK ? 0 : cli_fail(status, &err);
}
