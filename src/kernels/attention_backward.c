/* SPDX-License-Identifier: Apache-2.0
 *
 * Backward attention. With P = exp(S - lse), dP = dout V^T and D = rowsum(dout * out): dS = P (dP - D), and
 *
 *   dq = scale * dS K        keys in order
 *   dk = scale * dS^T q      the rows that see a key in order, sequence after sequence, whoever owns the key
 *   dv = P^T dout            likewise
 *
 * Two ways to cut it into tasks, with the same bits, because every element of a gradient is one chain in the same
 * order:
 *
 *   whole groups   a task takes all sequences that share keys, block of keys after block of keys: five products
 *   split          where that gives too few tasks: blocks of keys (dk, dv) and chunks of rows (dq) are tasks of their
 *                  own; P and dS are computed from either side: seven products
 *
 * A task works for one key head g; a "vector" is one query head of one row, so that n rows are n * heads vectors.
 */
#include "base/mem.h"
#include "base/threads.h"
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

/* Keys that receive a gradient, and who contributes: the keys are a sequence's own, or its prefix. */
struct contribution {
    const struct attention_gradient *to;
    int32_t sequence, group, leader; /* group: its smallest sequence; leader: the destination's first sequence */
    bool own, leader_own;
};

/* Contributions first .. first + n - 1 of the sorted list: those to one destination, from its key `from` (a block), or
 * those of one group. */
struct task {
    int32_t first, n, from;
};

struct plan {
    struct contribution *list;
    int32_t n_list;
    int32_t *parent;    /* [n_sequences], union-find */
    int32_t *place;     /* [n_sequences], where its rows are among its group's */
    struct task *tasks; /* blocks of keys, then groups */
    struct attention_chunk *chunks;
    int64_t n_groups, n_blocks, n_chunks;
    int32_t group_rows; /* of the largest group */
};

struct state {
    float *q, *dout, *dq;   /* [room, head_dim]; q is already scaled */
    float *lse, *d_row_sum; /* [room] */
    float *p, *ds;          /* [vectors of a chunk, VEC_KEYS] */
    float *keys, *values;   /* [head_dim, VEC_KEYS] */
    float *dk, *dv;         /* [VEC_KEYS, head_dim] */
    int heads, g, d;
};

static size_t round_up(size_t n) {
    return (n + 15) / 16 * 16;
}

static size_t vectors_of(const struct attention_shape *shape, int32_t rows) {
    return round_up((size_t)rows * (size_t)(shape->n_heads / shape->n_kv_heads));
}

/* Scratch of one task that holds `rows` query rows. */
static size_t state_floats(const struct attention_shape *shape, int32_t rows) {
    size_t room = vectors_of(shape, rows), n = vectors_of(shape, attention_chunk_rows(shape));
    size_t d = round_up((size_t)shape->head_dim);
    return 3 * room * d + 2 * room + 2 * n * VEC_KEYS + 4 * d * VEC_KEYS;
}

