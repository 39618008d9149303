/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of the routines that are built once per instruction set: VEC(dot) is vec_dot_avx2 in the objects built for
 * AVX2. The build defines VEC_ISA as the suffix.
 */
#ifndef OPSM_KERNELS_ISA_ISA_H
#define OPSM_KERNELS_ISA_ISA_H
#include "kernels/isa/exp.h"
#include "kernels/isa/lanes.h"
#include "kernels/vec.h"

#ifndef VEC_ISA
#define VEC_ISA ref
#endif
#define VEC_PASTE2(name, isa) vec_##name##_##isa
#define VEC_PASTE(name, isa)  VEC_PASTE2(name, isa)
#define VEC(name)             VEC_PASTE(name, VEC_ISA)

#define VEC_DECLARE(type, name, parameters) type VEC(name) parameters;
VEC_LIST(VEC_DECLARE)
#undef VEC_DECLARE

#endif
