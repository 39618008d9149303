/* SPDX-License-Identifier: Apache-2.0
 *
 * opsm score: the log-prob of every token of a text.
 *
 * A text longer than the context is scored in windows that overlap by half: every token but the first sees at least
 * half a context of what stands before it (or all of it).
 */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/model_path.h"
#include "cli/options.h"
#include "io/json_writer.h"
#include "model/lm_head.h"
#include <errno.h>
#include <math.h>
#include <string.h>

enum { CONTEXT_DEFAULT = 8192, TEXT_LIMIT = 1 << 26, READ_BYTES = 1 << 16 };

struct options {
    const char *model;
    enum dtype precision;
    int64_t context;
    bool jsonl;
};

struct window {
    struct activations *acts;
    struct pack pack;
    int32_t *row, *target;
    int32_t room;
};

static int parse(int argc, char **argv, struct options *o) {
    static const char *const names[] = {"the model (a GGUF file or the directory of a run)"};
    const char *precision = "bf16";
    *o = (struct options){.context = CONTEXT_DEFAULT};
    const struct option table[] = {{"--jsonl", OPTION_FLAG, &o->jsonl, 0, 0},
                                   {"--precision", OPTION_TEXT, &precision, 0, 0},
                                   {"--context", OPTION_INT, &o->context, 2, INT32_MAX},
                                   {NULL, OPTION_FLAG, NULL, 0, 0}};
    int code = options_read(argc, argv, table, &o->model, 1, names);
    if (code) return code;
    o->precision = strcmp(precision, "f32") == 0 ? DTYPE_F32 : DTYPE_BF16;
    if (o->precision == DTYPE_BF16 && strcmp(precision, "bf16") != 0)
        return cli_usage("score", "--precision is f32 or bf16, not '%s'", precision);
    return 0;
}

static opsm_status read_stdin(struct text *text, opsm_error *err) {
    static char block[READ_BYTES];
    size_t n;
    while (text->length <= TEXT_LIMIT && (n = fread(block, 1, sizeof block, stdin)) > 0) text_append(text, block, n);
    if (text->length > TEXT_LIMIT)
        return opsm_fail(err, OPSM_INVALID, "the text on stdin is longer than %d MiB: score it in parts",
                         TEXT_LIMIT >> 20);
    if (ferror(stdin)) return opsm_fail(err, OPSM_IO, "cannot read the text from stdin: %s", strerror(errno));
    return text->failed ? mem_exhausted(err, "the text", text->length) : OPSM_OK;
}

static void window_free(struct window *w) {
    activations_free(w->acts);
    pack_free(&w->pack);
    mem_free(w->row);
    mem_free(w->target);
}

static opsm_status window_create(struct window *w, const struct model *model, int64_t context, int64_t n_tokens,
                                 opsm_error *err) {
    *w = (struct window){0};
    if (context > model->config.context) context = model->config.context;
    w->room = (int32_t)(n_tokens < context ? n_tokens : context);
    w->row = mem_alloc((size_t)w->room, sizeof *w->row);
    w->target = mem_alloc((size_t)w->room, sizeof *w->target);
    if (!w->row || !w->target) return mem_exhausted(err, "a window of tokens", 8 * (size_t)w->room);
    return activations_create(&w->acts, model, w->room, ACTIVATIONS_NONE, err);
}

/* Log-probs of tokens [first, end), seen from the window that begins at `begin`. */
static opsm_status score_window(struct window *w, const struct model *model, const int32_t *ids, int64_t begin,
                                int64_t first, int64_t end, float *logp, opsm_error *err) {
    struct lm_head_request request = {.row = w->row, .target = w->target, .inv_temperature = 1.0f};
    pack_clear(&w->pack);
    opsm_status status = pack_add(&w->pack, ids + begin, (int32_t)(end - begin), -1, NULL, err);
    if (status == OPSM_OK) status = model_forward(w->acts, model, &w->pack, err);
    for (int64_t i = first; i < end; i++) {
        w->row[request.n] = (int32_t)(i - 1 - begin);
        w->target[request.n++] = ids[i];
    }
    return status == OPSM_OK ? lm_head_logprobs(logp + first, NULL, w->acts, model, &request, err) : status;
}

