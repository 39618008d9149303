/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/gemm_cut.h"
#include <omp.h>
#include <pthread.h>

/* Widths are multiples of 64, the output block of oneDNN's packed layouts. Wide slices run a little faster (measured
 * 450 GFLOP/s at 64, 470 at 192 on one AVX512-BF16 core), narrow ones keep more threads busy: the widest that divides
 * into at least MIN_SLICES. Small matrices stay whole, so that a tile can write straight into the result. */
enum { NARROW = 64, WIDE = 256, MIN_SLICES = 8, WHOLE_OUTS = 320, WHOLE_ELEMENTS = 1 << 18 };

static int64_t slice_width(int64_t outs, int64_t inner) {
    if (outs <= NARROW || (outs <= WHOLE_OUTS && outs * inner <= WHOLE_ELEMENTS)) return outs;
    for (int64_t width = WIDE; width >= NARROW; width -= NARROW)
        if (outs % width == 0 && outs / width >= MIN_SLICES) return width;
    return outs / WIDE >= 2 * MIN_SLICES ? WIDE : NARROW;
}

opsm_status gemm_cut_make(struct gemm_cut *cut, int64_t rows, int64_t outs, int64_t inner, enum dtype type, bool small,
                          opsm_error *err) {
    int64_t width = slice_width(outs, inner);
    *cut = (struct gemm_cut){.width = width, .n_full = outs / width, .tail_width = outs % width};
    cut->count = cut->n_full + (cut->tail_width > 0);
    opsm_status status = gemm_kernel_get(&cut->full, rows, width, inner, type, small, err);
    if (status != OPSM_OK || !cut->tail_width) return status;
    return gemm_kernel_get(&cut->tail, rows, cut->tail_width, inner, type, small, err);
}

size_t gemm_cut_stride(const struct gemm_cut *cut) {
    enum { LINE = 64 };
    size_t full = gemm_kernel_packed_bytes(cut->full), tail = cut->tail ? gemm_kernel_packed_bytes(cut->tail) : 0;
    return ((full > tail ? full : tail) + LINE - 1) / LINE * LINE;
}

int gemm_team(double operations) {
    const double worth_a_fork = 2e6; /* 5 to 20 microseconds of one core */
    return operations < worth_a_fork ? 1 : threads_count();
}

void gemm_parallel(int team, void (*work)(void *context, int worker), void *context) {
    if (team == 1) {
        int threads = omp_get_max_threads();
        omp_set_num_threads(1);
        work(context, 0);
        omp_set_num_threads(threads);
        return;
    }
#pragma omp parallel num_threads(team)
    {
        omp_set_num_threads(1); /* this thread's own setting; gone with the region */
        work(context, omp_get_thread_num());
    }
}

static pthread_mutex_t one_caller = PTHREAD_MUTEX_INITIALIZER;

void gemm_lock(void) {
    pthread_mutex_lock(&one_caller);
}

void gemm_unlock(void) {
    pthread_mutex_unlock(&one_caller);
}
