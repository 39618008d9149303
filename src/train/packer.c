/* SPDX-License-Identifier: Apache-2.0 */
#include "train/packer.h"
#include "base/mem.h"

void packer_free(struct packer *p) {
    pack_free(&p->pack);
    mem_free(p->row);
    mem_free(p->target);
    mem_free(p->source);
    mem_free(p->coef);
    mem_free(p->logp);
    mem_free(p->entropy);
    mem_free(p->kept);
    *p = (struct packer){0};
}

opsm_status packer_reserve(struct packer *p, int64_t tokens, opsm_error *err) {
    if (tokens <= p->room) return OPSM_OK;
    size_t n = (size_t)tokens;
    struct pack pack = p->pack;
    p->pack = (struct pack){0};
    packer_free(p);
    p->pack = pack;
    p->row = mem_alloc(n, sizeof *p->row);
    p->target = mem_alloc(n, sizeof *p->target);
    p->source = mem_alloc(n, sizeof *p->source);
    p->coef = mem_alloc(n, sizeof *p->coef);
    p->logp = mem_alloc(n, sizeof *p->logp);
    p->entropy = mem_alloc(n, sizeof *p->entropy);
    p->kept = mem_alloc(n, sizeof *p->kept);
    if (!p->row || !p->target || !p->source || !p->coef || !p->logp || !p->entropy || !p->kept)
        return mem_exhausted(err, "a micro-batch's token columns", n * 44);
    p->room = tokens;
    return OPSM_OK;
}

/* A response's last token is predicted but predicts nothing: it needs no row. */
static opsm_status add_response(struct packer *p, const struct rollouts *r, int32_t sequence, int64_t at,
                                int32_t prompt_segment, opsm_error *err) {
    int64_t first = r->offset[sequence], n = r->offset[sequence + 1] - first;
    const struct pack_segment *prompt = &p->pack.segments[prompt_segment];
    int32_t prompt_end = prompt->start + prompt->length - 1, start = p->pack.n_tokens;
    if (n > 1) {
        int32_t index;
        opsm_status status = pack_add(&p->pack, r->tokens + first, (int32_t)n - 1, prompt_segment, &index, err);
        if (status != OPSM_OK) return status;
    }
    for (int64_t j = 0; j < n; j++) {
        if (!rollouts_own(r, first + j)) continue; /* what the environment wrote is read, never predicted */
        p->row[p->n] = j == 0 ? prompt_end : start + (int32_t)j - 1;
        p->target[p->n] = r->tokens[first + j];
        p->kept[p->n] = rollouts_kept(r, first + j);
        p->source[p->n++] = at + j;
    }
    p->n_sequences++;
    return OPSM_OK;
}

opsm_status packer_next(struct packer *p, const struct rollouts *r, const int32_t *ids, const int64_t *at,
                        int32_t n_ids, int32_t limit, int32_t *next, opsm_error *err) {
    pack_clear(&p->pack);
    p->n = 0;
    p->n_sequences = 0;
    int64_t last_group = -1;
    int32_t prompt_segment = -1;
    for (; *next < n_ids; (*next)++) {
        int32_t sequence = ids[*next];
        int64_t group = r->group_of[sequence], prompt = r->prompt_offset[group + 1] - r->prompt_offset[group];
        int64_t tokens = r->offset[sequence + 1] - r->offset[sequence];
        int64_t rows = tokens - 1 + (group == last_group ? 0 : prompt);
        if (p->n_sequences && p->pack.n_tokens + rows > limit) break;
        /* Responses of one token need no row: no end otherwise. Not by the room, which depends on what was packed before. */
        if (p->n_sequences && p->n + tokens > 2 * (int64_t)limit) break;
        opsm_status status = packer_reserve(p, p->n + tokens, err);
        if (status != OPSM_OK) return status;
        if (group != last_group) {
            status = pack_add(&p->pack, r->prompt_tokens + r->prompt_offset[group], (int32_t)prompt, -1,
                              &prompt_segment, err);
            if (status != OPSM_OK) return status;
            last_group = group;
        }
        status = add_response(p, r, sequence, at[*next], prompt_segment, err);
        if (status != OPSM_OK) return status;
    }
    return OPSM_OK;
}

struct lm_head_request packer_request(const struct packer *p, const struct rollouts *r) {
    return (struct lm_head_request){.n = p->n,
                                    .row = p->row,
                                    .target = p->target,
                                    .kept = r->kept_offset ? p->kept : NULL,
                                    .inv_temperature = r->inv_temperature};
}

void packer_select(struct packer *p, const float *column) {
    int64_t n = 0;
    for (int64_t i = 0; i < p->n; i++) {
        float coef = column[p->source[i]];
        if (coef == 0) continue;
        p->row[n] = p->row[i];
        p->target[n] = p->target[i];
        p->kept[n] = p->kept[i];
        p->source[n] = p->source[i];
        p->coef[n++] = coef;
    }
    p->n = n;
}
