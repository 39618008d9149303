/* SPDX-License-Identifier: Apache-2.0
 *
 * The data dictionary: every array that rollouts and the batches made of them are. A new column is one line here; it is
 * then a member of `struct rollouts`, freed, counted, written to checkpoints and read back, gathered into minibatches
 * and dumped as its line says.
 *
 *     X(name, type, shape, gathered, dumped, absent, written by, read by)
 *
 * gathered  GATHERED: minibatches hold it for their sequences, under the same name; STAYS: they do not
 * dumped    its name in dumped rollouts (docs/audit.md); NULL: not there. Prompts have 0 in token columns.
 * absent    when its pointer is NULL; NULL: never. Other columns come with the rollouts, these with rollouts_add.
 *
 * Log-probs are in nats, of the sampled token in its context, at the sampling temperature and over the kept tokens.
 */
#ifndef OPSM_ROLLOUT_COLUMNS_H
#define OPSM_ROLLOUT_COLUMNS_H
#include <opsm/objective.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What ragged columns hang on: where prompts, sequences and kept sets begin. Offsets start at 0 and never decrease. */
#define FRAME_COLUMNS(X)                                                                                               \
    X(prompt_offset, int64_t, PROMPT_OFFSETS, STAYS, NULL, NULL, "rollout", "step (packing), dump, samples")           \
    X(prompt_tokens, int32_t, PROMPT_TOKENS, STAYS, NULL, NULL, "rollout", "step, dump, samples")                      \
    X(offset, int64_t, SEQUENCE_OFFSETS, GATHERED, NULL, NULL, "rollout", "everybody")                                 \
    X(kept_offset, int64_t, KEPT_OFFSETS, STAYS, NULL, "sampling was not truncated", "rollout", "step (head)")         \
    X(kept, int32_t, KEPT_TOKENS, STAYS, NULL, "sampling was not truncated", "rollout", "step (head); ids, sorted")

/* One element a token of a response: [offset[n_sequences]]. */
#define TOKEN_COLUMNS(X)                                                                                               \
    X(tokens, int32_t, PER_TOKEN, STAYS, "tokens", NULL, "rollout", "reward (text), step (input and target)")          \
    X(mask, uint8_t, PER_TOKEN, STAYS, "mask", "the model wrote every token", "environment (0: it wrote the token)",   \
      "step: head, loss, drift")                                                                                       \
    X(logp, float, PER_TOKEN, GATHERED, "logp_behavior", NULL, "rollout", "objective (behaviour b)")                   \
    X(logp_current, float, PER_TOKEN, STAYS, "logp_current", "rollout.save is off", "step, the last one", "dump (c)")  \
    X(logp_trainer, float, PER_TOKEN, GATHERED, "logp_trainer", "nobody asks for p", "train, once", "objective (p)")   \
    X(logp_reference, float, PER_TOKEN, GATHERED, "logp_reference", "penalty.beta is 0", "train, once", "objective (f)")

/* One element a response: [n_sequences]. */
#define SEQUENCE_COLUMNS(X)                                                                                            \
    X(group_of, int64_t, PER_SEQUENCE, GATHERED, "group", NULL, "rollout", "everybody: its prompt; never decreases")   \
    X(reward, float, PER_SEQUENCE, STAYS, "reward", "not judged yet", "reward", "advantage, metrics, samples")         \
    X(unjudged, uint8_t, PER_SEQUENCE, STAYS, NULL, "all were judged", "reward", "advantage, step, dump, samples")     \
    X(advantage, float, PER_SEQUENCE, GATHERED, "advantage", "not judged yet", "advantage", "objective, samples")      \
    X(version, uint64_t, PER_SEQUENCE, GATHERED, "version", NULL, "rollout", "metrics (lag), step (parity)")           \
    X(finish, uint8_t, PER_SEQUENCE, STAYS, "finish", NULL, "rollout", "reward, metrics; enum finish_reason")          \
    X(text_length, int32_t, PER_SEQUENCE, STAYS, NULL, NULL, "rollout", "reward; bytes before a stop string")          \
    X(verdict, opsm_sequence, PER_SEQUENCE, STAYS, NULL, "no samples are due", "step, the last one", "samples")

#define ROLLOUT_COLUMNS(X) FRAME_COLUMNS(X) TOKEN_COLUMNS(X) SEQUENCE_COLUMNS(X)

/* How many elements. */
enum column_shape {
    PROMPT_OFFSETS,   /* n_prompts + 1 */
    PROMPT_TOKENS,    /* prompt_offset[n_prompts] */
    SEQUENCE_OFFSETS, /* n_sequences + 1 */
    KEPT_OFFSETS,     /* tokens + 1 */
    KEPT_TOKENS,      /* kept_offset[tokens] */
    PER_TOKEN,        /* tokens = offset[n_sequences] */
    PER_SEQUENCE      /* n_sequences */
};

enum column_type { COLUMN_U8, COLUMN_I32, COLUMN_I64, COLUMN_U64, COLUMN_F32, COLUMN_RECORD };

enum { STAYS, GATHERED };

#define COLUMN_ID(name, ...) COLUMN_##name,
enum column_id { ROLLOUT_COLUMNS(COLUMN_ID) COLUMN_COUNT };
#undef COLUMN_ID

/* A line of the table. */
struct column {
    const char *name, *dumped, *absent, *writer, *reader;
    enum column_shape shape;
    enum column_type type;
    size_t size;   /* of an element */
    size_t member; /* where its pointer is in struct rollouts */
    bool gathered;
};

extern const struct column rollout_columns[COLUMN_COUNT];

#endif
