/* SPDX-License-Identifier: Apache-2.0
 *
 * The source of batches: their order, how old they may be, what came in, and all of it from a checkpoint. The batches
 * are made here.
 */
#include "base/file.h"
#include "base/mem.h"
#include "check.h"
#include "train/source.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static opsm_error err;
static struct model weights; /* of which the version alone is looked at */
static struct producer producer = {.model = &weights};
static int made;
static uint64_t behind; /* how much older than the weights the last sequence of the next batches is */

/* In the place of the library's: two groups of two, a token each. */
opsm_status producer_make(struct producer *p, int64_t index, struct batch *batch, opsm_error *error) {
    made++;
    *batch = (struct batch){.index = index};
    struct rollout_sizes sizes = {2, 4, 2, 4, -1};
    opsm_status status = rollouts_allocate(&batch->rollouts, &sizes, error);
    if (status != OPSM_OK) {
        batch_free(batch);
        return status;
    }
    struct rollouts *r = &batch->rollouts;
    r->inv_temperature = 1;
    memset(r->finish, 0, 4);
    for (int i = 0; i < 4; i++) {
        r->group_of[i] = i / 2;
        r->version[i] = p->model->version - (i == 3 ? behind : 0);
        r->tokens[i] = (int32_t)index;
        r->logp[i] = -1;
        r->text_length[i] = 1;
    }
    for (int i = 0; i <= 4; i++) r->offset[i] = i;
    for (int i = 0; i <= 2; i++) r->prompt_offset[i] = i;
    for (int i = 0; i < 2; i++) r->prompt_tokens[i] = i;
    batch->stats = (struct batch_stats){.reward_mean = (double)index, .tokens = 4, .seconds_rollout = 0.5};
    return OPSM_OK;
}

static int start(void **state) {
    (void)state;
    weights.version = 7;
    made = 0;
    behind = 0;
    err = (opsm_error){0};
    return 0;
}

/* One iteration: its batch, and two steps on it. */
static void iterate(struct source *s, int64_t t, int64_t bound) {
    struct batch *batch, *again;
    assert_ok(source_next(s, t, bound, &batch, &err));
    assert_int_equal(batch->index, t);
    weights.version++;
    assert_ok(source_next(s, t, bound, &again, &err));
    assert_ptr_equal(batch, again);
    weights.version++;
    source_done(s);
}

static void batches_come_in_order_and_age_by_the_depth(void **state) {
    (void)state;
    for (int64_t depth = 0; depth < 4; depth++) {
        start(NULL);
        struct source s;
        assert_ok(source_open(&s, &producer, depth, &err));
        for (int64_t t = 0; t < 7; t++) {
            struct batch *batch;
            uint64_t version = weights.version;
            assert_ok(source_next(&s, t, depth, &batch, &err));
            assert_int_equal(made, t + depth + 1);
            int64_t from = t > depth ? t - depth : 0;
            assert_int_equal(batch->made, from);
            assert_int_equal(batch->rollouts.version[0], version - 2 * (uint64_t)(t - from));
            iterate(&s, t, depth);
        }
        source_close(&s);
    }
}

static void what_came_in_is_told(void **state) {
    (void)state;
    struct source s;
    struct batch *batch;
    assert_ok(source_open(&s, &producer, 2, &err));
    assert_ok(source_next(&s, 0, 2, &batch, &err));
    struct batch_stats fresh = source_fresh(&s, 0); /* all that fills the queue */
    assert_int_equal(fresh.tokens, 12);
    assert_true(fresh.seconds_rollout == 1.5 && fresh.reward_mean == 2);
    source_done(&s);
    assert_ok(source_next(&s, 1, 2, &batch, &err));
    fresh = source_fresh(&s, 1);
    assert_int_equal(fresh.tokens, 4);
    assert_true(fresh.seconds_rollout == 0.5 && fresh.reward_mean == 3);
    source_close(&s);
}

