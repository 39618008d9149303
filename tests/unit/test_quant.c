/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "check.h"
#include "io/quant_mixture.h"
#include "io/tensor_source.h"
#include <math.h>
#include <string.h>

#define GOLDEN         OPSM_SOURCE_DIR "/tests/golden/quant.gguf"
#define GOLDEN_ENCODED OPSM_SOURCE_DIR "/tests/golden/quant_encode.gguf"

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* What the 16 bits mean, from the definition of the format. */
static double half_by_definition(unsigned h) {
    int exponent = (int)(h >> 10 & 31), mantissa = (int)(h & 0x3ff);
    double magnitude = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return h & 0x8000 ? -magnitude : magnitude;
}

static void every_half_converts_and_returns(void **state) {
    (void)state;
    for (unsigned h = 0; h <= 0xffff; h++) {
        float x = f16_to_f32((uint16_t)h);
        if ((h & 0x7fff) > 0x7c00) {
            assert_true(isnan(x));
            assert_true((f16_from_f32(x) & 0x7fff) > 0x7c00);
            continue;
        }
        if ((h & 0x7fff) == 0x7c00)
            assert_true(isinf(x));
        else
            assert_true((double)x == half_by_definition(h));
        assert_int_equal(signbit(x) != 0, h >> 15);
        assert_int_equal(f16_from_f32(x), h);
    }
}

/* Between every two neighbouring halves: just below the middle, the middle (to the even one), just above. */
static void halves_round_to_nearest_even(void **state) {
    (void)state;
    for (unsigned h = 0; h < 0x7c00; h++) {
        double low = half_by_definition(h), high = h == 0x7bff ? 65536.0 : half_by_definition(h + 1);
        float middle = (float)((low + high) / 2);
        assert_true((double)middle == (low + high) / 2);
        for (unsigned sign = 0; sign <= 1; sign++) {
            unsigned s = sign << 15;
            float direction = sign ? -1.0f : 1.0f;
            assert_int_equal(f16_from_f32(direction * nextafterf(middle, 0)), s | h);
            assert_int_equal(f16_from_f32(direction * middle), s | (h + (h & 1)));
            assert_int_equal(f16_from_f32(direction * nextafterf(middle, INFINITY)), s | (h + 1));
        }
    }
    assert_int_equal(f16_from_f32(65519.996f), 0x7bff);
    assert_int_equal(f16_from_f32(65520.0f), 0x7c00);
    assert_int_equal(f16_from_f32(INFINITY), 0x7c00);
    assert_int_equal(f16_from_f32(-3e38f), 0xfc00);
    assert_int_equal(f16_from_f32(float_of(1)), 0);
    assert_int_equal(f16_from_f32(-0.0f), 0x8000);
}

static void bf16_rounds_to_nearest_even(void **state) {
    (void)state;
    const struct {
        uint32_t from;
        uint16_t to;
    } cases[] = {{0x3f800000, 0x3f80}, {0x3f807fff, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f808001, 0x3f81},
                 {0x3f818000, 0x3f82}, {0x7f7fffff, 0x7f80}, {0x80000000, 0x8000}, {0x00008001, 0x0001},
                 {0x7f800000, 0x7f80}, {0xff800000, 0xff80}, {0x7f800001, 0x7fc0}, {0xffc12345, 0xffc1}};
    const struct quant_traits *bf16 = quant_traits(QUANT_BF16);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float x = float_of(cases[i].from), back;
        uint8_t bytes[2];
        bf16->encode(&x, 1, bytes);
        assert_int_equal(bytes[0] | bytes[1] << 8, cases[i].to);
        bf16->decode(bytes, 1, &back);
        assert_int_equal(bits_of(back), (uint32_t)cases[i].to << 16);
    }
}

static const struct {
    enum quant_type type;
    const char *name;
    int block, bytes;
    int encodes;
} readable[] = {
    {QUANT_F32, "F32", 1, 4, 1},       {QUANT_F16, "F16", 1, 2, 1},       {QUANT_BF16, "BF16", 1, 2, 1},
    {QUANT_Q8_0, "Q8_0", 32, 34, 1},   {QUANT_Q4_0, "Q4_0", 32, 18, 1},   {QUANT_Q4_1, "Q4_1", 32, 20, 0},
    {QUANT_Q5_0, "Q5_0", 32, 22, 1},   {QUANT_Q5_1, "Q5_1", 32, 24, 0},   {QUANT_Q4_K, "Q4_K", 256, 144, 1},
    {QUANT_Q5_K, "Q5_K", 256, 176, 1}, {QUANT_Q6_K, "Q6_K", 256, 210, 1},
};
enum { N_READABLE = sizeof readable / sizeof *readable };

