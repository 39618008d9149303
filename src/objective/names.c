/* SPDX-License-Identifier: Apache-2.0 */
#include "objective/names.h"
#include <string.h>

#define ONE(C, name, doc) name,
#define BAR(C, name, doc) " | " name
#define NAMES(Type, LIST)                                                                                              \
    static const char *const Type##_names[] = {LIST(ONE)};                                                             \
    const struct name_list names_##Type = {.what = #Type,                                                              \
                                           .names = Type##_names,                                                      \
                                           .count = sizeof Type##_names / sizeof Type##_names[0],                      \
                                           .choices = &(LIST(BAR))[3]};                                                \
    const char *opsm_##Type##_name(opsm_##Type value) {                                                                \
        return names_name(&names_##Type, (int)value);                                                                  \
    }                                                                                                                  \
    opsm_status opsm_##Type##_parse(const char *name, opsm_##Type *value, opsm_error *err) {                           \
        int found = 0;                                                                                                 \
        opsm_status status = names_parse(&names_##Type, name, &found, err);                                            \
        if (status == OPSM_OK) *value = (opsm_##Type)found;                                                            \
        return status;                                                                                                 \
    }

NAMES(advantage, OPSM_ADVANTAGE_LIST)
NAMES(surrogate, OPSM_SURROGATE_LIST)
NAMES(rule, OPSM_RULE_LIST)
NAMES(policy, OPSM_POLICY_LIST)
NAMES(estimator, OPSM_ESTIMATOR_LIST)
NAMES(reduce, OPSM_REDUCE_LIST)
NAMES(source, OPSM_SOURCE_LIST)
NAMES(sign, OPSM_SIGN_LIST)
NAMES(penalty, OPSM_PENALTY_LIST)
NAMES(aggregation, OPSM_AGGREGATION_LIST)
NAMES(denominator, OPSM_DENOMINATOR_LIST)
NAMES(guard, OPSM_GUARD_LIST)
NAMES(band, OPSM_BAND_LIST)
NAMES(point, OPSM_POINT_LIST)
NAMES(weight, OPSM_WEIGHT_LIST)
NAMES(reason, OPSM_REASON_LIST)

const char *names_name(const struct name_list *list, int value) {
    return value >= 0 && value < list->count ? list->names[value] : "?";
}

opsm_status names_parse(const struct name_list *list, const char *name, int *value, opsm_error *err) {
    for (int i = 0; name && i < list->count; i++)
        if (strcmp(name, list->names[i]) == 0) {
            *value = i;
            return OPSM_OK;
        }
    return opsm_fail(err, OPSM_INVALID, "unknown %s \"%.60s\": expected %s", list->what, name ? name : "(null)",
                     list->choices);
}
