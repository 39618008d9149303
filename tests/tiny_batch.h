/* SPDX-License-Identifier: Apache-2.0
 *
 * Random groups of prompts and responses, packed, with a log-prob requested for every response token.
 */
#ifndef OPSM_TESTS_TINY_BATCH_H
#define OPSM_TESTS_TINY_BATCH_H
#include "model/lm_head.h"
#include "tiny.h"

enum { TINY_SEQUENCES_MAX = 16, TINY_LENGTH_MAX = 64, TINY_REQUESTS_MAX = TINY_SEQUENCES_MAX * TINY_LENGTH_MAX };

struct tiny_sequence {
    int32_t group, n_prompt, n;
    int32_t prompt[TINY_LENGTH_MAX], tokens[TINY_LENGTH_MAX];
    float coef[TINY_LENGTH_MAX];
};

struct tiny_batch {
    int32_t n;
    struct tiny_sequence sequence[TINY_SEQUENCES_MAX];
};

/* Adds a group: one random prompt, one random response per length. */
static inline void tiny_group(struct tiny_batch *b, int32_t group, int32_t n_prompt, const int32_t *lengths,
                              int32_t n_responses) {
    struct rng r = rng_make(99, RNG_TEST, (uint32_t)group, 3, 0);
    for (int32_t i = 0; i < n_responses; i++) {
        struct tiny_sequence *s = &b->sequence[b->n++];
        *s = (struct tiny_sequence){.group = group, .n_prompt = n_prompt, .n = lengths[i]};
        tiny_tokens(s->prompt, n_prompt, 1000 + (uint32_t)group);
        for (int32_t t = 0; t < s->n; t++) {
            s->tokens[t] = (int32_t)rng_below(&r, TINY_VOCAB);
            s->coef[t] = (float)rng_normal(&r);
        }
    }
}

/* Two groups of 3 and 2 responses, one of them of a single token. */
static inline void tiny_two_groups(struct tiny_batch *b) {
    b->n = 0;
    tiny_group(b, 0, 5, (const int32_t[]){4, 1, 7}, 3);
    tiny_group(b, 1, 3, (const int32_t[]){6, 2}, 2);
}

struct tiny_packed {
    struct pack pack;
    struct lm_head_request request;
    int32_t row[TINY_REQUESTS_MAX], target[TINY_REQUESTS_MAX];
    float coef[TINY_REQUESTS_MAX], logp[TINY_REQUESTS_MAX], entropy[TINY_REQUESTS_MAX];
};

/* Packs sequences [first, first + n) of the batch; `shared` prompts once per group, else a copy per response. */
static inline opsm_status tiny_pack(struct tiny_packed *p, const struct tiny_batch *b, int32_t first, int32_t n,
                                    bool shared, opsm_error *err) {
    int32_t prompt = -1, group = -1, index;
    opsm_status status = OPSM_OK;
    pack_clear(&p->pack);
    p->request = (struct lm_head_request){.row = p->row, .target = p->target, .inv_temperature = 1.0f};
    for (int32_t i = first; i < first + n && status == OPSM_OK; i++) {
        const struct tiny_sequence *s = &b->sequence[i];
        if (!shared || s->group != group) status = pack_add(&p->pack, s->prompt, s->n_prompt, -1, &prompt, err);
        group = s->group;
        if (status == OPSM_OK) status = pack_add(&p->pack, s->tokens, s->n - 1, prompt, &index, err);
        if (status != OPSM_OK) break;
        const struct pack_segment *head = &p->pack.segments[prompt], *tail = &p->pack.segments[index];
        for (int32_t t = 0; t < s->n; t++) {
            int64_t at = p->request.n++;
            p->row[at] = t == 0 ? head->start + head->length - 1 : tail->start + t - 1;
            p->target[at] = s->tokens[t];
            p->coef[at] = s->coef[t];
        }
    }
    return status;
}

#endif
