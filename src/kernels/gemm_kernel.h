/* SPDX-License-Identifier: Apache-2.0
 *
 * The tile: a product of fixed shape, run by one worker at a time, over oneDNN or our own vector routines. Kernels are
 * made once per shape and shared; everything here except gemm_kernel_run and gemm_packer_run is for one thread at a
 * time, outside parallel regions.
 */
#ifndef OPSM_KERNELS_GEMM_KERNEL_H
#define OPSM_KERNELS_GEMM_KERNEL_H
#include "kernels/dtype.h"
#include <opsm/status.h>
#include <stdbool.h>

/* C[rows, outs] = A[rows, inner] B[inner, outs] for one outs, inner and type, and for up to four numbers of rows. */
struct gemm_kernel;

/* Whether tiles are oneDNN's: on x86 above plain C. */
bool gemm_kernel_uses_onednn(void);

/* The format that tiles of `wanted` data compute in: f32 where the machine has no bf16 products. */
enum dtype gemm_compute_type(enum dtype wanted);

/* The kernel for blocks of `rows` rows; `small`: also for fewer rows, where those give the same bits (below). Borrowed,
 * valid until gemm_kernels_free. */
opsm_status gemm_kernel_get(struct gemm_kernel **kernel, int64_t rows, int64_t outs, int64_t inner, enum dtype type,
                            bool small, opsm_error *err);

int64_t gemm_kernel_outs(const struct gemm_kernel *kernel);
size_t gemm_kernel_packed_bytes(const struct gemm_kernel *kernel);
const char *gemm_kernel_name(const struct gemm_kernel *kernel);

/* The row counts on offer, largest first: tile 0 is the full one. A smaller tile is on offer only if a probe on random
 * data found it bit-identical to the full one, at every row. */
int gemm_kernel_tiles(const struct gemm_kernel *kernel);
int64_t gemm_kernel_rows(const struct gemm_kernel *kernel, int tile);

/* The number that a worker reports when its own memory ran out; oneDNN says the same. */
enum { GEMM_NO_MEMORY = 1 };

/* One tile by one worker: A in the kernel's type and dense, B packed, C f32 and dense. 0, or a number for
 * gemm_kernel_fail. */
int gemm_kernel_run(const struct gemm_kernel *kernel, int tile, int worker, const void *a, const void *b, float *c);
opsm_status gemm_kernel_fail(opsm_error *err, int result);

/* Packs B[inner, outs] whose element (k, j) is src[k * stride_inner + j * stride_outs]. With `round_bf16`, values are
 * rounded to bf16 while the kernel computes in f32. Borrowed, as kernels are. */
struct gemm_packer;
opsm_status gemm_packer_get(struct gemm_packer **packer, struct gemm_kernel *kernel, enum dtype src_type,
                            int64_t stride_inner, int64_t stride_outs, bool round_bf16, opsm_error *err);
int gemm_packer_run(const struct gemm_packer *packer, int worker, const void *src, void *dst);

/* Memory of a worker, by purpose; grows, contents undefined. NULL when out of memory. */
enum gemm_buffer { GEMM_BUFFER_OUT, GEMM_BUFFER_IN, GEMM_BUFFER_DECODED, GEMM_BUFFER_SLICE, GEMM_BUFFERS };
void *gemm_buffer_get(enum gemm_buffer purpose, int worker, size_t bytes);

/* Memory that all workers share during one call; to be asked for outside the parallel region. */
void *gemm_shared_get(size_t bytes);

void gemm_kernels_free(void);

#endif
