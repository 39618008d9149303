/* SPDX-License-Identifier: Apache-2.0
 *
 * Tiles of our own, where oneDNN does not serve: OPSM_ISA=ref, and processors other than x86. In f32 over the vector
 * routines of vec.h; in bf16 where the processor multiplies matrices in it (64-bit ARM: BFMMLA, gemm_panel_bf16.c). Every
 * output is one float sum over the inner dimension in ascending order, so a row's result does not depend on the rows
 * beside it, nor on its place among them. (oneDNN's code for 64-bit ARM does not keep that law.)
 */
#ifndef OPSM_KERNELS_GEMM_PANEL_H
#define OPSM_KERNELS_GEMM_PANEL_H
#include "kernels/dtype.h"

/* B is kept as panels of so many outputs, zero-filled at the edge; rows come in multiples of GEMM_PANEL_ROWS. */
enum { GEMM_PANEL = 16, GEMM_PANEL_ROWS = 4 };

/* Bytes of a packed B[inner, outs]. */
size_t gemm_panel_packed_bytes(enum dtype type, int64_t outs, int64_t inner);

/* packed = B in `type`; its element (k, j) is src[k * stride_inner + j * stride_outs], in src_type: f32, or `type`. */
void gemm_panel_pack(enum dtype type, int64_t outs, int64_t inner, enum dtype src_type, const void *src,
                     int64_t stride_inner, int64_t stride_outs, void *packed);

/* C[rows, outs] f32 = A[rows, inner] B, A in `type`; A and C dense. */
void gemm_panel_run(enum dtype type, int64_t rows, int64_t outs, int64_t inner, const void *a, const void *packed,
                    float *c);

/* The same in bf16, B packed as [outs / GEMM_PANEL][inner / 4][GEMM_PANEL][4], zero-filled at both edges. */
void gemm_panel_bf16(int64_t rows, int64_t outs, int64_t inner, const uint16_t *a, const uint16_t *packed, float *c);

#endif
