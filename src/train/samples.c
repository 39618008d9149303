/* SPDX-License-Identifier: Apache-2.0 */
#include "train/samples.h"
#include "base/file.h"
#include "base/mem.h"
#include "io/json_writer.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

enum { BETWEEN = 4, PER_GROUP = 4, TEXT_LIMIT = 4000, DIGITS = 6 };

bool samples_due(const struct run_config *config, int64_t iteration) {
    int64_t last = config->train.iterations - 1, every = (config->train.iterations + BETWEEN - 1) / BETWEEN;
    return config->rollout.samples > 0 && (iteration % every == 0 || iteration == last);
}

void samples_note(struct batch *batch, const int32_t *ids, int32_t n, const opsm_sequence *records) {
    opsm_sequence *verdict = batch->rollouts.verdict;
    for (int32_t i = 0; verdict && i < n; i++) verdict[ids[i]] = records[i];
}

/* ---- why --------------------------------------------------------------------------------------------------------- */

static void reason_dropped(const opsm_sequence *r, char *text, size_t size) {
    static const char *const words[OPSM_REASON_COUNT] = {
        [OPSM_REASON_UNKNOWN] = "no optimiser step measured it",
        [OPSM_REASON_TRUNCATED] = "cut off: it is in no loss",
        [OPSM_REASON_EMPTY] = "no token of it is in the loss",
        [OPSM_REASON_NONFINITE] = "A < 0 and a log-prob is not finite",
        [OPSM_REASON_NEGATIVES] = "A < 0: the rule drops all of them",
        [OPSM_REASON_RANDOM] = "A < 0, drawn at random",
    };
    static const char *const drifted[OPSM_REASON_COUNT] = {
        [OPSM_REASON_OPSM] = "A < 0 and ",
        [OPSM_REASON_POSITIVES] = "A > 0 and ",
        [OPSM_REASON_DRIFT] = "",
    };
    int reason = r->reason < OPSM_REASON_COUNT ? r->reason : OPSM_REASON_UNKNOWN; /* a checkpoint may say anything */
    const char *name = opsm_reason_name((opsm_reason)reason);
    if (words[reason])
        snprintf(text, size, "%s", words[reason]);
    else if (drifted[reason])
        snprintf(text, size, "%sdrift %.3g > %.3g", drifted[reason], r->drift, r->delta);
    else if (reason == OPSM_REASON_GEOMETRIC || reason == OPSM_REASON_OUTLIER)
        snprintf(text, size, "dropped by rule %s at drift %.3g", name, r->drift);
    else
        snprintf(text, size, "%" PRId64 " of %" PRId64 " tokens dropped by rule %s", r->dropped_tokens, r->tokens,
                 name);
}

static void reason_kept(const opsm_objective *o, const opsm_sequence *r, char *text, size_t size) {
    const char *rule = opsm_rule_name(o->mask_rule);
    if (r->advantage == 0)
        snprintf(text, size, "A = 0: no better and no worse than its group");
    else if (o->mask_rule == OPSM_RULE_NONE)
        snprintf(text, size, "no mask");
    else if (o->mask_rule == OPSM_RULE_OPSM && r->advantage > 0 && o->mask_sign != OPSM_SIGN_ANY)
        snprintf(text, size, "A > 0: kept whatever its drift");
    else if (o->mask_rule == OPSM_RULE_OPSM && r->drift <= r->delta)
        snprintf(text, size, "drift %.3g <= %.3g", r->drift, r->delta);
    else if (o->mask_rule == OPSM_RULE_NEGATIVES)
        snprintf(text, size, "A > 0: the rule keeps all of them");
    else
        snprintf(text, size, "kept by rule %s", rule);
}

void samples_reason(const opsm_objective *objective, const opsm_sequence *record, char *text, size_t size) {
    if (record->reason == OPSM_REASON_KEPT)
        reason_kept(objective, record, text, size);
    else
        reason_dropped(record, text, size);
}

/* ---- which ------------------------------------------------------------------------------------------------------- */

static bool is_dropped(const struct rollouts *r, int32_t i) {
    return r->verdict[i].reason != OPSM_REASON_UNKNOWN && !r->verdict[i].keep;
}

