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
 */
#ifndef OPSM_DATA_DATASET_H
#define OPSM_DATA_DATASET_H
#include "data/problem.h"

struct dataset_spec {
    const char *file;
    const char *eval_file; /* NULL: hold out a share of `file` */
    double eval_share;     /* [0, 1] of `file` that is eval; must be 0 when there is an eval file */
    const char *prompt;    /* field or path; NULL: "messages" where a line has it, else "prompt" */
    const char *answer;    /* field or path, then required; NULL: "answer" where a line has it */
    const char *solution;  /* field or path, then required; NULL: the assistant's message, or else the answer */
};

struct dataset {
    struct problem *rows[2]; /* by enum data_split, in the order of the file; owned */
    int64_t count[2];
};

/* Loads both splits. Sentences name file, line, what was expected and found. OPSM_FORMAT for a file without any row. */
opsm_status dataset_load(struct dataset *dataset, const struct dataset_spec *spec, opsm_error *err);
void dataset_free(struct dataset *dataset);

#endif
