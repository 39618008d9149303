/* SPDX-License-Identifier: Apache-2.0 */
#include "objective/block.h"
#include <math.h>

void opsm_batch_init_sized(opsm_batch *batch, size_t size) {
    memset(batch, 0, size);
    batch->size = size;
}

opsm_status batch_load(const opsm_batch *batch, opsm_batch *full, opsm_error *err) {
    if (!batch || batch->size < sizeof(size_t))
        return opsm_fail(err, OPSM_INVALID, "batch not initialised: call opsm_batch_init");
    if (batch->size > sizeof *full)
        return opsm_fail(err, OPSM_UNSUPPORTED,
                         "batch of %zu bytes: this libopsm %s knows %zu; the program was compiled "
                         "for a newer one",
                         batch->size, opsm_version(), sizeof *full);
    opsm_batch_init(full);
    memcpy(full, batch, batch->size);
    full->size = sizeof *full;
    return OPSM_OK;
}

opsm_status batch_check_offsets(const opsm_batch *batch, opsm_error *err) {
    if (batch->n_sequences < 0 || batch->n_tokens < 0)
        return opsm_fail(err, OPSM_INVALID, "batch of %lld sequences and %lld tokens: neither may be negative",
                         (long long)batch->n_sequences, (long long)batch->n_tokens);
    if (!batch->offsets) return opsm_fail(err, OPSM_MISSING, "the batch has no offsets");
    if (batch->offsets[0] != 0)
        return opsm_fail(err, OPSM_LENGTHS, "offsets[0] is %lld: expected 0", (long long)batch->offsets[0]);
    for (int64_t i = 0; i < batch->n_sequences; i++)
        if (batch->offsets[i + 1] < batch->offsets[i])
            return opsm_fail(err, OPSM_LENGTHS, "sequence %lld ends at token %lld, before it starts at %lld",
                             (long long)i, (long long)batch->offsets[i + 1], (long long)batch->offsets[i]);
    if (batch->offsets[batch->n_sequences] != batch->n_tokens)
        return opsm_fail(err, OPSM_LENGTHS, "offsets end at token %lld but the arrays have %lld",
                         (long long)batch->offsets[batch->n_sequences], (long long)batch->n_tokens);
    return OPSM_OK;
}

int64_t batch_id(const opsm_batch *batch, int64_t i) {
    return batch->ids ? batch->ids[i] : i;
}

int64_t batch_tokens(const opsm_batch *batch, int64_t i) {
    int64_t first = batch->offsets[i], end = batch->offsets[i + 1];
    if (!batch->mask) return end - first;
    int64_t n = 0;
    int64_t t = first;
    for (uint64_t word; t + 8 <= end; t += 8) { /* eight ones, the usual case, at a time */
        memcpy(&word, batch->mask + t, 8);
        if (word == 0x0101010101010101u)
            n += 8;
        else
            for (int k = 0; k < 8; k++) n += batch->mask[t + k] != 0;
    }
    for (; t < end; t++) n += batch->mask[t] != 0;
    return n;
}

double batch_advantage(const opsm_batch *batch, int64_t i) {
    if (!batch->token_advantages) return (double)batch->advantages[i];
    struct walk walk = walk_sequence(batch, i);
    struct block block;
    double a[BLOCK], sum = 0;
    int64_t n = 0;
    while (walk_next(&walk, &block)) {
        block_gather(&block, batch->token_advantages, a);
        sum += block_sum(block.n, a);
        n += block.n;
    }
    return n ? sum / (double)n : 0.0;
}

void batch_log_probs(const opsm_batch *batch, struct named_array arrays[LOG_PROBS]) {
    arrays[0] = (struct named_array){"logp_current", batch->logp_current};
    arrays[1] = (struct named_array){"logp_behavior", batch->logp_behavior};
    arrays[2] = (struct named_array){"logp_trainer", batch->logp_trainer};
    arrays[3] = (struct named_array){"logp_reference", batch->logp_reference};
}

static opsm_status check_log_probs(const opsm_batch *batch, int64_t i, const struct named_array *array,
                                   opsm_error *err) {
    if (!array->values) return OPSM_OK;
    struct walk walk = walk_sequence(batch, i);
    struct block block;
    while (walk_next(&walk, &block))
        for (int k = 0; k < block.n; k++) {
            int64_t t = block_token(&block, k);
            double x = (double)array->values[t];
            if (isfinite(x) && x <= 1e-3) continue;
            return opsm_fail(err, isfinite(x) ? OPSM_POSITIVE : OPSM_NONFINITE,
                             "%s of sequence %lld, token %lld is %g: %s", array->name, (long long)i,
                             (long long)(t - batch->offsets[i]), x,
                             isfinite(x) ? "a log-prob is at most 0" : "expected a finite log-prob");
        }
    return OPSM_OK;
}

opsm_status opsm_batch_check(const opsm_batch *given, opsm_error *err) {
    opsm_batch batch = {0};
    struct named_array arrays[LOG_PROBS];
    opsm_status status = batch_load(given, &batch, err);
    if (status == OPSM_OK) status = batch_check_offsets(&batch, err);
    if (status != OPSM_OK) return status;
    batch_log_probs(&batch, arrays);
    for (int64_t i = 0; i < batch.n_sequences; i++) {
        for (int64_t t = batch.offsets[i]; batch.mask && t < batch.offsets[i + 1]; t++)
            if (batch.mask[t] > 1)
                return opsm_fail(err, OPSM_INVALID, "mask of sequence %lld, token %lld is %d: expected 0 or 1",
                                 (long long)i, (long long)(t - batch.offsets[i]), batch.mask[t]);
        for (int k = 0; k < LOG_PROBS; k++) {
            status = check_log_probs(&batch, i, &arrays[k], err);
            if (status != OPSM_OK) return status;
        }
    }
    return OPSM_OK;
}
