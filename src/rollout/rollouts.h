/* SPDX-License-Identifier: Apache-2.0
 *
 * Responses to some prompts, in columns; columns.h says what each holds, who writes it and when it is absent.
 *
 * Prompt g is the one of group g; group_of[i] is the group of sequence i. Groups stand one after the other, their
 * members side by side: of any number, none too. Sequence i owns tokens offset[i] .. offset[i + 1] - 1 of every token
 * column: its response, without the prompt. The order never depends on which sequence finished first.
 */
#ifndef OPSM_ROLLOUT_ROLLOUTS_H
#define OPSM_ROLLOUT_ROLLOUTS_H
#include "kernels/softmax.h"
#include "rollout/columns.h"
#include "text/tokenizer.h"

enum finish_reason {
    FINISH_END,   /* an end token; it is the last token recorded */
    FINISH_STOP,  /* a stop string; its tokens are recorded, the text ends before it */
    FINISH_LENGTH /* max_tokens */
};

const char *finish_name(enum finish_reason reason);

/* Owned arrays; zero-initialise, release with rollouts_free. */
struct rollouts {
    int32_t n_prompts, n_sequences;
    float inv_temperature;
#define ROLLOUT_MEMBER(name, type, ...) type *name;
    ROLLOUT_COLUMNS(ROLLOUT_MEMBER)
#undef ROLLOUT_MEMBER
};

void rollouts_free(struct rollouts *rollouts); /* leaves zeros */

/* What the lengths of all columns follow from. */
struct rollout_sizes {
    int32_t n_prompts, n_sequences;
    int64_t prompt_tokens, tokens;
    int64_t kept; /* tokens in kept sets; negative: no kept sets */
};

struct rollout_sizes rollouts_sizes(const struct rollouts *rollouts);

/* Elements of a column; negative: there is no such column (kept sets). */
int64_t column_length(enum column_id id, const struct rollout_sizes *sizes);

/* Whether rollouts of these sizes have it from the start. */
bool column_required(enum column_id id, const struct rollout_sizes *sizes);

/* The array of a column, NULL where it is absent. */
void *rollouts_column(const struct rollouts *rollouts, enum column_id id);

/* Allocates `length` elements for a column that is absent, contents undefined. */
opsm_status rollouts_make(struct rollouts *rollouts, enum column_id id, int64_t length, opsm_error *err);

/* Allocates the columns that are always there, contents undefined but for the counts. */
opsm_status rollouts_allocate(struct rollouts *rollouts, const struct rollout_sizes *sizes, opsm_error *err);

/* Adds a column that may be absent, filled with zero bytes, unless it is there. */
opsm_status rollouts_add(struct rollouts *rollouts, enum column_id id, opsm_error *err);

/* Back to absent. */
void rollouts_drop(struct rollouts *rollouts, enum column_id id);

/* Bytes of the columns that are always there and of those in `optional`, a set of column_bit. */
size_t rollouts_bytes(const struct rollout_sizes *sizes, uint64_t optional);

static inline uint64_t column_bit(enum column_id id) {
    return (uint64_t)1 << id;
}

static inline int64_t rollouts_tokens(const struct rollouts *rollouts) {
    return rollouts->n_sequences ? rollouts->offset[rollouts->n_sequences] : 0;
}

/* The first sequence of i's group, and the first one behind it. */
static inline int32_t rollouts_group_begin(const struct rollouts *rollouts, int32_t i) {
    int32_t begin = i;
    while (begin > 0 && rollouts->group_of[begin - 1] == rollouts->group_of[i]) begin--;
    return begin;
}

static inline int32_t rollouts_group_end(const struct rollouts *rollouts, int32_t i) {
    int32_t end = i + 1;
    while (end < rollouts->n_sequences && rollouts->group_of[end] == rollouts->group_of[i]) end++;
    return end;
}

/* Whether the model wrote token t, not the environment. */
static inline bool rollouts_own(const struct rollouts *rollouts, int64_t t) {
    return !rollouts->mask || rollouts->mask[t];
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
