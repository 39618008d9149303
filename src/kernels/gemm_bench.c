/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/gemm_bench.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "kernels/convert.h"
#include "kernels/gemm_cut.h"
#include "kernels/gemm_onednn.h"

/* ---- what is measured ---- */

struct bench {
    enum dtype type;
    struct gemm_bench_shape shape;
    float *master; /* [n_out, n_in], and the target of dW */
    void *x, *dy;
    float *out; /* y or dx */
    struct gemm_weight *weight;
    struct onednn_matmul *whole;
    void *whole_packed;
};

typedef opsm_status (*product)(struct bench *bench, opsm_error *err);

static opsm_status forward(struct bench *b, opsm_error *err) {
    const struct gemm_bench_shape *s = &b->shape;
    return gemm_forward(b->weight, s->m, b->x, s->n_in, b->out, s->n_out, false, err);
}

static opsm_status dx(struct bench *b, opsm_error *err) {
    const struct gemm_bench_shape *s = &b->shape;
    return gemm_dx(b->weight, s->m, b->dy, s->n_out, b->out, s->n_in, false, err);
}

static opsm_status dw(struct bench *b, opsm_error *err) {
    const struct gemm_bench_shape *s = &b->shape;
    return gemm_dw(b->type, s->m, s->n_out, s->n_in, b->dy, s->n_out, b->x, s->n_in, b->master, err);
}

static opsm_status whole(struct bench *b, opsm_error *err) {
    gemm_lock();
    int result = onednn_matmul_run(b->whole, 0, b->x, b->whole_packed, b->out);
    gemm_unlock();
    return result ? gemm_kernel_fail(err, result) : OPSM_OK;
}

/* ---- how ---- */

/* Values in a small range and no zeros: nothing a multiplier could do faster than the rest, nothing that overflows. */
static void fill(enum dtype type, void *values, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float x = (float)(i * 7919 % 251 - 125) / 256.0f + 1.0f / 1024.0f;
        convert_rows(type, 1, &x, (char *)values + (size_t)i * dtype_size(type));
    }
}

static void release(struct bench *b) {
    onednn_matmul_free(b->whole);
    gemm_weight_free(b->weight);
    mem_free(b->whole_packed);
    mem_free(b->master);
    mem_free(b->x);
    mem_free(b->dy);
    mem_free(b->out);
}

static opsm_status prepare(struct bench *b, bool backward, opsm_error *err) {
    const struct gemm_bench_shape *s = &b->shape;
    if (s->m < 1) return opsm_fail(err, OPSM_INVALID, "a matrix product of %lld rows: at least 1", (long long)s->m);
    opsm_status status = gemm_weight_create(&b->weight, s->n_out, s->n_in, b->type, backward, err);
    if (status != OPSM_OK) return status;
    size_t m = (size_t)s->m, n_out = (size_t)s->n_out, n_in = (size_t)s->n_in, size = dtype_size(b->type);
    b->master = mem_alloc(n_out * n_in, sizeof(float));
    b->x = mem_alloc(m * n_in, size);
    b->dy = mem_alloc(m * n_out, size);
    b->out = mem_zalloc(m * (n_out > n_in ? n_out : n_in), sizeof(float));
    if (!b->master || !b->x || !b->dy || !b->out)
        return mem_exhausted(err, "measuring a matrix product", n_out * n_in * sizeof(float));
    fill(DTYPE_F32, b->master, (int64_t)(n_out * n_in));
    fill(b->type, b->x, (int64_t)(m * n_in));
    fill(b->type, b->dy, (int64_t)(m * n_out));
    return gemm_weight_pack(b->weight, b->master, err);
}

static opsm_status measure(struct bench *b, product run, double seconds, double *gflops, opsm_error *err) {
    opsm_status status = run(b, err); /* creates what is created once */
    double start = clock_seconds(), best = 1e30;
    for (int i = 0; status == OPSM_OK && (i < 2 || clock_seconds() - start < seconds); i++) {
        double before = clock_seconds();
        status = run(b, err);
        double took = clock_seconds() - before;
        if (took < best) best = took;
    }
    *gflops = 2e-9 * (double)b->shape.m * (double)b->shape.n_out * (double)b->shape.n_in / best;
    return status;
}

opsm_status gemm_bench_run(struct gemm_bench_result *result, enum dtype type, struct gemm_bench_shape shape,
                           double seconds, opsm_error *err) {
    struct bench bench = {.type = type, .shape = shape};
    opsm_status status = prepare(&bench, true, err);
    if (status == OPSM_OK) status = measure(&bench, forward, seconds, &result->forward, err);
    if (status == OPSM_OK) status = measure(&bench, dx, seconds, &result->dx, err);
    if (status == OPSM_OK) status = measure(&bench, dw, seconds, &result->dw, err);
    release(&bench);
    return status;
}

/* ---- the ceiling ---- */

static opsm_status prepare_whole(struct bench *b, opsm_error *err) {
    const struct gemm_bench_shape *s = &b->shape;
    gemm_lock();
    opsm_status status = onednn_start(err);
    if (status == OPSM_OK)
        status = onednn_matmul_create(&b->whole, s->m, s->n_out, s->n_in, gemm_compute_type(b->type), NULL,
                                      threads_count(), err);
    gemm_unlock();
    if (status != OPSM_OK) return status;
    size_t bytes = onednn_matmul_packed_bytes(b->whole);
    b->whole_packed = mem_alloc(bytes, 1);
    if (!b->whole_packed) return mem_exhausted(err, "measuring a matrix product", bytes);
    enum dtype compute = gemm_compute_type(b->type);
    fill(compute, b->whole_packed, (int64_t)(bytes / dtype_size(compute)));
    return OPSM_OK;
}

static void raise_ceiling(struct gemm_bench_ceiling *ceiling, const struct bench *b, double gflops, bool is_whole) {
    if (!is_whole && gflops > ceiling->tiled_gflops) ceiling->tiled_gflops = gflops;
    if (gflops <= ceiling->gflops) return;
    ceiling->gflops = gflops;
    ceiling->shape = b->shape;
    ceiling->whole = is_whole;
}

static opsm_status try_shape(struct gemm_bench_ceiling *ceiling, struct bench *b, double seconds, opsm_error *err) {
    double gflops;
    opsm_status status = prepare(b, false, err);
    if (status == OPSM_OK) status = measure(b, forward, seconds, &gflops, err);
    if (status != OPSM_OK) return status;
    raise_ceiling(ceiling, b, gflops, false);
    /* oneDNN's own product reads x as it is: only where the formats agree. */
    if (!gemm_kernel_uses_onednn() || gemm_compute_type(b->type) != b->type) return OPSM_OK;
    status = prepare_whole(b, err);
    if (status == OPSM_OK) status = measure(b, whole, seconds, &gflops, err);
    if (status == OPSM_OK) raise_ceiling(ceiling, b, gflops, true);
    return status;
}

opsm_status gemm_bench_ceiling(struct gemm_bench_ceiling *ceiling, enum dtype type, double seconds, opsm_error *err) {
    static const struct gemm_bench_shape shapes[] = {{1024, 1024, 1024}, {512, 3072, 768}, {2048, 768, 2048}};
    enum { N_SHAPES = sizeof shapes / sizeof *shapes };
    *ceiling = (struct gemm_bench_ceiling){0};
    for (int i = 0; i < N_SHAPES; i++) {
        struct bench bench = {.type = type, .shape = shapes[i]};
        opsm_status status = try_shape(ceiling, &bench, seconds / (2 * N_SHAPES), err);
        release(&bench);
        if (status != OPSM_OK) return status;
    }
    return OPSM_OK;
}
