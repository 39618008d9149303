/* SPDX-License-Identifier: Apache-2.0 */
#include "rollout/rollouts.h"
#include "base/mem.h"
#include <string.h>

const char *finish_name(enum finish_reason reason) {
    switch (reason) {
    case FINISH_END:
        return "end";
    case FINISH_STOP:
        return "stop";
    case FINISH_LENGTH:
        return "length";
    }
    return "?";
}

/* ---- columns ---- */

#define COLUMN_TYPE(type)                                                                                              \
    _Generic((type *)NULL,                                                                                             \
        uint8_t *: COLUMN_U8,                                                                                          \
        int32_t *: COLUMN_I32,                                                                                         \
        int64_t *: COLUMN_I64,                                                                                         \
        uint64_t *: COLUMN_U64,                                                                                        \
        float *: COLUMN_F32,                                                                                           \
        default: COLUMN_RECORD)

#define COLUMN_LINE(column, ctype, rows, gather, dump_name, when, by, to)                                              \
    {#column, dump_name, when, by, to, rows, COLUMN_TYPE(ctype), sizeof(ctype), offsetof(struct rollouts, column),     \
     gather},
const struct column rollout_columns[COLUMN_COUNT] = {ROLLOUT_COLUMNS(COLUMN_LINE)};
_Static_assert(COLUMN_COUNT <= 64, "sets of columns are 64 bits");

int64_t column_length(enum column_id id, const struct rollout_sizes *sizes) {
    switch (rollout_columns[id].shape) {
    case PROMPT_OFFSETS:
        return (int64_t)sizes->n_prompts + 1;
    case PROMPT_TOKENS:
        return sizes->prompt_tokens;
    case SEQUENCE_OFFSETS:
        return (int64_t)sizes->n_sequences + 1;
    case KEPT_OFFSETS:
        return sizes->kept < 0 ? -1 : sizes->tokens + 1;
    case KEPT_TOKENS:
        return sizes->kept;
    case PER_TOKEN:
        return sizes->tokens;
    case PER_SEQUENCE:
        return sizes->n_sequences;
    }
    return -1;
}

bool column_required(enum column_id id, const struct rollout_sizes *sizes) {
    const struct column *column = &rollout_columns[id];
    bool kept = column->shape == KEPT_OFFSETS || column->shape == KEPT_TOKENS;
    return kept ? sizes->kept >= 0 : !column->absent;
}

/* Its pointer, of whichever type, is copied as bytes. */
void *rollouts_column(const struct rollouts *r, enum column_id id) {
    void *data;
    memcpy(&data, (const char *)r + rollout_columns[id].member, sizeof data);
    return data;
}

static void put_column(struct rollouts *r, enum column_id id, void *data) {
    memcpy((char *)r + rollout_columns[id].member, &data, sizeof data);
}

void rollouts_drop(struct rollouts *r, enum column_id id) {
    mem_free(rollouts_column(r, id));
    put_column(r, id, NULL);
}

opsm_status rollouts_make(struct rollouts *r, enum column_id id, int64_t length, opsm_error *err) {
    const struct column *column = &rollout_columns[id];
    void *data = mem_alloc((size_t)length, column->size);
    put_column(r, id, data);
    return data ? OPSM_OK : mem_exhausted(err, column->name, (size_t)length * column->size);
}

opsm_status rollouts_add(struct rollouts *r, enum column_id id, opsm_error *err) {
    if (rollouts_column(r, id)) return OPSM_OK;
    struct rollout_sizes sizes = rollouts_sizes(r);
    int64_t length = column_length(id, &sizes);
    opsm_status status = rollouts_make(r, id, length, err);
    if (status == OPSM_OK) memset(rollouts_column(r, id), 0, (size_t)length * rollout_columns[id].size);
    return status;
}

void rollouts_free(struct rollouts *r) {
    for (int id = 0; id < COLUMN_COUNT; id++) mem_free(rollouts_column(r, id));
    *r = (struct rollouts){0};
}

opsm_status rollouts_allocate(struct rollouts *r, const struct rollout_sizes *sizes, opsm_error *err) {
    *r = (struct rollouts){.n_prompts = sizes->n_prompts, .n_sequences = sizes->n_sequences};
    opsm_status status = OPSM_OK;
    for (int id = 0; status == OPSM_OK && id < COLUMN_COUNT; id++)
        if (column_required(id, sizes)) status = rollouts_make(r, id, column_length(id, sizes), err);
    if (status != OPSM_OK) rollouts_free(r);
    return status;
}

struct rollout_sizes rollouts_sizes(const struct rollouts *r) {
    int64_t tokens = rollouts_tokens(r);
    return (struct rollout_sizes){.n_prompts = r->n_prompts,
                                  .n_sequences = r->n_sequences,
                                  .prompt_tokens = r->prompt_offset ? r->prompt_offset[r->n_prompts] : 0,
                                  .tokens = tokens,
                                  .kept = r->kept_offset ? r->kept_offset[tokens] : -1};
}

size_t rollouts_bytes(const struct rollout_sizes *sizes, uint64_t optional) {
    size_t bytes = 0;
    for (int id = 0; id < COLUMN_COUNT; id++)
        if (column_required(id, sizes) || optional & column_bit(id))
            bytes += (size_t)column_length(id, sizes) * rollout_columns[id].size;
    return bytes;
}

/* ---- texts ---- */

char *rollouts_text(const struct rollouts *r, const struct tokenizer *tokenizer, int32_t i, size_t *length) {
    char *text = tokenizer_decode(tokenizer, r->tokens + r->offset[i], r->offset[i + 1] - r->offset[i], false, length);
    size_t end = (size_t)r->text_length[i];
    if (!text || r->finish[i] != FINISH_STOP || end >= *length) return text;
    text[end] = '\0';
    *length = end;
    return text;
}
