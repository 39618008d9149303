/* SPDX-License-Identifier: Apache-2.0
 *
 * The name lists of the public header as tables.
 */
#ifndef OPSM_OBJECTIVE_NAMES_H
#define OPSM_OBJECTIVE_NAMES_H
#include <opsm/objective.h>

struct name_list {
    const char *what;
    const char *const *names;
    int count;
    const char *choices; /* "mean | sum | max" */
};
extern const struct name_list names_advantage, names_surrogate, names_rule, names_policy, names_estimator, names_reduce,
    names_source, names_sign, names_penalty, names_aggregation, names_denominator, names_guard, names_band, names_point,
    names_weight, names_reason;

const char *names_name(const struct name_list *list, int value);
opsm_status names_parse(const struct name_list *list, const char *name, int *value, opsm_error *err);

#endif
