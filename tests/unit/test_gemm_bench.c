/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"
#include "kernels/gemm_bench.h"
#include <string.h>

static void measures_what_was_asked(void **state) {
    (void)state;
    opsm_error err = {0};
    for (int type = DTYPE_F32; type <= DTYPE_BF16; type++) {
        struct gemm_bench_result result = {0};
        assert_ok(gemm_bench_run(&result, type, (struct gemm_bench_shape){70, 96, 64}, 0.001, &err));
        assert_true(result.forward > 0 && isfinite(result.forward));
        assert_true(result.dx > 0 && isfinite(result.dx));
        assert_true(result.dw > 0 && isfinite(result.dw));
    }
}

/* Three large products reach more than one whose tiles are all but empty. */
static void the_ceiling_is_above_a_small_product(void **state) {
    (void)state;
    if (EMULATED) skip(); /* minutes of products for a speed that means nothing */
    opsm_error err = {0};
    struct gemm_bench_ceiling ceiling;
    struct gemm_bench_result small;
    assert_ok(gemm_bench_ceiling(&ceiling, DTYPE_F32, 0.01, &err));
    assert_ok(gemm_bench_run(&small, DTYPE_F32, (struct gemm_bench_shape){1, 64, 64}, 0.001, &err));
    assert_true(ceiling.gflops >= ceiling.tiled_gflops && isfinite(ceiling.gflops));
    assert_true(ceiling.tiled_gflops > small.forward);
    assert_true(ceiling.whole || ceiling.gflops == ceiling.tiled_gflops);
    assert_true(ceiling.shape.m >= 512);
}

static void nothing_cannot_be_measured(void **state) {
    (void)state;
    opsm_error err = {0};
    struct gemm_bench_result result;
    assert_int_equal(gemm_bench_run(&result, DTYPE_F32, (struct gemm_bench_shape){0, 64, 64}, 0.001, &err),
                     OPSM_INVALID);
    assert_non_null(strstr(err.text, "0 rows"));
    assert_int_equal(gemm_bench_run(&result, DTYPE_F32, (struct gemm_bench_shape){4, 0, 64}, 0.001, &err),
                     OPSM_INVALID);
}

static int shut_down(void **state) {
    (void)state;
    gemm_shutdown();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(measures_what_was_asked),
        cmocka_unit_test(the_ceiling_is_above_a_small_product),
        cmocka_unit_test(nothing_cannot_be_measured),
    };
    return cmocka_run_group_tests(tests, NULL, shut_down);
}
