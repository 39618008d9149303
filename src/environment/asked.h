/* SPDX-License-Identifier: Apache-2.0
 *
 * Problems that are put to the model together, and their prompts.
 */
#ifndef OPSM_ENVIRONMENT_ASKED_H
#define OPSM_ENVIRONMENT_ASKED_H
#include "environment/problems.h"

/* Problems `first` .. first + count - 1 and their prompts as tokens; release with asked_free. A prompt that is longer
 * than max_prompt: OPSM_INVALID naming it. */
struct asked {
    struct problem *problems;
    struct token_list prompts;
    int64_t *offset; /* [count + 1] */
    int32_t count;
};
opsm_status ask(struct asked *asked, const struct problems *problems, enum data_split split, int64_t first,
                int32_t count, int32_t max_prompt, opsm_error *err);
void asked_free(struct asked *asked);

#endif
