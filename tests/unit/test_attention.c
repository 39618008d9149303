/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/attention.h"
#include "kernels/scratch.h"
#include "numeric.h"

/* A packed batch as the model builds it: groups of one prompt and some responses, q | k | v side by side in a row. */
struct batch {
    struct attention_shape shape;
    struct attention_sequence sequences[64];
    int32_t prompt_of[64]; /* -1: a prompt, or a sequence without one */
    int32_t n_sequences;
    int64_t rows, width;
    float *qkv;
};

static int64_t q_width(const struct batch *b) {
    return (int64_t)b->shape.n_heads * b->shape.head_dim;
}
static int64_t kv_width(const struct batch *b) {
    return (int64_t)b->shape.n_kv_heads * b->shape.head_dim;
}
static int64_t out_size(const struct batch *b) {
    return b->rows * q_width(b);
}

static struct attention_span span_at(const struct batch *b, int64_t row, int32_t n) {
    const float *k = b->qkv + row * b->width + q_width(b);
    return (struct attention_span){k, k + kv_width(b), b->width, n};
}

/* lengths: > 0 a prompt, < 0 a response (to the last prompt) of that many tokens, ending with 0 */
static void make_batch(struct batch *b, int n_heads, int n_kv_heads, int head_dim, const int *lengths, uint32_t seed) {
    *b = (struct batch){.shape = {n_heads, n_kv_heads, head_dim, (float)(1.0 / sqrt(head_dim))}};
    b->width = (int64_t)(n_heads + 2 * n_kv_heads) * head_dim + 5;
    for (int i = 0; lengths[i]; i++) b->rows += abs(lengths[i]);
    b->qkv = random_floats(seed, b->rows * b->width, 1.0f);
    int64_t row = 0;
    int32_t prompt = -1;
    for (int i = 0; lengths[i]; i++, row += abs(lengths[i - 1])) {
        struct attention_sequence *s = &b->sequences[i];
        s->first_row = row;
        s->n_rows = abs(lengths[i]);
        s->own = span_at(b, row, s->n_rows);
        b->prompt_of[i] = lengths[i] > 0 ? -1 : prompt;
        if (lengths[i] > 0)
            prompt = i;
        else
            s->prefix = b->sequences[prompt].own;
        b->n_sequences++;
    }
}

static void free_batch(struct batch *b) {
    mem_free(b->qkv);
}

/* The keys that row `row` sees, in order: their row numbers. */
static int32_t visible_rows(const struct batch *b, int32_t s, int32_t i, int64_t *rows) {
    int32_t n = 0;
    const int32_t p = b->prompt_of[s];
    for (int32_t j = 0; p >= 0 && j < b->sequences[p].n_rows; j++) rows[n++] = b->sequences[p].first_row + j;
    for (int32_t j = 0; j <= i; j++) rows[n++] = b->sequences[s].first_row + j;
    return n;
}

/* The definition, in double. Gradients are computed where dout is given. */
static void reference(const struct batch *b, double *out, double *lse, const float *dout, double *grad) {
    const int d = b->shape.head_dim, per = b->shape.n_heads / b->shape.n_kv_heads;
    int64_t *keys = mem_alloc((size_t)b->rows, sizeof *keys);
    double *p = mem_alloc((size_t)b->rows, sizeof *p), *dp = mem_alloc((size_t)b->rows, sizeof *dp);
    for (int32_t s = 0; s < b->n_sequences; s++)
        for (int32_t i = 0; i < b->sequences[s].n_rows; i++)
            for (int h = 0; h < b->shape.n_heads; h++) {
                const int64_t row = b->sequences[s].first_row + i, q_at = row * b->width + h * d;
                const int64_t k_off = q_width(b) + h / per * d, v_off = k_off + kv_width(b);
                const int64_t o_at = row * q_width(b) + h * d;
                int32_t n = visible_rows(b, s, i, keys);
                double max = -INFINITY, sum = 0, inner = 0;
                for (int32_t j = 0; j < n; j++) {
                    p[j] = 0;
                    for (int e = 0; e < d; e++)
                        p[j] += (double)b->qkv[q_at + e] * (double)b->qkv[keys[j] * b->width + k_off + e];
                    p[j] *= (double)b->shape.scale;
                    if (p[j] > max) max = p[j];
                }
                for (int32_t j = 0; j < n; j++) sum += exp(p[j] - max);
                lse[row * b->shape.n_heads + h] = max + log(sum);
                for (int32_t j = 0; j < n; j++) p[j] = exp(p[j] - max) / sum;
                for (int e = 0; e < d; e++) {
                    out[o_at + e] = 0;
                    for (int32_t j = 0; j < n; j++)
                        out[o_at + e] += p[j] * (double)b->qkv[keys[j] * b->width + v_off + e];
                }
                if (!dout) continue;
                for (int32_t j = 0; j < n; j++) {
                    dp[j] = 0;
                    for (int e = 0; e < d; e++) {
                        dp[j] += (double)dout[o_at + e] * (double)b->qkv[keys[j] * b->width + v_off + e];
                        grad[keys[j] * b->width + v_off + e] += p[j] * (double)dout[o_at + e];
                    }
                    inner += p[j] * dp[j];
                }
                for (int32_t j = 0; j < n; j++) {
                    double ds = p[j] * (dp[j] - inner) * (double)b->shape.scale;
                    for (int e = 0; e < d; e++) {
                        grad[q_at + e] += ds * (double)b->qkv[keys[j] * b->width + k_off + e];
                        grad[keys[j] * b->width + k_off + e] += ds * (double)b->qkv[q_at + e];
                    }
                }
            }
    mem_free(keys);
    mem_free(p);
    mem_free(dp);
}

