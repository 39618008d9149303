/* SPDX-License-Identifier: Apache-2.0
 *
 * Threshold policies (section 3 of the definition), the noise floor, and the effective sample size.
 */
#include "objective/block.h"
#include "objective/trust.h"

static const uint32_t MAGIC = 0x4d53504fu; /* "OPSM" */

static bool adaptive(const opsm_objective *config) {
    return config->mask_policy == OPSM_POLICY_QUANTILE || config->mask_policy == OPSM_POLICY_CONTROLLER;
}

opsm_status opsm_threshold_start(const opsm_objective *config, opsm_threshold *state, opsm_error *err) {
    opsm_objective full;
    opsm_status status = objective_load_config(config, &full, err);
    if (status != OPSM_OK) return status;
    *state = (opsm_threshold){.magic = MAGIC, .abi = OPSM_OBJECTIVE_ABI, .delta = full.mask_delta, .trust = 1};
    if (adaptive(&full)) state->delta = clamp_to(full.mask_delta, full.mask_floor, full.mask_ceiling);
    return OPSM_OK;
}

opsm_status opsm_threshold_check(const opsm_threshold *state, opsm_error *err) {
    if (!state || state->magic != MAGIC || state->abi != OPSM_OBJECTIVE_ABI)
        return opsm_fail(err, OPSM_FORMAT,
                         "threshold state is not one: call opsm_threshold_start, or restore bytes that "
                         "this version (ABI %d) saved",
                         OPSM_OBJECTIVE_ABI);
    bool good = state->delta >= 0 && trust_is_sane(state) && isfinite(state->noise_mean) && state->noise_sd >= 0 &&
                state->noise_floor >= 0 && isfinite(state->noise_floor) && state->updates >= 0 &&
                state->calibrations >= 0;
    if (!good)
        return opsm_fail(err, OPSM_FORMAT, "threshold state is damaged: delta %g, noise floor %g after %lld updates",
                         state->delta, state->noise_floor, (long long)state->updates);
    return OPSM_OK;
}

/* X is a mean of n noisy terms: for a drift of kappa its standard deviation is about sqrt(2 kappa / n). */
static double by_length(const opsm_objective *config, int64_t n) {
    double kappa = config->mask_kappa;
    return kappa + config->mask_z * sqrt(2.0 * kappa / (double)(n > 0 ? n : 1));
}

/* A drift budget for the whole sequence: what one wrong token has lost is spread over the n of its mean. */
static double by_trust(const opsm_objective *config, const opsm_threshold *state, int64_t n) {
    double budget = (state ? state->trust : 1) * config->mask_budget;
    if (config->mask_reduce == OPSM_REDUCE_MEAN && n > 1) budget /= (double)n;
    return state && state->noise_floor > budget ? state->noise_floor : budget;
}

double opsm_threshold_delta(const opsm_objective *config, const opsm_threshold *state, int64_t n) {
    if (config->mask_policy == OPSM_POLICY_LENGTH) return by_length(config, n);
    if (config->mask_policy == OPSM_POLICY_AUTO) return by_trust(config, state, n);
    if (!adaptive(config)) return config->mask_delta;
    return state ? state->delta : clamp_to(config->mask_delta, config->mask_floor, config->mask_ceiling);
}

/* log delta moves by `rate` of the way to the wanted value; the result stays between floor and ceiling. The floor is
 * at least the noise floor, below which a threshold would drop on engine noise. */
static void move(const opsm_objective *config, opsm_threshold *state, double log_step) {
    double floor = config->mask_floor > state->noise_floor ? config->mask_floor : state->noise_floor;
    if (floor > config->mask_ceiling) floor = config->mask_ceiling;
    state->delta = clamp_to(exp(log(state->delta) + log_step), floor, config->mask_ceiling);
}

static void follow_quantile(const opsm_objective *config, opsm_threshold *state, const opsm_sequence *records,
                            int64_t n, double *drifts) {
    int64_t negatives = 0;
    for (int64_t i = 0; i < n; i++)
        if (records[i].advantage < 0 && isfinite(records[i].drift)) drifts[negatives++] = records[i].drift;
    if (negatives == 0) return;
    sort_doubles(drifts, negatives);
    double floor = config->mask_floor > state->noise_floor ? config->mask_floor : state->noise_floor;
    double wanted = opsm_quantile(drifts, negatives, config->mask_quantile);
    wanted = wanted > floor ? wanted : floor;
    move(config, state, config->mask_rate * (log(wanted) - log(state->delta)));
}

/* Drift of the kept negatives above the target tightens, below it loosens; log delta moves by at most 0.2 a step. */
static void follow_target(const opsm_objective *config, opsm_threshold *state, const opsm_sequence *records,
                          int64_t n) {
    double sum = 0;
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++)
        if (records[i].advantage < 0 && records[i].keep && isfinite(records[i].drift)) {
            sum += records[i].drift;
            kept++;
        }
    if (kept == 0) return;
    double mean = sum / (double)kept;
    double excess = mean > 0 ? log(mean / config->mask_target) : -(double)INFINITY;
    move(config, state, -clamp_to(excess, -0.2, 0.2));
}

opsm_status opsm_threshold_update(const opsm_objective *config, opsm_threshold *state, const opsm_sequence *records,
                                  int64_t n, void *workspace, size_t workspace_size, opsm_error *err) {
    opsm_objective full;
    struct arena arena;
    opsm_status status = objective_load_config(config, &full, err);
    if (status == OPSM_OK) status = opsm_threshold_check(state, err);
    if (status == OPSM_OK) status = arena_open(&arena, workspace, workspace_size, n, err);
    if (status != OPSM_OK) return status;
    state->updates++;
    trust_update(state, records, n);
    if (full.mask_policy == OPSM_POLICY_FIXED) state->delta = full.mask_delta;
    if (full.mask_policy == OPSM_POLICY_QUANTILE)
        follow_quantile(&full, state, records, n, arena_take(&arena, n, sizeof(double)));
    if (full.mask_policy == OPSM_POLICY_CONTROLLER) follow_target(&full, state, records, n);
    return OPSM_OK;
}

opsm_status opsm_threshold_calibrate(opsm_threshold *state, const opsm_sequence *records, int64_t n, opsm_error *err) {
    opsm_status status = opsm_threshold_check(state, err);
    if (status != OPSM_OK) return status;
    double sum = 0, squares = 0;
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(records[i].drift)) {
            sum += records[i].drift;
            count++;
        }
    if (count < 2) return OPSM_OK;
    double mean = sum / (double)count;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(records[i].drift)) squares += (records[i].drift - mean) * (records[i].drift - mean);
    state->noise_mean = mean;
    state->noise_sd = sqrt(squares / (double)(count - 1));
    state->noise_floor = (mean > 0 ? mean : 0) + 3 * state->noise_sd;
    state->calibrations++;
    return OPSM_OK;
}

double ess_weight(const opsm_sequence *record, double cap) {
    if (!isfinite(record->drift_k1)) return (double)NAN;
    double w = exp_fixed(-record->drift_k1 * (double)record->tokens);
    w = w > cap ? cap : w;
    return w > 1e150 ? 1e150 : w; /* cap off: its square must stay finite */
}

double ess_of(double count, double sum, double squares) {
    return count > 0 && squares > 0 ? sum * sum / (count * squares) : (double)NAN;
}

double opsm_ess(const opsm_sequence *records, int64_t n, double cap) {
    double count = 0, sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) {
        double w = ess_weight(&records[i], cap);
        if (!(w >= 0)) continue;
        sum += w;
        squares += w * w;
        count++;
    }
    return ess_of(count, sum, squares);
}