static void traits_tell_what_is_possible(void **state) {
    (void)state;
    for (int i = 0; i < N_READABLE; i++) {
        const struct quant_traits *t = quant_traits(readable[i].type);
        assert_string_equal(t->name, readable[i].name);
        assert_int_equal(t->block, readable[i].block);
        assert_int_equal(t->bytes, readable[i].bytes);
        assert_non_null(t->decode);
        assert_int_equal(t->encode != NULL, readable[i].encodes);
    }
    assert_null(quant_traits(QUANT_IQ4_XS)->decode);
    assert_int_equal(quant_traits(QUANT_IQ4_XS)->bytes, 136);
    const uint32_t unknown[] = {4, 5, 31, 40, 1000, UINT32_MAX};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) assert_int_equal(quant_traits(unknown[i])->block, 0);
}

static const struct tensor_info *find(const struct tensor_source *file, const char *prefix, const char *type,
                                      const char *part) {
    char name[64];
    snprintf(name, sizeof name, "%s%s.%s", prefix, type, part);
    const struct tensor_info *t = tensor_source_find(file, name);
    if (!t) fail_msg("no tensor %s in the golden file", name);
    return t;
}

/* Bit for bit what the gguf package makes of the same blocks (tests/golden/make_quant.py). */
static void decoding_equals_the_gguf_package(void **state) {
    (void)state;
    opsm_error err = {0};
    struct tensor_source *file;
    assert_ok(tensor_source_open(&file, GOLDEN, &err));
    for (int i = 1; i < N_READABLE; i++) {
        const struct tensor_info *blocks = find(file, "", readable[i].name, "blocks");
        const struct tensor_info *values = find(file, "", readable[i].name, "values");
        assert_int_equal(blocks->type, readable[i].type);
        assert_int_equal(blocks->n_elements, values->n_elements);
        assert_true(values->n_elements >= 480);
        float *got = mem_alloc((size_t)values->n_elements, sizeof *got);
        assert_ok(tensor_source_read(file, blocks, 0, blocks->n_elements, got, &err));
        if (memcmp(got, values->data, values->size) != 0) fail_msg("%s differs", readable[i].name);
        /* One block from the middle, by itself. */
        int64_t first = 2 * readable[i].block;
        assert_ok(tensor_source_read(file, blocks, first, readable[i].block, got, &err));
        assert_memory_equal(got, values->data + first * 4, (size_t)readable[i].block * 4);
        mem_free(got);
    }
    tensor_source_close(file);
}

static void encoding_equals_the_gguf_package(void **state) {
    (void)state;
    opsm_error err = {0};
    struct tensor_source *file;
    assert_ok(tensor_source_open(&file, GOLDEN, &err));
    const enum quant_type written[] = {QUANT_F16, QUANT_BF16, QUANT_Q8_0};
    for (int i = 0; i < 3; i++) {
        const struct quant_traits *t = quant_traits(written[i]);
        const struct tensor_info *source = find(file, "encode.", t->name, "source");
        const struct tensor_info *blocks = find(file, "encode.", t->name, "blocks");
        float *values = mem_alloc((size_t)source->n_elements, sizeof *values);
        uint8_t *got = mem_alloc(blocks->size, 1);
        memcpy(values, source->data, source->size);
        t->encode(values, source->n_elements / t->block, got);
        if (memcmp(got, blocks->data, blocks->size) != 0) fail_msg("%s differs", t->name);
        mem_free(values);
        mem_free(got);
    }
    tensor_source_close(file);
}

