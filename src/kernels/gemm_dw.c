/* SPDX-License-Identifier: Apache-2.0
 *
 * dW += dy^T x. The sum over rows goes in blocks of fixed length: the last one is filled up with zero rows. x is packed
 * once per call; a task owns 64 rows of dW (64 columns of dy, which it transposes for itself), so every element of dW
 * is summed by one thread in ascending order of blocks.
 */
#include "base/mem.h"
#include "kernels/gemm.h"
#include "kernels/gemm_cut.h"
#include "kernels/gemm_transpose.h"
#include "kernels/vec.h"

enum { PANEL = 64, BLOCK = 256, SHORT_BLOCK = 64 };

struct gradient {
    enum dtype type, compute;
    int64_t m, n_out, n_in, block, n_blocks;
    const char *dy, *x;
    int64_t lddy, ldx;
    float *dw;
    struct gemm_cut cut;
    struct gemm_packer *pack_full, *pack_tail;     /* straight from x */
    struct gemm_packer *staged_full, *staged_tail; /* from a dense copy: converted, or filled up with zeros */
    size_t slice_stride;
    char *packed; /* [block][slice] */
    int64_t next_pack, next_panel;
    int failure;
};

static int64_t block_rows(const struct gradient *g, int64_t block) {
    int64_t left = g->m - block * g->block;
    return left < g->block ? left : g->block;
}

static float load(enum dtype type, const char *row, int64_t i) {
    return type == DTYPE_BF16 ? bf16_to_f32(((const uint16_t *)(const void *)row)[i])
                              : ((const float *)(const void *)row)[i];
}

/* ---- x ---- */

static bool packs_directly(const struct gradient *g, int64_t block) {
    return g->type == g->compute && block_rows(g, block) == g->block;
}

/* to [block, width] = columns first .. first + width - 1 of a block of x, dense and in the compute type, zeros behind
 * the last row. */
static void stage_x(const struct gradient *g, int64_t block, int64_t first, int64_t width, char *to) {
    size_t size = dtype_size(g->compute);
    int64_t rows = block_rows(g, block);
    for (int64_t i = 0; i < rows; i++, to += (size_t)width * size) {
        const char *from = g->x + (size_t)((block * g->block + i) * g->ldx + first) * dtype_size(g->type);
        if (g->type == g->compute)
            memcpy(to, from, (size_t)width * size);
        else
            for (int64_t j = 0; j < width; j++) ((float *)(void *)to)[j] = load(g->type, from, j);
    }
    memset(to, 0, (size_t)((g->block - rows) * width) * size);
}

/* One slice of one block of x [block, width], packed: B of the product. */
static int pack_x(const struct gradient *g, int worker, int64_t block, int64_t slice) {
    bool full = slice < g->cut.n_full;
    int64_t first = slice * g->cut.width, width = full ? g->cut.width : g->cut.tail_width;
    char *to = g->packed + (size_t)(block * g->cut.count + slice) * g->slice_stride;
    if (packs_directly(g, block)) {
        const char *from = g->x + (size_t)(block * g->block * g->ldx + first) * dtype_size(g->type);
        return gemm_packer_run(full ? g->pack_full : g->pack_tail, worker, from, to);
    }
    char *staged = gemm_buffer_get(GEMM_BUFFER_IN, worker, (size_t)(g->block * width) * dtype_size(g->compute));
    if (!staged) return GEMM_NO_MEMORY;
    stage_x(g, block, first, width, staged);
    return gemm_packer_run(full ? g->staged_full : g->staged_tail, worker, staged, to);
}

/* ---- dy ---- */

/* Columns first .. first + PANEL - 1 of dy as [block][PANEL][rows of the block], zeros beyond the edges. */
static void make_panel(const struct gradient *g, int64_t first, char *panel) {
    size_t size = dtype_size(g->compute), bytes = (size_t)(PANEL * g->block) * size;
    int64_t columns = g->n_out - first < PANEL ? g->n_out - first : PANEL;
    for (int64_t block = 0; block < g->n_blocks; block++, panel += bytes) {
        int64_t rows = block_rows(g, block);
        if (rows < g->block || columns < PANEL) memset(panel, 0, bytes);
        const char *from = g->dy + (size_t)(block * g->block * g->lddy + first) * dtype_size(g->type);
        gemm_transpose(g->compute, panel, g->block, g->type, from, g->lddy, rows, columns);
    }
}

/* ---- products ---- */