static void forward(const struct batch *b, enum dtype type, void *out, float *lse) {
    opsm_error err = {0};
    assert_ok(attention_forward(&b->shape, b->sequences, b->n_sequences, b->qkv, b->width, type, out, lse, &err));
}

/* grad [rows, width] as the model has it: dq | dk | dv side by side; a prompt's own keys and its responses' prefix go
 * to the same place. */
static void backward(const struct batch *b, enum dtype type, const void *out, const float *lse, const float *dout,
                     float *grad) {
    opsm_error err = {0};
    struct attention_gradient own[64], prefix[64];
    for (int32_t s = 0; s < b->n_sequences; s++) {
        float *dk = grad + b->sequences[s].first_row * b->width + q_width(b);
        own[s] = (struct attention_gradient){dk, dk + kv_width(b), b->width};
        prefix[s] = b->prompt_of[s] < 0 ? (struct attention_gradient){NULL, NULL, 0} : own[b->prompt_of[s]];
    }
    assert_ok(attention_backward(&b->shape, b->sequences, b->n_sequences, b->qkv, b->width, type, out, lse, dout, grad,
                                 b->width, own, prefix, &err));
}

static void check_against_reference(int n_heads, int n_kv_heads, int head_dim, const int *lengths) {
    struct batch b;
    make_batch(&b, n_heads, n_kv_heads, head_dim, lengths, 11);
    const int64_t n = out_size(&b), n_lse = b.rows * n_heads, n_grad = b.rows * b.width;
    float *out = zero_floats(n), *lse = zero_floats(n_lse), *dout = random_floats(5, n, 1.0f),
          *grad = zero_floats(n_grad);
    double *out_ref = mem_zalloc((size_t)n, sizeof *out_ref), *lse_ref = mem_zalloc((size_t)n_lse, sizeof *lse_ref);
    double *grad_ref = mem_zalloc((size_t)n_grad, sizeof *grad_ref);
    reference(&b, out_ref, lse_ref, dout, grad_ref);
    forward(&b, DTYPE_F32, out, lse);
    assert_close(out, out_ref, n, 2e-6);
    assert_close(lse, lse_ref, n_lse, 1e-6);
    backward(&b, DTYPE_F32, out, lse, dout, grad);
    assert_close(grad, grad_ref, n_grad, 2e-5);
    uint16_t *half = mem_alloc((size_t)n, sizeof *half);
    forward(&b, DTYPE_BF16, half, NULL);
    for (int64_t i = 0; i < n; i++) assert_int_equal(half[i], bf16_from_f32(out[i]));
    mem_free(half);
    mem_free(out);
    mem_free(lse);
    mem_free(dout);
    mem_free(grad);
    mem_free(out_ref);
    mem_free(lse_ref);
    mem_free(grad_ref);
    free_batch(&b);
}

static void matches_the_definition(void **state) {
    (void)state;
    check_against_reference(9, 3, 64, (const int[]){70, -33, -1, -64, -65, 17, -5, -90, 0});
    check_against_reference(4, 4, 16, (const int[]){20, -20, -3, 130, 0});
    check_against_reference(2, 1, 128, (const int[]){1, -1, -2, 64, -64, 0});
    check_against_reference(14, 2, 64, (const int[]){100, -40, -40, -40, 0});
}

