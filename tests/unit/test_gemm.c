/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs once per instruction level (OPSM_ISA, see CMakeLists.txt); a level that this processor lacks is skipped.
 */
#include "base/cpu.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/threads.h"
#include "check.h"
#include "io/quant.h"
#include "kernels/convert.h"
#include "kernels/gemm.h"
#include "kernels/gemm_kernel.h"
#include <stdlib.h>
#include <string.h>

static const enum dtype types[] = {DTYPE_F32, DTYPE_BF16};
enum { N_TYPES = 2 };

/* n_out, n_in: one, odd, below and above the slice widths with and without a tail, tiny models and real ones. */
static const int64_t shapes[][2] = {{1, 1},    {3, 2},     {17, 65},   {64, 64},   {96, 256},  {260, 96}, {192, 64},
                                    {385, 33}, {576, 192}, {700, 130}, {960, 576}, {2049, 96}, {96, 2049}};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

/* ---- matrices ---- */

/* Random numbers in [-1, 1) that both formats hold exactly, as f32 and in `type`. */
struct matrix {
    int64_t rows, columns, ld;
    float *exact; /* dense */
    void *data;   /* rows ld apart */
};

static struct matrix make_matrix(enum dtype type, int64_t rows, int64_t columns, int64_t ld, uint32_t salt) {
    struct matrix m = {rows, columns, ld, mem_alloc((size_t)(rows * columns), sizeof(float)),
                       mem_zalloc((size_t)(rows * ld), dtype_size(type))};
    assert_true(m.exact && m.data);
    struct rng r = rng_make(11, RNG_TEST, salt, (uint32_t)rows, (uint32_t)columns);
    for (int64_t i = 0; i < rows * columns; i++) {
        m.exact[i] = bf16_to_f32(bf16_from_f32((float)(2 * rng_unit(&r) - 1)));
        int64_t at = i / columns * ld + i % columns;
        convert_rows(type, 1, &m.exact[i], (char *)m.data + (size_t)at * dtype_size(type));
    }
    return m;
}

static void drop_matrix(struct matrix *m) {
    mem_free(m->exact);
    mem_free(m->data);
}

static float *make_floats(int64_t n, float value) {
    float *p = mem_alloc((size_t)n, sizeof *p);
    assert_non_null(p);
    for (int64_t i = 0; i < n; i++) p[i] = value;
    return p;
}

/* sum over k of a[i][k] b[j][k], element (i, k) at a[i * a_row + k * a_k]; and the sum of absolute values, which bounds
 * the rounding error. */
static double dot(const float *a, int64_t a_k, const float *b, int64_t b_k, int64_t n, double *magnitude) {
    double sum = 0;
    *magnitude = 0;
    for (int64_t k = 0; k < n; k++) {
        double term = (double)a[k * a_k] * (double)b[k * b_k];
        sum += term;
        *magnitude += term < 0 ? -term : term;
    }
    return sum;
}

/* Inputs are exact in both formats, so only the f32 accumulation rounds. */
static void check_element(float got, double expected, double magnitude, int64_t n) {
    assert_near(got, expected, (magnitude + 1) * 6e-8 * (4 + (double)n / 8));
}

static struct gemm_weight *make_weight(enum dtype type, const struct matrix *w, bool backward) {
    opsm_error err = {0};
    struct gemm_weight *weight;
    assert_ok(gemm_weight_create(&weight, w->rows, w->columns, type, backward, &err));
    assert_ok(gemm_weight_pack(weight, w->exact, &err));
    return weight;
}

/* ---- against the definition ---- */

enum { GAP = 5 };
static const float before = 0.5f; /* what the output held */

/* Checking all elements of the large products would take minutes: every `step`-th, in row-major order. */
static int64_t oracle_step(int64_t m, int64_t outs, int64_t inner) {
    int64_t step = 1 + m * outs * inner / 1000000;
    return step > 1 && outs % step == 0 ? step + 1 : step; /* visit every column */
}

