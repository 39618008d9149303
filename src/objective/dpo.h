/* SPDX-License-Identifier: Apache-2.0
 *
 * Direct preference optimisation (2305.18290) on the best and the worst of each group.
 */
#ifndef OPSM_OBJECTIVE_DPO_H
#define OPSM_OBJECTIVE_DPO_H
#include "objective/drift.h"

/* What the pair of a sequence adds for it: half of the pair's loss, and d loss / d c, equal for all its tokens. Zero
 * for a sequence in no pair and for both sides of a rejected pair. Before division by the number of pairs. */
struct dpo_share {
    double value, slope;
};

/* Pairs of the batch, by advantage; ties go to the lower id. A group whose advantages are all equal makes no pair.
 * records hold the decisions (keep). `shares` NULL: only counts. Returns the number of pairs, kept ones only if the
 * denominator says so. `members` is scratch of n_sequences. */
int64_t dpo_pairs(const struct plan *plan, const opsm_sequence *records, struct member *members,
                  struct dpo_share *shares, struct tokens *tokens);

#endif
