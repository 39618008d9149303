/* SPDX-License-Identifier: Apache-2.0 */
#include "data/dataset.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "data/dataset_row.h"
#include <stdlib.h>
#include <string.h>

/* What makes two rows the same problem: the whole conversation. Roles and contents cannot run into each other, for the
 * NUL between them occurs in neither. */
static bool conversation_key(const struct problem *problem, struct text *key) {
    text_clear(key);
    for (int i = 0; i < problem->n_messages; i++) {
        text_append(key, problem->messages[i].role, strlen(problem->messages[i].role) + 1);
        text_append(key, problem->messages[i].content, strlen(problem->messages[i].content) + 1);
    }
    return !key->failed;
}

static int compare_conversations(const void *a, const void *b) {
    const struct problem *x = a, *y = b;
    if (x->n_messages != y->n_messages) return x->n_messages < y->n_messages ? -1 : 1;
    for (int i = 0; i < x->n_messages; i++) {
        int order = strcmp(x->messages[i].role, y->messages[i].role);
        if (order == 0) order = strcmp(x->messages[i].content, y->messages[i].content);
        if (order != 0) return order;
    }
    return 0;
}

/* Takes the problem over, whatever happens. */
static opsm_status push_row(struct dataset *dataset, enum data_split split, struct problem *problem, opsm_error *err) {
    int64_t n = dataset->count[split];
    bool full = n == 0 || (n >= 64 && (n & (n - 1)) == 0);
    if (full) {
        size_t room = n < 64 ? 64 : (size_t)n * 2;
        struct problem *rows = mem_resize(dataset->rows[split], (size_t)n, room, sizeof *rows);
        if (!rows) {
            problem_free(problem);
            return mem_exhausted(err, "a dataset", room * sizeof *rows);
        }
        dataset->rows[split] = rows;
    }
    dataset->rows[split][n] = *problem;
    dataset->count[split] = n + 1;
    return OPSM_OK;
}

/* Files one row under its split: `share` of the conversations are eval. */
static opsm_status load_row(struct dataset *dataset, const struct dataset_spec *spec, double share, const json_t *row,
                            const struct jsonl *lines, struct text *key, opsm_error *err) {
    struct problem problem;
    opsm_status status = dataset_row(&problem, spec, row, lines, err);
    if (status != OPSM_OK) return status;
    if (!conversation_key(&problem, key)) {
        problem_free(&problem);
        return mem_exhausted(err, "a conversation", key->room);
    }
    return push_row(dataset, problem_split(key->data, key->length, share), &problem, err);
}

static opsm_status load_file(struct dataset *dataset, const struct dataset_spec *spec, const char *path, double share,
                             opsm_error *err) {
    struct jsonl *lines;
    opsm_status status = jsonl_open(&lines, path, JSONL_LINE_DEFAULT, err);
    if (status != OPSM_OK) return status;
    struct text key = {0};
    int64_t rows = 0;
    json_t *row;
    while ((status = jsonl_next(lines, &row, err)) == OPSM_OK && row) {
        status = load_row(dataset, spec, share, row, lines, &key, err);
        json_decref(row);
        if (status != OPSM_OK) break;
        rows++;
    }
    if (status == OPSM_OK && rows == 0)
        status = opsm_fail(err, OPSM_FORMAT, "'%.160s' has no rows; expected one JSON object per line", path);
    text_free(&key);
    jsonl_close(lines);
    return status;
}

/* Leaves out of train what eval has, so that the evaluation stays honest. */
static opsm_status drop_shared(struct dataset *dataset, const char *path, opsm_error *err) {
    size_t n_eval = (size_t)dataset->count[DATA_EVAL];
    struct problem *eval = mem_alloc(n_eval, sizeof *eval); /* views, to be sorted: eval itself stays in file order */
    if (!eval) return mem_exhausted(err, "a dataset", n_eval * sizeof *eval);
    memcpy(eval, dataset->rows[DATA_EVAL], n_eval * sizeof *eval);
    qsort(eval, n_eval, sizeof *eval, compare_conversations);
    struct problem *rows = dataset->rows[DATA_TRAIN];
    int64_t kept = 0, dropped = 0;
    for (int64_t i = 0; i < dataset->count[DATA_TRAIN]; i++) {
        if (bsearch(&rows[i], eval, n_eval, sizeof *eval, compare_conversations)) {
            problem_free(&rows[i]);
            dropped++;
        } else {
            rows[kept++] = rows[i];
        }
    }
    dataset->count[DATA_TRAIN] = kept;
    mem_free(eval);
    if (dropped)
        log_line(LOG_WARN, "%s: left out %lld rows that are in the evaluation file too", path, (long long)dropped);
    return OPSM_OK;
}

static opsm_status check_spec(const struct dataset_spec *spec, opsm_error *err) {
    if (!spec->file) return opsm_fail(err, OPSM_INVALID, "a dataset needs a file: set data.file");
    if (!(spec->eval_share >= 0 && spec->eval_share <= 1))
        return opsm_fail(err, OPSM_INVALID, "data.eval_share must be from 0 to 1, found %g", spec->eval_share);
    if (spec->eval_file && spec->eval_share > 0)
        return opsm_fail(err, OPSM_INVALID, "data.eval_file and data.eval_share exclude each other; set one of them");
    return OPSM_OK;
}

opsm_status dataset_load(struct dataset *dataset, const struct dataset_spec *spec, opsm_error *err) {
    *dataset = (struct dataset){0};
    opsm_status status = check_spec(spec, err);
    if (status == OPSM_OK) status = load_file(dataset, spec, spec->file, spec->eval_share, err);
    if (status == OPSM_OK && spec->eval_file) {
        status = load_file(dataset, spec, spec->eval_file, 1, err);
        if (status == OPSM_OK) status = drop_shared(dataset, spec->file, err);
    }
    if (status != OPSM_OK) dataset_free(dataset);
    return status;
}

void dataset_free(struct dataset *dataset) {
    for (int split = DATA_TRAIN; split <= DATA_EVAL; split++) {
        for (int64_t i = 0; i < dataset->count[split]; i++) problem_free(&dataset->rows[split][i]);
        mem_free(dataset->rows[split]);
    }
    *dataset = (struct dataset){0};
}