static void check_product(const float *got, int64_t ld, int64_t m, int64_t outs, bool accumulate, const float *in,
                          int64_t inner, const float *b, int64_t b_out, int64_t b_inner) {
    for (int64_t e = 0; e < m * outs; e += oracle_step(m, outs, inner)) {
        int64_t i = e / outs, j = e % outs;
        double magnitude, expected = dot(in + i * inner, 1, b + j * b_out, b_inner, inner, &magnitude);
        check_element(got[i * ld + j], expected + (accumulate ? (double)before : 0), magnitude, inner);
    }
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = outs; j < ld; j++) assert_true(got[i * ld + j] == before); /* between rows: untouched */
}

static void check_weight_products(enum dtype type, int64_t n_out, int64_t n_in, int64_t m, int64_t gap,
                                  bool accumulate) {
    opsm_error err = {0};
    struct matrix w = make_matrix(DTYPE_F32, n_out, n_in, n_in, 1);
    struct matrix x = make_matrix(type, m, n_in, n_in + gap, 2), dy = make_matrix(type, m, n_out, n_out + gap, 3);
    struct gemm_weight *weight = make_weight(type, &w, true);
    float *y = make_floats(m * (n_out + gap), before), *dx = make_floats(m * (n_in + gap), before);
    assert_ok(gemm_forward(weight, m, x.data, x.ld, y, n_out + gap, accumulate, &err));
    check_product(y, n_out + gap, m, n_out, accumulate, x.exact, n_in, w.exact, n_in, 1);
    assert_ok(gemm_dx(weight, m, dy.data, dy.ld, dx, n_in + gap, accumulate, &err));
    check_product(dx, n_in + gap, m, n_in, accumulate, dy.exact, n_out, w.exact, 1, n_in);
    gemm_weight_free(weight);
    drop_matrix(&w);
    drop_matrix(&x);
    drop_matrix(&dy);
    mem_free(y);
    mem_free(dx);
}

static void products_match_the_definition(void **state) {
    (void)state;
    const int64_t rows[] = {1, 5, 64, 149};
    for (int t = 0; t < N_TYPES; t++)
        for (int s = 0; s < N_SHAPES; s++)
            for (int r = 0; r < 4; r++)
                check_weight_products(types[t], shapes[s][0], shapes[s][1], rows[r], (s + r) % 2 ? GAP : 0,
                                      (s + r / 2) % 2);
}

static void gradient_matches_the_definition(void **state) {
    (void)state;
    opsm_error err = {0};
    const int64_t rows[] = {1, 64, 65, 256, 600};
    for (int t = 0; t < N_TYPES; t++) {
        for (int s = 0; s < N_SHAPES; s++) {
            int64_t n_out = shapes[s][0], n_in = shapes[s][1], m = rows[s % 5], gap = s % 3 ? GAP : 0;
            struct matrix x = make_matrix(types[t], m, n_in, n_in + gap, 4);
            struct matrix dy = make_matrix(types[t], m, n_out, n_out + gap, 5);
            float *dw = make_floats(n_out * n_in, before);
            assert_ok(gemm_dw(types[t], m, n_out, n_in, dy.data, dy.ld, x.data, x.ld, dw, &err));
            for (int64_t e = 0; e < n_out * n_in; e += oracle_step(m, n_out, n_in)) {
                double magnitude, sum = dot(dy.exact + e / n_in, n_out, x.exact + e % n_in, n_in, m, &magnitude);
                check_element(dw[e], sum + (double)before, magnitude, m);
            }
            mem_free(dw);
            drop_matrix(&x);
            drop_matrix(&dy);
        }
    }
}

