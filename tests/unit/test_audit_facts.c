/* SPDX-License-Identifier: Apache-2.0
 *
 * What the doctor knows of a file: every count over its rows and its groups, from files of a few rows.
 */
#include "audit_fixture.h"

struct counted {
    struct audit_facts facts;
    struct audit_groups groups;
    struct audit_group_counts counts;
    int64_t firsts; /* rows that were the first of their group */
};

static struct counted *count(const char *text) {
    struct counted *x = calloc(1, sizeof *x);
    struct audit_rows *rows;
    const struct audit_group *group;
    assert_non_null(x);
    audit_write(text);
    assert_ok(audit_facts_start(&x->facts, &err));
    assert_ok(audit_rows_open(&rows, audit_path, "r", &err));
    for (;;) {
        assert_ok(audit_rows_next(rows, false, &group, &err));
        if (!group) break;
        bool first = false;
        assert_ok(audit_facts_add(&x->facts, group, &group->rows[0], &err));
        if (group->named) assert_ok(audit_groups_add(&x->groups, group, &group->rows[0], &first, &err));
        x->firsts += first;
    }
    audit_rows_close(rows);
    audit_groups_count(&x->groups, &x->counts);
    return x;
}

static void discard(struct counted *x) {
    audit_facts_free(&x->facts);
    audit_groups_free(&x->groups);
    free(x);
}

#define ROW(b, c, more) "{\"logp_behavior\":" b ",\"logp_current\":" c more "}\n"
#define BC              ROW("[-1,-2]", "[-1.1,-2.1]", "")
#define WITH(more)      ROW("[-1,-2]", "[-1.1,-2.1]", "," more)

/* ---- rows ---- */

static void rows_are_counted_by_what_they_say(void **state) {
    (void)state;
    struct counted *x = count(BC WITH("\"step\":0") WITH("\"finish\":\"length\",\"step\":1") WITH("\"finish\":\"stop\"")
                                  WITH("\"group\":1") WITH("\"group\":\"a\"") WITH("\"group\":\"b\"")
                                      WITH("\"tokens\":[1,2],\"tokens_behavior\":[3,4]")
                                          WITH("\"tokens\":[1,2],\"tokens_behavior\":[1,4]") WITH("\"tokens\":[1,2]")
                                              WITH("\"mask\":[0,0]") "{\"logp_current\":[-1,-2]}\n");
    const struct audit_facts *f = &x->facts;
    assert_int_equal(f->rows, 12);
    assert_int_equal(f->behavior_rows, 11);
    assert_int_equal(f->first_step_rows, 1);
    assert_int_equal(f->cut_rows, 1);
    assert_int_equal(f->ended_rows, 1);
    assert_int_equal(f->empty_rows, 1);
    assert_int_equal(f->integers, 1);
    assert_int_equal(f->texts, 2);
    assert_int_equal(f->ids_rows, 3);
    assert_int_equal(f->differing_rows, 2);
    assert_int_equal(f->differing, 3);
    assert_int_equal(f->tokens, 22);
    assert_int_equal(f->length_low, 0);
    assert_int_equal(f->length_high, 2);
    assert_true(f->lengths[0] == 1 && f->lengths[1] == 0 && f->lengths[2] == 11);
    assert_int_equal(f->current.rows, 10); /* rows with a token to compare */
    assert_int_equal(f->trainer.rows, 0);
    discard(x);
    x = count(WITH("\"logp_trainer\":[-1,-2]") WITH("\"logp_trainer\":[-1,-2.5]"));
    assert_int_equal(x->facts.trainer.rows, 2);
    assert_int_equal(x->facts.trainer.equal_rows, 1);
    discard(x);
}

