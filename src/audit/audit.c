/* SPDX-License-Identifier: Apache-2.0
 *
 * The passes of an audit: survey (counts, groups, rewards), totals where they depend on drift, evaluation.
 */
#include "audit/audit.h"
#include "audit/rows.h"
#include "base/mem.h"
#include "base/text.h"
#include <math.h>
#include <string.h>

/* Rewards of a file whose groups are not contiguous are held in memory up to this many rows. */
enum { INDEX_ROWS = 1 << 22 };

struct audit {
    const struct audit_options *options;
    struct audit_summary *summary;
    FILE *out;
    struct text text;
    struct json_writer json; /* into text */
    bool whole;              /* groups must be seen whole */
    bool from_rewards;       /* some row's advantage is computed */
    struct audit_groups groups;
    struct audit_facts facts;
    int64_t n_rows;
    int64_t *index_groups; /* [n_rows], dense in order of appearance only as keys; NULL beyond INDEX_ROWS */
    float *index_rewards;
    int64_t index_room;
    float *advantages; /* [n_rows] when groups are interleaved */
    double reward_n, reward_mean, reward_squares;
    /* One group's worth of scratch. */
    float *rewards, *group_advantages, *dlogp;
    opsm_sequence *records;
    int64_t *offsets, *ids;
    void *workspace;
    size_t workspace_size;
    int64_t rows_room, tokens_room;
};

/* ---- Survey ---- */

static opsm_status index_add(struct audit *audit, uint64_t key, double reward, opsm_error *err) {
    int64_t at = audit->n_rows;
    if (at >= INDEX_ROWS) return OPSM_OK;
    if (at >= audit->index_room) {
        int64_t room = audit->index_room ? 2 * audit->index_room : 1024;
        int64_t *groups = mem_resize(audit->index_groups, (size_t)audit->index_room, (size_t)room, sizeof *groups);
        if (groups) audit->index_groups = groups;
        float *rewards = mem_resize(audit->index_rewards, (size_t)audit->index_room, (size_t)room, sizeof *rewards);
        if (rewards) audit->index_rewards = rewards;
        if (!groups || !rewards) return mem_exhausted(err, "the list of rewards", (size_t)room * 12);
        audit->index_room = room;
    }
    audit->index_groups[at] = (int64_t)key;
    audit->index_rewards[at] = (float)reward;
    return OPSM_OK;
}

static opsm_status survey_row(struct audit *audit, const struct audit_rows *rows, const struct audit_group *group,
                              const struct audit_row *row, opsm_error *err) {
    opsm_totals *totals = &audit->summary->totals;
    for (int64_t t = row->first; t < row->first + row->length; t++) totals->tokens += group->mask[t];
    totals->sequences++;
    if ((double)row->length > totals->max_length) totals->max_length = (double)row->length;
    if (row->given == AUDIT_FROM_REWARD) {
        audit->from_rewards = true;
        if (audit->options->config.advantage == OPSM_ADVANTAGE_GIVEN)
            return audit_rows_fail(rows, row, OPSM_MISSING, "no \"advantage\", and advantage = given computes none",
                                   err);
        if (!group->named)
            return audit_rows_fail(rows, row, OPSM_MISSING,
                                   "neither \"advantage\" nor \"group\": an advantage is computed "
                                   "from the rewards of a group",
                                   err);
    }
    bool finite = isfinite(row->reward);
    if (!finite && row->given == AUDIT_FROM_REWARD)
        return audit_rows_fail(rows, row, OPSM_MISSING, "neither \"advantage\" nor a finite \"reward\"", err);
    opsm_status status = index_add(audit, group->key, row->reward, err);
    audit->n_rows++;
    if (!finite) return status;
    /* Welford: one pass, no cancellation. */
    double before = row->reward - audit->reward_mean;
    audit->reward_n++;
    audit->reward_mean += before / audit->reward_n;
    audit->reward_squares += before * (row->reward - audit->reward_mean);
    return status;
}

