/* SPDX-License-Identifier: Apache-2.0
 *
 * Forward attention: an online softmax (Milakov & Gimelshein 2018; blocked as in Dao et al. 2022) over blocks of
 * VEC_KEYS keys, counted from the start of the prefix and again from the start of a sequence's own keys. A row's
 * arithmetic is a function of its query and of the keys it sees, in their order; that several rows go through one
 * matrix product changes nothing, because each element of it is a chain of its own.
 */
#include "base/mem.h"
#include "base/threads.h"
#include "kernels/attention_plan.h"
#include "kernels/scratch.h"
#include <omp.h>

struct forward {
    const struct attention_shape *shape;
    const struct attention_sequence *sequences;
    const float *q;
    int64_t ldq;
    enum dtype type;
    void *out;
    float *lse;
    const struct vec_table *v;
};

/* What one thread works in: all for the query vectors of one chunk and one key head. */
struct state {
    float *q, *acc;  /* [vectors, head_dim]; q is already scaled */
    float *scores;   /* [vectors, VEC_KEYS] */
    float *keys;     /* [head_dim, VEC_KEYS] */
    float *max;      /* [vectors] */
    float *factor;   /* [vectors] */
    double *sum;     /* [vectors] */
    int heads, g, d; /* query heads per key head, the key head, head_dim */
};

static size_t round_up(size_t n) {
    return (n + 15) / 16 * 16;
}

static size_t vectors_of(const struct attention_shape *shape) {
    return (size_t)attention_chunk_rows(shape) * (size_t)(shape->n_heads / shape->n_kv_heads);
}

static size_t state_floats(const struct attention_shape *shape) {
    size_t n = round_up(vectors_of(shape)), d = round_up((size_t)shape->head_dim);
    return 2 * n * d + n * VEC_KEYS + d * VEC_KEYS + 2 * n + 2 * n;
}

static struct state state_in(float *memory, const struct attention_shape *shape, int g) {
    size_t n = round_up(vectors_of(shape)), d = round_up((size_t)shape->head_dim);
    struct state st = {.heads = shape->n_heads / shape->n_kv_heads, .g = g, .d = shape->head_dim};
    st.q = memory;
    st.acc = st.q + n * d;
    st.scores = st.acc + n * d;
    st.keys = st.scores + n * VEC_KEYS;
    st.max = st.keys + d * VEC_KEYS;
    st.factor = st.max + n;
    st.sum = (double *)(void *)(st.factor + n);
    return st;
}

/* One block of n keys k, values v [n, head_dim] for `n_rows` rows from row `at` of the chunk; row i sees the first
 * visible + i of them. Their acc [vectors, head_dim], max and sum [vectors] go on. */
static void attend_block(const struct forward *f, const struct state *st, const float *k, const float *v,
                         int64_t stride, int32_t n, int32_t at, int32_t n_rows, int32_t visible) {
    int32_t first = at * st->heads, count = n_rows * st->heads;
    float *scores = st->scores + (int64_t)first * VEC_KEYS;
    f->v->pack_keys(st->keys, k, stride, n, st->d);
    attention_scores(scores, st->q + (int64_t)first * st->d, st->d, st->keys, n_rows, st->heads, visible, n);
    f->v->softmax_rows(scores, count, st->heads, visible, n, st->max + first, st->sum + first, st->factor);
    f->v->scale_rows(st->acc + (int64_t)first * st->d, count, st->d, st->factor);
    attention_accumulate(st->acc + (int64_t)first * st->d, st->d, scores, v, stride, n_rows, st->heads, visible, n);
}

/* All keys of the prefix, which every row of the chunk sees. */
static void attend_prefix(const struct forward *f, const struct state *st, const struct attention_span *span,
                          int32_t n_rows) {
    const int64_t head = (int64_t)st->g * st->d;
    for (int32_t from = 0; from < span->n; from += VEC_KEYS) {
        int32_t n = span->n - from < VEC_KEYS ? span->n - from : VEC_KEYS;
        const int64_t offset = from * span->stride + head;
        attend_block(f, st, span->k + offset, span->v + offset, span->stride, n, 0, n_rows, n);
    }
}

