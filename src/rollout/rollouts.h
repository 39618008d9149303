/* SPDX-License-Identifier: Apache-2.0
 *
 * What generation leaves behind: ragged columns, groups one after the other, samples of a group one after the other.
 * Sequence i belongs to prompt i / group and is its sample i % group. The order never depends on which sequence
 * finished first. train/batch.h describes every column.
 */
#ifndef OPSM_ROLLOUT_ROLLOUTS_H
#define OPSM_ROLLOUT_ROLLOUTS_H
#include "kernels/softmax.h"
#include "text/tokenizer.h"
#include <opsm/status.h>
#include <stdint.h>

enum finish_reason {
    FINISH_END,   /* an end token; it is the last token recorded */
    FINISH_STOP,  /* a stop string; its tokens are recorded, the text ends before it */
    FINISH_LENGTH /* max_tokens */
};

const char *finish_name(enum finish_reason reason);

/* Owned arrays; zero-initialise, release with rollouts_free. */
struct rollouts {
    int32_t n_prompts, group, n_sequences; /* n_sequences == n_prompts * group */
    float inv_temperature;
    int64_t *prompt_offset; /* [n_prompts + 1] */
    int32_t *prompt_tokens; /* [prompt_offset[n_prompts]] */
    int64_t *offset;        /* [n_sequences + 1] */
    int32_t *tokens;        /* [n_tokens = offset[n_sequences]] */
    float *logp;            /* [n_tokens] */
    int64_t *kept_offset;   /* [n_tokens + 1], NULL: sampling was not truncated */
    int32_t *kept;          /* [kept_offset[n_tokens]] */
    uint8_t *finish;        /* [n_sequences] enum finish_reason */
    int32_t *text_length;   /* [n_sequences] */
    uint64_t *version;      /* [n_sequences] */
};

void rollouts_free(struct rollouts *rollouts); /* leaves zeros */

/* Allocates all columns for these sizes, contents undefined but for the counts; kept_total < 0: no kept sets. */
opsm_status rollouts_allocate(struct rollouts *rollouts, int32_t n_prompts, int32_t group, int64_t n_prompt_tokens,
                              int64_t n_tokens, int64_t kept_total, opsm_error *err);

static inline int64_t rollouts_tokens(const struct rollouts *rollouts) {
    return rollouts->n_sequences ? rollouts->offset[rollouts->n_sequences] : 0;
}

/* The tokens that stood for choice at token t; an empty view when none were left out. */
static inline struct softmax_kept rollouts_kept(const struct rollouts *rollouts, int64_t t) {
    if (!rollouts->kept_offset || rollouts->kept_offset[t] == rollouts->kept_offset[t + 1])
        return (struct softmax_kept){0};
    return (struct softmax_kept){rollouts->kept + rollouts->kept_offset[t],
                                 (int32_t)(rollouts->kept_offset[t + 1] - rollouts->kept_offset[t])};
}

/* The text of response i, which verifiers judge and people read: its tokens decoded, and where a stop string matched, cut
 * where that begins. NUL-terminated; release with mem_free. NULL when out of memory. */
char *rollouts_text(const struct rollouts *rollouts, const struct tokenizer *tokenizer, int32_t i, size_t *length);

#endif
