/* SPDX-License-Identifier: Apache-2.0
 *
 * What every unit test includes: cmocka in the order it wants its headers, and comparisons that a NaN fails.
 */
#ifndef OPSM_TESTS_CHECK_H
#define OPSM_TESTS_CHECK_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* Under an emulator: speed is not measured, and what takes long is smaller. */
#ifdef TESTS_EMULATED
enum { EMULATED = 1 };
#else
enum { EMULATED = 0 };
#endif

/* |a - b| <= tolerance; written so that NaN on either side fails. */
#define assert_near(a, b, tolerance)                                                                                   \
    do {                                                                                                               \
        double near_a = (double)(a), near_b = (double)(b), near_d = near_a - near_b;                                   \
        if (!((near_d < 0 ? -near_d : near_d) <= (tolerance))) {                                                       \
            print_error("%s = %.9g, expected %s = %.9g within %g\n", #a, near_a, #b, near_b, (double)(tolerance));     \
            fail();                                                                                                    \
        }                                                                                                              \
    } while (0)

/* A call that must succeed; prints its sentence when it does not. Needs `opsm_error err` in scope. */
#define assert_ok(call)                                                                                                \
    do {                                                                                                               \
        opsm_status ok_status = (call);                                                                                \
        if (ok_status != OPSM_OK) {                                                                                    \
            print_error("%s: %s (%s)\n", #call, err.text, opsm_status_text(ok_status));                                \
            fail();                                                                                                    \
        }                                                                                                              \
    } while (0)

#endif