/* Masters are rounded to the nearest bf16, ties to even, while they are packed: the identity shows them. */
static void weights_are_rounded_to_nearest(void **state) {
    (void)state;
    opsm_error err = {0};
    enum { N = 40 };
    struct rng r = rng_make(3, RNG_TEST, 0, 0, 0);
    float w[N * N], one[N * N] = {0}, y[N * N], dx[N * N];
    uint16_t one_half[N * N];
    for (int i = 0; i < N * N; i++) w[i] = (float)rng_normal(&r);
    w[0] = 1.00390625f; /* 1 + 2^-8: a tie, to even is down */
    w[1] = 1.01171875f; /* 1 + 3 * 2^-8: a tie, up */
    for (int i = 0; i < N; i++) one[i * N + i] = 1;
    convert_rows(DTYPE_BF16, N * N, one, one_half);
    struct gemm_weight *weight;
    assert_ok(gemm_weight_create(&weight, N, N, DTYPE_BF16, true, &err));
    assert_ok(gemm_weight_pack(weight, w, &err));
    assert_ok(gemm_forward(weight, N, one_half, N, y, N, false, &err));
    assert_ok(gemm_dx(weight, N, one_half, N, dx, N, false, &err));
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            float rounded = bf16_to_f32(bf16_from_f32(w[j * N + i]));
            assert_true(y[i * N + j] == rounded);
            assert_true(dx[j * N + i] == rounded);
        }
    gemm_weight_free(weight);
}

/* ---- the promise: same row, same bits ---- */

enum { POOL = 150 };

/* Rows first .. first + m - 1 of the pool as a batch of their own. */
static void check_batch(const struct gemm_weight *weight, enum dtype type, const struct matrix *x, int64_t n_out,
                        int64_t first, int64_t m, const float *expected) {
    opsm_error err = {0};
    float *y = make_floats(m * n_out, before);
    const char *from = (const char *)x->data + (size_t)(first * x->ld) * dtype_size(type);
    assert_ok(gemm_forward(weight, m, from, x->ld, y, n_out, false, &err));
    assert_memory_equal(y, expected + first * n_out, (size_t)(m * n_out) * sizeof *y);
    mem_free(y);
}

static void check_invariance(enum dtype type, int64_t n_out, int64_t n_in) {
    opsm_error err = {0};
    struct matrix w = make_matrix(DTYPE_F32, n_out, n_in, n_in, 6), x = make_matrix(type, POOL, n_in, n_in, 7);
    struct gemm_weight *weight = make_weight(type, &w, false);
    float *expected = make_floats(POOL * n_out, before);
    threads_set(1);
    assert_ok(gemm_forward(weight, POOL, x.data, x.ld, expected, n_out, false, &err));
    const int64_t batches[] = {1, 2, 3, 4, 5, 8, 12, 16, 17, 31, 33, 48, 63, 64, 65};
    for (int threads = 1; threads <= 2; threads++) {
        threads_set(threads);
        check_batch(weight, type, &x, n_out, 0, POOL, expected);
        for (size_t i = 0; i < sizeof batches / sizeof *batches; i++)
            check_batch(weight, type, &x, n_out, batches[i] * 11 % 64, batches[i], expected);
        for (int64_t first = 0; first < 66; first += 13) check_batch(weight, type, &x, n_out, first, 1, expected);
    }
    gemm_weight_free(weight);
    mem_free(expected);
    drop_matrix(&w);
    drop_matrix(&x);
}

static void a_row_does_not_depend_on_its_neighbours(void **state) {
    (void)state;
    int threads = threads_count();
    for (int t = 0; t < N_TYPES; t++) {
        for (int s = 0; s < N_SHAPES; s++) check_invariance(types[t], shapes[s][0], shapes[s][1]);
        if (cpu_isa() == CPU_REF) continue; /* one code path, and slow */
        check_invariance(types[t], 576, 1536);
        check_invariance(types[t], 1536, 576);
    }
    threads_set(threads);
}

/* Every position of a 64-row tile, by turning a batch of equal rows' neighbours into something else. */
static void a_row_does_not_depend_on_its_position(void **state) {
    (void)state;
    opsm_error err = {0};
    enum { N_OUT = 200, N_IN = 100 };
    for (int t = 0; t < N_TYPES; t++) {
        struct matrix w = make_matrix(DTYPE_F32, N_OUT, N_IN, N_IN, 8), x = make_matrix(types[t], 64, N_IN, N_IN, 9);
        struct gemm_weight *weight = make_weight(types[t], &w, false);
        float first[N_OUT], y[64 * N_OUT];
        size_t row = N_IN * dtype_size(types[t]);
        for (int position = 0; position < 64; position++) {
            if (position) memcpy((char *)x.data + (size_t)position * row, x.data, row);
            assert_ok(gemm_forward(weight, 64, x.data, N_IN, y, N_OUT, false, &err));
            if (!position) memcpy(first, y, sizeof first);
            assert_memory_equal(y + position * N_OUT, first, sizeof first);
        }
        gemm_weight_free(weight);
        drop_matrix(&w);
        drop_matrix(&x);
    }
}

