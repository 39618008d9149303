/* SPDX-License-Identifier: Apache-2.0
 *
 * Backward attention. With P = exp(S - lse), dP = dout V^T and D = rowsum(dout * out): dS = P (dP - D), and
 *
 *   dq = scale * dS K        one task per chunk of query rows, keys in order
 *   dk = scale * dS^T q      one task per block of keys of one destination, the rows that see them in order:
 *   dv = P^T dout            sequence after sequence, whoever owns the keys
 *
 * P and dS are computed twice, once from either side. It costs two of seven products, and buys that every element of a
 * gradient is one chain in a fixed order with no partial sums to store, at any number of threads.
 */
#include "base/mem.h"
#include "kernels/attention_plan.h"
#include "kernels/scratch.h"
#include <omp.h>
#include <stdlib.h>

struct backward {
    const struct attention_shape *shape;
    const struct attention_sequence *sequences;
    const float *q, *lse, *dout;
    float *d; /* [rows, n_heads], D */
    float *dq;
    int64_t ldq, lddq;
    const struct vec_table *v;
};

/* Keys that receive a gradient, and who contributes: `own` keys of a sequence, or its prefix. */
struct contribution {
    const struct attention_gradient *to;
    int32_t sequence;
    bool own;
};

/* One block of keys of one destination: contributions first .. first + n - 1. */
struct key_task {
    int32_t first, n, from;
};

struct state {
    float *q, *dout, *dq;   /* [vectors, head_dim]; q is already scaled */
    float *p, *ds;          /* [vectors, VEC_KEYS] */
    float *keys, *values;   /* [head_dim, VEC_KEYS] */
    float *dk, *dv;         /* [VEC_KEYS, head_dim] */
    float *lse, *d_row_sum; /* [vectors] */
    int heads, g, d;
};

static size_t round_up(size_t n) {
    return (n + 15) / 16 * 16;
}

static size_t vectors_of(const struct attention_shape *shape) {
    return round_up((size_t)attention_chunk_rows(shape) * (size_t)(shape->n_heads / shape->n_kv_heads));
}

static size_t state_floats(const struct attention_shape *shape) {
    size_t n = vectors_of(shape), d = round_up((size_t)shape->head_dim);
    return 3 * n * d + 2 * n * VEC_KEYS + 4 * d * VEC_KEYS + 2 * n;
}

static struct state state_in(float *memory, const struct attention_shape *shape, int g) {
    size_t n = vectors_of(shape), d = round_up((size_t)shape->head_dim);
    struct state st = {.heads = shape->n_heads / shape->n_kv_heads, .g = g, .d = shape->head_dim};
    st.q = memory;
    st.dout = st.q + n * d;
    st.dq = st.dout + n * d;
    st.p = st.dq + n * d;
    st.ds = st.p + n * VEC_KEYS;
    st.keys = st.ds + n * VEC_KEYS;
    st.values = st.keys + d * VEC_KEYS;
    st.dk = st.values + d * VEC_KEYS;
    st.dv = st.dk + d * VEC_KEYS;
    st.lse = st.dv + d * VEC_KEYS;
    st.d_row_sum = st.lse + n;
    return st;
}

/* Loads query rows row .. row + n_rows - 1 of a sequence to place `at`. */
static void load_rows(const struct backward *b, const struct state *st, const struct attention_sequence *s, int32_t row,
                      int32_t n_rows, int32_t at) {
    const int64_t first = s->first_row + row, place = (int64_t)at * st->heads;
    const int n_heads = b->shape->n_heads;
    attention_gather(st->q + place * st->d, b->q, b->ldq, b->shape, st->g, first, n_rows, b->shape->scale);
    attention_gather(st->dout + place * st->d, b->dout, (int64_t)n_heads * st->d, b->shape, st->g, first, n_rows, 1.0f);
    for (int32_t i = 0; i < n_rows; i++)
        for (int h = 0; h < st->heads; h++) {
            const int64_t from = (first + i) * n_heads + st->g * st->heads + h;
            st->lse[place + i * st->heads + h] = b->lse[from];
            st->d_row_sum[place + i * st->heads + h] = b->d[from];
        }
}

