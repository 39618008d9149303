/* SPDX-License-Identifier: Apache-2.0
 *
 * Tiles over the vector routines of vec.h, where oneDNN does not serve: OPSM_ISA=ref, and processors other than x86.
 * Every output is one float sum over the inner dimension in ascending order, so a row's result does not depend on the
 * rows beside it, nor on its place among them. (oneDNN's code for 64-bit ARM does not keep that law.)
 */
#ifndef OPSM_KERNELS_GEMM_PANEL_H
#define OPSM_KERNELS_GEMM_PANEL_H
#include <stddef.h>
#include <stdint.h>

/* Bytes of a packed B[inner, outs]. */
size_t gemm_panel_packed_bytes(int64_t outs, int64_t inner);

/* Element (k, j) of B is src[k * stride_inner + j * stride_outs]. */
void gemm_panel_pack(int64_t outs, int64_t inner, const float *src, int64_t stride_inner, int64_t stride_outs,
                     float *packed);

/* C[rows, outs] = A[rows, inner] B, all f32, A and C dense. */
void gemm_panel_run(int64_t rows, int64_t outs, int64_t inner, const float *a, const float *packed, float *c);

#endif
