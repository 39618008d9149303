/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a response says its answer: in a box, or behind a marker. Shared by the verifiers that look for one.
 */
#ifndef OPSM_REWARD_ANSWER_H
#define OPSM_REWARD_ANSWER_H
#include "reward/verifier_type.h"

enum answer_box {
    ANSWER_NO_BOX,
    ANSWER_OPEN_BOX, /* the last box is never closed: an answer that is none */
    ANSWER_BOX
};

/* The content of the last \boxed{...}, \fbox{...} or <answer>...</answer>, without white space at its ends. A box within
 * <answer> counts, one within another box is a part of it; \boxed5 without braces is one, too. `content` is set for ANSWER_BOX only. */
enum answer_box answer_boxed(struct span text, struct span *content);

/* Walks backwards over the sentences that state an answer: "answer" with ":", "=" or a verb behind it, in any case, bold
 * or not. Takes the last one that begins before `*end`; `statement` is what stands behind the word "answer", up to the
 * old `*end`, and `*end` becomes the word's own place. False when there is none. */
bool answer_stated(struct span text, size_t *end, struct span *statement);

/* The same for ####: what stands behind the last one that begins before `*end`, up to the end of its line. */
bool answer_hashed(struct span text, size_t *end, struct span *line);

/* The length of the text without the questions that it goes on to ask itself ("Question: ...") behind a ####. */
size_t answer_length(struct span text);

/* Moves past what may stand between a marker and its answer: blanks, colons, bold, "is therefore the number". */
void answer_skip_filler(struct span *statement);

/* Whether a statement denies ("not 5", "isn't 5") or bounds ("less than 5"): looks at its words up to a digit or the end of the sentence. */
bool answer_denied(struct span statement);

/* The last line that is not blank. */
struct span answer_last_line(struct span text);

/* Takes off one pair of what may stand around an answer, $..$, **..**, \text{..} and their like, and the white space;
 * false when there is none. */
bool answer_unwrap(struct span *text);

bool span_ends_with(struct span text, const char *literal);

/* Moves past `literal` at the beginning of `text`; false, and no move, when something else stands there. */
bool span_eat(struct span *text, const char *literal);

#endif