static bool has_signal(const struct rollouts *r, int32_t i) {
    return r->advantage[i] != 0;
}

static bool always(const struct rollouts *r, int32_t i) {
    (void)r;
    (void)i;
    return true;
}

/* Picks up to `wanted` groups more in which some sequence is what is looked for; returns how many. picked [n_prompts]. */
static int32_t pick_groups(const struct rollouts *r, int32_t wanted, bool (*is)(const struct rollouts *, int32_t),
                           uint8_t *picked) {
    int32_t n = 0;
    for (int32_t i = 0; i < r->n_sequences && n < wanted; i++) {
        if (picked[r->group_of[i]] || !is(r, i)) continue;
        picked[r->group_of[i]] = 1;
        n++;
    }
    return n;
}

/* What a sequence adds to what a group shows already. */
enum interest { DROPPED, BETTER, WORSE, OTHER };

static enum interest interest_of(const struct rollouts *r, int32_t i) {
    if (is_dropped(r, i)) return DROPPED;
    return r->advantage[i] > 0 ? BETTER : r->advantage[i] < 0 ? WORSE : OTHER;
}

/* chosen [PER_GROUP] receives sequences of the group begin .. end - 1; returns their number. */
static int pick_sequences(const struct rollouts *r, int32_t begin, int32_t end, int32_t chosen[PER_GROUP]) {
    uint8_t taken[OTHER + 1] = {0};
    int n = 0;
    /* First two that were dropped and one of each other kind, then more of them in the same order. */
    for (int round = 0; round < 2; round++)
        for (int kind = DROPPED; kind <= OTHER; kind++)
            for (int32_t i = begin; i < end && n < PER_GROUP; i++) {
                bool known = false;
                for (int k = 0; k < n; k++) known |= chosen[k] == i;
                if (known || interest_of(r, i) != (enum interest)kind) continue;
                if (round == 0 && taken[kind] >= (kind == DROPPED ? 2 : 1)) break;
                taken[kind]++;
                chosen[n++] = i;
            }
    return n;
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

/* A text (released here; NULL: out of memory), cut at a character's end; readers of JSON refuse NUL, which becomes its
 * picture. */
static void put_text(struct json_writer *line, const char *key, char *raw, size_t length) {
    struct text shown = {0};
    size_t end = length < TEXT_LIMIT ? length : TEXT_LIMIT;
    if (raw)
        while (end > 0 && end < length && ((unsigned char)raw[end] & 0xc0) == 0x80) end--;
    for (size_t i = 0; raw && i < end; i++) {
        if (raw[i])
            text_append(&shown, raw + i, 1);
        else
            text_puts(&shown, "\xe2\x90\x80");
    }
    if (raw && end < length) text_printf(&shown, " [%zu bytes more]", length - end);
    json_put_bytes(line, key, shown.data, shown.length);
    line->text->failed |= !raw || shown.failed;
    text_free(&shown);
    mem_free(raw);
}

static void put_prompt(struct json_writer *line, const struct tokenizer *tokenizer, const int32_t *tokens, int64_t n) {
    size_t length = 0;
    char *prompt = tokenizer_decode(tokenizer, tokens, n, true, &length);
    put_text(line, "prompt", prompt, length);
}

static void put_response(struct json_writer *line, const struct tokenizer *tokenizer, const struct rollouts *r,
                         int32_t i) {
    size_t length = 0;
    char *response = rollouts_text(r, tokenizer, i, &length);
    put_text(line, "response", response, length);
    json_put_string(line, "finish", finish_name((enum finish_reason)r->finish[i]));
}

static void put_sequence(struct json_writer *line, const struct run_config *config, const struct tokenizer *tokenizer,
                         int64_t iteration, const struct batch *batch, int32_t i) {
    const struct rollouts *r = &batch->rollouts;
    const opsm_sequence *record = &r->verdict[i];
    const int64_t *prompt = r->prompt_offset + r->group_of[i];
    bool measured = record->reason != OPSM_REASON_UNKNOWN;
    char reason[160];
    if (batch_judged(batch, i))
        samples_reason(&config->objective, record, reason, sizeof reason);
    else
        snprintf(reason, sizeof reason, "set aside: it could not be judged");
    json_put_open(line, NULL, '{');
    json_put_int(line, "iteration", iteration);
    json_put_int(line, "group", batch_group_name(batch, i));
    json_put_int(line, "sample", i - rollouts_group_begin(r, i));
    put_prompt(line, tokenizer, r->prompt_tokens + prompt[0], prompt[1] - prompt[0]);
    put_response(line, tokenizer, r, i);
    json_put_number(line, "reward", (double)r->reward[i]);
    json_put_number(line, "advantage", (double)r->advantage[i]);
    json_put_number(line, "drift", measured ? record->drift : NAN);
    json_put_number(line, "delta", measured ? record->delta : NAN);
    if (measured)
        json_put_bool(line, "keep", record->keep);
    else
        json_put_null(line, "keep");
    json_put_string(line, "reason", reason);
    json_put_close(line, '}');
    json_put_end(line);
}

static opsm_status append(const char *path, const struct text *lines, opsm_error *err) {
    int fd;
    opsm_status status = file_append_open(&fd, path, err);
    if (status != OPSM_OK) return status;
    status = file_append(fd, path, lines->data, lines->length, NULL, err);
    close(fd);
    return status;
}

opsm_status samples_write(const char *path, const struct run_config *config, const struct tokenizer *tokenizer,
                          int64_t iteration, const struct batch *batch, opsm_error *err) {
    const struct rollouts *r = &batch->rollouts;
    if (!r->verdict) return OPSM_OK;
    uint8_t *picked = mem_zalloc((size_t)r->n_prompts, 1);
    if (!picked) return mem_exhausted(err, "a list of groups", (size_t)r->n_prompts);
    int32_t wanted = config->rollout.samples, n = pick_groups(r, (wanted + 1) / 2, is_dropped, picked);
    n += pick_groups(r, wanted - n, has_signal, picked);
    pick_groups(r, wanted - n, always, picked);
    struct text lines = {0};
    struct json_writer json = {.text = &lines, .digits = DIGITS};
    for (int32_t i = 0, end; i < r->n_sequences; i = end) {
        end = rollouts_group_end(r, i);
        int32_t chosen[PER_GROUP];
        int count = picked[r->group_of[i]] ? pick_sequences(r, i, end, chosen) : 0;
        for (int k = 0; k < count; k++) put_sequence(&json, config, tokenizer, iteration, batch, chosen[k]);
    }
    opsm_status status = lines.failed ? mem_exhausted(err, "transcripts", lines.room) : append(path, &lines, err);
    text_free(&lines);
    mem_free(picked);
    return status;
}

opsm_status samples_write_eval(const char *path, const struct tokenizer *tokenizer, int64_t iteration, int64_t step,
                               const struct asked *asked, const struct rollouts *rollouts, const float *rewards,
                               const float *scores, int32_t n_scores, opsm_error *err) {
    struct text lines = {0};
    struct json_writer json = {.text = &lines, .digits = DIGITS};
    for (int32_t i = 0; i < rollouts->n_sequences; i = rollouts_group_end(rollouts, i)) {
        int32_t k = (int32_t)rollouts->group_of[i];
        if (k >= SAMPLES_HELD_OUT) break;
        json_put_open(&json, NULL, '{');
        json_put_string(&json, "kind", "eval");
        json_put_int(&json, "iteration", iteration);
        json_put_int(&json, "step", step);
        json_put_int(&json, "problem", k);
        put_prompt(&json, tokenizer, asked->prompts.ids + asked->offset[k], asked->offset[k + 1] - asked->offset[k]);
        put_response(&json, tokenizer, rollouts, i);
        json_put_number(&json, "reward", (double)rewards[i]);
        if (isnan(rewards[i]))
            json_put_null(&json, "right");
        else
            json_put_bool(&json, "right", scores[(int64_t)i * n_scores] >= 1);
        json_put_close(&json, '}');
        json_put_end(&json);
    }
    opsm_status status = lines.failed ? mem_exhausted(err, "transcripts", lines.room) : append(path, &lines, err);
    text_free(&lines);
    return status;
}
