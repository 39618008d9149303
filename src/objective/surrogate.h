/* SPDX-License-Identifier: Apache-2.0
 *
 * Surrogates and penalties of one block of tokens, with their derivatives in c (sections 4 and 5 of the definition).
 */
#ifndef OPSM_OBJECTIVE_SURROGATE_H
#define OPSM_OBJECTIVE_SURROGATE_H
#include "objective/drift.h"

/* Whether the loop is ppo's: such a surrogate reads a[0] alone, unless the batch has token advantages. */
bool surrogate_is_ppo(opsm_surrogate name);

/* S and dS/dc of the block that drift_load_ratio prepared, for advantages a[]. Tokens with a = 0 get 0 whatever the
 * ratio is. For gspo the caller has filled tokens->r with the sequence ratio; g is then dS/d(mean log ratio). */
void surrogate_block(const struct plan *plan, const struct tokens *tokens, const double *a, double *s, double *g);

/* The weight of the block's tokens that corrects for the mismatch of sampler and trainer; `sequence` is
 * weight_of_sequence of theirs. Only with a weight.level. */
void weight_block(const struct plan *plan, const struct block *block, double sequence, double *w);
double weight_of_sequence(const struct plan *plan, int64_t i, struct tokens *tokens);

/* x = w x, exactly 0 where w is. */
void weight_apply(int n, const double *w, double *x);

/* Tokens at the lower and upper clip; 0 for surrogates without one. */
void surrogate_clipped(const struct plan *plan, const struct tokens *tokens, const double *a, int64_t *low,
                       int64_t *high);

/* K (unclamped), its clamped value v and dv/dc, without beta. */
void penalty_block(const struct plan *plan, const struct tokens *tokens, double *k, double *v, double *g);

#endif
