/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products of a decoder: y = x W^T forward, dx = dy W backward, dW += dy^T x for the gradient.
 *
 * Every product is cut into tiles of fixed shape (GEMM_ROWS rows x one slice of the outputs x the whole inner
 * dimension); one tile is one sequential call of one kernel (gemm_kernel.h), tiles are shared out over the OpenMP
 * threads. So a row's result never depends on the rows beside it, on the batch size, or on the number of threads: a
 * log-prob recorded while sampling equals the trainer's, bit for bit. The rows that fill no whole block go through
 * smaller tiles where a probe found those bit-identical to the full one, padded in scratch memory.
 *
 * Calls from several threads at once are carried out one after the other.
 *
 * Inputs are bf16 or f32 (`enum dtype`, one per weight); accumulation and outputs are f32.
 */
#ifndef OPSM_KERNELS_GEMM_H
#define OPSM_KERNELS_GEMM_H
#include "kernels/dtype.h"
#include <opsm/status.h>
#include <stdbool.h>
#include <stdint.h>

enum { GEMM_ROWS = 64 };

/* The input format that is used when the user asks for `wanted`: bf16 falls back to f32 arithmetic on bf16-rounded
 * inputs where the machine has no bf16 instructions (the buffers stay bf16). Says what implementation serves it, for
 * `opsm info` and the log. */
const char *gemm_implementation(enum dtype wanted);

/* A weight matrix W [n_out, n_in] in the layout the primitives want, for one weight version. */
struct gemm_weight;

/* `backward`: also keep the layout for gemm_dx. */
opsm_status gemm_weight_create(struct gemm_weight **weight, int64_t n_out, int64_t n_in, enum dtype type, bool backward,
                               opsm_error *err);
void gemm_weight_free(struct gemm_weight *weight); /* NULL is allowed */

/* Rows of a weight in blocks of a file's format: `block` elements in `bytes` bytes each, whole blocks to a row. */
struct gemm_blocks {
    int64_t rows, block, bytes;
    void (*decode)(const uint8_t *blocks, int64_t n_blocks, float *out);
    const uint8_t *data; /* borrowed */
};
enum { GEMM_BLOCKS_MAX = 3 };

/* A weight that is never packed: every product decodes the slice in work, and gets the bits that it would have had. The
 * parts [n_parts] are its rows one below the other; what they point to may still change. */
opsm_status gemm_weight_borrow(struct gemm_weight **weight, int64_t n_out, int64_t n_in, enum dtype type, bool backward,
                               const struct gemm_blocks *parts, int n_parts, opsm_error *err);

/* Packs a new version from the f32 master w [n_out, n_in], row-major (borrowed); parallel. */
opsm_status gemm_weight_pack(struct gemm_weight *weight, const float *w, opsm_error *err);

/* Its bytes once it is created, but for the padding of narrow matrices. */
size_t gemm_weight_estimate(int64_t n_out, int64_t n_in, enum dtype type, bool backward);

/* y[m, n_out] = x[m, n_in] W^T (+ y where `accumulate`). x is in the weight's format, rows ldx elements apart; y f32,
 * rows ldy apart. Any m >= 0. Parallel inside; not to be called from a parallel region. */
opsm_status gemm_forward(const struct gemm_weight *weight, int64_t m, const void *x, int64_t ldx, float *y, int64_t ldy,
                         bool accumulate, opsm_error *err);

/* dx[m, n_in] = dy[m, n_out] W (+ dx where `accumulate`). dy in the weight's format. */
opsm_status gemm_dx(const struct gemm_weight *weight, int64_t m, const void *dy, int64_t lddy, float *dx, int64_t lddx,
                    bool accumulate, opsm_error *err);

/* dw[n_out, n_in] += dy[m, n_out]^T x[m, n_in]; dw f32, row-major, contiguous. The sum over rows goes in blocks of a
 * fixed number of rows. */
opsm_status gemm_dw(enum dtype type, int64_t m, int64_t n_out, int64_t n_in, const void *dy, int64_t lddy,
                    const void *x, int64_t ldx, float *dw, opsm_error *err);

/* Releases primitives and per-thread scratch; for leak checks at exit, after the last weight was freed. */
void gemm_shutdown(void);

#endif
