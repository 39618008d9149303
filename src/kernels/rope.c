/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/rope.h"
#include "base/mem.h"
#include "base/threads.h"
#include "kernels/layers.h"
#include "kernels/vec.h"

/* Cosines and sines of one model's angles, position after position: a training step asks for the same ones in every
 * layer. Kept per calling thread for a few models at once (policy, reference). */
struct rope_table {
    float *inv_freq; /* [half], the key */
    float *turns;    /* [positions, 2, half]: cosines, sines */
    int half;
    int32_t positions;
};

enum { TABLES = 4 };

static _Thread_local struct rope_table tables[TABLES];
static _Thread_local int oldest;

static void table_free(struct rope_table *t) {
    mem_free(t->inv_freq);
    mem_free(t->turns);
    *t = (struct rope_table){0};
}

void rope_release(void) {
    for (int i = 0; i < TABLES; i++) table_free(&tables[i]);
}

/* cosine, sine [n] of the angles position * inv_freq [n]. The angle is rounded to float because the frameworks that the
 * models were trained in round it: at position 2000 that moves a log-prob by more than all other rounding does. */
static void fill_turns(float *cosine, float *sine, const float *inv_freq, int n, int32_t position) {
    for (int i = 0; i < n; i++) {
        double angle = (float)position * inv_freq[i];
        cosine[i] = (float)cos(angle);
        sine[i] = (float)sin(angle);
    }
}

static struct rope_table *table_find(const float *inv_freq, int half) {
    for (int i = 0; i < TABLES; i++)
        if (tables[i].half == half && !memcmp(tables[i].inv_freq, inv_freq, (size_t)half * sizeof *inv_freq))
            return &tables[i];
    struct rope_table *t = &tables[oldest];
    oldest = (oldest + 1) % TABLES;
    table_free(t);
    t->inv_freq = mem_alloc((size_t)half, sizeof(float));
    if (!t->inv_freq) return NULL;
    memcpy(t->inv_freq, inv_freq, (size_t)half * sizeof *inv_freq);
    t->half = half;
    return t;
}

/* The table for positions 0 .. needed-1, NULL when there is no memory for one: the caller then computes on the spot. */
static const struct rope_table *table_get(const float *inv_freq, int half, int32_t needed) {
    struct rope_table *t = table_find(inv_freq, half);
    if (!t || t->positions >= needed) return t;
    int32_t room = needed < 256 ? 256 : needed + needed / 4;
    float *turns =
        mem_resize(t->turns, (size_t)t->positions * 2 * (size_t)half, (size_t)room * 2 * (size_t)half, sizeof(float));
    if (!turns) return NULL;
    t->turns = turns;
#pragma omp parallel for num_threads(threads_for((int64_t)(room - t->positions) * half * 64))
    for (int32_t p = t->positions; p < room; p++) {
        float *cosine = turns + (size_t)p * 2 * (size_t)half;
        fill_turns(cosine, cosine + half, inv_freq, half, p);
    }
    t->positions = room;
    return t;
}

static int32_t largest(const int32_t *position, int64_t m) {
    int32_t top = 0;
    for (int64_t i = 0; i < m; i++)
        if (position[i] > top) top = position[i];
    return top;
}

/* One row x [n_heads * 2 half] without a table, a slice of the angles at a time. */
static void rotate_row(float *x, int32_t position, const float *inv_freq, int n_heads, int half, bool inverse) {
    enum { SLICE = 64 };
    float cosine[SLICE], sine[SLICE];
    for (int i = 0; i < half; i += SLICE) {
        int n = half - i < SLICE ? half - i : SLICE;
        fill_turns(cosine, sine, inv_freq + i, n, position);
        for (int h = 0; h < n_heads; h++) {
            float *head = x + (int64_t)h * 2 * half + i;
            vec()->rotate(head, head + half, cosine, sine, inverse, n);
        }
    }
}

void rope_apply(float *x, int64_t ldx, const int32_t *position, const float *inv_freq, int64_t m, int n_heads,
                int head_dim, int sign) {
    const struct vec_table *v = vec();
    int half = head_dim / 2;
    if (m <= 0 || half == 0) return;
    const struct rope_table *table = table_get(inv_freq, half, largest(position, m) + 1);
#pragma omp parallel for num_threads(threads_for(m *n_heads *head_dim * 2))
    for (int64_t i = 0; i < m; i++) {
        if (!table) {
            rotate_row(x + i * ldx, position[i], inv_freq, n_heads, half, sign < 0);
            continue;
        }
        const float *turns = table->turns + (size_t)position[i] * 2 * (size_t)half;
        for (int h = 0; h < n_heads; h++) {
            float *head = x + i * ldx + (int64_t)h * head_dim;
            v->rotate(head, head + half, turns, turns + half, sign < 0, half);
        }
    }
}