static void check_gradient_threads(enum dtype type, int64_t n_out, int64_t n_in, int64_t m) {
    opsm_error err = {0};
    struct matrix w = make_matrix(DTYPE_F32, n_out, n_in, n_in, 1);
    struct matrix x = make_matrix(type, m, n_in, n_in, 4), dy = make_matrix(type, m, n_out, n_out, 5);
    struct gemm_weight *weight = make_weight(type, &w, true);
    size_t dw_bytes = (size_t)(n_out * n_in) * sizeof(float), dx_bytes = (size_t)(m * n_in) * sizeof(float);
    float *dw[2], *dx[2];
    for (int i = 0; i < 2; i++) {
        dw[i] = make_floats(n_out * n_in, before);
        dx[i] = make_floats(m * n_in, before);
    }
    for (int threads = 1; threads <= 3; threads++) {
        int i = threads > 1;
        for (int64_t j = 0; j < n_out * n_in; j++) dw[i][j] = before;
        threads_set(threads);
        assert_ok(gemm_dw(type, m, n_out, n_in, dy.data, dy.ld, x.data, x.ld, dw[i], &err));
        assert_ok(gemm_dx(weight, m, dy.data, dy.ld, dx[i], n_in, false, &err));
        if (!i) continue;
        assert_memory_equal(dw[0], dw[1], dw_bytes);
        assert_memory_equal(dx[0], dx[1], dx_bytes);
    }
    for (int i = 0; i < 2; i++) {
        mem_free(dw[i]);
        mem_free(dx[i]);
    }
    gemm_weight_free(weight);
    drop_matrix(&w);
    drop_matrix(&x);
    drop_matrix(&dy);
}

static void gradients_do_not_depend_on_threads(void **state) {
    (void)state;
    int threads = threads_count();
    for (int t = 0; t < N_TYPES; t++) {
        check_gradient_threads(types[t], 700, 130, 600);
        check_gradient_threads(types[t], 96, 2049, 300);
        check_gradient_threads(types[t], 960, 576, 64);
    }
    threads_set(threads);
}

/* ---- what goes wrong ---- */

/* A row that is not finite spoils itself, not its neighbours and not the padding. */
static void infinities_stay_in_their_row(void **state) {
    (void)state;
    opsm_error err = {0};
    enum { N_OUT = 70, N_IN = 40, M = 7 };
    struct matrix w = make_matrix(DTYPE_F32, N_OUT, N_IN, N_IN, 1), x = make_matrix(DTYPE_F32, M, N_IN, N_IN, 2);
    struct gemm_weight *weight = make_weight(DTYPE_F32, &w, false);
    float clean[M * N_OUT], y[M * N_OUT];
    assert_ok(gemm_forward(weight, M, x.data, N_IN, clean, N_OUT, false, &err));
    ((float *)x.data)[3 * N_IN + 5] = (float)NAN;
    assert_ok(gemm_forward(weight, M, x.data, N_IN, y, N_OUT, false, &err));
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N_OUT; j++) {
            if (i == 3)
                assert_true(isnan(y[i * N_OUT + j]));
            else
                assert_true(y[i * N_OUT + j] == clean[i * N_OUT + j]);
        }
    gemm_weight_free(weight);
    drop_matrix(&w);
    drop_matrix(&x);
}

