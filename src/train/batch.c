/* SPDX-License-Identifier: Apache-2.0 */
#include "train/batch.h"
#include "base/mem.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

void batch_free(struct batch *batch) {
    rollouts_free(&batch->rollouts);
    mem_free(batch->reward);
    mem_free(batch->advantage);
    mem_free(batch->logp_trainer);
    mem_free(batch->logp_reference);
    mem_free(batch->logp_current);
    mem_free(batch->verdict);
    *batch = (struct batch){0};
}

opsm_status batch_add_columns(struct batch *batch, bool keep_current, opsm_error *err) {
    size_t n = (size_t)batch->rollouts.n_sequences, tokens = (size_t)rollouts_tokens(&batch->rollouts);
    batch->reward = mem_zalloc(n, sizeof *batch->reward);
    batch->advantage = mem_zalloc(n, sizeof *batch->advantage);
    if (!batch->reward || !batch->advantage) return mem_exhausted(err, "rewards", n * 8);
    if (!keep_current) return OPSM_OK;
    batch->logp_current = mem_alloc(tokens, sizeof *batch->logp_current);
    if (!batch->logp_current) return mem_exhausted(err, "current log-probs", tokens * 4);
    memcpy(batch->logp_current, batch->rollouts.logp, tokens * sizeof *batch->logp_current);
    return OPSM_OK;
}

opsm_status batch_add_verdicts(struct batch *batch, opsm_error *err) {
    size_t n = (size_t)batch->rollouts.n_sequences;
    if (batch->verdict) return OPSM_OK;
    batch->verdict = mem_zalloc(n, sizeof *batch->verdict);
    if (!batch->verdict) return mem_exhausted(err, "the verdicts of the mask", n * sizeof *batch->verdict);
    for (size_t i = 0; i < n; i++) batch->verdict[i].tokens = -1;
    return OPSM_OK;
}

size_t batch_bytes(const struct batch *batch) {
    const struct rollouts *r = &batch->rollouts;
    if (!r->n_sequences) return 0;
    size_t token = 8 + (r->kept_offset ? 8u : 0u) + (batch->logp_trainer ? 4u : 0u) +
                   (batch->logp_reference ? 4u : 0u) + (batch->logp_current ? 4u : 0u);
    size_t kept = r->kept_offset ? (size_t)r->kept_offset[rollouts_tokens(r)] * sizeof *r->kept : 0;
    return (size_t)rollouts_tokens(r) * token + kept + (size_t)r->prompt_offset[r->n_prompts] * sizeof(int32_t) +
           (size_t)r->n_sequences * (29 + (batch->verdict ? sizeof *batch->verdict : 0)) + (size_t)r->n_prompts * 8;
}

/* ---- checkpoint ---------------------------------------------------------------------------------------------------
 */

static const int64_t LARGEST = (int64_t)1 << 40; /* far beyond any real batch; keeps products within 63 bits */

static void write_column(struct record_out *out, const float *column, int64_t n) {
    record_write_i64(out, column != NULL);
    if (column) record_write(out, column, (size_t)n * sizeof *column);
}

void batch_write(const struct batch *batch, struct record_out *out) {
    const struct rollouts *r = &batch->rollouts;
    int64_t tokens = rollouts_tokens(r), prompt_tokens = r->prompt_offset[r->n_prompts];
    int64_t kept = r->kept_offset ? r->kept_offset[tokens] : -1;
    size_t n = (size_t)r->n_sequences;
    int64_t sizes[] = {batch->index, r->n_prompts, r->group, prompt_tokens, tokens, kept};
    record_write(out, sizes, sizeof sizes);
    record_write(out, &r->inv_temperature, sizeof r->inv_temperature);
    record_write(out, r->prompt_offset, ((size_t)r->n_prompts + 1) * sizeof *r->prompt_offset);
    record_write(out, r->prompt_tokens, (size_t)prompt_tokens * sizeof *r->prompt_tokens);
    record_write(out, r->offset, (n + 1) * sizeof *r->offset);
    record_write(out, r->tokens, (size_t)tokens * sizeof *r->tokens);
    record_write(out, r->logp, (size_t)tokens * sizeof *r->logp);
    record_write(out, r->finish, n);
    record_write(out, r->text_length, n * sizeof *r->text_length);
    record_write(out, r->version, n * sizeof *r->version);
    if (kept >= 0) {
        record_write(out, r->kept_offset, ((size_t)tokens + 1) * sizeof *r->kept_offset);
        record_write(out, r->kept, (size_t)kept * sizeof *r->kept);
    }
    write_column(out, batch->reward, r->n_sequences);
    write_column(out, batch->advantage, r->n_sequences);
    write_column(out, batch->logp_trainer, tokens);
    write_column(out, batch->logp_reference, tokens);
    write_column(out, batch->logp_current, tokens);
    record_write_i64(out, batch->mask_truncated);
    record_write_i64(out, batch->verdict != NULL);
    if (batch->verdict) record_write(out, batch->verdict, n * sizeof *batch->verdict);
}

