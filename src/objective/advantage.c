/* SPDX-License-Identifier: Apache-2.0
 *
 * Advantages from the rewards of groups (section 1 of the definition).
 */
#include "objective/parts.h"
#include <math.h>

/* Mean and unbiased standard deviation; 0 for fewer than two. */
static double mean_of(const struct member *x, int64_t n) {
    double sum = 0;
    for (int64_t k = 0; k < n; k++) sum += x[k].value;
    return n ? sum / (double)n : 0.0;
}

static double squares_about(const struct member *x, int64_t n, double mean) {
    double sum = 0;
    for (int64_t k = 0; k < n; k++) sum += (x[k].value - mean) * (x[k].value - mean);
    return sum;
}

/* Rewards of one group, sorted by value: the sums do not depend on the order of the sequences. */
static void group_advantages(const opsm_objective *config, const struct member *x, int64_t n, float *advantages) {
    double mean = mean_of(x, n), sum = mean * (double)n;
    double std = n > 1 ? sqrt(squares_about(x, n, mean) / (double)(n - 1)) : 0.0;
    for (int64_t k = 0; k < n; k++) {
        double a = x[k].value - mean;
        if (config->advantage == OPSM_ADVANTAGE_GRPO) a /= std + config->advantage_epsilon;
        if (config->advantage == OPSM_ADVANTAGE_RLOO) a = x[k].value - (sum - x[k].value) / (double)(n - 1);
        advantages[x[k].index] = (float)a;
    }
}

static opsm_status gather(const opsm_batch *batch, struct member *members, opsm_error *err) {
    for (int64_t i = 0; i < batch->n_sequences; i++) {
        if (!isfinite(batch->rewards[i]))
            return opsm_fail(
                err, OPSM_NONFINITE,
                "reward of sequence %lld is %g: expected a finite number; leave out what could not be judged",
                (long long)i, (double)batch->rewards[i]);
        int64_t group = batch->groups ? batch->groups[i] : 0;
        if (batch->n_groups > 0 && (group < 0 || group >= batch->n_groups))
            return opsm_fail(err, OPSM_GROUPS, "sequence %lld belongs to group %lld: expected 0 to %lld", (long long)i,
                             (long long)group, (long long)batch->n_groups - 1);
        members[i] = (struct member){group, (double)batch->rewards[i], i};
    }
    sort_members(members, batch->n_sequences);
    int64_t expected = 0;
    for (int64_t i = 0; batch->n_groups > 0 && i < batch->n_sequences; i++) {
        if (members[i].group > expected) break;
        if (members[i].group == expected) expected++;
    }
    if (expected < batch->n_groups)
        return opsm_fail(err, OPSM_GROUPS, "group %lld of %lld has no members", (long long)expected,
                         (long long)batch->n_groups);
    return OPSM_OK;
}

static void scale_all(float *advantages, int64_t n, double divisor) {
    for (int64_t i = 0; i < n; i++) advantages[i] = (float)((double)advantages[i] / divisor);
}

opsm_status opsm_advantages(const opsm_objective *config, const opsm_batch *given, float *advantages,
                            opsm_group_stats *stats, void *workspace, size_t workspace_size, opsm_error *err) {
    opsm_objective full;
    opsm_batch batch;
    struct arena arena;
    opsm_status status = objective_load_config(config, &full, err);
    if (status == OPSM_OK) status = batch_load(given, &batch, err);
    if (status != OPSM_OK) return status;
    int64_t n = batch.n_sequences;
    if (n < 0) return opsm_fail(err, OPSM_INVALID, "batch of %lld sequences", (long long)n);
    if (full.advantage == OPSM_ADVANTAGE_GIVEN)
        return opsm_fail(err, OPSM_INVALID, "advantage = given: advantages come with the data, not from rewards");
    if (n > 0 && !batch.rewards)
        return opsm_fail(err, OPSM_MISSING, "rewards are missing: advantage = %s is computed from them",
                         opsm_advantage_name(full.advantage));
    status = arena_open(&arena, workspace, workspace_size, n, err);
    if (status != OPSM_OK) return status;
    struct member *members = arena_take(&arena, n, sizeof *members);
    status = gather(&batch, members, err);
    if (status != OPSM_OK) return status;
    opsm_group_stats found = {.reward_mean = mean_of(members, n)};
    if (n > 1) found.reward_std = sqrt(squares_about(members, n, found.reward_mean) / (double)(n - 1));
    for (int64_t first = 0, next; first < n; first = next) {
        for (next = first + 1; next < n && members[next].group == members[first].group;) next++;
        found.groups++;
        if (members[first].value == members[next - 1].value) {
            /* Exactly zero, whatever the mean rounds to: such a group is skipped by comparison with 0. */
            for (int64_t k = first; k < next; k++) advantages[members[k].index] = 0.0f;
            found.zero_groups++;
        } else {
            group_advantages(&full, members + first, next - first, advantages);
        }
    }
    if (full.advantage == OPSM_ADVANTAGE_BATCH) scale_all(advantages, n, found.reward_std + full.advantage_epsilon);
    if (stats) *stats = found;
    return OPSM_OK;
}