static void odd_head_sizes(void **state) {
    (void)state;
    check_against_reference(3, 1, 6, (const int[]){30, -7, -70, 0});
    check_against_reference(2, 2, 80, (const int[]){66, -66, 0});
    check_against_reference(5, 5, 37, (const int[]){3, -65, 0});
    check_against_reference(130, 1, 8, (const int[]){9, -9, -70, 0}); /* more heads than a task holds vectors */
}

/* Every row alone, as decode asks for it, in reverse order of sequences: the same bits. */
static void decode_equals_training(void **state) {
    (void)state;
    struct batch b;
    make_batch(&b, 9, 3, 64, (const int[]){70, -130, -1, -64, -65, 129, -5, -90, 0}, 3);
    float *out = zero_floats(out_size(&b)), *lse = zero_floats(b.rows * 9);
    forward(&b, DTYPE_F32, out, lse);
    for (int32_t s = 0; s < b.n_sequences; s++)
        for (int32_t i = 0; i < b.sequences[s].n_rows; i++) {
            opsm_error err = {0};
            float row[9 * 64], row_lse[9];
            struct attention_sequence one = b.sequences[s];
            one.own.n = i + 1;
            one.n_rows = 1;
            one.first_row = 0;
            const int64_t at = b.sequences[s].first_row + i;
            assert_ok(
                attention_forward(&b.shape, &one, 1, b.qkv + at * b.width, b.width, DTYPE_F32, row, row_lse, &err));
            assert_same_bits(row, out + at * 9 * 64, sizeof row);
            assert_same_bits(row_lse, lse + at * 9, sizeof row_lse);
        }
    mem_free(out);
    mem_free(lse);
    free_batch(&b);
}

/* Rows of a batch in pieces of any size, beside any other sequences, at any number of threads. */
static void grouping_changes_no_bit(void **state) {
    (void)state;
    struct batch b;
    make_batch(&b, 6, 2, 32, (const int[]){70, -130, -33, -64, -2, 150, -20, 0}, 4);
    float *out = zero_floats(out_size(&b)), *other = zero_floats(out_size(&b));
    forward(&b, DTYPE_F32, out, NULL);
    const int pieces[] = {1, 2, 3, 7, 16, 50, 64, 100};
    for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
        struct attention_sequence cut[512];
        int32_t n = 0;
        for (int32_t s = b.n_sequences - 1; s >= 0; s--)
            for (int32_t row = 0; row < b.sequences[s].n_rows; row += pieces[p]) {
                struct attention_sequence *c = &cut[n++];
                *c = b.sequences[s];
                c->first_row += row;
                c->n_rows = b.sequences[s].n_rows - row < pieces[p] ? b.sequences[s].n_rows - row : pieces[p];
                c->own.n = row + c->n_rows;
            }
        for (int threads = 1; threads <= 3; threads++) {
            opsm_error err = {0};
            threads_set(threads);
            memset(other, 0xff, (size_t)out_size(&b) * sizeof *other);
            assert_ok(attention_forward(&b.shape, cut, n, b.qkv, b.width, DTYPE_F32, other, NULL, &err));
            assert_same_bits(out, other, (size_t)out_size(&b) * sizeof *out);
        }
    }
    mem_free(out);
    mem_free(other);
    free_batch(&b);
}

/* One thread takes whole groups as tasks; for more the two groups are too few and are split. */
static void threads_change_no_gradient(void **state) {
    (void)state;
    struct batch b;
    make_batch(&b, 6, 2, 32, (const int[]){70, -130, -33, -64, -2, 150, -20, 0}, 4);
    const size_t bytes = (size_t)(b.rows * b.width) * sizeof(float);
    float *out = zero_floats(out_size(&b)), *lse = zero_floats(b.rows * 6),
          *dout = random_floats(9, out_size(&b), 1.0f);
    float *first = mem_alloc(1, bytes), *grad = mem_alloc(1, bytes);
    forward(&b, DTYPE_F32, out, lse);
    for (int threads = 1; threads <= 4; threads++) {
        threads_set(threads);
        float *into = threads == 1 ? first : grad;
        memset(into, 0, bytes);
        backward(&b, DTYPE_F32, out, lse, dout, into);
        assert_same_bits(first, into, bytes);
    }
    mem_free(out);
    mem_free(lse);
    mem_free(dout);
    mem_free(first);
    mem_free(grad);
    free_batch(&b);
}