static void values_that_are_no_logprobs_are_counted(void **state) {
    (void)state;
    struct counted *x =
        count(ROW("[0.5,null,-1]", "[1.5,-2,-1]", "") ROW("[-1,-2,9]", "[-1,0.0005,9]", ",\"mask\":[1,1,0]"));
    assert_int_equal(x->facts.values, 10);
    assert_int_equal(x->facts.unknown, 1);
    assert_int_equal(x->facts.positive, 2); /* 0.0005 is rounding */
    assert_int_equal(x->facts.unit, 2);     /* but could be a probability */
    discard(x);
    /* Fillers: 0 beside a log-prob far from it, on either side, and what nobody samples. */
    x = count(ROW("[0,-1,-2,-4]", "[-5,-1,-0.5,0]", "") ROW("[-60,-1]", "[-3,-2000]", "")
                  ROW("[0,-1]", "[-1,-60]", ""));
    assert_int_equal(x->facts.filled, 4);
    assert_int_equal(x->facts.lowest, 2);
    assert_int_equal(x->facts.filled_rows, 2);
    discard(x);
}

/* A prompt that was left in the loss begins with zeros on both sides, and is not all of the row. */
static void leading_zeros_are_a_prompt(void **state) {
    (void)state;
    struct counted *x = count(ROW("[0,0,0,-1]", "[0,0,0,-2]", "") ROW("[0,0,-1,-1]", "[0,0,-1,-2]", "")
                                  ROW("[0,0,0,0]", "[0,0,0,0]", "") ROW("[-1,0,0,0]", "[-1,0,0,0]", "")
                                      ROW("[-1,0,0,0,-1]", "[-1,0,0,0,-2]", ",\"mask\":[0,1,1,1,1]"));
    assert_int_equal(x->facts.lead_rows, 2);
    discard(x);
    x = count("{\"logp_current\":[0,0,0,-1]}\n" ROW("[-1,-1,-1,-1]", "[0,0,0,-1]", ""));
    assert_int_equal(x->facts.lead_rows, 1);
    discard(x);
}

/* "drift" and "keep" as the trainer computed them, against the log-probs: means of -0.1, +0.1 and 0. */
static void the_trainers_word_is_compared(void **state) {
    (void)state;
#define UP(more)   ROW("[-1,-2]", "[-0.9,-1.9]", more)
#define DOWN(more) ROW("[-1,-2]", "[-1.1,-2.1]", more)
#define SAME(more) ROW("[-1,-2]", "[-1,-2]", more)
    struct counted *x =
        count(UP(",\"keep\":false") UP(",\"drift\":0.1,\"keep\":false") UP(",\"drift\":-0.1,\"keep\":true")
                  UP(",\"drift\":0.5") UP("") DOWN(",\"drift\":0.1,\"keep\":false") DOWN(",\"drift\":-0.1")
                      DOWN(",\"drift\":0.7,\"keep\":false") SAME(",\"drift\":0"));
    const struct audit_facts *f = &x->facts;
    assert_int_equal(f->dropped, 4);
    assert_int_equal(f->dropped_likelier, 2);
    assert_int_equal(f->stated, 7);
    assert_int_equal(f->stated_negative, 3);
    assert_int_equal(f->stated_absolute, 1);
    assert_int_equal(f->stated_unsigned, 2);
    assert_int_equal(f->stated_positive, 3);
    assert_int_equal(f->stated_mirrored, 1);
    discard(x);
}

/* Rows that the trainer took out of the loss as a whole, likelier than when they were sampled. */
static void masked_rows_are_judged_by_all_that_is_known(void **state) {
    (void)state;
    struct counted *x = count(
        UP(",\"mask\":[0,0],\"advantage\":-1") ROW("[0,-1,-2]", "[-9,-0.8,-1.8]", ",\"mask\":[0,0,0]")
            ROW("[-1,-2]", "[-0.7,-1.7]", ",\"mask\":[0,0],\"advantage\":-1") UP(",\"mask\":[0,0],\"advantage\":1")
                DOWN(",\"mask\":[0,0],\"advantage\":-1") ROW("[-1,-2]", "[-0.95,-1.95]", ",\"advantage\":-1")
                    ROW("[-1,-2]", "[-0.98,-1.98]", ",\"reward\":1") ROW("[-1,-2]", "[-0.5,-1.5]", ",\"advantage\":1"));
    assert_int_equal(x->facts.masked_likelier, 3);
    assert_near(x->facts.masked_least, 0.1, 1e-6);
    assert_near(x->facts.unmasked_most, 0.05, 1e-6);
    discard(x);
}