/* `follows`: the row before was of the same group. Rows without a group are groups of their own. */
static opsm_status survey_group(struct audit *audit, const struct audit_group *group, bool follows, opsm_error *err) {
    bool first = true;
    opsm_status status = OPSM_OK;
    if (group->named) status = audit_groups_add(&audit->groups, group, &group->rows[0], &first, err);
    audit->summary->groups += first;
    audit->summary->interleaved |= !first && !follows;
    return status;
}

static opsm_status survey(struct audit *audit, opsm_error *err) {
    struct audit_rows *rows;
    opsm_status status = audit_rows_open(&rows, audit->options->path, audit->options->name, err);
    if (status != OPSM_OK) return status;
    const struct audit_group *group;
    uint64_t previous = 0;
    while ((status = audit_rows_next(rows, false, &group, err)) == OPSM_OK && group) {
        status = survey_row(audit, rows, group, &group->rows[0], err);
        if (status == OPSM_OK) status = audit_facts_add(&audit->facts, group, &group->rows[0], err);
        if (status == OPSM_OK) status = survey_group(audit, group, group->key == previous, err);
        if (status != OPSM_OK) break;
        previous = group->key;
    }
    audit_rows_close(rows);
    return status;
}

/* Interleaved groups: all advantages at once, if the rewards were few enough to keep. */
static opsm_status resolve_interleaved(struct audit *audit, opsm_error *err) {
    const struct audit_options *options = audit->options;
    if (!audit->summary->interleaved || !audit->whole) return OPSM_OK;
    if (options->config.surrogate_name == OPSM_SURROGATE_DPO || audit->n_rows > INDEX_ROWS)
        return opsm_fail(err, OPSM_FORMAT,
                         "'%.200s': the rows of a group do not follow one another, and %s; sort the file by "
                         "\"group\"",
                         options->name,
                         options->config.surrogate_name == OPSM_SURROGATE_DPO
                             ? "surrogate.name = dpo compares whole groups"
                             : "more than 4194304 rows would have to be held in memory");
    int64_t n = audit->n_rows;
    size_t size = opsm_objective_workspace(n);
    void *workspace = mem_alloc(size, 1);
    audit->advantages = mem_alloc((size_t)n, sizeof *audit->advantages);
    opsm_status status = OPSM_OK;
    if (!workspace || !audit->advantages) status = mem_exhausted(err, "the advantages", size);
    /* Rows that give their own advantage take no part; their rewards may be missing. */
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(audit->index_rewards[i])) audit->index_rewards[i] = 0;
    opsm_batch batch;
    opsm_batch_init(&batch);
    batch.n_sequences = n;
    batch.groups = audit->index_groups;
    batch.rewards = audit->index_rewards;
    opsm_group_stats stats;
    if (status == OPSM_OK)
        status = opsm_advantages(&options->config, &batch, audit->advantages, &stats, workspace, size, err);
    mem_free(workspace);
    return status;
}

/* ---- Scratch for one group ---- */

static void free_rows(struct audit *audit) {
    mem_free(audit->rewards);
    mem_free(audit->group_advantages);
    mem_free(audit->records);
    mem_free(audit->offsets);
    mem_free(audit->ids);
    mem_free(audit->workspace);
}

static opsm_status reserve(struct audit *audit, int64_t n_rows, int64_t n_tokens, opsm_error *err) {
    if (n_rows > audit->rows_room) {
        int64_t room = 2 * n_rows;
        free_rows(audit);
        audit->rows_room = room;
        audit->workspace_size = opsm_objective_workspace(room);
        audit->rewards = mem_alloc((size_t)room, sizeof *audit->rewards);
        audit->group_advantages = mem_alloc((size_t)room, sizeof *audit->group_advantages);
        audit->records = mem_alloc((size_t)room, sizeof *audit->records);
        audit->offsets = mem_alloc((size_t)room + 1, sizeof *audit->offsets);
        audit->ids = mem_alloc((size_t)room, sizeof *audit->ids);
        audit->workspace = mem_alloc(audit->workspace_size, 1);
        if (!audit->rewards || !audit->group_advantages || !audit->records || !audit->offsets || !audit->ids ||
            !audit->workspace)
            return mem_exhausted(err, "a group's results", audit->workspace_size);
    }
    if (n_tokens > audit->tokens_room) {
        mem_free(audit->dlogp);
        audit->tokens_room = 2 * n_tokens;
        audit->dlogp = mem_alloc((size_t)audit->tokens_room, sizeof *audit->dlogp);
        if (!audit->dlogp) return mem_exhausted(err, "a group's gradient", (size_t)audit->tokens_room * 4);
    }
    return OPSM_OK;
}