static opsm_status read_column(struct record_in *in, float **column, int64_t n, opsm_error *err) {
    int64_t there;
    opsm_status status = record_read_i64(in, 0, 1, &there, err);
    if (status != OPSM_OK || !there) return status;
    *column = mem_alloc((size_t)n, sizeof **column);
    if (!*column) return mem_exhausted(err, "a rollout column", (size_t)n * sizeof **column);
    return record_read(in, *column, (size_t)n * sizeof **column, err);
}

/* Offsets come from a file with a good checksum, but a wrong one must not send us out of bounds. */
static opsm_status check_offsets(const struct record_in *in, const char *what, const int64_t *offsets, int64_t n,
                                 int64_t end, opsm_error *err) {
    bool good = offsets[0] == 0 && offsets[n] == end;
    for (int64_t i = 0; good && i < n; i++) good = offsets[i] <= offsets[i + 1];
    return good ? OPSM_OK : opsm_fail(err, OPSM_FORMAT, "'%s': the offsets of %s are not in order", in->path, what);
}

static opsm_status read_rollouts(struct rollouts *r, struct record_in *in, const int64_t sizes[6], opsm_error *err) {
    int64_t prompt_tokens = sizes[3], tokens = sizes[4], kept = sizes[5];
    opsm_status status = rollouts_allocate(r, (int32_t)sizes[1], (int32_t)sizes[2], prompt_tokens, tokens, kept, err);
    if (status != OPSM_OK) return status;
    size_t n = (size_t)r->n_sequences;
    struct {
        void *data;
        size_t size;
    } blocks[] = {
        {&r->inv_temperature, sizeof r->inv_temperature},
        {r->prompt_offset, ((size_t)r->n_prompts + 1) * sizeof *r->prompt_offset},
        {r->prompt_tokens, (size_t)prompt_tokens * sizeof *r->prompt_tokens},
        {r->offset, (n + 1) * sizeof *r->offset},
        {r->tokens, (size_t)tokens * sizeof *r->tokens},
        {r->logp, (size_t)tokens * sizeof *r->logp},
        {r->finish, n},
        {r->text_length, n * sizeof *r->text_length},
        {r->version, n * sizeof *r->version},
        {r->kept_offset, kept >= 0 ? ((size_t)tokens + 1) * sizeof *r->kept_offset : 0},
        {r->kept, kept >= 0 ? (size_t)kept * sizeof *r->kept : 0},
    };
    for (size_t i = 0; status == OPSM_OK && i < sizeof blocks / sizeof *blocks; i++)
        status = record_read(in, blocks[i].data, blocks[i].size, err);
    if (status == OPSM_OK) status = check_offsets(in, "prompts", r->prompt_offset, r->n_prompts, prompt_tokens, err);
    if (status == OPSM_OK) status = check_offsets(in, "sequences", r->offset, r->n_sequences, tokens, err);
    if (status == OPSM_OK && kept >= 0) status = check_offsets(in, "kept sets", r->kept_offset, tokens, kept, err);
    return status;
}

static opsm_status read_all(struct batch *batch, struct record_in *in, opsm_error *err) {
    int64_t sizes[6];
    static const int64_t lowest[6] = {0, 1, 1, 1, 1, -1};
    const int64_t highest[6] = {INT64_MAX, INT32_MAX, INT32_MAX, LARGEST, LARGEST, LARGEST};
    for (int i = 0; i < 6; i++) {
        opsm_status status = record_read_i64(in, lowest[i], highest[i], &sizes[i], err);
        if (status != OPSM_OK) return status;
    }
    if (sizes[1] * sizes[2] > INT32_MAX)
        return opsm_fail(err, OPSM_FORMAT, "'%s': %lld x %lld sequences are too many", in->path, (long long)sizes[1],
                         (long long)sizes[2]);
    batch->index = sizes[0];
    opsm_status status = read_rollouts(&batch->rollouts, in, sizes, err);
    if (status == OPSM_OK) status = read_column(in, &batch->reward, batch->rollouts.n_sequences, err);
    if (status == OPSM_OK) status = read_column(in, &batch->advantage, batch->rollouts.n_sequences, err);
    if (status == OPSM_OK) status = read_column(in, &batch->logp_trainer, sizes[4], err);
    if (status == OPSM_OK) status = read_column(in, &batch->logp_reference, sizes[4], err);
    if (status == OPSM_OK) status = read_column(in, &batch->logp_current, sizes[4], err);
    int64_t masked = 0, verdicts = 0;
    if (status == OPSM_OK) status = record_read_i64(in, 0, 1, &masked, err);
    batch->mask_truncated = masked != 0;
    if (status == OPSM_OK) status = record_read_i64(in, 0, 1, &verdicts, err);
    if (status == OPSM_OK && verdicts) status = batch_add_verdicts(batch, err);
    if (status == OPSM_OK && verdicts)
        status = record_read(in, batch->verdict, (size_t)batch->rollouts.n_sequences * sizeof *batch->verdict, err);
    return status;
}

