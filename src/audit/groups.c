/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/groups.h"
#include "base/mem.h"
#include <math.h>

static struct audit_group_facts *slot_of(const struct audit_groups *groups, uint64_t key) {
    size_t at = (size_t)(key * 0x9E3779B97F4A7C15u >> 20) & (groups->room - 1);
    while (groups->slots[at].key != 0 && groups->slots[at].key != key) at = (at + 1) & (groups->room - 1);
    return &groups->slots[at];
}

static opsm_status make_room(struct audit_groups *groups, opsm_error *err) {
    if (groups->used * 2 < groups->room) return OPSM_OK;
    struct audit_groups grown = {.room = groups->room ? 2 * groups->room : 256, .used = groups->used};
    grown.slots = mem_zalloc(grown.room, sizeof *grown.slots);
    if (!grown.slots) return mem_exhausted(err, "the list of groups", grown.room * sizeof *grown.slots);
    for (size_t k = 0; k < groups->room; k++)
        if (groups->slots[k].key) *slot_of(&grown, groups->slots[k].key) = groups->slots[k];
    mem_free(groups->slots);
    *groups = grown;
    return OPSM_OK;
}

void audit_groups_free(struct audit_groups *groups) {
    mem_free(groups->slots);
    *groups = (struct audit_groups){0};
}

/* The ids before the first loss token, hashed; 0 where there are none or they are unknown, and where the row is out of
 * the loss as a whole: nobody knows where its response begins. */
static uint64_t prompt_hash(const struct audit_group *group, const struct audit_row *row) {
    uint64_t h = 0xcbf29ce484222325u;
    if (!row->has_ids || row->length == 0 || group->mask[row->first]) return 0;
    int64_t t = row->first, end = row->first + row->length;
    for (; t < end && !group->mask[t]; t++) h = (h ^ (uint64_t)group->ids[t]) * 0x100000001b3u;
    return t < end ? h | 1 : 0;
}

static void note_signal(struct audit_group_facts *facts, const struct audit_group *group, const struct audit_row *row) {
    if (row->given == AUDIT_FROM_REWARD) {
        facts->low = facts->from_rewards ? fmin(facts->low, row->reward) : row->reward;
        facts->high = facts->from_rewards ? fmax(facts->high, row->reward) : row->reward;
        facts->from_rewards = true;
        return;
    }
    for (int64_t t = row->first; t < row->first + row->length && !facts->signal; t++)
        facts->signal = group->mask[t] && group->columns[AUDIT_ADVANTAGE][t] != 0;
    if (row->given != AUDIT_PER_SEQUENCE || !isfinite(row->reward)) return;
    double advantage = (double)row->advantage;
    facts->n++;
    facts->r += row->reward;
    facts->a += advantage;
    facts->ra += row->reward * advantage;
}

opsm_status audit_groups_add(struct audit_groups *groups, const struct audit_group *group, const struct audit_row *row,
                             bool *first, opsm_error *err) {
    opsm_status status = make_room(groups, err);
    if (status != OPSM_OK) return status;
    struct audit_group_facts *facts = slot_of(groups, group->key);
    *first = facts->key == 0;
    if (*first) {
        *facts = (struct audit_group_facts){.key = group->key, .twin = group->twin, .version = -1};
        groups->used++;
    }
    facts->rows++;
    uint64_t prompt = prompt_hash(group, row);
    facts->prompts |= prompt && facts->prompt && prompt != facts->prompt;
    if (!facts->prompt) facts->prompt = prompt;
    facts->versions |= row->version >= 0 && facts->version >= 0 && row->version != facts->version;
    if (facts->version < 0) facts->version = row->version;
    note_signal(facts, group, row);
    return OPSM_OK;
}

static void count(const struct audit_groups *groups, const struct audit_group_facts *facts,
                  struct audit_group_counts *counts) {
    bool differs = facts->from_rewards && facts->low != facts->high;
    counts->groups++;
    counts->silent += !facts->signal && !differs;
    counts->single += facts->rows == 1;
    counts->single_computed += facts->rows == 1 && facts->from_rewards;
    counts->versions += facts->versions;
    counts->prompts += facts->prompts;
    /* Each pair once: from the side of the smaller key. */
    if (facts->twin > facts->key) counts->twins += slot_of(groups, facts->twin)->key != 0;
    if (facts->from_rewards) {
        counts->reward_low = counts->computed ? fmin(counts->reward_low, facts->low) : facts->low;
        counts->reward_high = counts->computed ? fmax(counts->reward_high, facts->high) : facts->high;
        counts->computed++;
    }
    if (facts->n < 2) return;
    double together = facts->ra - facts->r * facts->a / facts->n;
    counts->compared++;
    counts->conflicts += together < -1e-6 * (fabs(facts->ra) + fabs(facts->r * facts->a) / facts->n);
}

void audit_groups_count(const struct audit_groups *groups, struct audit_group_counts *counts) {
    *counts = (struct audit_group_counts){0};
    for (size_t k = 0; k < groups->room; k++)
        if (groups->slots[k].key) count(groups, &groups->slots[k], counts);
}