static void release(struct audit *audit) {
    audit_groups_free(&audit->groups);
    audit_facts_free(&audit->facts);
    mem_free(audit->index_groups);
    mem_free(audit->index_rewards);
    mem_free(audit->advantages);
    free_rows(audit);
    mem_free(audit->dlogp);
    text_free(&audit->text);
}

/* ---- Advantages of a group ---- */

/* Rewards of a contiguous group -> group_advantages. By `batch` the mean is the group's, the scale the file's. */
static opsm_status compute_advantages(struct audit *audit, const struct audit_group *group, opsm_error *err) {
    opsm_objective config = audit->options->config;
    bool batch_scale = config.advantage == OPSM_ADVANTAGE_BATCH;
    if (batch_scale) config.advantage = OPSM_ADVANTAGE_MEAN;
    opsm_batch batch;
    opsm_batch_init(&batch);
    batch.n_sequences = group->n_rows;
    batch.rewards = audit->rewards;
    for (int64_t i = 0; i < group->n_rows; i++)
        audit->rewards[i] = isfinite(group->rows[i].reward) ? (float)group->rows[i].reward : 0;
    opsm_group_stats stats;
    opsm_status status =
        opsm_advantages(&config, &batch, audit->group_advantages, &stats, audit->workspace, audit->workspace_size, err);
    if (!batch_scale) return status;
    double std = audit->reward_n > 1 ? sqrt(audit->reward_squares / (audit->reward_n - 1)) : 0;
    for (int64_t i = 0; i < group->n_rows; i++)
        audit->group_advantages[i] = (float)((double)audit->group_advantages[i] / (std + config.advantage_epsilon));
    return status;
}

static opsm_status fill_advantages(struct audit *audit, const struct audit_group *group, opsm_error *err) {
    bool needed = false;
    for (int64_t i = 0; i < group->n_rows; i++) needed |= group->rows[i].given == AUDIT_FROM_REWARD;
    if (needed && !audit->advantages) {
        opsm_status status = compute_advantages(audit, group, err);
        if (status != OPSM_OK) return status;
    }
    for (int64_t i = 0; i < group->n_rows; i++) {
        const struct audit_row *row = &group->rows[i];
        if (row->given != AUDIT_FROM_REWARD)
            audit->group_advantages[i] = row->advantage;
        else if (audit->advantages)
            audit->group_advantages[i] = audit->advantages[row->row];
        for (int64_t t = row->first; row->given == AUDIT_FROM_REWARD && t < row->first + row->length; t++)
            group->columns[AUDIT_ADVANTAGE][t] = audit->group_advantages[i];
    }
    return OPSM_OK;
}

/* ---- Batches: a row, or the whole group for pairs ---- */

static const float *column(const struct audit_group *group, enum audit_column name, int64_t first, int64_t n) {
    for (int64_t i = first; i < first + n; i++)
        if (!group->rows[i].has[name]) return NULL;
    return group->columns[name] + group->rows[first].first;
}

