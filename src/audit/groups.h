/* SPDX-License-Identifier: Apache-2.0
 *
 * What a file holds of each distinct group, whatever the order of its rows.
 */
#ifndef OPSM_AUDIT_GROUPS_H
#define OPSM_AUDIT_GROUPS_H
#include "audit/rows.h"

struct audit_group_facts {
    uint64_t key, twin; /* of the id, never 0; of the same id written as the other type (1 and "1"), 0: there is none */
    int64_t rows, version;     /* version of the first row that gives one, -1: none */
    uint64_t prompt;           /* hash of the ids before the first loss token of the first row with any; 0: none */
    double low, high;          /* rewards of the rows without an advantage of their own */
    double n, r, a, ra;        /* sums over rows with both a reward and an advantage */
    bool signal, from_rewards; /* some given advantage is not 0; some advantage is to be computed */
    bool versions, prompts;    /* they differ between rows */
};

/* Open addressing, a power of two of slots, key 0 marks a free one. */
struct audit_groups {
    struct audit_group_facts *slots;
    size_t room, used;
};

/* Counts a row of a named group into its facts; *first says whether the group is new. */
opsm_status audit_groups_add(struct audit_groups *groups, const struct audit_group *group, const struct audit_row *row,
                             bool *first, opsm_error *err);
void audit_groups_free(struct audit_groups *groups);

/* Distinct groups by what is odd about them. */
struct audit_group_counts {
    int64_t groups, computed;       /* all; with an advantage to compute from rewards */
    int64_t silent, single, twins;  /* without signal; of one row; ids that occur as both types */
    int64_t single_computed;        /* of one row whose advantage is computed from rewards */
    int64_t versions, prompts;      /* one id with several of them */
    int64_t compared, conflicts;    /* with rewards and advantages to compare; where they point apart */
    double reward_low, reward_high; /* over all rows that give rewards and no advantage */
};

void audit_groups_count(const struct audit_groups *groups, struct audit_group_counts *counts);

#endif
