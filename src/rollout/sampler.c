/* SPDX-License-Identifier: Apache-2.0 */
#include "rollout/sampler.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/threads.h"
#include "kernels/vec.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum {
    PARALLEL_WORK = 1 << 15, /* logits below which waking the other threads costs more than it saves */
    BLOCK = 256,             /* weights summed at once when looking for the drawn token */
    BUCKET_SHIFT = 20,       /* float bits from this one up name a bucket: 8 per factor of two */
    BUCKETS = 1017           /* weights lie in [0, 1]: bit patterns 0 .. 0x3f800000 */
};

struct sampler {
    int64_t n_vocab;
    int32_t max_rows;
    int threads;
    float *weights;      /* [threads, n_vocab] */
    int32_t *candidates; /* [threads, n_vocab], truncating only */
    int32_t *kept;       /* [max_rows, n_vocab], truncating only */
    int32_t *tokens;     /* [max_rows] */
    float *logp, *lse;   /* [max_rows] */
    struct softmax_kept *views;
};

opsm_status sampling_check(const struct sampling *s, opsm_error *err) {
    if (!(s->temperature >= 0 && s->temperature <= 100))
        return opsm_fail(err, OPSM_INVALID, "temperature is %g: expected a number from 0 to 100", s->temperature);
    if (!(s->top_p > 0 && s->top_p <= 1))
        return opsm_fail(err, OPSM_INVALID, "top_p is %g: expected a number above 0, at most 1 (off)", s->top_p);
    if (!(s->min_p >= 0 && s->min_p <= 1))
        return opsm_fail(err, OPSM_INVALID, "min_p is %g: expected a number from 0 (off) to 1", s->min_p);
    if (s->top_k < 0) return opsm_fail(err, OPSM_INVALID, "top_k is %d: expected 0 (off) or more", s->top_k);
    return OPSM_OK;
}

bool sampling_truncates(const struct sampling *s) {
    return s->temperature > 0 && (s->top_k > 0 || s->top_p < 1 || s->min_p > 0);
}

float sampling_inv_temperature(const struct sampling *s) {
    return s->temperature > 0 ? (float)(1.0 / s->temperature) : 1.0f;
}

size_t sampler_bytes(int64_t n_vocab, int32_t max_rows, bool truncating) {
    size_t per_thread = sizeof(float) + (truncating ? sizeof(int32_t) : 0);
    return (size_t)n_vocab *
           ((size_t)threads_count() * per_thread + (truncating ? (size_t)max_rows * sizeof(int32_t) : 0));
}

opsm_status sampler_create(struct sampler **result, int64_t n_vocab, int32_t max_rows, bool truncating,
                           opsm_error *err) {
    *result = NULL;
    struct sampler *s = mem_zalloc(1, sizeof *s);
    if (!s) return mem_exhausted(err, "a sampler", sizeof *s);
    size_t rows = (size_t)max_rows, vocab = (size_t)n_vocab;
    s->n_vocab = n_vocab;
    s->max_rows = max_rows;
    s->threads = threads_count();
    s->weights = mem_alloc((size_t)s->threads * vocab, sizeof *s->weights);
    s->tokens = mem_alloc(rows, sizeof *s->tokens);
    s->logp = mem_alloc(rows, sizeof *s->logp);
    s->lse = mem_alloc(rows, sizeof *s->lse);
    s->views = mem_zalloc(rows, sizeof *s->views);
    if (truncating) {
        s->candidates = mem_alloc((size_t)s->threads * vocab, sizeof *s->candidates);
        s->kept = mem_alloc(rows * vocab, sizeof *s->kept);
    }
    if (!s->weights || !s->tokens || !s->logp || !s->lse || !s->views || (truncating && (!s->candidates || !s->kept))) {
        sampler_free(s);
        return mem_exhausted(err, "a sampler", sampler_bytes(n_vocab, max_rows, truncating));
    }
    *result = s;
    return OPSM_OK;
}

void sampler_free(struct sampler *s) {
    if (!s) return;
    mem_free(s->weights);
    mem_free(s->candidates);
    mem_free(s->kept);
    mem_free(s->tokens);
    mem_free(s->logp);
    mem_free(s->lse);
    mem_free(s->views);
    mem_free(s);
}

/* ---- the cut: which tokens stay ------------------------------------------------------------------------------------
 *
 * Tokens are ranked by weight, then by id. Each of top-k, top-p and min-p keeps a prefix of that ranking, so all three
 * together are one cut: the last kept token. Ranking the whole vocabulary for every token would cost more than the
 * model; a histogram over the leading bits of the weights finds the bucket in which the cut falls, and only that bucket
 * is sorted. */

struct cut {
    float weight; /* kept: heavier than this, ... */
    int32_t id;   /* ... or as heavy and not behind this id */
};

