/* SPDX-License-Identifier: Apache-2.0
 *
 * The characters of problems, and whether a tokenizer has them.
 */
#ifndef OPSM_ENVIRONMENT_CHARACTERS_H
#define OPSM_ENVIRONMENT_CHARACTERS_H
#include "environment/problems.h"

/* Sets seen[b] for the bytes of a text; NULL is none. */
void characters_mark(const char *text, bool seen[256]);

/* Likewise of all that a model reads and writes in a problem. */
void characters_mark_problem(const struct problem *problem, bool seen[256]);

/* Warns when the tokenizer leaves out bytes of the problems (of a dataset all, of a task the first), and how many.
 * OPSM_NOMEM only. */
opsm_status characters_check(const struct problems *problems, opsm_error *err);

#endif
