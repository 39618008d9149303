/* SPDX-License-Identifier: Apache-2.0 */
#include "model/lm_head.h"
#include "model/head.h"

opsm_status lm_head_logits(const struct activations *acts, const struct model *m, const int32_t *row, int32_t n,
                           float *logits, opsm_error *err) {
    head_gather(acts, m, row, n);
    return linear_forward(m->head, n, acts->head.h, false, logits, &acts->lora, err);
}

static opsm_status check_request(const struct activations *acts, const struct model *m, const struct lm_head_request *r,
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

opsm_status lm_head_logprobs(float *logp, float *entropy, const struct activations *acts, const struct model *m,
                             const struct lm_head_request *r, opsm_error *err) {
    opsm_status status = check_request(acts, m, r, err);
    if (status != OPSM_OK) return status;
    const struct lm_head_buffers *b = &acts->lm_head;
    int32_t room = acts->head.room;
    for (int64_t at = 0; at < r->n; at += room) {
        int32_t n = (int32_t)(r->n - at < room ? r->n - at : room);
        status = lm_head_logits(acts, m, r->row + at, n, b->logits, err);
        if (status != OPSM_OK) return status;
        softmax_logprob(logp + at, b->lse, entropy ? entropy + at : NULL, b->logits, m->config.n_vocab, r->target + at,
                        r->kept ? r->kept + at : NULL, n, m->config.n_vocab, r->inv_temperature);
    }
    return OPSM_OK;
}

/* The next entries with a coefficient, as many as fit, into the buffers; returns their number and moves *at behind
 * them. */
static int32_t next_entries(const struct activations *acts, const struct lm_head_request *r, const float *coef,
                            int64_t *at) {
    const struct lm_head_buffers *b = &acts->lm_head;
    int32_t n = 0;
    for (; *at < r->n && n < acts->head.room; ++*at) {
        if (coef[*at] == 0.0f) continue;
        b->row[n] = r->row[*at];
        b->target[n] = r->target[*at];
        b->coef[n] = coef[*at];
        if (r->kept) b->kept[n] = r->kept[*at];
        n++;
    }
    return n;
}

/* The n entries in the buffers: logits again, their gradient [n, n_vocab], and from there to the rows. */
static opsm_status chunk_backward(const struct activations *acts, const struct model *m, int32_t n,
                                  const struct softmax_kept *kept, float inv_temperature, opsm_error *err) {
    const struct lm_head_buffers *b = &acts->lm_head;
    int64_t n_vocab = m->config.n_vocab;
    opsm_status status = lm_head_logits(acts, m, b->row, n, b->logits, err);
    if (status != OPSM_OK) return status;
    softmax_logprob(b->logp, b->lse, NULL, b->logits, n_vocab, b->target, kept, n, n_vocab, inv_temperature);
    softmax_backward(b->dlogits, acts->precision, b->logits, n_vocab, b->lse, b->target, b->coef, kept, n, n_vocab,
                     inv_temperature);
    status = linear_backward(m->head, n, NULL, b->dlogits, acts->head.h, acts->head.dh, &acts->lora, err);
    return status == OPSM_OK ? head_scatter(acts, m, b->row, n, err) : status;
}

opsm_status lm_head_backward(const struct activations *acts, const struct model *m, const struct lm_head_request *r,
                             const float *coef, opsm_error *err) {
    opsm_status status = check_request(acts, m, r, err);
    if (status == OPSM_OK) status = activations_check_backward(acts, acts->n_rows, err);
    for (int64_t at = 0; status == OPSM_OK && at < r->n;) {
        int32_t n = next_entries(acts, r, coef, &at);
        if (n == 0) break;
        status = chunk_backward(acts, m, n, r->kept ? acts->lm_head.kept : NULL, r->inv_temperature, err);
    }
    return status;
}
