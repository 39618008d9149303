/* SPDX-License-Identifier: Apache-2.0 */
#include "data/dataset.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/threads.h"
#include "data/dataset_row.h"
#include <omp.h>
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
    problem.line = jsonl_line(lines);
    if (!conversation_key(&problem, key)) {
        problem_free(&problem);
        return mem_exhausted(err, "a conversation", key->room);
    }
    return push_row(dataset, problem_split(key->data, key->length, share), &problem, err);
}

/* Whether reading may go on behind a row that was refused with `status`. */
static bool is_row_fault(opsm_status status) {
    return status == OPSM_FORMAT || status == OPSM_MISSING;
}

static void skip_row(struct dataset *dataset, enum row_fault fault, const opsm_error *why) {
    if (dataset->skipped[fault]++ == 0) dataset->first[fault] = *why;
}

/* The sentence about a row, and where others of its file can be used, what to do. */
static opsm_status refuse_row(const opsm_error *why, bool alone, opsm_error *err) {
    if (alone) return opsm_fail(err, why->code, "%s", why->text);
    return opsm_fail(err, why->code, "%s; data.on_bad_row=skip leaves such rows out", why->text);
}

/* What is left out of a dataset leaves something of every file. */
static opsm_status check_left(const struct dataset *dataset, opsm_error *err) {
    bool one_file = !strcmp(dataset->file[DATA_TRAIN], dataset->file[DATA_EVAL]);
    for (int split = DATA_TRAIN; split <= DATA_EVAL; split++) {
        int64_t left = dataset->count[split] + (one_file ? dataset->count[!split] : 0);
        for (int i = 0; left == 0 && i < ROW_FAULT_COUNT; i++)
            if (dataset->skipped[i])
                return opsm_fail(err, dataset->first[i].code, "no row of '%.150s' can be used; the first: %s",
                                 dataset->file[split], dataset->first[i].text);
    }
    return OPSM_OK;
}