/* logp[0] is NaN: nothing predicts the first token. */
static opsm_status score(const struct model *model, int64_t context, const struct token_list *tokens, float *logp,
                         opsm_error *err) {
    struct window w;
    opsm_status status = window_create(&w, model, context, tokens->count, err);
    logp[0] = NAN;
    for (int64_t done = 1; done < tokens->count && status == OPSM_OK;) {
        int64_t begin = done == 1 ? 0 : done - w.room / 2;
        int64_t end = begin + w.room < tokens->count ? begin + w.room : tokens->count;
        log_phase("scoring", (double)done / (double)tokens->count, (double)end / (double)tokens->count);
        status = score_window(&w, model, tokens->ids, begin, done, end, logp, err);
        done = end;
    }
    log_phase(NULL, 0, 0);
    window_free(&w);
    return status;
}

static void put_piece(struct json_writer *json, struct text_view piece, int32_t id, float logp) {
    json_put_open(json, NULL, '{');
    json_put_int(json, "id", id);
    json_put_bytes(json, "piece", piece.data, piece.length);
    json_put_number(json, "logp", (double)logp);
    json_put_close(json, '}');
    json_put_end(json);
}

static void print_piece(struct text_view piece, int32_t id, float logp, struct text *out) {
    struct text quoted = {0};
    json_put_bytes(&(struct json_writer){.text = &quoted}, NULL, piece.data, piece.length);
    text_printf(out, "%8d  %-24s  ", id, quoted.data ? quoted.data : "");
    out->failed |= quoted.failed;
    text_free(&quoted);
    if (isnan(logp))
        text_puts(out, "         -\n");
    else
        text_printf(out, "%10.6f\n", (double)logp);
}

static opsm_status print_scores(const struct options *o, const struct model *model, const struct token_list *tokens,
                                const float *logp, opsm_error *err) {
    struct text out = {0};
    struct json_writer json = {.text = &out, .digits = 9, .spaced = true};
    double sum = 0;
    for (int64_t i = 0; i < tokens->count; i++) {
        int32_t id = tokens->ids[i];
        struct text_view piece = tokenizer_piece(model->tokenizer, id);
        if (o->jsonl)
            put_piece(&json, piece, id, logp[i]);
        else
            print_piece(piece, id, logp[i], &out);
        if (i > 0) sum += logp[i];
    }
    int64_t scored = tokens->count - 1;
    double mean = scored > 0 ? sum / (double)scored : 0;
    if (o->jsonl) {
        json_put_open(&json, NULL, '{');
        json_put_int(&json, "tokens", tokens->count);
        json_put_number(&json, "mean_nats", mean);
        json_put_number(&json, "perplexity", exp(-mean));
        json_put_close(&json, '}');
        json_put_end(&json);
    } else {
        text_printf(&out, "%lld tokens, mean %.6f nats, perplexity %.4f\n", (long long)tokens->count, mean, exp(-mean));
    }
    return cli_print_text(&out, err);
}

static opsm_status score_text(const struct options *o, const struct text *text, opsm_error *err) {
    struct model *model;
    struct token_list tokens = {0};
    opsm_status status = cli_load_model(&model, o->model, o->precision, false, err);
    if (status != OPSM_OK) return status;
    status =
        tokenizer_encode(model->tokenizer, text->data ? text->data : "", text->length, TOKENIZER_BOS, &tokens, err);
    token_list_warn_dropped(&tokens, "the text");
    float *logp = mem_alloc((size_t)tokens.count + 1, sizeof *logp);
    if (status == OPSM_OK && !logp) status = mem_exhausted(err, "log-probs", (size_t)tokens.count * sizeof *logp);
    if (status == OPSM_OK && tokens.count == 0) status = opsm_fail(err, OPSM_INVALID, "there is no text on stdin");
    if (status == OPSM_OK) status = score(model, o->context, &tokens, logp, err);
    if (status == OPSM_OK) status = print_scores(o, model, &tokens, logp, err);
    mem_free(logp);
    token_list_free(&tokens);
    model_free(model);
    return status;
}

int cmd_score(int argc, char **argv) {
    struct options o;
    struct text text = {0};
    opsm_error err = {0};
    int usage = parse(argc, argv, &o);
    if (usage) return usage;
    opsm_status status = read_stdin(&text, &err);
    if (status == OPSM_OK) status = score_text(&o, &text, &err);
    text_free(&text);
    return status == OPSM_OK ? 0 : cli_fail(status, &err);
}
