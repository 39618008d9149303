/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/isa/isa.h"

extern const struct vec_table VEC(table);

const struct vec_table VEC(table) = {
#define VEC_ENTRY(type, name, parameters) .name = VEC(name),
    VEC_LIST(VEC_ENTRY)
#undef VEC_ENTRY
};
