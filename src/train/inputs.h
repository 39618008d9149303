/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run learns from, as hashes: the starting model, its tokenizer, and every row of its data. A run goes on only
 * with what it began with. Names of files do not count, content does.
 */
#ifndef OPSM_TRAIN_INPUTS_H
#define OPSM_TRAIN_INPUTS_H
#include "config/config.h"
#include "data/source.h"
#include "io/record.h"
#include "model/model.h"

struct inputs {
    bool supervised;          /* `opsm sft`; its runs and those of `opsm train` are not each other's */
    const char *model;        /* its file, for sentences; borrowed, as the names of the data files below */
    uint64_t weights;         /* of the starting model, as they were loaded */
    uint64_t tokenizer;       /* its keys tokenizer.*, the chat template among them */
    uint64_t metadata;        /* its other keys */
    const char *files[2];     /* data.file, data.eval_file; NULL: not read */
    struct data_row *rows[2]; /* [n_rows] of each, in the order of the lines; owned */
    int64_t n_rows[2];
    int64_t
        trained; /* rows that are trained on, 0 for a task: without a file for evaluation, evaluations take some away */
};

/* The model still has its initial weights. The caller sets `supervised`. */
opsm_status inputs_take(struct inputs *inputs, const struct run_config *config, const struct model *model,
                        const struct data_source *source, opsm_error *err);

/* OPSM_IO when the file of the model, whose keys are read where they lie, has others than at the start. */
opsm_status inputs_check_keys(const struct inputs *inputs, const struct model *model, opsm_error *err);
void inputs_free(struct inputs *inputs);

void inputs_write(const struct inputs *inputs, struct record_out *out);

/* Reads what inputs_write wrote and compares. OPSM_INVALID with the first thing that differs: the row by file and line;
 * OPSM_FORMAT when it is not whole. `run` is for the sentence. */
opsm_status inputs_match(const struct inputs *inputs, const char *run, struct record_in *in, opsm_error *err);

#endif