/* P and dS of `n_rows` rows from place `at` against the packed block of n keys; row i sees the first visible + i. */
static void weigh(const struct backward *b, const struct state *st, int32_t n, int32_t at, int32_t n_rows,
                  int32_t visible) {
    const int64_t first = (int64_t)at * st->heads;
    float *p = st->p + first * VEC_KEYS, *ds = st->ds + first * VEC_KEYS;
    attention_scores(p, st->q + first * st->d, st->d, st->keys, n_rows, st->heads, visible, n);
    attention_scores(ds, st->dout + first * st->d, st->d, st->values, n_rows, st->heads, visible, n);
    b->v->attention_grad_rows(p, ds, n_rows * st->heads, st->heads, visible, n, st->lse + first, st->d_row_sum + first);
}

static void pack_block(const struct backward *b, const struct state *st, const struct attention_span *span,
                       int32_t from, int32_t n) {
    const int64_t offset = from * span->stride + (int64_t)st->g * st->d;
    b->v->pack_keys(st->keys, span->k + offset, span->stride, n, st->d);
    b->v->pack_keys(st->values, span->v + offset, span->stride, n, st->d);
}

static void dq_block(const struct backward *b, const struct state *st, const struct attention_span *span, int32_t from,
                     int32_t n, int32_t at, int32_t n_rows, int32_t visible) {
    const int64_t first = (int64_t)at * st->heads;
    pack_block(b, st, span, from, n);
    weigh(b, st, n, at, n_rows, visible);
    attention_accumulate(st->dq + first * st->d, st->d, st->ds + first * VEC_KEYS,
                         span->k + from * span->stride + (int64_t)st->g * st->d, span->stride, n_rows, st->heads,
                         visible, n);
}

static void dq_own(const struct backward *b, const struct state *st, const struct attention_part *part) {
    const int32_t lowest = attention_visible(part->sequence, part->row), highest = lowest + part->n_rows - 1;
    for (int32_t from = 0; from < highest; from += VEC_KEYS) {
        int32_t n = highest - from < VEC_KEYS ? highest - from : VEC_KEYS;
        int32_t skip = lowest > from ? 0 : from + 1 - lowest;
        dq_block(b, st, &part->sequence->own, from, n, part->at + skip, part->n_rows - skip, lowest + skip - from);
    }
}

static void dq_task(const struct backward *b, const struct attention_chunk *chunk, int g, float *memory) {
    struct state st = state_in(memory, b->shape, g);
    const struct attention_span *prefix = &b->sequences[chunk->sequence].prefix;
    struct attention_part part = {0};
    while (attention_next_part(b->sequences, chunk, &part))
        load_rows(b, &st, part.sequence, part.row, part.n_rows, part.at);
    memset(st.dq, 0, (size_t)chunk->n_rows * (size_t)st.heads * (size_t)st.d * sizeof *st.dq);
    for (int32_t from = 0; from < prefix->n; from += VEC_KEYS) {
        int32_t n = prefix->n - from < VEC_KEYS ? prefix->n - from : VEC_KEYS;
        dq_block(b, &st, prefix, from, n, 0, chunk->n_rows, n);
    }
    const int64_t length = (int64_t)st.heads * st.d;
    part = (struct attention_part){0};
    while (attention_next_part(b->sequences, chunk, &part)) {
        dq_own(b, &st, &part);
        for (int32_t i = 0; i < part.n_rows; i++)
            b->v->scale(b->dq + (part.sequence->first_row + part.row + i) * b->lddq + g * length, DTYPE_F32,
                        st.dq + (part.at + i) * length, b->shape->scale, length);
    }
}

