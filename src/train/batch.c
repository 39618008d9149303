/* SPDX-License-Identifier: Apache-2.0 */
#include "train/batch.h"
#include "base/hash.h"
#include "base/mem.h"
#include "io/json_writer.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

void batch_free(struct batch *batch) {
    rollouts_free(&batch->rollouts);
    *batch = (struct batch){0};
}

opsm_status batch_add_columns(struct batch *batch, bool keep_current, opsm_error *err) {
    struct rollouts *r = &batch->rollouts;
    opsm_status status = rollouts_add(r, COLUMN_reward, err);
    if (status == OPSM_OK) status = rollouts_add(r, COLUMN_advantage, err);
    if (status != OPSM_OK || !keep_current) return status;
    status = rollouts_add(r, COLUMN_logp_current, err);
    if (status == OPSM_OK) memcpy(r->logp_current, r->logp, (size_t)rollouts_tokens(r) * sizeof *r->logp);
    return status;
}

/* ---- checkpoint ---- */

static const int64_t LARGEST = (int64_t)1 << 40; /* far beyond any real batch; keeps products within 63 bits */

/* Changes with the table, so that nobody has to remember to count a format version up. */
static int64_t table_fingerprint(void) {
    uint64_t sum = 0;
    for (int id = 0; id < COLUMN_COUNT; id++) {
        const struct column *column = &rollout_columns[id];
        hash_add_text(&sum, column->name);
        hash_add_i64(&sum, column->shape);
        hash_add_i64(&sum, column->type);
        hash_add_i64(&sum, (int64_t)column->size);
    }
    return (int64_t)sum;
}

void batch_write(const struct batch *batch, struct record_out *out) {
    const struct rollouts *r = &batch->rollouts;
    struct rollout_sizes sizes = rollouts_sizes(r);
    const int64_t header[] = {table_fingerprint(),   batch->index,    batch->made,
                              batch->mask_truncated, sizes.n_prompts, sizes.n_sequences,
                              sizes.prompt_tokens,   sizes.tokens,    sizes.kept};
    record_write(out, header, sizeof header);
    record_write(out, &batch->stats, sizeof batch->stats);
    record_write(out, &r->inv_temperature, sizeof r->inv_temperature);
    for (int id = 0; id < COLUMN_COUNT; id++) {
        const void *data = rollouts_column(r, id);
        record_write_i64(out, data != NULL);
        if (data) record_write(out, data, (size_t)column_length(id, &sizes) * rollout_columns[id].size);
    }
}

static opsm_status read_header(struct batch *batch, struct record_in *in, struct rollout_sizes *sizes,
                               opsm_error *err) {
    int64_t found, masked, prompts, sequences;
    opsm_status status = record_read_i64(in, INT64_MIN, INT64_MAX, &found, err);
    if (status == OPSM_OK && found != table_fingerprint())
        return opsm_fail(err, OPSM_UNSUPPORTED,
                         "'%s' has other columns than this program's rollouts: go on with the program that wrote it, "
                         "or take another output",
                         in->path);
    if (status == OPSM_OK) status = record_read_i64(in, 0, INT64_MAX, &batch->index, err);
    if (status == OPSM_OK) status = record_read_i64(in, 0, INT64_MAX, &batch->made, err);
    if (status == OPSM_OK) status = record_read_i64(in, 0, 1, &masked, err);
    if (status == OPSM_OK) status = record_read_i64(in, 1, INT32_MAX, &prompts, err);
    if (status == OPSM_OK) status = record_read_i64(in, 1, INT32_MAX, &sequences, err);
    if (status == OPSM_OK) status = record_read_i64(in, 1, LARGEST, &sizes->prompt_tokens, err);
    if (status == OPSM_OK) status = record_read_i64(in, 1, LARGEST, &sizes->tokens, err);
    if (status == OPSM_OK) status = record_read_i64(in, -1, LARGEST, &sizes->kept, err);
    if (status == OPSM_OK) status = record_read(in, &batch->stats, sizeof batch->stats, err);
    if (status != OPSM_OK) return status;
    batch->mask_truncated = masked != 0;
    batch->rollouts.n_prompts = sizes->n_prompts = (int32_t)prompts;
    batch->rollouts.n_sequences = sizes->n_sequences = (int32_t)sequences;
    return record_read(in, &batch->rollouts.inv_temperature, sizeof batch->rollouts.inv_temperature, err);
}

static opsm_status read_column(struct rollouts *r, struct record_in *in, enum column_id id,
                               const struct rollout_sizes *sizes, opsm_error *err) {
    int64_t there, length = column_length(id, sizes);
    opsm_status status = record_read_i64(in, column_required(id, sizes), length >= 0, &there, err);
    if (status != OPSM_OK || !there) return status;
    size_t bytes = (size_t)length * rollout_columns[id].size;
    if (bytes <= in->end - in->position) status = rollouts_make(r, id, length, err); /* else there is nothing to hold */
    return status == OPSM_OK ? record_read(in, rollouts_column(r, id), bytes, err) : status;
}