static struct state state_in(float *memory, const struct attention_shape *shape, int32_t rows, int g) {
    size_t room = vectors_of(shape, rows), n = vectors_of(shape, attention_chunk_rows(shape));
    size_t d = round_up((size_t)shape->head_dim);
    struct state st = {.heads = shape->n_heads / shape->n_kv_heads, .g = g, .d = shape->head_dim};
    st.q = memory;
    st.dout = st.q + room * d;
    st.dq = st.dout + room * d;
    st.lse = st.dq + room * d;
    st.d_row_sum = st.lse + room;
    st.p = st.d_row_sum + room;
    st.ds = st.p + n * VEC_KEYS;
    st.keys = st.ds + n * VEC_KEYS;
    st.values = st.keys + d * VEC_KEYS;
    st.dk = st.values + d * VEC_KEYS;
    st.dv = st.dk + d * VEC_KEYS;
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

/* P and dS of `n_rows` rows from place `at`, at most a chunk, against the packed block of n keys; row i sees the first
 * visible + i. */
static void weigh(const struct backward *b, const struct state *st, int32_t n, int32_t at, int32_t n_rows,
                  int32_t visible) {
    const int64_t first = (int64_t)at * st->heads;
    attention_scores(st->p, st->q + first * st->d, st->d, st->keys, n_rows, st->heads, visible, n);
    attention_scores(st->ds, st->dout + first * st->d, st->d, st->values, n_rows, st->heads, visible, n);
    b->v->attention_grad_rows(st->p, st->ds, n_rows * st->heads, st->heads, visible, n, st->lse + first,
                              st->d_row_sum + first);
}

/* st->keys, st->values [head_dim, VEC_KEYS] = keys and values from .. from + n - 1 of the span, transposed. */
static void pack_block(const struct backward *b, const struct state *st, const struct attention_span *span,
                       int32_t from, int32_t n) {
    const int64_t offset = from * span->stride + (int64_t)st->g * st->d;
    b->v->pack_keys(st->keys, span->k + offset, span->stride, n, st->d);
    b->v->pack_keys(st->values, span->v + offset, span->stride, n, st->d);
}

/* st->dq [vectors, head_dim] += st->ds [vectors, n] times keys from .. from + n - 1 of the span: for the rows that
 * `weigh` has just weighed. */
static void add_to_dq(const struct state *st, const struct attention_span *span, int32_t from, int32_t n, int32_t at,
                      int32_t n_rows, int32_t visible) {
    attention_accumulate(st->dq + (int64_t)at * st->heads * st->d, st->d, st->ds,
                         span->k + from * span->stride + (int64_t)st->g * st->d, span->stride, n_rows, st->heads,
                         visible, n);
}

/* The same from the start: keys packed, rows weighed. */
static void dq_block(const struct backward *b, const struct state *st, const struct attention_span *span, int32_t from,
                     int32_t n, int32_t at, int32_t n_rows, int32_t visible) {
    pack_block(b, st, span, from, n);
    weigh(b, st, n, at, n_rows, visible);
    add_to_dq(st, span, from, n, at, n_rows, visible);
}

/* st->dq [vectors, head_dim] += what a part's rows get from their own sequence's keys. */
static void dq_own(const struct backward *b, const struct state *st, const struct attention_part *part) {
    const int32_t lowest = attention_visible(part->sequence, part->row), highest = lowest + part->n_rows - 1;
    for (int32_t from = 0; from < highest; from += VEC_KEYS) {
        int32_t n = highest - from < VEC_KEYS ? highest - from : VEC_KEYS;
        int32_t skip = lowest > from ? 0 : from + 1 - lowest;
        dq_block(b, st, &part->sequence->own, from, n, part->at + skip, part->n_rows - skip, lowest + skip - from);
    }
}

/* Rows row .. row + n_rows - 1 of dq, of key head g, = st->dq from place `at`, scaled. */
static void store_dq(const struct backward *b, const struct state *st, const struct attention_sequence *s, int32_t row,
                     int32_t n_rows, int32_t at) {
    const int64_t length = (int64_t)st->heads * st->d;
    for (int32_t i = 0; i < n_rows; i++)
        b->v->scale(b->dq + (s->first_row + row + i) * b->lddq + st->g * length, DTYPE_F32, st->dq + (at + i) * length,
                    b->shape->scale, length);
}

static void clear_dq(const struct state *st, int32_t n_rows) {
    memset(st->dq, 0, (size_t)n_rows * (size_t)st->heads * (size_t)st->d * sizeof *st->dq);
}

/* dq of a chunk of rows. */
static void dq_task(const struct backward *b, const struct attention_chunk *chunk, int g, float *memory) {
    struct state st = state_in(memory, b->shape, attention_chunk_rows(b->shape), g);
    const struct attention_span *prefix = &b->sequences[chunk->sequence].prefix;
    struct attention_part part = {0};
    while (attention_next_part(b->sequences, chunk, &part))
        load_rows(b, &st, part.sequence, part.row, part.n_rows, part.at);
    clear_dq(&st, chunk->n_rows);
    for (int32_t from = 0; from < prefix->n; from += VEC_KEYS) {
        int32_t n = prefix->n - from < VEC_KEYS ? prefix->n - from : VEC_KEYS;
        dq_block(b, &st, prefix, from, n, 0, chunk->n_rows, n);
    }
    part = (struct attention_part){0};
    while (attention_next_part(b->sequences, chunk, &part)) {
        dq_own(b, &st, &part);
        store_dq(b, &st, part.sequence, part.row, part.n_rows, part.at);
    }
}

static const struct attention_span *span_of(const struct backward *b, const struct contribution *c) {
    const struct attention_sequence *s = &b->sequences[c->sequence];
    return c->own ? &s->own : &s->prefix;
}

/* Adds what the rows of one sequence contribute to a block of n keys. place: the rows are loaded there, and their dq is
 * wanted too; NULL: they are not. */
static void key_rows(const struct backward *b, const struct state *st, const struct contribution *c, int32_t from,
                     int32_t n, const int32_t *place) {
    const struct attention_sequence *s = &b->sequences[c->sequence];
    const int32_t step = attention_chunk_rows(b->shape), all = s->own.n - s->n_rows + 1;
    for (int32_t row = c->own && all <= from ? from + 1 - all : 0; row < s->n_rows; row += step) {
        const int32_t rows = s->n_rows - row < step ? s->n_rows - row : step, count = rows * st->heads;
        const int32_t at = place ? place[c->sequence] + row : 0;
        const int32_t visible = c->own ? attention_visible(s, row) - from : n;
        const int64_t first = (int64_t)at * st->heads * st->d;
        if (!place) load_rows(b, st, s, row, rows, 0);
        weigh(b, st, n, at, rows, visible);
        b->v->mat_mul(st->dv, st->d, st->p, 1, VEC_KEYS, st->dout + first, st->d, n, st->d, count, true);
        b->v->mat_mul(st->dk, st->d, st->ds, 1, VEC_KEYS, st->q + first, st->d, n, st->d, count, true);
        if (place) add_to_dq(st, span_of(b, c), from, n, at, rows, visible);
    }
}

/* dk and dv [VEC_KEYS, head_dim] of one block of keys of one destination, added to where they belong. */
static void key_block(const struct backward *b, const struct state *st, const struct contribution *list, int32_t n_list,
                      int32_t from, const int32_t *place) {
    const size_t bytes = (size_t)VEC_KEYS * (size_t)st->d * sizeof(float);
    memset(st->dk, 0, bytes);
    memset(st->dv, 0, bytes);
    int32_t longest = 0;
    const struct attention_span *packed = NULL;
    for (int32_t i = 0; i < n_list; i++) {
        const struct attention_span *span = span_of(b, &list[i]);
        const int32_t n = span->n - from < VEC_KEYS ? span->n - from : VEC_KEYS;
        if (n <= 0) continue;
        if (!packed || packed->k != span->k || packed->v != span->v || packed->n != span->n)
            pack_block(b, st, span, from, n);
        packed = span;
        key_rows(b, st, &list[i], from, n, place);
        if (n > longest) longest = n;
    }
    const struct attention_gradient *to = list->to;
    for (int32_t j = 0; j < longest; j++) {
        const int64_t at = (from + j) * to->stride + (int64_t)st->g * st->d;
        b->v->add(to->dk + at, st->dk + (int64_t)j * st->d, st->d);
        b->v->add(to->dv + at, st->dv + (int64_t)j * st->d, st->d);
    }
}

/* dk and dv of a block of keys, its rows loaded as they come. */
static void block_task(const struct backward *b, const struct plan *plan, const struct task *task, int g,
                       float *memory) {
    struct state st = state_in(memory, b->shape, attention_chunk_rows(b->shape), g);
    key_block(b, &st, plan->list + task->first, task->n, task->from, NULL);
}

/* Contributions from list[0] on that have its destination. */
static int32_t same_destination(const struct contribution *list, int32_t n) {
    int32_t i = 1;
    while (i < n && list[i].to->dk == list->to->dk) i++;
    return i;
}

/* Keys of the destination that all n of the list contribute to: the longest of their spans. */
static int32_t destination_keys(const struct backward *b, const struct contribution *list, int32_t n) {
    int32_t keys = 0;
    for (int32_t i = 0; i < n; i++)
        if (span_of(b, &list[i])->n > keys) keys = span_of(b, &list[i])->n;
    return keys;
}

/* All of a group: its rows are loaded once, then dk, dv and dq block of keys after block of keys. */
static void group_task(const struct backward *b, const struct plan *plan, const struct task *task, int g,
                       float *memory) {
    struct state st = state_in(memory, b->shape, plan->group_rows, g);
    const struct contribution *list = plan->list + task->first;
    int32_t rows = 0;
    for (int32_t i = 0; i < task->n; i++) {
        if (!list[i].own) continue; /* every sequence has one contribution to its own keys */
        const struct attention_sequence *s = &b->sequences[list[i].sequence];
        load_rows(b, &st, s, 0, s->n_rows, plan->place[list[i].sequence]);
        rows += s->n_rows;
    }
    clear_dq(&st, rows);
    for (int32_t i = 0, n; i < task->n; i += n) {
        n = same_destination(list + i, task->n - i);
        const int32_t keys = destination_keys(b, list + i, n);
        for (int32_t from = 0; from < keys; from += VEC_KEYS) key_block(b, &st, list + i, n, from, plan->place);
    }
    for (int32_t i = 0; i < task->n; i++)
        if (list[i].own) {
            const struct attention_sequence *s = &b->sequences[list[i].sequence];
            store_dq(b, &st, s, 0, s->n_rows, plan->place[list[i].sequence]);
        }
}

static int order(int64_t a, int64_t b) {
    return (a > b) - (a < b);
}

/* By destination, then by sequence; a sequence's prefix comes before its own keys. */
static int by_destination(const void *x, const void *y) {
    const struct contribution *a = x, *b = y;
    const uintptr_t p = (uintptr_t)a->to->dk, q = (uintptr_t)b->to->dk;
    if (p != q) return p < q ? -1 : 1;
    return a->sequence != b->sequence ? order(a->sequence, b->sequence) : order(a->own, b->own);
}

/* By group; within it destinations in the order of the first sequence that contributes, so that a row's prefix comes
 * before its own keys, as it does in the forward pass. */
static int by_group(const void *x, const void *y) {
    const struct contribution *a = x, *b = y;
    if (a->group != b->group) return order(a->group, b->group);
    if (a->leader != b->leader) return order(a->leader, b->leader);
    return a->leader_own != b->leader_own ? order(a->leader_own, b->leader_own) : by_destination(x, y);
}

static int32_t root(int32_t *parent, int32_t s) {
    while (parent[s] != s) s = parent[s] = parent[parent[s]];
    return s;
}

/* Sequences that contribute to one destination are of one group, named after its smallest. */
static void join(struct plan *plan, int32_t first, int32_t n) {
    const struct contribution *leader = &plan->list[first];
    for (int32_t i = first; i < first + n; i++) {
        plan->list[i].leader = leader->sequence;
        plan->list[i].leader_own = leader->own;
        const int32_t a = root(plan->parent, leader->sequence), c = root(plan->parent, plan->list[i].sequence);
        plan->parent[a < c ? c : a] = a < c ? a : c;
    }
}

/* plan->list [n_list]: one for every sequence's own keys and one for its prefix, by group and destination. */
static void list_contributions(const struct backward *b, int32_t n_sequences, const struct attention_gradient *own,
                               const struct attention_gradient *prefix, struct plan *plan) {
    for (int32_t s = 0; s < n_sequences; s++) {
        plan->parent[s] = s;
        if (b->sequences[s].n_rows == 0) continue;
        if (b->sequences[s].prefix.n > 0)
            plan->list[plan->n_list++] = (struct contribution){.to = &prefix[s], .sequence = s, .own = false};
        plan->list[plan->n_list++] = (struct contribution){.to = &own[s], .sequence = s, .own = true};
    }
    qsort(plan->list, (size_t)plan->n_list, sizeof *plan->list, by_destination);
    for (int32_t i = 0, n; i < plan->n_list; i += n) {
        n = same_destination(plan->list + i, plan->n_list - i);
        join(plan, i, n);
    }
    for (int32_t i = 0; i < plan->n_list; i++) plan->list[i].group = root(plan->parent, plan->list[i].sequence);
    qsort(plan->list, (size_t)plan->n_list, sizeof *plan->list, by_group);
}

/* Counts blocks of keys and groups, and lists them once there is room (`fill`). Gives every sequence its place. */
static void list_tasks(const struct backward *b, struct plan *plan, bool fill) {
    const int64_t n_blocks = plan->n_blocks; /* of the counting pass */
    int32_t rows = 0, start = 0;
    plan->n_blocks = plan->n_groups = 0;
    for (int32_t i = 0, n; i < plan->n_list; i += n) {
        const struct contribution *list = plan->list + i;
        n = same_destination(list, plan->n_list - i);
        const int32_t keys = destination_keys(b, list, n);
        for (int32_t from = 0; from < keys; from += VEC_KEYS, plan->n_blocks++)
            if (fill) plan->tasks[plan->n_blocks] = (struct task){i, n, from};
        for (int32_t j = 0; j < n; j++) {
            if (!list[j].own) continue;
            plan->place[list[j].sequence] = rows;
            rows += b->sequences[list[j].sequence].n_rows;
        }
        if (rows > plan->group_rows) plan->group_rows = rows;
        if (i + n < plan->n_list && plan->list[i + n].group == list->group) continue;
        if (fill) plan->tasks[n_blocks + plan->n_groups] = (struct task){start, i + n - start, 0};
        plan->n_groups++;
        start = i + n;
        rows = 0;
    }
}

static opsm_status no_memory(opsm_error *err, size_t bytes) {
    return mem_exhausted(err, "the backward pass of attention", bytes);
}

/* Lists, tasks and chunks, in scratch memory. */
static opsm_status make_plan(const struct backward *b, int32_t n_sequences, const struct attention_gradient *own,
                             const struct attention_gradient *prefix, struct plan *plan, opsm_error *err) {
    const size_t n = (size_t)n_sequences, bytes = n * (2 * sizeof *plan->list + 2 * sizeof *plan->parent);
    plan->list = (void *)scratch_floats(SCRATCH_LIST, bytes / sizeof(float));
    if (!plan->list) return no_memory(err, bytes);
    plan->parent = (int32_t *)(void *)(plan->list + 2 * n);
    plan->place = plan->parent + n;
    list_contributions(b, n_sequences, own, prefix, plan);
    list_tasks(b, plan, false);
    const size_t tasks = (size_t)(plan->n_blocks + plan->n_groups) * sizeof *plan->tasks;
    plan->tasks = (void *)scratch_floats(SCRATCH_TASKS, tasks / sizeof(float));
    if (!plan->tasks) return no_memory(err, tasks);
    list_tasks(b, plan, true);
    plan->n_chunks = attention_cut(b->shape, b->sequences, n_sequences, NULL);
    const size_t chunks = (size_t)plan->n_chunks * sizeof *plan->chunks;
    plan->chunks = (void *)scratch_floats(SCRATCH_PLAN, chunks / sizeof(float));
    if (!plan->chunks) return no_memory(err, chunks);
    attention_cut(b->shape, b->sequences, n_sequences, plan->chunks);
    return OPSM_OK;
}

/* b->d [rows, n_heads] = rowsum(dout * out), both [rows, n_heads * head_dim]. */
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

/* Whole groups keep the threads busy, and the largest of them fits into a modest scratch. */
static bool by_whole_groups(const struct backward *b, const struct plan *plan, int threads) {
    enum { TASKS_PER_THREAD = 3, MOST_FLOATS = 1 << 22 };
    return plan->n_groups * b->shape->n_kv_heads >= (threads > 1 ? TASKS_PER_THREAD * threads : 1) &&
           state_floats(b->shape, plan->group_rows) <= MOST_FLOATS;
}

opsm_status attention_backward(const struct attention_shape *shape, const struct attention_sequence *sequences,
                               int32_t n_sequences, const float *q, int64_t ldq, enum dtype type, const void *out,
                               const float *lse, const float *dout, float *dq, int64_t lddq,
                               const struct attention_gradient *own_grad, const struct attention_gradient *prefix_grad,
                               opsm_error *err) {
    struct backward b = {shape, sequences, q, lse, dout, NULL, dq, ldq, lddq, vec()};
    struct plan plan = {0};
    opsm_status status = make_plan(&b, n_sequences, own_grad, prefix_grad, &plan, err);
    if (status != OPSM_OK || plan.n_list == 0) return status;
    const int threads = threads_for(2 * attention_work(shape, sequences, n_sequences));
    const bool whole = by_whole_groups(&b, &plan, threads);
    const size_t each = state_floats(shape, whole ? plan.group_rows : attention_chunk_rows(shape));
    const size_t d_floats = (size_t)(rows_spanned(sequences, n_sequences) * shape->n_heads);
    float *memory = scratch_floats(SCRATCH_ATTENTION, each * (size_t)threads);
    b.d = memory ? scratch_floats(SCRATCH_PARTIALS, d_floats) : NULL;
    if (!b.d) return no_memory(err, (each * (size_t)threads + d_floats) * sizeof(float));
    row_sums(&b, n_sequences, type, out, threads);
    const int64_t n_tasks = whole ? plan.n_groups : plan.n_blocks + plan.n_chunks;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t t = 0; t < n_tasks * shape->n_kv_heads; t++) {
        float *mine = memory + (size_t)omp_get_thread_num() * each;
        const int64_t i = t / shape->n_kv_heads;
        const int g = (int)(t % shape->n_kv_heads);
        if (whole)
            group_task(&b, &plan, &plan.tasks[plan.n_blocks + i], g, mine);
        else if (i < plan.n_blocks)
            block_task(&b, &plan, &plan.tasks[i], g, mine);
        else
            dq_task(&b, &plan.chunks[i - plan.n_blocks], g, mine);
    }
    return OPSM_OK;
}