/* Adds what the rows of one sequence contribute to a block of n keys. */
static void key_rows(const struct backward *b, const struct state *st, const struct attention_sequence *s, bool own,
                     int32_t from, int32_t n) {
    const int32_t step = attention_chunk_rows(b->shape);
    int32_t row = 0;
    if (own && attention_visible(s, 0) <= from) row = from + 1 - attention_visible(s, 0);
    for (; row < s->n_rows; row += step) {
        const int32_t rows = s->n_rows - row < step ? s->n_rows - row : step, count = rows * st->heads;
        load_rows(b, st, s, row, rows, 0);
        weigh(b, st, n, 0, rows, own ? attention_visible(s, row) - from : n);
        b->v->mat_mul(st->dv, st->d, st->p, 1, VEC_KEYS, st->dout, st->d, n, st->d, count, true);
        b->v->mat_mul(st->dk, st->d, st->ds, 1, VEC_KEYS, st->q, st->d, n, st->d, count, true);
    }
}

static const struct attention_span *span_of(const struct backward *b, const struct contribution *c) {
    const struct attention_sequence *s = &b->sequences[c->sequence];
    return c->own ? &s->own : &s->prefix;
}

static void key_task(const struct backward *b, const struct contribution *list, const struct key_task *task, int g,
                     float *memory) {
    struct state st = state_in(memory, b->shape, g);
    const size_t block = (size_t)VEC_KEYS * (size_t)st.d * sizeof(float);
    memset(st.dk, 0, block);
    memset(st.dv, 0, block);
    int32_t longest = 0;
    const struct attention_span *packed = NULL;
    for (int32_t i = task->first; i < task->first + task->n; i++) {
        const struct attention_span *span = span_of(b, &list[i]);
        int32_t n = span->n - task->from < VEC_KEYS ? span->n - task->from : VEC_KEYS;
        if (n <= 0) continue;
        if (!packed || packed->k != span->k || packed->v != span->v || packed->n != span->n)
            pack_block(b, &st, span, task->from, n);
        packed = span;
        key_rows(b, &st, &b->sequences[list[i].sequence], list[i].own, task->from, n);
        if (n > longest) longest = n;
    }
    const struct attention_gradient *to = list[task->first].to;
    for (int32_t j = 0; j < longest; j++) {
        const int64_t at = (task->from + j) * to->stride + (int64_t)g * st.d;
        b->v->add(to->dk + at, st.dk + (int64_t)j * st.d, st.d);
        b->v->add(to->dv + at, st.dv + (int64_t)j * st.d, st.d);
    }
}

/* By destination, then by sequence; a sequence's prefix comes before its own keys. */
static int compare(const void *x, const void *y) {
    const struct contribution *a = x, *b = y;
    uintptr_t p = (uintptr_t)a->to->dk, q = (uintptr_t)b->to->dk;
    if (p != q) return p < q ? -1 : 1;
    if (a->sequence != b->sequence) return a->sequence < b->sequence ? -1 : 1;
    return (int)a->own - (int)b->own;
}

static int32_t list_contributions(const struct backward *b, int32_t n_sequences, const struct attention_gradient *own,
                                  const struct attention_gradient *prefix, struct contribution *list) {
    int32_t n = 0;
    for (int32_t s = 0; s < n_sequences; s++) {
        if (b->sequences[s].n_rows == 0) continue;
        if (b->sequences[s].prefix.n > 0) list[n++] = (struct contribution){&prefix[s], s, false};
        list[n++] = (struct contribution){&own[s], s, true};
    }
    qsort(list, (size_t)n, sizeof *list, compare);
    return n;
}

/* Fills tasks (NULL: only counts them). */
static int64_t list_key_tasks(const struct backward *b, const struct contribution *list, int32_t n,
                              struct key_task *tasks) {
    int64_t n_tasks = 0;
    for (int32_t first = 0, last; first < n; first = last) {
        int32_t keys = 0;
        for (last = first; last < n && list[last].to->dk == list[first].to->dk; last++)
            if (span_of(b, &list[last])->n > keys) keys = span_of(b, &list[last])->n;
        for (int32_t from = 0; from < keys; from += VEC_KEYS, n_tasks++)
            if (tasks) tasks[n_tasks] = (struct key_task){first, last - first, from};
    }
    return n_tasks;
}

