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

void minibatch_cut(const struct batch *batch, uint64_t seed, int32_t epoch, int32_t count, int32_t *ids, int32_t *begin,
                   int32_t *scratch) {
    const struct rollouts *r = &batch->rollouts;
    bool whole_groups = r->n_prompts >= count;
    int32_t n = whole_groups ? r->n_prompts : r->n_sequences, size = whole_groups ? r->group : 1;
    for (int32_t i = 0; i < n; i++) scratch[i] = i;
    struct rng rng =
        rng_make(seed, RNG_SHUFFLE, (uint32_t)batch->index, (uint32_t)(batch->index >> 32), (uint32_t)epoch);
    rng_shuffle(&rng, scratch, n);
    for (int32_t m = 0; m < count; m++) {
        int32_t first = (int32_t)((int64_t)n * m / count), end = (int32_t)((int64_t)n * (m + 1) / count);
        qsort(scratch + first, (size_t)(end - first), sizeof *scratch, compare_ids);
        begin[m] = first * size;
    }
    begin[count] = n * size;
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 0; j < size; j++) ids[i * size + j] = scratch[i] * size + j;
}

size_t minibatch_bytes(int32_t sequences, int64_t tokens) {
    return (size_t)tokens * (6 * sizeof(float) + 1) + (size_t)sequences * (sizeof(opsm_sequence) + 57) +
           opsm_objective_workspace(sequences);
}

void minibatch_free(struct minibatch *mb) {
    mem_free(mb->offset);
    mem_free(mb->behavior);
    mem_free(mb->trainer);
    mem_free(mb->reference);
    mem_free(mb->current);
    mem_free(mb->entropy);
    mem_free(mb->dlogp);
    mem_free(mb->mask);
    mem_free(mb->advantage);
    mem_free(mb->groups);
    mem_free(mb->names);
    mem_free(mb->lag);
    mem_free(mb->records);
    mem_free(mb->selected);
    mem_free(mb->selected_at);
    mem_free(mb->forwarded);
    mem_free(mb->workspace);
    *mb = (struct minibatch){0};
}

opsm_status minibatch_reserve(struct minibatch *mb, int32_t sequences, int64_t tokens, opsm_error *err) {
    if (sequences <= mb->room_sequences && tokens <= mb->room_tokens) return OPSM_OK;
    if (sequences < mb->room_sequences) sequences = mb->room_sequences;
    if (tokens < mb->room_tokens) tokens = mb->room_tokens;
    minibatch_free(mb);
    size_t n = (size_t)sequences, t = (size_t)tokens;
    mb->workspace_size = opsm_objective_workspace(sequences);
    float **floats[] = {&mb->behavior, &mb->trainer, &mb->reference, &mb->current, &mb->entropy, &mb->dlogp};
    bool whole = true;
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        whole = (*floats[i] = mem_alloc(t, sizeof(float))) != NULL && whole;
    whole = (mb->mask = mem_alloc(t, 1)) != NULL && whole;
    whole = (mb->offset = mem_alloc(n + 1, sizeof *mb->offset)) != NULL && whole;
    whole = (mb->advantage = mem_alloc(n, sizeof *mb->advantage)) != NULL && whole;
    whole = (mb->groups = mem_alloc(n, sizeof *mb->groups)) != NULL && whole;
    whole = (mb->names = mem_alloc(n, sizeof *mb->names)) != NULL && whole;
    whole = (mb->lag = mem_alloc(n, sizeof *mb->lag)) != NULL && whole;
    whole = (mb->records = mem_alloc(n, sizeof *mb->records)) != NULL && whole;
    whole = (mb->selected = mem_alloc(n, sizeof *mb->selected)) != NULL && whole;
    whole = (mb->selected_at = mem_alloc(n, sizeof *mb->selected_at)) != NULL && whole;
    whole = (mb->forwarded = mem_alloc(n, 1)) != NULL && whole;
    whole = (mb->workspace = mem_alloc(mb->workspace_size, 1)) != NULL && whole;
    if (!whole) {
        minibatch_free(mb);
        return mem_exhausted(err, "a minibatch", minibatch_bytes(sequences, tokens));
    }
    mb->room_sequences = sequences;
    mb->room_tokens = tokens;
    return OPSM_OK;
}

opsm_status minibatch_gather(struct minibatch *mb, const struct batch *batch, const int32_t *ids, int32_t n,
                             uint64_t version, opsm_error *err) {
    const struct rollouts *r = &batch->rollouts;
    int64_t tokens = 0;
    for (int32_t i = 0; i < n; i++) tokens += r->offset[ids[i] + 1] - r->offset[ids[i]];
    opsm_status status = minibatch_reserve(mb, n, tokens, err);
    if (status != OPSM_OK) return status;
    mb->n = n;
    mb->ids = ids;
    int64_t at = 0;
    for (int32_t i = 0; i < n; i++) {
        int64_t first = r->offset[ids[i]], length = r->offset[ids[i] + 1] - first;
        size_t size = (size_t)length * sizeof(float);
        mb->offset[i] = at;
        memcpy(mb->behavior + at, r->logp + first, size);
        memcpy(mb->current + at, r->logp + first, size);
        if (batch->logp_trainer) memcpy(mb->trainer + at, batch->logp_trainer + first, size);
        if (batch->logp_reference) memcpy(mb->reference + at, batch->logp_reference + first, size);
        for (int64_t t = 0; t < length; t++) mb->entropy[at + t] = NAN;
        memset(mb->mask + at, batch_in_loss(batch, ids[i]), (size_t)length);
        mb->advantage[i] = batch->advantage[ids[i]];
        mb->groups[i] = ids[i] / r->group;
        mb->names[i] = ids[i];
        mb->lag[i] = (int64_t)(version - r->version[ids[i]]);
        mb->forwarded[i] = 0;
        at += length;
    }
    mb->offset[n] = at;
    return OPSM_OK;
}

void minibatch_select(struct minibatch *mb, const uint8_t *wanted) {
    mb->n_selected = 0;
    for (int32_t i = 0; i < mb->n; i++) {
        if (!wanted[i]) continue;
        mb->selected[mb->n_selected] = mb->ids[i];
        mb->selected_at[mb->n_selected++] = mb->offset[i];
    }
}

opsm_batch minibatch_view(const struct minibatch *mb, const struct batch *batch, int64_t step) {
    opsm_batch view;
    opsm_batch_init(&view);
    view.n_sequences = mb->n;
    view.n_tokens = mb->offset[mb->n];
    view.offsets = mb->offset;
    view.logp_current = mb->current;
    view.logp_behavior = mb->behavior;
    view.logp_trainer = batch->logp_trainer ? mb->trainer : NULL;
    view.logp_reference = batch->logp_reference ? mb->reference : NULL;
    view.mask = batch->mask_truncated ? mb->mask : NULL;
    view.advantages = mb->advantage;
    view.groups = mb->groups;
    view.ids = mb->names;
    view.entropy = mb->entropy;
    view.lag = mb->lag;
    view.step = step;
    return view;
}
