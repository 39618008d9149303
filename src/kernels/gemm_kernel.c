/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/gemm_kernel.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/threads.h"
#include "kernels/convert.h"
#include "kernels/gemm_onednn.h"
#include "kernels/gemm_panel.h"
#include <omp.h>

/* Rows of the smaller tiles. 16 fills one AMX tile; 4 serves the tail of a decode batch. */
static const int64_t small_rows[] = {32, 16, 4};
enum { MAX_TILES = 1 + sizeof small_rows / sizeof *small_rows };

struct gemm_packer {
    struct gemm_kernel *kernel;
    enum dtype src_type;
    int64_t stride_inner, stride_outs;
    bool round_bf16;
    struct onednn_packer *onednn; /* NULL: panels */
    struct gemm_packer *next;
};

struct gemm_kernel {
    int64_t outs, inner;
    enum dtype type;
    bool small;
    int n_tiles;
    int64_t rows[MAX_TILES];
    struct onednn_matmul *tiles[MAX_TILES]; /* NULL: panels */
    size_t packed_bytes;
    struct gemm_packer *packers;
    struct gemm_kernel *next;
};

static struct gemm_kernel *kernels;

bool gemm_kernel_uses_onednn(void) {
#if defined(CPU_X86)
    return cpu_isa() > CPU_REF;
#else
    return false;
#endif
}

enum dtype gemm_compute_type(enum dtype wanted) {
    return wanted == DTYPE_BF16 && cpu_has_bf16(cpu_isa()) ? DTYPE_BF16 : DTYPE_F32;
}

/* ---- which smaller tiles give the same bits ---- */

static void fill_random(enum dtype type, void *values, int64_t n, uint32_t salt) {
    struct rng random = rng_make(1, RNG_TEST, salt, 0, 0);
    for (int64_t i = 0; i < n; i++) {
        float x = (float)(2 * rng_unit(&random) - 1);
        convert_rows(type, 1, &x, (char *)values + (size_t)i * dtype_size(type));
    }
}

struct probe {
    void *a, *b;
    float *full, *part;
};

static void probe_release(struct probe *probe) {
    mem_free(probe->a);
    mem_free(probe->b);
    mem_free(probe->full);
    mem_free(probe->part);
}

/* B is random in its packed order: any matrix will do. Padding inside the packed layout gets values too, and no tile
 * may look at it. */
static opsm_status probe_prepare(struct probe *probe, const struct gemm_kernel *kernel, opsm_error *err) {
    size_t size = dtype_size(kernel->type), rows = (size_t)kernel->rows[0];
    size_t outs = (size_t)kernel->outs, inner = (size_t)kernel->inner;
    probe->a = mem_alloc(rows * inner, size);
    probe->b = mem_alloc(kernel->packed_bytes, 1);
    probe->full = mem_alloc(rows * outs, sizeof(float));
    probe->part = mem_alloc(rows * outs, sizeof(float));
    if (!probe->a || !probe->b || !probe->full || !probe->part)
        return mem_exhausted(err, "trying out a matrix product", kernel->packed_bytes);
    fill_random(kernel->type, probe->a, (int64_t)(rows * inner), 0);
    fill_random(kernel->type, probe->b, (int64_t)(kernel->packed_bytes / size), 1);
    return OPSM_OK;
}

/* Runs the candidate over all rows of the full tile; *same tells whether every bit agrees. */
static int probe_tile(const struct probe *probe, const struct gemm_kernel *kernel, struct onednn_matmul *candidate,
                      int64_t rows, bool *same) {
    size_t a_step = (size_t)(rows * kernel->inner) * dtype_size(kernel->type);
    int result = 0;
    for (int64_t row = 0; row + rows <= kernel->rows[0] && !result; row += rows)
        result = onednn_matmul_run(candidate, 0, (const char *)probe->a + (size_t)(row / rows) * a_step, probe->b,
                                   probe->part + row * kernel->outs);
    size_t bytes = (size_t)(kernel->rows[0] / rows * rows * kernel->outs) * sizeof(float);
    *same = !result && !memcmp(probe->full, probe->part, bytes);
    return result;
}