/* A part's rows over the keys of their own sequence, up to themselves. */
static void attend_own(const struct forward *f, const struct state *st, const struct attention_part *part) {
    const struct attention_span *span = &part->sequence->own;
    const int64_t head = (int64_t)st->g * st->d;
    const int32_t lowest = attention_visible(part->sequence, part->row), highest = lowest + part->n_rows - 1;
    for (int32_t from = 0; from < highest; from += VEC_KEYS) {
        int32_t n = highest - from < VEC_KEYS ? highest - from : VEC_KEYS;
        int32_t skip = lowest > from ? 0 : from + 1 - lowest; /* rows that see none of these keys */
        const int64_t offset = from * span->stride + head;
        attend_block(f, st, span->k + offset, span->v + offset, span->stride, n, part->at + skip, part->n_rows - skip,
                     lowest + skip - from);
    }
}

/* out [head_dim] and lse of one vector: acc / sum, max + log(sum). */
static void finish_row(const struct forward *f, const struct state *st, int32_t vector, int64_t row) {
    const struct attention_shape *shape = f->shape;
    const int h = st->g * st->heads + vector % st->heads;
    const int64_t at = (row * shape->n_heads + h) * st->d;
    f->v->scale((char *)f->out + (size_t)at * dtype_size(f->type), f->type, st->acc + (int64_t)vector * st->d,
                (float)(1.0 / st->sum[vector]), st->d);
    if (f->lse) f->lse[row * shape->n_heads + h] = (float)((double)st->max[vector] + log(st->sum[vector]));
}

/* A task: the rows of one chunk, the query heads of key head g. */
static void attend(const struct forward *f, const struct attention_chunk *chunk, int g, float *memory) {
    struct state st = state_in(memory, f->shape, g);
    struct attention_part part = {0};
    while (attention_next_part(f->sequences, chunk, &part))
        attention_gather(st.q + (int64_t)part.at * st.heads * st.d, f->q, f->ldq, f->shape, g,
                         part.sequence->first_row + part.row, part.n_rows, f->shape->scale);
    for (int32_t r = 0; r < chunk->n_rows * st.heads; r++) {
        st.max[r] = -INFINITY;
        st.sum[r] = 0.0;
    }
    memset(st.acc, 0, (size_t)chunk->n_rows * (size_t)st.heads * (size_t)st.d * sizeof *st.acc);
    attend_prefix(f, &st, &f->sequences[chunk->sequence].prefix, chunk->n_rows);
    part = (struct attention_part){0};
    while (attention_next_part(f->sequences, chunk, &part)) {
        attend_own(f, &st, &part);
        for (int32_t r = 0; r < part.n_rows * st.heads; r++)
            finish_row(f, &st, part.at * st.heads + r, part.sequence->first_row + part.row + r / st.heads);
    }
}

opsm_status attention_forward(const struct attention_shape *shape, const struct attention_sequence *sequences,
                              int32_t n_sequences, const float *q, int64_t ldq, enum dtype type, void *out, float *lse,
                              opsm_error *err) {
    const struct forward f = {shape, sequences, q, ldq, type, out, lse, vec()};
    const int64_t n_chunks = attention_cut(shape, sequences, n_sequences, NULL);
    const int64_t n_tasks = n_chunks * shape->n_kv_heads;
    if (n_tasks == 0) return OPSM_OK;
    int threads = threads_for(attention_work(shape, sequences, n_sequences));
    if (threads > n_tasks) threads = (int)n_tasks;
    const size_t plan = (size_t)n_chunks * sizeof(struct attention_chunk), each = state_floats(shape);
    struct attention_chunk *chunks = (void *)scratch_floats(SCRATCH_PLAN, plan / sizeof(float) + 1);
    float *memory = chunks ? scratch_floats(SCRATCH_ATTENTION, each * (size_t)threads) : NULL;
    if (!memory) return mem_exhausted(err, "attention", plan + each * (size_t)threads * sizeof(float));
    attention_cut(shape, sequences, n_sequences, chunks);
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t t = 0; t < n_tasks; t++)
        attend(&f, &chunks[t / shape->n_kv_heads], (int)(t % shape->n_kv_heads),
               memory + (size_t)omp_get_thread_num() * each);
    return OPSM_OK;
}
