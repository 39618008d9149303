/* SPDX-License-Identifier: Apache-2.0
 *
 * How outputs are cut into slices, and what every matrix product does around its parallel region. The cut depends on
 * the shape alone.
 */
#ifndef OPSM_KERNELS_GEMM_CUT_H
#define OPSM_KERNELS_GEMM_CUT_H
#include "base/threads.h"
#include "kernels/gemm_kernel.h"

/* outs = n_full * width + tail; kernels for both widths, `tail` NULL when it divides. */
struct gemm_cut {
    int64_t width, n_full, tail_width, count; /* count: slices in all */
    struct gemm_kernel *full, *tail;
};

opsm_status gemm_cut_make(struct gemm_cut *cut, int64_t rows, int64_t outs, int64_t inner, enum dtype type, bool small,
                          opsm_error *err);

static inline struct gemm_kernel *gemm_cut_kernel(const struct gemm_cut *cut, int64_t slice) {
    return slice < cut->n_full ? cut->full : cut->tail;
}

/* Bytes of a packed full slice, rounded so that every slice starts on a cache line. */
size_t gemm_cut_stride(const struct gemm_cut *cut);

/* Threads for `operations` multiplications: one where a fork would cost more than it gains. */
int gemm_team(double operations);

/* Calls work(context, worker) on `team` threads at once, each with its own worker number. Without a fork when team is
 * 1: an OpenMP region of one thread costs as much as a small tile. Inside, oneDNN sees one thread. */
void gemm_parallel(int team, void (*work)(void *context, int worker), void *context);

/* The next number of a counter that workers share: each takes the next task when it is done with one. */
static inline int64_t gemm_next(int64_t *counter) {
    int64_t number;
#pragma omp atomic capture
    number = (*counter)++;
    return number;
}

/* One caller at a time: primitives' scratch memory belongs to worker numbers. */
void gemm_lock(void);
void gemm_unlock(void);

/* The first failure of a parallel region, as a number for gemm_kernel_fail. */
static inline void gemm_note(int *failure, int result) {
    if (!result) return;
#pragma omp atomic write
    *failure = result;
}

static inline int gemm_noted(const int *failure) {
    int result;
#pragma omp atomic read
    result = *failure;
    return result;
}

#endif
