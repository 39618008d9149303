/* SPDX-License-Identifier: Apache-2.0
 *
 * What a dataset holds, row by row, as hashes.
 */
#include "base/hash.h"
#include "base/mem.h"
#include "data/dataset.h"
#include <string.h>

static struct data_row row_of(const struct problem *p) {
    struct data_row row = {.line = p->line};
    hash_add_i64(&row.hash, p->n_messages);
    for (int i = 0; i < p->n_messages; i++) {
        hash_add_text(&row.hash, p->messages[i].role);
        hash_add_text(&row.hash, p->messages[i].content);
    }
    hash_add_i64(&row.hash, p->n_more_answers);
    for (int i = 0; i <= p->n_more_answers; i++) hash_add_text(&row.hash, problem_answer(p, i));
    hash_add_text(&row.hash, p->solution);
    if (*p->tools) hash_add_text(&row.hash, p->tools);
    hash_add_i64(&row.hash, p->n_numbers);
    for (int i = 0; i < p->n_numbers; i++) hash_add_i64(&row.hash, p->numbers[i]);
    hash_add_i64(&row.hash, p->target);
    return row;
}

/* Both splits of one file stand in the order of its lines: they are merged. */
opsm_status dataset_rows(const struct dataset *dataset, int file, struct data_row **rows, int64_t *n, opsm_error *err) {
    const struct problem *train = dataset->rows[DATA_TRAIN], *eval = dataset->rows[DATA_EVAL];
    int64_t n_train = file == 0 ? dataset->count[DATA_TRAIN] : 0;
    int64_t n_eval = dataset->eval_apart == (file == 1) ? dataset->count[DATA_EVAL] : 0;
    *n = n_train + n_eval;
    *rows = mem_alloc((size_t)*n, sizeof **rows);
    if (!*rows) return mem_exhausted(err, "the hashes of a dataset", (size_t)*n * sizeof **rows);
    for (int64_t i = 0, t = 0, e = 0; i < *n; i++) {
        bool from_train = e == n_eval || (t < n_train && train[t].line < eval[e].line);
        (*rows)[i] = row_of(from_train ? &train[t++] : &eval[e++]);
    }
    return OPSM_OK;
}