/* Bit for bit what ggml's reference quantisers make of rows of many kinds (tests/golden/make_quant_encode.py). */
static void encoding_equals_ggml(void **state) {
    (void)state;
    opsm_error err = {0};
    struct tensor_source *file;
    assert_ok(tensor_source_open(&file, GOLDEN_ENCODED, &err));
    const struct tensor_info *source = tensor_source_find(file, "source");
    assert_non_null(source);
    assert_int_equal(file->n_tensors, 1 + 6);
    float *values = mem_alloc((size_t)source->n_elements, sizeof *values);
    memcpy(values, source->data, source->size);
    for (int64_t i = 1; i < file->n_tensors; i++) {
        const struct tensor_info *blocks = &file->tensors[i];
        const struct quant_traits *t = quant_traits((uint32_t)blocks->type);
        assert_string_equal(blocks->name, t->name);
        assert_int_equal(blocks->n_elements, source->n_elements);
        uint8_t *got = mem_alloc(blocks->size, 1);
        t->encode(values, blocks->n_elements / t->block, got);
        for (size_t b = 0; b < blocks->size; b++)
            if (got[b] != blocks->data[b])
                fail_msg("%s: byte %zu of block %zu differs", t->name, b % (size_t)t->bytes, b / (size_t)t->bytes);
        mem_free(got);
    }
    mem_free(values);
    tensor_source_close(file);
}

/* A block of any numbers up to `largest` becomes finite numbers, and anything else at least some bytes. */
static void encoders_take_what_they_promise(void **state) {
    (void)state;
    float x[256], y[256];
    uint8_t block[256 * 4];
    uint64_t random = 1;
    for (int i = 0; i < N_READABLE; i++) {
        const struct quant_traits *t = quant_traits(readable[i].type);
        if (!t->encode || isinf(t->largest)) continue;
        for (int round = 0; round < 2000; round++) {
            for (int j = 0; j < t->block; j++) {
                random = random * 6364136223846793005u + 1442695040888963407u;
                int kind = (int)(random >> 61), shape = round % 5;
                float share = (float)(random >> 33 & 0xffff) / 65536.0f;
                x[j] = shape == 0 ? t->largest * (2 * share - 1) : t->largest * (kind < shape ? -1.0f : share);
                if (shape == 4) x[j] = kind == 0 ? t->largest : kind == 1 ? -t->largest : x[j] * 1e-20f;
            }
            t->encode(x, 1, block);
            t->decode(block, 1, y);
            for (int j = 0; j < t->block; j++)
                if (!isfinite(y[j])) fail_msg("%s: %g became %g", t->name, (double)x[j], (double)y[j]);
        }
        const float odd[] = {NAN, -NAN, INFINITY, -INFINITY, 1e-45f, 3.4e38f, -3.4e38f};
        for (size_t k = 0; k < 3 * sizeof odd / sizeof *odd; k++) {
            for (int j = 0; j < t->block; j++) x[j] = k % 3 == 0 || j % 5 == (int)k % 3 ? odd[k / 3] : (float)j;
            t->encode(x, 1, block);
            t->decode(block, 1, y);
        }
    }
}

static enum quant_type mixture(const struct quant_mixture *m, const char *name, int n_dims, int64_t row) {
    const int64_t shape[3] = {row, 8, 8};
    return quant_mixture_type(m, name, n_dims, shape, QUANT_I8);
}