/* Adds the tile to the kernel if it passes, frees it if not. */
static opsm_status try_small_tile(struct gemm_kernel *kernel, const struct probe *probe, int64_t rows,
                                  opsm_error *err) {
    struct onednn_matmul *candidate;
    opsm_error refusal = {0};
    opsm_status status = onednn_matmul_create(&candidate, rows, kernel->outs, kernel->inner, kernel->type,
                                              kernel->tiles[0], 1, &refusal);
    if (status == OPSM_UNSUPPORTED) return OPSM_OK;
    if (status != OPSM_OK) return opsm_fail(err, status, "%s", refusal.text);
    bool same = false;
    int result = 0;
    if (!strcmp(onednn_matmul_name(candidate), onednn_matmul_name(kernel->tiles[0])))
        result = probe_tile(probe, kernel, candidate, rows, &same);
    if (!same) {
        onednn_matmul_free(candidate);
        return result ? onednn_fail(err, result, "tries out a matrix product") : OPSM_OK;
    }
    kernel->rows[kernel->n_tiles] = rows;
    kernel->tiles[kernel->n_tiles++] = candidate;
    return OPSM_OK;
}

static opsm_status add_small_tiles(struct gemm_kernel *kernel, opsm_error *err) {
    struct probe probe = {0};
    opsm_status status = probe_prepare(&probe, kernel, err);
    if (status == OPSM_OK) {
        int result = onednn_matmul_run(kernel->tiles[0], 0, probe.a, probe.b, probe.full);
        if (result) status = onednn_fail(err, result, "tries out a matrix product");
    }
    for (size_t i = 0; i < sizeof small_rows / sizeof *small_rows && status == OPSM_OK; i++)
        status = try_small_tile(kernel, &probe, small_rows[i], err);
    probe_release(&probe);
    return status;
}

/* ---- kernels ---- */

static void kernel_free(struct gemm_kernel *kernel) {
    for (struct gemm_packer *packer = kernel->packers, *next; packer; packer = next) {
        next = packer->next;
        onednn_packer_free(packer->onednn);
        mem_free(packer);
    }
    for (int i = 0; i < kernel->n_tiles; i++) onednn_matmul_free(kernel->tiles[i]);
    mem_free(kernel);
}

/* Panels sum in one order whatever the number of rows: smaller tiles need no probe. */
static void build_panel(struct gemm_kernel *kernel) {
    kernel->packed_bytes = gemm_panel_packed_bytes(kernel->type, kernel->outs, kernel->inner);
    for (size_t i = 0; kernel->small && i < sizeof small_rows / sizeof *small_rows; i++)
        kernel->rows[kernel->n_tiles++] = small_rows[i];
}

static opsm_status build_onednn(struct gemm_kernel *kernel, opsm_error *err) {
    opsm_status status = onednn_start(err);
    if (status == OPSM_OK)
        status = onednn_matmul_create(&kernel->tiles[0], kernel->rows[0], kernel->outs, kernel->inner, kernel->type,
                                      NULL, 1, err);
    if (status != OPSM_OK) return status;
    kernel->packed_bytes = onednn_matmul_packed_bytes(kernel->tiles[0]);
    if (!kernel->small) return OPSM_OK;
    /* As in a worker: one thread, whatever an implementation asks OpenMP for. */
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    status = add_small_tiles(kernel, err);
    omp_set_num_threads(threads);
    return status;
}

opsm_status gemm_kernel_get(struct gemm_kernel **kernel, int64_t rows, int64_t outs, int64_t inner, enum dtype type,
                            bool small, opsm_error *err) {
    for (struct gemm_kernel *k = kernels; k; k = k->next) {
        if (k->outs != outs || k->inner != inner || k->type != type || k->rows[0] != rows || k->small != small)
            continue;
        *kernel = k;
        return OPSM_OK;
    }
    struct gemm_kernel *created = mem_zalloc(1, sizeof *created);
    if (!created) return mem_exhausted(err, "a matrix product", sizeof *created);
    created->outs = outs;
    created->inner = inner;
    created->type = type;
    created->small = small;
    created->rows[0] = rows;
    created->n_tiles = 1;
    opsm_status status = OPSM_OK;
    if (gemm_kernel_uses_onednn())
        status = build_onednn(created, err);
    else
        build_panel(created);
    if (status != OPSM_OK) {
        kernel_free(created);
        return status;
    }
    created->next = kernels;
    *kernel = kernels = created;
    return OPSM_OK;
}

int64_t gemm_kernel_outs(const struct gemm_kernel *kernel) {
    return kernel->outs;
}

size_t gemm_kernel_packed_bytes(const struct gemm_kernel *kernel) {
    return kernel->packed_bytes;
}

const char *gemm_kernel_name(const struct gemm_kernel *kernel) {
    return kernel->tiles[0] ? onednn_matmul_name(kernel->tiles[0]) : "panels";
}