/* Rows of 32 tokens or more that are an earlier one of their group again, bit for bit. */
static void duplicates_are_long_rows_of_one_group(void **state) {
    (void)state;
    char text[20000] = "";
    static const struct {
        int n, group;
        double last[2]; /* of b and c */
    } rows[] = {{32, 1, {-1, -1}},   {32, 1, {-1, -1}}, {32, 2, {-1, -1}}, {32, 1, {-1, -1.5}},
                {32, 1, {-1.5, -1}}, {31, 1, {-1, -1}}, {31, 1, {-1, -1}}, {32, 1, {-1, -1}}};
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        for (int side = 0; side < 2; side++) {
            strcat(text, side ? ",\"logp_current\":[" : "{\"logp_behavior\":[");
            for (int t = 0; t < rows[k].n; t++)
                sprintf(text + strlen(text), "%s%g", t ? "," : "", t + 1 < rows[k].n ? -1.0 - t : rows[k].last[side]);
            strcat(text, "]");
        }
        sprintf(text + strlen(text), ",\"group\":%d}\n", rows[k].group);
    }
    struct counted *x = count(text);
    assert_int_equal(x->facts.repeated_rows, 6);
    assert_int_equal(x->facts.repeats, 2);
    discard(x);
}

static void repeated_ids_are_marked_within_their_row(void **state) {
    (void)state;
    /* Five tokens: 7 in the prompt, 7 again, 8, 8 again, 9; a second row knows nothing of the first. */
    struct counted *x =
        count(ROW("[-1,-1,-1,-1,-1]", "[-1.5,-1.5,-1.5,-1.5,-1.5]", ",\"tokens\":[7,7,8,8,9],\"mask\":[0,1,1,1,1]")
                  ROW("[-1,-1]", "[-1.5,-1.5]", ",\"tokens\":[8,9]") ROW("[-1]", "[-1.5]", ",\"tokens\":[null]"));
    double repeated = 0, fresh = 0;
    for (int k = 0; k < PAIR_STRATA; k++) {
        repeated += x->facts.current.repeated[k].n;
        fresh += x->facts.current.fresh[k].n;
    }
    assert_near(repeated, 2, 0);
    assert_near(fresh, 4, 0);
    discard(x);
}

/* ---- groups ---- */

static void groups_are_counted_whatever_their_order(void **state) {
    (void)state;
    struct counted *x =
        count(WITH("\"group\":1,\"reward\":1,\"version\":0") WITH("\"group\":2,\"reward\":0.5,\"version\":3")
                  WITH("\"group\":\"1\",\"advantage\":0") WITH("\"group\":1,\"reward\":0,\"version\":4")
                      WITH("\"group\":3,\"advantage\":0") WITH("\"group\":3,\"advantage\":0.5")
                          WITH("\"group\":2,\"reward\":0.5") WITH("\"group\":4,\"reward\":2"));
    const struct audit_group_counts *c = &x->counts;
    assert_int_equal(x->firsts, 5);
    assert_int_equal(c->groups, 5);
    assert_int_equal(c->computed, 3);
    assert_int_equal(c->silent, 3); /* 2: equal rewards; "1": advantage 0; 4: alone */
    assert_int_equal(c->single, 2);
    assert_int_equal(c->single_computed, 1);
    assert_int_equal(c->twins, 1);
    assert_int_equal(c->versions, 1);
    assert_near(c->reward_low, 0, 0);
    assert_near(c->reward_high, 2, 0);
    discard(x);
    struct audit_groups empty = {0};
    struct audit_group_counts nothing;
    audit_groups_count(&empty, &nothing);
    assert_int_equal(nothing.groups, 0);
}

