/* SPDX-License-Identifier: Apache-2.0
 *
 * Recorded rollouts as they are read: what a row may hold, what is refused, and what the doctor keeps of its groups.
 */
#include "audit/rows.h"
#include "audit_fixture.h"

static struct audit_rows *open_rows(const char *text) {
    struct audit_rows *rows;
    audit_write(text);
    assert_ok(audit_rows_open(&rows, audit_path, "r", &err));
    return rows;
}

#define BC "\"logp_behavior\":[-1,-2],\"logp_current\":[-1.5,-2.5]"

static void rows_of_a_group_follow_one_another(void **state) {
    (void)state;
    struct audit_rows *rows = open_rows("{\"group\":1,\"reward\":1," BC "}\n{\"group\":1,\"reward\":0," BC "}\n"
                                        "{\"group\":\"1\"," BC "}\n{" BC "}\n{" BC "}\n");
    static const int64_t sizes[] = {2, 1, 1, 1};
    uint64_t keys[4], twins[4];
    const struct audit_group *group;
    for (int i = 0; i < 4; i++) {
        assert_ok(audit_rows_next(rows, true, &group, &err));
        assert_non_null(group);
        assert_int_equal(group->n_rows, sizes[i]);
        assert_int_equal(group->named, i < 2);
        assert_int_equal(group->text, i == 1);
        keys[i] = group->key;
        twins[i] = group->twin;
    }
    assert_true(keys[0] != keys[1] && keys[0] != 0 && keys[2] == 0);
    assert_true(twins[0] == keys[1] && twins[1] == keys[0]); /* 1 and "1" */
    assert_ok(audit_rows_next(rows, true, &group, &err));
    assert_null(group);
    audit_rows_close(rows);
}

static void only_integers_have_a_twin(void **state) {
    (void)state;
    static const char *const ids[] = {"\"-7\"", "-7", "\"\"", "\"-\"", "\"1x\"", "\"x\"", "\"99999999999999999999\""};
    static const bool twin[] = {true, true, false, false, false, false, false};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        char text[200];
        snprintf(text, sizeof text, "{\"group\":%s," BC "}\n", ids[i]);
        struct audit_rows *rows = open_rows(text);
        const struct audit_group *group;
        assert_ok(audit_rows_next(rows, true, &group, &err));
        assert_int_equal(group->twin != 0, twin[i]);
        audit_rows_close(rows);
    }
}

static struct audit_row row_of(struct audit_rows *rows, const struct audit_group **group) {
    assert_ok(audit_rows_next(rows, false, group, &err));
    assert_non_null(*group);
    assert_int_equal((*group)->n_rows, 1);
    return (*group)->rows[0];
}

static void what_the_doctor_looks_at_may_be_anything(void **state) {
    (void)state;
    struct audit_rows *rows = open_rows(
        "{" BC ",\"tokens\":[3,-4],\"tokens_behavior\":[3,4],\"finish\":\"length\",\"drift\":0.5,\"keep\":false}\n"
        "{" BC ",\"tokens\":[\"a\",\"b\"],\"tokens_behavior\":[\"a\",\"b\"],\"finished\":true,\"keep\":true}\n"
        "{" BC ",\"tokens\":[1,null],\"finish\":\"stop\"}\n"
        "{" BC ",\"tokens\":7,\"tokens_behavior\":{},\"finish\":[],\"finished\":\"no\",\"drift\":\"x\",\"keep\":0.5}\n"
        "{" BC ",\"keep\":1.0}\n"
        "{" BC ",\"logp_trainer\":[null,null],\"logp_reference\":[],\"keep\":0}\n");
    const struct audit_group *group;
    struct audit_row row = row_of(rows, &group);
    assert_true(row.has_ids && row.cut && !row.ended);
    assert_int_equal(group->ids[1], -4);
    assert_int_equal(row.ids_differ, 1);
    assert_near(row.trainer_drift, 0.5, 0);
    assert_int_equal(row.trainer_keep, 0);
    row = row_of(rows, &group);
    assert_true(row.has_ids && row.ended && !row.cut && group->ids[0] != group->ids[1]);
    assert_int_equal(row.ids_differ, 0);
    assert_int_equal(row.trainer_keep, 1);
    row = row_of(rows, &group);
    assert_true(!row.has_ids && row.ended && !row.cut);
    row = row_of(rows, &group);
    assert_true(!row.has_ids && !row.ended && !row.cut && isnan(row.trainer_drift));
    assert_int_equal(row.trainer_keep, -1);
    assert_int_equal(row_of(rows, &group).trainer_keep, 1);
    row = row_of(rows, &group);
    assert_int_equal(row.trainer_keep, 0);
    assert_true(!row.has[AUDIT_TRAINER] && !row.has[AUDIT_REFERENCE] && row.has[AUDIT_BEHAVIOR]);
    audit_rows_close(rows);
}

static void lengths_that_disagree_are_refused(void **state) {
    (void)state;
    static const char *const more[] = {"\"tokens\":[1]", "\"tokens_behavior\":[1,2,3]", "\"logp_trainer\":[-1]",
                                       "\"advantage\":[1]"};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        char text[200];
        snprintf(text, sizeof text, "\n{" BC ",%s}\n", more[i]);
        struct audit_rows *rows = open_rows(text);
        const struct audit_group *group;
        assert_int_equal(audit_rows_next(rows, false, &group, &err), OPSM_FORMAT);
        if (!strstr(err.text, "'r', line 2: ") || !strstr(err.text, "one length") ||
            !strstr(err.text, "tokenised again"))
            fail_msg("%s", err.text);
        audit_rows_close(rows);
    }
}

/* ---- the whole ---- */

static const char *const FILE_TEXT = "{\"group\":1,\"reward\":1,\"tokens\":[5,6]," BC ",\"logp_trainer\":[-1,-2]}\n"
                                     "{\"group\":2,\"reward\":1,\"tokens\":[5,6]," BC ",\"logp_trainer\":[-1,-2]}\n"
                                     "{\"group\":2,\"reward\":0,\"tokens\":[5,6]," BC ",\"logp_trainer\":[-1,-2]}\n"
                                     "{\"group\":1,\"reward\":0,\"tokens\":[5,6]," BC ",\"logp_trainer\":[-1,-2]}\n";

static opsm_status audited(bool json) {
    struct audit_options *options = audit_options_new();
    FILE *out = fopen("/dev/null", "w");
    assert_non_null(out);
    options->json = json;
    opsm_status status = audit_run(options, out, &err);
    fclose(out);
    free(options);
    return status;
}

static void running_out_of_memory_is_a_sentence(void **state) {
    (void)state;
    audit_write(FILE_TEXT);
    for (int json = 0; json < 2; json++) {
        int failures = 0;
        for (int nth = 1; nth < 1000; nth++) {
            mem_fail_at(nth);
            opsm_status status = audited(json);
            mem_fail_at(0);
            if (status == OPSM_OK) break;
            if (status != OPSM_NOMEM) print_error("allocation %d: %s\n", nth, err.text);
            assert_int_equal(status, OPSM_NOMEM);
            failures++;
        }
        assert_true(failures > 15 && failures < 900);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_a_group_follow_one_another),       cmocka_unit_test(only_integers_have_a_twin),
        cmocka_unit_test(what_the_doctor_looks_at_may_be_anything), cmocka_unit_test(lengths_that_disagree_are_refused),
        cmocka_unit_test(running_out_of_memory_is_a_sentence),
    };
    return cmocka_run_group_tests(tests, audit_setup, audit_teardown);
}
