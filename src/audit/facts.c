/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/facts.h"
#include "base/mem.h"
#include <math.h>
#include <string.h>

enum { DUPLICATE_MIN = 32, LEAD_MIN = 3 };
/* Nobody samples what has a probability below e^-50; weights that have moved on may find it far less likely still. */
static const double LOWEST_SAMPLED = -50, LOWEST = -1000;

opsm_status audit_facts_start(struct audit_facts *facts, opsm_error *err) {
    *facts = (struct audit_facts){.length_low = INT64_MAX, .masked_least = INFINITY};
    facts->lengths = mem_zalloc(FACTS_LENGTHS, sizeof *facts->lengths);
    facts->recent = mem_zalloc(FACTS_RECENT, sizeof *facts->recent);
    if (facts->lengths && facts->recent) return OPSM_OK;
    audit_facts_free(facts);
    return mem_exhausted(err, "the doctor's counts", FACTS_RECENT * sizeof *facts->recent);
}

void audit_facts_free(struct audit_facts *facts) {
    mem_free(facts->lengths);
    mem_free(facts->recent);
    mem_free(facts->ids.slots);
    mem_free(facts->ids.rows);
    mem_free(facts->ids.marks);
    *facts = (struct audit_facts){0};
}

/* ---- Repeated ids ---- */

static opsm_status repeats_room(struct audit_repeats *ids, int64_t n, opsm_error *err) {
    if (n > ids->marks_room) {
        size_t room = 1024;
        while (room < 2 * (size_t)n) room *= 2;
        mem_free(ids->slots);
        mem_free(ids->rows);
        mem_free(ids->marks);
        ids->slots = mem_alloc(room, sizeof *ids->slots);
        ids->rows = mem_zalloc(room, sizeof *ids->rows);
        ids->marks = mem_alloc(room / 2, 1);
        ids->marks_room = ids->slots && ids->rows && ids->marks ? (int64_t)(room / 2) : 0;
        if (ids->marks_room == 0) return mem_exhausted(err, "a row's token ids", room * 13);
        ids->room = room;
        ids->row = 0;
    }
    if (ids->row == UINT32_MAX) {
        memset(ids->rows, 0, ids->room * sizeof *ids->rows);
        ids->row = 0;
    }
    ids->row++;
    return OPSM_OK;
}

static bool met_before(struct audit_repeats *ids, int64_t id) {
    size_t at = (size_t)((uint64_t)id * 0x9E3779B97F4A7C15u >> 20) & (ids->room - 1);
    while (ids->rows[at] == ids->row && ids->slots[at] != id) at = (at + 1) & (ids->room - 1);
    bool met = ids->rows[at] == ids->row;
    ids->rows[at] = ids->row;
    ids->slots[at] = id;
    return met;
}

/* Marks for the row's elements; *marks is NULL where the ids are unknown. Prompts count as met: engines penalise their
 * tokens too. */
static opsm_status mark_repeats(struct audit_facts *facts, const struct audit_group *group, const struct audit_row *row,
                                const uint8_t **marks, opsm_error *err) {
    *marks = NULL;
    if (!row->has_ids || row->length == 0) return OPSM_OK;
    opsm_status status = repeats_room(&facts->ids, row->length, err);
    if (status != OPSM_OK) return status;
    for (int64_t t = 0; t < row->length; t++) facts->ids.marks[t] = met_before(&facts->ids, group->ids[row->first + t]);
    *marks = facts->ids.marks;
    return OPSM_OK;
}

/* ---- One row ---- */

static void note_value(struct audit_facts *facts, float x) {
    facts->values++;
    facts->unknown += !isfinite(x);
    facts->positive += x > 1e-3F;
    facts->unit += x > 0 && x <= 1;
}

/* A number far below every log-prob. */
static bool is_lowest(double b, double c) {
    return b <= LOWEST_SAMPLED || c <= LOWEST;
}

/* 0 beside a log-prob that is far from it. */
static bool is_zero(double b, double c) {
    return (b == 0 && c < -3) || (c == 0 && b < -3);
}

static void note_values(struct audit_facts *facts, const struct audit_group *group, const struct audit_row *row) {
    const float *b = group->columns[AUDIT_BEHAVIOR] + row->first, *c = group->columns[AUDIT_CURRENT] + row->first;
    const uint8_t *mask = group->mask + row->first;
    bool has = row->has[AUDIT_BEHAVIOR];
    int64_t lead = 0, zeros = 0, lowest = 0, tokens = 0;
    for (int64_t t = 0; t < row->length; t++) {
        if (!mask[t]) continue;
        note_value(facts, c[t]);
        if (has) note_value(facts, b[t]);
        zeros += has && is_zero((double)b[t], (double)c[t]);
        lowest += is_lowest(has ? (double)b[t] : -1, (double)c[t]);
        lead += lead == tokens && c[t] == 0 && (!has || b[t] == 0);
        tokens++;
    }
    facts->tokens += tokens;
    facts->filled += zeros + lowest;
    facts->lowest += lowest;
    facts->filled_rows += zeros + lowest > 0;
    /* A prompt that was left in the loss: its tokens have 0 where nothing predicted them. */
    facts->lead_rows += lead >= LEAD_MIN && lead < tokens;
    facts->empty_rows += tokens == 0;
    facts->lengths[tokens < FACTS_LENGTHS ? tokens : FACTS_LENGTHS - 1]++;
    if (tokens < facts->length_low) facts->length_low = tokens;
    if (tokens > facts->length_high) facts->length_high = tokens;
}

