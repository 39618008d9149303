/* SPDX-License-Identifier: Apache-2.0
 *
 * Brakes on the learning rate.
 */
#include "objective/parts.h"
#include <math.h>

double opsm_guard_scale(const opsm_objective *config, double ess) {
    if (config->guard != OPSM_GUARD_ESS || !(ess >= 0)) return 1.0;
    return sqrt(ess < config->guard_base ? ess / config->guard_base : 1.0);
}

double opsm_kept_share(const opsm_sequence *records, int64_t n) {
    double kept = 0, all = 0;
    for (int64_t i = 0; i < n; i++) {
        const opsm_sequence *r = &records[i];
        bool dropped = r->advantage < 0 && (r->nonfinite || r->drift > r->delta);
        kept += r->advantage != 0 && !dropped;
        all += r->advantage != 0;
    }
    return all > 0 ? kept / all : (double)NAN;
}

double opsm_guard_factor(const opsm_objective *config, const opsm_threshold *state, const opsm_sequence *records,
                         int64_t n) {
    if (config->guard == OPSM_GUARD_ESS) return opsm_guard_scale(config, opsm_ess(records, n, config->guard_cap));
    if (trust_brakes(config)) return state ? sqrt(sqrt(state->trust)) : 1.0;
    double share = config->guard == OPSM_GUARD_KEPT ? opsm_kept_share(records, n) : 1.0;
    return share >= 0 ? share : 1.0;
}