static void prompts_are_the_ids_before_the_loss(void **state) {
    (void)state;
#define IDS(group, ids, mask) WITH("\"group\":" #group ",\"tokens\":" ids ",\"mask\":" mask)
    struct counted *x = count(IDS(1, "[5,6]", "[0,1]") IDS(1, "[7,6]", "[0,1]") /* two prompts */
                              IDS(2, "[5,6]", "[0,1]") IDS(2, "[5,9]", "[0,1]") /* one */
                              IDS(3, "[5,6]", "[0,1]") IDS(3, "[7,6]", "[1,1]") /* of the second none is known */
                              IDS(4, "[5,6]", "[0,0]") IDS(4, "[7,6]", "[0,1]") /* out of the loss: nor of the first */
                              IDS(5, "[null,6]", "[0,1]") IDS(5, "[7,6]", "[0,1]") IDS(5, "[8,6]", "[0,1]"));
    assert_int_equal(x->counts.prompts, 2);
    discard(x);
}

/* Rewards and advantages of a row that point apart within their group. */
static void advantages_are_compared_with_rewards(void **state) {
    (void)state;
#define RA(group, reward, advantage) WITH("\"group\":" #group ",\"reward\":" #reward ",\"advantage\":" #advantage)
    struct counted *x = count(RA(1, 1, 0.5) RA(1, 0, -0.5) RA(2, 1, -0.5) RA(2, 0, 0.5) RA(3, 1, 0) RA(3, 0, 0)
                                  RA(4, 1, 1) WITH("\"group\":5,\"advantage\":1") WITH("\"group\":5,\"advantage\":-1")
                                      RA(6, 5, 0.1) RA(6, 6, -0.2) RA(6, 7, -0.2) RA(7, 1, -1) RA(7, 2, -0.5));
    assert_int_equal(x->counts.compared, 5);
    assert_int_equal(x->counts.conflicts, 2);
    assert_int_equal(x->counts.computed, 0);
    discard(x);
}

/* A signal in the loss: advantages of tokens that are out of it are none. */
static void only_the_loss_carries_a_signal(void **state) {
    (void)state;
    struct counted *x = count(WITH("\"group\":1,\"advantage\":[1,0],\"mask\":[0,1]")
                                  WITH("\"group\":2,\"advantage\":[0,1],\"mask\":[0,1]"));
    assert_int_equal(x->counts.silent, 1);
    discard(x);
}

/* More groups than the first room holds, each found again. */
static void many_groups_keep_apart(void **state) {
    (void)state;
    enum { MANY = 3000 };
    char *text = malloc(MANY * 2 * 120);
    size_t used = 0;
    assert_non_null(text);
    for (int k = 0; k < 2 * MANY; k++)
        used += (size_t)sprintf(text + used, WITH("\"group\":%d,\"reward\":%d"), k % MANY, k / MANY * (k % 3 == 0));
    struct counted *x = count(text);
    assert_int_equal(x->firsts, MANY);
    assert_int_equal(x->counts.groups, MANY);
    assert_int_equal(x->counts.single, 0);
    assert_int_equal(x->counts.silent, MANY - MANY / 3);
    discard(x);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_counted_by_what_they_say),
        cmocka_unit_test(values_that_are_no_logprobs_are_counted),
        cmocka_unit_test(leading_zeros_are_a_prompt),
        cmocka_unit_test(the_trainers_word_is_compared),
        cmocka_unit_test(masked_rows_are_judged_by_all_that_is_known),
        cmocka_unit_test(duplicates_are_long_rows_of_one_group),
        cmocka_unit_test(repeated_ids_are_marked_within_their_row),
        cmocka_unit_test(groups_are_counted_whatever_their_order),
        cmocka_unit_test(prompts_are_the_ids_before_the_loss),
        cmocka_unit_test(advantages_are_compared_with_rewards),
        cmocka_unit_test(only_the_loss_carries_a_signal),
        cmocka_unit_test(many_groups_keep_apart),
    };
    return cmocka_run_group_tests(tests, audit_setup, audit_teardown);
}
