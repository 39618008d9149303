/* SPDX-License-Identifier: Apache-2.0
 *
 * Throughput of every kernel but the matrix products, beside what bounds it: attention beside the matrix products of
 * the layer it belongs to, the rest beside a memory copy of the same run. Sizes are those of a 135 M-parameter Llama.
 *
 *     bench_kernels [attention | decode | rows | optim]      OPSM_THREADS and OPSM_ISA apply
 */
#include "base/clock.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/threads.h"
#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/gemm.h"
#include "kernels/layers.h"
#include "kernels/softmax.h"
#include <stdio.h>
#include <stdlib.h>

enum { DIM = 576, HEADS = 9, KV_HEADS = 3, HEAD_DIM = 64, FFN = 1536, VOCAB = 49152, ROWS = 2048 };
enum { QKV = (HEADS + 2 * KV_HEADS) * HEAD_DIM };

static float *numbers(int64_t n) {
    float *x = mem_alloc((size_t)n, sizeof *x);
    if (!x) exit(1);
    struct rng r = rng_make(1, RNG_TEST, 0, 0, 0);
    for (int64_t i = 0; i < n; i++) x[i] = (float)rng_unit(&r) - 0.5f;
    return x;
}

static void check(opsm_status status, const opsm_error *err) {
    if (status == OPSM_OK) return;
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

/* Seconds of the fastest of several runs: the machine may be shared. */
#define BEST(seconds, call)                                                                                            \
    double seconds = 1e30;                                                                                             \
    for (double begin = clock_seconds(), runs = 0; runs < 3 || (runs < 200 && clock_seconds() - begin < 0.5);          \
         runs++) {                                                                                                     \
        double start = clock_seconds();                                                                                \
        call;                                                                                                          \
        double took = clock_seconds() - start;                                                                         \
        if (took < seconds) seconds = took;                                                                            \
    }

/* All matrix products of one layer, forward and backward (0) or forward alone (1). */
static double layer_products(int64_t rows, bool forward_only) {
    static const int shapes[4][2] = {{QKV, DIM}, {DIM, DIM}, {2 * FFN, DIM}, {DIM, FFN}};
    opsm_error err = {0};
    double total = 0;
    for (int i = 0; i < 4; i++) {
        const int64_t n_out = shapes[i][0], n_in = shapes[i][1];
        struct gemm_weight *weight;
        float *w = numbers(n_out * n_in), *y = numbers(rows * n_out), *dx = numbers(rows * n_in);
        uint16_t *x = mem_zalloc((size_t)(rows * n_in), 2), *dy = mem_zalloc((size_t)(rows * n_out), 2);
        check(gemm_weight_create(&weight, n_out, n_in, DTYPE_BF16, true, &err), &err);
        check(gemm_weight_pack(weight, w, &err), &err);
        BEST(seconds, {
            check(gemm_forward(weight, rows, x, n_in, y, n_out, false, &err), &err);
            if (!forward_only) {
                check(gemm_dx(weight, rows, dy, n_out, dx, n_in, false, &err), &err);
                check(gemm_dw(DTYPE_BF16, rows, n_out, n_in, dy, n_out, x, n_in, w, &err), &err);
            }
        });
        total += seconds;
        gemm_weight_free(weight);
        mem_free(w);
        mem_free(y);
        mem_free(dx);
        mem_free(x);
        mem_free(dy);
    }
    return total;
}

/* Groups of one prompt and 8 responses. */
static void bench_training(int32_t prompt, int32_t response) {
    enum { GROUP = 8, MAX = 512 };
    const struct attention_shape shape = {HEADS, KV_HEADS, HEAD_DIM, 0.125f};
    struct attention_sequence s[MAX];
    struct attention_gradient own[MAX], prefix[MAX];
    const int32_t per_group = prompt + GROUP * response;
    int32_t groups = ROWS / per_group;
    if (groups < 1) groups = 1;
    const int64_t rows = (int64_t)groups * per_group;
    float *qkv = numbers(rows * QKV), *grad = numbers(rows * QKV), *out = numbers(rows * DIM),
          *dout = numbers(rows * DIM);
    float *lse = numbers(rows * HEADS);
    double pairs = 0;
    int32_t n = 0;
    for (int64_t row = 0; row < rows; row += per_group)
        for (int32_t i = -1, prompt_at = n; i < GROUP; i++, n++) {
            const int64_t first = row + (i < 0 ? 0 : prompt + i * response);
            const int32_t length = i < 0 ? prompt : response;
            const float *k = qkv + first * QKV + DIM;
            float *dk = grad + first * QKV + DIM;
            s[n] = (struct attention_sequence){.first_row = first, .n_rows = length};
            s[n].own = (struct attention_span){k, k + KV_HEADS * HEAD_DIM, QKV, length};
            own[n] = prefix[n] = (struct attention_gradient){dk, dk + KV_HEADS * HEAD_DIM, QKV};
            pairs += (double)length * (length + 1) / 2;
            if (i < 0) continue;
            s[n].prefix = s[prompt_at].own;
            prefix[n] = own[prompt_at];
            pairs += (double)length * prompt;
        }
    opsm_error err = {0};
    const double product = pairs * HEADS * HEAD_DIM * 2; /* one of two forward, of five backward */
    BEST(forward, check(attention_forward(&shape, s, n, qkv, QKV, DTYPE_F32, out, lse, &err), &err));
    BEST(backward,
         check(attention_backward(&shape, s, n, qkv, QKV, DTYPE_F32, out, lse, dout, grad, QKV, own, prefix, &err),
               &err));
    double products = layer_products(rows, false);
    printf("attention %4d + 8 x %4d  forward %6.1f GFLOP/s  backward %6.1f GFLOP/s  together %4.1f%% of the layer's "
           "products\n",
           prompt, response, 2 * product / forward * 1e-9, 5 * product / backward * 1e-9,
           100 * (forward + backward) / products);
    mem_free(qkv);
    mem_free(grad);
    mem_free(out);
    mem_free(dout);
    mem_free(lse);
}

/* One step of 64 sequences, 8 to a prompt. */
static void bench_decode(int32_t prompt, int32_t response) {
    enum { BATCH = 64 };
    const struct attention_shape shape = {HEADS, KV_HEADS, HEAD_DIM, 0.125f};
    const int64_t kv = (int64_t)KV_HEADS * HEAD_DIM;
    struct attention_sequence s[BATCH];
    float *prompts = numbers(8 * prompt * 2 * kv), *samples = numbers(BATCH * response * 2 * kv);
    float *q = numbers(BATCH * DIM), *out = numbers(BATCH * DIM);
    for (int i = 0; i < BATCH; i++) {
        const float *p = prompts + (int64_t)(i / 8) * prompt * 2 * kv, *k = samples + (int64_t)i * response * 2 * kv;
        s[i] = (struct attention_sequence){i, 1, {p, p + kv, 2 * kv, prompt}, {k, k + kv, 2 * kv, response}};
    }
    opsm_error err = {0};
    BEST(seconds, check(attention_forward(&shape, s, BATCH, q, DIM, DTYPE_F32, out, NULL, &err), &err));
    double bytes = (8.0 * prompt + BATCH * (double)response) * 2 * (double)kv * 4;
    double flops = BATCH * (double)(prompt + response) * 4 * DIM, products = layer_products(BATCH, true);
    printf("decode    %4d + %4d      %6.1f us  %6.1f GFLOP/s  %5.1f GB/s of keys and values  %5.1f%% of the layer's "
           "products\n",
           prompt, response, seconds * 1e6, flops / seconds * 1e-9, bytes / seconds * 1e-9, 100 * seconds / products);
    mem_free(prompts);
    mem_free(samples);
    mem_free(q);
    mem_free(out);
}

static void bench_attention(void) {
    bench_training(100, 100);
    bench_training(50, 40);
    bench_training(200, 300);
    bench_training(2000, 10);
}

static void bench_generation(void) {
    bench_decode(100, 100);
    bench_decode(300, 50);
    bench_decode(100, 1000);
}

/* Bytes read and written per second by a parallel memcpy that touches as many bytes. */
static double copy_speed(double bytes) {
    const int64_t n = (int64_t)(bytes / 8);
    float *a = numbers(n), *b = numbers(n);
    BEST(seconds, convert(b, DTYPE_F32, a, n));
    mem_free(a);
    mem_free(b);
    return bytes / seconds;
}

static void line(const char *name, double bytes, double seconds) {
    printf("%-22s %8.1f us  %6.1f GB/s  %4.0f%% of a copy of as many bytes\n", name, seconds * 1e6,
           bytes / seconds * 1e-9, 100 * bytes / seconds / copy_speed(bytes));
}

static void bench_rows(void) {
    const int64_t m = ROWS, n = m * DIM;
    float *x = numbers(m * 2 * FFN), *y = numbers(m * 2 * FFN), *z = numbers(m * 2 * FFN), *w = numbers(2 * FFN);
    float *rstd = numbers(m), *inv_freq = numbers(HEAD_DIM / 2);
    int32_t *position = mem_zalloc(ROWS, sizeof *position);
    for (int i = 0; i < ROWS; i++) position[i] = i % 300;
    opsm_error err = {0};
    BEST(norm, rmsnorm_forward(y, DTYPE_BF16, rstd, x, w, m, DIM, 1e-5f));
    line("rmsnorm forward", 6.0 * (double)n, norm);
    BEST(norm_back, check(rmsnorm_backward(y, w, z, x, w + DIM, rstd, m, DIM, &err), &err));
    line("rmsnorm backward", 16.0 * (double)n, norm_back);
    BEST(rope, rope_apply(x, QKV, position, inv_freq, m, HEADS + KV_HEADS, HEAD_DIM, 1));
    line("rope", 8.0 * (double)m * (HEADS + KV_HEADS) * HEAD_DIM, rope);
    BEST(swiglu, swiglu_forward(y, DTYPE_BF16, x, m, FFN));
    line("swiglu forward", 10.0 * (double)m * FFN, swiglu);
    BEST(swiglu_back, swiglu_backward(y, DTYPE_BF16, z, x, m, FFN));
    line("swiglu backward", 16.0 * (double)m * FFN, swiglu_back);
    BEST(half, convert(y, DTYPE_BF16, x, n));
    line("convert to bf16", 6.0 * (double)n, half);
    BEST(add, add_inplace(y, x, n));
    line("add", 12.0 * (double)n, add);
    BEST(bias, bias_forward(x, QKV, w, m, QKV));
    line("bias forward", 8.0 * (double)m * QKV, bias);
    BEST(bias_back, bias_backward(w, x, QKV, m, QKV));
    line("bias backward", 4.0 * (double)m * QKV, bias_back);
    for (int i = 0; i < ROWS; i++) position[i] = i * 7 % 1000;
    float *table = numbers(1000 * DIM);
    BEST(embed_back, embedding_backward(table, x, position, m, DIM));
    line("embedding backward", 12.0 * (double)n, embed_back);
    mem_free(table);
    mem_free(x);
    mem_free(y);
    mem_free(z);
    mem_free(w);
    mem_free(rstd);
    mem_free(inv_freq);
    mem_free(position);
}

static void bench_softmax(void) {
    enum { M = 64 };
    float *logits = numbers((int64_t)M * VOCAB), *grad = numbers((int64_t)M * VOCAB), logp[M], lse[M], entropy[M],
          coef[M];
    int32_t target[M];
    for (int i = 0; i < M; i++) target[i] = i, coef[i] = 1.0f;
    const double bytes = 4.0 * M * VOCAB;
    BEST(plain, softmax_logprob(logp, lse, NULL, logits, VOCAB, target, NULL, M, VOCAB, 1.0f));
    line("log-prob", bytes, plain);
    BEST(both, softmax_logprob(logp, lse, entropy, logits, VOCAB, target, NULL, M, VOCAB, 1.0f));
    line("log-prob and entropy", bytes, both);
    BEST(back, softmax_backward(grad, DTYPE_BF16, logits, VOCAB, lse, target, coef, NULL, M, VOCAB, 1.0f));
    line("log-prob backward", 1.5 * bytes, back);
    mem_free(logits);
    mem_free(grad);
}

static void bench_optim(void) {
    const int64_t n = 32 << 20;
    float *w = numbers(n), *m = numbers(n), *v = numbers(n), *g = numbers(n);
    for (int64_t i = 0; i < n; i++) v[i] += 1.0f;
    const struct adamw_step step = {1e-5f, 0.9f, 0.99f, 1e-8f, 0.1f, 1.0f, 0.1f, 0.01f};
    BEST(adamw, adamw_update(w, m, v, g, n, &step, true));
    line("adamw", 28.0 * (double)n, adamw);
    volatile double sum = 0;
    BEST(squares, sum = sum_squares(g, n));
    (void)sum;
    line("sum of squares", 4.0 * (double)n, squares);
    mem_free(w);
    mem_free(m);
    mem_free(v);
    mem_free(g);
}

int main(int argc, char **argv) {
    const char only = argc > 1 ? argv[1][0] : 0;
    printf("%s, %d threads\n", cpu_isa_name(cpu_isa()), threads_count());
    if (!only || only == 'a') bench_attention();
    if (!only || only == 'd') bench_generation();
    if (!only || only == 'r') bench_rows();
    if (!only || only == 'r') bench_softmax();
    if (!only || only == 'o') bench_optim();
    return 0;
}