static opsm_status load_file(struct dataset *dataset, const struct dataset_spec *spec, const char *path, double share,
                             opsm_error *err) {
    struct jsonl *lines;
    opsm_status status = jsonl_open(&lines, path, JSONL_LINE_DEFAULT, err);
    if (status != OPSM_OK) return status;
    struct text key = {0};
    int64_t rows = 0, line = -1;
    opsm_error why = {0}, before;
    for (;; rows++) {
        before = why;
        json_t *row;
        status = jsonl_next(lines, &row, &why);
        if (status == OPSM_OK && !row) break;
        if (status == OPSM_OK) status = load_row(dataset, spec, share, row, lines, &key, &why);
        json_decref(row);
        if (status == OPSM_OK) continue;
        bool stuck = jsonl_line(lines) == line;
        line = jsonl_line(lines);
        if (!is_row_fault(status) || !spec->skip_bad || stuck) {
            why.code = status;
            status = refuse_row(stuck ? &before : &why, rows == 0 || !is_row_fault(status) || spec->skip_bad, err);
            break;
        }
        skip_row(dataset, status == OPSM_MISSING ? ROW_BLANK : ROW_UNREADABLE, &why);
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
        return opsm_fail(err, OPSM_INVALID, "the held-out share must be from 0 to 1, found %g", spec->eval_share);
    if (spec->eval_file && spec->eval_share > 0)
        return opsm_fail(err, OPSM_INVALID, "an evaluation file and a held-out share exclude each other");
    return OPSM_OK;
}

static opsm_status keep_names(struct dataset *dataset, const struct dataset_spec *spec, opsm_error *err) {
    dataset->file[DATA_TRAIN] = mem_strdup(spec->file);
    dataset->file[DATA_EVAL] = mem_strdup(spec->eval_file ? spec->eval_file : spec->file);
    if (dataset->file[DATA_TRAIN] && dataset->file[DATA_EVAL]) return OPSM_OK;
    return mem_exhausted(err, "a file name", strlen(spec->file));
}

opsm_status dataset_load(struct dataset *dataset, const struct dataset_spec *spec, opsm_error *err) {
    *dataset = (struct dataset){.skip_bad = spec->skip_bad, .eval_apart = spec->eval_file != NULL};
    opsm_status status = check_spec(spec, err);
    if (status == OPSM_OK) status = keep_names(dataset, spec, err);
    if (status == OPSM_OK) status = load_file(dataset, spec, spec->file, spec->eval_share, err);
    if (status == OPSM_OK && spec->eval_file) status = load_file(dataset, spec, spec->eval_file, 1, err);
    if (status == OPSM_OK) status = check_left(dataset, err);
    if (status == OPSM_OK && spec->eval_file) status = drop_shared(dataset, spec->file, err);
    if (status != OPSM_OK) dataset_free(dataset);
    return status;
}

void dataset_free(struct dataset *dataset) {
    for (int split = DATA_TRAIN; split <= DATA_EVAL; split++) {
        for (int64_t i = 0; i < dataset->count[split]; i++) problem_free(&dataset->rows[split][i]);
        mem_free(dataset->rows[split]);
        mem_free(dataset->file[split]);
    }
    *dataset = (struct dataset){0};
}

/* ---- rows that are readable, but of no use ----------------------------------------------------------------------- */

const char *row_fault_text(enum row_fault fault) {
    static const char *const texts[] = {
#define ROW_FAULT_TEXT(id, text) text,
        ROW_FAULTS(ROW_FAULT_TEXT)
#undef ROW_FAULT_TEXT
    };
    return texts[fault];
}

enum { ROW_GOOD = ROW_FAULT_COUNT };

/* verdicts [count]: an enum row_fault or ROW_GOOD. */
static opsm_status judge_rows(const struct dataset *dataset, enum data_split split, row_check *check, void *user,
                              uint8_t *verdicts, opsm_error *err) {
    bool exhausted = false;
    log_phase("checking rows", 0, 1);
#pragma omp parallel for num_threads(threads_count()) schedule(dynamic, 64)
    for (int64_t i = 0; i < dataset->count[split]; i++) {
        if (omp_get_thread_num() == 0) log_share((double)i / (double)dataset->count[split]);
        enum row_fault fault = ROW_UNREADABLE;
        opsm_status status = check(user, split, &dataset->rows[split][i], &fault, NULL);
        verdicts[i] = (uint8_t)(status == OPSM_OK ? ROW_GOOD : fault);
        if (status == OPSM_NOMEM) {
#pragma omp atomic write
            exhausted = true;
        }
    }
    log_phase(NULL, 0, 0);
    return exhausted ? mem_exhausted(err, "the check of a dataset", 0) : OPSM_OK;
}

/* The sentence about a row that was found bad, from the check once more. */
static opsm_error explain_row(const struct dataset *dataset, enum data_split split, int64_t i, row_check *check,
                              void *user) {
    const struct problem *row = &dataset->rows[split][i];
    enum row_fault fault;
    opsm_error inner = {0}, why = {0};
    opsm_status status = check(user, split, row, &fault, &inner);
    opsm_fail(&why, status, "'%.150s', line %lld: %s", dataset->file[split], (long long)row->line, inner.text);
    return why;
}

static opsm_status leave_out(struct dataset *dataset, enum data_split split, row_check *check, void *user,
                             const uint8_t *verdicts, opsm_error *err) {
    struct problem *rows = dataset->rows[split];
    int64_t kept = 0;
    for (int64_t i = 0; i < dataset->count[split]; i++) {
        if (verdicts[i] == ROW_GOOD) {
            rows[kept++] = rows[i];
            continue;
        }
        bool first = dataset->skipped[verdicts[i]] == 0;
        opsm_error why = first || !dataset->skip_bad ? explain_row(dataset, split, i, check, user) : (opsm_error){0};
        if (!dataset->skip_bad) return refuse_row(&why, i == 0, err);
        skip_row(dataset, verdicts[i], &why);
        problem_free(&rows[i]);
    }
    dataset->count[split] = kept;
    return OPSM_OK;
}

opsm_status dataset_check(struct dataset *dataset, row_check *check, void *user, opsm_error *err) {
    opsm_status status = OPSM_OK;
    for (int split = DATA_TRAIN; status == OPSM_OK && split <= DATA_EVAL; split++) {
        uint8_t *verdicts = mem_alloc((size_t)dataset->count[split] + 1, 1);
        if (!verdicts) return mem_exhausted(err, "the check of a dataset", (size_t)dataset->count[split]);
        status = judge_rows(dataset, split, check, user, verdicts, err);
        if (status == OPSM_OK) status = leave_out(dataset, split, check, user, verdicts, err);
        mem_free(verdicts);
    }
    return status == OPSM_OK ? check_left(dataset, err) : status;
}