static void bad_calls_get_a_sentence(void **state) {
    (void)state;
    opsm_error err = {0};
    struct gemm_weight *weight = NULL;
    assert_int_equal(gemm_weight_create(&weight, 0, 5, DTYPE_F32, true, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "0 x 5"));
    assert_int_equal(gemm_weight_create(&weight, 5, (int64_t)1 << 40, DTYPE_F32, true, &err), OPSM_INVALID);
    float w[6] = {1, 2, 3, 4, 5, 6}, x[8] = {0}, y[8] = {0};
    assert_ok(gemm_weight_create(&weight, 3, 2, DTYPE_F32, false, &err));
    assert_int_equal(gemm_forward(weight, 1, x, 2, y, 3, false, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "packed"));
    assert_ok(gemm_weight_pack(weight, w, &err));
    assert_int_equal(gemm_forward(weight, 1, x, 1, y, 3, false, &err), OPSM_INVALID);
    assert_int_equal(gemm_forward(weight, 1, x, 2, y, 2, false, &err), OPSM_INVALID);
    assert_int_equal(gemm_forward(weight, -1, x, 2, y, 3, false, &err), OPSM_INVALID);
    assert_int_equal(gemm_dx(weight, 1, x, 3, y, 2, false, &err), OPSM_INVALID);
    assert_non_null(strstr(err.text, "backward"));
    assert_int_equal(gemm_dw(DTYPE_F32, 1, 3, 2, x, 2, x, 2, y, &err), OPSM_INVALID);
    assert_ok(gemm_forward(weight, 0, NULL, 2, NULL, 3, false, &err));
    assert_ok(gemm_dw(DTYPE_F32, 0, 3, 2, NULL, 3, NULL, 2, NULL, &err));
    gemm_weight_free(weight);
}

/* Everything from nothing: a model's first step. */
static opsm_status whole_life(enum dtype type, const struct matrix *w, const struct matrix *x, const struct matrix *dy,
                              float *y, float *dx, float *dw, opsm_error *err) {
    struct gemm_weight *weight = NULL;
    opsm_status status = gemm_weight_create(&weight, w->rows, w->columns, type, true, err);
    if (status == OPSM_OK) status = gemm_weight_pack(weight, w->exact, err);
    if (status == OPSM_OK) status = gemm_forward(weight, x->rows, x->data, x->ld, y, w->rows, false, err);
    if (status == OPSM_OK) status = gemm_dx(weight, x->rows, dy->data, dy->ld, dx, w->columns, false, err);
    if (status == OPSM_OK)
        status = gemm_dw(type, x->rows, w->rows, w->columns, dy->data, dy->ld, x->data, x->ld, dw, err);
    gemm_weight_free(weight);
    return status;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    enum { N_OUT = 385, N_IN = 33, M = 70 };
    int threads = threads_count();
    for (int t = 0; t < N_TYPES; t++) {
        struct matrix w = make_matrix(DTYPE_F32, N_OUT, N_IN, N_IN, 1);
        struct matrix x = make_matrix(types[t], M, N_IN, N_IN, 2), dy = make_matrix(types[t], M, N_OUT, N_OUT, 3);
        float *y = make_floats(M * N_OUT, 0), *dx = make_floats(M * N_IN, 0), *dw = make_floats(N_OUT * N_IN, 0);
        threads_set(1 + t);
        int failures = 0;
        for (int nth = 1;; nth++) {
            gemm_shutdown();
            opsm_error err = {0};
            mem_fail_at(nth);
            opsm_status status = whole_life(types[t], &w, &x, &dy, y, dx, dw, &err);
            mem_fail_at(0);
            if (status == OPSM_OK) break;
            assert_int_equal(status, OPSM_NOMEM);
            assert_non_null(strstr(err.text, "out of memory"));
            failures++;
        }
        assert_true(failures >= 9);
        mem_free(y);
        mem_free(dx);
        mem_free(dw);
        drop_matrix(&w);
        drop_matrix(&x);
        drop_matrix(&dy);
    }
    threads_set(threads);
}

static void says_what_serves_it(void **state) {
    (void)state;
    for (int t = 0; t < N_TYPES; t++) {
        const char *text = gemm_implementation(types[t]);
        print_message("%s\n", text);
        assert_non_null(strstr(text, cpu_isa_name(cpu_isa())));
        assert_non_null(strstr(text, "tile 64"));
        assert_true(!!strstr(text, "oneDNN") == gemm_kernel_uses_onednn());
        assert_true(!!strstr(text, "bf16-rounded") ==
                    (types[t] == DTYPE_BF16 && gemm_compute_type(DTYPE_BF16) != DTYPE_BF16));
    }
}