static void row_sums(const struct backward *b, int32_t n_sequences, enum dtype type, const void *out, int threads) {
    const int n_heads = b->shape->n_heads, d = b->shape->head_dim;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int32_t s = 0; s < n_sequences; s++) {
        const int64_t first = b->sequences[s].first_row * n_heads;
        for (int64_t i = first; i < first + (int64_t)b->sequences[s].n_rows * n_heads; i++)
            b->d[i] =
                (float)b->v->dot(b->dout + i * d, (const char *)out + (size_t)(i * d) * dtype_size(type), type, d);
    }
}

static int64_t rows_spanned(const struct attention_sequence *sequences, int32_t n_sequences) {
    int64_t rows = 0;
    for (int32_t s = 0; s < n_sequences; s++)
        if (sequences[s].first_row + sequences[s].n_rows > rows) rows = sequences[s].first_row + sequences[s].n_rows;
    return rows;
}

opsm_status attention_backward(const struct attention_shape *shape, const struct attention_sequence *sequences,
                               int32_t n_sequences, const float *q, int64_t ldq, enum dtype type, const void *out,
                               const float *lse, const float *dout, float *dq, int64_t lddq,
                               const struct attention_gradient *own_grad, const struct attention_gradient *prefix_grad,
                               opsm_error *err) {
    struct backward b = {shape, sequences, q, lse, dout, NULL, dq, ldq, lddq, vec()};
    const int threads = scratch_threads(2 * attention_work(shape, sequences, n_sequences));
    const int64_t n_chunks = attention_cut(shape, sequences, n_sequences, NULL);
    if (n_chunks == 0) return OPSM_OK;
    /* one block: contributions, chunks, key tasks (counted once the contributions are sorted), D */
    const size_t list_bytes = 2 * (size_t)n_sequences * sizeof(struct contribution);
    const size_t d_floats = (size_t)(rows_spanned(sequences, n_sequences) * shape->n_heads);
    struct contribution *list = (void *)scratch_floats(SCRATCH_LIST, list_bytes / sizeof(float) + 1);
    if (!list) return mem_exhausted(err, "the backward pass of attention", list_bytes);
    const int32_t n_list = list_contributions(&b, n_sequences, own_grad, prefix_grad, list);
    const int64_t n_key_tasks = list_key_tasks(&b, list, n_list, NULL);
    const size_t plan =
        (size_t)n_chunks * sizeof(struct attention_chunk) + (size_t)n_key_tasks * sizeof(struct key_task);
    const size_t each = state_floats(shape);
    struct attention_chunk *chunks = (void *)scratch_floats(SCRATCH_PLAN, plan / sizeof(float) + 1);
    float *memory = chunks ? scratch_floats(SCRATCH_ATTENTION, each * (size_t)threads) : NULL;
    b.d = memory ? scratch_floats(SCRATCH_PARTIALS, d_floats) : NULL;
    if (!b.d) return mem_exhausted(err, "the backward pass of attention", plan + (each + d_floats) * sizeof(float));
    struct key_task *key_tasks = (struct key_task *)(void *)(chunks + n_chunks);
    attention_cut(shape, sequences, n_sequences, chunks);
    list_key_tasks(&b, list, n_list, key_tasks);
    row_sums(&b, n_sequences, type, out, threads);
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t t = 0; t < (n_chunks + n_key_tasks) * shape->n_kv_heads; t++) {
        float *mine = memory + (size_t)omp_get_thread_num() * each;
        const int64_t i = t / shape->n_kv_heads;
        const int g = (int)(t % shape->n_kv_heads);
        if (i < n_key_tasks)
            key_task(&b, list, &key_tasks[i], g, mine);
        else
            dq_task(&b, &chunks[i - n_key_tasks], g, mine);
    }
    return OPSM_OK;
}
