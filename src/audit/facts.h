/* SPDX-License-Identifier: Apache-2.0
 *
 * What the doctor knows of a file: counts and sums over its rows, in bounded memory.
 */
#ifndef OPSM_AUDIT_FACTS_H
#define OPSM_AUDIT_FACTS_H
#include "audit/pair.h"
#include "audit/rows.h"

enum { FACTS_LENGTHS = 1 << 16, FACTS_RECENT = 1 << 16 };

/* The ids of one row: a table of those met so far, and a mark for each that was met before. */
struct audit_repeats {
    int64_t *slots;
    uint32_t *rows; /* in which row a slot was filled */
    size_t room;
    uint32_t row;
    uint8_t *marks;
    int64_t marks_room;
};

struct audit_facts {
    int64_t rows, first_step_rows, empty_rows;        /* empty: no token in the loss */
    int64_t cut_rows, ended_rows;                     /* by the limit, by themselves, where the file says so */
    int64_t behavior_rows, tokens;                    /* with logp_behavior; tokens in the loss */
    int64_t integers, texts;                          /* rows by the type of their group's id */
    int64_t values, positive, unit, unknown;          /* log-probs in the loss: all, above 0, in (0, 1], null */
    int64_t filled, lowest, filled_rows, lead_rows;   /* tokens with a filler; of these far below; rows; see below */
    int64_t ids_rows, differing_rows, differing;      /* with ids; whose tokens_behavior differ; elements that do */
    int64_t repeats, repeated_rows;                   /* long rows that are an earlier one again; compared */
    int64_t stated, stated_negative, stated_absolute; /* "drift" given; of a negative mean; its absolute value */
    int64_t stated_unsigned;                          /* above 0 where the mean is negative */
    int64_t stated_positive, stated_mirrored;         /* of a positive mean; of these, minus the mean */
    int64_t dropped, dropped_likelier;                /* by the trainer; of these, of a negative mean */
    int64_t masked_likelier;                          /* no token in the loss, negative mean, A < 0 or unknown */
    double masked_least, unmasked_most;               /* |mean| of those, and of such rows that are in the loss */
    int64_t length_low, length_high;
    struct audit_pair current, trainer; /* b against c, b against p */
    uint32_t *lengths;                  /* [FACTS_LENGTHS] rows by tokens in the loss */
    uint64_t *recent;                   /* [FACTS_RECENT] hashes of rows, the newer in place of the older */
    struct audit_repeats ids;
};

opsm_status audit_facts_start(struct audit_facts *facts, opsm_error *err);
opsm_status audit_facts_add(struct audit_facts *facts, const struct audit_group *group, const struct audit_row *row,
                            opsm_error *err);
void audit_facts_free(struct audit_facts *facts);

#endif