static void make_batch(struct audit *audit, const struct audit_group *group, int64_t first, int64_t n,
                       opsm_batch *batch) {
    int64_t token = group->rows[first].first;
    opsm_batch_init(batch);
    batch->n_sequences = n;
    batch->offsets = audit->offsets;
    audit->offsets[0] = 0;
    bool per_token = false;
    for (int64_t i = 0; i < n; i++) {
        audit->offsets[i + 1] = audit->offsets[i] + group->rows[first + i].length;
        audit->ids[i] = group->rows[first + i].line;
        per_token |= group->rows[first + i].given == AUDIT_PER_TOKEN;
    }
    batch->n_tokens = audit->offsets[n];
    batch->ids = audit->ids;
    batch->mask = group->mask + token;
    batch->advantages = audit->group_advantages + first;
    if (per_token) batch->token_advantages = group->columns[AUDIT_ADVANTAGE] + token;
    batch->logp_current = column(group, AUDIT_CURRENT, first, n);
    batch->logp_behavior = column(group, AUDIT_BEHAVIOR, first, n);
    batch->logp_trainer = column(group, AUDIT_TRAINER, first, n);
    batch->logp_reference = column(group, AUDIT_REFERENCE, first, n);
}

static opsm_status flush(struct audit *audit, opsm_error *err) {
    if (audit->text.failed) return mem_exhausted(err, "the output", audit->text.room);
    if (audit->text.length > 0) fwrite(audit->text.data, 1, audit->text.length, audit->out);
    text_clear(&audit->text);
    return OPSM_OK;
}

/* ---- Evaluation ---- */

/* Drift from b to p of a row: pure engine noise where the rollout was fresh. */
static double recomputed_drift(const struct audit_group *group, const struct audit_row *row) {
    double sum = 0;
    int64_t n = 0;
    for (int64_t t = row->first; t < row->first + row->length; t++)
        if (group->mask[t]) {
            sum += (double)group->columns[AUDIT_BEHAVIOR][t] - (double)group->columns[AUDIT_TRAINER][t];
            n++;
        }
    return n ? sum / (double)n : (double)NAN;
}

static opsm_status add_row(struct audit *audit, const struct audit_group *group, const struct audit_row *row,
                           opsm_sequence *record, const float *dlogp, opsm_error *err) {
    audit_summary_add(audit->summary, record, row->line);
    if (row->first_step) audit_noise_add(&audit->summary->first_step, record->drift_k1);
    if (row->has[AUDIT_BEHAVIOR] && row->has[AUDIT_TRAINER])
        audit_noise_add(&audit->summary->recomputed, recomputed_drift(group, row));
    if (!audit->options->json) return OPSM_OK;
    audit_json_sequence(&audit->json, group->label, row, record, audit->options->gradient ? dlogp : NULL);
    return flush(audit, err);
}

/* `totals` NULL: the pass that adds them up. */
static opsm_status evaluate_part(struct audit *audit, const struct audit_rows *rows, const struct audit_group *group,
                                 int64_t first, int64_t n, const opsm_totals *totals, opsm_error *err) {
    opsm_batch batch;
    make_batch(audit, group, first, n, &batch);
    opsm_error inner = {0};
    opsm_status status;
    if (!totals) {
        opsm_totals part;
        status = opsm_objective_totals(&audit->options->config, NULL, &batch, audit->records, &part, audit->workspace,
                                       audit->workspace_size, &inner);
        if (status == OPSM_OK) opsm_totals_add(&audit->summary->totals, &part);
    } else {
        opsm_result result;
        opsm_result_init(&result);
        result.records = audit->records;
        result.dlogp = audit->dlogp;
        status = opsm_objective_evaluate(&audit->options->config, NULL, &batch, totals, &result, audit->workspace,
                                         audit->workspace_size, &inner);
        for (int64_t i = 0; i < n && status == OPSM_OK; i++)
            status = add_row(audit, group, &group->rows[first + i], &audit->records[i],
                             audit->dlogp + audit->offsets[i], &inner);
    }
    if (status == OPSM_OK) return status;
    return audit_rows_fail(rows, &group->rows[first], status, inner.text, err);
}

