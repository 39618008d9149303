/* SPDX-License-Identifier: Apache-2.0 */
#include <opsm/objective.h>

#ifndef OPSM_VERSION
#define OPSM_VERSION "0.0.0"
#endif

const char *opsm_version(void) {
    return OPSM_VERSION;
}

int opsm_objective_abi(void) {
    return OPSM_OBJECTIVE_ABI;
}
