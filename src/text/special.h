/* SPDX-License-Identifier: Apache-2.0
 *
 * Finds special tokens in a text: leftmost first, the longest of those that begin at one place. A trie over their
 * bytes.
 *
 * Hugging Face takes them in the same order. llama.cpp takes the longest of the whole text first; the results differ
 * only where two special tokens overlap without one containing the other.
 */
#ifndef OPSM_TEXT_SPECIAL_H
#define OPSM_TEXT_SPECIAL_H
#include "text/vocab.h"

enum { SPECIAL_LENGTH_MAX = 1024 }; /* bytes; bounds the work per byte of text */

struct special_node;

struct special {
    struct special_node *nodes;
    int32_t count;
    bool first[256];           /* some special token begins with this byte */
    bool first_user[256];      /* some user-defined one does */
    const struct vocab *vocab; /* borrowed */
};

struct special_match {
    size_t start, length;
    int32_t id;
};

/* OPSM_FORMAT for a special token that is too long or occurs twice. Free in any case. */
opsm_status special_init(struct special *special, const struct vocab *vocab, opsm_error *err);
void special_free(struct special *special);

/* The next special token at or after `from`; only user-defined ones unless `control`. Bytes at which `plain` (NULL: all
 * zero) is 1 are part of no control token. */
bool special_next(const struct special *special, const uint8_t *text, const uint8_t *plain, size_t length, size_t from,
                  bool control, struct special_match *match);

/* The special token of exactly this text, -1 if there is none. */
int32_t special_find(const struct special *special, const uint8_t *text, size_t length);

#endif