static opsm_status pass(struct audit *audit, const opsm_totals *totals, opsm_error *err) {
    struct audit_rows *rows;
    opsm_status status = audit_rows_open(&rows, audit->options->path, audit->options->name, err);
    if (status != OPSM_OK) return status;
    bool pairs = audit->options->config.surrogate_name == OPSM_SURROGATE_DPO;
    const struct audit_group *group;
    while ((status = audit_rows_next(rows, audit->whole && !audit->advantages, &group, err)) == OPSM_OK && group) {
        status = reserve(audit, group->n_rows, group->n_tokens, err);
        if (status == OPSM_OK) status = fill_advantages(audit, group, err);
        int64_t step = pairs ? group->n_rows : 1;
        for (int64_t first = 0; first < group->n_rows && status == OPSM_OK; first += step)
            status = evaluate_part(audit, rows, group, first, step, totals, err);
        if (status != OPSM_OK) break;
    }
    audit_rows_close(rows);
    return status;
}

/* The audit's own statistic, if it gives the same drift to a row that became likelier as to one that became less so. */
static const char *sign_free(const opsm_objective *config) {
    if (config->mask_rule != OPSM_RULE_OPSM || config->mask_estimator == OPSM_ESTIMATOR_K1) return NULL;
    return "The statistic in force (mask.estimator)";
}

static void diagnose(struct audit *audit) {
    struct audit_summary *summary = audit->summary;
    struct doctor_case sick = {.facts = &audit->facts,
                               .sign_free = sign_free(&audit->options->config),
                               .judged_dropped = summary->sums.dropped_negatives,
                               .judged_likelier = summary->dropped_likelier};
    audit_groups_count(&audit->groups, &sick.groups);
    summary->zero_groups = sick.groups.silent;
    summary->n_findings = doctor_examine(&sick, summary->findings);
}

static opsm_status evaluate_all(struct audit *audit, opsm_error *err) {
    const opsm_objective *config = &audit->options->config;
    bool pairs = config->surrogate_name == OPSM_SURROGATE_DPO;
    audit->whole = audit->from_rewards || pairs;
    opsm_status status = resolve_interleaved(audit, err);
    if (status != OPSM_OK) return status;
    if (pairs || opsm_objective_totals_need_forward(config)) {
        audit->summary->totals = (opsm_totals){.size = sizeof(opsm_totals)};
        status = pass(audit, NULL, err);
        if (status != OPSM_OK) return status;
    }
    return pass(audit, &audit->summary->totals, err);
}

static opsm_status passes(struct audit *audit, opsm_error *err) {
    opsm_status status = audit_facts_start(&audit->facts, err);
    if (status == OPSM_OK) status = survey(audit, err);
    if (status != OPSM_OK) return status;
    if (audit->n_rows == 0) return opsm_fail(err, OPSM_FORMAT, "'%.200s' holds no rollouts", audit->options->name);
    if (audit->options->json) audit_json_begin(&audit->json);
    status = evaluate_all(audit, err);
    diagnose(audit);
    if (status == OPSM_OK) return OPSM_OK;
    if (audit->options->json)
        audit_json_failure(&audit->json, audit->summary, err->text);
    else
        audit_print_findings(audit->summary, audit->out);
    opsm_error ignored;
    flush(audit, &ignored); /* what matters is the first failure */
    return status;
}

opsm_status audit_run(const struct audit_options *options, FILE *out, opsm_error *err) {
    struct audit_summary summary;
    opsm_status status = audit_summary_start(&summary, options, err);
    if (status != OPSM_OK) return status;
    struct audit audit = {.options = options, .summary = &summary, .out = out};
    audit.json.text = &audit.text;
    status = passes(&audit, err);
    if (status == OPSM_OK) {
        audit_summary_finish(&summary, &options->config);
        if (options->json) {
            audit_json_summary(&audit.json, options, &summary);
            status = flush(&audit, err);
        } else {
            audit_print_text(options, &summary, out);
        }
    }
    release(&audit);
    audit_summary_free(&summary);
    return status;
}