static int shut_down(void **state) {
    (void)state;
    gemm_shutdown();
    return 0;
}

/* A borrowed weight in three parts of this format, and the packed one of what they decode to: the same bits, whichever
 * slices of rows and columns are cut. */
static void check_blocks(enum dtype type, enum quant_type format, int64_t n_out, int64_t n_in) {
    opsm_error err = {0};
    enum { M = 70 };
    const struct quant_traits *traits = quant_traits(format);
    int64_t n_blocks = n_out * n_in / traits->block, third = n_out / 3;
    struct matrix w = make_matrix(DTYPE_F32, n_out, n_in, n_in, 1);
    uint8_t *blocks = mem_alloc((size_t)(n_blocks * traits->bytes), 1);
    traits->encode(w.exact, n_blocks, blocks);
    traits->decode(blocks, n_blocks, w.exact);
    struct gemm_blocks part[3];
    for (int i = 0; i < 3; i++)
        part[i] = (struct gemm_blocks){.rows = i < 2 ? third : n_out - 2 * third,
                                       .block = traits->block,
                                       .bytes = traits->bytes,
                                       .decode = traits->decode,
                                       .data = blocks + i * third * (n_in / traits->block) * traits->bytes};
    struct gemm_weight *packed, *borrowed;
    assert_ok(gemm_weight_create(&packed, n_out, n_in, type, true, &err));
    assert_ok(gemm_weight_pack(packed, w.exact, &err));
    assert_ok(gemm_weight_borrow(&borrowed, n_out, n_in, type, true, part, 3, &err));
    struct matrix x = make_matrix(type, M, n_in, n_in, 2), dy = make_matrix(type, M, n_out, n_out, 3);
    float *a = make_floats(M * n_out, 1), *b = make_floats(M * n_out, 1);
    float *c = make_floats(M * n_in, 1), *d = make_floats(M * n_in, 1);
    for (int64_t m = 1; m <= M; m += 23) {
        assert_ok(gemm_forward(packed, m, x.data, n_in, a, n_out, false, &err));
        assert_ok(gemm_forward(borrowed, m, x.data, n_in, b, n_out, false, &err));
        assert_memory_equal(a, b, (size_t)(m * n_out) * sizeof *a);
        assert_ok(gemm_dx(packed, m, dy.data, n_out, c, n_in, true, &err));
        assert_ok(gemm_dx(borrowed, m, dy.data, n_out, d, n_in, true, &err));
        assert_memory_equal(c, d, (size_t)(m * n_in) * sizeof *c);
    }
    gemm_weight_free(packed);
    gemm_weight_free(borrowed);
    drop_matrix(&w);
    drop_matrix(&x);
    drop_matrix(&dy);
    mem_free(blocks);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(d);
}

static void blocks_give_the_bits_of_what_they_decode_to(void **state) {
    (void)state;
    static const enum quant_type formats[] = {QUANT_F32, QUANT_BF16, QUANT_Q8_0, QUANT_Q4_0, QUANT_Q4_K};
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++)
        for (int t = 0; t < N_TYPES; t++) {
            check_blocks(types[t], formats[f], 96, 256);
            check_blocks(types[t], formats[f], 700, 768);
            check_blocks(types[t], formats[f], 1030, 1280);
        }
}

int main(void) {
    const char *wanted = getenv("OPSM_ISA");
    if (wanted && strcmp(wanted, cpu_isa_name(cpu_isa())) != 0) {
        printf("skipped: this processor has no %s\n", wanted);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_serves_it),
        cmocka_unit_test(products_match_the_definition),
        cmocka_unit_test(gradient_matches_the_definition),
        cmocka_unit_test(weights_are_rounded_to_nearest),
        cmocka_unit_test(a_row_does_not_depend_on_its_neighbours),
        cmocka_unit_test(a_row_does_not_depend_on_its_position),
        cmocka_unit_test(gradients_do_not_depend_on_threads),
        cmocka_unit_test(infinities_stay_in_their_row),
        cmocka_unit_test(blocks_give_the_bits_of_what_they_decode_to),
        cmocka_unit_test(bad_calls_get_a_sentence),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, shut_down);
}