/* Gradients are added to what is there, and queries' gradients replace it. */
static void key_gradients_accumulate(void **state) {
    (void)state;
    struct batch b;
    make_batch(&b, 2, 1, 16, (const int[]){5, -4, 0}, 6);
    const int64_t n = b.rows * b.width, width = b.width, nq = q_width(&b), used = nq + 2 * kv_width(&b);
    float *out = zero_floats(out_size(&b)), *lse = zero_floats(b.rows * 2),
          *dout = random_floats(9, out_size(&b), 1.0f);
    float *once = zero_floats(n), *more = zero_floats(n);
    forward(&b, DTYPE_F32, out, lse);
    backward(&b, DTYPE_F32, out, lse, dout, once);
    for (int64_t i = 0; i < n; i++) more[i] = 2.0f;
    backward(&b, DTYPE_F32, out, lse, dout, more);
    for (int64_t i = 0; i < n; i++) {
        int64_t column = i % width;
        float expected = column < nq ? once[i] : column < used ? 2.0f + once[i] : 2.0f;
        assert_true(more[i] == expected);
    }
    mem_free(out);
    mem_free(lse);
    mem_free(dout);
    mem_free(once);
    mem_free(more);
    free_batch(&b);
}

struct differences {
    struct batch *b;
    float *out;
    const float *weight;
};

static double weighted_output(void *context) {
    struct differences *c = context;
    forward(c->b, DTYPE_F32, c->out, NULL);
    double loss = 0;
    for (int64_t i = 0; i < out_size(c->b); i++) loss += (double)c->out[i] * (double)c->weight[i];
    return loss;
}

static void gradient_by_differences(void **state) {
    (void)state;
    struct batch b;
    make_batch(&b, 4, 2, 8, (const int[]){6, -5, -7, 4, 0}, 8);
    const int64_t n = b.rows * b.width;
    float *out = zero_floats(out_size(&b)), *lse = zero_floats(b.rows * 4),
          *dout = random_floats(2, out_size(&b), 1.0f);
    float *grad = zero_floats(n);
    forward(&b, DTYPE_F32, out, lse);
    backward(&b, DTYPE_F32, out, lse, dout, grad);
    struct differences c = {&b, out, dout};
    for (int64_t i = 0; i < n; i++)
        assert_gradient((double)grad[i], slope(weighted_output, &c, &b.qkv[i], 0x1p-7f), 1.0);
    mem_free(out);
    mem_free(lse);
    mem_free(dout);
    mem_free(grad);
    free_batch(&b);
}

/* A later token's broken keys and values do not reach an earlier row. */
static void the_future_is_not_seen(void **state) {
    (void)state;
    struct batch b;
    make_batch(&b, 4, 2, 16, (const int[]){20, -90, 0}, 8);
    float *out = zero_floats(out_size(&b)), *poisoned = zero_floats(out_size(&b));
    forward(&b, DTYPE_F32, out, NULL);
    for (int64_t row = 20 + 41; row < b.rows; row++)
        for (int64_t j = q_width(&b); j < b.width; j++) b.qkv[row * b.width + j] = j % 2 ? NAN : INFINITY;
    forward(&b, DTYPE_F32, poisoned, NULL);
    assert_same_bits(out, poisoned, (size_t)(61 * q_width(&b)) * sizeof *out);
    assert_true(isnan(poisoned[61 * q_width(&b)]));
    mem_free(out);
    mem_free(poisoned);
    free_batch(&b);
}

static void extreme_scores(void **state) {
    (void)state;
    struct batch b;
    make_batch(&b, 1, 1, 16, (const int[]){200, 0}, 8);
    for (int64_t i = 0; i < b.rows * b.width; i++) b.qkv[i] *= 60.0f; /* scores of some tens of thousands */
    float *out = zero_floats(out_size(&b)), *lse = zero_floats(b.rows);
    double *out_ref = mem_zalloc((size_t)out_size(&b), sizeof *out_ref),
           *lse_ref = mem_zalloc((size_t)b.rows, sizeof *lse_ref);
    reference(&b, out_ref, lse_ref, NULL, NULL);
    forward(&b, DTYPE_F32, out, lse);
    assert_close(lse, lse_ref, b.rows, 1e-6);
    assert_close(out, out_ref, out_size(&b), 2e-2); /* a score's rounding error is exponentiated */
    mem_free(out);
    mem_free(lse);
    mem_free(out_ref);
    mem_free(lse_ref);
    free_batch(&b);
}

