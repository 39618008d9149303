/* SPDX-License-Identifier: Apache-2.0
 *
 * Byte-pair encoding of one pre-tokenised piece: neighbouring tokens are merged, the merge with the lowest rank first,
 * the leftmost one among equals, until no rule applies.
 *
 * Short pieces are merged by scanning, long ones through a heap: O(n log n), whatever a text brings.
 */
#ifndef OPSM_TEXT_BPE_H
#define OPSM_TEXT_BPE_H
#include "text/token_list.h"
#include "text/vocab.h"

struct bpe_merge;

struct bpe {
    const struct vocab *vocab; /* borrowed */
    struct bpe_merge *merges;  /* hash table by the pair of ids */
    size_t mask;               /* number of its slots - 1 */
    uint8_t *whole;            /* one bit a token: its own bytes encode to it alone, so a look-up is enough */
};

/* Reads "A B" rules, the best first; a rule that occurs twice keeps its first rank. OPSM_FORMAT for one without a space
 * or with a piece that is no token. `take_whole`: a piece that is a token is never cut (ignore_merges). Free in any
 * case. */
opsm_status bpe_init(struct bpe *bpe, const struct vocab *vocab, const struct text_view *rules, uint64_t count,
                     bool take_whole, opsm_error *err);
void bpe_free(struct bpe *bpe);

/* Working memory of one thread; zero-initialise. */
struct bpe_scratch {
    void *memory;
    size_t size;
};
void bpe_scratch_free(struct bpe_scratch *scratch);

/* Appends the ids of one piece. Bytes for which the vocabulary has no token stop merges and are left out, as in
 * llama.cpp, and counted in the list. `length` is below 2^31. */
opsm_status bpe_encode(const struct bpe *bpe, const uint8_t *piece, size_t length, struct bpe_scratch *scratch,
                       struct token_list *list, opsm_error *err);

#endif
