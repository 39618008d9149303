/* SPDX-License-Identifier: Apache-2.0 */
#include "train/source.h"
#include "base/mem.h"
#include <inttypes.h>
#include <string.h>

opsm_status source_open(struct source *s, struct producer *producer, int64_t depth, opsm_error *err) {
    size_t room = (size_t)depth + 1;
    *s = (struct source){.producer = producer, .depth = depth};
    s->queue = mem_zalloc(room, sizeof *s->queue);
    s->versions = mem_zalloc(room, sizeof *s->versions);
    return s->queue && s->versions ? OPSM_OK : mem_exhausted(err, "the rollout queue", room * sizeof *s->queue);
}

static void clear(struct source *s) {
    while (s->n > 0) batch_free(&s->queue[--s->n]);
    s->next = s->iterations = 0;
}

void source_close(struct source *s) {
    clear(s);
    mem_free(s->queue);
    mem_free(s->versions);
    *s = (struct source){0};
}

/* An iteration that is gone on with, its weights changed since, began with others. */
static void begin(struct source *s, int64_t iteration) {
    if (iteration < s->iterations) return;
    s->versions[iteration % (s->depth + 1)] = s->producer->model->version;
    s->iterations = iteration + 1;
}

static opsm_status make(struct source *s, int64_t iteration, opsm_error *err) {
    struct batch *batch = &s->queue[s->n];
    opsm_status status = producer_make(s->producer, s->next, batch, err);
    if (status != OPSM_OK) return status;
    batch->made = iteration;
    s->n++;
    s->next++;
    return OPSM_OK;
}

static opsm_status check_age(const struct source *s, int64_t iteration, int64_t bound, const struct batch *batch,
                             opsm_error *err) {
    int64_t back = bound < s->depth ? bound : s->depth;
    int64_t first = iteration > back ? iteration - back : 0;
    const uint64_t *version = batch->rollouts.version;
    uint64_t least = s->versions[first % (s->depth + 1)], oldest = version[0];
    for (int32_t i = 1; i < batch->rollouts.n_sequences; i++)
        if (version[i] < oldest) oldest = version[i];
    if (oldest >= least) return OPSM_OK;
    return opsm_fail(err, OPSM_INTERNAL,
                     "batch %" PRId64 " has rollouts of weights %" PRIu64 ", iteration %" PRId64
                     " may have none older than weights %" PRIu64 ": a staleness of at most %" PRId64,
                     batch->index, oldest, iteration, least, bound);
}

opsm_status source_next(struct source *s, int64_t iteration, int64_t bound, struct batch **batch, opsm_error *err) {
    begin(s, iteration);
    while (s->next <= iteration + s->depth) {
        opsm_status status = make(s, iteration, err);
        if (status != OPSM_OK) return status;
    }
    *batch = &s->queue[0];
    if (s->n == 0 || s->queue[0].index != iteration)
        return opsm_fail(err, OPSM_INTERNAL, "there is no batch for iteration %" PRId64, iteration);
    return check_age(s, iteration, bound, *batch, err);
}

void source_done(struct source *s) {
    batch_free(&s->queue[0]);
    s->n--;
    memmove(s->queue, s->queue + 1, (size_t)s->n * sizeof *s->queue);
    s->queue[s->n] = (struct batch){0};
}

struct batch_stats source_fresh(const struct source *s, int64_t iteration) {
    struct batch_stats fresh = {0};
    for (int64_t i = 0; i < s->n; i++) {
        if (s->queue[i].made != iteration) continue;
        struct batch_stats before = fresh;
        fresh = s->queue[i].stats;
        fresh.tokens += before.tokens;
        fresh.unjudged += before.unjudged;
        fresh.seconds_rollout += before.seconds_rollout;
        fresh.seconds_reward += before.seconds_reward;
    }
    return fresh;
}

/* ---- checkpoint ---- */

void source_write(const struct source *s, struct record_out *out) {
    const int64_t counts[] = {s->depth, s->next, s->iterations, s->n};
    record_write(out, counts, sizeof counts);
    record_write(out, s->versions, ((size_t)s->depth + 1) * sizeof *s->versions);
    for (int64_t i = 0; i < s->n; i++) batch_write(&s->queue[i], out);
}

static opsm_status read_queue(struct source *s, struct record_in *in, opsm_error *err) {
    int64_t depth, n;
    opsm_status status = record_read_i64(in, s->depth, s->depth, &depth, err);
    if (status == OPSM_OK) status = record_read_i64(in, 0, INT64_MAX, &s->next, err);
    if (status == OPSM_OK) status = record_read_i64(in, 0, INT64_MAX, &s->iterations, err);
    if (status == OPSM_OK) status = record_read_i64(in, 0, s->depth + 1, &n, err);
    if (status == OPSM_OK) status = record_read(in, s->versions, ((size_t)s->depth + 1) * sizeof *s->versions, err);
    while (status == OPSM_OK && s->n < n) {
        status = batch_read(&s->queue[s->n], in, err);
        s->n += status == OPSM_OK;
    }
    for (int64_t i = 0; status == OPSM_OK && i < n; i++)
        if (s->queue[i].index != s->next - n + i)
            status =
                opsm_fail(err, OPSM_FORMAT, "'%s': batch %" PRId64 " is not the next one", in->path, s->queue[i].index);
    return status;
}

opsm_status source_read(struct source *s, struct record_in *in, opsm_error *err) {
    clear(s);
    opsm_status status = read_queue(s, in, err);
    if (status != OPSM_OK) clear(s);
    return status;
}