static bool is_kept(struct cut cut, float weight, int32_t id) {
    return weight > cut.weight || (weight == cut.weight && id <= cut.id);
}

static int bucket_of(float weight) {
    uint32_t bits;
    memcpy(&bits, &weight, sizeof bits);
    return (int)(bits >> BUCKET_SHIFT);
}

struct ranked {
    const float *weights;
    int32_t *ids; /* scratch [n_vocab] */
    int32_t n_vocab;
};

/* Heap sort: qsort needs a context for the comparison and its order among equals is not specified. */
static bool ranks_before(const float *weights, int32_t a, int32_t b) {
    return weights[a] > weights[b] || (weights[a] == weights[b] && a < b);
}

static void sift_down(const float *weights, int32_t *heap, int32_t start, int32_t n) {
    int32_t root = start;
    for (int32_t child = 2 * root + 1; child < n; child = 2 * root + 1) {
        if (child + 1 < n && ranks_before(weights, heap[child], heap[child + 1])) child++;
        if (!ranks_before(weights, heap[root], heap[child])) return;
        int32_t t = heap[root];
        heap[root] = heap[child];
        heap[child] = t;
        root = child;
    }
}

static void sort_by_rank(const float *weights, int32_t *ids, int32_t n) {
    for (int32_t i = n / 2 - 1; i >= 0; i--) sift_down(weights, ids, i, n);
    for (int32_t end = n - 1; end > 0; end--) {
        int32_t t = ids[0];
        ids[0] = ids[end];
        ids[end] = t;
        sift_down(weights, ids, 0, end);
    }
}

/* The shortest prefix of the ranking, within `within`, that has `count` tokens or reaches `mass`. */
static struct cut find_cut(const struct ranked *r, struct cut within, int64_t count, double mass) {
    int32_t counts[BUCKETS] = {0};
    double masses[BUCKETS] = {0};
    for (int32_t j = 0; j < r->n_vocab; j++) {
        if (!is_kept(within, r->weights[j], j)) continue;
        int b = bucket_of(r->weights[j]);
        counts[b]++;
        masses[b] += (double)r->weights[j];
    }
    int bucket = BUCKETS - 1;
    int64_t seen = 0;
    double sum = 0;
    for (; bucket > 0; bucket--) {
        if (seen + counts[bucket] >= count || sum + masses[bucket] >= mass) break;
        seen += counts[bucket];
        sum += masses[bucket];
    }
    int32_t n = 0;
    for (int32_t j = 0; j < r->n_vocab; j++)
        if (bucket_of(r->weights[j]) == bucket && is_kept(within, r->weights[j], j)) r->ids[n++] = j;
    sort_by_rank(r->weights, r->ids, n);
    struct cut cut = within;
    for (int32_t i = 0; i < n; i++) {
        cut = (struct cut){r->weights[r->ids[i]], r->ids[i]};
        sum += (double)cut.weight;
        if (++seen >= count || sum >= mass) return cut;
    }
    return n ? cut : within;
}

static double mass_within(const struct ranked *r, struct cut cut) {
    double sum = 0;
    for (int32_t j = 0; j < r->n_vocab; j++)
        if (is_kept(cut, r->weights[j], j)) sum += (double)r->weights[j];
    return sum;
}

/* The heaviest weight is 1 by construction: min_p needs no reference. */
static struct cut choose_cut(const struct ranked *r, const struct sampling *s) {
    struct cut cut = {-1.0f, 0};
    if (s->top_k > 0 && s->top_k < r->n_vocab) cut = find_cut(r, cut, s->top_k, HUGE_VAL);
    if (s->top_p < 1) cut = find_cut(r, cut, INT64_MAX, s->top_p * mass_within(r, cut));
    float least = (float)s->min_p;
    if (least > cut.weight) cut = (struct cut){least, INT32_MAX};
    return cut;
}

/* ---- one row ----------------------------------------------------------------------------------------------------- */

/* weights[j] = exp((logits[j] - largest) * inv_temperature), at most 1 up to rounding. A NaN stays a NaN. */
static void row_weights(float *weights, const float *logits, int64_t n, float inv_temperature) {
    float largest = vec()->max_of(logits, n);
    vec()->exp_scaled(weights, DTYPE_F32, logits, inv_temperature, largest * inv_temperature, 1.0f, n);
}

