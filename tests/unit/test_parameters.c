/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "check.h"
#include "model/parameters.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static opsm_error err;
static const char MAGIC[] = "opsmTEST";
static char path[] = "/tmp/opsm-parameters-XXXXXX";
enum { VERSION = 1 };

/* A matrix in two pieces of a fused product, then one that begins on a boundary of its own. */
static struct parameters make(bool trained, int64_t last) {
    struct parameters p;
    assert_ok(parameters_reserve(&p, 3, &err));
    assert_int_equal(parameters_add(&p, "q", 2, 5, true), 0);
    assert_int_equal(parameters_append(&p, "k", 1, 5, true), 10);
    assert_int_equal(parameters_add(&p, "norm", 1, last, false), 16);
    assert_ok(parameters_allocate(&p, trained, &err));
    return p;
}

static void tensors_lie_one_behind_the_other(void **state) {
    (void)state;
    struct parameters p = make(false, 7);
    assert_int_equal(p.n_tensors, 3);
    assert_int_equal(p.n_weights, 22);
    assert_int_equal(p.size, 32);
    assert_int_equal(parameters_bytes(&p), 32 * sizeof(float));
    assert_string_equal(p.tensors[1].name, "k");
    assert_true(p.tensors[0].decay && !p.tensors[2].decay);
    for (int64_t i = 0; i < p.size; i++) assert_true(p.values[i] == 0);
    assert_null(p.grads); /* frozen */
    assert_null(p.m);
    parameters_free(&p);
}

static void fill(float *block, int64_t n, float from) {
    for (int64_t i = 0; i < n; i++) block[i] = from + (float)i;
}

static void save(const struct parameters *p) {
    struct record_out out;
    assert_ok(record_create(&out, path, MAGIC, VERSION, &err));
    parameters_write(p, &out);
    assert_ok(record_commit(&out, &err));
}

static opsm_status load(struct parameters *p, bool whole) {
    struct record_in in;
    assert_ok(record_open(&in, path, MAGIC, VERSION, &err));
    opsm_status status = parameters_read(p, &in, &err);
    if (status == OPSM_OK) assert_int_equal(record_finish(&in, NULL), whole ? OPSM_OK : OPSM_FORMAT);
    record_close(&in);
    return status;
}

static void what_was_trained_comes_back(void **state) {
    (void)state;
    struct parameters p = make(true, 7), q = make(true, 7), frozen = make(false, 7), other = make(true, 20);
    size_t bytes = parameters_bytes(&p);
    assert_ok(parameters_begin(&p, &err));
    fill(p.values, p.size, 1);
    fill(p.m, p.size, 100);
    fill(p.v, p.size, 200);
    p.updates = 5;
    p.nonfinite = 2;
    save(&p);
    assert_ok(parameters_begin(&q, &err));
    assert_int_equal(load(&q, true), OPSM_OK);
    assert_memory_equal(q.values, p.values, bytes);
    assert_memory_equal(q.m, p.m, bytes);
    assert_memory_equal(q.v, p.v, bytes);
    assert_int_equal(q.updates, 5);
    assert_int_equal(q.nonfinite, 2);
    assert_int_equal(load(&frozen, false), OPSM_OK); /* the moments are left in the file */
    assert_memory_equal(frozen.values, p.values, bytes);
    assert_int_equal(load(&other, true), OPSM_FORMAT);
    assert_ok(parameters_begin(&q, &err)); /* anew */
    for (int64_t i = 0; i < q.size; i++) assert_true(q.m[i] == 0 && q.v[i] == 0);
    assert_int_equal(q.updates + q.nonfinite, 0);
    parameters_free(&p);
    parameters_free(&q);
    parameters_free(&frozen);
    parameters_free(&other);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    for (int64_t nth = 1;; nth++) {
        struct parameters p;
        mem_fail_at(nth);
        opsm_status status = parameters_reserve(&p, 1, &err);
        if (status == OPSM_OK) parameters_add(&p, "w", 1, 3, true);
        if (status == OPSM_OK) status = parameters_allocate(&p, true, &err);
        if (status == OPSM_OK) status = parameters_begin(&p, &err);
        mem_fail_at(0);
        parameters_free(&p);
        if (status == OPSM_OK) break;
        assert_int_equal(status, OPSM_NOMEM);
        assert_true(nth < 10);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_lie_one_behind_the_other),
        cmocka_unit_test(what_was_trained_comes_back),
        cmocka_unit_test(every_allocation_may_fail),
    };
    int file = mkstemp(path), failed;
    if (file < 0) return 1;
    close(file);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
