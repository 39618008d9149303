/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/softmax.h"
#include "base/threads.h"
#include "kernels/vec.h"

enum { ELEMENT_WORK = 8 };

float exp_f32(float x) {
    return vec()->exp1(x);
}

/* block [n] = logits start .. start + n - 1 of the kept set. */
static const float *gather(float *block, const float *logits, struct softmax_kept kept, int64_t start, int n) {
    for (int i = 0; i < n; i++) block[i] = logits[kept.ids[start + i]];
    return block;
}

static int block_length(int64_t n, int64_t start) {
    return (int)(n - start < VEC_BLOCK ? n - start : VEC_BLOCK);
}

/* The maximum over n logits, or over the kept ones. */
static float largest(const float *logits, int64_t n, struct softmax_kept kept) {
    if (!kept.ids) return vec()->max_of(logits, n);
    float block[VEC_BLOCK], top = -INFINITY;
    for (int64_t i = 0; i < n; i += VEC_BLOCK) {
        int length = block_length(n, i);
        float here = vec()->max_of(gather(block, logits, kept, i, length), length);
        if (here > top) top = here;
    }
    return top;
}

double softmax_lse(const float *logits, int64_t n_vocab, float inv_temperature, struct softmax_kept kept,
                   double *entropy) {
    float block[VEC_BLOCK];
    int64_t n = kept.ids ? kept.n : n_vocab;
    float max = largest(logits, n, kept) * inv_temperature;
    double sum = 0.0, weighted = 0.0;
    for (int64_t i = 0; i < n; i += VEC_BLOCK) {
        int length = block_length(n, i);
        const float *x = kept.ids ? gather(block, logits, kept, i, length) : logits + i;
        vec()->exp_sums(x, length, inv_temperature, max, &sum, entropy ? &weighted : NULL);
    }
    if (entropy) *entropy = log(sum) - weighted / sum;
    return (double)max + log(sum);
}

static bool is_kept(struct softmax_kept kept, int32_t id) {
    if (!kept.ids) return true;
    int32_t low = 0, high = kept.n;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (kept.ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < kept.n && kept.ids[low] == id;
}

static struct softmax_kept kept_of(const struct softmax_kept *kept, int64_t i) {
    return kept ? kept[i] : (struct softmax_kept){NULL, 0};
}

void softmax_logprob(float *logp, float *lse, float *entropy, const float *logits, int64_t ld, const int32_t *target,
                     const struct softmax_kept *kept, int64_t m, int64_t n_vocab, float inv_temperature) {
    vec();
#pragma omp parallel for schedule(dynamic, 4) num_threads(threads_for(m *n_vocab *ELEMENT_WORK))
    for (int64_t i = 0; i < m; i++) {
        const float *row = logits + i * ld;
        struct softmax_kept set = kept_of(kept, i);
        double spread, normaliser = softmax_lse(row, n_vocab, inv_temperature, set, entropy ? &spread : NULL);
        if (lse) lse[i] = (float)normaliser;
        if (entropy) entropy[i] = (float)spread;
        logp[i] = is_kept(set, target[i]) ? softmax_token(row[target[i]], inv_temperature, normaliser) : -INFINITY;
    }
}

static void put_at(void *row, enum dtype type, int32_t at, float value) {
    if (type == DTYPE_F32)
        ((float *)row)[at] = value;
    else
        ((uint16_t *)row)[at] = bf16_from_f32(value);
}

/* out [n_vocab] in `type`, zero before: the gradient at the kept tokens, block by block through the same exp. */
static void backward_kept(void *out, enum dtype type, const float *row, float lse, float c, struct softmax_kept kept,
                          float inv_temperature) {
    float block[VEC_BLOCK];
    for (int64_t i = 0; i < kept.n; i += VEC_BLOCK) {
        int length = block_length(kept.n, i);
        gather(block, row, kept, i, length);
        vec()->exp_scaled(block, DTYPE_F32, block, inv_temperature, lse, -c, length);
        for (int j = 0; j < length; j++) put_at(out, type, kept.ids[i + j], block[j]);
    }
}

void softmax_backward(void *dlogits, enum dtype type, const float *logits, int64_t ld, const float *lse,
                      const int32_t *target, const float *coef, const struct softmax_kept *kept, int64_t m,
                      int64_t n_vocab, float inv_temperature) {
    const struct vec_table *v = vec();
    const size_t bytes = (size_t)n_vocab * dtype_size(type);
#pragma omp parallel for schedule(dynamic, 4) num_threads(threads_for(m *n_vocab *ELEMENT_WORK))
    for (int64_t i = 0; i < m; i++) {
        const float *row = logits + i * ld;
        char *out = (char *)dlogits + (size_t)i * bytes;
        struct softmax_kept set = kept_of(kept, i);
        float c = coef[i] * inv_temperature;
        if (c == 0.0f || set.ids) memset(out, 0, bytes);
        if (c == 0.0f) continue;
        if (set.ids)
            backward_kept(out, type, row, lse[i], c, set, inv_temperature);
        else
            v->exp_scaled(out, type, row, inv_temperature, lse[i], -c, n_vocab);
        if (!is_kept(set, target[i])) continue;
        float p = v->exp1(row[target[i]] * inv_temperature - lse[i]);
        put_at(out, type, target[i], c * (1.0f - p));
    }
}