static void older_rollouts_than_the_bound_are_refused(void **state) {
    (void)state;
    struct source s;
    struct batch *batch;
    /* A queue of two iterations does not keep a promise of one: batch 2 is still from the initial weights. */
    assert_ok(source_open(&s, &producer, 2, &err));
    iterate(&s, 0, 1);
    iterate(&s, 1, 1);
    assert_int_equal(source_next(&s, 2, 1, &batch, &err), OPSM_INTERNAL);
    assert_string_equal(err.text, "batch 2 has rollouts of weights 7, iteration 2 may have none older than weights 9: "
                                  "a staleness of at most 1");
    source_done(&s);
    assert_int_equal(source_next(&s, 2, 2, &batch, &err), OPSM_INTERNAL); /* it is gone */
    assert_non_null(strstr(err.text, "no batch for iteration 2"));
    source_close(&s);

    /* The oldest counts, and the bound is not one version looser than it says. */
    start(NULL);
    assert_ok(source_open(&s, &producer, 1, &err));
    iterate(&s, 0, 1);
    iterate(&s, 1, 1);
    behind = 1;
    iterate(&s, 2, 1); /* made before */
    assert_int_equal(source_next(&s, 3, 1, &batch, &err), OPSM_INTERNAL);
    assert_non_null(strstr(err.text, "batch 3 has rollouts of weights 10,"));
    source_close(&s);
}

static void write_to(const char *path, const struct source *s) {
    struct record_out out;
    assert_ok(record_create(&out, path, "opsmTEST", 1, &err));
    source_write(s, &out);
    assert_ok(record_commit(&out, &err));
}

static opsm_status read_from(const char *path, struct source *s) {
    struct record_in in;
    assert_ok(record_open(&in, path, "opsmTEST", 1, &err));
    opsm_status status = source_read(s, &in, &err);
    if (status == OPSM_OK) status = record_finish(&in, &err);
    record_close(&in);
    return status;
}

/* Saved between two steps of an iteration, when the weights are not those with which it began. */
static void a_checkpoint_brings_it_back(void **state) {
    (void)state;
    char path[] = "/tmp/opsm-source-XXXXXX";
    close(mkstemp(path));
    struct source s, back, other;
    struct batch *batch;
    assert_ok(source_open(&s, &producer, 2, &err));
    for (int64_t t = 0; t < 4; t++) iterate(&s, t, 2);
    assert_ok(source_next(&s, 4, 2, &batch, &err));
    weights.version++;
    write_to(path, &s);

    assert_ok(source_open(&back, &producer, 2, &err));
    iterate(&back, 0, 2); /* what it held is gone */
    assert_ok(read_from(path, &back));
    assert_int_equal(back.n, 3);
    assert_int_equal(back.next, 7);
    int before = made;
    assert_ok(source_next(&back, 4, 2, &batch, &err));
    assert_int_equal(made, before);
    struct batch_stats fresh = source_fresh(&back, 4);
    assert_true(fresh.tokens == 4 && fresh.reward_mean == 6);
    assert_memory_equal(s.versions, back.versions, 3 * sizeof *s.versions);
    iterate(&back, 4, 2);
    iterate(&back, 5, 2);

    assert_ok(source_open(&other, &producer, 1, &err));
    assert_int_equal(read_from(path, &other), OPSM_FORMAT);
    assert_int_equal(other.n, 0);
    s.queue[1].index = 9;
    write_to(path, &s);
    assert_int_equal(read_from(path, &back), OPSM_FORMAT);
    assert_non_null(strstr(err.text, "batch 9 is not the next one"));
    assert_true(back.n == 0 && back.next == 0 && back.iterations == 0);
    source_close(&s);
    source_close(&back);
    source_close(&other);
    unlink(path);
}

static void out_of_memory_leaves_the_queue_as_it_was(void **state) {
    (void)state;
    struct source s;
    struct batch *batch;
    assert_ok(source_open(&s, &producer, 1, &err));
    iterate(&s, 0, 1);
    opsm_status status = OPSM_NOMEM;
    for (int nth = 1; status == OPSM_NOMEM; nth++) {
        mem_fail_at(nth);
        status = source_next(&s, 1, 1, &batch, &err);
        mem_fail_at(0);
        if (status == OPSM_NOMEM) assert_int_equal(s.n, 1);
    }
    assert_ok(status);
    assert_int_equal(batch->index, 1);
    assert_int_equal(s.next, 3);
    source_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(batches_come_in_order_and_age_by_the_depth, start),
        cmocka_unit_test_setup(what_came_in_is_told, start),
        cmocka_unit_test_setup(older_rollouts_than_the_bound_are_refused, start),
        cmocka_unit_test_setup(a_checkpoint_brings_it_back, start),
        cmocka_unit_test_setup(out_of_memory_leaves_the_queue_as_it_was, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
