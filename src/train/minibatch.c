/* SPDX-License-Identifier: Apache-2.0 */
#include "train/minibatch.h"
#include "base/mem.h"
#include "base/rng.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare_ids(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Fills units with the first sequence of each group, or with every sequence; returns their number. */
static int32_t list_units(const struct rollouts *r, bool groups, int32_t *units) {
    int32_t n = 0;
    for (int32_t i = 0; i < r->n_sequences; i = groups ? rollouts_group_end(r, i) : i + 1) units[n++] = i;
    return n;
}

void minibatch_cut(const struct batch *batch, uint64_t seed, int32_t epoch, int32_t count, int32_t *ids, int32_t *begin,
                   int32_t *scratch) {
    const struct rollouts *r = &batch->rollouts;
    int32_t n = list_units(r, true, scratch), n_ids = 0;
    bool whole_groups = n >= count;
    if (!whole_groups) n = list_units(r, false, scratch);
    struct rng rng =
        rng_make(seed, RNG_SHUFFLE, (uint32_t)batch->index, (uint32_t)(batch->index >> 32), (uint32_t)epoch);
    rng_shuffle(&rng, scratch, n);
    for (int32_t m = 0; m < count; m++) {
        int32_t first = (int32_t)((int64_t)n * m / count), end = (int32_t)((int64_t)n * (m + 1) / count);
        qsort(scratch + first, (size_t)(end - first), sizeof *scratch, compare_ids);
        begin[m] = n_ids;
        for (int32_t k = first; k < end; k++) {
            int32_t behind = whole_groups ? rollouts_group_end(r, scratch[k]) : scratch[k] + 1;
            for (int32_t i = scratch[k]; i < behind; i++)
                if (batch_judged(batch, i)) ids[n_ids++] = i;
        }
    }
    begin[count] = n_ids;
}

/* ---- room ---- */

size_t minibatch_bytes(int32_t sequences, int64_t tokens) {
    const struct rollout_sizes room = {.n_sequences = sequences, .tokens = tokens, .kept = -1};
    size_t bytes = opsm_objective_workspace(sequences);
    for (int id = 0; id < COLUMN_COUNT; id++)
        if (rollout_columns[id].gathered) bytes += (size_t)column_length(id, &room) * rollout_columns[id].size;
#define ADD(name, type, elements, what) bytes += (size_t)(elements) * sizeof(type);
    MINIBATCH_COLUMNS(ADD)
#undef ADD
    return bytes;
}

void minibatch_free(struct minibatch *mb) {
    rollouts_free(&mb->rollouts);
#define FREE(name, type, elements, what) mem_free(mb->name);
    MINIBATCH_COLUMNS(FREE)
#undef FREE
    mem_free(mb->workspace);
    *mb = (struct minibatch){0};
}

opsm_status minibatch_reserve(struct minibatch *mb, int32_t sequences, int64_t tokens, opsm_error *err) {
    if (sequences <= mb->room_sequences && tokens <= mb->room_tokens) return OPSM_OK;
    if (sequences < mb->room_sequences) sequences = mb->room_sequences;
    if (tokens < mb->room_tokens) tokens = mb->room_tokens;
    minibatch_free(mb);
    mb->workspace_size = opsm_objective_workspace(sequences);
    bool whole = (mb->workspace = mem_alloc(mb->workspace_size, 1)) != NULL;
#define ALLOCATE(name, type, elements, what)                                                                           \
    whole = (mb->name = mem_alloc((size_t)(elements), sizeof(type))) != NULL && whole;
    MINIBATCH_COLUMNS(ALLOCATE)
#undef ALLOCATE
    if (!whole) {
        minibatch_free(mb);
        return mem_exhausted(err, "a minibatch", minibatch_bytes(sequences, tokens));
    }
    mb->room_sequences = sequences;
    mb->room_tokens = tokens;
    return OPSM_OK;
}

