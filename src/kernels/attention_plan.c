/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/attention_plan.h"

enum { TASK_VECTORS = 96, BAND_VECTORS = 12 };

int32_t attention_chunk_rows(const struct attention_shape *shape) {
    int32_t rows = TASK_VECTORS / (shape->n_heads / shape->n_kv_heads);
    return rows < 1 ? 1 : rows;
}

static bool share_prefix(const struct attention_sequence *a, const struct attention_sequence *b) {
    return a->prefix.n > 0 && a->prefix.n == b->prefix.n && a->prefix.k == b->prefix.k && a->prefix.v == b->prefix.v &&
           a->prefix.stride == b->prefix.stride;
}

int64_t attention_cut(const struct attention_shape *shape, const struct attention_sequence *sequences,
                      int32_t n_sequences, struct attention_chunk *chunks) {
    const int32_t room = attention_chunk_rows(shape);
    struct attention_chunk open = {0};
    int64_t n = 0;
    for (int32_t s = 0; s < n_sequences; s++) {
        bool joins = open.n_rows > 0 && share_prefix(&sequences[open.sequence], &sequences[s]);
        for (int32_t row = 0; row < sequences[s].n_rows;) {
            if (!joins || open.n_rows == room) {
                if (open.n_rows > 0 && chunks) chunks[n] = open;
                n += open.n_rows > 0;
                open = (struct attention_chunk){s, row, 0};
                joins = true;
            }
            int32_t take = sequences[s].n_rows - row, left = room - open.n_rows;
            if (take > left) take = left;
            open.n_rows += take;
            row += take;
        }
    }
    if (open.n_rows > 0 && chunks) chunks[n] = open;
    return n + (open.n_rows > 0);
}

bool attention_next_part(const struct attention_sequence *sequences, const struct attention_chunk *chunk,
                         struct attention_part *part) {
    const struct attention_sequence *s = part->sequence;
    int32_t at = s ? part->at + part->n_rows : 0;
    if (at >= chunk->n_rows) return false;
    s = s ? s + 1 : sequences + chunk->sequence;
    while (s->n_rows == 0) s++;
    int32_t row = at == 0 ? chunk->row : 0, left = s->n_rows - row;
    *part = (struct attention_part){s, row, left < chunk->n_rows - at ? left : chunk->n_rows - at, at};
    return true;
}

void attention_gather(float *out, const float *x, int64_t ldx, const struct attention_shape *shape, int g,
                      int64_t first_row, int32_t n_rows, float scale) {
    const struct vec_table *v = vec();
    const int heads = shape->n_heads / shape->n_kv_heads;
    const int64_t length = (int64_t)heads * shape->head_dim; /* the heads of one key head lie side by side */
    for (int32_t i = 0; i < n_rows; i++)
        v->scale(out + i * length, DTYPE_F32, x + (first_row + i) * ldx + g * length, scale, length);
}

/* Rows are taken in bands, so that little is computed of what a causal row does not see. From the row on that sees all
 * n keys the rest is one band. */
static int32_t band_rows(int32_t n_rows, int32_t i, int heads, int32_t visible, int32_t n) {
    int32_t band = BAND_VECTORS / heads;
    if (band < 1) band = 1;
    return visible + i >= n || n_rows - i < band ? n_rows - i : band;
}

static int32_t smaller(int32_t a, int32_t b) {
    return a < b ? a : b;
}

void attention_scores(float *scores, const float *q, int head_dim, const float *keys, int32_t n_rows, int heads,
                      int32_t visible, int32_t n) {
    for (int32_t i = 0, rows; i < n_rows; i += rows) {
        rows = band_rows(n_rows, i, heads, visible, n);
        const int32_t columns = smaller(visible + i + rows - 1, n);
        vec()->mat_mul(scores + (int64_t)i * heads * VEC_KEYS, VEC_KEYS, q + (int64_t)i * heads * head_dim, head_dim, 1,
                       keys, VEC_KEYS, rows * heads, (columns + 15) / 16 * 16, head_dim, false);
    }
}

void attention_accumulate(float *acc, int head_dim, const float *weights, const float *values, int64_t stride,
                          int32_t n_rows, int heads, int32_t visible, int32_t n) {
    const struct vec_table *v = vec();
    for (int32_t i = 0, rows; i < n_rows; i += rows) {
        rows = band_rows(n_rows, i, heads, visible, n);
        const int32_t common = smaller(visible + i, n); /* keys that the whole band sees */
        float *out = acc + (int64_t)i * heads * head_dim;
        const float *weight = weights + (int64_t)i * heads * VEC_KEYS;
        v->mat_mul(out, head_dim, weight, VEC_KEYS, 1, values, stride, rows * heads, head_dim, common, true);
        for (int32_t r = 1; r < rows && common < n; r++)
            v->mat_mul(out + (int64_t)r * heads * head_dim, head_dim, weight + (int64_t)r * heads * VEC_KEYS + common,
                       VEC_KEYS, 1, values + common * stride, stride, heads, head_dim, smaller(r, n - common), true);
    }
}

int64_t attention_work(const struct attention_shape *shape, const struct attention_sequence *sequences,
                       int32_t n_sequences) {
    int64_t pairs = 0;
    for (int32_t s = 0; s < n_sequences; s++)
        pairs += (int64_t)sequences[s].n_rows * (sequences[s].prefix.n + sequences[s].own.n);
    return pairs * shape->n_heads * shape->head_dim / 4;
}