/* dw[first .., slice] [PANEL, width] += panel [PANEL, block] times x [block, width], for one block of rows. */
static int add_tile(const struct gradient *g, int worker, int64_t first, int64_t block, int64_t slice,
                    const char *panel) {
    struct gemm_kernel *kernel = gemm_cut_kernel(&g->cut, slice);
    int64_t width = gemm_kernel_outs(kernel);
    float *c = gemm_buffer_get(GEMM_BUFFER_OUT, worker, (size_t)(PANEL * width) * sizeof *c);
    if (!c) return GEMM_NO_MEMORY;
    const char *a = panel + (size_t)(block * PANEL * g->block) * dtype_size(g->compute);
    const char *b = g->packed + (size_t)(block * g->cut.count + slice) * g->slice_stride;
    int result = gemm_kernel_run(kernel, 0, worker, a, b, c);
    int64_t rows = g->n_out - first < PANEL ? g->n_out - first : PANEL;
    float *to = g->dw + first * g->n_in + slice * g->cut.width;
    for (int64_t i = 0; i < rows && !result; i++, to += g->n_in, c += width) vec()->add(to, c, width);
    return result;
}

/* PANEL rows of dw from `first` on, over all blocks: no other task touches them. */
static int run_panel(const struct gradient *g, int worker, int64_t first) {
    size_t bytes = (size_t)(PANEL * g->block * g->n_blocks) * dtype_size(g->compute);
    char *panel = gemm_buffer_get(GEMM_BUFFER_IN, worker, bytes);
    if (!panel) return GEMM_NO_MEMORY;
    make_panel(g, first, panel);
    int result = 0;
    for (int64_t slice = 0; slice < g->cut.count && !result; slice++)
        for (int64_t block = 0; block < g->n_blocks && !result; block++)
            result = add_tile(g, worker, first, block, slice, panel);
    return result;
}

static void pack_all(struct gradient *g, int worker) {
    for (int64_t i; (i = gemm_next(&g->next_pack)) < g->n_blocks * g->cut.count;)
        if (!gemm_noted(&g->failure)) gemm_note(&g->failure, pack_x(g, worker, i / g->cut.count, i % g->cut.count));
#pragma omp barrier
}

static void gradient_work(void *context, int worker) {
    struct gradient *g = context;
    pack_all(g, worker);
    for (int64_t first; (first = PANEL * gemm_next(&g->next_panel)) < g->n_out;)
        if (!gemm_noted(&g->failure)) gemm_note(&g->failure, run_panel(g, worker, first));
}

static opsm_status get_packers(struct gradient *g, opsm_error *err) {
    struct gemm_cut *cut = &g->cut;
    opsm_status status = OPSM_OK;
    if (packs_directly(g, 0)) {
        status = gemm_packer_get(&g->pack_full, cut->full, g->type, g->ldx, 1, false, err);
        if (status == OPSM_OK && cut->tail)
            status = gemm_packer_get(&g->pack_tail, cut->tail, g->type, g->ldx, 1, false, err);
    }
    if (status != OPSM_OK || packs_directly(g, g->n_blocks - 1)) return status;
    status = gemm_packer_get(&g->staged_full, cut->full, g->compute, cut->width, 1, false, err);
    if (status == OPSM_OK && cut->tail)
        status = gemm_packer_get(&g->staged_tail, cut->tail, g->compute, cut->tail_width, 1, false, err);
    return status;
}

static opsm_status prepare(struct gradient *g, opsm_error *err) {
    opsm_status status = gemm_cut_make(&g->cut, PANEL, g->n_in, g->block, g->compute, false, err);
    if (status == OPSM_OK) status = get_packers(g, err);
    if (status != OPSM_OK) return status;
    g->slice_stride = gemm_cut_stride(&g->cut);
    size_t bytes = (size_t)(g->n_blocks * g->cut.count) * g->slice_stride;
    g->packed = gemm_shared_get(bytes);
    return g->packed ? OPSM_OK : mem_exhausted(err, "the gradient of a weight matrix", bytes);
}

opsm_status gemm_dw(enum dtype type, int64_t m, int64_t n_out, int64_t n_in, const void *dy, int64_t lddy,
                    const void *x, int64_t ldx, float *dw, opsm_error *err) {
    if (m < 0 || n_out < 1 || n_in < 1 || lddy < n_out || ldx < n_in)
        return opsm_fail(err, OPSM_INVALID,
                         "the gradient of a weight matrix of %lld x %lld over %lld rows: rows of dy are %lld apart, "
                         "rows of x %lld",
                         (long long)n_out, (long long)n_in, (long long)m, (long long)lddy, (long long)ldx);
    if (m == 0) return OPSM_OK;
    int64_t block = m <= SHORT_BLOCK ? SHORT_BLOCK : BLOCK;
    struct gradient gradient = {.type = type,
                                .compute = gemm_compute_type(type),
                                .m = m,
                                .n_out = n_out,
                                .n_in = n_in,
                                .block = block,
                                .n_blocks = (m + block - 1) / block,
                                .dy = dy,
                                .x = x,
                                .lddy = lddy,
                                .ldx = ldx,
                                .dw = dw};
    gemm_lock();
    opsm_status status = prepare(&gradient, err);
    if (status == OPSM_OK) gemm_parallel(gemm_team((double)m * (double)n_out * (double)n_in), gradient_work, &gradient);
    gemm_unlock();
    return gradient.failure ? gemm_kernel_fail(err, gradient.failure) : status;
}
