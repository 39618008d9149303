/* SPDX-License-Identifier: Apache-2.0 */
#include "objective/dpo.h"
#include <math.h>

/* sum_t m (c - f) */
static double log_ratio(const struct plan *plan, int64_t i, struct tokens *tokens) {
    struct walk walk = walk_sequence(&plan->batch, i);
    double sum = 0;
    while (walk_next(&walk, &tokens->block)) {
        int n = tokens->block.n;
        block_gather(&tokens->block, plan->batch.logp_current, tokens->c);
        block_gather(&tokens->block, plan->batch.logp_reference, tokens->d);
        block_subtract(n, tokens->c, tokens->d, tokens->d);
        sum += block_sum(n, tokens->d);
    }
    return sum;
}

/* -log sigmoid(z) = log(1 + exp(-z)), without overflow; slope is its derivative. */
static double softplus_negative(double z, double *slope) {
    double e = exp_fixed(z > 0 ? -z : z);
    *slope = z > 0 ? -e / (1.0 + e) : -1.0 / (1.0 + e);
    return (z > 0 ? 0.0 : -z) + log1p(e);
}

static void score_pair(const struct plan *plan, int64_t best, int64_t worst, struct dpo_share *shares,
                       struct tokens *tokens) {
    double beta = plan->config.surrogate_beta;
    double z = beta * (log_ratio(plan, best, tokens) - log_ratio(plan, worst, tokens));
    double slope, value = softplus_negative(z, &slope);
    shares[best] = (struct dpo_share){.value = value / 2, .slope = beta * slope};
    shares[worst] = (struct dpo_share){.value = value / 2, .slope = -beta * slope};
}

/* Among members first..last of equal advantage, the one with the lowest id. */
static int64_t lowest_id(const opsm_batch *batch, const struct member *members, int64_t first, int64_t last) {
    int64_t best = members[first].index;
    for (int64_t k = first + 1; k <= last; k++)
        if (batch_id(batch, members[k].index) < batch_id(batch, best)) best = members[k].index;
    return best;
}

/* The loser's drift rejects the pair; so does a winner that a rule for A >= 0 dropped, and any value that is not
 * finite: such a pair cannot be scored. */
static bool pair_kept(const opsm_sequence *best, const opsm_sequence *worst) {
    if (best->nonfinite || worst->nonfinite) return false;
    return worst->keep && (best->keep || best->advantage < 0);
}

int64_t dpo_pairs(const struct plan *plan, const opsm_sequence *records, struct member *members,
                  struct dpo_share *shares, struct tokens *tokens) {
    const opsm_batch *batch = &plan->batch;
    int64_t n = batch->n_sequences, pairs = 0;
    for (int64_t i = 0; i < n; i++) {
        members[i] = (struct member){batch->groups ? batch->groups[i] : 0, batch_advantage(batch, i), i};
        if (shares) shares[i] = (struct dpo_share){0};
    }
    sort_members(members, n);
    for (int64_t first = 0, next; first < n; first = next) {
        for (next = first + 1; next < n && members[next].group == members[first].group;) next++;
        int64_t low = first, high = next - 1;
        if (!(members[first].value < members[high].value)) continue;
        while (members[low + 1].value == members[first].value) low++;
        while (members[high - 1].value == members[next - 1].value) high--;
        int64_t worst = lowest_id(batch, members, first, low), best = lowest_id(batch, members, high, next - 1);
        bool kept = !records || pair_kept(&records[best], &records[worst]);
        pairs += kept || plan->config.denominator != OPSM_DENOMINATOR_KEPT;
        if (kept && shares) score_pair(plan, best, worst, shares, tokens);
    }
    return pairs;
}