opsm_status batch_read(struct batch *batch, struct record_in *in, opsm_error *err) {
    *batch = (struct batch){0};
    opsm_status status = read_all(batch, in, err);
    if (status != OPSM_OK) batch_free(batch);
    return status;
}

/* ---- rollouts as JSON lines ---------------------------------------------------------------------------------------
 */

static void put_text(struct file_out *out, const char *text) {
    file_write(out, text, strlen(text));
}

/* Nine digits give every float back. JSON has no NaN: null. */
static void put_number(struct file_out *out, double x) {
    char text[40];
    if (isfinite(x))
        snprintf(text, sizeof text, "%.9g", x);
    else
        snprintf(text, sizeof text, "null");
    put_text(out, text);
}

/* `lead` numbers of the prompt come before the column and have no log-prob of their own: 0, where the mask is 0. */
static void put_floats(struct file_out *out, const char *name, const float *column, int64_t lead, int64_t n) {
    put_text(out, ",\"");
    put_text(out, name);
    put_text(out, "\":");
    if (!column) {
        put_text(out, "null");
        return;
    }
    for (int64_t i = 0; i < lead; i++) put_text(out, i ? ",0" : "[0");
    for (int64_t i = 0; i < n; i++) {
        put_text(out, lead + i ? "," : "[");
        put_number(out, (double)column[i]);
    }
    put_text(out, "]");
}

static void put_integers(struct file_out *out, const int32_t *column, int64_t n, bool more) {
    char text[16];
    for (int64_t i = 0; i < n; i++) {
        snprintf(text, sizeof text, "%s%" PRId32, i || more ? "," : "", column[i]);
        put_text(out, text);
    }
}

static void put_sequence(struct file_out *out, const struct batch *batch, int32_t i) {
    const struct rollouts *r = &batch->rollouts;
    int32_t group = i / r->group;
    int64_t first = r->offset[i], n = r->offset[i + 1] - first;
    int64_t prompt = r->prompt_offset[group], lead = r->prompt_offset[group + 1] - prompt;
    char text[160];
    snprintf(text, sizeof text, "{\"group\":%lld,\"reward\":%.9g,\"advantage\":%.9g,\"version\":%llu,\"finish\":\"%s\"",
             (long long)batch->index * r->n_prompts + group, (double)batch->reward[i], (double)batch->advantage[i],
             (unsigned long long)r->version[i], finish_name(r->finish[i]));
    put_text(out, text);
    put_text(out, ",\"tokens\":[");
    put_integers(out, r->prompt_tokens + prompt, lead, false);
    put_integers(out, r->tokens + first, n, lead > 0);
    put_text(out, "],\"mask\":[");
    const char *own = batch_in_loss(batch, i) ? ",1" : ",0";
    for (int64_t t = 0; t < lead + n; t++) put_text(out, (t < lead ? ",0" : own) + (t == 0));
    put_text(out, "]");
    put_floats(out, "logp_behavior", r->logp + first, lead, n);
    put_floats(out, "logp_current", batch->logp_current + first, lead, n);
    put_floats(out, "logp_trainer", batch->logp_trainer ? batch->logp_trainer + first : NULL, lead, n);
    put_floats(out, "logp_reference", batch->logp_reference ? batch->logp_reference + first : NULL, lead, n);
    put_text(out, "}\n");
}

opsm_status batch_dump(const struct batch *batch, const char *path, opsm_error *err) {
    if (!batch->logp_current)
        return opsm_fail(err, OPSM_INTERNAL, "the current log-probs were not kept: nothing to write to '%s'", path);
    struct file_out *out;
    opsm_status status = file_create(&out, path, err);
    if (status != OPSM_OK) return status;
    for (int32_t i = 0; i < batch->rollouts.n_sequences; i++) put_sequence(out, batch, i);
    return file_commit(out, err);
}
