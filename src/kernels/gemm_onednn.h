/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of oneDNN that the matrix products use, in terms of both of its C APIs: 2.x, where memory descriptors are
 * values, and 3.x, where they are handles. gemm_onednn.c is the only file that includes its headers.
 *
 * Primitives are created for one thread and run by the workers of an OpenMP region, each with its own number
 * (omp_get_thread_num()): a worker has its own stream, memory objects and scratch memory, so that one primitive can
 * run on all of them at once.
 */
#ifndef OPSM_KERNELS_GEMM_ONEDNN_H
#define OPSM_KERNELS_GEMM_ONEDNN_H
#include "kernels/dtype.h"
#include <opsm/status.h>

/* Creates the engine and caps the library to cpu_isa(); does nothing the second time. */
opsm_status onednn_start(opsm_error *err);
void onednn_stop(void);
const char *onednn_version(void); /* "2.6.3" */

/* C[rows, outs] = A[rows, inner] B[inner, outs]: A in `type`, row-major and dense; B in `type`, packed; C f32,
 * row-major and dense. */
struct onednn_matmul;

/* `layout` NULL: B is packed as this primitive likes it best; else as for `layout`, and OPSM_UNSUPPORTED where the
 * library would not take that. `threads`: 1 for a primitive that workers run; more for one that shares its work among
 * threads of its own, to be run outside parallel regions. */
opsm_status onednn_matmul_create(struct onednn_matmul **matmul, int64_t rows, int64_t outs, int64_t inner,
                                 enum dtype type, const struct onednn_matmul *layout, int threads, opsm_error *err);
void onednn_matmul_free(struct onednn_matmul *matmul); /* NULL is allowed */
size_t onednn_matmul_packed_bytes(const struct onednn_matmul *matmul);
const char *onednn_matmul_name(const struct onednn_matmul *matmul); /* the library's name of the implementation */
/* Called by worker `worker` (< THREADS_MAX) only; 0, or a number for onednn_fail. */
int onednn_matmul_run(struct onednn_matmul *matmul, int worker, const void *a, const void *b, float *c);

/* Packs B[inner, outs], element (k, j) at src[k * stride_inner + j * stride_outs], for `matmul`. */
struct onednn_packer;
opsm_status onednn_packer_create(struct onednn_packer **packer, const struct onednn_matmul *matmul, enum dtype src_type,
                                 int64_t stride_inner, int64_t stride_outs, opsm_error *err);
void onednn_packer_free(struct onednn_packer *packer); /* NULL is allowed */
int onednn_packer_run(struct onednn_packer *packer, int worker, const void *src, void *dst);

/* The sentence for a non-zero result of a run; returns the status. */
opsm_status onednn_fail(opsm_error *err, int result, const char *what);

#endif
