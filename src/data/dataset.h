/* SPDX-License-Identifier: Apache-2.0
 *
 * Datasets: JSON lines in a file, one problem a line, loaded into memory as a whole.
 *
 * A line is an object. Its prompt field holds a text, or a conversation in the chat format:
 *
 *   {"question": "What is 1 + 2?", "answer": 3}
 *   {"messages": [{"role": "user", "content": "What is 1 + 2?"}, {"role": "assistant", "content": "3"}]}
 *
 * In a conversation the last message, if it is the assistant's, is what training by example imitates; it is the
 * reference answer too unless the line has an answer field; the model is asked with what comes before it, which must
 * end with the user. Answers may be texts, numbers or booleans, or a list of them: each is accepted. A field may be a path
 * ("reward_model.ground_truth"), unless the line has a field of that very name. `numbers` (a list) and `target`, for
 * verifiers that look at them, are read from the line, or from the answer where it is an object. Other fields are
 * ignored, blank lines skipped.
 *
 * Train and eval never share a conversation: without an eval file, a hash of the conversation decides (duplicates stay
 * together); with one, lines of the training file whose conversation is in the eval file are left out, and a warning
 * says how many.
 *
 * A row that cannot be used ends the loading with a sentence, or is left out and counted: dataset_spec.skip_bad.
 */
#ifndef OPSM_DATA_DATASET_H
#define OPSM_DATA_DATASET_H
#include "data/problem.h"
#include <stdbool.h>

struct dataset_spec {
    const char *file;
    const char *eval_file; /* NULL: hold out a share of `file` */
    double eval_share;     /* [0, 1] of `file` that is eval; must be 0 when there is an eval file */
    const char *prompt;    /* field or path; NULL: "messages" where a line has it, else "prompt" */
    const char *answer;    /* field or path, then required; NULL: "answer" where a line has it */
    const char *solution;  /* field or path, then required; NULL: the assistant's message, or else the answer */
    bool skip_bad;         /* leave out and count what cannot be used */
};

/* Why a row cannot be used. X(id, what a person reads) */
#define ROW_FAULTS(X)                                                                                                  \
    X(UNREADABLE, "not JSON, or a field is missing or of the wrong kind")                                              \
    X(BLANK, "the prompt is empty or blank")                                                                           \
    X(ANSWER, "no answer that can be judged")                                                                          \
    X(LENGTH, "too long")

enum row_fault {
#define ROW_FAULT_ENUM(id, text) ROW_##id,
    ROW_FAULTS(ROW_FAULT_ENUM)
#undef ROW_FAULT_ENUM
        ROW_FAULT_COUNT
};

const char *row_fault_text(enum row_fault fault);

struct dataset {
    struct problem *rows[2]; /* by enum data_split, in the order of the file; owned */
    int64_t count[2];
    char *file[2]; /* where the rows of a split stand; owned */
    bool skip_bad;
    int64_t skipped[ROW_FAULT_COUNT];
    opsm_error first[ROW_FAULT_COUNT]; /* the sentence about the first row of each */
    bool eval_apart;                   /* eval comes from a file of its own */
};

/* A row as a number that tells whether it is what it was: a hash of all that is asked, judged and imitated. */
struct data_row {
    uint64_t hash;
    int64_t line; /* of its file */
};

/* Loads both splits. Sentences name file, line, what was expected and found. OPSM_FORMAT for a file without any row. */
opsm_status dataset_load(struct dataset *dataset, const struct dataset_spec *spec, opsm_error *err);
void dataset_free(struct dataset *dataset);

/* The rows that were read from the training file (0) or the eval file (1), in the order of their lines; release with
 * mem_free. */
opsm_status dataset_rows(const struct dataset *dataset, int file, struct data_row **rows, int64_t *n, opsm_error *err);

/* Looks at one row, from any thread: OPSM_OK or *fault and a sentence; OPSM_NOMEM ends the check. */
typedef opsm_status row_check(void *user, enum data_split split, const struct problem *problem, enum row_fault *fault,
                              opsm_error *err);

/* Runs `check` over all rows of both splits, in parallel. What it refuses is left out or, without skip_bad, the first of
 * them is the error, with file and line. When nothing is left of a file, that is an error, too. */
opsm_status dataset_check(struct dataset *dataset, row_check *check, void *user, opsm_error *err);

#endif
