/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OPSM_KERNELS_GEMM_TRANSPOSE_H
#define OPSM_KERNELS_GEMM_TRANSPOSE_H
#include "kernels/dtype.h"

/* to[columns, ld_to] = from[rows, columns]^T with rows of `from` ld_from elements apart, converted from `type` to
 * `to_type` (the same, or bf16 to f32). What lies between the rows of `to` is left alone. */
void gemm_transpose(enum dtype to_type, void *to, int64_t ld_to, enum dtype type, const void *from, int64_t ld_from,
                    int64_t rows, int64_t columns);

#endif