/* As llama.cpp chose for models of these shapes (tests/golden/compare_quant.py). */
static void mixture_gives_each_tensor_its_type(void **state) {
    (void)state;
    struct quant_mixture m = {.base = QUANT_Q4_K, .n_layers = 18, .tied = true};
    const char *more = "110010010010010111"; /* which layers of 18 get more bits */
    for (int layer = 0; layer < m.n_layers; layer++) {
        char name[64];
        bool wanted = more[layer] == '1';
        snprintf(name, sizeof name, "blk.%d.ffn_down.weight", layer);
        assert_int_equal(mixture(&m, name, 2, 2048), wanted ? QUANT_Q6_K : QUANT_Q4_K);
        snprintf(name, sizeof name, "blk.%d.attn_v.weight", layer);
        assert_int_equal(mixture(&m, name, 2, 640), wanted ? QUANT_Q8_0 : QUANT_Q5_0);
    }
    const struct {
        const char *name;
        int n_dims;
        int64_t row;
        enum quant_type type;
    } cases[] = {
        {"token_embd.weight", 2, 640, QUANT_Q8_0},
        {"token_embd.weight", 2, 512, QUANT_Q6_K},
        {"output.weight", 2, 512, QUANT_Q6_K},
        {"output_norm.weight", 1, 512, QUANT_I8},
        {"blk.3.attn_norm.weight", 1, 512, QUANT_I8},
        {"blk.3.attn_q_norm.weight", 2, 512, QUANT_I8},
        {"blk.3.attn_q.bias", 1, 512, QUANT_I8},
        {"blk.3.ffn_gate_inp.weight", 2, 512, QUANT_I8},
        {"blk.3.attn_q.weight", 2, 512, QUANT_Q4_K},
        {"blk.3.attn_q.weight", 2, 576, QUANT_Q5_0},
        {"blk.3.attn_q.weight", 2, 40, QUANT_F16},
        {"blk.3.ffn_gate.weight", 2, 512, QUANT_Q4_K},
        {"blk.4.ffn_down_exps.weight", 3, 512, QUANT_Q6_K},
        {"blk.3.ffn_down_exps.weight", 3, 512, QUANT_Q4_K},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (mixture(&m, cases[i].name, cases[i].n_dims, cases[i].row) != cases[i].type)
            fail_msg("%s, rows of %d", cases[i].name, (int)cases[i].row);
    m.tied = false;
    assert_int_equal(mixture(&m, "token_embd.weight", 2, 512), QUANT_Q4_K);
    m.n_experts = 8;
    assert_int_equal(mixture(&m, "blk.3.attn_v.weight", 2, 512), QUANT_Q8_0);
    assert_int_equal(mixture(&m, "blk.3.attn_k.weight", 2, 512), QUANT_Q8_0);
    assert_int_equal(mixture(&m, "blk.3.attn_output.weight", 2, 512), QUANT_Q5_K);
    m = (struct quant_mixture){.base = QUANT_Q4_K, .n_layers = 80, .shared_heads = true};
    assert_int_equal(mixture(&m, "blk.13.attn_v.weight", 2, 512), QUANT_Q5_K);
    m = (struct quant_mixture){.base = QUANT_Q4_0, .n_layers = 18, .tied = true};
    assert_int_equal(mixture(&m, "blk.0.ffn_down.weight", 2, 512), QUANT_Q4_0);
    assert_int_equal(mixture(&m, "token_embd.weight", 2, 576), QUANT_Q8_0);
    assert_int_equal(mixture(&m, "token_embd.weight", 2, 512), QUANT_Q6_K);
    m.base = QUANT_Q8_0;
    assert_int_equal(mixture(&m, "token_embd.weight", 2, 512), QUANT_Q8_0);
    m.base = QUANT_BF16;
    assert_int_equal(mixture(&m, "token_embd.weight", 2, 33), QUANT_BF16);
    assert_int_equal(mixture(&m, "output_norm.weight", 1, 33), QUANT_I8);
}

/* |x - decoded| <= d/2 plus the rounding of d to a half, and no undefined behaviour on what cannot be represented. */
static void q8_0_error_is_half_a_step(void **state) {
    (void)state;
    const struct quant_traits *q8 = quant_traits(QUANT_Q8_0);
    float x[32], y[32];
    uint8_t block[34];
    for (int scale = -10; scale <= 10; scale++) {
        float largest = 0;
        for (int j = 0; j < 32; j++) {
            x[j] = ldexpf((float)(j * j % 61) - 30.25f, scale);
            largest = fmaxf(largest, fabsf(x[j]));
        }
        q8->encode(x, 1, block);
        q8->decode(block, 1, y);
        for (int j = 0; j < 32; j++) assert_near(x[j], y[j], largest / 127 / 2 + largest * 0x1p-11);
    }
    const float odd[] = {NAN, INFINITY, -INFINITY, 1e-45f, 3e38f};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        for (int j = 0; j < 32; j++) x[j] = j % 2 ? odd[i] : 0.0f;
        q8->encode(x, 1, block);
        for (int j = 0; j < 32; j++) assert_true((int8_t)block[2 + j] >= -127);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_converts_and_returns),  cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(bf16_rounds_to_nearest_even),      cmocka_unit_test(traits_tell_what_is_possible),
        cmocka_unit_test(decoding_equals_the_gguf_package), cmocka_unit_test(encoding_equals_the_gguf_package),
        cmocka_unit_test(q8_0_error_is_half_a_step),        cmocka_unit_test(encoding_equals_ggml),
        cmocka_unit_test(encoders_take_what_they_promise),  cmocka_unit_test(mixture_gives_each_tensor_its_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
