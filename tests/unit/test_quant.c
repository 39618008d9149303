/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "check.h"
#include "io/tensor_source.h"
#include <math.h>
#include <string.h>

#define GOLDEN OPSM_SOURCE_DIR "/tests/golden/quant.gguf"

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
    {QUANT_Q8_0, "Q8_0", 32, 34, 1},   {QUANT_Q4_0, "Q4_0", 32, 18, 0},   {QUANT_Q4_1, "Q4_1", 32, 20, 0},
    {QUANT_Q5_0, "Q5_0", 32, 22, 0},   {QUANT_Q5_1, "Q5_1", 32, 24, 0},   {QUANT_Q4_K, "Q4_K", 256, 144, 0},
    {QUANT_Q5_K, "Q5_K", 256, 176, 0}, {QUANT_Q6_K, "Q6_K", 256, 210, 0},
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
        cmocka_unit_test(q8_0_error_is_half_a_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
