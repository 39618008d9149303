/* SPDX-License-Identifier: Apache-2.0 */
#include "model/head.h"
#include "base/threads.h"
#include "kernels/layers.h"

/* Logits and their gradients of one chunk should be worth the trip through the head's weights, yet stay small beside
 * the model: about this many floats. */
enum { CHUNK_FLOATS = 1 << 24 };

int32_t head_rows(int32_t n_vocab, int32_t max_tokens) {
    int32_t rows = CHUNK_FLOATS / n_vocab / GEMM_ROWS * GEMM_ROWS;
    int32_t whole = (max_tokens + GEMM_ROWS - 1) / GEMM_ROWS * GEMM_ROWS;
    if (rows < GEMM_ROWS) rows = GEMM_ROWS;
    return rows < whole ? rows : whole;
}

opsm_status head_logits(const struct activations *acts, const struct model *m, const float *x, const int32_t *row,
                        int32_t n, float *logits, opsm_error *err) {
    const struct head_buffers *h = &acts->head;
    int64_t dim = m->config.dim;
    for (int32_t i = 0; i < n; i++) memcpy(h->x + i * dim, x + row[i] * dim, (size_t)dim * sizeof(float));
    rmsnorm_forward(h->h, acts->precision, h->rstd, h->x, m->params.values + m->output_norm, n, dim,
                    m->config.norm_eps);
    return linear_forward(m->head, n, h->h, false, logits, err);
}

static opsm_status check_request(const struct activations *acts, const struct model *m, const struct head_request *r,
                                 opsm_error *err) {
    opsm_status status = activations_check(acts, m, err);
    if (status != OPSM_OK) return status;
    if (!(r->inv_temperature > 0) || !isfinite(r->inv_temperature))
        return opsm_fail(err, OPSM_INVALID, "inverse temperature %g, expected a positive number",
                         (double)r->inv_temperature);
    for (int64_t i = 0; i < r->n; i++)
        if (r->row[i] < 0 || r->row[i] >= acts->n_rows || r->target[i] < 0 || r->target[i] >= m->config.n_vocab)
            return opsm_fail(err, OPSM_INVALID,
                             "log-prob %lld asks for token %d at row %d of a batch of %d rows and a vocabulary of %d",
                             (long long)i, r->target[i], r->row[i], acts->n_rows, m->config.n_vocab);
    return OPSM_OK;
}

opsm_status head_logprobs(float *logp, float *entropy, struct activations *acts, const struct model *m,
                          const struct head_request *r, opsm_error *err) {
    opsm_status status = check_request(acts, m, r, err);
    if (status != OPSM_OK) return status;
    const struct head_buffers *h = &acts->head;
    const float *x = activations_stream(acts, m->config.n_layers);
    int64_t n_vocab = m->config.n_vocab;
    for (int64_t at = 0; at < r->n; at += h->room) {
        int32_t n = (int32_t)(r->n - at < h->room ? r->n - at : h->room);
        status = head_logits(acts, m, x, r->row + at, n, h->logits, err);
        if (status != OPSM_OK) return status;
        softmax_logprob(logp + at, h->lse, entropy ? entropy + at : NULL, h->logits, n_vocab, r->target + at,
                        r->kept ? r->kept + at : NULL, n, n_vocab, r->inv_temperature);
    }
    return OPSM_OK;
}

/* The next entries with a coefficient, as many as fit; returns their number and moves *at behind them. */
static int32_t gather(const struct head_buffers *h, const struct head_request *r, const float *coef, int64_t *at) {
    int32_t n = 0;
    for (; *at < r->n && n < h->room; ++*at) {
        if (coef[*at] == 0.0f) continue;
        h->row[n] = r->row[*at];
        h->target[n] = r->target[*at];
        h->coef[n] = coef[*at];
        if (r->kept) h->kept[n] = r->kept[*at];
        n++;
    }
    return n;
}

/* One prompt row may stand in a chunk many times (the first token of every response): in order, one thread per column
 * range would gain nothing. */
static void scatter(float *dx, const struct activations *acts, int32_t n, int64_t dim) {
    const struct head_buffers *h = &acts->head;
    for (int32_t i = 0; i < n; i++) add_inplace(dx + acts->live[h->row[i]] * dim, h->dx + i * dim, dim);
}

static opsm_status chunk_backward(float *dx, const struct activations *acts, const struct model *m, int32_t n,
                                  const struct softmax_kept *kept, float inv_temperature, opsm_error *err) {
    const struct head_buffers *h = &acts->head;
    enum dtype type = acts->precision;
    int64_t dim = m->config.dim, n_vocab = m->config.n_vocab;
    softmax_logprob(h->logp, h->lse, NULL, h->logits, n_vocab, h->target, kept, n, n_vocab, inv_temperature);
    softmax_backward(h->dlogits, type, h->logits, n_vocab, h->lse, h->target, h->coef, kept, n, n_vocab,
                     inv_temperature);
    opsm_status status = linear_backward(m->head, n, NULL, h->dlogits, h->h, h->dh, err);
    if (status != OPSM_OK) return status;
    memset(h->dx, 0, (size_t)(n * dim) * sizeof(float));
    status = rmsnorm_backward(h->dx, m->params.grads + m->output_norm, h->dh, h->x, m->params.values + m->output_norm,
                              h->rstd, n, dim, err);
    if (status == OPSM_OK) scatter(dx, acts, n, dim);
    return status;
}

opsm_status head_backward(float *dx, const struct activations *acts, const struct model *m, const float *x,
                          const struct head_request *r, const float *coef, opsm_error *err) {
    opsm_status status = check_request(acts, m, r, err);
    const struct head_buffers *h = &acts->head;
    for (int64_t at = 0; at < r->n && status == OPSM_OK;) {
        int32_t n = gather(h, r, coef, &at);
        if (n == 0) break;
        status = head_logits(acts, m, x, h->row, n, h->logits, err);
        if (status == OPSM_OK)
            status = chunk_backward(dx, acts, m, n, r->kept ? h->kept : NULL, r->inv_temperature, err);
    }
    return status;
}