/* Places come from a file with a good checksum, but a wrong one must not send us out of bounds. */
static opsm_status check_places(const struct record_in *in, const struct rollouts *r, const struct rollout_sizes *sizes,
                                opsm_error *err) {
    const struct {
        const char *what;
        const int64_t *offsets;
        int64_t n, end;
    } places[] = {{"prompts", r->prompt_offset, sizes->n_prompts, sizes->prompt_tokens},
                  {"sequences", r->offset, sizes->n_sequences, sizes->tokens},
                  {"kept sets", r->kept_offset, sizes->tokens, sizes->kept}};
    for (size_t k = 0; k < sizeof places / sizeof *places; k++) {
        const int64_t *offsets = places[k].offsets;
        if (!offsets) continue;
        bool good = offsets[0] == 0 && offsets[places[k].n] == places[k].end;
        for (int64_t i = 0; good && i < places[k].n; i++) good = offsets[i] <= offsets[i + 1];
        if (!good)
            return opsm_fail(err, OPSM_FORMAT, "'%s': the offsets of %s are not in order", in->path, places[k].what);
    }
    bool good = r->group_of[0] >= 0 && r->group_of[r->n_sequences - 1] < r->n_prompts;
    for (int32_t i = 1; good && i < r->n_sequences; i++) good = r->group_of[i - 1] <= r->group_of[i];
    return good ? OPSM_OK : opsm_fail(err, OPSM_FORMAT, "'%s': the groups of sequences are not in order", in->path);
}

opsm_status batch_read(struct batch *batch, struct record_in *in, opsm_error *err) {
    *batch = (struct batch){0};
    struct rollout_sizes sizes;
    opsm_status status = read_header(batch, in, &sizes, err);
    for (int id = 0; status == OPSM_OK && id < COLUMN_COUNT; id++)
        status = read_column(&batch->rollouts, in, id, &sizes, err);
    if (status == OPSM_OK) status = check_places(in, &batch->rollouts, &sizes, err);
    if (status != OPSM_OK) batch_free(batch);
    return status;
}

/* ---- rollouts as JSON lines ---- */

static void put_element(struct json_writer *json, const struct batch *batch, enum column_id id, const char *key,
                        int64_t at) {
    const void *data = rollouts_column(&batch->rollouts, id);
    switch (rollout_columns[id].type) {
    case COLUMN_U8:
        json_put_int(json, key, ((const uint8_t *)data)[at]);
        break;
    case COLUMN_I32:
        json_put_int(json, key, ((const int32_t *)data)[at]);
        break;
    case COLUMN_I64:
        json_put_int(json, key, ((const int64_t *)data)[at]);
        break;
    case COLUMN_U64:
        json_put_int(json, key, (int64_t)((const uint64_t *)data)[at]);
        break;
    case COLUMN_F32:
        json_put_number(json, key, (double)((const float *)data)[at]);
        break;
    case COLUMN_RECORD:
        json_put_null(json, key);
    }
}

/* Where the numbers of the run are not those that readers want. */
static void put_of_sequence(struct json_writer *json, const struct batch *batch, enum column_id id, const char *key,
                            int32_t i) {
    if (id == COLUMN_group_of)
        json_put_int(json, key, batch_group_name(batch, i));
    else if (id == COLUMN_finish)
        json_put_string(json, key, finish_name(batch->rollouts.finish[i]));
    else
        put_element(json, batch, id, key, i);
}

/* The prompt's tokens come first; nothing else is known of them. */
static void put_of_tokens(struct json_writer *json, const struct batch *batch, enum column_id id, const char *key,
                          int32_t i) {
    const struct rollouts *r = &batch->rollouts;
    const int64_t *prompt = r->prompt_offset + r->group_of[i];
    json_put_open(json, key, '[');
    for (int64_t t = prompt[0]; t < prompt[1]; t++)
        json_put_int(json, NULL, id == COLUMN_tokens ? r->prompt_tokens[t] : 0);
    for (int64_t t = r->offset[i]; t < r->offset[i + 1]; t++)
        if (id == COLUMN_mask)
            json_put_int(json, NULL, batch_token_in_loss(batch, i, t));
        else
            put_element(json, batch, id, NULL, t);
    json_put_close(json, ']');
}

static void put_sequence(struct json_writer *json, const struct batch *batch, int32_t i) {
    json_put_open(json, NULL, '{');
    for (int pass = 0; pass < 2; pass++)
        for (int id = 0; id < COLUMN_COUNT; id++) {
            const struct column *column = &rollout_columns[id];
            if (!column->dumped || column->shape != (pass ? PER_TOKEN : PER_SEQUENCE)) continue;
            if (id != COLUMN_mask && !rollouts_column(&batch->rollouts, id))
                json_put_null(json, column->dumped);
            else if (pass)
                put_of_tokens(json, batch, id, column->dumped, i);
            else
                put_of_sequence(json, batch, id, column->dumped, i);
        }
    json_put_close(json, '}');
    json_put_end(json);
}

opsm_status batch_dump(const struct batch *batch, const char *path, opsm_error *err) {
    if (!batch->rollouts.logp_current)
        return opsm_fail(err, OPSM_INTERNAL, "the current log-probs were not kept: nothing to write to '%s'", path);
    struct file_out *out;
    opsm_status status = file_create(&out, path, err);
    if (status != OPSM_OK) return status;
    struct text line = {0};
    struct json_writer json = {.text = &line, .digits = 9}; /* nine digits give every float back */
    for (int32_t i = 0; i < batch->rollouts.n_sequences && !line.failed; i++) {
        if (!batch_judged(batch, i)) continue;
        text_clear(&line);
        put_sequence(&json, batch, i);
        file_write(out, line.data, line.length);
    }
    bool failed = line.failed;
    size_t room = line.room;
    text_free(&line);
    if (!failed) return file_commit(out, err);
    file_abort(out);
    return mem_exhausted(err, "a line of rollouts", room);
}
