/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OPSM_BENCH_OBJECTIVE_H
#define OPSM_BENCH_OBJECTIVE_H

/* `opsm bench objective [--json] [--sequences N] [--length T] [--repeats R] [key=value ...]`: loss and gradient of
 * generated log-probs, tokens a second, and the share of a memory-copy bandwidth measured in the same run. argv[0] is
 * "objective". Returns the exit code. */
int bench_objective(int argc, char **argv);

#endif
