/* SPDX-License-Identifier: Apache-2.0
 *
 * Recorded rollouts as a stream of groups: consecutive rows of a JSON-lines file with the same "group", their arrays
 * put one after the other as a batch. Memory is bounded by the largest group and the longest line.
 */
#ifndef OPSM_AUDIT_ROWS_H
#define OPSM_AUDIT_ROWS_H
#include <jansson.h>
#include <opsm/objective.h>
#include <stdbool.h>

enum audit_column { AUDIT_CURRENT, AUDIT_BEHAVIOR, AUDIT_TRAINER, AUDIT_REFERENCE, AUDIT_ADVANTAGE, AUDIT_COLUMNS };

/* How a row gives its advantage. */
enum audit_given { AUDIT_FROM_REWARD, AUDIT_PER_SEQUENCE, AUDIT_PER_TOKEN };

struct audit_row {
    int64_t line, row; /* both count from the start of the file; row from 0 */
    int64_t first, length;
    double reward; /* NaN: none */
    float advantage;
    enum audit_given given;
    bool has[AUDIT_COLUMNS];
    bool first_step; /* c and b come from the same weights */
    int64_t version; /* -1: unknown */
    /* For the doctor. */
    bool has_ids;         /* "tokens" holds an id or a text for every element */
    bool cut, ended;      /* by the length limit, by itself: as "finish" or "finished" say */
    int64_t ids_differ;   /* elements of "tokens_behavior" that are not those of "tokens" */
    double trainer_drift; /* "drift": the statistic as the trainer computed it; NaN: none */
    int trainer_keep;     /* "keep": what the trainer's mask decided; -1: unknown */
};

struct audit_group {
    uint64_t key;  /* equal for equal "group" values; 0 where the file gives none */
    uint64_t twin; /* the key of the same id written as the other type (1 and "1"); 0: it has none */
    bool named;    /* the rows have a "group" */
    bool text;     /* a string, not an integer */
    char *label;   /* the group as JSON text */
    struct audit_row *rows;
    int64_t n_rows, rows_room;
    float *columns[AUDIT_COLUMNS];
    uint8_t *mask;
    int64_t *ids; /* "tokens" where has_ids; texts as their hash */
    int64_t n_tokens, tokens_room;
};

struct audit_rows;

opsm_status audit_rows_open(struct audit_rows **rows, const char *path, const char *name, opsm_error *err);
void audit_rows_close(struct audit_rows *rows); /* NULL is allowed */

/* The next group, valid until the next call; NULL at the end. `whole` false: rows come one at a time, each as a group
 * of its own, and nothing needs to be kept. */
opsm_status audit_rows_next(struct audit_rows *rows, bool whole, const struct audit_group **group, opsm_error *err);

/* "'file', line N: sentence" about a row. */
opsm_status audit_rows_fail(const struct audit_rows *rows, const struct audit_row *row, opsm_status code,
                            const char *sentence, opsm_error *err);

#endif
