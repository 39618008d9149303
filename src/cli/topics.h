/* SPDX-License-Identifier: Apache-2.0
 *
 * Topics of the help that are printed from tables, as page.h wants them.
 */
#ifndef OPSM_CLI_TOPICS_H
#define OPSM_CLI_TOPICS_H
#include <stdio.h>

void topic_config(FILE *out);
void topic_verifiers(FILE *out);
void topic_tasks(FILE *out);

#endif