int gemm_kernel_tiles(const struct gemm_kernel *kernel) {
    return kernel->n_tiles;
}

int64_t gemm_kernel_rows(const struct gemm_kernel *kernel, int tile) {
    return kernel->rows[tile];
}

int gemm_kernel_run(const struct gemm_kernel *kernel, int tile, int worker, const void *a, const void *b, float *c) {
    if (kernel->tiles[tile]) return onednn_matmul_run(kernel->tiles[tile], worker, a, b, c);
    gemm_panel_run(kernel->type, kernel->rows[tile], kernel->outs, kernel->inner, a, b, c);
    return 0;
}

opsm_status gemm_kernel_fail(opsm_error *err, int result) {
    return onednn_fail(err, result, "multiplies matrices");
}

/* ---- packing ---- */

opsm_status gemm_packer_get(struct gemm_packer **packer, struct gemm_kernel *kernel, enum dtype src_type,
                            int64_t stride_inner, int64_t stride_outs, bool round_bf16, opsm_error *err) {
    for (struct gemm_packer *p = kernel->packers; p; p = p->next) {
        if (p->src_type != src_type || p->stride_inner != stride_inner || p->stride_outs != stride_outs ||
            p->round_bf16 != round_bf16)
            continue;
        *packer = p;
        return OPSM_OK;
    }
    struct gemm_packer *created = mem_zalloc(1, sizeof *created);
    if (!created) return mem_exhausted(err, "packing weights", sizeof *created);
    *created = (struct gemm_packer){kernel, src_type, stride_inner, stride_outs, round_bf16, NULL, kernel->packers};
    if (kernel->tiles[0]) {
        opsm_status status =
            onednn_packer_create(&created->onednn, kernel->tiles[0], src_type, stride_inner, stride_outs, err);
        if (status != OPSM_OK) {
            mem_free(created);
            return status;
        }
    }
    *packer = kernel->packers = created;
    return OPSM_OK;
}

int gemm_packer_run(const struct gemm_packer *packer, int worker, const void *src, void *dst) {
    const struct gemm_kernel *kernel = packer->kernel;
    int result = 0;
    if (packer->onednn)
        result = onednn_packer_run(packer->onednn, worker, src, dst);
    else
        gemm_panel_pack(kernel->type, kernel->outs, kernel->inner, packer->src_type, src, packer->stride_inner,
                        packer->stride_outs, dst);
    if (result || !packer->round_bf16) return result;
    /* Rounding is element-wise: the order in which the packed layout keeps them does not matter. */
    float *values = dst;
    int64_t n = (int64_t)(kernel->packed_bytes / sizeof *values);
    for (int64_t i = 0; i < n; i++) values[i] = bf16_to_f32(bf16_from_f32(values[i]));
    return 0;
}

/* ---- memory that calls reuse ---- */

struct buffer {
    void *data;
    size_t bytes;
};

static struct buffer *worker_buffers[THREADS_MAX]; /* [GEMM_BUFFERS] each, on cache lines of their own */
static struct buffer shared;

static void *buffer_grow(struct buffer *buffer, size_t bytes) {
    if (buffer->bytes >= bytes && buffer->data) return buffer->data;
    mem_free(buffer->data);
    buffer->data = mem_alloc(bytes, 1);
    buffer->bytes = buffer->data ? bytes : 0;
    return buffer->data;
}

void *gemm_buffer_get(enum gemm_buffer purpose, int worker, size_t bytes) {
    if (!worker_buffers[worker]) worker_buffers[worker] = mem_zalloc(GEMM_BUFFERS, sizeof(struct buffer));
    return worker_buffers[worker] ? buffer_grow(&worker_buffers[worker][purpose], bytes) : NULL;
}

void *gemm_shared_get(size_t bytes) {
    return buffer_grow(&shared, bytes);
}

void gemm_kernels_free(void) {
    for (struct gemm_kernel *kernel = kernels, *next; kernel; kernel = next) {
        next = kernel->next;
        kernel_free(kernel);
    }
    kernels = NULL;
    for (int i = 0; i < THREADS_MAX; i++) {
        for (int j = 0; worker_buffers[i] && j < GEMM_BUFFERS; j++) mem_free(worker_buffers[i][j].data);
        mem_free(worker_buffers[i]);
        worker_buffers[i] = NULL;
    }
    mem_free(shared.data);
    shared = (struct buffer){0};
    onednn_stop();
}