static void nothing_to_do(void **state) {
    (void)state;
    opsm_error err = {0};
    struct attention_shape shape = {2, 1, 16, 0.25f};
    struct attention_sequence empty[3] = {{0}};
    assert_ok(attention_forward(&shape, NULL, 0, NULL, 0, DTYPE_F32, NULL, NULL, &err));
    assert_ok(attention_forward(&shape, empty, 3, NULL, 0, DTYPE_F32, NULL, NULL, &err));
    struct attention_gradient grads[3] = {{0}};
    assert_ok(attention_backward(&shape, empty, 3, NULL, 0, DTYPE_F32, NULL, NULL, NULL, NULL, 0, grads, grads, &err));
}

/* Sequences without rows between others are stepped over. */
static void empty_sequences_between(void **state) {
    (void)state;
    opsm_error err = {0};
    struct batch b;
    make_batch(&b, 2, 1, 16, (const int[]){9, -4, -3, 0}, 8);
    float *out = zero_floats(out_size(&b)), *other = zero_floats(out_size(&b));
    forward(&b, DTYPE_F32, out, NULL);
    struct attention_sequence spaced[7] = {{0}};
    for (int i = 0; i < 3; i++) {
        spaced[2 * i + 1] = b.sequences[i];
        spaced[2 * i] = b.sequences[i];
        spaced[2 * i].n_rows = 0;
    }
    assert_ok(attention_forward(&b.shape, spaced, 7, b.qkv, b.width, DTYPE_F32, other, NULL, &err));
    assert_same_bits(out, other, (size_t)out_size(&b) * sizeof *out);
    mem_free(out);
    mem_free(other);
    free_batch(&b);
}

/* Every allocation fails once, with a sentence; nothing is allocated once the scratch has grown. */
static void memory_runs_out(void **state) {
    (void)state;
    opsm_error err = {0};
    struct batch b;
    make_batch(&b, 2, 1, 16, (const int[]){9, -4, 0}, 8);
    float *out = zero_floats(out_size(&b)), *lse = zero_floats(b.rows * 2), *grad = zero_floats(b.rows * b.width);
    float *dk = grad + 32;
    const struct attention_gradient to = {dk, dk + 16, b.width};
    const struct attention_gradient own[2] = {to, {dk + 9 * b.width, dk + 9 * b.width + 16, b.width}};
    const struct attention_gradient prefix[2] = {{0}, to};
    for (int pass = 0; pass < 2; pass++) {
        opsm_status status = OPSM_NOMEM;
        int failures = 0;
        kernels_release();
        for (int nth = 1; status != OPSM_OK; nth++) {
            mem_fail_at(nth);
            status = pass == 0 ? attention_forward(&b.shape, b.sequences, 2, b.qkv, b.width, DTYPE_F32, out, lse, &err)
                               : attention_backward(&b.shape, b.sequences, 2, b.qkv, b.width, DTYPE_F32, out, lse, out,
                                                    grad, b.width, own, prefix, &err);
            mem_fail_at(0);
            if (status == OPSM_OK) break;
            assert_int_equal(status, OPSM_NOMEM);
            assert_non_null(strstr(err.text, "attention"));
            kernels_release();
            failures++;
        }
        assert_int_equal(failures, pass == 0 ? 2 : 5);
    }
    mem_fail_at(1);
    assert_ok(attention_backward(&b.shape, b.sequences, 2, b.qkv, b.width, DTYPE_F32, out, lse, out, grad, b.width, own,
                                 prefix, &err));
    mem_fail_at(0);
    mem_free(out);
    mem_free(lse);
    mem_free(grad);
    free_batch(&b);
}

static int reset_threads(void **state) {
    (void)state;
    threads_set(2);
    kernels_release();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(matches_the_definition, reset_threads),
        cmocka_unit_test_teardown(odd_head_sizes, reset_threads),
        cmocka_unit_test_teardown(decode_equals_training, reset_threads),
        cmocka_unit_test_teardown(grouping_changes_no_bit, reset_threads),
        cmocka_unit_test_teardown(threads_change_no_gradient, reset_threads),
        cmocka_unit_test_teardown(key_gradients_accumulate, reset_threads),
        cmocka_unit_test_teardown(gradient_by_differences, reset_threads),
        cmocka_unit_test_teardown(the_future_is_not_seen, reset_threads),
        cmocka_unit_test_teardown(extreme_scores, reset_threads),
        cmocka_unit_test_teardown(nothing_to_do, reset_threads),
        cmocka_unit_test_teardown(empty_sequences_between, reset_threads),
        cmocka_unit_test_teardown(memory_runs_out, reset_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
