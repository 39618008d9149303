/* SPDX-License-Identifier: Apache-2.0
 *
 * The files that the runs of a laboratory read, by what is in them: runs on others would not be compared, but mixed up.
 */
#ifndef OPSM_LAB_INPUTS_H
#define OPSM_LAB_INPUTS_H
#include "lab/lab.h"

/* Fills lab->inputs: models and data files of all arms, as far as they are there. */
opsm_status lab_inputs_take(struct lab *lab, opsm_error *err);

#endif
