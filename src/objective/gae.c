/* SPDX-License-Identifier: Apache-2.0 */
#include "objective/parts.h"
#include <math.h>

static opsm_status check(const opsm_batch *batch, const float *values, double gamma, double lambda, opsm_error *err) {
    opsm_status status = batch_check_offsets(batch, err);
    if (status != OPSM_OK) return status;
    if (!(gamma >= 0 && gamma <= 1) || !(lambda >= 0 && lambda <= 1))
        return opsm_fail(err, OPSM_INVALID, "gamma = %g, lambda = %g: each must lie in 0..1", gamma, lambda);
    if (!values && batch->n_tokens > 0) return opsm_fail(err, OPSM_MISSING, "the critic's values are missing");
    return OPSM_OK;
}

opsm_status opsm_gae(const opsm_batch *given, const float *values, const float *token_rewards,
                     const float *final_rewards, double gamma, double lambda, float *advantages, float *returns,
                     opsm_error *err) {
    opsm_batch batch;
    opsm_status status = batch_load(given, &batch, err);
    if (status == OPSM_OK) status = check(&batch, values, gamma, lambda, err);
    if (status != OPSM_OK) return status;
    for (int64_t i = 0; i < batch.n_sequences; i++) {
        double next_value = 0, trace = 0;
        bool last = true;
        for (int64_t t = batch.offsets[i + 1]; t-- > batch.offsets[i];) {
            advantages[t] = 0;
            if (returns) returns[t] = 0;
            if (batch.mask && !batch.mask[t]) continue;
            double reward = token_rewards ? (double)token_rewards[t] : 0.0;
            if (last && final_rewards) reward += (double)final_rewards[i];
            last = false;
            trace = reward + gamma * next_value - (double)values[t] + gamma * lambda * trace;
            next_value = (double)values[t];
            if (!isfinite(trace))
                return opsm_fail(err, OPSM_NONFINITE, "value or reward of sequence %lld, token %lld is not finite",
                                 (long long)i, (long long)(t - batch.offsets[i]));
            advantages[t] = (float)trace;
            if (returns) returns[t] = (float)(trace + (double)values[t]);
        }
    }
    return OPSM_OK;
}