/* The gathered columns are there where the batch has them. */
static opsm_status match_columns(struct minibatch *mb, const struct rollouts *from, opsm_error *err) {
    const struct rollout_sizes room = {.n_sequences = mb->room_sequences, .tokens = mb->room_tokens, .kept = -1};
    opsm_status status = OPSM_OK;
    for (int id = 0; status == OPSM_OK && id < COLUMN_COUNT; id++) {
        if (!rollout_columns[id].gathered) continue;
        bool wanted = rollouts_column(from, id) != NULL, there = rollouts_column(&mb->rollouts, id) != NULL;
        if (wanted && !there) status = rollouts_make(&mb->rollouts, id, column_length(id, &room), err);
        if (!wanted && there) rollouts_drop(&mb->rollouts, id);
    }
    return status;
}

/* ---- gathering ---- */

static void gather_column(struct minibatch *mb, const struct rollouts *from, enum column_id id) {
    size_t size = rollout_columns[id].size;
    const char *source = rollouts_column(from, id);
    char *to = rollouts_column(&mb->rollouts, id);
    bool by_token = rollout_columns[id].shape == PER_TOKEN;
    for (int32_t i = 0; i < mb->n; i++) {
        size_t first = by_token ? (size_t)from->offset[mb->ids[i]] : (size_t)mb->ids[i];
        size_t at = by_token ? (size_t)mb->rollouts.offset[i] : (size_t)i;
        size_t length = by_token ? (size_t)(mb->rollouts.offset[i + 1] - mb->rollouts.offset[i]) : 1;
        memcpy(to + at * size, source + first * size, length * size);
    }
}

opsm_status minibatch_gather(struct minibatch *mb, const struct batch *batch, const int32_t *ids, int32_t n,
                             uint64_t version, opsm_error *err) {
    const struct rollouts *from = &batch->rollouts;
    int64_t tokens = 0;
    for (int32_t i = 0; i < n; i++) tokens += from->offset[ids[i] + 1] - from->offset[ids[i]];
    opsm_status status = minibatch_reserve(mb, n, tokens, err);
    if (status == OPSM_OK) status = match_columns(mb, from, err);
    if (status != OPSM_OK) return status;
    struct rollouts *r = &mb->rollouts;
    mb->n = r->n_sequences = n;
    mb->ids = ids;
    r->offset[0] = 0;
    for (int32_t i = 0; i < n; i++) r->offset[i + 1] = r->offset[i] + from->offset[ids[i] + 1] - from->offset[ids[i]];
    for (int id = 0; id < COLUMN_COUNT; id++)
        if (id != COLUMN_offset && rollouts_column(r, id)) gather_column(mb, from, id);
    memcpy(mb->current, r->logp, (size_t)tokens * sizeof *mb->current);
    for (int64_t t = 0; t < tokens; t++) mb->entropy[t] = NAN;
    mb->masked = batch->mask_truncated || from->mask;
    for (int32_t i = 0; i < n; i++) {
        for (int64_t t = r->offset[i]; t < r->offset[i + 1]; t++)
            mb->mask[t] = batch_token_in_loss(batch, ids[i], from->offset[ids[i]] + t - r->offset[i]);
        mb->names[i] = ids[i];
        mb->lag[i] = (int64_t)(version - r->version[i]);
        mb->forwarded[i] = 0;
    }
    return OPSM_OK;
}

void minibatch_select(struct minibatch *mb, const uint8_t *wanted) {
    mb->n_selected = 0;
    for (int32_t i = 0; i < mb->n; i++) {
        if (!wanted[i]) continue;
        mb->selected[mb->n_selected] = mb->ids[i];
        mb->selected_at[mb->n_selected++] = mb->rollouts.offset[i];
    }
}

opsm_batch minibatch_view(const struct minibatch *mb, int64_t step) {
    const struct rollouts *r = &mb->rollouts;
    opsm_batch view;
    opsm_batch_init(&view);
    view.n_sequences = mb->n;
    view.n_tokens = r->offset[mb->n];
    view.offsets = r->offset;
    view.logp_current = mb->current;
    view.logp_behavior = r->logp;
    view.logp_trainer = r->logp_trainer;
    view.logp_reference = r->logp_reference;
    view.mask = mb->masked ? mb->mask : NULL;
    view.advantages = r->advantage;
    view.groups = r->group_of;
    view.ids = mb->names;
    view.entropy = mb->entropy;
    view.lag = mb->lag;
    view.step = step;
    return view;
}