static double sum_block(const float *weights, int64_t n) {
    double lanes[4] = {0};
    int64_t j = 0;
    for (; j + 4 <= n; j += 4)
        for (int lane = 0; lane < 4; lane++) lanes[lane] += (double)weights[j + lane];
    for (; j < n; j++) lanes[0] += (double)weights[j];
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

/* The token at which the running sum of the weights passes unit * total; -1 when the weights have no finite sum. */
static int32_t draw_by_weight(const float *weights, int64_t n, double unit) {
    double total = 0;
    for (int64_t j = 0; j < n; j += BLOCK) total += sum_block(weights + j, n - j < BLOCK ? n - j : BLOCK);
    if (!(total > 0 && total < HUGE_VAL)) return -1;
    double target = unit * total, sum = 0;
    int64_t last = -1; /* rounding may leave the target just beyond the end: then the last possible token */
    for (int64_t j = 0; j < n; j += BLOCK) {
        int64_t end = n - j < BLOCK ? n : j + BLOCK;
        double block = sum_block(weights + j, end - j);
        if (block > 0 && sum + block > target) {
            double inner = sum;
            for (int64_t i = j; i < end; i++) {
                if (!(weights[i] > 0)) continue;
                inner += (double)weights[i];
                last = i;
                if (inner > target) return (int32_t)i;
            }
            return (int32_t)last;
        }
        for (int64_t i = end - 1; block > 0 && i >= j; i--)
            if (weights[i] > 0) {
                last = i;
                break;
            }
        sum += block;
    }
    return (int32_t)last;
}

static int32_t draw_greedy(const float *logits, int64_t n) {
    int32_t best = -1;
    for (int64_t j = 0; j < n; j++) {
        if (!(logits[j] < INFINITY)) return -1;
        if (logits[j] > -INFINITY && (best < 0 || logits[j] > logits[best])) best = (int32_t)j;
    }
    return best;
}

static int32_t draw_truncated(struct sampler *s, const struct sampling *sampling, float *weights, int thread,
                              int32_t row, double unit) {
    double sum = 0; /* a NaN must be found before the ranking sees it */
    for (int64_t j = 0; j < s->n_vocab; j++) sum += (double)weights[j];
    if (!(sum > 0)) return -1;
    struct ranked ranked = {weights, s->candidates + (int64_t)thread * s->n_vocab, (int32_t)s->n_vocab};
    struct cut cut = choose_cut(&ranked, sampling);
    int32_t *kept = s->kept + (int64_t)row * s->n_vocab, n = 0;
    for (int32_t j = 0; j < ranked.n_vocab; j++) {
        if (is_kept(cut, weights[j], j))
            kept[n++] = j;
        else
            weights[j] = 0;
    }
    if (n < ranked.n_vocab) s->views[row] = (struct softmax_kept){kept, n};
    return draw_by_weight(weights, s->n_vocab, unit);
}

static int32_t draw_row(struct sampler *s, const struct sampling *sampling, const float *logits, int32_t row,
                        const struct sample_key *key) {
    s->views[row] = (struct softmax_kept){0};
    if (sampling->temperature == 0) return draw_greedy(logits, s->n_vocab);
    int thread = omp_get_thread_num();
    float *weights = s->weights + (int64_t)thread * s->n_vocab;
    row_weights(weights, logits, s->n_vocab, sampling_inv_temperature(sampling));
    double unit = rng_unit_at(key->seed, RNG_SAMPLE, key->iteration, key->prompt, key->sample, key->token);
    if (sampling_truncates(sampling)) return draw_truncated(s, sampling, weights, thread, row, unit);
    return draw_by_weight(weights, s->n_vocab, unit);
}

/* There is one row of weights for each of s->threads. */
static int team_size(const struct sampler *s) {
    return threads_count() < s->threads ? threads_count() : s->threads;
}

opsm_status sampler_draw(struct sampler *s, const struct sampling *sampling, int32_t n, const float *logits, int64_t ld,
                         const struct sample_key *keys, struct sample_draw *draws, opsm_error *err) {
    if (n < 0 || n > s->max_rows || (sampling_truncates(sampling) && !s->kept))
        return opsm_fail(err, OPSM_INTERNAL, "the sampler has room for %d rows%s, %d were asked for", s->max_rows,
                         s->kept ? "" : " without truncation", n);
#pragma omp parallel for num_threads(team_size(s)) schedule(dynamic, 1) if (n * s->n_vocab >= PARALLEL_WORK)
    for (int32_t i = 0; i < n; i++) s->tokens[i] = draw_row(s, sampling, logits + i * ld, i, &keys[i]);
    for (int32_t i = 0; i < n; i++)
        if (s->tokens[i] < 0)
            return opsm_fail(err, OPSM_NONFINITE,
                             "prompt %u, sample %u, token %u: the logits are not a distribution (NaN or infinite); the "
                             "weights are broken: go back to an earlier checkpoint or lower optim.lr",
                             keys[i].prompt, keys[i].sample, keys[i].token);
    softmax_logprob(s->logp, s->lse, NULL, logits, ld, s->tokens, s->kept ? s->views : NULL, n, s->n_vocab,
                    sampling_inv_temperature(sampling));
    for (int32_t i = 0; i < n; i++) draws[i] = (struct sample_draw){s->tokens[i], s->logp[i], s->views[i]};
    return OPSM_OK;
}
