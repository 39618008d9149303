/* SPDX-License-Identifier: Apache-2.0 */
#include "rollout/rollouts.h"
#include "base/mem.h"
#include <stdbool.h>

const char *finish_name(enum finish_reason reason) {
    switch (reason) {
    case FINISH_END:
        return "end";
    case FINISH_STOP:
        return "stop";
    case FINISH_LENGTH:
        return "length";
    }
    return "?";
}

void rollouts_free(struct rollouts *r) {
    mem_free(r->prompt_offset);
    mem_free(r->prompt_tokens);
    mem_free(r->offset);
    mem_free(r->tokens);
    mem_free(r->logp);
    mem_free(r->kept_offset);
    mem_free(r->kept);
    mem_free(r->finish);
    mem_free(r->text_length);
    mem_free(r->version);
    *r = (struct rollouts){0};
}

opsm_status rollouts_allocate(struct rollouts *r, int32_t n_prompts, int32_t group, int64_t n_prompt_tokens,
                              int64_t n_tokens, int64_t kept_total, opsm_error *err) {
    *r = (struct rollouts){.n_prompts = n_prompts, .group = group, .n_sequences = n_prompts * group};
    size_t n = (size_t)r->n_sequences, tokens = (size_t)n_tokens;
    r->prompt_offset = mem_alloc((size_t)n_prompts + 1, sizeof *r->prompt_offset);
    r->prompt_tokens = mem_alloc((size_t)n_prompt_tokens, sizeof *r->prompt_tokens);
    r->offset = mem_alloc(n + 1, sizeof *r->offset);
    r->tokens = mem_alloc(tokens, sizeof *r->tokens);
    r->logp = mem_alloc(tokens, sizeof *r->logp);
    r->finish = mem_alloc(n, sizeof *r->finish);
    r->text_length = mem_alloc(n, sizeof *r->text_length);
    r->version = mem_alloc(n, sizeof *r->version);
    bool whole = r->prompt_offset && r->prompt_tokens && r->offset && r->tokens && r->logp && r->finish &&
                 r->text_length && r->version;
    if (kept_total >= 0) {
        r->kept_offset = mem_alloc(tokens + 1, sizeof *r->kept_offset);
        r->kept = mem_alloc((size_t)kept_total, sizeof *r->kept);
        whole = whole && r->kept_offset && r->kept;
    }
    if (whole) return OPSM_OK;
    rollouts_free(r);
    return mem_exhausted(err, "rollouts", tokens * 8 + (size_t)(kept_total > 0 ? kept_total : 0) * 4);
}

char *rollouts_text(const struct rollouts *r, const struct tokenizer *tokenizer, int32_t i, size_t *length) {
    char *text = tokenizer_decode(tokenizer, r->tokens + r->offset[i], r->offset[i + 1] - r->offset[i], false, length);
    size_t end = (size_t)r->text_length[i];
    if (!text || r->finish[i] != FINISH_STOP || end >= *length) return text;
    text[end] = '\0';
    *length = end;
    return text;
}