/* Mean of b - c over the loss; over everything known where the trainer took the whole row out of the loss. */
static double mean_drift(const struct audit_group *group, const struct audit_row *row, bool *whole_row_masked) {
    const float *b = group->columns[AUDIT_BEHAVIOR] + row->first, *c = group->columns[AUDIT_CURRENT] + row->first;
    double sum[2] = {0}, n[2] = {0};
    for (int64_t t = 0; t < row->length; t++) {
        double d = (double)b[t] - (double)c[t];
        bool in = group->mask[row->first + t];
        if (!isfinite(d) || (!in && b[t] == 0)) continue;
        sum[in] += d;
        n[in]++;
    }
    *whole_row_masked = n[1] == 0 && n[0] > 0;
    return n[1] > 0 ? sum[1] / n[1] : n[0] > 0 ? sum[0] / n[0] : (double)NAN;
}

/* What the trainer says of its own mask, against what the log-probs say. */
static void note_decisions(struct audit_facts *facts, const struct audit_group *group, const struct audit_row *row) {
    bool masked = false;
    double mean = mean_drift(group, row, &masked);
    if (!isfinite(mean)) return;
    bool likelier = mean < -1e-4, negative = row->given != AUDIT_PER_SEQUENCE || row->advantage < 0;
    facts->dropped += row->trainer_keep == 0;
    facts->dropped_likelier += row->trainer_keep == 0 && likelier;
    if (likelier && negative && masked) {
        facts->masked_likelier++;
        facts->masked_least = fmin(facts->masked_least, -mean);
    } else if (likelier && negative) {
        facts->unmasked_most = fmax(facts->unmasked_most, -mean);
    }
    if (!isfinite(row->trainer_drift)) return;
    facts->stated++;
    facts->stated_negative += likelier;
    bool opposite = fabs(row->trainer_drift + mean) < 0.02 * fabs(mean) + 1e-5;
    facts->stated_absolute += likelier && opposite;
    facts->stated_unsigned += likelier && row->trainer_drift > 0;
    facts->stated_positive += mean > 1e-4;
    facts->stated_mirrored += mean > 1e-4 && opposite;
}

static uint64_t mix(uint64_t h, uint64_t x) {
    h = (h ^ x) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 29;
}

/* Tokens and both log-probs bit for bit. Short answers are often drawn twice, long ones hardly ever. */
static void note_duplicate(struct audit_facts *facts, const struct audit_group *group, const struct audit_row *row) {
    int64_t tokens = 0;
    for (int64_t t = row->first; t < row->first + row->length; t++) tokens += group->mask[t];
    if (tokens < DUPLICATE_MIN) return;
    uint64_t h = mix(group->key, (uint64_t)row->length);
    for (int64_t t = row->first; t < row->first + row->length; t++) {
        uint32_t bits[2];
        memcpy(&bits[0], &group->columns[AUDIT_BEHAVIOR][t], sizeof bits[0]);
        memcpy(&bits[1], &group->columns[AUDIT_CURRENT][t], sizeof bits[1]);
        h = mix(h, (uint64_t)bits[0] << 32 | bits[1]);
        if (row->has_ids) h = mix(h, (uint64_t)group->ids[t]);
    }
    uint64_t *slot = &facts->recent[h >> 48 & (FACTS_RECENT - 1)];
    facts->repeated_rows++;
    facts->repeats += *slot == h;
    *slot = h;
}

opsm_status audit_facts_add(struct audit_facts *facts, const struct audit_group *group, const struct audit_row *row,
                            opsm_error *err) {
    const uint8_t *marks;
    opsm_status status = mark_repeats(facts, group, row, &marks, err);
    if (status != OPSM_OK) return status;
    facts->rows++;
    facts->first_step_rows += row->first_step;
    facts->cut_rows += row->cut;
    facts->ended_rows += row->ended;
    facts->integers += group->named && !group->text;
    facts->texts += group->named && group->text;
    facts->ids_rows += row->has_ids;
    facts->differing_rows += row->ids_differ > 0;
    facts->differing += row->ids_differ;
    note_values(facts, group, row);
    note_duplicate(facts, group, row);
    if (!row->has[AUDIT_BEHAVIOR]) return OPSM_OK;
    facts->behavior_rows++;
    note_decisions(facts, group, row);
    const float *b = group->columns[AUDIT_BEHAVIOR] + row->first;
    const uint8_t *mask = group->mask + row->first;
    audit_pair_add(&facts->current, b, group->columns[AUDIT_CURRENT] + row->first, mask, marks, row->length);
    if (row->has[AUDIT_TRAINER])
        audit_pair_add(&facts->trainer, b, group->columns[AUDIT_TRAINER] + row->first, mask, marks, row->length);
    return OPSM_OK;
}
